// SPDX-License-Identifier: GPL-2.0-or-later
/* The QMP client: negotiation, replies, deadlines, descriptors and the end of a connection. */
#include "tests/unit/qmp-peer.h"

static void commands_sent_early_leave_in_one_write_when_ready(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	assert_int_equal(send_cmd(p, "stop", &a), 0);
	assert_int_equal(send_cmd(p, "cont", &b), 0);
	wrote(p, "");
	say(p, GREETING);
	assert_false(qmp_client_is_ready(p->c));
	wrote(p,
	      "{\"id\":1,\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}\n");
	say(p, "{\"return\": {}, \"id\": 1}");
	assert_true(qmp_client_is_ready(p->c));
	assert_int_equal(p->ready, 1);
	assert_int_equal(p->writes, 1);
	wrote(p, "{\"id\":2,\"execute\":\"stop\"}\n{\"id\":3,\"execute\":\"cont\"}\n");
	say(p, "{\"return\": {}, \"id\": 2}{\"return\": 5, \"id\": 3}");
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	assert_string_equal(b.text, "5");
}

static void version_is_that_of_the_greeting(void **state)
{
	struct peer *p = *state;

	assert_int_equal(qmp_client_version(p->c)->major, 7);
	assert_int_equal(qmp_client_version(p->c)->minor, 2);
	assert_int_equal(qmp_client_version(p->c)->micro, 22);
}

static void replies_match_by_id_in_any_order(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	send_cmd(p, "query-a", &a);
	send_cmd(p, "query-b", &b);
	say(p, "{\"return\": \"B\", \"id\": 3}");
	assert_int_equal(a.calls, 0);
	assert_string_equal(b.text, "\"B\"");
	say(p, "{\"return\": \"A\", \"id\": 2}");
	assert_string_equal(a.text, "\"A\"");
	assert_int_equal(a.calls + b.calls, 2);
}

static void error_is_carried_whole(void **state)
{
	struct peer *p = *state;
	char long_text[1200], msg[1400], want[1400];
	struct end a = {};

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = 0;
	send_cmd(p, "blockdev-add", &a);
	snprintf(msg, sizeof(msg),
		 "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"%s\"}, \"id\": 2}",
		 long_text);
	say(p, msg);
	assert_int_equal(a.status, -EREMOTEIO);
	snprintf(want, sizeof(want), "DeviceNotFound: %s", long_text);
	assert_string_equal(a.text, want);
	assert_int_equal(p->closed, 0);
}

static void arguments_are_encoded_and_owned(void **state)
{
	struct peer *p = *state;
	struct qmp_cmd cmd = {.name = "x", .fd = -1};

	cmd.args = json_object_new_object();
	json_object_object_add(cmd.args, "path", json_object_new_string("/dev/fdset/1 \"q\"\n"));
	assert_int_equal(qmp_client_send(p->c, &cmd, T0), 0);
	wrote(p, "{\"id\":2,\"execute\":\"x\",\"arguments\":{\"path\":\"/dev/fdset/1 "
		 "\\\"q\\\"\\n\"}}\n");
	say(p, "{\"return\": {}, \"id\": 2}");

	/* Refused: the reference is taken all the same, which the leak checker watches. */
	cmd.args = json_object_new_string("not an object");
	assert_int_equal(qmp_client_send(p->c, &cmd, T0), -EINVAL);
	cmd.args = json_object_new_object();
	cmd.name = "";
	assert_int_equal(qmp_client_send(p->c, &cmd, T0), -EINVAL);
	cmd.args = json_object_new_object();
	cmd.name = "x";
	p->write_result = -EPIPE;
	assert_int_equal(qmp_client_send(p->c, &cmd, T0), -EPIPE);
	wrote(p, "");
}

