/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two tracking mechanisms implement and share; private to this folder. */
#ifndef TRACKER_TRACKER_OPS_H
#define TRACKER_TRACKER_OPS_H

#include "colod/tracker/tracker.h"

struct scan_pool;

/**
 * struct scan_slice - one thread's part of the RAM
 * @start, @end: addresses in the target
 * @buf:         room for what the kernel reports, ops->buf_bytes
 * @rc, @err:    how the last scan of it ended
 */
struct scan_slice {
	uint64_t start, end;
	void *buf;
	int rc;
	struct err err;
};

/**
 * struct tracker_ops - one mechanism
 * @cumulative: scan() does not forget what it reports; a stopped collect calls arm() after it
 * @attach:     open what is needed, after the common checks
 * @detach:     undo attach(); the target may be dead
 * @arm:        forget what was written
 * @scan:       report the written pages of a slice; runs on several threads at once
 */
struct tracker_ops {
	const char *name;
	bool cumulative;
	size_t buf_bytes;
	int (*attach)(struct tracker *t, struct err *e);
	void (*detach)(struct tracker *t);
	int (*arm)(struct tracker *t, struct err *e);
	int (*scan)(struct tracker *t, struct scan_slice *s, struct bitmap *written);
};

struct tracker {
	const struct tracker_ops *ops;
	struct tracker_target target;
	int pagemap_fd;
	int clear_refs_fd;      /* soft-dirty only */
	bool attached;          /* detach() is due */
	struct bitmap *written; /* of the collect that runs */
	struct scan_pool *pool;
	unsigned nslices;
	struct scan_slice *slices;
};

extern const struct tracker_ops tracker_pagemap_ops;
extern const struct tracker_ops tracker_softdirty_ops;

/* Bit of the page at address @va. */
static inline uint64_t tracker_page(const struct tracker *t, uint64_t va)
{
	return (va - t->target.va) >> PAGE_SHIFT;
}

#endif
