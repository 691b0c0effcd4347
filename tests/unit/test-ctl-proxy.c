// SPDX-License-Identifier: GPL-2.0-or-later
/* What colo-ctl says about packets: the status of the proxy, flows, mismatches, capture files. */
#include "colo-ctl/format-proxy.h"
#include "colo-ctl/pcap.h"
#include "colo-ctl/watch.h"
#include "tests/unit/ctl-printed.h"

static const char proxy_status[] =
	"{\"ok\":true,\"state\":\"colo\",\"role\":\"primary\",\"mode\":\"auto\",\"proxy\":{"
	"\"side\":\"primary\",\"compare\":\"colo\",\"netfilter\":\"nft\",\"held\":3,\"matched\":"
	"1234,\"mismatched\":2,"
	"\"timed_out\":1,\"bypassed\":0,\"hold_us\":{\"p50\":120,\"p99\":4500,\"max\":9000},"
	"\"released_by\":{\"match\":1200,\"commit\":31,\"bypass\":4,\"solo\":5},"
	"\"auto\":{\"now\":\"periodic\",\"forced\":7,\"probe_ms\":4000,\"switches\":2,\"why\":"
	"\"packets waited longer "
	"for their match than for a periodic checkpoint\"},"
	"\"mirror\":{\"frames\":99,\"lost\":1,\"queue_lost\":0},"
	"\"nics\":[{\"tap\":\"t0\",\"bridge\":\"br0\",\"joined\":true,\"mac\":"
	"\"52:54:00:00:00:01\"},{\"tap\":\"t1\",\"bridge\":\"br0\",\"joined\":false,"
	"\"mac\":\"52:54:00:00:00:02\"},{\"tap\":\"t2\",\"bridge\":null,\"joined\":true,"
	"\"mac\":\"52:54:00:00:00:03\"}]}}";

static const char proxy_text[] =
	"output        released when both guests agree (colo), packet filter nft\n"
	"  packets     held 3, matched 1234, mismatched 2, timed out 1, bypassed 0\n"
	"  hold        p50 120 us    p99 4.5 ms    max 9.0 ms\n"
	"  released by match 1200, commit 31, bypass 4, solo 5\n"
	"  auto        2 switches (last: packets waited longer for their match than for a periodic "
	"checkpoint), 7 checkpoints forced, colo is tried "
	"again "
	"after 4.00 s\n"
	"  mirror      frames 99, lost 1, queue lost 0\n"
	"  nic 0       52:54:00:00:00:01, tap t0, in bridge br0\n"
	"  nic 1       52:54:00:00:00:02, tap t1, not in bridge br0\n"
	"  nic 2       52:54:00:00:00:03, tap t2, routed\n";

#define MISMATCH_HEAD                                                                              \
	"\"number\":12,\"time\":\"2026-11-21T13:00:01.123456Z\","                                  \
	"\"reason\":\"payload\",\"flow\":\"tcp 10.0.0.2:80 <-> 10.0.0.9:41234 nic 0\","            \
	"\"offset\":1460,\"epoch\":77,\"checkpoint\":78,\"what\":\"\","

/* 16 bytes before the offset and 4 from it on; the second of those differs. */
#define MISMATCH_PAYLOAD                                                                           \
	"{" MISMATCH_HEAD "\"primary\":{\"len\":1500,\"context_at\":16,\"context\":"               \
	"\"000102030405060708090a0b0c0d0e0f41424344\",\"packet\":\"450000\"},"                     \
	"\"secondary\":{\"len\":1499,\"context_at\":16,\"context\":"                               \
	"\"000102030405060708090a0b0c0d0e0f41FF4344\",\"packet\":\"4501\"}}"

static void the_proxys_status_is_part_of_the_status(void **state)
{
	char *text = printed(CTL_STATUS, proxy_status);

	(void)state;
	assert_non_null(strstr(text, "mode          auto\n"));
	assert_non_null(strstr(text, "\noutput "));
	assert_string_equal(strstr(text, "\noutput ") + 1, proxy_text);
	free(text);
}

