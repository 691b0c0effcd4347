/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DISK_EXTENTS frame (docs/protocol.md): what an epoch writes to a disk. Pure. */
#ifndef DISK_DISK_WIRE_H
#define DISK_DISK_WIRE_H

#include "base/err.h"
#include "colod/disk/extents.h"

#include <stddef.h>

#define DISKS_MAX              8
#define DISK_WIRE_HEAD_BYTES   16 /* epoch, disk, count */
#define DISK_WIRE_ENTRY_BYTES  20 /* offset, length, kind */
#define DISK_WIRE_EXTENTS_MAX  256
#define DISK_WIRE_DATA_MAX     (1u << 20) /* in one frame */
#define DISK_WIRE_COUNTS_BYTES 16

/** struct disk_extent - an extent on its way; of EXTENT_DATA @len bytes follow behind all entries. */
struct disk_extent {
	uint64_t offset, len;
	enum extent_kind kind;
};

/** struct disk_frame - a DISK_EXTENTS payload without its data. */
struct disk_frame {
	uint64_t epoch;
	uint32_t disk; /* place of the disk in the configuration, from 0 */
	uint32_t count;
	uint32_t data_bytes;
	struct disk_extent extents[DISK_WIRE_EXTENTS_MAX];
};

/**
 * disk_wire_decode_head() - @head holds DISK_WIRE_HEAD_BYTES; sets epoch, disk and count. The
 * entries, disk_wire_entries_bytes(), come next. -EPROTO unless the disk is one of @ndisks and the
 * frame's @length can hold the entries.
 */
int disk_wire_decode_head(struct disk_frame *f, const uint8_t *head, uint32_t length,
			  uint32_t ndisks, struct err *e);

/**
 * disk_wire_decode_entries() - fill the extents; -EPROTO unless each lies in the disk of @disk_bytes,
 * is of a known kind and not empty, and @length is exactly that of head, entries and data.
 */
int disk_wire_decode_entries(struct disk_frame *f, const uint8_t *entries, uint32_t length,
			     uint64_t disk_bytes, struct err *e);

static inline uint32_t disk_wire_entries_bytes(const struct disk_frame *f)
{
	return f->count * DISK_WIRE_ENTRY_BYTES;
}

/** disk_wire_length() - of the whole payload. */
static inline uint32_t disk_wire_length(const struct disk_frame *f)
{
	return DISK_WIRE_HEAD_BYTES + disk_wire_entries_bytes(f) + f->data_bytes;
}

/** disk_wire_encode() - head and entries into @buf (DISK_WIRE_HEAD_MAX); returns the bytes. */
size_t disk_wire_encode(const struct disk_frame *f, uint8_t *buf);
#define DISK_WIRE_HEAD_MAX (DISK_WIRE_HEAD_BYTES + DISK_WIRE_ENTRY_BYTES * DISK_WIRE_EXTENTS_MAX)

/**
 * disk_frame_put() - put all of the frame, whose data is @data, into the map of its disk, in the
 * order of its entries. -ENOSPC with a reason when there is no room; some may be in then.
 */
int disk_frame_put(const struct disk_frame *f, const uint8_t *data, struct extents *m,
		   struct err *e);

/** struct disk_counts - what an epoch's frames brought, for the message that closes it. */
struct disk_counts {
	uint64_t extents, data_bytes;
};

static inline void disk_counts_add(struct disk_counts *c, const struct disk_frame *f)
{
	c->extents += f->count;
	c->data_bytes += f->data_bytes;
}

/** disk_counts_encode(), disk_counts_decode() - DISK_WIRE_COUNTS_BYTES at @buf. */
void disk_counts_encode(const struct disk_counts *c, uint8_t *buf);
void disk_counts_decode(struct disk_counts *c, const uint8_t *buf);

/** disk_counts_check() - -EPROTO when the peer @sent something else than @came. */
int disk_counts_check(const struct disk_counts *sent, const struct disk_counts *came,
		      struct err *e);

#endif
