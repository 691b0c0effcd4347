// SPDX-License-Identifier: GPL-2.0-or-later
/* A pool of records: used again, and no more of them than there are. */
#include "tests/unit/unit.h"

#include "base/pool.h"

static void records_are_used_again_the_last_one_first(void **state)
{
	struct pool p;
	void *a, *b;

	(void)state;
	assert_int_equal(pool_init(&p, 2, 40), 0);
	a = pool_get(&p);
	b = pool_get(&p);
	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	assert_null(pool_get(&p));
	pool_put(&p, a);
	pool_put(&p, b);
	assert_int_equal(p.used, 0);
	assert_ptr_equal(pool_get(&p), b);
	assert_ptr_equal(pool_get(&p), a);
	pool_destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_used_again_the_last_one_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
