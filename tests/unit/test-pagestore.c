// SPDX-License-Identifier: GPL-2.0-or-later
/* The page store against a plain map, and that it gives memory back. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "colod/core/pagestore.h"

#include <sys/mman.h>

#define NPAGES 300

/* ---- a map from page to one byte that fills it ---- */

struct model {
	int fill[NPAGES]; /* -1: not in the store */
	uint32_t used;
};

static void model_reset(struct model *m)
{
	memset(m->fill, 0xff, sizeof(m->fill));
	m->used = 0;
}

static void put(struct pagestore *ps, struct model *m, uint64_t page, uint8_t fill)
{
	uint32_t slot = pagestore_slot(ps, page);

	memset(pagestore_data(ps, slot), fill, PAGE_BYTES);
	m->used += m->fill[page] < 0;
	m->fill[page] = fill;
}

static void assert_same(const struct pagestore *ps, const struct model *m)
{
	assert_int_equal(ps->used, m->used);
	for (uint64_t p = 0; p < NPAGES; p++) {
		uint32_t slot = pagestore_find(ps, p);
		const uint8_t *data;

		assert_int_equal(slot == PAGESTORE_NONE, m->fill[p] < 0);
		if (slot == PAGESTORE_NONE)
			continue;
		assert_in_range(slot, 0, ps->used - 1);
		assert_int_equal(ps->page_of[slot], p);
		data = pagestore_data(ps, slot);
		assert_int_equal(data[0], m->fill[p]);
		assert_memory_equal(data, data + 1, PAGE_BYTES - 1);
	}
}

static void one_operation(struct pagestore *ps, struct model *m, struct rng *rng)
{
	uint64_t page = rng_below(rng, NPAGES);

	switch (rng_below(rng, 40)) {
	case 0:
		pagestore_reset(ps);
		model_reset(m);
		break;
	case 1:
		pagestore_release(ps);
		model_reset(m);
		break;
	case 2:
	case 3:
		if (pagestore_find(ps, page) == PAGESTORE_NONE) {
			pagestore_slot(ps, page);
			pagestore_unslot(ps, page);
		}
		break;
	default:
		put(ps, m, page, (uint8_t)rng_next(rng));
	}
}

static void operations_match_a_map(void **state)
{
	struct rng rng = {1};
	struct pagestore ps;
	struct model m;
	struct err e;

	(void)state;
	model_reset(&m);
	assert_ok(pagestore_init(&ps, NPAGES, &e), &e);
	for (int i = 0; i < 20000; i++) {
		one_operation(&ps, &m, &rng);
		if (i % 16 == 0)
			assert_same(&ps, &m);
	}
	for (uint64_t p = 0; p < NPAGES; p++)
		put(&ps, &m, p, (uint8_t)p);
	assert_same(&ps, &m);
	assert_int_equal(ps.used, NPAGES);
	pagestore_destroy(&ps);
	pagestore_destroy(&ps);
}

static void slots_are_handed_out_in_order(void **state)
{
	struct pagestore ps;
	struct err e;

	(void)state;
	assert_ok(pagestore_init(&ps, NPAGES, &e), &e);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(pagestore_slot(&ps, 200), 0);
		assert_int_equal(pagestore_slot(&ps, 7), 1);
		assert_int_equal(pagestore_slot(&ps, 200), 0);
		assert_int_equal(pagestore_slot(&ps, 250), 2);
		pagestore_unslot(&ps, 250);
		assert_int_equal(pagestore_slot(&ps, 0), 2);
		pagestore_reset(&ps);
	}
	pagestore_destroy(&ps);
}

/* ---- memory ---- */

#define MANY 6000
#define FEW  10

/* Pages of the data area that the kernel holds for us, mincore(2). */
static uint64_t resident(const struct pagestore *ps)
{
	autofree unsigned char *vec = malloc(ps->npages);
	uint64_t n = 0;

	assert_int_equal(mincore(ps->data, ps->npages << PAGE_SHIFT, vec), 0);
	for (uint64_t i = 0; i < ps->npages; i++)
		n += vec[i] & 1;
	return n;
}

