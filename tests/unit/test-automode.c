// SPDX-License-Identifier: GPL-2.0-or-later
/* Mode auto: when it gives colo up, how long it stays away, when it starts anew. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "proxy/automode.h"

#define MS    USEC_PER_MSEC
#define SEC   USEC_PER_SEC
#define START (1000 * SEC)

static void it_begins_with_colo(void **state)
{
	struct automode a;

	(void)state;
	automode_init(&a, START);
	assert_true(a.colo);
	assert_int_equal(a.switches, 0);
	assert_string_equal(a.why, "");
	assert_true(automode_decide(&a, 100 * MS, START));
	assert_true(automode_decide(&a, 100 * MS, START + 3600 * SEC));
	assert_int_equal(a.switches, 0);
}

/* @forced checkpoints forced evenly over @span_us, the last one at the moment of the decision. */
static const struct {
	const char *name;
	uint64_t period_us;
	unsigned forced;
	uint64_t span_us;
	bool colo;
} cases[] = {
	{"as many as periodic makes", 100 * MS, 20, AUTO_WINDOW_US, true},
	{"one more", 100 * MS, 21, AUTO_WINDOW_US, false},
	{"one more, over a longer time", 100 * MS, 21, AUTO_WINDOW_US + 1, true},
	{"many, but slowly", 100 * MS, 2000, 2000 * SEC, true},
	{"a burst", 100 * MS, 21, 1 * MS, false},
	{"a long period, few forced", 10 * SEC, AUTO_MIN_FORCED, 1 * MS, true},
	{"a long period, one more", 10 * SEC, AUTO_MIN_FORCED + 1, 1 * MS, false},
	{"period of the window, one forced", AUTO_WINDOW_US, 1, 0, true},
	{"a short period", 10 * MS, 200, AUTO_WINDOW_US, true},
	{"a short period, one more", 10 * MS, 201, AUTO_WINDOW_US, false},
	{"the shortest period", 1 * MS, 2000, AUTO_WINDOW_US, true},
	{"the shortest period, one more", 1 * MS, 2001, AUTO_WINDOW_US, false},
	{"no period at all", 0, 5000, 1 * SEC, true},
};

static void colo_ends_when_it_costs_more_than_periodic(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t begin = START + 10 * SEC, end = begin + cases[i].span_us;
		struct automode a;
		bool colo;

		automode_init(&a, START);
		for (unsigned k = 0; k < cases[i].forced; k++)
			automode_forced(&a, cases[i].forced == 1
						    ? begin
						    : begin + cases[i].span_us * k /
								      (cases[i].forced - 1));
		colo = automode_decide(&a, cases[i].period_us, end);
		if (colo != cases[i].colo)
			fail_msg("%s", cases[i].name);
		assert_int_equal(a.colo, colo);
		assert_int_equal(a.switches, !colo);
		assert_int_equal(a.forced, cases[i].forced);
		assert_int_equal(*a.why != 0, !colo);
	}
}

static void a_clock_that_has_just_begun_counts_nothing_that_was_not(void **state)
{
	struct automode a;

	(void)state;
	automode_init(&a, 0);
	for (int i = 0; i < 20; i++)
		automode_forced(&a, 1);
	assert_true(automode_decide(&a, 100 * MS, 1));
}

