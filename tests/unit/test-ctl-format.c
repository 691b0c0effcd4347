// SPDX-License-Identifier: GPL-2.0-or-later
/* Answers of the daemon as text: status, the live view, verify and its exit status, units. */
#include "base/util.h"
#include "colo-ctl/units.h"
#include "colo-ctl/watch.h"
#include "tests/unit/ctl-printed.h"

static const char full_status[] =
	"{\"ok\":true,\"name\":\"vm1\",\"role\":\"primary\",\"state\":\"colo\",\"mode\":"
	"\"periodic\","
	"\"period_ms\":100,\"epoch\":1234,\"synced\":true,\"guest\":\"running\","
	"\"guest_panicked\":false,\"last_checkpoint_ms_ago\":12,"
	"\"checkpoints\":{\"count\":1234,\"by_trigger\":{\"period\":1200,\"command\":30,"
	"\"guest_reset\":4,\"verify\":0},\"failed\":2},"
	"\"pause_us\":{\"p50\":2100,\"p99\":4500,\"max\":7100},"
	"\"pause_parts_us\":{\"stop\":{\"p50\":400,\"p99\":800,\"max\":900},"
	"\"scan\":{\"p50\":900,\"p99\":1000,\"max\":1100}},"
	"\"load_us\":{\"p50\":0,\"p99\":0,\"max\":0,\"count\":0},"
	"\"commit_us\":{\"p50\":9000,\"p99\":12000,\"max\":1500000},"
	"\"dirty_pages\":{\"last\":512,\"p50\":500,\"p99\":900},\"precopy_rounds\":2,"
	"\"bytes_sent\":12300000,\"bytes_received\":4096,\"zero_pages\":77,\"bandwidth\":0,"
	"\"peer\":{\"address\":\"10.0.0.2:7000\",\"state\":\"connected\",\"last_heard_ms_ago\":3},"
	"\"qemu\":{\"version\":\"7.2.22\",\"pid\":4711,\"machine\":\"pc-q35-7.2\",\"accel\":"
	"\"tcg\"},"
	"\"tracking\":\"pagemap-scan\",\"memory_bytes\":536870912,\"run_secondary\":false,"
	"\"last_error\":\"peer: \\u001b[31mgone\\n\"}";

static const char full_text[] =
	"guest         vm1, running\n"
	"state         primary, colo, protected\n"
	"peer          10.0.0.2:7000, connected, heard 3.0 ms ago\n"
	"mode          periodic, every 100 ms, secondary's guest stands still\n"
	"epoch         1234\n"
	"checkpoints   1234 (period 1200, command 30, guest_reset 4), 2 failed, last 12.0 ms ago\n"
	"pause         p50 2.1 ms    p99 4.5 ms    max 7.1 ms\n"
	"  stop        p50 400 us    p99 800 us    max 900 us\n"
	"  scan        p50 900 us    p99 1.0 ms    max 1.1 ms\n"
	"commit        p50 9.0 ms    p99 12.0 ms   max 1.50 s\n"
	"dirty pages   p50 500       p99 900       last 512\n"
	"zero pages    77\n"
	"pre-copy      2 rounds\n"
	"sent          12.3 MB\n"
	"received      4.1 kB\n"
	"qemu          7.2.22, process 4711, pc-q35-7.2, tcg\n"
	"memory        512 MiB, tracked by pagemap-scan\n"
	"last error    peer:  [31mgone \n";

static void a_full_status_is_printed_aligned_and_without_control_characters(void **state)
{
	(void)state;
	expect_printed(CTL_STATUS, full_status, full_text);
}

static void the_status_of_a_daemon_without_these_members_is_still_printed(void **state)
{
	(void)state;
	expect_printed(CTL_STATUS, "{\"ok\":true}",
		       "guest         -\n"
		       "state         -, -\n");
	expect_printed(CTL_STATUS,
		       "{\"ok\":true,\"name\":\"a\",\"role\":\"secondary\",\"state\":\"setup\","
		       "\"synced\":false,\"guest_panicked\":true,\"period_ms\":0,"
		       "\"mode\":\"on-demand\",\"last_checkpoint_ms_ago\":null,"
		       "\"checkpoints\":{\"count\":0},\"peer\":{}}",
		       "guest         a, has panicked\n"
		       "state         secondary, setup, not protected\n"
		       "peer          -, -\n"
		       "mode          on-demand, as fast as possible\n"
		       "checkpoints   0\n");
}

