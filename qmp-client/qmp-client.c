// SPDX-License-Identifier: GPL-2.0-or-later
/* QMP client core: negotiation, matching replies, events, deadlines and the end of a connection. */
#include "qmp-client/qmp-client.h"

#include "base/cleanup.h"
#include "qmp-client/qmp-internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int qmp_client_new(struct qmp_client **out, const struct qmp_client_ops *ops, void *arg)
{
	struct qmp_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	if (qmp_parser_init(&c->parser) < 0) {
		free(c);
		return -ENOMEM;
	}
	c->ops = *ops;
	c->arg = arg;
	list_init(&c->unsent);
	list_init(&c->sent);
	list_init(&c->jobs);
	list_init(&c->subs);
	list_init(&c->dispatching);
	*out = c;
	return 0;
}

void qmp_client_follow(struct qmp_client *c, int64_t first_id)
{
	assert(first_id > 0 && !c->last_id);
	c->first_id = first_id;
	c->last_id = first_id - 1;
}

static void enter(struct qmp_client *c)
{
	c->busy++;
}

static void leave(struct qmp_client *c)
{
	if (--c->busy || !c->freed)
		return;
	qmp_parser_destroy(&c->parser);
	free(c->out.data);
	free(c);
}

/* End everything that waits; callbacks may add nothing, the state being CLOSED. */
static void end_all(struct qmp_client *c, int status, const char *desc)
{
	const struct qmp_reply r = {.status = status, .desc = desc};

	while (!list_empty(&c->sent) || !list_empty(&c->unsent)) {
		struct list *l = list_empty(&c->sent) ? c->unsent.next : c->sent.next;
		struct qmp_pending *p = list_entry(l, struct qmp_pending, link);
		qmp_reply_fn fn = p->fn;
		void *arg = p->arg;

		qmp_pending_free(p);
		if (fn)
			fn(arg, &r);
	}
	qmp_job_end_all(c, &r);
}

static void drop_subscriptions(struct list *head)
{
	while (!list_empty(head))
		list_del(head->next);
}

void qmp_client_free(struct qmp_client *c)
{
	if (!c || c->freed)
		return;
	c->freed = true;
	c->state = QMP_STATE_CLOSED;
	enter(c);
	drop_subscriptions(&c->subs);
	drop_subscriptions(&c->dispatching);
	end_all(c, -ECANCELED, "the QMP connection is no longer needed");
	leave(c);
}

void qmp_fail(struct qmp_client *c, int status, const struct err *reason)
{
	if (c->state == QMP_STATE_CLOSED)
		return;
	c->state = QMP_STATE_CLOSED;
	end_all(c, status, err_msg(reason));
	if (!c->freed)
		c->ops.closed(c->arg, reason);
}

static void protocol_error(struct qmp_client *c, const struct err *reason)
{
	qmp_fail(c, -EPROTO, reason);
}

/* Something that held back commands is gone. */
static void send_waiting(struct qmp_client *c)
{
	struct err e = {};
	int r = qmp_pump(c);

	if (r < 0) {
		err_errno(&e, -r, "cannot send a QMP command that had to wait");
		qmp_fail(c, -ECONNRESET, &e);
	}
}

static void on_capabilities(void *arg, const struct qmp_reply *r)
{
	struct qmp_client *c = arg;
	struct err e = {};

	if (r->status < 0) {
		err_set(&e, -r->status, "QMP negotiation failed: %s", r->desc);
		qmp_fail(c, r->status == -EREMOTEIO ? -EPROTO : r->status, &e);
		return;
	}
	c->state = QMP_STATE_READY;
	send_waiting(c);
	if (c->state == QMP_STATE_READY)
		c->ops.ready(c->arg);
}

static struct json_object *oob_capability(void)
{
	struct json_object *args = json_object_new_object(), *list = json_object_new_array();

