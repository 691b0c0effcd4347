// SPDX-License-Identifier: GPL-2.0-or-later
/* Page copies of an epoch: slots are handed out in order, so an epoch's pages lie together. */
#include "colod/core/pagestore.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Memory that the last TRIM_EPOCHS epochs did not need goes back, but for SLACK_SLOTS (16 MB):
 * faulting it in again at each larger epoch costs more than keeping it.
 */
#define TRIM_EPOCHS 64
#define KEEP_SLOTS  1024
#define SLACK_SLOTS 4096

void *pages_reserve(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int pagestore_init(struct pagestore *ps, uint64_t npages, struct err *e)
{
	memset(ps, 0, sizeof(*ps));
	ps->npages = npages;
	ps->data = pages_reserve(npages << PAGE_SHIFT);
	ps->slot_of = pages_reserve(npages * sizeof(ps->slot_of[0]));
	ps->page_of = pages_reserve(npages * sizeof(ps->page_of[0]));
	if (ps->data && ps->slot_of && ps->page_of)
		return 0;
	pagestore_destroy(ps);
	return err_errno(e, ENOMEM, "cannot reserve address space for %llu pages",
			 (unsigned long long)npages);
}

void pagestore_destroy(struct pagestore *ps)
{
	if (ps->data)
		munmap(ps->data, ps->npages << PAGE_SHIFT);
	if (ps->slot_of)
		munmap(ps->slot_of, ps->npages * sizeof(ps->slot_of[0]));
	if (ps->page_of)
		munmap(ps->page_of, ps->npages * sizeof(ps->page_of[0]));
	memset(ps, 0, sizeof(*ps));
}

uint32_t pagestore_slot(struct pagestore *ps, uint64_t page)
{
	uint32_t slot = pagestore_find(ps, page);

	if (slot != PAGESTORE_NONE)
		return slot;
	slot = ps->used++;
	ps->slot_of[page] = slot + 1;
	ps->page_of[slot] = (uint32_t)page;
	return slot;
}

void pagestore_unslot(struct pagestore *ps, uint64_t page)
{
	ps->resident = MAX(ps->resident, ps->used);
	ps->slot_of[page] = 0;
	ps->used--;
}

static void trim(struct pagestore *ps, uint32_t keep)
{
	if (ps->resident > keep)
		madvise(pagestore_data(ps, keep), (uint64_t)(ps->resident - keep) << PAGE_SHIFT,
			MADV_DONTNEED);
	ps->resident = MIN(ps->resident, keep);
}

void pagestore_reset(struct pagestore *ps)
{
	for (uint32_t slot = 0; slot < ps->used; slot++)
		ps->slot_of[ps->page_of[slot]] = 0;
	ps->resident = MAX(ps->resident, ps->used);
	ps->recent_max = MAX(ps->recent_max, ps->used);
	ps->used = 0;
	if (++ps->resets % TRIM_EPOCHS)
		return;
	if (ps->resident > ps->recent_max + SLACK_SLOTS)
		trim(ps, MAX(ps->recent_max, KEEP_SLOTS));
	ps->recent_max = 0;
}

void pagestore_release(struct pagestore *ps)
{
	pagestore_reset(ps);
	trim(ps, 0);
	madvise(ps->slot_of, ps->npages * sizeof(ps->slot_of[0]), MADV_DONTNEED);
	madvise(ps->page_of, ps->npages * sizeof(ps->page_of[0]), MADV_DONTNEED);
}

/* Most pages differ from zero in their first words; the overlapping compare settles the others at
 * memcmp speed. */
bool page_is_zero(const uint8_t *p)
{
	static const uint8_t head[64];

	return !memcmp(p, head, sizeof(head)) &&
	       !memcmp(p, p + sizeof(head), PAGE_BYTES - sizeof(head));
}
