// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of colo-ctl: what is taken, what is refused, the request that comes out. */
#include "base/util.h"
#include "colo-ctl/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ARGS_MAX 12

/* Split @line at blanks and parse it. */
static int parse(struct ctl_options *o, const char *line, struct err *e)
{
	static char buf[256], name[] = "colo-ctl";
	char *argv[ARGS_MAX + 1] = {name};
	int argc = 1;

	snprintf(buf, sizeof(buf), "%s", line);
	for (char *w = strtok(buf, " "); w && argc < ARGS_MAX; w = strtok(NULL, " "))
		argv[argc++] = w;
	memset(e, 0, sizeof(*e));
	return ctl_options_parse(o, argc, argv, e);
}

static void each_command_becomes_its_request(void **state)
{
	static const char *const cases[][2] = {
		{"status", "{\"cmd\":\"status\"}"},
		{"watch", "{\"cmd\":\"status\"}"},
		{"checkpoint", "{\"cmd\":\"checkpoint\"}"},
		{"failover", "{\"cmd\":\"failover\",\"force\":false}"},
		{"failover --force", "{\"cmd\":\"failover\",\"force\":true}"},
		{"mode on-demand", "{\"cmd\":\"mode\",\"mode\":\"on-demand\"}"},
		{"mode periodic", "{\"cmd\":\"mode\",\"mode\":\"periodic\"}"},
		{"set period_ms 50", "{\"cmd\":\"set\",\"key\":\"period_ms\",\"value\":\"50\"}"},
		{"set a \"b\\", "{\"cmd\":\"set\",\"key\":\"a\",\"value\":\"\\\"b\\\\\"}"},
		{"mode colo", "{\"cmd\":\"mode\",\"mode\":\"colo\"}"},
		{"mode auto", "{\"cmd\":\"mode\",\"mode\":\"auto\"}"},
		{"mismatches", "{\"cmd\":\"mismatches\"}"},
		{"mismatches -n 3", "{\"cmd\":\"mismatches\",\"count\":3}"},
		{"-n4 mismatches --pcap /f",
		 "{\"cmd\":\"mismatches\",\"packets\":true,\"count\":4}"},
		{"flows", "{\"cmd\":\"flows\"}"},
		{"flows --count=9", "{\"cmd\":\"flows\",\"count\":9}"},
		{"verify", "{\"cmd\":\"verify\"}"},
		{"stop", "{\"cmd\":\"stop\"}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ctl_options o;
		struct json_object *rq;
		struct err e;

		assert_int_equal(parse(&o, cases[i][0], &e), 0);
		rq = ctl_request(&o);
		assert_string_equal(json_object_to_json_string_ext(rq, JSON_C_TO_STRING_PLAIN),
				    cases[i][1]);
		json_object_put(rq);
	}
}

static void options_may_stand_anywhere(void **state)
{
	static const char *const lines[] = {
		"--json --socket /a/b --timeout 5 watch --interval 200 --count 3",
		"watch --count=3 --json --interval=200 --timeout=5 --socket=/a/b",
	};
	struct ctl_options o;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(&o, lines[i], &e), 0);
		assert_int_equal(o.cmd, CTL_WATCH);
		assert_string_equal(o.socket, "/a/b");
		assert_null(o.name);
		assert_true(o.json);
		assert_int_equal(o.timeout_ms, 5000);
		assert_int_equal(o.interval_ms, 200);
		assert_int_equal(o.count, 3);
	}
}

static void defaults_are_a_minute_and_a_second_without_end(void **state)
{
	struct ctl_options o;
	struct err e;

	(void)state;
	assert_int_equal(parse(&o, "watch", &e), 0);
	assert_int_equal(o.timeout_ms, 60000);
	assert_int_equal(o.interval_ms, 1000);
	assert_int_equal(o.count, 0);
	assert_false(o.json);
	assert_null(o.socket);
}

static void help_and_version_need_no_command(void **state)
{
	struct ctl_options o;
	struct err e;

	(void)state;
	assert_int_equal(parse(&o, "--help", &e), 0);
	assert_int_equal(o.cmd, CTL_HELP);
	assert_int_equal(parse(&o, "--version nonsense", &e), 0);
	assert_int_equal(o.cmd, CTL_VERSION);
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
	static const char *const cases[][2] = {
		{"", "no command"},
		{"nonsense", "\"nonsense\""},
		{"status now", "colo-ctl status"},
		{"mode", "colo|periodic|auto|on-demand"},
		{"mode sometimes", "\"sometimes\""},
		{"set period_ms", "KEY VALUE"},
		{"set period_ms 1 2", "KEY VALUE"},
		{"--nonsense status", "--nonsense"},
		{"status -x", "-x"},
		{"status --socket", "--socket needs"},
		{"--socket /a --name b status", "exclude"},
		{"--name a/b status", "--name"},
		{"status --force", "--force"},
		{"verify --count 2", "--count"},
		{"verify -n 2", "--count"},
		{"flows -n 0", "from 1 to"},
		{"flows -n", "needs a value"},
		{"flows --pcap /f", "--pcap"},
		{"flows --interval 100", "--interval"},
		{"mismatches --pcap=", "--pcap"},
		{"mode fast", "colo, periodic, auto or on-demand"},
		{"status --interval 100", "--interval"},
		{"watch --interval 5", "from 20 to"},
		{"watch --interval 1s", "\"1s\""},
		{"watch --count 0", "from 1 to"},
		{"watch --count -1", "\"-1\""},
		{"status --timeout 0", "from 1 to"},
		{"status --timeout 99999999999999999999", "from 1 to"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ctl_options o;
		struct err e;

		assert_int_equal(parse(&o, cases[i][0], &e), -EINVAL);
		if (!strstr(e.msg, cases[i][1]))
			fail_msg("\"%s\" does not name \"%s\"", e.msg, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_becomes_its_request),
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(defaults_are_a_minute_and_a_second_without_end),
		cmocka_unit_test(help_and_version_need_no_command),
		cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