/* Every member replaced by every other kind of value: nothing may be read as what it is not. */
static void members_of_the_wrong_type_do_no_harm(void **state)
{
	static const char *const values[] = {NULL, "[]", "{}", "\"x\"", "-1", "1e300", "true"};
	struct json_object *model = json(full_status);

	(void)state;
	json_object_object_foreach(model, key, unused)
	{
		(void)unused;
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			struct json_object *o = json(full_status);
			char *text;

			json_object_object_add(o, key, values[i] ? json(values[i]) : NULL);
			text = printed(CTL_STATUS, json_object_to_json_string(o));
			assert_int_equal(strncmp(text, "guest ", 6), 0);
			assert_non_null(strstr(text, "\nstate "));
			free(text);
			json_object_put(o);
		}
	}
	json_object_put(model);
}

static void each_answer_reads_as_a_sentence(void **state)
{
	(void)state;
	expect_printed(CTL_CHECKPOINT,
		       "{\"ok\":true,\"epoch\":7,\"pause_us\":2100,\"commit_us\":9000}",
		       "checkpoint: epoch 7 committed, pause 2.1 ms, commit 9.0 ms\n");
	expect_printed(CTL_FAILOVER, "{\"ok\":true,\"role\":\"secondary\",\"gap_us\":8100}",
		       "failover: this side is now secondary, the guest stood still for 8.1 ms\n");
	expect_printed(CTL_FAILOVER, "{\"ok\":true,\"role\":\"primary\",\"took_us\":9300}",
		       "failover: this side is now primary, done in 9.3 ms\n");
	expect_printed(CTL_VERIFY,
		       "{\"ok\":true,\"epoch\":7,\"pages\":65536,\"differing_pages\":0,"
		       "\"first_differing_page\":null}",
		       "verify: 0 differing pages of 65536 at epoch 7\n");
	expect_printed(CTL_VERIFY,
		       "{\"ok\":true,\"epoch\":7,\"pages\":65536,\"differing_pages\":3,"
		       "\"first_differing_page\":17}",
		       "verify: 3 differing pages of 65536 at epoch 7, the first is page 17\n");
	expect_printed(CTL_SET, "{\"ok\":true}", "set: period_ms = 50\n");
}

