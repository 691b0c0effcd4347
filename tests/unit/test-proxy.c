// SPDX-License-Identifier: GPL-2.0-or-later
/* The guest's output between two proxies: what the client is told, and when. */
#include "tests/unit/proxy-rig.h"

static void nothing_is_heard_before_the_first_word(void **state)
{
	struct world *w = *state;

	guest_says(w, &w->a, 1);
	client_expect_nothing(w, &w->a);
	order(w, &w->a, PROXY_PASS, 0, false);
	client_expect_nothing(w, &w->a);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->a, 2);
	assert_true(w->a.announced);
}

static void output_passes_before_the_first_close(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	for (uint32_t i = 1; i <= 20; i++)
		guest_says(w, &w->a, i);
	for (uint32_t i = 1; i <= 20; i++)
		client_expect(w, &w->a, i);
	assert_int_equal(held(&w->a), 0);
}

static void output_waits_for_the_commit_of_its_own_epoch_and_keeps_its_order(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	close_now(w, &w->a, 1, false);
	for (uint32_t i = 1; i <= 20; i++)
		guest_says(w, &w->a, i);
	await(w, held(&w->a) == 20);
	order(w, &w->a, PROXY_COMMIT, 1, false);
	client_expect_nothing(w, &w->a);
	close_now(w, &w->a, 2, false);
	guest_says(w, &w->a, 21);
	await(w, held(&w->a) == 21);
	order(w, &w->a, PROXY_COMMIT, 1, false);
	client_expect_nothing(w, &w->a);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	for (uint32_t i = 1; i <= 20; i++)
		client_expect(w, &w->a, i);
	client_expect_nothing(w, &w->a);
	assert_int_equal(held(&w->a), 1);
}

static void a_checkpoint_that_is_tried_again_takes_all_that_waits(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	guest_says(w, &w->a, 1);
	close_now(w, &w->a, 2, false);
	guest_says(w, &w->a, 2);
	await(w, held(&w->a) == 2);
	close_now(w, &w->a, 2, false);
	client_expect_nothing(w, &w->a);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
}

static void output_is_released_when_the_secondary_says_the_same(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	client_expect_nothing(w, &w->a);
	guest_says(w, &w->b, 1);
	client_expect(w, &w->a, 1);
	guest_says(w, &w->b, 2);
	await(w, status(&w->a).compare.secondary_packets == 2);
	client_expect_nothing(w, &w->a);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->a, 2);
	client_expect_nothing(w, &w->b);
	assert_int_equal(status(&w->a).compare.released[RELEASE_MATCH], 2);
	assert_int_equal(w->a.checkpoints, 0);
}

/* The other thread's work, while the daemon does not listen. */
#define await_deaf(cond)                                                                           \
	for (uint64_t end_ = clock_now_us() + GIVE_UP_US; !(cond); usleep(1000))                   \
		if (clock_now_us() > end_)                                                         \
			fail_msg("never: %s", #cond);

static void what_differed_needs_no_checkpoint_behind_that_which_ends_its_epoch(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->a, 1);
	guest_says(w, &w->b, 1001);
	await_deaf(status(&w->a).compare.mismatched);
	w->a.call = about_to_stop(&w->a);
	w->a.call.epoch = 2;
	proxy_submit(w->a.proxy, &w->a.call);
	await_deaf(!status(&w->a).compares);
	turn_until(w->loop, !w->a.call.busy);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	assert_int_equal(w->a.checkpoints, 0);
	checkpoint(w, &w->a, &w->b, 3, true);
	guest_says(w, &w->a, 2);
	guest_says(w, &w->b, 1002);
	await(w, w->a.checkpoints == 1);
}

static void output_that_differs_asks_for_a_checkpoint_and_leaves_with_it(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->a, 1);
	guest_says(w, &w->b, 1001);
	await(w, w->a.checkpoints == 1);
	assert_int_equal(w->a.reason, MISMATCH_PAYLOAD);
	guest_says(w, &w->a, 2);
	await(w, held(&w->a) == 2);
	close_epoch(w, &w->a, &w->b, 2, true);
	client_expect_nothing(w, &w->a);
	commit_epoch(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
	client_expect_nothing(w, &w->a);
	client_expect_nothing(w, &w->b);
	assert_int_equal(w->a.checkpoints, 1);
	/* And they agree again. */
	guest_says(w, &w->b, 3);
	guest_says(w, &w->a, 3);
	client_expect(w, &w->a, 3);
}

