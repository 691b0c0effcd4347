/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asynchronous QMP client without I/O: bytes and time go in, bytes and callbacks come out. */
#ifndef QMP_CLIENT_H
#define QMP_CLIENT_H

#include "base/list.h"
#include "qmp-client/qmp-parser.h"

struct qmp_client;

/**
 * struct qmp_reply - the end of a command; valid only during the callback
 * @status:    0, -EREMOTEIO (QEMU answered with an error), -ETIMEDOUT (deadline passed; a late
 *             reply is dropped), -ECONNRESET (connection gone), -EPROTO (QEMU talked garbage),
 *             -ECANCELED (called from qmp_client_free(): says nothing about QEMU)
 * @ret:       the "return" member, borrowed; NULL unless @status is 0, NULL for a job
 * @err_class: QMP error class, NULL unless -EREMOTEIO
 * @desc:      human-readable reason for every status but 0, carried whole
 */
struct qmp_reply {
	int status;
	struct json_object *ret;
	const char *err_class;
	const char *desc;
};

typedef void (*qmp_reply_fn)(void *arg, const struct qmp_reply *r);

/**
 * struct qmp_cmd - a command to send
 * @name:       QMP command name
 * @args:       arguments object or NULL; the reference is taken over by qmp_client_send(), also on
 *              error
 * @fd:         descriptor to pass with the command (SCM_RIGHTS), or -1; duplicated by the kernel,
 *              the caller keeps it and may close it once @fn was called
 * @timeout_ms: deadline for the reply, 0 for QMP_DEFAULT_TIMEOUT_MS
 * @oob:        run out of band ("exec-oob"), overtaking every command in band; refused with
 *              -ENOTSUP when QEMU did not offer it or is not ready yet, -EINVAL with @fd, -EBUSY
 *              after qmp_client_prime() until a command in band was sent
 * @fn, @arg:   called exactly once, never from within qmp_client_send(); fn may be NULL. A callback
 *              may call everything declared here but feed, eof and tick, qmp_client_free() too
 */
struct qmp_cmd {
	const char *name;
	struct json_object *args;
	int fd;
	uint32_t timeout_ms;
	bool oob;
	qmp_reply_fn fn;
	void *arg;
};

#define QMP_DEFAULT_TIMEOUT_MS 10000

/* QEMU greets when its main loop starts, which is after it has populated or locked all guest RAM.
 * A monitor that already has another client never greets at all. */
#define QMP_GREETING_TIMEOUT_MS 60000

/* QEMU stops reading when eight commands in band wait, and then an out-of-band one does not get
 * through either (qmp-spec, "Out-of-band execution"). Further commands wait on our side; one that
 * timed out counts until QEMU answers it. */
#define QMP_MAX_IN_FLIGHT 7

/**
 * struct qmp_client_ops - what the client needs from its surroundings
 * @write:  queue @len bytes for the socket, with @fd attached to the first of them unless -1; 0, or
 *          -errno and none of them is sent. The bytes may hold several commands.
 * @ready:  greeting and capabilities negotiation are done; commands sent before are sent now
 * @closed: the connection is unusable (after every pending command got its callback)
 */
struct qmp_client_ops {
	int (*write)(void *arg, const void *buf, size_t len, int fd);
	void (*ready)(void *arg);
	void (*closed)(void *arg, const struct err *reason);
};

/** qmp_client_new() - *ops is copied. 0 or -ENOMEM. */
int qmp_client_new(struct qmp_client **out, const struct qmp_client_ops *ops, void *arg);

/**
 * qmp_client_follow() - others had this monitor before; before anything else is done with @c
 *
 * QEMU sends the answer of a command to whoever is connected when it has been carried out (seen on
 * 7.2). Ids go up from @first_id, at least 1, and an answer to one below it is dropped: the caller
 * gives one above all that were used before.
 */
void qmp_client_follow(struct qmp_client *c, int64_t first_id);

/**
 * qmp_client_free() - end every pending command with -ECANCELED and every subscription; NULL is
 * fine. ops->closed is not called, and nothing else either once this has returned.
 */
