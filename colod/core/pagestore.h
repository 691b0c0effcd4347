/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of the pages of one epoch, at most one for each page of guest RAM. Pure bookkeeping over
 * one mapping. */
#ifndef CORE_PAGESTORE_H
#define CORE_PAGESTORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * struct pagestore - page number -> slot -> 4 KB of data
 *
 * The primary keeps here what an epoch has written, the secondary what it has received of an epoch
 * (the stage). Address space for every page of guest RAM is reserved at setup; memory is used by
 * the slots that were ever filled and given back by pagestore_reset() when far fewer are in use for
 * a while.
 */
struct pagestore {
	uint8_t *data;
	uint32_t *slot_of; /* page -> slot + 1; 0: none */
	uint32_t *page_of; /* slot -> page */
	uint64_t npages;
	uint32_t used;
	uint32_t resident;   /* slots whose memory may be in use */
	uint32_t recent_max; /* most slots used in the current run of epochs */
	uint32_t resets;
};

#define PAGESTORE_NONE UINT32_MAX

/** pagestore_init() - for @npages of guest RAM; reserves address space, uses next to no memory. */
int pagestore_init(struct pagestore *ps, uint64_t npages, struct err *e);
void pagestore_destroy(struct pagestore *ps);

/** pagestore_find() - slot of @page, or PAGESTORE_NONE. */
static inline uint32_t pagestore_find(const struct pagestore *ps, uint64_t page)
{
	return ps->slot_of[page] - 1;
}

/** pagestore_slot() - slot of @page, a fresh one at the end if it had none. Data of a fresh slot is
 * stale. */
uint32_t pagestore_slot(struct pagestore *ps, uint64_t page);

/** pagestore_unslot() - take back the slot that the last pagestore_slot() made fresh. */
void pagestore_unslot(struct pagestore *ps, uint64_t page);

static inline uint8_t *pagestore_data(const struct pagestore *ps, uint32_t slot)
{
	return ps->data + ((uint64_t)slot << PAGE_SHIFT);
}

/** pagestore_reset() - empty the store; now and then trims memory that recent epochs did not need.
 */
void pagestore_reset(struct pagestore *ps);

/** pagestore_release() - empty the store and give all its memory back. */
void pagestore_release(struct pagestore *ps);

/** page_is_zero() - whether 4 KB at @p are all zero. */
bool page_is_zero(const uint8_t *p);

/** pages_reserve() - zeroed address space that uses memory only where it is touched; munmap() it. */
void *pages_reserve(uint64_t bytes);

#endif
