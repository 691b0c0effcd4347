/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the QMP adapter share: a loop, a client on a socket pair, ends of commands. */
#ifndef TESTS_UNIT_QMP_SOCKET_H
#define TESTS_UNIT_QMP_SOCKET_H

#include "base/cleanup.h"
#include "base/io.h"
#include "qmp-client/qmp-loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* cmocka.h needs the headers above. */
#include <cmocka.h>

/* Against a hang only; no test passes by waiting for it. */
#define GIVE_UP_US (60 * USEC_PER_SEC)

struct fixture {
	struct loop *loop;
	struct qmp_loop *q;
	int far; /* the other end of the connection; -1 once it is QEMU's */
	pid_t qemu;
	int ready, closed, ended;
	struct err reason;
	bool free_when_closed;
};

/* How a command ended, and as which of all commands of the fixture. */
struct end {
	struct fixture *f;
	int calls, status, order;
	bool free_client;
	char text[512];
};

/* Turn the loop until @cond holds. */
#define run_until(f, cond)                                                                         \
	do {                                                                                       \
		while (!(cond))                                                                    \
			assert_int_equal(loop_step((f)->loop, GIVE_UP_US), 1);                     \
	} while (0)

static inline void free_client(struct fixture *f)
{
	qmp_loop_free(f->q);
	f->q = NULL;
}

static inline void on_ready(void *arg)
{
	((struct fixture *)arg)->ready++;
}

static inline void on_closed(void *arg, const struct err *reason)
{
	struct fixture *f = arg;

	f->closed++;
	f->reason = *reason;
	if (f->free_when_closed)
		free_client(f);
}

static inline void on_end(void *arg, const struct qmp_reply *r)
{
	struct end *e = arg;

	e->calls++;
	e->status = r->status;
	e->order = ++e->f->ended;
	snprintf(e->text, sizeof(e->text), "%s",
		 r->desc ? r->desc
			 : json_object_to_json_string_ext(r->ret, JSON_C_TO_STRING_PLAIN));
	if (e->free_client)
		free_client(e->f);
}

static inline void open_pair(struct fixture *f, int type)
{
	static const struct qmp_loop_handlers handlers = {on_ready, on_closed};
	struct err e = {};
	int pair[2];

	*f = (struct fixture){};
	assert_int_equal(loop_new(&f->loop, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
	f->far = pair[1];
	assert_int_equal(qmp_loop_new(&f->q, f->loop, pair[0], &handlers, f, &e), 0);
}

static inline void close_pair(struct fixture *f)
{
	free_client(f);
	close_fd(&f->far);
	loop_free(f->loop);
}

/* Send and, with @e, note the end there. @args may be NULL, @fd -1. */
static inline int send_with(struct fixture *f, const char *name, struct json_object *args, int fd,
			    struct end *e)
{
	struct qmp_cmd cmd = {.name = name, .args = args, .fd = fd};

	if (e) {
		*e = (struct end){.f = f, .free_client = e->free_client};
		cmd.fn = on_end;
		cmd.arg = e;
	}
	return qmp_loop_send(f->q, &cmd);
}

static inline int send_cmd(struct fixture *f, const char *name, struct end *e)
{
	return send_with(f, name, NULL, -1, e);
}

#endif