void qmp_client_free(struct qmp_client *c);

/** qmp_client_feed() - bytes from QEMU, in any split, at time @now_us. */
void qmp_client_feed(struct qmp_client *c, const void *buf, size_t len, uint64_t now_us);

/** qmp_client_eof() - the connection ended; @reason as for ops->closed. */
void qmp_client_eof(struct qmp_client *c, const struct err *reason);

/**
 * qmp_client_tick() - expire deadlines at @now_us. Returns the next deadline, UINT64_MAX for none.
 * The first call starts the wait for the greeting.
 */
uint64_t qmp_client_tick(struct qmp_client *c, uint64_t now_us);

/** qmp_client_deadline() - what qmp_client_tick() would return now, without expiring anything. */
uint64_t qmp_client_deadline(const struct qmp_client *c);

/**
 * qmp_client_send() - 0 when the callback will come, else -errno and it will not: -ECONNRESET
 * (closed), -EINVAL, -ENOTSUP, -EBUSY (see struct qmp_cmd), -ENOMEM or what ops->write returned
 *
 * QEMU sees the commands in band in the order of these calls. One with a descriptor waits, and all
 * in band behind it, until the previous one with a descriptor is answered: QEMU keeps only the
 * descriptor that came last (seen on 7.2 with "oob" enabled: of five add-fd sent at once the first
 * got the descriptor of the fifth and the others failed).
 */
int qmp_client_send(struct qmp_client *c, const struct qmp_cmd *cmd, uint64_t now_us);

/**
 * qmp_client_prime() - write what every command in band begins with, so that the next one, whichever
 * it is, leaves shorter by that: QEMU reads its monitor byte by byte, about 4 us each (seen on 7.2)
 *
 * For a moment when time does not matter, before one when it does. QEMU waits for the rest however
 * long it takes; meanwhile it cannot be sent anything out of band. 0 when primed, also when it was
 * before; -EAGAIN when commands wait or the negotiation is not done, -ECONNRESET (closed)
 * or what ops->write returned. A failure costs nothing but the time to be saved.
 */
int qmp_client_prime(struct qmp_client *c);

/**
 * qmp_client_run_job() - start a job command (its args must hold "job-id") and wait for its end
 * through JOB_STATUS_CHANGE; then fetch its error and dismiss it. @cmd->timeout_ms bounds the
 * whole. cmd->fn is called once: status 0 when the job concluded without error; -EREMOTEIO with
 * the job's own error text when it failed.
 *
 * Returns as qmp_client_send() does, or -EEXIST while a job of that id is not over. The job must
 * not dismiss itself: block jobs need "auto-dismiss": false. After -ETIMEDOUT the job goes on in
 * QEMU; it is dismissed when it ends. What @cmd->fn sends is executed after the dismissal.
 */
int qmp_client_run_job(struct qmp_client *c, const struct qmp_cmd *cmd, uint64_t now_us);

const struct qmp_version *qmp_client_version(const struct qmp_client *c);
bool qmp_client_is_ready(const struct qmp_client *c);

typedef void (*qmp_event_fn)(void *arg, const char *event, struct json_object *data,
			     uint64_t timestamp_us);

/**
 * struct qmp_subscription - intrusive; owned by the subscriber, must outlive its registration
 * @event: event name, or NULL for every event
 * @fn:    @data is borrowed and may be NULL; timestamp is QEMU's wall clock in microseconds
 */
struct qmp_subscription {
	struct list link;
	const char *event;
	qmp_event_fn fn;
	void *arg;
};

/** qmp_client_subscribe() - subscribers are called in the order of registration. From within an
 * event callback: takes part from the next event on. */
void qmp_client_subscribe(struct qmp_client *c, struct qmp_subscription *s);

/** qmp_client_unsubscribe() - harmless for one that is not registered (zeroed), was unsubscribed
 * before, or whose client is freed. */
void qmp_client_unsubscribe(struct qmp_subscription *s);

#endif
