// SPDX-License-Identifier: GPL-2.0-or-later
/* One client: a turn takes one line; answers leave in the order of the requests. */
#include "colod/control/control-conn.h"

#include "base/cleanup.h"
#include "colod/control/control-parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Requests of one client begun and not yet answered to its socket. At this many its further lines
 * wait in its own socket, so a client that does not read costs this many answers and no more. */
#define CONN_PENDING_MAX 16

/* Answers are compact; a slash needs no escape (RFC 8259, section 7). */
#define ANSWER_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

struct control_conn {
	struct list link;
	struct control_request *requests[CONN_PENDING_MAX]; /* a ring */
	unsigned first, pending;                            /* oldest entry, entries in use */
	size_t sent;                                        /* of the oldest one's answer */
	bool at_eof, broken;
	int fd;
	struct loop_src *io, *again;
	control_handler_fn fn;
	void *arg;
	struct control_lines lines;
};

/* @conn is NULL once the client has gone. */
struct control_request {
	struct control_conn *conn;
	bool answered;
	char *answer; /* NULL when there was no memory for it */
	size_t answer_len;
};

static void request_free(struct control_request *rq)
{
	free(rq->answer);
	free(rq);
}

/* The i-th oldest request. */
static struct control_request **request_at(struct control_conn *c, unsigned i)
{
	return &c->requests[(c->first + i) % CONN_PENDING_MAX];
}

static void conn_free(struct control_conn *c)
{
	for (unsigned i = 0; i < c->pending; i++) {
		struct control_request *rq = *request_at(c, i);

		rq->conn = NULL;
		if (rq->answered)
			request_free(rq);
	}
	list_del(&c->link);
	loop_src_free(&c->io);
	loop_src_free(&c->again);
	close(c->fd);
	free(c);
}

/* The answer that may leave now, NULL when there is none. */
static struct control_request *next_answer(struct control_conn *c)
{
	struct control_request *rq = c->pending ? *request_at(c, 0) : NULL;

	return rq && rq->answered ? rq : NULL;
}

static bool has_room(const struct control_conn *c)
{
	return c->pending < CONN_PENDING_MAX;
}

static bool is_finished(const struct control_conn *c)
{
	return c->broken || (c->at_eof && !c->pending && !control_lines_ready(&c->lines));
}

/* Ask the loop for exactly what can bring this connection further. */
static void conn_update(struct control_conn *c)
{
	bool line = control_lines_ready(&c->lines);
	uint32_t events = 0;

	if (!c->at_eof && !line && has_room(c))
		events |= EPOLLIN;
	if (next_answer(c))
		events |= EPOLLOUT;
	loop_io_events(c->io, events);
	if ((line && has_room(c)) || is_finished(c))
		loop_defer_arm(c->again);
}

static void conn_flush(struct control_conn *c)
{
	struct control_request *rq;

	while (!c->broken && (rq = next_answer(c))) {
		ssize_t n = send(c->fd, rq->answer + c->sent, rq->answer_len - c->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->broken = errno != EINTR;
			continue;
		}
		c->sent += (size_t)n;
		if (c->sent == rq->answer_len) {
			c->sent = 0;
			c->first = (c->first + 1) % CONN_PENDING_MAX;
			c->pending--;
			request_free(rq);
		}
	}
}

/* Takes @obj. The connection is never freed here: the handler may be on the stack above it. */
static void request_answer(struct control_request *rq, struct json_object *obj)
{
	const char *text = obj ? json_object_to_json_string_ext(obj, ANSWER_FLAGS) : NULL;
	struct control_conn *c = rq->conn;
	int len;

	if (!c) {
		request_free(rq);
		json_object_put(obj);
		return;
	}
	len = text ? asprintf(&rq->answer, "%s\n", text) : -1;
	json_object_put(obj);
	rq->answered = true;
	if (len < 0) {
		/* No memory for this answer: the next one would be taken for it. */
		rq->answer = NULL;
		c->broken = true;
	} else {
		rq->answer_len = (size_t)len;
		conn_flush(c);
	}
	conn_update(c);
}