static void deadline_ends_a_command_and_its_late_reply_is_dropped(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .timeout_ms = 50, .fn = on_end, .arg = &a};

	assert_int_equal(qmp_client_send(p->c, &cmd, T0), 0);
	send_cmd(p, "cont", &b);
	assert_int_equal(qmp_client_deadline(p->c), T0 + 50000);
	assert_int_equal(qmp_client_tick(p->c, T0 + 49999), T0 + 50000);
	assert_int_equal(a.calls, 0);
	assert_int_equal(qmp_client_tick(p->c, T0 + 50000),
			 T0 + QMP_DEFAULT_TIMEOUT_MS * USEC_PER_MSEC);
	assert_int_equal(a.status, -ETIMEDOUT);
	assert_string_equal(a.text, "-: QEMU did not answer 'stop' within 50 ms");
	say(p, "{\"return\": {}, \"id\": 2}{\"return\": {}, \"id\": 3}");
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	assert_int_equal(b.status, 0);
	assert_int_equal(p->closed, 0);
	assert_int_equal(qmp_client_deadline(p->c), UINT64_MAX);
}

static void command_that_expires_unsent_is_never_sent(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .timeout_ms = 50, .fn = on_end, .arg = &a};

	qmp_client_send(p->c, &cmd, T0);
	send_cmd(p, "cont", &b);
	qmp_client_tick(p->c, T0 + 50000);
	assert_int_equal(a.status, -ETIMEDOUT);
	say(p, GREETING_NO_OOB);
	wrote(p, "{\"id\":1,\"execute\":\"qmp_capabilities\"}\n");
	say(p, "{\"return\": {}, \"id\": 1}");
	wrote(p, "{\"id\":2,\"execute\":\"cont\"}\n");
	hang_up(p);
}

static void missing_greeting_ends_the_connection(void **state)
{
	struct peer *p = *state;
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .timeout_ms = UINT32_MAX, .fn = on_end};
	struct end a = {};
	uint64_t d;

	cmd.arg = &a;
	qmp_client_send(p->c, &cmd, T0);
	d = qmp_client_tick(p->c, T0);
	assert_int_equal(d, T0 + QMP_GREETING_TIMEOUT_MS * USEC_PER_MSEC);
	qmp_client_tick(p->c, d - 1);
	assert_int_equal(p->closed, 0);
	assert_int_equal(qmp_client_tick(p->c, d), UINT64_MAX);
	assert_int_equal(p->closed, 1);
	assert_int_equal(p->reason.code, ETIMEDOUT);
	assert_int_equal(a.status, -ETIMEDOUT);
}

static void refused_negotiation_ends_the_connection(void **state)
{
	struct peer *p = *state;
	struct end a = {};

	send_cmd(p, "stop", &a);
	say(p, GREETING);
	say(p, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not today\"}, \"id\": 1}");
	assert_int_equal(a.status, -EPROTO);
	assert_int_equal(p->closed, 1);
	assert_int_equal(p->ready, 0);
	assert_non_null(strstr(p->reason.msg, "not today"));
}

static void end_of_connection_fails_all_pending_then_closes(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {}, j = {};
	struct err gone = {};

	err_set(&gone, ECONNRESET, "QEMU went away");
	send_cmd(p, "a", &a);
	send_cmd(p, "b", &b);
	run_job(p, "l1", &j);
	qmp_client_eof(p->c, &gone);
	assert_int_equal(a.status, -ECONNRESET);
	assert_int_equal(b.status, -ECONNRESET);
	assert_int_equal(j.status, -ECONNRESET);
	assert_int_equal(a.calls + b.calls + j.calls, 3);
	assert_string_equal(a.text, "-: QEMU went away");
	assert_int_equal(p->closed, 1);
	assert_string_equal(p->reason.msg, "QEMU went away");

	qmp_client_eof(p->c, &gone);
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(p->closed, 1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(send_cmd(p, "c", &a), -ECONNRESET);
	assert_int_equal(run_job(p, "l2", &j), -ECONNRESET);
	assert_int_equal(qmp_client_tick(p->c, UINT64_MAX - 1), UINT64_MAX);
}

static void garbage_ends_the_connection_with_a_protocol_error(void **state)
{
	static const char *const garbage[] = {
		"hello",
		GREETING,
		"{\"return\": {}, \"id\": 77}",
		"{\"return\": {}}",
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		struct end a = {};
		void *s = NULL;
		struct peer *p;

		ready_peer(&s);
		p = s;
		send_cmd(p, "stop", &a);
		say(p, garbage[i]);
		assert_int_equal(a.calls, 1);
		assert_int_equal(a.status, -EPROTO);
		assert_int_equal(p->closed, 1);
		assert_int_equal(p->reason.code, EPROTO);
		free_peer(&s);
	}
}

static void a_reply_given_twice_is_garbage(void **state)
{
	struct peer *p = *state;
	struct end a = {};

	send_cmd(p, "stop", &a);
	say(p, "{\"return\": {}, \"id\": 2}{\"return\": {}, \"id\": 2}");
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.status, 0);
	assert_int_equal(p->closed, 1);
}