	if (!args || !list) {
		json_object_put(args);
		json_object_put(list);
		return NULL;
	}
	json_object_array_add(list, json_object_new_string("oob"));
	json_object_object_add(args, "enable", list);
	return args;
}

static void on_greeting(struct qmp_client *c, const struct qmp_msg *m, uint64_t now_us)
{
	struct qmp_cmd cmd = {
		.name = "qmp_capabilities", .fd = -1, .fn = on_capabilities, .arg = c};
	struct qmp_pending *p;
	struct err e = {};
	int r;

	if (c->state != QMP_STATE_GREETING) {
		err_set(&e, EPROTO, "QEMU sent a second QMP greeting");
		protocol_error(c, &e);
		return;
	}
	c->state = QMP_STATE_NEGOTIATING;
	c->version = m->version;
	cmd.args = m->oob ? oob_capability() : NULL;
	c->oob = cmd.args;
	r = qmp_enqueue(c, &cmd, qmp_cmd_deadline(&cmd, now_us), &p);
	if (!r) {
		/* Before whatever was queued earlier. */
		p->negotiation = true;
		list_del(&p->link);
		list_add_tail(c->unsent.next, &p->link);
		r = qmp_pump(c);
	}
	if (r < 0) {
		err_errno(&e, -r, "cannot send qmp_capabilities");
		qmp_fail(c, -ECONNRESET, &e);
	}
}

static struct qmp_pending *find_sent(struct qmp_client *c, int64_t id)
{
	for (struct list *l = c->sent.next; l != &c->sent; l = l->next) {
		struct qmp_pending *p = list_entry(l, struct qmp_pending, link);

		if (p->id == id)
			return p;
	}
	return NULL;
}

static void on_reply(struct qmp_client *c, const struct qmp_msg *m)
{
	struct qmp_pending *p = find_sent(c, m->id);
	struct qmp_reply r = {.ret = m->body, .err_class = m->name, .desc = m->desc};
	struct err e = {};
	qmp_reply_fn fn;
	void *arg;

	if (!p && m->id >= 0 && m->id < c->first_id)
		return;
	if (!p) {
		if (m->id >= 0)
			err_set(&e, EPROTO,
				"QEMU answered a command that it was not sent (id %lld)",
				(long long)m->id);
		else
			err_set(&e, EPROTO, "QEMU could not read a command: %s",
				m->desc ?: "it answered without an id");
		protocol_error(c, &e);
		return;
	}
	r.status = m->type == QMP_MSG_ERROR ? -EREMOTEIO : 0;
	fn = p->fn;
	arg = p->arg;
	qmp_pending_free(p);
	if (fn)
		fn(arg, &r);
	send_waiting(c);
}

static void on_event(struct qmp_client *c, const struct qmp_msg *m)
{
	qmp_job_event(c, m->name, m->body);
	if (c->state == QMP_STATE_CLOSED)
		return;
	assert(list_empty(&c->dispatching));
	while (!list_empty(&c->subs)) {
		struct list *l = c->subs.next;

		list_del(l);
		list_add_tail(&c->dispatching, l);
	}
	while (!list_empty(&c->dispatching)) {
		struct qmp_subscription *s =
			list_entry(c->dispatching.next, struct qmp_subscription, link);

		list_del(&s->link);
		list_add_tail(&c->subs, &s->link);
		if (!s->event || !strcmp(s->event, m->name))
			s->fn(s->arg, m->name, m->body, m->timestamp_us);
	}
}

static void on_message(struct qmp_client *c, const struct qmp_msg *m, uint64_t now_us)
{
	switch (m->type) {
	case QMP_MSG_GREETING:
		on_greeting(c, m, now_us);
		break;
	case QMP_MSG_RETURN:
	case QMP_MSG_ERROR:
		on_reply(c, m);
		break;
	case QMP_MSG_EVENT:
		on_event(c, m);
		break;
	}
}

