// SPDX-License-Identifier: GPL-2.0-or-later
/* When a primary with a dead uplink hands its guest over, and when it had better not. */
#include "tests/unit/unit.h"

#include "colod/core/uplink.h"

#define DELAY (1000 * USEC_PER_MSEC)
#define SEC   USEC_PER_SEC
#define NEVER UINT64_MAX

/* Both alive since second 1. */
static struct uplink both_alive(void)
{
	struct uplink u = {};

	assert_true(uplink_ours(&u, true, SEC));
	uplink_peers(&u, true, SEC);
	return u;
}

static void a_dead_uplink_hands_over_after_the_delay(void **state)
{
	struct uplink u = both_alive();

	(void)state;
	assert_int_equal(uplink_due_us(&u, DELAY), NEVER);
	assert_true(uplink_ours(&u, false, 100 * SEC));
	assert_int_equal(uplink_due_us(&u, DELAY), 101 * SEC);
	assert_int_equal(uplink_due_us(&u, 7 * DELAY), 107 * SEC);
}

static void only_a_change_is_news(void **state)
{
	struct uplink u = {};

	(void)state;
	assert_true(uplink_ours(&u, false, 1));
	assert_false(uplink_ours(&u, false, 2));
	assert_true(uplink_ours(&u, true, 3));
	assert_false(uplink_ours(&u, true, 4));
}

/* It is said again and again; the delay counts from the first time. */
static void a_repeated_word_does_not_begin_the_delay_anew(void **state)
{
	struct uplink u = both_alive();

	(void)state;
	uplink_ours(&u, false, 100 * SEC);
	uplink_ours(&u, false, 100 * SEC + DELAY / 2);
	uplink_peers(&u, true, 100 * SEC + DELAY / 2);
	assert_int_equal(uplink_due_us(&u, DELAY), 101 * SEC);
}

static void an_uplink_that_comes_back_in_time_changes_nothing(void **state)
{
	struct uplink u = both_alive();

	(void)state;
	uplink_ours(&u, false, 100 * SEC);
	uplink_ours(&u, true, 100 * SEC + DELAY / 2);
	assert_int_equal(uplink_due_us(&u, DELAY), NEVER);
	uplink_ours(&u, false, 101 * SEC);
	assert_int_equal(uplink_due_us(&u, DELAY), 102 * SEC);
}

static void nothing_is_done_when_both_are_dead_or_the_peer_says_nothing(void **state)
{
	struct uplink u = both_alive();

	(void)state;
	uplink_peers(&u, false, 99 * SEC);
	uplink_ours(&u, false, 100 * SEC);
	assert_int_equal(uplink_due_us(&u, DELAY), NEVER);
	uplink_peers(&u, true, 105 * SEC);
	assert_int_equal(uplink_due_us(&u, DELAY), 106 * SEC); /* a peer's has to be stable, too */
	uplink_peer_gone(&u);
	assert_int_equal(uplink_due_us(&u, DELAY), NEVER);
}

static void who_watches_nothing_hands_nothing_over(void **state)
{
	struct uplink u = {};

	(void)state;
	assert_int_equal(uplink_due_us(&u, DELAY), NEVER);
	uplink_peers(&u, true, SEC);
	assert_int_equal(uplink_due_us(&u, DELAY), NEVER);
}

/* Both uplinks come and go all the time: the rests grow, and the guest stays where it is in them. */
static void uplinks_that_flap_move_the_guest_ever_less(void **state)
{
	struct uplink u = both_alive();
	uint64_t now = 100 * SEC, rest = 0;
	unsigned moves = 0;

	(void)state;
	for (unsigned i = 0; i < 600; i++, now += 2 * SEC) {
		uplink_ours(&u, false, now);
		if (uplink_due_us(&u, DELAY) <= now + DELAY) {
			uplink_tried(&u, DELAY, now + DELAY);
			assert_true(u.rest_us > rest || u.rest_us == 300 * SEC);
			rest = u.rest_us;
			moves++;
		}
		uplink_ours(&u, true, now + 3 * SEC / 2);
	}
	assert_in_range(moves, 6, 10); /* of 600 occasions in 20 minutes */
}

static void a_first_rest_is_ten_delays_and_no_less_than_ten_seconds(void **state)
{
	struct uplink u = both_alive();

	(void)state;
	uplink_ours(&u, false, 100 * SEC);
	uplink_tried(&u, DELAY / 10, 101 * SEC);
	assert_int_equal(uplink_due_us(&u, DELAY / 10), 111 * SEC);
	u = both_alive();
	uplink_ours(&u, false, 100 * SEC);
	uplink_tried(&u, 5 * DELAY, 105 * SEC);
	assert_int_equal(uplink_due_us(&u, 5 * DELAY), 155 * SEC);
}

static void an_uplink_that_stayed_alive_is_trusted_again(void **state)
{
	struct uplink u = both_alive();

	(void)state;
	uplink_ours(&u, false, 100 * SEC);
	uplink_tried(&u, DELAY, 101 * SEC);
	uplink_ours(&u, true, 102 * SEC);
	uplink_ours(&u, false, 105 * SEC);
	assert_int_equal(uplink_due_us(&u, DELAY), 111 * SEC);
	uplink_ours(&u, true, 106 * SEC);
	uplink_ours(&u, false, 116 * SEC);
	assert_int_equal(u.rest_us, 0);
	assert_int_equal(uplink_due_us(&u, DELAY), 117 * SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dead_uplink_hands_over_after_the_delay),
		cmocka_unit_test(only_a_change_is_news),
		cmocka_unit_test(a_repeated_word_does_not_begin_the_delay_anew),
		cmocka_unit_test(an_uplink_that_comes_back_in_time_changes_nothing),
		cmocka_unit_test(nothing_is_done_when_both_are_dead_or_the_peer_says_nothing),
		cmocka_unit_test(who_watches_nothing_hands_nothing_over),
		cmocka_unit_test(uplinks_that_flap_move_the_guest_ever_less),
		cmocka_unit_test(a_first_rest_is_ten_delays_and_no_less_than_ten_seconds),
		cmocka_unit_test(an_uplink_that_stayed_alive_is_trusted_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
