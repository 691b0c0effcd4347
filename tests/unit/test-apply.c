// SPDX-License-Identifier: GPL-2.0-or-later
/* Applying a committed epoch: stage into cache and RAM, own writes reverted, memory given back. */
#include "tests/unit/replica-rig.h"

struct rig {
	struct side side;
	struct replica rep;
	struct bitmap own;
	struct rng rng;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e;

	side_init(&r->side, RIG_PAGES);
	assert_int_equal(bitmap_init(&r->own, RIG_PAGES), 0);
	assert_ok(apply_init(&r->rep, &r->side.guest, &e), &e);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	apply_destroy(&r->rep);
	apply_destroy(&r->rep);
	bitmap_destroy(&r->own);
	side_free(&r->side);
	free(r);
	return 0;
}

static void stage(struct rig *r, uint64_t page, uint8_t fill)
{
	memset(pagestore_data(&r->rep.stage, pagestore_slot(&r->rep.stage, page)), fill,
	       PAGE_BYTES);
}

static void apply(struct rig *r)
{
	struct err e;

	assert_ok(apply_epoch(&r->rep, &r->side.tracker, &r->own, &e), &e);
	pagestore_reset(&r->rep.stage);
}

static void assert_page(struct rig *r, uint64_t page, uint8_t fill)
{
	uint8_t want[PAGE_BYTES];

	memset(want, fill, sizeof(want));
	assert_memory_equal(side_page(&r->side, page), want, PAGE_BYTES);
	assert_memory_equal(r->rep.cache + (page << PAGE_SHIFT), want, PAGE_BYTES);
}

static void staged_pages_reach_ram_and_cache(void **state)
{
	struct rig *r = *state;

	stage(r, 0, 1);
	stage(r, RIG_PAGES - 1, 2);
	assert_page(r, 0, 0);
	apply(r);
	assert_page(r, 0, 1);
	assert_page(r, RIG_PAGES - 1, 2);
	assert_page(r, 5, 0);
}

static void own_writes_go_back_to_the_last_checkpoint(void **state)
{
	struct rig *r = *state;

	stage(r, 5, 1);
	stage(r, 6, 2);
	apply(r);
	side_write(&r->side, 5, 77);  /* also written on the primary */
	side_write(&r->side, 6, 77);  /* only here */
	side_write(&r->side, 99, 77); /* only here, never seen from the primary */
	stage(r, 5, 3);
	apply(r);
	assert_page(r, 5, 3);
	assert_page(r, 6, 2);
	assert_page(r, 99, 0);
}

/* Random epochs of both sides against a plain copy of the primary's RAM. */
static void only_the_primarys_writes_survive(void **state)
{
	struct rig *r = *state;
	uint8_t primary[RIG_PAGES] = {};

	for (int epoch = 0; epoch < 30; epoch++) {
		for (int i = 0; i < 40; i++) {
			uint64_t page = rng_below(&r->rng, RIG_PAGES);

			primary[page] = (uint8_t)rng_next(&r->rng);
			stage(r, page, primary[page]);
			side_write(&r->side, rng_below(&r->rng, RIG_PAGES), rng_next(&r->rng));
		}
		apply(r);
		for (uint64_t p = 0; p < RIG_PAGES; p++)
			assert_page(r, p, primary[p]);
	}
}

static void the_device_state_lands_where_qemu_reads_it(void **state)
{
	struct rig *r = *state;
	uint8_t got[100], before[RIG_VMSTATE_AT], after[RIG_VMSTATE_AT];

	assert_int_equal(pread(r->side.guest.vmstate_fd, before, sizeof(before), 0),
			 sizeof(before));
	rng_fill(&r->rng, r->rep.devices, sizeof(got));
	r->rep.devices_bytes = sizeof(got);
	apply(r);
	assert_int_equal(pread(r->side.guest.vmstate_fd, got, sizeof(got), RIG_VMSTATE_AT),
			 sizeof(got));
	assert_memory_equal(got, r->rep.devices, sizeof(got));
	assert_int_equal(pread(r->side.guest.vmstate_fd, after, sizeof(after), 0), sizeof(after));
	assert_memory_equal(before, after, sizeof(after));
}

static void a_container_that_cannot_be_written_is_told(void **state)
{
	struct rig *r = *state;
	int fd = r->side.guest.vmstate_fd;
	struct err e = {};

	r->rep.devices_bytes = 10;
	r->side.guest.vmstate_fd = -1;
	assert_int_equal(apply_epoch(&r->rep, &r->side.tracker, &r->own, &e), -EBADF);
	assert_non_null(strstr(err_msg(&e), "device state"));
	r->side.guest.vmstate_fd = fd;
}

