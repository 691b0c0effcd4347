// SPDX-License-Identifier: GPL-2.0-or-later
/* Control requests: framing into lines, strict parsing, UTF-8 repair, who may connect. */
#include "colod/control/control-parse.h"
#include "colod/control/control-socket.h"

#include "tests/unit/unit.h"

static void feed(struct control_lines *l, const char *text, size_t len)
{
	while (len) {
		char *at;
		size_t n = MIN(control_lines_room(l, &at), len);

		assert_true(n > 0);
		memcpy(at, text, n);
		control_lines_filled(l, n);
		text += n;
		len -= n;
	}
}

static void expect_line(struct control_lines *l, const char *want)
{
	const char *line;
	size_t len;

	assert_int_equal(control_lines_next(l, &line, &len), CONTROL_LINE_WHOLE);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(line, want, len);
}

static void expect_none(struct control_lines *l)
{
	const char *line;
	size_t len;

	assert_int_equal(control_lines_next(l, &line, &len), CONTROL_LINE_NONE);
}

static void lines_come_out_whole_for_every_split(void **state)
{
	static const char text[] = "one\n\ntwo\nthree\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct control_lines *l = calloc(1, sizeof(*l));

		feed(l, text, cut);
		feed(l, text + cut, sizeof(text) - 1 - MIN(cut, sizeof(text) - 1));
		assert_true(control_lines_ready(l));
		expect_line(l, "one");
		expect_line(l, "two");
		expect_line(l, "three");
		expect_none(l);
		assert_false(control_lines_ready(l));
		free(l);
	}
}

static void a_part_of_a_line_waits(void **state)
{
	struct control_lines *l = calloc(1, sizeof(*l));

	(void)state;
	feed(l, "one\ntw", 6);
	expect_line(l, "one");
	expect_none(l);
	feed(l, "o\n", 2);
	expect_line(l, "two");
	free(l);
}

static void an_overlong_line_is_reported_once_and_skipped(void **state)
{
	struct control_lines *l = calloc(1, sizeof(*l));
	char *at;
	const char *line;
	size_t len;

	(void)state;
	for (int i = 0; i < 3; i++) {
		size_t room = control_lines_room(l, &at);

		memset(at, 'x', room);
		control_lines_filled(l, room);
		assert_true(control_lines_ready(l));
		assert_int_equal(control_lines_next(l, &line, &len),
				 i ? CONTROL_LINE_NONE : CONTROL_LINE_TOO_LONG);
	}
	feed(l, "xx\nnext\n", 8);
	expect_line(l, "next");
	expect_none(l);
	free(l);
}

static void the_longest_line_passes(void **state)
{
	struct control_lines *l = calloc(1, sizeof(*l));
	const char *line;
	size_t len;
	char *at;

	(void)state;
	assert_int_equal(control_lines_room(l, &at), CONTROL_LINE_MAX);
	memset(at, 'x', CONTROL_LINE_MAX);
	at[CONTROL_LINE_MAX - 1] = '\n';
	control_lines_filled(l, CONTROL_LINE_MAX);
	assert_int_equal(control_lines_next(l, &line, &len), CONTROL_LINE_WHOLE);
	assert_int_equal(len, CONTROL_LINE_MAX - 1);
	free(l);
}

static void a_request_is_parsed(void **state)
{
	static const char *const texts[] = {
		"{\"cmd\":\"failover\",\"force\":true}",
		"  { \"cmd\" : \"failover\" , \"force\" : true } \r",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct json_object *o = NULL;
		const char *cmd;
		struct err e = {};

		assert_int_equal(control_parse(texts[i], strlen(texts[i]), &o, &cmd, &e), 0);
		assert_string_equal(cmd, "failover");
		assert_true(json_object_get_boolean(json_object_object_get(o, "force")));
		json_object_put(o);
	}
}

#define TEXT(s) s, sizeof(s) - 1

static void what_is_no_request_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *reason;
	} cases[] = {
		{TEXT("{\"cmd\":\"status\""), "ends too early"},
		{TEXT(""), "ends too early"},
		{TEXT("status"), "not JSON"},
		{TEXT("{'cmd':'status'}"), "not JSON"},
		{TEXT("[\"cmd\"]"), "not a JSON object"},
		{TEXT("\"cmd\""), "not a JSON object"},
		{TEXT("null "), "not a JSON object"},
		{TEXT("{}"), "no string member \"cmd\""},
		{TEXT("{\"cmd\":7}"), "no string member \"cmd\""},
		{TEXT("{\"cmd\":null}"), "no string member \"cmd\""},
		{TEXT("{\"cmd\":\"status\"} {}"), ""},
		{TEXT("{\"cmd\":\"status\"}\0"), ""},
		{TEXT("{\"cmd\":\"sta\0tus\"}"), ""},
		{TEXT("{\"cmd\":\"\xff\"}"), "not JSON"},
		{TEXT("{\"cmd\":\"a\",\"x\":[[[[[[]]]]]]}"), "not JSON"},
		{TEXT("{\"cmd\":\"012345678901234567890123456789012\"}"), "longer than 32"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *o = NULL;
		const char *cmd;
		struct err e = {};

		assert_int_equal(control_parse(cases[i].text, cases[i].len, &o, &cmd, &e), -EINVAL);
		assert_null(o);
		assert_int_equal(strncmp(e.msg, "request", 7), 0);
		if (!strstr(e.msg, cases[i].reason))
			fail_msg("case %zu: \"%s\" lacks \"%s\"", i, e.msg, cases[i].reason);
	}
}

/* The request's object; the caller's reference. */
static struct json_object *request(const char *text)
{
	struct json_object *o;
	const char *cmd;
	struct err e = {};

