// SPDX-License-Identifier: GPL-2.0-or-later
/* The format of the secondary's journal. */
#include "colod/disk/journal.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#define MARK_MAGIC     UINT64_C(0x636f6c6f646d726b) /* "colodmrk" */
#define HEAD_MAGIC     UINT64_C(0x636f6c6f64657063) /* "colodepc" */
#define SEAL_MAGIC     UINT64_C(0x636f6c6f6473656c) /* "colodsel" */
#define DISKS_AT       44
#define DISK_ENTRY     (8 + JOURNAL_IDENTITY_BYTES)
#define MARK_USED      40 /* magic, version, flag, session, epoch, checksum of the record */
#define DATA_BYTES_MAX (UINT64_C(1) << 48)

_Static_assert(DISKS_AT + DISKS_MAX * DISK_ENTRY <= JOURNAL_HEAD_BYTES, "disks fit into the head");

void journal_encode_mark(const struct journal_mark *m, uint8_t *buf)
{
	memset(buf, 0, JOURNAL_MARK_BYTES);
	put_be64(buf, MARK_MAGIC);
	put_be32(buf + 8, JOURNAL_VERSION);
	put_be32(buf + 12, m->any);
	put_be64(buf + 16, m->session);
	put_be64(buf + 24, m->epoch);
	put_be64(buf + 32, m->checksum);
	put_be64(buf + MARK_USED, XXH3_64bits(buf, MARK_USED));
}

int journal_decode_mark(struct journal_mark *m, const uint8_t *buf, struct err *e)
{
	*m = (struct journal_mark){};
	if (get_be64(buf) != MARK_MAGIC || get_be64(buf + MARK_USED) != XXH3_64bits(buf, MARK_USED))
		return 0;
	if (get_be32(buf + 8) != JOURNAL_VERSION)
		return err_set(e, ENOTSUP,
			       "it is of version %u, this colod knows %u; let the colod that wrote "
			       "it apply it, or remove it and copy the disks anew",
			       get_be32(buf + 8), JOURNAL_VERSION);
	m->any = get_be32(buf + 12);
	m->session = get_be64(buf + 16);
	m->epoch = get_be64(buf + 24);
	m->checksum = get_be64(buf + 32);
	return 0;
}

void journal_encode_head(const struct journal_head *h, uint8_t *buf)
{
	uint8_t *at = buf + DISKS_AT;

	memset(buf, 0, JOURNAL_HEAD_BYTES);
	put_be64(buf, HEAD_MAGIC);
	put_be64(buf + 8, h->session);
	put_be64(buf + 16, h->epoch);
	put_be64(buf + 24, h->extents);
	put_be64(buf + 32, h->data_bytes);
	put_be32(buf + 40, h->ndisks);
	for (uint32_t i = 0; i < h->ndisks; i++, at += DISK_ENTRY) {
		put_be64(at, h->disks[i].bytes);
		memcpy(at + 8, h->disks[i].identity,
		       strnlen(h->disks[i].identity, JOURNAL_IDENTITY_BYTES - 1));
	}
}

int journal_decode_head(struct journal_head *h, const uint8_t *buf, struct err *e)
{
	const uint8_t *at = buf + DISKS_AT;

	if (get_be64(buf) != HEAD_MAGIC)
		return err_set(e, EBADMSG, "no record begins there");
	*h = (struct journal_head){.session = get_be64(buf + 8),
				   .epoch = get_be64(buf + 16),
				   .extents = get_be64(buf + 24),
				   .data_bytes = get_be64(buf + 32),
				   .ndisks = get_be32(buf + 40)};
	if (!h->ndisks || h->ndisks > DISKS_MAX || h->extents > UINT32_MAX ||
	    h->data_bytes > DATA_BYTES_MAX)
		return err_set(e, EBADMSG, "its head is damaged");
	for (uint32_t i = 0; i < h->ndisks; i++, at += DISK_ENTRY) {
		h->disks[i].bytes = get_be64(at);
		memcpy(h->disks[i].identity, at + 8, JOURNAL_IDENTITY_BYTES - 1);
	}
	return 0;
}

void journal_encode_entry(const struct journal_entry *x, uint8_t *buf)
{
	put_be64(buf, x->offset);
	put_be64(buf + 8, x->len);
	put_be32(buf + 16, x->disk);
	put_be32(buf + 20, x->kind);
}

