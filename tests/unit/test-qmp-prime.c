// SPDX-License-Identifier: GPL-2.0-or-later
/* A primed QMP client: the beginning of the next command in band is written ahead. */
#include "tests/unit/qmp-peer.h"

#define BEGUN_2 "{\"id\":2,\"execute\":\""
#define BEGUN_3 "{\"id\":3,\"execute\":\""

static void prime(struct peer *p, const char *want)
{
	assert_int_equal(qmp_client_prime(p->c), 0);
	wrote(p, want);
}

static void the_next_command_is_the_rest_of_what_was_primed(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	prime(p, BEGUN_2);
	assert_int_equal(send_cmd(p, "stop", &a), 0);
	wrote(p, "stop\"}\n");
	assert_int_equal(send_cmd(p, "cont", &b), 0);
	wrote(p, "{\"id\":3,\"execute\":\"cont\"}\n");
	say(p, "{\"return\": \"A\", \"id\": 2}{\"return\": \"B\", \"id\": 3}");
	assert_string_equal(a.text, "\"A\"");
	assert_string_equal(b.text, "\"B\"");
	assert_int_equal(p->closed, 0);
}

static void arguments_stand_in_the_rest(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	prime(p, BEGUN_2);
	assert_int_equal(run_job(p, "l1", &j), 0);
	wrote(p, "snapshot-load\",\"arguments\":{\"job-id\":\"l1\"}}\n");
	hang_up(p);
}

static void priming_twice_writes_once(void **state)
{
	struct peer *p = *state;

	prime(p, BEGUN_2);
	prime(p, "");
	send_cmd(p, "stop", NULL);
	wrote(p, "stop\"}\n");
	prime(p, BEGUN_3);
}

static void priming_waits_for_no_reply(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	send_cmd(p, "query-status", &a);
	p->out[0] = 0;
	prime(p, BEGUN_3);
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, "");
	send_cmd(p, "stop", &b);
	wrote(p, "stop\"}\n");
	say(p, "{\"return\": {}, \"id\": 3}");
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
}

static void nothing_is_primed_before_the_negotiation_is_done(void **state)
{
	struct peer *p = *state;

	assert_int_equal(qmp_client_prime(p->c), -EAGAIN);
	say(p, GREETING_NO_OOB);
	p->out[0] = 0;
	assert_int_equal(qmp_client_prime(p->c), -EAGAIN);
	wrote(p, "");
	say(p, "{\"return\": {}, \"id\": 1}");
	prime(p, BEGUN_2);
}

static void nothing_is_primed_while_commands_wait(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	send_fd(p, "add-fd", 40, &a);
	send_fd(p, "add-fd", 41, &b);
	p->out[0] = 0;
	assert_int_equal(qmp_client_prime(p->c), -EAGAIN);
	wrote(p, "");
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, "{\"id\":3,\"execute\":\"add-fd\"}\n");
	prime(p, "{\"id\":4,\"execute\":\"");
	hang_up(p);
}

static void out_of_band_is_busy_until_the_rest_was_sent(void **state)
{
	struct peer *p = *state;
	struct qmp_cmd oob = {.name = "yank", .fd = -1, .oob = true};

	prime(p, BEGUN_2);
	assert_int_equal(qmp_client_send(p->c, &oob, T0), -EBUSY);
	wrote(p, "");
	send_cmd(p, "stop", NULL);
	wrote(p, "stop\"}\n");
	assert_int_equal(qmp_client_send(p->c, &oob, T0), 0);
	wrote(p, "{\"id\":3,\"exec-oob\":\"yank\"}\n");
}

static void a_refused_prime_changes_nothing(void **state)
{
	struct peer *p = *state;

	p->write_result = -ENOMEM;
	assert_int_equal(qmp_client_prime(p->c), -ENOMEM);
	p->write_result = 0;
	send_cmd(p, "stop", NULL);
	wrote(p, "{\"id\":2,\"execute\":\"stop\"}\n");
}

static void a_refused_rest_leaves_the_client_primed(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	prime(p, BEGUN_2);
	p->write_result = -EMFILE;
	assert_int_equal(send_fd(p, "add-fd", 40, &a), -EMFILE);
	p->write_result = 0;
	send_cmd(p, "stop", &b);
	wrote(p, "stop\"}\n");
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.status, 0);
	assert_int_equal(b.calls, 1);
}