static void at_most_seven_commands_in_band_are_in_flight(void **state)
{
	struct peer *p = *state;
	struct end e[QMP_MAX_IN_FLIGHT + 2] = {};
	struct qmp_cmd oob = {.name = "yank", .fd = -1, .oob = true};

	for (size_t i = 0; i < ARRAY_SIZE(e); i++)
		send_cmd(p, "stop", &e[i]);
	assert_int_equal(p->writes, QMP_MAX_IN_FLIGHT);
	p->out[0] = 0;
	assert_int_equal(qmp_client_send(p->c, &oob, T0), 0);
	wrote(p, "{\"id\":9,\"exec-oob\":\"yank\"}\n");
	say(p, "{\"return\": {}, \"id\": 9}");
	wrote(p, "");
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, "{\"id\":10,\"execute\":\"stop\"}\n");
	say(p, "{\"return\": {}, \"id\": 3}");
	wrote(p, "{\"id\":11,\"execute\":\"stop\"}\n");
	hang_up(p);
}

static void out_of_band_is_refused_unless_negotiated(void **state)
{
	struct peer *p = *state;
	struct qmp_cmd oob = {.name = "yank", .fd = -1, .oob = true};

	assert_int_equal(qmp_client_send(p->c, &oob, T0), -ENOTSUP);
	say(p, GREETING_NO_OOB);
	say(p, "{\"return\": {}, \"id\": 1}");
	assert_int_equal(p->ready, 1);
	assert_int_equal(qmp_client_send(p->c, &oob, T0), -ENOTSUP);
}

static void descriptors_travel_one_at_a_time_and_keep_the_order(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {}, c = {};

	assert_int_equal(send_fd(p, "add-fd", 40, &a), 0);
	assert_int_equal(p->last_fd, 40);
	wrote(p, "{\"id\":2,\"execute\":\"add-fd\"}\n");
	assert_int_equal(send_fd(p, "add-fd", 41, &b), 0);
	assert_int_equal(send_cmd(p, "stop", &c), 0);
	wrote(p, "");
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(p->writes, 1);
	assert_int_equal(p->last_fd, 41);
	wrote(p, "{\"id\":3,\"execute\":\"add-fd\"}\n{\"id\":4,\"execute\":\"stop\"}\n");
	hang_up(p);
}

static void a_descriptor_is_on_the_first_byte_of_its_write(void **state)
{
	struct peer *p = *state;
	struct end a = {};

	send_cmd(p, "stop", NULL);
	send_fd(p, "add-fd", 40, &a);
	send_cmd(p, "cont", NULL);
	say(p, GREETING_NO_OOB);
	p->out[0] = 0;
	p->writes = 0;
	say(p, "{\"return\": {}, \"id\": 1}");
	assert_int_equal(p->writes, 2);
	assert_int_equal(p->last_fd, 40);
	hang_up(p);
}

static void a_timed_out_descriptor_still_blocks_the_next(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {};

	send_fd(p, "add-fd", 40, &a);
	qmp_client_tick(p->c, T0 + QMP_DEFAULT_TIMEOUT_MS * USEC_PER_MSEC);
	assert_int_equal(a.status, -ETIMEDOUT);
	p->out[0] = 0;
	send_fd(p, "add-fd", 41, &b);
	wrote(p, "");
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, "{\"id\":3,\"execute\":\"add-fd\"}\n");
	assert_int_equal(a.calls, 1);
	hang_up(p);
}

