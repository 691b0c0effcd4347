/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bringing a committed epoch into guest RAM. Runs on the worker thread while the guest stands
 * still. */
#ifndef CHECKPOINT_APPLY_H
#define CHECKPOINT_APPLY_H

#include "base/bitmap.h"
#include "colod/checkpoint/rx.h"

/** struct apply_verify - what the comparison with the primary's page hashes found. */
struct apply_verify {
	uint64_t pages, differing, first_differing;
};

/** apply_init() - reserve cache and stage for @rep; next to no memory is used yet. */
int apply_init(struct replica *rep, const struct guest *g, struct err *e);
void apply_destroy(struct replica *rep);

/** apply_reset() - forget everything and give the memory back: a full copy will come. */
void apply_reset(struct replica *rep);

/** apply_adopt() - guest RAM as it stands is the last committed checkpoint: fill the cache from it.
 */
void apply_adopt(struct replica *rep);

/**
 * apply_epoch() - stage into cache and guest RAM; pages that this side's QEMU wrote since the last
 * apply go back to what the cache says; device state into the vmstate container. @own is scratch,
 * npages bits.
 */
int apply_epoch(struct replica *rep, struct tracker *t, struct bitmap *own, struct err *e);

/** apply_verify() - compare all guest RAM with rep->page_hashes, and free those. */
void apply_verify(struct replica *rep, struct apply_verify *v);

#endif
