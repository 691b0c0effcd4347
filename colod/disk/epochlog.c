// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's log of what the running epoch writes to its disks, until the epoch is committed. */
#include "colod/disk/epochlog.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

int epochlog_init(struct epochlog *l, uint32_t ndisks, uint64_t epoch,
		  const struct epochlog_limits *limits, struct err *e)
{
	int r;

	assert(ndisks && ndisks <= DISKS_MAX && limits->high_water_percent <= 100);
	if (limits->bytes < ndisks * EPOCHLOG_MIN_BYTES)
		return err_set(e, EINVAL, "a log of %u disks needs %" PRIu64 " bytes or more",
			       ndisks, ndisks * EPOCHLOG_MIN_BYTES);
	*l = (struct epochlog){
		.ndisks = ndisks,
		.epoch = epoch,
		.high_water_bytes = limits->bytes / 100 * limits->high_water_percent,
		.high_water_extents =
			(uint32_t)((uint64_t)limits->extents * limits->high_water_percent / 100),
	};
	r = extent_store_init(&l->store, limits->bytes, limits->extents);
	if (r)
		return err_errno(e, -r,
				 "no memory for a disk log of %" PRIu64 " bytes and %u extents",
				 limits->bytes, limits->extents);
	for (unsigned g = 0; g < 2; g++)
		for (uint32_t i = 0; i < ndisks; i++)
			extents_init(&l->gen[g][i], &l->store);
	return 0;
}

void epochlog_destroy(struct epochlog *l)
{
	extent_store_destroy(&l->store);
}

static uint64_t extents_of(const struct epochlog *l, unsigned gen)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < l->ndisks; i++)
		n += l->gen[gen][i].count;
	return n;
}

/*
 * As long as an abort is possible it must not fail: one record for each extent of the open epoch
 * stays free, those that this call may make being counted twice.
 */
static bool abort_stays_safe(const struct epochlog *l, uint64_t records)
{
	return !l->closing ||
	       pool_left(&l->store.records) >= extents_of(l, l->open) + 2 * records + 2;
}

static int put(struct epochlog *l, uint32_t disk, enum extent_kind kind, uint64_t offset,
	       uint64_t len, const void *data)
{
	struct extents *m;

	if (disk >= l->ndisks || !len || len > UINT64_MAX - offset)
		return -EINVAL;
	m = &l->gen[l->open][disk];
	if (!abort_stays_safe(l, extents_put_records(m, kind, offset, len)))
		return -ENOSPC;
	return extents_put(m, kind, offset, len, data);
}

int epochlog_write(struct epochlog *l, uint32_t disk, uint64_t offset, uint64_t len,
		   const void *data)
{
	return put(l, disk, EXTENT_DATA, offset, len, data);
}

int epochlog_zero(struct epochlog *l, uint32_t disk, uint64_t offset, uint64_t len, bool may_unmap)
{
	return put(l, disk, may_unmap ? EXTENT_TRIM : EXTENT_ZERO, offset, len, NULL);
}

static unsigned sending(const struct epochlog *l)
{
	return l->closing ? !l->open : l->open;
}

static void fill_frame(struct extents *m, uint64_t frame, struct disk_frame *f, uint8_t *data,
		       uint32_t max_bytes)
{
	struct extent *x;

	while (f->count < DISK_WIRE_EXTENTS_MAX && (x = extents_unsent(m))) {
		uint32_t n = x->kind == EXTENT_DATA ? (uint32_t)x->len : 0;

		if (n > max_bytes - f->data_bytes)
			return;
		if (n)
			memcpy(data + f->data_bytes, x->data, n);
		f->data_bytes += n;
		f->extents[f->count++] = (struct disk_extent){x->offset, x->len, x->kind};
		extents_sent(m, x, frame);
	}
}

bool epochlog_next(struct epochlog *l, struct disk_frame *f, uint8_t *data, uint32_t max_bytes)
{
	unsigned g = sending(l);

	assert(max_bytes >= ARENA_CHUNK && max_bytes <= DISK_WIRE_DATA_MAX);
	for (uint32_t i = 0; i < l->ndisks; i++) {
		if (!extents_unsent(&l->gen[g][i]))
			continue;
		f->epoch = l->epoch - l->closing;
		f->disk = i;
		f->count = f->data_bytes = 0;
		fill_frame(&l->gen[g][i], ++l->frames[g], f, data, max_bytes);
		l->sent_bytes += f->data_bytes;
		return true;
	}
	return false;
}

void epochlog_cut(struct epochlog *l)
{
	assert(!l->closing);
	l->closing = true;
	l->open = !l->open;
	l->frames[l->open] = 0;
	l->epoch++;
}

static void clear(struct epochlog *l, unsigned gen)
{
	for (uint32_t i = 0; i < l->ndisks; i++)
		extents_clear(&l->gen[gen][i]);
}

void epochlog_commit(struct epochlog *l)
{
	assert(l->closing);
	clear(l, !l->open);
	l->closing = false;
}

void epochlog_abort(struct epochlog *l)
{
	assert(l->closing);
	for (uint32_t i = 0; i < l->ndisks; i++)
		extents_merge(&l->gen[!l->open][i], &l->gen[l->open][i]);
	l->open = !l->open;
	l->closing = false;
	l->epoch--;
}

void epochlog_resend(struct epochlog *l, uint64_t frames)
{
	unsigned g = sending(l);

	for (uint32_t i = 0; i < l->ndisks; i++)
		extents_resend(&l->gen[g][i], frames);
	l->frames[g] = MIN(l->frames[g], frames);
}

void epochlog_forget(struct epochlog *l, uint64_t frames)
{
	unsigned g = sending(l);

	for (uint32_t i = 0; i < l->ndisks; i++)
		extents_forget(&l->gen[g][i], frames);
}

void epochlog_clear(struct epochlog *l, uint64_t epoch)
{
	clear(l, 0);
	clear(l, 1);
	l->frames[0] = l->frames[1] = 0;
	l->closing = false;
	l->epoch = epoch;
}

bool epochlog_is_high(const struct epochlog *l)
{
	return arena_used(&l->store.arena) > l->high_water_bytes ||
	       l->store.records.used > l->high_water_extents;
}

void epochlog_report(const struct epochlog *l, struct epochlog_report *r)
{
	*r = (struct epochlog_report){
		.held_bytes = l->store.arena.live,
		.used_bytes = arena_used(&l->store.arena),
		.extents = l->store.records.used,
		.sent_bytes = l->sent_bytes,
		.saved_bytes = l->store.saved,
		.high = epochlog_is_high(l),
	};
	for (unsigned g = 0; g < 2; g++)
		for (uint32_t i = 0; i < l->ndisks; i++)
			r->unsent_bytes += l->gen[g][i].unsent_bytes;
}