static void a_trial_of_colo_is_announced_in_periodic_only(void **state)
{
	(void)state;
	expect_printed(CTL_STATUS,
		       "{\"mode\":\"auto\",\"run_secondary\":false,\"proxy\":{\"compare\":\"colo\","
		       "\"auto\":{\"now\":\"colo\",\"forced\":0,\"probe_ms\":2000,\"switches\":0,"
		       "\"why\":\"\"}}}",
		       "guest         -\n"
		       "state         -, -\n"
		       "mode          auto\n"
		       "output        released when both guests agree (colo)\n"
		       "  packets     held -, matched -, mismatched -, timed out -, bypassed -\n"
		       "  auto        0 switches, 0 checkpoints forced\n");
}

static void a_status_without_a_proxy_says_nothing_of_output(void **state)
{
	char *text = printed(CTL_STATUS, "{\"ok\":true,\"proxy\":null}");

	(void)state;
	assert_null(strstr(text, "output"));
	free(text);
	text = printed(CTL_STATUS, "{\"ok\":true,\"proxy\":{}}");
	assert_non_null(strstr(text, "output        -\n  packets     held -,"));
	free(text);
}

static void the_live_view_has_the_proxys_figures(void **state)
{
	struct json_object *a = json("{\"proxy\":{\"matched\":100}}");
	struct json_object *b = json("{\"proxy\":{\"compare\":\"colo\",\"held\":3,\"matched\":150,"
				     "\"mismatched\":2,\"hold_us\":{\"p50\":120,\"p99\":900}}}");
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	watch_line(out, a, b, 500000);
	watch_screen(out, a, b, 500000);
	fclose(out);
	assert_non_null(strstr(text,
			       " peer_state=- peer_heard_ms=- output=colo held=3 matched/s=100.0 "
			       "mismatched=2 hold_p50_us=120\n"));
	assert_non_null(strstr(text, "output       colo, 3 packets held\n"
				     "matched      100.0/s, 2 mismatches\n"
				     "hold         p50 120 us, p99 900 us\n"));
	free(text);
	json_object_put(a);
	json_object_put(b);
}

static void a_mismatch_shows_both_sides_aligned_and_marks_the_difference(void **state)
{
	(void)state;
	expect_printed(
		CTL_MISMATCHES, "{\"ok\":true,\"mismatches\":[" MISMATCH_PAYLOAD "]}",
		"mismatch 12, 2026-11-21T13:00:01.123456Z: payload\n"
		"  flow       tcp 10.0.0.2:80 <-> 10.0.0.9:41234 nic 0\n"
		"  where      offset 1460, epoch 77, settled by checkpoint 78\n"
		"  primary    packet of 1500 bytes\n"
		"  secondary  packet of 1499 bytes\n"
		"  1444       primary    00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  "
		"|................|\n"
		"             secondary  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  "
		"|................|\n"
		"  1460       primary    41 42 43 44                                      |ABCD|\n"
		"             secondary  41 ff 43 44                                      |A.CD|\n"
		"                           ^^\n");
}

/* The sides hold different amounts before the offset: they line up by it. */
static void sides_line_up_by_the_offset(void **state)
{
	(void)state;
	expect_printed(
		CTL_MISMATCHES,
		"{\"mismatches\":[{\"number\":1,\"time\":\"t\",\"reason\":\"length\",\"offset\":4,"
		"\"epoch\":1,\"checkpoint\":0,\"what\":\"cut \\u001b[1m short\","
		"\"primary\":{\"len\":40,\"context_at\":2,\"context\":\"6162636465\"},"
		"\"secondary\":{\"len\":32,\"context_at\":4,\"context\":\"78796162\"}}]}",
		"mismatch 1, t: length\n"
		"  where      offset 4, epoch 1\n"
		"  what       cut  [1m short\n"
		"  primary    packet of 40 bytes\n"
		"  secondary  packet of 32 bytes\n"
		"  0          primary    -- -- 61 62 63 64 65                             "
		"|  abcde|\n"
		"             secondary  78 79 61 62 -- -- --                             "
		"|xyab   |\n"
		"                        ^^\n");
}