static void send_in_vain(struct end *e)
{
	e->p->write_result = -EMFILE;
	assert_int_equal(send_cmd(e->p, "refused", NULL), -EMFILE);
	e->p->write_result = 0;
}

static void a_refused_write_costs_only_the_command_that_asked(void **state)
{
	struct peer *p = *state;
	struct end a = {.p = p, .then = send_in_vain}, b = {}, c = {};

	send_fd(p, "add-fd", 40, &a);
	send_fd(p, "add-fd", 41, &b);
	send_cmd(p, "stop", &c);
	p->out[0] = 0;
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(a.calls, 1);
	assert_int_equal(p->last_fd, 41);
	wrote(p, "{\"id\":3,\"execute\":\"add-fd\"}\n{\"id\":4,\"execute\":\"stop\"}\n");
	hang_up(p);
	assert_int_equal(b.calls + c.calls, 2);
}

static void a_write_refused_in_between_ends_the_connection(void **state)
{
	struct peer *p = *state;
	struct end a = {}, b = {}, c = {};

	send_fd(p, "add-fd", 40, &a);
	send_fd(p, "add-fd", 41, &b);
	p->out[0] = 0;
	p->write_result = -ENOMEM;
	say(p, "{\"return\": {}, \"id\": 2}");
	assert_int_equal(p->closed, 1);
	assert_int_equal(b.status, -ECONNRESET);
	assert_int_equal(b.calls, 1);
	assert_int_equal(send_cmd(p, "stop", &c), -ECONNRESET);
}

static void an_answer_to_the_client_before_is_dropped(void **state)
{
	struct peer *p = *state;
	struct end a = {};

	qmp_client_follow(p->c, 5000);
	say(p, "{\"return\": {}, \"id\": 16}" GREETING);
	wrote(p, "{\"id\":5000,\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]"
		 "}}\n");
	say(p, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 4999}");
	say(p, "{\"return\": {}, \"id\": 5000}");
	assert_int_equal(send_cmd(p, "stop", &a), 0);
	say(p, "{\"return\": 1, \"id\": 17}{\"return\": 2, \"id\": 5001}");
	assert_int_equal(p->ready, 1);
	assert_string_equal(a.text, "2");
	assert_int_equal(p->closed, 0);
	say(p, "{\"return\": {}, \"id\": 5002}");
	assert_int_equal(p->closed, 1);
	assert_non_null(strstr(p->reason.msg, "not sent (id 5002)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_new(commands_sent_early_leave_in_one_write_when_ready),
		t_ready(version_is_that_of_the_greeting),
		t_ready(replies_match_by_id_in_any_order),
		t_ready(error_is_carried_whole),
		t_ready(arguments_are_encoded_and_owned),
		t_ready(deadline_ends_a_command_and_its_late_reply_is_dropped),
		t_new(command_that_expires_unsent_is_never_sent),
		t_new(missing_greeting_ends_the_connection),
		t_new(refused_negotiation_ends_the_connection),
		t_ready(end_of_connection_fails_all_pending_then_closes),
		cmocka_unit_test(garbage_ends_the_connection_with_a_protocol_error),
		t_ready(a_reply_given_twice_is_garbage),
		t_new(an_answer_to_the_client_before_is_dropped),
		t_ready(at_most_seven_commands_in_band_are_in_flight),
		t_new(out_of_band_is_refused_unless_negotiated),
		t_ready(descriptors_travel_one_at_a_time_and_keep_the_order),
		t_new(a_descriptor_is_on_the_first_byte_of_its_write),
		t_ready(a_timed_out_descriptor_still_blocks_the_next),
		t_ready(a_refused_write_costs_only_the_command_that_asked),
		t_ready(a_write_refused_in_between_ends_the_connection),
	};

	return cmocka_run_group_tests_name("qmp-client", tests, NULL, NULL);
}
