// SPDX-License-Identifier: GPL-2.0-or-later
/* Quantiles against a sorted copy of the window. */
#include "tests/unit/unit.h"

#include "base/quantile.h"

static void nothing_added_is_all_zero(void **state)
{
	struct quantile q = {};
	struct quantile_view v;

	(void)state;
	quantile_view(&q, &v);
	assert_int_equal(v.p50 | v.p99 | v.max | v.count | v.last, 0);
}

static void one_value_is_every_quantile(void **state)
{
	struct quantile q = {};
	struct quantile_view v;

	(void)state;
	quantile_add(&q, 42);
	quantile_view(&q, &v);
	assert_int_equal(v.p50, 42);
	assert_int_equal(v.p99, 42);
	assert_int_equal(v.max, 42);
	assert_int_equal(v.last, 42);
	assert_int_equal(v.count, 1);
}

static void quantiles_do_not_depend_on_order(void **state)
{
	struct quantile q = {};
	struct quantile_view v;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		quantile_add(&q, i * 607 % 1000 + 1);
	quantile_view(&q, &v);
	assert_int_equal(v.p50, 500);
	assert_int_equal(v.p99, 990);
	assert_int_equal(v.max, 1000);
	assert_int_equal(v.last, 999 * 607 % 1000 + 1);
}

static void old_values_leave_the_window_but_not_the_maximum(void **state)
{
	struct quantile q = {};
	struct quantile_view v;

	(void)state;
	for (int i = 0; i < 100; i++)
		quantile_add(&q, 1000000);
	for (int i = 0; i < QUANTILE_WINDOW; i++)
		quantile_add(&q, 7);
	quantile_view(&q, &v);
	assert_int_equal(v.p50, 7);
	assert_int_equal(v.p99, 7);
	assert_int_equal(v.last, 7);
	assert_int_equal(v.max, 1000000);
	assert_int_equal(v.count, QUANTILE_WINDOW + 100);
}

static void a_huge_value_saturates_in_the_window(void **state)
{
	struct quantile q = {};
	struct quantile_view v;

	(void)state;
	quantile_add(&q, UINT64_C(1) << 32);
	quantile_view(&q, &v);
	assert_int_equal(v.p50, UINT32_MAX);
	assert_true(v.max == UINT64_C(1) << 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_added_is_all_zero),
		cmocka_unit_test(one_value_is_every_quantile),
		cmocka_unit_test(quantiles_do_not_depend_on_order),
		cmocka_unit_test(old_values_leave_the_window_but_not_the_maximum),
		cmocka_unit_test(a_huge_value_saturates_in_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