static void a_mismatch_without_packets_is_told_in_words(void **state)
{
	(void)state;
	expect_printed(CTL_MISMATCHES,
		       "{\"mismatches\":[{\"number\":1,\"time\":\"s\",\"reason\":\"timeout\"},"
		       "{\"number\":2,\"time\":\"t\",\"reason\":\"lost\","
		       "\"flow\":null,\"what\":\"the queue was full\",\"epoch\":3,"
		       "\"secondary\":{\"len\":0,\"context\":\"\"}}]}",
		       "mismatch 1, s: timeout\n"
		       "  where      offset -, epoch -\n"
		       "\n"
		       "mismatch 2, t: lost\n"
		       "  where      offset -, epoch 3\n"
		       "  what       the queue was full\n"
		       "  secondary  no packet\n");
	expect_printed(CTL_MISMATCHES, "{\"mismatches\":[]}", "no mismatches\n");
	expect_printed(CTL_MISMATCHES, "{}", "no mismatches\n");
}

static void flows_are_a_table(void **state)
{
	(void)state;
	expect_printed(
		CTL_FLOWS,
		"{\"flows\":[{\"flow\":\"tcp a <-> b nic 0\",\"state\":\"open\","
		"\"seq_offset\":4294967295,\"held_packets\":1,\"matched_bytes\":12300,"
		"\"packets\":17,\"idle_ms\":3},{}],\"total\":9}",
		"STATE       HELD   PACKETS   MATCHED  SEQ-OFFSET      IDLE  FLOW\n"
		"open           1        17   12.3 kB  4294967295    3.0 ms  tcp a <-> b nic 0\n"
		"-              -         -         -           -         -  -\n"
		"... and 7 more; -n shows more\n");
	expect_printed(CTL_FLOWS, "{\"flows\":[]}", "no flows\n");
	expect_printed(CTL_FLOWS, "{}", "no flows\n");
}

/* Members replaced by what they are not, and contexts that cannot be. */
static void members_of_the_wrong_type_do_no_harm(void **state)
{
	static const char *const values[] = {
		"null",
		"[]",
		"{}",
		"\"x\"",
		"-1",
		"1e300",
		"true",
		"\"abc\"",
		"[1,2]",
		"[null]",
		"\"zz\"",
		"18446744073709551615",
		"{\"len\":5,\"context\":\"00\",\"context_at\":99}",
		"{\"len\":-5,\"context\":\"0\",\"context_at\":-1}",
	};
	static const char *const models[] = {MISMATCH_PAYLOAD, proxy_status};

	(void)state;
	for (size_t m = 0; m < ARRAY_SIZE(models); m++) {
		struct json_object *model = json(models[m]), *inner;

		if (!json_object_object_get_ex(model, "proxy", &inner))
			inner = model;
		json_object_object_foreach(inner, key, unused)
		{
			(void)unused;
			for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
				struct json_object *o = NULL;
				char *answer;

				assert_int_equal(json_object_deep_copy(inner, &o, NULL), 0);
				json_object_object_add(o, key, json_tokener_parse(values[i]));
				if (asprintf(&answer,
					     "{\"mismatches\":[%s],\"proxy\":%s,\"flows\":%s}",
					     json_object_to_json_string(o),
					     json_object_to_json_string(o), values[i]) < 0)
					fail();
				free(printed(CTL_STATUS, answer));
				free(printed(CTL_FLOWS, answer));
				free(printed(CTL_MISMATCHES, answer));
				free(answer);
				json_object_put(o);
			}
		}
		json_object_put(model);
	}
}

/* The capture file for @answer, and its length; -errno in *r. */
static uint8_t *captured(const char *answer, size_t *len, int *r)
{
	struct json_object *j = json(answer);
	char *file = NULL;
	FILE *out = open_memstream(&file, len);
	struct err e = {};

	*r = pcap_write(out, j, &e);
	if (*r < 0)
		assert_true(e.msg[0]);
	fclose(out);
	json_object_put(j);
	return (uint8_t *)file;
}

