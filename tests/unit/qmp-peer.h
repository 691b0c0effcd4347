/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scripted QMP peer of the client tests: no socket, no clock. */
#ifndef TESTS_UNIT_QMP_PEER_H
#define TESTS_UNIT_QMP_PEER_H

#include "qmp-client/qmp-client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* cmocka.h needs the headers above. */
#include <cmocka.h>

#define GREETING                                                                                   \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "         \
	"\"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"
#define GREETING_NO_OOB                                                                            \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 8}, "          \
	"\"package\": \"\"}, \"capabilities\": []}}\r\n"

#define T0 (1000 * USEC_PER_SEC)

/* The far side: what was written, and what became of the connection. */
struct peer {
	struct qmp_client *c;
	char out[16384]; /* everything written since the last check */
	int writes, last_fd, write_result;
	int ready, closed;
	struct err reason;
};

/* How a command or a job ended. */
struct end {
	struct peer *p;
	int calls, status;
	char text[2048]; /* the value returned, or class and description */
	void (*then)(struct end *e);
};

static inline int peer_write(void *arg, const void *buf, size_t len, int fd)
{
	struct peer *p = arg;
	size_t used = strlen(p->out);

	if (p->write_result < 0)
		return p->write_result;
	assert_true(used + len < sizeof(p->out));
	memcpy(p->out + used, buf, len);
	p->out[used + len] = 0;
	p->writes++;
	p->last_fd = fd;
	return 0;
}

static inline void peer_ready(void *arg)
{
	((struct peer *)arg)->ready++;
}

static inline void peer_closed(void *arg, const struct err *reason)
{
	struct peer *p = arg;

	p->closed++;
	p->reason = *reason;
}

static const struct qmp_client_ops ops = {peer_write, peer_ready, peer_closed};

static inline void on_end(void *arg, const struct qmp_reply *r)
{
	struct end *e = arg;

	e->calls++;
	e->status = r->status;
	if (r->status)
		snprintf(e->text, sizeof(e->text), "%s: %s", r->err_class ?: "-", r->desc);
	else
		snprintf(e->text, sizeof(e->text), "%s",
			 r->ret ? json_object_to_json_string_ext(r->ret, JSON_C_TO_STRING_PLAIN)
				: "-");
	assert_int_equal(!!r->err_class, r->status == -EREMOTEIO);
	if (e->then)
		e->then(e);
}

static inline void say(struct peer *p, const char *text)
{
	qmp_client_feed(p->c, text, strlen(text), T0);
}

/* What was written since the last look must be @want. */
static inline void wrote(struct peer *p, const char *want)
{
	assert_string_equal(p->out, want);
	p->out[0] = 0;
	p->writes = 0;
	p->last_fd = -1;
}

static inline int send_cmd(struct peer *p, const char *name, struct end *e)
{
	struct qmp_cmd cmd = {.name = name, .fd = -1, .fn = e ? on_end : NULL, .arg = e};

	if (e)
		e->p = p;
	return qmp_client_send(p->c, &cmd, T0);
}

static inline int send_fd(struct peer *p, const char *name, int fd, struct end *e)
{
	struct qmp_cmd cmd = {.name = name, .fd = fd, .fn = on_end, .arg = e};

	return qmp_client_send(p->c, &cmd, T0);
}

static inline int run_job(struct peer *p, const char *id, struct end *e)
{
	struct qmp_cmd cmd = {.name = "snapshot-load", .fd = -1, .fn = on_end, .arg = e};

	e->p = p;
	cmd.args = json_object_new_object();
	json_object_object_add(cmd.args, "job-id", json_object_new_string(id));
	return qmp_client_run_job(p->c, &cmd, T0);
}

static inline int new_peer(void **state)
{
	struct peer *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->last_fd = -1;
	assert_int_equal(qmp_client_new(&p->c, &ops, p), 0);
	*state = p;
	return 0;
}

/* A peer that has been through the negotiation, which took id 1. */
static inline int ready_peer(void **state)
{
	struct peer *p;

	new_peer(state);
	p = *state;
	say(p, GREETING);
	wrote(p,
	      "{\"id\":1,\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}\n");
	say(p, "{\"return\": {}, \"id\": 1}\r\n");
	assert_int_equal(p->ready, 1);
	return 0;
}

/* The end of a test whose commands are still on their way: their ends live on its stack. */
static inline void hang_up(struct peer *p)
{
	qmp_client_free(p->c);
	p->c = NULL;
}

static inline int free_peer(void **state)
{
	struct peer *p = *state;

	qmp_client_free(p->c);
	free(p);
	return 0;
}

#define t_new(f)   cmocka_unit_test_setup_teardown(f, new_peer, free_peer)
#define t_ready(f) cmocka_unit_test_setup_teardown(f, ready_peer, free_peer)

#endif