static void only_the_first_command_of_a_write_is_the_rest(void **state)
{
	struct peer *p = *state;
	struct end fd[2] = {}, b = {}, c = {};

	send_fd(p, "add-fd", 40, &fd[0]);
	p->out[0] = 0;
	prime(p, BEGUN_3);
	send_fd(p, "add-fd", 41, &fd[1]);
	send_cmd(p, "stop", &b);
	send_cmd(p, "cont", &c);
	wrote(p, "");
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(p->writes, 1);
	assert_int_equal(p->last_fd, 41);
	wrote(p, "add-fd\"}\n{\"id\":4,\"execute\":\"stop\"}\n{\"id\":5,\"execute\":\"cont\"}\n");
	hang_up(p);
}

static void refuse_one(struct end *e)
{
	e->p->write_result = -EMFILE;
	assert_int_equal(send_cmd(e->p, "refused", NULL), -EMFILE);
	e->p->write_result = 0;
}

static void a_refused_batch_waits_primed_and_gives_its_ids_back(void **state)
{
	struct peer *p = *state;
	struct end a = {.p = p, .then = refuse_one}, b = {}, c = {};

	send_fd(p, "add-fd", 40, &a);
	p->out[0] = 0;
	prime(p, BEGUN_3);
	send_fd(p, "add-fd", 41, &b);
	send_cmd(p, "stop", &c);
	/* In the callback all three of them are refused as one write. */
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(a.calls, 1);
	assert_int_equal(p->last_fd, 41);
	wrote(p, "add-fd\"}\n{\"id\":4,\"execute\":\"stop\"}\n");
	say(p, "{\"return\": {}, \"id\": 3}{\"return\": {}, \"id\": 4}");
	assert_int_equal(b.calls + c.calls, 2);
	assert_int_equal(b.status | c.status, 0);
}

static void a_waiting_command_that_expires_leaves_the_rest_to_the_next(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {}, c = {};
	struct qmp_cmd late = {.name = "add-fd", .fd = 41, .timeout_ms = 50, .fn = on_end};

	late.arg = &b;
	send_fd(p, "add-fd", 40, &a);
	p->out[0] = 0;
	prime(p, BEGUN_3);
	assert_int_equal(qmp_client_send(p->c, &late, T0), 0);
	qmp_client_tick(p->c, T0 + 50000);
	assert_int_equal(b.status, -ETIMEDOUT);
	wrote(p, "");
	send_cmd(p, "stop", &c);
	wrote(p, "stop\"}\n");
	say(p, "{\"return\": {}, \"id\": 2}{\"return\": {}, \"id\": 3}");
	assert_int_equal(c.status, 0);
	assert_int_equal(a.calls + b.calls + c.calls, 3);
}

static void prime_again(struct end *e)
{
	assert_int_equal(qmp_client_prime(e->p->c), 0);
}

static void a_callback_may_prime(void **state)
{
	struct peer *p = *state;
	struct end a = {.then = prime_again};

	send_cmd(p, "stop", &a);
	p->out[0] = 0;
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, BEGUN_3);
}

static void a_reply_to_what_is_only_primed_is_garbage(void **state)
{
	struct peer *p = *state;

	prime(p, BEGUN_2);
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(p->closed, 1);
	assert_int_equal(p->reason.code, EPROTO);
}

static void a_lost_connection_is_not_primed(void **state)
{
	struct peer *p = *state;
	struct err gone = {};
	struct end a = {};

	prime(p, BEGUN_2);
	err_set(&gone, ECONNRESET, "QEMU went away");
	qmp_client_eof(p->c, &gone);
	assert_int_equal(qmp_client_prime(p->c), -ECONNRESET);
	assert_int_equal(send_cmd(p, "stop", &a), -ECONNRESET);
	wrote(p, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_ready(the_next_command_is_the_rest_of_what_was_primed),
		t_ready(arguments_stand_in_the_rest),
		t_ready(priming_twice_writes_once),
		t_ready(priming_waits_for_no_reply),
		t_new(nothing_is_primed_before_the_negotiation_is_done),
		t_ready(nothing_is_primed_while_commands_wait),
		t_ready(out_of_band_is_busy_until_the_rest_was_sent),
		t_ready(a_refused_prime_changes_nothing),
		t_ready(a_refused_rest_leaves_the_client_primed),
		t_ready(only_the_first_command_of_a_write_is_the_rest),
		t_ready(a_refused_batch_waits_primed_and_gives_its_ids_back),
		t_ready(a_waiting_command_that_expires_leaves_the_rest_to_the_next),
		t_ready(a_callback_may_prime),
		t_ready(a_reply_to_what_is_only_primed_is_garbage),
		t_ready(a_lost_connection_is_not_primed),
	};

	return cmocka_run_group_tests_name("qmp-prime", tests, NULL, NULL);
}
