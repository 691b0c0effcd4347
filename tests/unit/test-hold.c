// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes of held packets: pieces never overlap, are used again, and keep to the limit. */
#include "tests/unit/unit.h"

#include "proxy/hold.h"

static void the_limit_is_kept(void **state)
{
	struct hold h;
	void *a;

	(void)state;
	assert_int_equal(hold_init(&h, 1000), 0);
	a = hold_get(&h, 600);
	assert_non_null(a);
	assert_null(hold_get(&h, 600));
	hold_put(&h, a, 600);
	assert_int_equal(h.bytes, 0);
	assert_non_null(hold_get(&h, 600));
	hold_destroy(&h);
	assert_int_equal(hold_init(&h, 10 * HOLD_CHUNK), 0);
	assert_null(hold_get(&h, HOLD_CHUNK + 1));
	assert_non_null(hold_get(&h, HOLD_CHUNK));
	hold_destroy(&h);
}

static void what_goes_soon_always_uses_the_same_memory(void **state)
{
	struct hold h;
	void *first;

	(void)state;
	assert_int_equal(hold_init(&h, 64 * HOLD_CHUNK), 0);
	first = hold_get(&h, 60000);
	hold_put(&h, first, 60000);
	for (int i = 0; i < 100; i++) {
		void *p = hold_get(&h, 60000);

		assert_ptr_equal(p, first);
		hold_put(&h, p, 60000);
	}
	hold_destroy(&h);
}

static void one_that_stays_does_not_keep_what_came_behind_it(void **state)
{
	struct hold h;

	(void)state;
	assert_int_equal(hold_init(&h, 8 * HOLD_CHUNK), 0);
	assert_non_null(hold_get(&h, 100));
	for (int i = 0; i < 1000; i++) {
		void *p = hold_get(&h, 60000);

		assert_non_null(p);
		hold_put(&h, p, 60000);
	}
	hold_destroy(&h);
}

static void a_chunk_that_was_emptied_is_filled_no_further_than_its_end(void **state)
{
	struct hold h;

	(void)state;
	assert_int_equal(hold_init(&h, 8 * HOLD_CHUNK), 0);
	hold_put(&h, hold_get(&h, 100), 100);
	for (int i = 0; i < 6; i++) {
		uint8_t *p = hold_get(&h, 60000);

		assert_non_null(p);
		assert_in_range((p - h.arena) % HOLD_CHUNK, 0, HOLD_CHUNK - 60000);
	}
	hold_destroy(&h);
}

#define PIECES 200
static void pieces_in_use_never_overlap(void **state)
{
	struct rng rng = {.state = 5};
	struct hold h;
	struct piece {
		uint8_t *p;
		size_t len;
		uint8_t mark;
	} pieces[PIECES] = {};
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(hold_init(&h, 4 * HOLD_CHUNK), 0);
	for (int i = 0; i < 20000; i++) {
		struct piece *k = &pieces[rng_below(&rng, PIECES)];

		if (k->p) {
			for (size_t j = 0; j < k->len; j++)
				assert_int_equal(k->p[j], k->mark);
			hold_put(&h, k->p, k->len);
			bytes -= ALIGN_UP(k->len, 16);
			k->p = NULL;
			continue;
		}
		k->len = 1 + rng_below(&rng, rng_below(&rng, 20) ? 2000 : 60000);
		k->mark = (uint8_t)rng_next(&rng);
		k->p = hold_get(&h, k->len);
		if (k->p)
			memset(k->p, k->mark, k->len);
		bytes += k->p ? ALIGN_UP(k->len, 16) : 0;
		assert_int_equal(h.bytes, bytes);
	}
	for (int i = 0; i < PIECES; i++)
		if (pieces[i].p)
			hold_put(&h, pieces[i].p, pieces[i].len);
	assert_int_equal(h.bytes, 0);
	/* Every chunk is to be had again. */
	for (int i = 0; i < 4; i++)
		assert_non_null(hold_get(&h, HOLD_CHUNK));
	hold_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_is_kept),
		cmocka_unit_test(what_goes_soon_always_uses_the_same_memory),
		cmocka_unit_test(one_that_stays_does_not_keep_what_came_behind_it),
		cmocka_unit_test(a_chunk_that_was_emptied_is_filled_no_further_than_its_end),
		cmocka_unit_test(pieces_in_use_never_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
