/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the checkpoint's data side share: guest RAM in a memfd, a tracker that is told, a receiver. */
#ifndef TESTS_UNIT_REPLICA_RIG_H
#define TESTS_UNIT_REPLICA_RIG_H

#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/checkpoint/apply.h"

#include <sys/mman.h>
#include <sys/socket.h>

#define RIG_PAGES         1100 /* no multiple of a frame's 64 */
#define RIG_VMSTATE_AT    4096
#define RIG_DEVICES_BYTES (64 * KIB)

/*
 * In place of colod/tracker: knows what the test wrote because the test says so. The linker takes these two
 * functions instead of those in the library.
 */
struct tracker {
	struct bitmap dirty;
	bool cumulative, broken;
	uint32_t granule; /* pages that are reported together */
	/* The guest has its turn before what it wrote is collected, so that it never writes while a
	 * thread reads; and somebody may look at what was. */
	void (*turn)(struct tracker *t, bool stopped);
	void (*collected)(struct tracker *t, bool stopped);
};

int tracker_arm(struct tracker *t, struct err *e)
{
	(void)e;
	bitmap_zero(&t->dirty);
	return 0;
}

int tracker_collect(struct tracker *t, bool stopped, struct bitmap *written, struct err *e)
{
	if (t->broken)
		return err_set(e, EIO, "the tracker is broken");
	if (t->turn)
		t->turn(t, stopped);
	for (uint64_t p = bitmap_next(&t->dirty, 0); p < t->dirty.nbits;
	     p = bitmap_next(&t->dirty, p + 1))
		bitmap_set_range(written, p - p % t->granule, t->granule);
	if (stopped || !t->cumulative)
		bitmap_zero(&t->dirty);
	if (t->collected)
		t->collected(t, stopped);
	return 0;
}

/* ---- a guest ---- */

struct side {
	struct guest guest;
	struct tracker tracker;
};

static inline int rig_memfd(uint64_t bytes)
{
	int fd = memfd_create("rig", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static inline void side_init(struct side *s, uint64_t npages)
{
	autoclose int ram_fd = rig_memfd(npages << PAGE_SHIFT);
	struct guest *g = &s->guest;

	memset(s, 0, sizeof(*s));
	s->tracker.granule = 1;
	assert_int_equal(bitmap_init(&s->tracker.dirty, npages), 0);
	g->ram_bytes = npages << PAGE_SHIFT;
	g->host_page_bytes = PAGE_BYTES;
	g->ram = mmap(NULL, g->ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	assert_true(g->ram != MAP_FAILED);
	g->devstate_fd = rig_memfd(RIG_DEVICES_BYTES);
	g->vmstate_fd = rig_memfd(RIG_VMSTATE_AT + RIG_DEVICES_BYTES);
	g->vmstate_offset = RIG_VMSTATE_AT;
	g->vmstate_max_bytes = RIG_DEVICES_BYTES;
}

static inline void side_free(struct side *s)
{
	munmap(s->guest.ram, s->guest.ram_bytes);
	bitmap_destroy(&s->tracker.dirty);
	close(s->guest.devstate_fd);
	close(s->guest.vmstate_fd);
}

static inline uint8_t *side_page(struct side *s, uint64_t page)
{
	return s->guest.ram + (page << PAGE_SHIFT);
}

/* The guest writes: @seed 0 fills the page with zeros. */
static inline void side_write(struct side *s, uint64_t page, uint64_t seed)
{
	struct rng rng = {seed};

	memset(side_page(s, page), 0, PAGE_BYTES);
	if (seed)
		rng_fill(&rng, side_page(s, page), PAGE_BYTES);
	bitmap_set(&s->tracker.dirty, page);
}

/* ---- the receiving side ---- */

struct receiver {
	struct side side;
	struct loop *loop;
	struct ckpt_stats *stats;
	struct ckpt_env env;
	struct replica rep;
	struct rx rx;
	struct bitmap own;
	unsigned reports, resumes;
	struct wire_msg resume; /* the last */
	int status;
	struct wire_msg send;
	struct err why;
};

static inline void receiver_report(void *arg, struct rx_report *r)
{
	struct receiver *x = arg;

	if (r->resumed) {
		x->resumes++;
		x->resume = r->send;
		return;
	}
	x->reports++;
	x->status = r->status;
	x->send = r->send;
	x->why = r->err;
}

static inline void receiver_init(struct receiver *x, uint64_t npages)
{
	struct err e;

	memset(x, 0, sizeof(*x));
	side_init(&x->side, npages);
	assert_ok(loop_new(&x->loop, &e), &e);
	x->stats = calloc(1, sizeof(*x->stats));
	assert_non_null(x->stats);
	x->env = (struct ckpt_env){.loop = x->loop, .stats = x->stats};
	assert_int_equal(bitmap_init(&x->own, npages), 0);
	assert_ok(apply_init(&x->rep, &x->side.guest, &e), &e);
	assert_ok(rx_init(&x->rx, &x->env, &x->rep, receiver_report, x, &e), &e);
}

static inline void receiver_free(struct receiver *x)
{
	rx_destroy(&x->rx);
	apply_destroy(&x->rep);
	bitmap_destroy(&x->own);
	loop_free(x->loop);
	free(x->stats);
	side_free(&x->side);
}

/* Start receiving from @epoch on; the sender's end of the connection. */
static inline int receiver_start(struct receiver *x, uint64_t epoch)
{
	struct err e;
	int p[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	assert_ok(rx_start(&x->rx, p[0], epoch, &e), &e);
	return p[1];
}

/* Wait for the thread's next word: its status. */
static inline int receiver_await(struct receiver *x)
{
	unsigned before = x->reports;

	turn_until(x->loop, x->reports > before);
	assert_int_equal(x->reports, before + 1);
	return x->status;
}

static inline void receiver_apply(struct receiver *x)
{
	struct err e;

	assert_ok(apply_epoch(&x->rep, &x->side.tracker, &x->own, &e), &e);
	x->rep.direct = false;
}

#endif
