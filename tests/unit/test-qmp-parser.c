// SPDX-License-Identifier: GPL-2.0-or-later
/* The QMP parser: any split of the bytes gives the same messages, and garbage is refused. */
#include "base/cleanup.h"
#include "qmp-client/qmp-parser.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* cmocka.h needs the headers above. */
#include <cmocka.h>

static const char transcript[] =
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "
	"\"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n"
	"{\"return\": {}, \"id\": 1}\r\n"
	"{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 5}, \"event\": \"STOP\"}\r\n"
	"{\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}, \"event\": "
	"\"JOB_STATUS_CHANGE\", "
	"\"data\": {\"status\": \"concluded\", \"id\": \"l1\"}}\r\n"
	"{\"id\": 2, \"error\": {\"class\": \"GenericError\", "
	"\"desc\": \"no \\ud83d\\ude00 \\\"disk\\\" {here}\"}}\r\n"
	"{\"return\": [1, -2.5e3, true, null, \"x\"], \"id\": 3}{\"return\":{},\"id\":4}";

#define TRANSCRIPT_MESSAGES 7

/* Every field that a reader sees, as one line. */
static void describe(char *out, size_t size, const struct qmp_msg *m)
{
	snprintf(out, size, "%d id=%lld body=%s name=%s desc=%s t=%llu v=%d.%d.%d oob=%d\n",
		 m->type, (long long)m->id, m->body ? json_object_to_json_string(m->body) : "-",
		 m->name ?: "-", m->desc ?: "-", (unsigned long long)m->timestamp_us,
		 m->version.major, m->version.minor, m->version.micro, m->oob);
}

static int feed(struct qmp_parser *p, const char *buf, size_t len, char *log, size_t size,
		struct err *e)
{
	struct qmp_msg m;
	int r, n = 0;

	while ((r = qmp_parser_next(p, &buf, &len, &m, e)) > 0) {
		size_t used = strlen(log);

		describe(log + used, size - used, &m);
		qmp_msg_clear(&m);
		n++;
	}
	return r < 0 ? r : n;
}

static void parse_whole(char *log, size_t size)
{
	struct qmp_parser p;
	struct err e = {};

	assert_int_equal(qmp_parser_init(&p), 0);
	*log = 0;
	assert_int_equal(feed(&p, transcript, sizeof(transcript) - 1, log, size, &e),
			 TRANSCRIPT_MESSAGES);
	qmp_parser_destroy(&p);
}

static void fields_of_every_kind_of_message_are_found(void **state)
{
	char log[4096];

	(void)state;
	parse_whole(log, sizeof(log));
	assert_string_equal(
		log,
		"0 id=-1 body=- name=- desc=- t=0 v=7.2.22 oob=1\n"
		"1 id=1 body={ } name=- desc=- t=0 v=0.0.0 oob=0\n"
		"3 id=-1 body=- name=STOP desc=- t=1700000000000005 v=0.0.0 oob=0\n"
		"3 id=-1 body={ \"status\": \"concluded\", \"id\": \"l1\" } "
		"name=JOB_STATUS_CHANGE desc=- t=0 v=0.0.0 oob=0\n"
		"2 id=2 body=- name=GenericError desc=no \xf0\x9f\x98\x80 \"disk\" {here} t=0 "
		"v=0.0.0 oob=0\n"
		"1 id=3 body=[ 1, -2.5e3, true, null, \"x\" ] name=- desc=- t=0 v=0.0.0 oob=0\n"
		"1 id=4 body={ } name=- desc=- t=0 v=0.0.0 oob=0\n");
}

static void every_split_in_two_gives_the_same_messages(void **state)
{
	char want[4096], got[4096];

	(void)state;
	parse_whole(want, sizeof(want));
	for (size_t cut = 0; cut < sizeof(transcript); cut++) {
		struct qmp_parser p;
		struct err e = {};
		int n;

		assert_int_equal(qmp_parser_init(&p), 0);
		*got = 0;
		n = feed(&p, transcript, cut, got, sizeof(got), &e);
		n += feed(&p, transcript + cut, sizeof(transcript) - 1 - cut, got, sizeof(got), &e);
		assert_int_equal(n, TRANSCRIPT_MESSAGES);
		assert_string_equal(got, want);
		qmp_parser_destroy(&p);
	}
}

static void single_bytes_give_the_same_messages(void **state)
{
	char want[4096], got[4096] = "";
	struct qmp_parser p;
	struct err e = {};
	int n = 0;

	(void)state;
	parse_whole(want, sizeof(want));
	assert_int_equal(qmp_parser_init(&p), 0);
	for (size_t i = 0; i < sizeof(transcript) - 1; i++)
		n += feed(&p, transcript + i, 1, got, sizeof(got), &e);
	assert_int_equal(n, TRANSCRIPT_MESSAGES);
	assert_string_equal(got, want);
	qmp_parser_destroy(&p);
}

/* Feed @text to a new parser; the result, which must be an error, is explained in @e. */
static int refuse(const char *text, size_t len, struct err *e)
{
	struct qmp_parser p;
	char log[4096] = "";
	struct err again = {};
	int r;

	assert_int_equal(qmp_parser_init(&p), 0);
	r = feed(&p, text, len, log, sizeof(log), e);
	if (r >= 0)
		print_error("accepted: %s\n", text);
	assert_true(r < 0);
	assert_int_equal(e->code, -r);
	assert_true(strlen(e->msg) > 0);
	/* And it stays refused: there is no telling where the next message starts. */
	assert_int_equal(feed(&p, "{\"return\":{},\"id\":1}", 20, log, sizeof(log), &again),
			 -EPROTO);
	assert_string_equal(log, "");
	qmp_parser_destroy(&p);
	return r;
}

