// SPDX-License-Identifier: GPL-2.0-or-later
/* The proxy when others remove its packet filter rules: held again, told, a checkpoint asked for. */
#include "tests/unit/proxy-rig.h"

static bool uses_nft(struct host *h)
{
	return !strcmp(status(h).netfilter, "nft");
}

static void flush(struct host *h)
{
	enter(h);
	run(uses_nft(h) ? "nft flush ruleset" : "iptables -t mangle -F");
}

static void a_removal_while_output_waits_is_undone_and_forces_a_checkpoint(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	flush(&w->a);
	await(w, w->a.notes == 1 && w->a.checkpoints == 1);
	assert_int_equal(w->a.reason, MISMATCH_LOST);
	assert_non_null(strstr(w->a.why, "removed"));
	assert_false(status(&w->a).rules_missing);
	guest_says(w, &w->a, 2);
	await(w, held(&w->a) == 2);
	client_expect_nothing(w, &w->a);
}

static void removals_one_after_the_other_are_all_undone(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	for (unsigned i = 1; i <= 4; i++) {
		flush(&w->a);
		await(w, w->a.notes == i);
		guest_says(w, &w->a, i);
		await(w, held(&w->a) == i);
	}
	client_expect_nothing(w, &w->a);
}

static void a_removal_on_the_secondary_is_undone_before_it_takes_over(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	flush(&w->b);
	await(w, w->b.notes == 1);
	assert_int_equal(w->b.checkpoints, 0);
	assert_false(status(&w->b).rules_missing);
}

static void a_removal_before_the_session_does_not_open_it(void **state)
{
	struct world *w = *state;

	order(w, &w->a, PROXY_PASS, 0, false);
	flush(&w->a);
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->a.notes, 0);
}

static void what_cannot_be_undone_is_tried_again_until_it_can(void **state)
{
	struct world *w = *state;

	if (uses_nft(&w->a))
		skip(); /* its rules need no bridge */
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	enter(&w->a);
	run("ip link set " BRIDGE " name away");
	flush(&w->a);
	await(w, w->a.notes == 1);
	assert_non_null(strstr(w->a.why, "NOT HELD"));
	assert_true(status(&w->a).rules_missing);
	enter(&w->a);
	run("ip link set away name " BRIDGE);
	await(w, w->a.notes == 2);
	assert_false(status(&w->a).rules_missing);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
}

/* Of a bridge's switch, like of iptables-legacy, nobody is told. */
static void frames_that_go_past_the_queue_are_enough_to_notice(void **state)
{
	struct world *w = *state;
	uint64_t before;

	if (uses_nft(&w->a))
		skip(); /* its rules need no switch */
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	enter(&w->a);
	assert_int_equal(mount("sysfs", "/sys", "sysfs", 0, NULL), 0);
	run("ip link set " BRIDGE " type bridge nf_call_iptables 0");
	for (uint32_t i = 1; !w->a.notes; i++) {
		guest_says(w, &w->a, i);
		loop_step(w->loop, 100 * USEC_PER_MSEC);
	}
	assert_int_equal(umount2("/sys", MNT_DETACH), 0);
	await(w, w->a.checkpoints == 1);
	before = held(&w->a);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) > before); /* it, or the last one above */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(a_removal_while_output_waits_is_undone_and_forces_a_checkpoint),
		PROXY_TEST(removals_one_after_the_other_are_all_undone),
		PROXY_TEST(a_removal_on_the_secondary_is_undone_before_it_takes_over),
		PROXY_TEST(a_removal_before_the_session_does_not_open_it),
		PROXY_TEST(what_cannot_be_undone_is_tried_again_until_it_can),
		PROXY_TEST(frames_that_go_past_the_queue_are_enough_to_notice),
	};

	return run_as_root(tests);
}