/* Without the tracker nobody knows which pages are right: the replica is lost, and that is said. */
static void a_broken_tracker_is_told(void **state)
{
	struct rig *r = *state;
	struct err e = {};

	r->side.tracker.broken = true;
	assert_int_equal(apply_epoch(&r->rep, &r->side.tracker, &r->own, &e), -EIO);
	assert_string_equal(err_msg(&e), "the tracker is broken");
}

static void adopting_takes_ram_as_the_last_checkpoint(void **state)
{
	struct rig *r = *state;

	stage(r, 9, 9);
	r->rep.cache[3 << PAGE_SHIFT] = 1; /* of a session before */
	side_write(&r->side, 4, 44);
	side_write(&r->side, RIG_PAGES - 1, 45);
	tracker_arm(&r->side.tracker, NULL);
	apply_adopt(&r->rep);
	assert_int_equal(r->rep.stage.used, 0);
	assert_memory_equal(r->rep.cache, r->side.guest.ram, r->side.guest.ram_bytes);
	side_write(&r->side, 4, 46);
	apply(r);
	assert_memory_equal(r->rep.cache, r->side.guest.ram, r->side.guest.ram_bytes);
	side_write(&r->side, 0, 44);
	assert_memory_equal(side_page(&r->side, 4), side_page(&r->side, 0), PAGE_BYTES);
}

static uint64_t resident(const uint8_t *p, uint64_t npages)
{
	autofree unsigned char *vec = malloc(npages);
	uint64_t n = 0;

	assert_int_equal(mincore((void *)(uintptr_t)p, npages << PAGE_SHIFT, vec), 0);
	for (uint64_t i = 0; i < npages; i++)
		n += vec[i] & 1;
	return n;
}

static void resetting_forgets_all_and_gives_memory_back(void **state)
{
	struct rig *r = *state;

	for (uint64_t p = 0; p < RIG_PAGES; p++)
		stage(r, p, 1);
	r->rep.devices_bytes = 5;
	r->rep.page_hashes = calloc(RIG_PAGES, 8);
	apply(r);
	stage(r, 1, 1);
	assert_int_equal(resident(r->rep.cache, RIG_PAGES), RIG_PAGES);
	apply_reset(&r->rep);
	assert_int_equal(resident(r->rep.cache, RIG_PAGES), 0);
	assert_int_equal(resident(r->rep.stage.data, RIG_PAGES), 0);
	assert_int_equal(r->rep.stage.used, 0);
	assert_int_equal(r->rep.devices_bytes, 0);
	assert_null(r->rep.page_hashes);
	assert_true(page_is_zero(r->rep.cache));
	assert_false(page_is_zero(r->side.guest.ram)); /* the guest's own */
}

/* A guest of zeros, adopted, is a cache that costs nothing. */
static void zero_pages_cost_no_cache(void **state)
{
	struct rig *r = *state;

	side_write(&r->side, 8, 1);
	apply_adopt(&r->rep);
	assert_in_range(resident(r->rep.cache, RIG_PAGES), 1, 512); /* one page, or one huge page */
}

static void verify_counts_pages_that_differ(void **state)
{
	struct rig *r = *state;
	struct apply_verify v;

	r->rep.page_hashes = calloc(RIG_PAGES, 8);
	for (uint64_t p = 0; p < RIG_PAGES; p++) {
		side_write(&r->side, p, p);
		r->rep.page_hashes[p] = XXH3_64bits(side_page(&r->side, p), PAGE_BYTES);
	}
	side_page(&r->side, 40)[0] ^= 1;
	side_page(&r->side, 30)[4095] ^= 0x80;
	apply_verify(&r->rep, &v);
	assert_int_equal(v.pages, RIG_PAGES);
	assert_int_equal(v.differing, 2);
	assert_int_equal(v.first_differing, 30);
	assert_null(r->rep.page_hashes);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(staged_pages_reach_ram_and_cache),
		test(own_writes_go_back_to_the_last_checkpoint),
		test(only_the_primarys_writes_survive),
		test(the_device_state_lands_where_qemu_reads_it),
		test(a_container_that_cannot_be_written_is_told),
		test(a_broken_tracker_is_told),
		test(adopting_takes_ram_as_the_last_checkpoint),
		test(resetting_forgets_all_and_gives_memory_back),
		test(zero_pages_cost_no_cache),
		test(verify_counts_pages_that_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