void control_reply(struct control_request *rq, struct json_object *body)
{
	struct json_object *obj = json_object_new_object();

	if (obj) {
		json_object_object_add(obj, "ok", json_object_new_boolean(true));
		if (body) {
			json_object_object_foreach(body, key, value)
				json_object_object_add(obj, key, json_object_get(value));
		}
	}
	json_object_put(body);
	request_answer(rq, obj);
}

void control_fail(struct control_request *rq, const char *fmt, ...)
{
	struct json_object *obj = json_object_new_object();
	char text[ERR_MSG_MAX * 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	control_make_utf8(text);
	if (obj) {
		json_object_object_add(obj, "ok", json_object_new_boolean(false));
		json_object_object_add(obj, "error", json_object_new_string(text));
	}
	request_answer(rq, obj);
}

static struct control_request *request_new(struct control_conn *c)
{
	struct control_request *rq = calloc(1, sizeof(*rq));

	if (!rq) {
		c->broken = true;
		return NULL;
	}
	rq->conn = c;
	*request_at(c, c->pending++) = rq;
	return rq;
}

static void take_line(struct control_conn *c, const char *line, size_t len)
{
	struct control_request *rq = request_new(c);
	struct json_object *args = NULL;
	const char *cmd;
	struct err e = {};

	if (!rq)
		return;
	if (control_parse(line, len, &args, &cmd, &e)) {
		control_fail(rq, "%s", err_msg(&e));
		return;
	}
	c->fn(c->arg, rq, cmd, args);
	json_object_put(args);
}

static void refuse_long_line(struct control_conn *c)
{
	struct control_request *rq = request_new(c);

	if (rq)
		control_fail(rq, "request is longer than %d bytes", CONTROL_LINE_MAX);
}

/* One line a turn: many pipelined requests must not keep the loop from its other work. */
static void conn_turn(struct control_conn *c)
{
	const char *line;
	size_t len;

	conn_flush(c);
	if (!has_room(c) || c->broken)
		return;
	switch (control_lines_next(&c->lines, &line, &len)) {
	case CONTROL_LINE_WHOLE:
		take_line(c, line, len);
		break;
	case CONTROL_LINE_TOO_LONG:
		refuse_long_line(c);
		break;
	case CONTROL_LINE_NONE:
		break;
	}
}

static void conn_read(struct control_conn *c)
{
	char *at;
	size_t room = control_lines_room(&c->lines, &at);
	ssize_t n = recv(c->fd, at, room, MSG_DONTWAIT);

	if (n > 0)
		control_lines_filled(&c->lines, (size_t)n);
	else if (n == 0)
		c->at_eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		c->broken = true;
}

static void on_io(void *arg, int fd, uint32_t revents)
{
	struct control_conn *c = arg;

	(void)fd;
	if (revents & EPOLLIN)
		conn_read(c);
	conn_turn(c);
	/* Gone for good, not only for writing: nobody is left to answer to. */
	if (is_finished(c) || revents & (EPOLLHUP | EPOLLERR))
		conn_free(c);
	else
		conn_update(c);
}

static void on_again(void *arg)
{
	struct control_conn *c = arg;

	conn_turn(c);
	if (is_finished(c))
		conn_free(c);
	else
		conn_update(c);
}

int control_conn_new(struct loop *l, int fd, struct list *list, control_handler_fn fn, void *arg)
{
	struct control_conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	c->fn = fn;
	c->arg = arg;
	list_add_tail(list, &c->link);
	r = loop_add_io(l, &c->io, fd, EPOLLIN, on_io, c);
	if (!r)
		r = loop_add_defer(l, &c->again, on_again, c);
	if (r)
		conn_free(c);
	return r;
}

void control_conn_free_all(struct list *list)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, list)
		conn_free(list_entry(pos, struct control_conn, link));
}