static void a_capture_file_has_the_sides_in_turn_oldest_first(void **state)
{
	static const uint8_t want[] = {0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
				       0xff, 0xff, 0, 0, 101, 0, 0, 0,
				       /* the older one, which has no packet of the primary */
				       0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0xaa,
				       /* 1795266001 = 0x6b0195d1 s, 123456 = 0x1e240 us */
				       0xd1, 0x95, 0x01, 0x6b, 0x40, 0xe2, 0x01, 0, 3, 0, 0, 0,
				       0xdc, 5, 0, 0, 0x45, 0, 0, 0xd1, 0x95, 0x01, 0x6b, 0x40,
				       0xe2, 0x01, 0, 2, 0, 0, 0, 0xdb, 5, 0, 0, 0x45, 1};
	size_t len;
	int r;
	uint8_t *file = captured("{\"mismatches\":[{\"time\":\"1970-01-01T00:00:00.0000071Z\","
				 "\"primary\":{\"len\":0,\"packet\":\"\"},"
				 "\"secondary\":{\"packet\":\"aA\"}}," MISMATCH_PAYLOAD "]}",
				 &len, &r);

	(void)state;
	assert_int_equal(r, 3);
	assert_int_equal(len, sizeof(want));
	assert_memory_equal(file, want, sizeof(want));
	free(file);
}

static void times_that_are_none_become_1970(void **state)
{
	static const char *const bad[] = {"null", "7", "\"\"", "\"yesterday\"",
					  "\"1969-12-31T23:59:59Z\""};
	char answer[128];
	size_t len;
	int r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *file;

		snprintf(answer, sizeof(answer),
			 "{\"mismatches\":[{\"time\":%s,\"primary\":{\"packet\":\"45\"}}]}",
			 bad[i]);
		file = captured(answer, &len, &r);
		assert_int_equal(r, 1);
		assert_memory_equal(file + 24, (uint8_t[8]){}, 8);
		free(file);
	}
}

static void output_is_named_by_the_side_where_this_host_has_no_say(void **state)
{
	static const char *const cases[][2] = {
		{"{\"side\":\"primary\",\"compare\":\"periodic\"}", "periodic"},
		{"{\"side\":\"secondary\",\"compare\":\"periodic\"}", "secondary"},
		{"{\"side\":\"pass\",\"compare\":\"periodic\"}", "pass"},
		{"{}", "-"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *o = json(cases[i][0]);

		assert_string_equal(proxy_output(o).s, cases[i][1]);
		json_object_put(o);
	}
}

static void answers_that_are_no_packets_make_no_capture(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"mismatches\":{}}",
		"{\"mismatches\":[{\"primary\":{\"packet\":\"4\"}}]}",
		"{\"mismatches\":[{\"primary\":{\"packet\":\"4g\"}}]}",
		"{\"mismatches\":[{\"secondary\":{\"packet\":45}}]}",
	};
	size_t len;
	int r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		free(captured(bad[i], &len, &r));
		assert_int_equal(r, -EPROTO);
	}
	free(captured("{\"mismatches\":[]}", &len, &r));
	assert_int_equal(r, 0);
	assert_int_equal(len, 24);
}

static void a_full_disk_is_told(void **state)
{
	struct json_object *j = json("{\"mismatches\":[" MISMATCH_PAYLOAD "]}");
	FILE *out = fopen("/dev/full", "we");
	struct err e = {};

	(void)state;
	assert_non_null(out);
	assert_int_equal(pcap_write(out, j, &e), -EIO);
	fclose(out);
	json_object_put(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_proxys_status_is_part_of_the_status),
		cmocka_unit_test(a_trial_of_colo_is_announced_in_periodic_only),
		cmocka_unit_test(a_status_without_a_proxy_says_nothing_of_output),
		cmocka_unit_test(the_live_view_has_the_proxys_figures),
		cmocka_unit_test(a_mismatch_shows_both_sides_aligned_and_marks_the_difference),
		cmocka_unit_test(sides_line_up_by_the_offset),
		cmocka_unit_test(a_mismatch_without_packets_is_told_in_words),
		cmocka_unit_test(flows_are_a_table),
		cmocka_unit_test(members_of_the_wrong_type_do_no_harm),
		cmocka_unit_test(a_capture_file_has_the_sides_in_turn_oldest_first),
		cmocka_unit_test(times_that_are_none_become_1970),
		cmocka_unit_test(output_is_named_by_the_side_where_this_host_has_no_say),
		cmocka_unit_test(answers_that_are_no_packets_make_no_capture),
		cmocka_unit_test(a_full_disk_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
