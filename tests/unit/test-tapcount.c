// SPDX-License-Identifier: GPL-2.0-or-later
/* Which frame was read last: the arithmetic, held against a model of tap, mirror and QEMU. */
#include "proxy/tapcount.h"
#include "tests/unit/unit.h"

static struct tapcount_now now(uint64_t mirrored, uint64_t lost, uint64_t read, uint64_t dropped)
{
	return (struct tapcount_now){
		.mirrored = mirrored, .lost = lost, .read = read, .dropped = dropped};
}

static struct tapcount started(struct tapcount_now at, uint32_t held)
{
	struct tapcount c;

	tapcount_start(&c, &at, held);
	return c;
}

static void assert_place(const struct tapcount *c, struct tapcount_now n, uint64_t at_least,
			 uint64_t at_most, uint64_t waiting, bool is_exact)
{
	struct tapcount_place p = tapcount_place(c, &n);

	assert_int_equal(p.at_least, at_least);
	assert_int_equal(p.at_most, at_most);
	assert_int_equal(p.waiting, waiting);
	assert_int_equal(p.is_exact, is_exact);
}

static void without_loss_the_place_is_exact(void **state)
{
	struct tapcount c = started(now(100, 3, 5000, 7), 0);

	(void)state;
	assert_place(&c, now(100, 3, 5000, 7), 100, 100, 0, true);
	assert_place(&c, now(110, 3, 5000, 7), 100, 100, 10, true);
	assert_place(&c, now(110, 3, 5004, 7), 104, 104, 6, true);
	assert_place(&c, now(110, 3, 5010, 7), 110, 110, 0, true);
}

static void a_frame_that_qemu_may_hold_is_not_surely_the_guests(void **state)
{
	struct tapcount c = started(now(100, 0, 50, 0), 1);

	(void)state;
	assert_place(&c, now(110, 0, 54, 0), 103, 104, 6, true);
	assert_place(&c, now(110, 0, 60, 0), 109, 110, 0, true);
	assert_place(&c, now(110, 0, 50, 0), 100, 100, 10, true); /* nothing read, nothing held */
}

static void dropped_frames_may_lie_before_the_last_one_read_or_after(void **state)
{
	struct tapcount c = started(now(0, 0, 0, 0), 0);

	(void)state;
	assert_place(&c, now(20, 0, 10, 3), 10, 13, 7, false);
	assert_place(&c, now(13, 0, 10, 3), 13, 13, 0, true); /* all are behind */
}

static void frames_that_the_mirror_missed_have_no_number(void **state)
{
	struct tapcount c = started(now(0, 0, 0, 0), 0);

	(void)state;
	assert_place(&c, now(18, 2, 10, 0), 8, 10, 10, false);
	assert_place(&c, now(18, 2, 20, 0), 18, 18, 0, true);
}

static void a_counter_that_ran_backwards_is_not_believed(void **state)
{
	struct tapcount c = started(now(100, 1, 50, 1), 0);

	(void)state;
	assert_false(tapcount_place(&c, &(struct tapcount_now){110, 1, 49, 1}).is_exact);
	assert_false(tapcount_place(&c, &(struct tapcount_now){110, 1, 55, 0}).is_exact);
	assert_false(tapcount_place(&c, &(struct tapcount_now){110, 0, 55, 1}).is_exact);
	assert_false(tapcount_place(&c, &(struct tapcount_now){99, 1, 50, 1}).is_exact);
}

static void frames_read_that_were_never_mirrored_are_not_believed(void **state)
{
	struct tapcount c = started(now(0, 0, 0, 0), 0);
	struct tapcount_now n = now(5, 0, 6, 0);

	(void)state;
	assert_false(tapcount_place(&c, &n).is_exact);
	assert_false(tapcount_settle(&c, &n));
	assert_int_equal(tapcount_place(&c, &n).at_least, 5);
	assert_int_equal(tapcount_place(&c, &n).at_most, 5);
}

static void what_left_the_tap_is_due_from_the_mirror(void **state)
{
	struct tapcount c = started(now(100, 3, 50, 7), 1);

	(void)state;
	assert_int_equal(tapcount_due(&c, &(struct tapcount_now){.read = 54, .dropped = 9}), 106);
	assert_int_equal(tapcount_due(&c, &(struct tapcount_now){.read = 49, .dropped = 7}), 100);
}

