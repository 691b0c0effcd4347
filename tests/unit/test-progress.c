// SPDX-License-Identifier: GPL-2.0-or-later
/* Progress of a first full copy: how long it will take, and when that cannot be said. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "colod/checkpoint/progress.h"

#define TOTAL 100000
#define STEP  (100 * USEC_PER_MSEC)

/* A copy that begins at @now and loses @per_step pages of what is left each 100 ms, @steps times. */
static uint64_t run(struct progress *g, uint64_t left, int64_t per_step, unsigned steps,
		    uint64_t *now)
{
	for (unsigned i = 0; i < steps; i++) {
		*now += STEP;
		left = (uint64_t)((int64_t)left - per_step);
		progress_note(g, left, *now);
	}
	return left;
}

static void the_time_to_go_follows_from_the_rate(void **state)
{
	struct progress g;
	uint64_t now = 1000 * USEC_PER_SEC, left, s;

	(void)state;
	progress_begin(&g, TOTAL, now);
	left = run(&g, TOTAL, 100, 100, &now); /* 1000 a second, 90000 left */
	assert_int_equal(left, 90000);
	assert_true(progress_seconds_left(&g, left, now, &s));
	assert_in_range(s, 90, 91);
}

static void only_the_last_seconds_count(void **state)
{
	struct progress g;
	uint64_t now = 5, left, s;

	(void)state;
	progress_begin(&g, TOTAL, now);
	left = run(&g, TOTAL, 10, 1000, &now);
	left = run(&g, left, 500, 100, &now);
	assert_int_equal(left, 40000);
	assert_true(progress_seconds_left(&g, left, now, &s));
	assert_in_range(s, 8, 9);
}

/* The guest writes faster than is sent: saying anything would be a lie. */
static void nothing_is_said_while_no_less_is_left_than_before(void **state)
{
	struct progress g;
	uint64_t now = 5, left, s;

	(void)state;
	progress_begin(&g, TOTAL, now);
	left = run(&g, TOTAL, 500, 50, &now);
	assert_true(progress_seconds_left(&g, left, now, &s));
	left = run(&g, left, -20, 100, &now);
	assert_false(progress_seconds_left(&g, left, now, &s));
	left = run(&g, left, 0, 100, &now);
	assert_false(progress_seconds_left(&g, left, now, &s));
}

static void a_copy_that_stands_still_has_no_end(void **state)
{
	struct progress g;
	uint64_t now = 5, left, s;

	(void)state;
	progress_begin(&g, TOTAL, now);
	left = run(&g, TOTAL, 500, 50, &now);
	assert_true(progress_seconds_left(&g, left, now + USEC_PER_SEC, &s));
	/* Nothing is noted any more, as when the link is gone. */
	assert_false(progress_seconds_left(&g, left, now + 60 * USEC_PER_SEC, &s));
}

static void nothing_is_said_too_early(void **state)
{
	struct progress g;
	uint64_t s;

	(void)state;
	progress_begin(&g, TOTAL, 7);
	assert_false(progress_seconds_left(&g, TOTAL, 7, &s));
	assert_false(progress_seconds_left(&g, TOTAL - 1000, 8, &s));
	assert_true(progress_seconds_left(&g, TOTAL - 1000, 7 + USEC_PER_SEC, &s));
	assert_in_range(s, 99, 100);
}

static void a_copy_that_is_done_takes_no_time(void **state)
{
	struct progress g;
	uint64_t s = 1;

	(void)state;
	progress_begin(&g, TOTAL, 7);
	assert_true(progress_seconds_left(&g, 0, 7, &s));
	assert_int_equal(s, 0);
}

static void a_new_copy_forgets_the_one_before(void **state)
{
	struct progress g;
	uint64_t now = 5, s;

	(void)state;
	progress_begin(&g, TOTAL, now);
	run(&g, TOTAL, 500, 150, &now);
	progress_begin(&g, 10, now);
	assert_int_equal(g.total, 10);
	assert_false(progress_seconds_left(&g, 10, now + USEC_PER_SEC, &s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_time_to_go_follows_from_the_rate),
		cmocka_unit_test(only_the_last_seconds_count),
		cmocka_unit_test(nothing_is_said_while_no_less_is_left_than_before),
		cmocka_unit_test(a_copy_that_stands_still_has_no_end),
		cmocka_unit_test(nothing_is_said_too_early),
		cmocka_unit_test(a_copy_that_is_done_takes_no_time),
		cmocka_unit_test(a_new_copy_forgets_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