void qmp_client_feed(struct qmp_client *c, const void *buf, size_t len, uint64_t now_us)
{
	const char *pos = buf;
	struct err e = {};
	struct qmp_msg m;
	int r = 0;

	assert(!c->busy);
	enter(c);
	while (c->state != QMP_STATE_CLOSED &&
	       (r = qmp_parser_next(&c->parser, &pos, &len, &m, &e)) > 0) {
		on_message(c, &m, now_us);
		qmp_msg_clear(&m);
	}
	if (r < 0)
		protocol_error(c, &e);
	leave(c);
}

void qmp_client_eof(struct qmp_client *c, const struct err *reason)
{
	enter(c);
	qmp_fail(c, -ECONNRESET, reason);
	leave(c);
}

/* End the first command of @head whose time is over; its entry stays if QEMU may still answer. */
static bool expire_one(struct list *head, bool sent, uint64_t now_us)
{
	struct qmp_reply r = {.status = -ETIMEDOUT};
	struct list *l, *tmp;
	struct err e = {};

	list_for_each_safe (l, tmp, head) {
		struct qmp_pending *p = list_entry(l, struct qmp_pending, link);
		qmp_reply_fn fn = p->fn;
		void *arg = p->arg;

		if (p->deadline_us > now_us)
			continue;
		err_set(&e, ETIMEDOUT, "%s '%s' within %u ms",
			sent ? "QEMU did not answer" : "QEMU did not get round to", p->name,
			p->timeout_ms);
		r.desc = e.msg;
		p->fn = NULL;
		p->deadline_us = UINT64_MAX;
		if (!sent)
			qmp_pending_free(p);
		if (fn)
			fn(arg, &r);
		return true;
	}
	return false;
}

/* The wait for the greeting has no command to hang on. */
static void expire_greeting(struct qmp_client *c, uint64_t now_us)
{
	struct err e = {};

	if (c->state != QMP_STATE_GREETING)
		return;
	if (!c->greeting_deadline_us)
		c->greeting_deadline_us = now_us + QMP_GREETING_TIMEOUT_MS * USEC_PER_MSEC;
	if (c->greeting_deadline_us > now_us)
		return;
	err_set(&e, ETIMEDOUT,
		"no QMP greeting within %d ms: QEMU hangs, or its monitor has another client",
		QMP_GREETING_TIMEOUT_MS);
	qmp_fail(c, -ETIMEDOUT, &e);
}

uint64_t qmp_client_tick(struct qmp_client *c, uint64_t now_us)
{
	uint64_t next;

	assert(!c->busy);
	enter(c);
	expire_greeting(c, now_us);
	while (expire_one(&c->sent, true, now_us) || expire_one(&c->unsent, false, now_us))
		;
	qmp_job_expire(c, now_us);
	send_waiting(c);
	next = qmp_client_deadline(c);
	leave(c);
	return next;
}

static uint64_t first_deadline(const struct list *head, uint64_t first)
{
	for (struct list *l = head->next; l != head; l = l->next)
		first = MIN(first, list_entry(l, struct qmp_pending, link)->deadline_us);
	return first;
}

uint64_t qmp_client_deadline(const struct qmp_client *c)
{
	uint64_t first = qmp_job_deadline(c);

	if (c->state == QMP_STATE_GREETING && c->greeting_deadline_us)
		first = MIN(first, c->greeting_deadline_us);
	first = first_deadline(&c->sent, first);
	return first_deadline(&c->unsent, first);
}

const struct qmp_version *qmp_client_version(const struct qmp_client *c)
{
	return &c->version;
}

bool qmp_client_is_ready(const struct qmp_client *c)
{
	return c->state == QMP_STATE_READY;
}

void qmp_client_subscribe(struct qmp_client *c, struct qmp_subscription *s)
{
	/* A freed client calls nobody, and its list is about to go. */
	list_init(&s->link);
	if (!c->freed)
		list_add_tail(&c->subs, &s->link);
}

void qmp_client_unsubscribe(struct qmp_subscription *s)
{
	if (s->link.next)
		list_del(&s->link);
}
