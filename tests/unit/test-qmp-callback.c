// SPDX-License-Identifier: GPL-2.0-or-later
/* QMP events, and what a callback may do to the client that calls it. */
#include "tests/unit/qmp-peer.h"

static char heard[256];

static void hear(void *arg, const char *event, struct json_object *data, uint64_t timestamp_us)
{
	size_t used = strlen(heard);

	(void)data;
	assert_int_equal(timestamp_us, 2000003);
	snprintf(heard + used, sizeof(heard) - used, "%s:%s ", (const char *)arg, event);
}

static void say_event(struct peer *p, const char *name)
{
	char msg[256];

	snprintf(msg, sizeof(msg),
		 "{\"event\": \"%s\", \"timestamp\": {\"seconds\": 2, \"microseconds\": 3}}", name);
	say(p, msg);
}

static void subscribers_hear_their_event_or_all(void **state)
{
	struct peer *p = *state;
	struct qmp_subscription all = {.fn = hear, .arg = (char[]){"all"}};
	struct qmp_subscription stop = {.event = "STOP", .fn = hear, .arg = (char[]){"stop"}},
				never = {};

	heard[0] = 0;
	qmp_client_subscribe(p->c, &stop);
	qmp_client_subscribe(p->c, &all);
	say_event(p, "RESUME");
	say_event(p, "STOP");
	assert_string_equal(heard, "all:RESUME stop:STOP all:STOP ");
	qmp_client_unsubscribe(&all);
	qmp_client_unsubscribe(&all);
	qmp_client_unsubscribe(&never);
	heard[0] = 0;
	say_event(p, "STOP");
	assert_string_equal(heard, "stop:STOP ");
	qmp_client_unsubscribe(&stop);
}

/* A subscriber that changes the list: drops itself and the next, adds another. */
struct changer {
	struct peer *p;
	struct qmp_subscription self, *drop, *add;
};

static void change(void *arg, const char *event, struct json_object *data, uint64_t timestamp_us)
{
	struct changer *ch = arg;

	hear((char[]){"change"}, event, data, timestamp_us);
	qmp_client_unsubscribe(&ch->self);
	qmp_client_unsubscribe(ch->drop);
	qmp_client_subscribe(ch->p->c, ch->add);
}

static void subscriptions_may_change_during_an_event(void **state)
{
	struct peer *p = *state;
	struct qmp_subscription a = {.fn = hear, .arg = (char[]){"a"}},
				b = {.fn = hear, .arg = (char[]){"b"}},
				c = {.fn = hear, .arg = (char[]){"c"}},
				d = {.fn = hear, .arg = (char[]){"d"}};
	struct changer ch = {.p = p, .drop = &b, .add = &d};

	heard[0] = 0;
	ch.self = (struct qmp_subscription){.fn = change, .arg = &ch};
	qmp_client_subscribe(p->c, &a);
	qmp_client_subscribe(p->c, &ch.self);
	qmp_client_subscribe(p->c, &b);
	qmp_client_subscribe(p->c, &c);
	say_event(p, "E");
	assert_string_equal(heard, "a:E change:E c:E ");
	heard[0] = 0;
	say_event(p, "F");
	assert_true(strstr(heard, "a:F ") && strstr(heard, "c:F ") && strstr(heard, "d:F "));
	assert_int_equal(strlen(heard), 12);
	qmp_client_unsubscribe(&a);
	qmp_client_unsubscribe(&c);
	qmp_client_unsubscribe(&d);
}

static void send_again(struct end *e)
{
	if (e->calls == 1)
		assert_int_equal(send_cmd(e->p, "again", e), 0);
}

static void a_callback_may_send(void **state)
{
	struct peer *p = *state;
	struct end a = {.then = send_again};

	send_cmd(p, "first", &a);
	p->out[0] = 0;
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, "{\"id\":3,\"execute\":\"again\"}\n");
	say(p, "{\"return\": {}, \"id\": 3}");
	assert_int_equal(a.calls, 2);
}

static void free_client(struct end *e)
{
	struct qmp_client *c = e->p->c;

	e->p->c = NULL;
	qmp_client_free(c);
}

static void freeing_ends_everything_as_canceled(void **state)
{
	struct peer *p = *state;
	struct qmp_subscription s = {.fn = hear, .arg = (char[]){"s"}};
	struct end a = {}, j = {};

	send_cmd(p, "a", &a);
	run_job(p, "l1", &j);
	qmp_client_subscribe(p->c, &s);
	qmp_client_free(p->c);
	p->c = NULL;
	assert_int_equal(a.status, -ECANCELED);
	assert_int_equal(j.status, -ECANCELED);
	assert_int_equal(a.calls + j.calls, 2);
	assert_int_equal(p->closed, 0);
	qmp_client_unsubscribe(&s);
}

static void a_callback_may_free_the_client(void **state)
{
	struct peer *p = *state;
	struct end a = {.then = free_client}, b = {};

	send_cmd(p, "a", &a);
	send_cmd(p, "b", &b);
	say(p, "{\"return\": {}, \"id\": 2}{\"return\": {}, \"id\": 3}");
	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, -ECANCELED);
	assert_int_equal(a.calls + b.calls, 2);
	assert_int_equal(p->closed, 0);
}

static void a_timeout_or_closing_callback_may_free_the_client(void **state)
{
	struct end a = {.then = free_client}, b = {};
	struct peer *p = *state;
	void *s = NULL;

	send_cmd(p, "a", &a);
	send_cmd(p, "b", &b);
	qmp_client_tick(p->c, UINT64_MAX - 1);
	assert_int_equal(a.status, -ETIMEDOUT);
	assert_int_equal(b.status, -ECANCELED);

	ready_peer(&s);
	p = s;
	send_cmd(p, "a", &a);
	send_cmd(p, "b", &b);
	say(p, "garbage");
	assert_int_equal(a.status, -EPROTO);
	assert_int_equal(b.status, -ECANCELED);
	assert_int_equal(p->closed, 0);
	free_peer(&s);
}

static void a_job_callback_may_free_the_client(void **state)
{
	struct peer *p = *state;
	struct end j = {.then = free_client}, b = {};

	run_job(p, "l1", &j);
	send_cmd(p, "b", &b);
	qmp_client_tick(p->c, UINT64_MAX - 1);
	assert_int_equal(j.calls, 1);
	assert_int_equal(b.calls, 1);
}

static void free_on_event(void *arg, const char *event, struct json_object *data, uint64_t t)
{
	(void)event;
	(void)data;
	(void)t;
	free_client(arg);
}

static void an_event_callback_may_free_the_client(void **state)
{
	struct peer *p = *state;
	struct end e = {.p = p};
	struct qmp_subscription a = {.fn = free_on_event, .arg = &e};
	struct qmp_subscription b = {.fn = hear, .arg = (char[]){"b"}};

	heard[0] = 0;
	qmp_client_subscribe(p->c, &a);
	qmp_client_subscribe(p->c, &b);
	say_event(p, "E");
	assert_string_equal(heard, "");
	qmp_client_unsubscribe(&a);
	qmp_client_unsubscribe(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_ready(subscribers_hear_their_event_or_all),
		t_ready(subscriptions_may_change_during_an_event),
		t_ready(a_callback_may_send),
		t_ready(freeing_ends_everything_as_canceled),
		t_ready(a_callback_may_free_the_client),
		t_ready(a_timeout_or_closing_callback_may_free_the_client),
		t_ready(a_job_callback_may_free_the_client),
		t_ready(an_event_callback_may_free_the_client),
	};

	return cmocka_run_group_tests_name("qmp-callback", tests, NULL, NULL);
}