static void garbage_is_refused_with_a_reason(void **state)
{
	static const char *const bad[] = {
		"QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ",
		"[]",
		"12 ",
		"null",
		"{\"return\": }",
		"{\"return\": {} \"id\": 1}",
		"{\"return\": 'x', \"id\": 1}",
		"{}",
		"{\"hello\": 1}",
		"{\"QMP\": 1}",
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2}}, "
		"\"capabilities\": []}}",
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": "
		"9999999999}}, \"capabilities\": []}}",
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 1}}}}",
		"{\"event\": 7}",
		"{\"event\": null}",
		"{\"error\": \"no\", \"id\": 1}",
		"{\"error\": {\"class\": \"GenericError\"}, \"id\": 1}",
		"{\"return\": {}, \"id\": \"one\"}",
		"{\"return\": {}, \"id\": -1}",
		"{\"return\": {}, \"id\": null}",
		"\x01\x02\xff",
	};
	struct err e = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(refuse(bad[i], strlen(bad[i]), &e), -EPROTO);
	assert_int_equal(refuse("{\"a\0b\": 1}", 10, &e), -EPROTO);
}

static void the_reason_quotes_what_was_received(void **state)
{
	struct err e = {};

	(void)state;
	refuse("QEMU 7.2.22 monitor\r\n", 21, &e);
	assert_non_null(strstr(e.msg, "QEMU 7.2.22 monitor.."));
	refuse("{\"hello\": \"\\u0007world\"}", 24, &e);
	assert_non_null(strstr(e.msg, "hello"));
}

static void impossible_timestamps_are_none(void **state)
{
	static const char *const stamps[] = {
		"{\"seconds\": 9223372036854775807, \"microseconds\": 0}",
		"{\"seconds\": 1, \"microseconds\": 9223372036854775807}",
		"{\"seconds\": -1, \"microseconds\": 5}",
		"{\"seconds\": \"1\", \"microseconds\": 5}",
		"{\"seconds\": 1}",
		"17",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stamps); i++) {
		char text[256], log[256] = "";
		struct qmp_parser p;
		struct err e = {};

		snprintf(text, sizeof(text), "{\"event\": \"E\", \"timestamp\": %s}", stamps[i]);
		assert_int_equal(qmp_parser_init(&p), 0);
		assert_int_equal(feed(&p, text, strlen(text), log, sizeof(log), &e), 1);
		assert_non_null(strstr(log, "name=E desc=- t=0 "));
		qmp_parser_destroy(&p);
	}
}

static void a_message_over_the_bound_is_refused(void **state)
{
	autofree char *text = malloc(QMP_MSG_MAX + 64);
	struct qmp_parser p;
	char log[256] = "";
	struct err e = {};
	size_t len;

	(void)state;
	assert_non_null(text);
	len = (size_t)sprintf(text, "{\"hello\": \"");
	memset(text + len, 'x', QMP_MSG_MAX);
	assert_int_equal(refuse(text, QMP_MSG_MAX + 1, &e), -EPROTO);
	assert_non_null(strstr(e.msg, "longer than"));

	/* Exactly at the bound, and again after it, since it counts for each message. */
	assert_int_equal(qmp_parser_init(&p), 0);
	for (int i = 0; i < 2; i++) {
		const char *pos = text;
		struct qmp_msg m;

		len = (size_t)sprintf(text, "{\"id\": 1, \"return\": \"");
		memset(text + len, 'x', QMP_MSG_MAX - len);
		memcpy(text + QMP_MSG_MAX - 2, "\"}", 2);
		len = QMP_MSG_MAX;
		assert_int_equal(qmp_parser_next(&p, &pos, &len, &m, &e), 1);
		assert_int_equal(len, 0);
		qmp_msg_clear(&m);
	}
	memset(text, '\n', QMP_MSG_MAX);
	assert_int_equal(feed(&p, text, QMP_MSG_MAX, log, sizeof(log), &e), 0);
	qmp_parser_destroy(&p);
}

static void nesting_over_the_bound_is_refused(void **state)
{
	char text[QMP_DEPTH_MAX * 8] = "{\"return\": ";
	struct err e = {};
	size_t len = strlen(text);

	(void)state;
	memset(text + len, '[', QMP_DEPTH_MAX * 2);
	assert_int_equal(refuse(text, len + QMP_DEPTH_MAX * 2, &e), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_of_every_kind_of_message_are_found),
		cmocka_unit_test(every_split_in_two_gives_the_same_messages),
		cmocka_unit_test(single_bytes_give_the_same_messages),
		cmocka_unit_test(garbage_is_refused_with_a_reason),
		cmocka_unit_test(the_reason_quotes_what_was_received),
		cmocka_unit_test(impossible_timestamps_are_none),
		cmocka_unit_test(a_message_over_the_bound_is_refused),
		cmocka_unit_test(nesting_over_the_bound_is_refused),
	};

	return cmocka_run_group_tests_name("qmp-parser", tests, NULL, NULL);
}
