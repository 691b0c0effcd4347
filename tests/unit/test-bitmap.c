// SPDX-License-Identifier: GPL-2.0-or-later
/* Bitmap operations against an array of bools. */
#include "tests/unit/unit.h"

#include "base/bitmap.h"

#define MODEL_BITS 1000

static uint64_t model_next(const bool *m, uint64_t n, uint64_t from)
{
	while (from < n && !m[from])
		from++;
	return MIN(from, n);
}

static void assert_same(const struct bitmap *b, const bool *m)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < b->nbits; i++) {
		assert_int_equal(bitmap_test(b, i), m[i]);
		count += m[i];
		assert_int_equal(bitmap_next(b, i), model_next(m, b->nbits, i));
	}
	assert_int_equal(bitmap_count(b), count);
	assert_int_equal(bitmap_next(b, b->nbits), b->nbits);
	assert_int_equal(bitmap_next(b, b->nbits + 1000), b->nbits);
}

static void operations_match_an_array_of_bools(void **state)
{
	static const uint64_t sizes[] = {1, 63, 64, 65, 128, 777, MODEL_BITS};
	struct rng rng = {1};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		bool m[MODEL_BITS] = {};
		struct bitmap b;

		assert_int_equal(bitmap_init(&b, sizes[s]), 0);
		assert_same(&b, m);
		for (int op = 0; op < 200; op++) {
			uint64_t at = rng_below(&rng, sizes[s]);
			uint64_t len = rng_below(&rng, sizes[s] - at + 1);

			switch (rng_below(&rng, 8)) {
			case 0:
				bitmap_set_range(&b, at, len);
				memset(m + at, 1, len);
				break;
			case 1:
				bitmap_zero(&b);
				memset(m, 0, sizeof(m));
				break;
			case 2:
			case 3:
				bitmap_set(&b, at);
				m[at] = true;
				break;
			default:
				bitmap_clear(&b, at);
				m[at] = false;
			}
			assert_same(&b, m);
		}
		bitmap_destroy(&b);
	}
}

static void destroying_twice_is_harmless(void **state)
{
	struct bitmap b;

	(void)state;
	assert_int_equal(bitmap_init(&b, 100), 0);
	bitmap_destroy(&b);
	bitmap_destroy(&b);
	assert_null(b.words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_match_an_array_of_bools),
		cmocka_unit_test(destroying_twice_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