static void output_of_an_older_epoch_of_the_secondary_releases_nothing(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	close_epoch(w, &w->a, &w->b, 2, true);
	guest_says(w, &w->b, 1); /* not loaded yet: it still speaks of the epoch before */
	await(w, status(&w->a).compare.secondary_packets == 1);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	client_expect_nothing(w, &w->a);
	commit_epoch(w, &w->a, &w->b, 2, true);
	client_expect_nothing(w, &w->a);
	guest_says(w, &w->b, 1);
	client_expect(w, &w->a, 1);
}

static void arp_of_the_guest_passes_while_all_else_waits(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	client_expect_nothing(w, &w->a);
	w->a.announced = 0;
	guest_says(w, &w->a, 1);
	mk_start(&w->m);
	mk_eth(&w->m, mk_mac_all, mk_mac_guest);
	mk_arp(&w->m, 1, mk_mac_guest, GUEST, mk_mac_all, CLIENT);
	write_frame(w->a.tap, &w->m);
	await(w, held(&w->a) == 1);
	client_expect_nothing(w, &w->a);
	assert_true(w->a.announced > 0);
}

static void passing_releases_what_waits_before_what_comes(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	for (uint32_t i = 1; i <= 50; i++)
		guest_says(w, &w->a, i);
	await(w, held(&w->a) == 50);
	close_now(w, &w->a, 2, false);
	for (uint32_t i = 51; i <= 100; i++)
		guest_says(w, &w->a, i);
	order(w, &w->a, PROXY_PASS, 0, false);
	guest_says(w, &w->a, 101);
	for (uint32_t i = 1; i <= 101; i++)
		client_expect(w, &w->a, i);
	client_expect_nothing(w, &w->a);
	assert_string_equal(status(&w->a).side, "pass");
}

static void what_was_detached_goes_on_waiting(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	order(w, &w->a, PROXY_DETACH, 0, false);
	guest_says(w, &w->a, 2);
	await(w, held(&w->a) == 2);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->a.lost, 0);
}

static void a_silenced_guest_is_never_heard_again(void **state)
{
	struct chan_msg m;
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, false);
	for (uint32_t i = 1; i <= 20; i++)
		guest_says(w, &w->a, i);
	await(w, held(&w->a) == 20);
	client_expect_nothing(w, &w->a);
	w->a.announced = 0;
	assert_int_equal(proxy_run(w->a.proxy, PROXY_SILENCE, GIVE_UP_US / USEC_PER_MSEC), 0);
	peer_expect(w, &m, CHAN_LEFT);
	assert_int_equal(m.nic, 0);
	guest_says(w, &w->a, 21);
	mk_start(&w->m);
	mk_eth(&w->m, mk_mac_all, mk_mac_guest);
	mk_arp(&w->m, 1, mk_mac_guest, GUEST, mk_mac_all, CLIENT);
	write_frame(w->a.tap, &w->m);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->a.announced, 0);
	assert_int_equal(held(&w->a), 0);
	assert_string_equal(status(&w->a).side, "silent");
	order(w, &w->a, PROXY_COMMIT, 1, false);
	guest_says(w, &w->a, 22);
	client_expect_nothing(w, &w->a);
}

static void what_waits_is_dropped_with_the_proxy(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	enter(&w->a);
	proxy_free(w->a.proxy);
	w->a.proxy = NULL;
	client_expect_nothing(w, &w->a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(nothing_is_heard_before_the_first_word),
		PROXY_TEST(output_passes_before_the_first_close),
		PROXY_TEST(output_waits_for_the_commit_of_its_own_epoch_and_keeps_its_order),
		PROXY_TEST(a_checkpoint_that_is_tried_again_takes_all_that_waits),
		PROXY_TEST(output_is_released_when_the_secondary_says_the_same),
		PROXY_TEST(what_differed_needs_no_checkpoint_behind_that_which_ends_its_epoch),
		PROXY_TEST(output_that_differs_asks_for_a_checkpoint_and_leaves_with_it),
		PROXY_TEST(output_of_an_older_epoch_of_the_secondary_releases_nothing),
		PROXY_TEST(arp_of_the_guest_passes_while_all_else_waits),
		PROXY_TEST(passing_releases_what_waits_before_what_comes),
		PROXY_TEST(what_was_detached_goes_on_waiting),
		PROXY_TEST(a_silenced_guest_is_never_heard_again),
		PROXY_TEST(what_waits_is_dropped_with_the_proxy),
	};

	return run_as_root(tests);
}