/* In the first window, decided at its end or, with enough forced checkpoints, at once. */
static void long_waits_end_colo(void **state)
{
	static const struct {
		const char *name;
		uint64_t packets, waited_us;
		unsigned forced;
		bool at_once, in_the_end; /* colo */
	} kinds[] = {
		{"nothing waited", 0, 0, 0, true, true},
		{"as long as in periodic", 1000, 1000 * 10 * MS, 0, true, true},
		{"longer", 1000, 1000 * 10 * MS + 1, 0, true, false},
		{"longer, too few packets", AUTO_MIN_PACKETS - 1, SEC, 0, true, true},
		{"longer, enough packets", AUTO_MIN_PACKETS, SEC, 0, true, false},
		{"longer, too few forced", 10, SEC, AUTO_MIN_FORCED - 1, true, true},
		{"longer, forced often enough", 10, SEC, AUTO_MIN_FORCED, false, false},
		{"forced often, most agree", 1000, SEC, AUTO_MIN_FORCED, true, true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint64_t end = START + AUTO_WINDOW_US;
		struct automode a;

		automode_init(&a, START);
		for (unsigned f = 0; f < kinds[i].forced; f++)
			automode_forced(&a, START + 1);
		automode_released(&a, kinds[i].packets, kinds[i].waited_us);
		if (automode_decide(&a, 10 * MS, end - 1) != kinds[i].at_once)
			fail_msg("%s, at once", kinds[i].name);
		if (a.colo && automode_decide(&a, 10 * MS, end) != kinds[i].in_the_end)
			fail_msg("%s, in the end", kinds[i].name);
	}
}

static void waits_of_one_window_are_not_counted_in_the_next(void **state)
{
	struct automode a;

	(void)state;
	automode_init(&a, START);
	automode_released(&a, 1000, 1000 * MS);
	assert_true(automode_decide(&a, 10 * MS, START + AUTO_WINDOW_US));
	automode_released(&a, 1000 + 100, 1000 * MS + 100 * 11 * MS);
	assert_true(automode_decide(&a, 10 * MS, START + 2 * AUTO_WINDOW_US - 1));
	assert_false(automode_decide(&a, 10 * MS, START + 2 * AUTO_WINDOW_US));
}

static void what_waited_in_periodic_is_not_held_against_colo(void **state)
{
	uint64_t now = START + AUTO_PROBE_MIN_US;
	struct automode a;

	(void)state;
	automode_init(&a, START);
	for (int i = 0; i < 21; i++)
		automode_forced(&a, START);
	assert_false(automode_decide(&a, 100 * MS, START));
	automode_released(&a, 1000, 1000 * SEC);
	assert_true(automode_decide(&a, 100 * MS, now));
	automode_released(&a, 2000, 1000 * SEC + 1000 * MS);
	assert_true(automode_decide(&a, 100 * MS, now + AUTO_WINDOW_US));
}

/* Make it give colo up at @now_us. */
static void give_up(struct automode *a, uint64_t now_us)
{
	for (int i = 0; i < 21; i++)
		automode_forced(a, now_us);
	assert_false(automode_decide(a, 100 * MS, now_us));
	assert_int_equal(a->since_us, now_us);
}

/* It tries again at that time and not before. */
static void assert_away_until(struct automode *a, uint64_t until_us)
{
	assert_false(automode_decide(a, 100 * MS, until_us - 1));
	assert_true(automode_decide(a, 100 * MS, until_us));
}

static void time_away_doubles_up_to_a_maximum(void **state)
{
	uint64_t now = START, away = AUTO_PROBE_MIN_US;
	struct automode a;

	(void)state;
	automode_init(&a, START);
	for (unsigned n = 1; n <= 12; n++) {
		give_up(&a, now);
		assert_int_equal(a.probe_us, away);
		assert_int_equal(a.switches, 2 * n - 1);
		assert_away_until(&a, now + away);
		assert_int_equal(a.switches, 2 * n);
		now += away + AUTO_TRIAL_US - 1;
		away = MIN(2 * away, AUTO_PROBE_MAX_US);
	}
	assert_int_equal(a.probe_us, AUTO_PROBE_MAX_US);
}

static void a_trial_that_lasts_makes_probing_start_anew(void **state)
{
	uint64_t now = START;
	struct automode a;

	(void)state;
	automode_init(&a, START);
	for (unsigned n = 0; n < 4; n++) {
		give_up(&a, now);
		now += a.probe_us;
		assert_away_until(&a, now);
	}
	assert_int_equal(a.probe_us, 8 * AUTO_PROBE_MIN_US);
	assert_true(automode_decide(&a, 100 * MS, now + AUTO_TRIAL_US - 1));
	assert_int_equal(a.probe_us, 8 * AUTO_PROBE_MIN_US);
	assert_true(automode_decide(&a, 100 * MS, now + AUTO_TRIAL_US));
	assert_int_equal(a.probe_us, AUTO_PROBE_MIN_US);
	now += AUTO_TRIAL_US + 1;
	give_up(&a, now);
	assert_away_until(&a, now + AUTO_PROBE_MIN_US);
}

static void a_trial_may_end_at_its_last_decision(void **state)
{
	uint64_t now = START;
	struct automode a;

	(void)state;
	automode_init(&a, START);
	for (unsigned n = 0; n < 3; n++) {
		give_up(&a, now);
		now += a.probe_us;
		assert_away_until(&a, now);
	}
	/* No checkpoint came in between, so nothing was decided. */
	give_up(&a, now + AUTO_TRIAL_US);
	assert_int_equal(a.probe_us, AUTO_PROBE_MIN_US);
}

static void what_was_forced_before_a_trial_does_not_count(void **state)
{
	uint64_t now = START + AUTO_PROBE_MIN_US;
	struct automode a;

	(void)state;
	automode_init(&a, START);
	give_up(&a, START);
	for (int i = 0; i < 100; i++)
		automode_forced(&a, now - 1);
	assert_away_until(&a, now);
	for (int i = 0; i < 20; i++)
		automode_forced(&a, now + 1);
	assert_true(automode_decide(&a, 100 * MS, now + 2));
	automode_forced(&a, now + 3);
	assert_false(automode_decide(&a, 100 * MS, now + 4));
}

static void periodic_heeds_only_the_clock(void **state)
{
	struct automode a;

	(void)state;
	automode_init(&a, START);
	give_up(&a, START);
	assert_false(automode_decide(&a, 0, START + AUTO_PROBE_MIN_US - 1));
	assert_true(automode_decide(&a, 100 * MS, START + AUTO_PROBE_MIN_US));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_begins_with_colo),
		cmocka_unit_test(colo_ends_when_it_costs_more_than_periodic),
		cmocka_unit_test(a_clock_that_has_just_begun_counts_nothing_that_was_not),
		cmocka_unit_test(long_waits_end_colo),
		cmocka_unit_test(waits_of_one_window_are_not_counted_in_the_next),
		cmocka_unit_test(what_waited_in_periodic_is_not_held_against_colo),
		cmocka_unit_test(time_away_doubles_up_to_a_maximum),
		cmocka_unit_test(a_trial_that_lasts_makes_probing_start_anew),
		cmocka_unit_test(a_trial_may_end_at_its_last_decision),
		cmocka_unit_test(what_was_forced_before_a_trial_does_not_count),
		cmocka_unit_test(periodic_heeds_only_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
