/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the primary's data side share: sender, socket, receiver and apply in one process. */
#ifndef TESTS_UNIT_TX_RIG_H
#define TESTS_UNIT_TX_RIG_H

#include "tests/unit/replica-rig.h"

#include "colod/checkpoint/tx.h"

#define NO_BOUND UINT64_MAX

struct rig {
	struct side primary;
	struct ckpt_stats *stats;
	struct tx tx;
	struct receiver secondary;
	struct rng rng;
};

static inline void rig_init(struct rig *r, uint64_t npages, uint32_t host_page_bytes)
{
	struct err e;

	memset(r, 0, sizeof(*r));
	side_init(&r->primary, npages);
	r->primary.guest.host_page_bytes = host_page_bytes;
	r->primary.tracker.granule = (uint32_t)(host_page_bytes / PAGE_BYTES);
	r->stats = calloc(1, sizeof(*r->stats));
	assert_non_null(r->stats);
	assert_ok(tx_init(&r->tx, &r->primary.guest, &r->primary.tracker, r->stats, &e), &e);
	receiver_init(&r->secondary, npages);
}

static inline int setup(void **state)
{
	*state = malloc(sizeof(struct rig));
	rig_init(*state, RIG_PAGES, PAGE_BYTES);
	return 0;
}

static inline int teardown(void **state)
{
	struct rig *r = *state;

	tx_destroy(&r->tx);
	receiver_free(&r->secondary);
	side_free(&r->primary);
	free(r->stats);
	free(r);
	return 0;
}

static inline uint64_t npages(const struct rig *r)
{
	return guest_pages(&r->primary.guest);
}

/* Page contents: mostly random, now and then zero. */
static inline void write_some(struct rig *r, struct side *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t page = rng_below(&r->rng, npages(r)), seed = rng_next(&r->rng);

		side_write(s, page, seed % 8 ? seed : 0);
	}
}

static inline uint64_t round_trip(struct rig *r, uint64_t budget)
{
	struct tx_round round = {};
	struct err e;

	assert_ok(tx_round(&r->tx, budget, &round, &e), &e);
	return round.taken;
}

static inline uint64_t capture(struct rig *r)
{
	struct tx_round round = {};
	struct err e;

	assert_ok(tx_capture(&r->tx, &round, &e), &e);
	return round.taken;
}

/* @bytes of device state that nothing else looks like. */
static inline void save_devices(struct rig *r, uint8_t *devices, size_t bytes)
{
	rng_fill(&r->rng, devices, bytes);
	assert_int_equal(pwrite(r->primary.guest.devstate_fd, devices, bytes, 0), bytes);
}

static inline void finish(struct rig *r, uint32_t flags, uint64_t devices_bytes)
{
	struct err e;

	assert_ok(tx_finish(&r->tx, flags, devices_bytes, &e), &e);
	if (receiver_await(&r->secondary))
		fail_msg("%s", err_msg(&r->secondary.why));
}

static inline void assert_replicated(struct rig *r)
{
	struct guest *p = &r->primary.guest, *s = &r->secondary.side.guest;

	for (uint64_t page = 0; page < npages(r); page++) {
		uint64_t at = page << PAGE_SHIFT;

		if (memcmp(p->ram + at, s->ram + at, PAGE_BYTES))
			fail_msg("page %llu of the secondary's RAM differs",
				 (unsigned long long)page);
		if (memcmp(p->ram + at, r->secondary.rep.cache + at, PAGE_BYTES))
			fail_msg("page %llu of the cache differs", (unsigned long long)page);
	}
}

/* The rest of a checkpoint, from the stop on. */
static inline void checkpoint(struct rig *r)
{
	uint8_t devices[5000], loaded[5000];
	size_t bytes = 1 + rng_below(&r->rng, sizeof(devices));
	const struct guest *s = &r->secondary.side.guest;

	capture(r);
	save_devices(r, devices, bytes);
	finish(r, 0, bytes);
	receiver_apply(&r->secondary);
	assert_replicated(r);
	assert_int_equal(pread(s->vmstate_fd, loaded, bytes, RIG_VMSTATE_AT), bytes);
	assert_memory_equal(loaded, devices, bytes);
	rx_continue(&r->secondary.rx);
	tx_committed(&r->tx);
}

/* First full copy and first checkpoint; epoch 1. */
static inline void synchronise(struct rig *r)
{
	struct err e;

	write_some(r, &r->primary, (unsigned)npages(r) / 2);
	r->secondary.rep.direct = true;
	assert_ok(tx_open(&r->tx, receiver_start(&r->secondary, 1), 1, true, &e), &e);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	checkpoint(r);
}

#endif
