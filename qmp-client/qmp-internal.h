/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the client and its jobs share; for qmp-client/ only. */
#ifndef QMP_INTERNAL_H
#define QMP_INTERNAL_H

#include "qmp-client/qmp-client.h"

enum qmp_state {
	QMP_STATE_GREETING,    /* waiting for the greeting */
	QMP_STATE_NEGOTIATING, /* qmp_capabilities is sent */
	QMP_STATE_READY,
	QMP_STATE_CLOSED,
};

/**
 * struct qmp_client
 * @first_id:    answers to ids below it are for a client before this one
 * @last_id:     id of the last command that was written; a write that fails gives its ids back
 * @primed:      the beginning of the next command in band is written; its id is @last_id + 1
 * @out:         the bytes of one write, kept for its memory
 * @unsent:      struct qmp_pending, in order; the first one must wait
 * @sent:        struct qmp_pending that QEMU has not answered, expired ones too
 * @jobs:        struct qmp_job
 * @subs:        struct qmp_subscription; during an event those that still have to see it are on
 *               @dispatching, so that any of them may come and go meanwhile
 * @busy, freed: depth of calls that may run callbacks; the last one out does the freeing
 */
struct qmp_client {
	struct qmp_client_ops ops;
	void *arg;
	struct qmp_parser parser;
	enum qmp_state state;
	struct qmp_version version;
	bool oob, primed;
	int64_t first_id, last_id;
	uint64_t greeting_deadline_us;
	struct {
		char *data;
		size_t len, size;
	} out;
	struct list unsent, sent, jobs, subs, dispatching;
	unsigned int busy;
	bool freed;
};

/**
 * struct qmp_pending - a command on its way
 * @id:   given when it is sent
 * @fn:   NULL when nobody waits (any more); the entry stays for matching the reply by id
 * @text: the message behind the quote that opens the command's name, until it is sent
 */
struct qmp_pending {
	struct list link;
	int64_t id;
	uint64_t deadline_us;
	uint32_t timeout_ms;
	int fd;
	bool oob, negotiation;
	qmp_reply_fn fn;
	void *arg;
	char *text;
	char name[];
};

/* The deadline of @cmd, started at @now_us. */
uint64_t qmp_cmd_deadline(const struct qmp_cmd *cmd, uint64_t now_us);

/* Queue @cmd, ending at @deadline_us. Takes over cmd->args. The caller pumps. */
int qmp_enqueue(struct qmp_client *c, const struct qmp_cmd *cmd, uint64_t deadline_us,
		struct qmp_pending **out);

/* Send what may be sent, in as few writes as descriptors allow. */
int qmp_pump(struct qmp_client *c);

void qmp_pending_free(struct qmp_pending *p);

/* Close the connection: end all commands and jobs with @status, then ops->closed. */
void qmp_fail(struct qmp_client *c, int status, const struct err *reason);

/* An event, before its subscribers see it. */
void qmp_job_event(struct qmp_client *c, const char *event, struct json_object *data);
void qmp_job_expire(struct qmp_client *c, uint64_t now_us);
uint64_t qmp_job_deadline(const struct qmp_client *c);
void qmp_job_end_all(struct qmp_client *c, const struct qmp_reply *r);

#endif