static void the_exit_status_follows_the_answer(void **state)
{
	static const struct {
		enum ctl_cmd cmd;
		const char *answer;
		enum ctl_exit code;
		const char *reason;
	} cases[] = {
		{CTL_STATUS, "{\"ok\":true}", CTL_EXIT_OK, NULL},
		{CTL_STOP, "{\"ok\":false,\"error\":\"no\"}", CTL_EXIT_REFUSED, "no"},
		{CTL_STOP, "{\"ok\":false}", CTL_EXIT_REFUSED, "without a reason"},
		{CTL_STOP, "{\"ok\":false,\"error\":7}", CTL_EXIT_REFUSED, "without a reason"},
		{CTL_STOP, "{}", CTL_EXIT_REFUSED, "without a reason"},
		{CTL_STOP, "{\"ok\":1}", CTL_EXIT_REFUSED, "without a reason"},
		{CTL_VERIFY, "{\"ok\":true,\"differing_pages\":0}", CTL_EXIT_OK, NULL},
		{CTL_VERIFY, "{\"ok\":true,\"differing_pages\":1}", CTL_EXIT_DIFFERS, NULL},
		{CTL_VERIFY, "{\"ok\":true}", CTL_EXIT_REFUSED, "how many pages differ"},
		{CTL_VERIFY, "{\"ok\":true,\"differing_pages\":\"0\"}", CTL_EXIT_REFUSED,
		 "how many pages differ"},
		{CTL_VERIFY, "{\"ok\":false,\"differing_pages\":0}", CTL_EXIT_REFUSED, "reason"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ctl_options o = {.cmd = cases[i].cmd};
		struct json_object *j = json(cases[i].answer);
		const char *reason = NULL;

		assert_int_equal(format_exit(&o, j, &reason), cases[i].code);
		assert_int_equal(!reason, !cases[i].reason);
		if (reason && cases[i].reason)
			assert_non_null(strstr(reason, cases[i].reason));
		json_object_put(j);
	}
}

/* What the live view shows for two samples; the caller frees it. */
static char *watched(void (*show)(FILE *, struct json_object *, struct json_object *, uint64_t),
		     const char *prev, const char *cur, uint64_t elapsed_us)
{
	struct json_object *p = prev ? json(prev) : NULL, *c = json(cur);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	show(out, p, c, elapsed_us);
	fclose(out);
	json_object_put(p);
	json_object_put(c);
	return text;
}

static void the_live_view_makes_rates_of_two_samples(void **state)
{
	char *text =
		watched(watch_line, "{\"checkpoints\":{\"count\":1229},\"bytes_sent\":11300000}",
			full_status, 500000);

	(void)state;
	assert_string_equal(text, "state=colo role=primary mode=periodic epoch=1234 "
				  "checkpoints/s=10.0 pause_p50_us=2100 pause_p99_us=4500 "
				  "commit_p50_us=9000 dirty_pages=512 sent_MB/s=2.0 "
				  "peer=10.0.0.2:7000 peer_state=connected peer_heard_ms=3\n");
	free(text);
	text = watched(watch_screen, "{\"checkpoints\":{\"count\":1229},\"bytes_sent\":11300000}",
		       full_status, 500000);
	assert_non_null(strstr(text, "1234, 10.0 checkpoints/s\n"));
	assert_non_null(strstr(text, "sent         2.0 MB/s\n"));
	assert_non_null(strstr(text, "pause        p50 2.1 ms, p99 4.5 ms\n"));
	free(text);
}

#define COPYING                                                                                    \
	"\"ok\":true,\"name\":\"a\",\"role\":\"primary\",\"state\":\"active\",\"peer\":{"          \
	"\"address\":"                                                                             \
	"\"b:1\",\"state\":\"connected\",\"last_heard_ms_ago\":4},"                                \
	"\"sync\":{\"pages_total\":1000,\"pages_sent\":420,\"percent\":42,\"seconds_left\":"

static void a_first_copy_is_shown_with_its_time_to_go(void **state)
{
	static const struct {
		const char *answer, *to_go, *word;
	} cases[] = {
		{"{" COPYING "17}}", "42 %, 17 s to go\n", "sync_seconds_left=17\n"},
		{"{" COPYING "119}}", "42 %, 119 s to go\n", "sync_seconds_left=119\n"},
		{"{" COPYING "121}}", "42 %, 3 min to go\n", "sync_seconds_left=121\n"},
		{"{" COPYING "null}}", "42 %, time to go unknown\n", "sync_seconds_left=-\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char whole[128], *text;

		snprintf(whole, sizeof(whole), "\nfirst copy    420 of 1000 pages sent, %s",
			 cases[i].to_go);
		text = printed(CTL_STATUS, cases[i].answer);
		assert_non_null(strstr(text, whole));
		free(text);
		snprintf(whole, sizeof(whole), "\nfirst copy   %s", cases[i].to_go);
		text = watched(watch_screen, NULL, cases[i].answer, 0);
		assert_non_null(strstr(text, whole));
		assert_non_null(strstr(text, "b:1, connected, heard 4.0 ms ago\n"));
		free(text);
		text = watched(watch_line, NULL, cases[i].answer, 0);
		assert_non_null(strstr(text, " sync_percent=42 "));
		assert_non_null(strstr(text, cases[i].word));
		free(text);
	}
	assert_null(strstr(full_text, "first copy"));
}

static void uplinks_are_shown_with_the_peers_word(void **state)
{
	static const struct {
		const char *uplink, *line;
	} cases[] = {
		{"{\"alive\":false,\"peer_alive\":true,\"interfaces\":[{\"name\":\"up0\","
		 "\"carrier\":true},"
		 "{\"name\":\"up1\",\"carrier\":false}]}",
		 "uplink        up0 alive, up1 without carrier, the peer's alive\n"},
		{"{\"alive\":true,\"peer_alive\":false,\"interfaces\":[{\"name\":\"up0\","
		 "\"carrier\":true}]}",
		 "uplink        up0 alive, the peer's dead\n"},
		{"{\"alive\":true,\"peer_alive\":null,\"interfaces\":[{\"name\":\"up0\","
		 "\"carrier\":true}]}",
		 "uplink        up0 alive\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char answer[256], *text;

		snprintf(answer, sizeof(answer), "{\"ok\":true,\"uplink\":%s}", cases[i].uplink);
		text = printed(CTL_STATUS, answer);
		assert_non_null(strstr(text, cases[i].line));
		free(text);
	}
}

static void values_of_a_line_stay_single_words(void **state)
{
	char *text = watched(watch_line, NULL,
			     "{\"state\":\"\",\"peer\":{\"address\":\"a port\\n7\"}}", 0);

	(void)state;
	assert_non_null(strstr(text, " peer=a_port_7 peer_state=- "));
	assert_int_equal(strncmp(text, "state=- role=-", 14), 0);
	free(text);
}

static void rates_are_unknown_at_first_and_after_a_restart(void **state)
{
	static const char *const prevs[] = {
		NULL, "{}", "{\"checkpoints\":{\"count\":99999},\"bytes_sent\":99999999999}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(prevs); i++) {
		char *text = watched(watch_line, prevs[i], full_status, 1000000);

		assert_non_null(strstr(text, "checkpoints/s=- "));
		assert_non_null(strstr(text, "sent_MB/s=- "));
		free(text);
	}
}

static void a_redraw_covers_what_was_there(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	unsigned lines = watch_redraw(out, "a\nb\n", 0);

	(void)state;
	fflush(out);
	assert_int_equal(lines, 2);
	assert_string_equal(text, "a\033[K\nb\033[K\n\033[J");
	lines = watch_redraw(out, "c\n", lines);
	fclose(out);
	assert_int_equal(lines, 1);
	assert_non_null(strstr(text, "\033[2A\rc\033[K\n\033[J"));
	free(text);
}

static void figures_carry_fitting_units(void **state)
{
	(void)state;
	assert_string_equal(fmt_us(0).s, "0 us");
	assert_string_equal(fmt_us(999).s, "999 us");
	assert_string_equal(fmt_us(1000).s, "1.0 ms");
	assert_string_equal(fmt_us(250000).s, "250 ms");
	assert_string_equal(fmt_us(1250000).s, "1.25 s");
	assert_string_equal(fmt_us(180 * USEC_PER_SEC).s, "3 min");
	assert_string_equal(fmt_bytes(0).s, "0 B");
	assert_string_equal(fmt_bytes(999).s, "999 B");
	assert_string_equal(fmt_bytes(12300000).s, "12.3 MB");
	assert_string_equal(fmt_bytes(UINT64_MAX).s, "18447 PB");
	assert_string_equal(fmt_memory(512 * MIB).s, "512 MiB");
	assert_string_equal(fmt_memory(3 * GIB / 2).s, "1.5 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_status_is_printed_aligned_and_without_control_characters),
		cmocka_unit_test(the_status_of_a_daemon_without_these_members_is_still_printed),
		cmocka_unit_test(members_of_the_wrong_type_do_no_harm),
		cmocka_unit_test(each_answer_reads_as_a_sentence),
		cmocka_unit_test(the_exit_status_follows_the_answer),
		cmocka_unit_test(the_live_view_makes_rates_of_two_samples),
		cmocka_unit_test(a_first_copy_is_shown_with_its_time_to_go),
		cmocka_unit_test(uplinks_are_shown_with_the_peers_word),
		cmocka_unit_test(values_of_a_line_stay_single_words),
		cmocka_unit_test(rates_are_unknown_at_first_and_after_a_restart),
		cmocka_unit_test(a_redraw_covers_what_was_there),
		cmocka_unit_test(figures_carry_fitting_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
