// SPDX-License-Identifier: GPL-2.0-or-later
/* The DISK_EXTENTS frame: encoding, and decoding that trusts no length and no offset. */
#include "colod/disk/disk-wire.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

int disk_wire_decode_head(struct disk_frame *f, const uint8_t *head, uint32_t length,
			  uint32_t ndisks, struct err *e)
{
	f->epoch = get_be64(head);
	f->disk = get_be32(head + 8);
	f->count = get_be32(head + 12);
	f->data_bytes = 0;
	if (f->disk >= ndisks)
		return err_set(e, EPROTO, "peer sent DISK_EXTENTS for disk %u of a guest with %u",
			       f->disk, ndisks);
	if (!f->count || f->count > DISK_WIRE_EXTENTS_MAX || length < disk_wire_length(f))
		return err_set(e, EPROTO, "peer sent DISK_EXTENTS with %u entries in %u bytes",
			       f->count, length);
	return 0;
}

static int check_extent(const struct disk_frame *f, const struct disk_extent *x, uint32_t kind,
			uint64_t disk_bytes, struct err *e)
{
	if (kind >= EXTENT_KINDS)
		return err_set(e, EPROTO, "peer sent an extent of unknown kind %u", kind);
	if (!x->len || x->offset > disk_bytes || x->len > disk_bytes - x->offset)
		return err_set(e, EPROTO,
			       "peer sent an extent of %" PRIu64 " bytes at %" PRIu64
			       " of disk %u, which has %" PRIu64,
			       x->len, x->offset, f->disk, disk_bytes);
	if (kind == EXTENT_DATA && x->len > DISK_WIRE_DATA_MAX - f->data_bytes)
		return err_set(e, EPROTO, "peer sent DISK_EXTENTS with more than %u bytes of data",
			       DISK_WIRE_DATA_MAX);
	return 0;
}

int disk_wire_decode_entries(struct disk_frame *f, const uint8_t *entries, uint32_t length,
			     uint64_t disk_bytes, struct err *e)
{
	for (uint32_t i = 0; i < f->count; i++, entries += DISK_WIRE_ENTRY_BYTES) {
		struct disk_extent *x = &f->extents[i];
		uint32_t kind = get_be32(entries + 16);
		int r;

		x->offset = get_be64(entries);
		x->len = get_be64(entries + 8);
		r = check_extent(f, x, kind, disk_bytes, e);
		if (r)
			return r;
		x->kind = kind;
		if (kind == EXTENT_DATA)
			f->data_bytes += (uint32_t)x->len;
	}
	if (length != disk_wire_length(f))
		return err_set(e, EPROTO,
			       "peer sent DISK_EXTENTS of %u bytes with %u bytes of data", length,
			       f->data_bytes);
	return 0;
}

size_t disk_wire_encode(const struct disk_frame *f, uint8_t *buf)
{
	uint8_t *at = buf + DISK_WIRE_HEAD_BYTES;

	put_be64(buf, f->epoch);
	put_be32(buf + 8, f->disk);
	put_be32(buf + 12, f->count);
	for (uint32_t i = 0; i < f->count; i++, at += DISK_WIRE_ENTRY_BYTES) {
		put_be64(at, f->extents[i].offset);
		put_be64(at + 8, f->extents[i].len);
		put_be32(at + 16, f->extents[i].kind);
	}
	return (size_t)(at - buf);
}

int disk_frame_put(const struct disk_frame *f, const uint8_t *data, struct extents *m,
		   struct err *e)
{
	for (uint32_t i = 0; i < f->count; i++) {
		const struct disk_extent *x = &f->extents[i];
		int r = extents_put(m, x->kind, x->offset, x->len, data);

		if (r)
			return err_errno(e, -r, "no room for what the epoch writes to disk %u",
					 f->disk);
		if (x->kind == EXTENT_DATA)
			data += x->len;
	}
	return 0;
}

void disk_counts_encode(const struct disk_counts *c, uint8_t *buf)
{
	put_be64(buf, c->extents);
	put_be64(buf + 8, c->data_bytes);
}

void disk_counts_decode(struct disk_counts *c, const uint8_t *buf)
{
	c->extents = get_be64(buf);
	c->data_bytes = get_be64(buf + 8);
}

int disk_counts_check(const struct disk_counts *sent, const struct disk_counts *came, struct err *e)
{
	if (sent->extents == came->extents && sent->data_bytes == came->data_bytes)
		return 0;
	return err_set(e, EPROTO,
		       "peer sent %" PRIu64 " extents with %" PRIu64 " bytes, but %" PRIu64
		       " with %" PRIu64 " came",
		       sent->extents, sent->data_bytes, came->extents, came->data_bytes);
}