static void settling_needs_a_tap_in_which_nothing_waits(void **state)
{
	struct tapcount c = started(now(0, 0, 0, 0), 1);
	struct tapcount_now waits = now(20, 0, 10, 3), empty = now(20, 0, 17, 3);

	(void)state;
	assert_false(tapcount_settle(&c, &waits));
	assert_true(tapcount_settle(&c, &empty));
	assert_place(&c, now(20, 0, 17, 3), 16, 20, 0, false); /* QEMU may hold 17 */
	assert_place(&c, now(25, 0, 17, 3), 16, 20, 5, false);
	assert_place(&c, now(25, 0, 18, 3), 20, 21, 4, true);
	assert_place(&c, now(25, 0, 20, 3), 22, 23, 2, true);
}

/* ---- a model: every frame with its fate ---- */

#define RING 16

struct model {
	struct rng rng;
	uint64_t ring[RING], fill, last_read;
	struct tapcount_now now;
	uint32_t loss_percent;
};

static void arrive(struct model *m)
{
	bool missed = rng_below(&m->rng, 100) < m->loss_percent;

	if (missed)
		m->now.lost++;
	else
		m->now.mirrored++;
	if (m->fill < RING)
		m->ring[m->fill++] = m->now.mirrored; /* missed: the number before it */
	else
		m->now.dropped++;
}

/* QEMU reads one and may hold it; it gave the one before to the guest. */
static void take(struct model *m)
{
	if (!m->fill)
		return;
	m->last_read = m->ring[0];
	memmove(m->ring, m->ring + 1, --m->fill * sizeof(m->ring[0]));
	m->now.read++;
}

static void run_model(struct model *m)
{
	uint64_t arrivals = rng_below(&m->rng, 12), reads = rng_below(&m->rng, 14);

	while (arrivals || reads) {
		bool first = arrivals && (!reads || rng_below(&m->rng, 2));

		if (first) {
			arrivals--;
			arrive(m);
		} else {
			reads--;
			take(m);
		}
	}
}

/* Where the mirror missed frames, one that it missed bears the number before it. */
static void assert_model(const struct model *m, const struct tapcount *c)
{
	struct tapcount_place p = tapcount_place(c, &m->now);
	uint64_t itself = m->loss_percent ? 0 : 1;

	assert_int_equal(p.waiting, m->fill);
	/* None that waits, nor the one that is held, is said to be the guest's. */
	if (m->fill)
		assert_true(p.at_least + itself <= m->ring[0]);
	if (m->now.read)
		assert_true(p.at_least + itself <= m->last_read);
	/* The one that was read last is not said to wait. */
	assert_true(p.at_most >= m->last_read);
	if (p.is_exact && m->fill && !m->loss_percent)
		assert_int_equal(p.at_most, m->ring[0] - 1);
}

static void the_bounds_hold_whatever_is_lost(void **state)
{
	uint64_t exact = 0, settled = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct model m = {.rng = {seed}, .loss_percent = seed % 3 ? 0 : 5};
		struct tapcount c = started(m.now, 1);

		for (int i = 0; i < 100; i++) {
			run_model(&m);
			assert_model(&m, &c);
			exact += tapcount_place(&c, &m.now).is_exact;
			settled += tapcount_settle(&c, &m.now);
		}
	}
	assert_true(exact > 1000 && settled > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_loss_the_place_is_exact),
		cmocka_unit_test(a_frame_that_qemu_may_hold_is_not_surely_the_guests),
		cmocka_unit_test(dropped_frames_may_lie_before_the_last_one_read_or_after),
		cmocka_unit_test(frames_that_the_mirror_missed_have_no_number),
		cmocka_unit_test(a_counter_that_ran_backwards_is_not_believed),
		cmocka_unit_test(frames_read_that_were_never_mirrored_are_not_believed),
		cmocka_unit_test(what_left_the_tap_is_due_from_the_mirror),
		cmocka_unit_test(settling_needs_a_tap_in_which_nothing_waits),
		cmocka_unit_test(the_bounds_hold_whatever_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