void journal_encode_seal(const struct journal_head *h, uint8_t *buf)
{
	put_be64(buf, SEAL_MAGIC);
	put_be64(buf + 8, journal_record_bytes(h));
}

void journal_encode_checksum(uint64_t checksum, uint8_t *seal)
{
	put_be64(seal + JOURNAL_SEALED_BYTES, checksum);
}

static bool entry_is_sound(const struct journal_head *h, const uint8_t *buf, uint64_t data_left)
{
	uint64_t offset = get_be64(buf), len = get_be64(buf + 8);
	uint32_t disk = get_be32(buf + 16), kind = get_be32(buf + 20);

	return disk < h->ndisks && kind < EXTENT_KINDS && len && offset <= h->disks[disk].bytes &&
	       len <= h->disks[disk].bytes - offset && (kind != EXTENT_DATA || len <= data_left);
}

static int check_entries(const struct journal_record *r, struct err *e)
{
	uint64_t data_left = r->head.data_bytes;
	const uint8_t *at = r->entries;

	for (uint64_t i = 0; i < r->head.extents; i++, at += JOURNAL_ENTRY_BYTES) {
		if (!entry_is_sound(&r->head, at, data_left))
			return err_set(e, EBADMSG, "its entry %" PRIu64 " is damaged", i);
		if (get_be32(at + 20) == EXTENT_DATA)
			data_left -= get_be64(at + 8);
	}
	return data_left ? err_set(e, EBADMSG, "its entries do not fit its data") : 0;
}

int journal_decode(struct journal_record *r, const uint8_t *bytes, uint64_t len, struct err *e)
{
	const uint8_t *seal;
	uint64_t whole;
	int ret;

	if (len < JOURNAL_HEAD_BYTES)
		return err_set(e, EBADMSG, "no record begins there");
	ret = journal_decode_head(&r->head, bytes, e);
	if (ret)
		return ret;
	whole = journal_record_bytes(&r->head);
	if (len < whole)
		return err_set(e, EBADMSG, "%" PRIu64 " of its %" PRIu64 " bytes are there", len,
			       whole);
	seal = bytes + whole - JOURNAL_SEAL_BYTES;
	r->checksum = get_be64(seal + JOURNAL_SEALED_BYTES);
	if (get_be64(seal) != SEAL_MAGIC || get_be64(seal + 8) != whole ||
	    r->checksum != XXH3_64bits(bytes, whole - 8))
		return err_set(e, EBADMSG, "it was not written to its end");
	r->entries = bytes + JOURNAL_HEAD_BYTES;
	r->data = r->entries + r->head.extents * JOURNAL_ENTRY_BYTES;
	return check_entries(r, e);
}

bool journal_next(const struct journal_record *r, struct journal_walk *w, struct journal_entry *x)
{
	const uint8_t *at = r->entries + w->i * JOURNAL_ENTRY_BYTES;

	if (w->i >= r->head.extents)
		return false;
	*x = (struct journal_entry){.offset = get_be64(at),
				    .len = get_be64(at + 8),
				    .disk = get_be32(at + 16),
				    .kind = (enum extent_kind)get_be32(at + 20)};
	if (x->kind == EXTENT_DATA) {
		x->data = r->data + w->data;
		w->data += x->len;
	}
	w->i++;
	return true;
}

int journal_check_disks(const struct journal_head *h, const struct journal_disk *disks,
			uint32_t ndisks, struct err *e)
{
	if (h->ndisks != ndisks)
		return err_set(e, EINVAL, "it is of %u disks, the guest has %u", h->ndisks, ndisks);
	for (uint32_t i = 0; i < ndisks; i++) {
		const struct journal_disk *was = &h->disks[i], *is = &disks[i];

		if (strcmp(was->identity, is->identity))
			return err_set(e, EINVAL, "disk %u was %s, now it is %s", i, was->identity,
				       is->identity);
		if (was->bytes != is->bytes)
			return err_set(e, EINVAL,
				       "disk %u, %s, had %" PRIu64 " bytes, now it has %" PRIu64, i,
				       is->identity, was->bytes, is->bytes);
	}
	return 0;
}