static void one_epoch(struct pagestore *ps, uint32_t pages)
{
	for (uint32_t i = 0; i < pages; i++)
		*pagestore_data(ps, pagestore_slot(ps, i)) = 1;
	pagestore_reset(ps);
}

static void a_big_guest_costs_nothing_at_setup(void **state)
{
	struct pagestore ps;
	struct err e;

	(void)state;
	assert_ok(pagestore_init(&ps, 8 * GIB >> PAGE_SHIFT, &e), &e);
	assert_int_equal(resident(&ps), 0);
	*pagestore_data(&ps, pagestore_slot(&ps, ps.npages - 1)) = 1;
	assert_in_range(resident(&ps), 1, 2 * MIB >> PAGE_SHIFT); /* one page, or one huge page */
	pagestore_destroy(&ps);
}

static void memory_of_a_past_burst_is_given_back_in_time(void **state)
{
	struct pagestore ps;
	struct err e;

	(void)state;
	assert_ok(pagestore_init(&ps, 2 * MANY, &e), &e);
	one_epoch(&ps, MANY);
	assert_in_range(resident(&ps), MANY, 2 * MANY);
	for (int i = 0; i < 200; i++)
		one_epoch(&ps, FEW);
	assert_in_range(resident(&ps), FEW, MANY / 4);
	one_epoch(&ps, MANY);
	assert_in_range(resident(&ps), MANY, 2 * MANY);
	pagestore_destroy(&ps);
}

/* Faulting memory in again at each epoch would cost more than keeping it. */
static void memory_that_is_used_again_and_again_is_kept(void **state)
{
	struct pagestore ps;
	struct err e;

	(void)state;
	assert_ok(pagestore_init(&ps, 2 * MANY, &e), &e);
	for (int i = 0; i < 200; i++) {
		one_epoch(&ps, i % 20 ? FEW : MANY);
		assert_in_range(resident(&ps), MANY, 2 * MANY);
	}
	for (int i = 0; i < 200; i++)
		one_epoch(&ps, MANY * 2 / 3);
	assert_in_range(resident(&ps), MANY, 2 * MANY);
	pagestore_destroy(&ps);
}

static void release_gives_all_memory_back(void **state)
{
	struct pagestore ps;
	struct err e;

	(void)state;
	assert_ok(pagestore_init(&ps, 2 * MANY, &e), &e);
	one_epoch(&ps, MANY);
	pagestore_slot(&ps, 3);
	pagestore_release(&ps);
	assert_int_equal(resident(&ps), 0);
	assert_int_equal(pagestore_find(&ps, 3), PAGESTORE_NONE);
	one_epoch(&ps, FEW);
	pagestore_release(&ps);
	*pagestore_data(&ps, pagestore_slot(&ps, 4)) = 1;
	pagestore_unslot(&ps, 4); /* its memory is in use all the same */
	pagestore_release(&ps);
	assert_int_equal(resident(&ps), 0);
	pagestore_destroy(&ps);
}

/* ---- zero pages ---- */

static void one_byte_anywhere_makes_a_page_not_zero(void **state)
{
	static uint8_t page[PAGE_BYTES + 1];

	(void)state;
	assert_true(page_is_zero(page));
	page[PAGE_BYTES] = 1;
	assert_true(page_is_zero(page));
	for (size_t i = 0; i < PAGE_BYTES; i++) {
		page[i] = 0x80;
		assert_false(page_is_zero(page));
		page[i] = 0;
	}
	memset(page, 7, PAGE_BYTES);
	assert_false(page_is_zero(page));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_match_a_map),
		cmocka_unit_test(slots_are_handed_out_in_order),
		cmocka_unit_test(a_big_guest_costs_nothing_at_setup),
		cmocka_unit_test(memory_of_a_past_burst_is_given_back_in_time),
		cmocka_unit_test(memory_that_is_used_again_and_again_is_kept),
		cmocka_unit_test(release_gives_all_memory_back),
		cmocka_unit_test(one_byte_anywhere_makes_a_page_not_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