	assert_ok(control_parse(text, strlen(text), &o, &cmd, &e), &e);
	return o;
}

static void lists_are_bounded_whatever_is_asked(void **state)
{
	static const struct {
		const char *text;
		uint32_t count;
	} cases[] = {
		{"{\"cmd\":\"flows\"}", CONTROL_FLOWS_MAX},
		{"{\"cmd\":\"flows\",\"count\":1}", 1},
		{"{\"cmd\":\"flows\",\"count\":4097}", CONTROL_FLOWS_MAX},
		{"{\"cmd\":\"flows\",\"count\":4294967297}", CONTROL_FLOWS_MAX},
		{"{\"cmd\":\"flows\",\"count\":18446744073709551615}", CONTROL_FLOWS_MAX},
		{"{\"cmd\":\"flows\",\"count\":99999999999999999999999}", CONTROL_FLOWS_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *o = request(cases[i].text);
		uint32_t count = 0;
		struct err e = {};

		assert_ok(control_parse_flows(o, &count, &e), &e);
		assert_int_equal(count, cases[i].count);
		json_object_put(o);
	}
}

static void mismatches_come_without_packets_unless_asked(void **state)
{
	struct json_object *o = request("{\"cmd\":\"mismatches\"}");
	struct control_mismatches m = {.packets = true};
	struct err e = {};

	(void)state;
	assert_ok(control_parse_mismatches(o, 64, &m, &e), &e);
	assert_false(m.packets);
	assert_int_equal(m.count, 64);
	json_object_put(o);
	o = request("{\"cmd\":\"mismatches\",\"packets\":true,\"count\":2}");
	assert_ok(control_parse_mismatches(o, 64, &m, &e), &e);
	assert_true(m.packets);
	assert_int_equal(m.count, 2);
	json_object_put(o);
}

static void a_list_is_refused_for_members_of_the_wrong_kind(void **state)
{
	static const char *const bad[][2] = {
		{"{\"cmd\":\"x\",\"count\":0}", "\"count\""},
		{"{\"cmd\":\"x\",\"count\":-1}", "\"count\""},
		{"{\"cmd\":\"x\",\"count\":1.5}", "\"count\""},
		{"{\"cmd\":\"x\",\"count\":\"5\"}", "\"count\""},
		{"{\"cmd\":\"x\",\"count\":null}", "\"count\""},
		{"{\"cmd\":\"x\",\"count\":true}", "\"count\""},
		{"{\"cmd\":\"x\",\"packets\":1}", "\"packets\""},
		{"{\"cmd\":\"x\",\"packets\":null}", "\"packets\""},
		{"{\"cmd\":\"x\",\"packets\":\"true\"}", "\"packets\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_object *o = request(bad[i][0]);
		struct control_mismatches m;
		struct err e = {};

		assert_int_equal(control_parse_mismatches(o, 64, &m, &e), -EINVAL);
		assert_non_null(strstr(e.msg, bad[i][1]));
		json_object_put(o);
	}
}

static void ill_formed_utf8_becomes_question_marks(void **state)
{
	static const char *const cases[][2] = {
		{"plain", "plain"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"\xe2\x82\xac \xf0\x9f\x90\xa7", "\xe2\x82\xac \xf0\x9f\x90\xa7"},
		{"cut \xc3", "cut ?"},
		{"cut \xe2\x82", "cut ??"},
		{"\xc0\xaf", "??"},           /* overlong "/" */
		{"\xed\xa0\x80", "???"},      /* a surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* above U+10FFFF */
		{"\xff\x41", "?A"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[32];

		snprintf(buf, sizeof(buf), "%s", cases[i][0]);
		control_make_utf8(buf);
		assert_string_equal(buf, cases[i][1]);
	}
}

static void only_root_the_daemons_user_and_the_group_may_connect(void **state)
{
	const struct control_access with_group = {.uid = 100, .gid = 50};
	const struct control_access no_group = {.uid = 100, .gid = (gid_t)-1};
	const gid_t in[] = {7, 50}, out[] = {7, 8};

	(void)state;
	assert_true(control_access_ok(&no_group, 0, 0, NULL, 0));
	assert_true(control_access_ok(&no_group, 100, 1, NULL, 0));
	assert_false(control_access_ok(&no_group, 101, 50, in, 2));
	assert_false(control_access_ok(&no_group, 101, (gid_t)-1, NULL, 0));
	assert_true(control_access_ok(&with_group, 101, 50, NULL, 0));
	assert_true(control_access_ok(&with_group, 101, 1, in, 2));
	assert_false(control_access_ok(&with_group, 101, 1, out, 2));
	assert_false(control_access_ok(&with_group, 101, 1, NULL, 0));
}

static void an_unknown_group_is_named(void **state)
{
	struct control_access a;
	struct err e = {};

	(void)state;
	assert_int_equal(control_access_init(&a, "no-such-group-here", &e), -ENOENT);
	assert_non_null(strstr(e.msg, "no-such-group-here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_out_whole_for_every_split),
		cmocka_unit_test(a_part_of_a_line_waits),
		cmocka_unit_test(an_overlong_line_is_reported_once_and_skipped),
		cmocka_unit_test(the_longest_line_passes),
		cmocka_unit_test(a_request_is_parsed),
		cmocka_unit_test(what_is_no_request_is_refused_with_a_reason),
		cmocka_unit_test(lists_are_bounded_whatever_is_asked),
		cmocka_unit_test(mismatches_come_without_packets_unless_asked),
		cmocka_unit_test(a_list_is_refused_for_members_of_the_wrong_kind),
		cmocka_unit_test(ill_formed_utf8_becomes_question_marks),
		cmocka_unit_test(only_root_the_daemons_user_and_the_group_may_connect),
		cmocka_unit_test(an_unknown_group_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
