// SPDX-License-Identifier: GPL-2.0-or-later
/* Bringing a committed epoch into guest RAM: pages first, then own writes reverted, devices last.
 */
#include "colod/checkpoint/apply.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int apply_init(struct replica *rep, const struct guest *g, struct err *e)
{
	int r;

	memset(rep, 0, sizeof(*rep));
	rep->guest = g;
	r = pagestore_init(&rep->stage, guest_pages(g), e);
	if (r)
		return r;
	rep->cache = pages_reserve(g->ram_bytes);
	rep->devices = pages_reserve(g->vmstate_max_bytes);
	if (rep->cache && rep->devices)
		return 0;
	apply_destroy(rep);
	return err_errno(e, ENOMEM, "cannot reserve address space for the replica");
}

void apply_destroy(struct replica *rep)
{
	if (!rep->guest)
		return;
	pagestore_destroy(&rep->stage);
	if (rep->cache)
		munmap(rep->cache, rep->guest->ram_bytes);
	if (rep->devices)
		munmap(rep->devices, rep->guest->vmstate_max_bytes);
	free(rep->page_hashes);
	memset(rep, 0, sizeof(*rep));
}

void apply_reset(struct replica *rep)
{
	pagestore_release(&rep->stage);
	madvise(rep->cache, rep->guest->ram_bytes, MADV_DONTNEED);
	free(steal_ptr(&rep->page_hashes));
	rep->devices_bytes = 0;
}

void apply_adopt(struct replica *rep)
{
	const uint8_t *ram = rep->guest->ram;

	apply_reset(rep);
	for (uint64_t at = 0; at < rep->guest->ram_bytes; at += PAGE_BYTES)
		if (!page_is_zero(ram + at))
			memcpy(rep->cache + at, ram + at, PAGE_BYTES);
}

static void apply_stage(struct replica *rep)
{
	for (uint32_t slot = 0; slot < rep->stage.used; slot++) {
		uint64_t at = (uint64_t)rep->stage.page_of[slot] << PAGE_SHIFT;
		const uint8_t *data = pagestore_data(&rep->stage, slot);

		memcpy(rep->cache + at, data, PAGE_BYTES);
		memcpy(rep->guest->ram + at, data, PAGE_BYTES);
	}
}

static int revert_own_writes(struct replica *rep, struct tracker *t, struct bitmap *own,
			     struct err *e)
{
	int r;

	bitmap_zero(own);
	r = tracker_collect(t, true, own, e);
	if (r)
		return r;
	for (uint64_t p = bitmap_next(own, 0); p < own->nbits; p = bitmap_next(own, p + 1))
		memcpy(rep->guest->ram + (p << PAGE_SHIFT), rep->cache + (p << PAGE_SHIFT),
		       PAGE_BYTES);
	return 0;
}

int apply_epoch(struct replica *rep, struct tracker *t, struct bitmap *own, struct err *e)
{
	const struct guest *g = rep->guest;
	ssize_t n;
	int r;

	apply_stage(rep);
	r = revert_own_writes(rep, t, own, e);
	if (r)
		return r;
	n = pwrite(g->vmstate_fd, rep->devices, rep->devices_bytes, (off_t)g->vmstate_offset);
	if (n != (ssize_t)rep->devices_bytes)
		return err_errno(e, n < 0 ? errno : EIO, "cannot write the device state for QEMU");
	return 0;
}

void apply_verify(struct replica *rep, struct apply_verify *v)
{
	memset(v, 0, sizeof(*v));
	v->pages = guest_pages(rep->guest);
	for (uint64_t p = 0; p < v->pages; p++) {
		const uint8_t *data = rep->guest->ram + (p << PAGE_SHIFT);

		if (XXH3_64bits(data, PAGE_BYTES) == rep->page_hashes[p])
			continue;
		if (!v->differing++)
			v->first_differing = p;
	}
	free(steal_ptr(&rep->page_hashes));
}
