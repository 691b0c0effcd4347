/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format of the secondary's journal: one epoch's writes to all disks. Pure. */
#ifndef DISK_JOURNAL_H
#define DISK_JOURNAL_H

#include "base/err.h"
#include "colod/disk/disk-wire.h"

/*
 * The file, all numbers big-endian:
 *
 *	     0  mark, JOURNAL_MARK_BYTES: the version of the file, and which record was applied
 *	  4096  record: head, JOURNAL_HEAD_BYTES
 *		entries, JOURNAL_ENTRY_BYTES each: offset, length, disk, kind
 *		data of the entries of EXTENT_DATA, in their order
 *		seal, JOURNAL_SEAL_BYTES: what the record's bytes must add up to
 *
 * A record counts when its seal agrees with every byte of it, else it was never written. The next one
 * is written over it, when it is done.
 */
#define JOURNAL_VERSION        1
#define JOURNAL_MARK_BYTES     4096
#define JOURNAL_HEAD_BYTES     4096
#define JOURNAL_ENTRY_BYTES    24
#define JOURNAL_SEAL_BYTES     24 /* magic, bytes of the record, checksum */
#define JOURNAL_IDENTITY_BYTES 200

/** struct journal_disk - what a disk is known by, and its size. */
struct journal_disk {
	char identity[JOURNAL_IDENTITY_BYTES]; /* a text, for people too */
	uint64_t bytes;
};

/** struct journal_head - what a record is of. */
struct journal_head {
	uint64_t session, epoch;
	uint64_t extents, data_bytes;
	uint32_t ndisks;
	struct journal_disk disks[DISKS_MAX];
};

/** struct journal_mark - the record that was applied last. */
struct journal_mark {
	bool any; /* there is one */
	uint64_t session, epoch, checksum;
};

/** struct journal_record - a whole record in memory, which it points into. */
struct journal_record {
	struct journal_head head;
	uint64_t checksum;
	const uint8_t *entries, *data;
};

/** struct journal_entry - an extent of a record. */
struct journal_entry {
	uint64_t offset, len;
	uint32_t disk;
	enum extent_kind kind;
	const uint8_t *data;
};

/** journal_record_bytes() - of head, entries, data and seal. */
static inline uint64_t journal_record_bytes(const struct journal_head *h)
{
	return JOURNAL_HEAD_BYTES + h->extents * JOURNAL_ENTRY_BYTES + h->data_bytes +
	       JOURNAL_SEAL_BYTES;
}

/**
 * journal_encode_...() - into @buf, of the size that the name says above. The checksum is XXH3 (64
 * bits, no seed) of all that stands before it in the record.
 */
void journal_encode_head(const struct journal_head *h, uint8_t *buf);
void journal_encode_entry(const struct journal_entry *x, uint8_t *buf);
void journal_encode_mark(const struct journal_mark *m, uint8_t *buf);

/** journal_encode_seal() - without the checksum, which journal_encode_checksum() adds. */
void journal_encode_seal(const struct journal_head *h, uint8_t *buf);
#define JOURNAL_SEALED_BYTES (JOURNAL_SEAL_BYTES - 8) /* of the seal, covered by the checksum */
void journal_encode_checksum(uint64_t checksum, uint8_t *seal);

/**
 * journal_decode_mark() - 0; a mark that is torn or was never written tells of no record. -ENOTSUP
 * with a reason when another version of colod has written the file: it may hold a record that must
 * not be ignored.
 */
int journal_decode_mark(struct journal_mark *m, const uint8_t *buf, struct err *e);

/** journal_decode_head() - -EBADMSG when it is none, or its numbers cannot be. */
int journal_decode_head(struct journal_head *h, const uint8_t *buf, struct err *e);

/** journal_decode() - the record that @bytes begins with; -EBADMSG with a reason unless it is whole
 * and in all its parts what was sealed. */
int journal_decode(struct journal_record *r, const uint8_t *bytes, uint64_t len, struct err *e);

/** struct journal_walk - a place among the entries of a record; begin with {}. */
struct journal_walk {
	uint64_t i, data;
};

/** journal_next() - the next entry of a record that journal_decode() has taken; false: no more. */
bool journal_next(const struct journal_record *r, struct journal_walk *w, struct journal_entry *x);

/** journal_check_disks() - -EINVAL, with what differs, unless the record is of these disks. */
int journal_check_disks(const struct journal_head *h, const struct journal_disk *disks,
			uint32_t ndisks, struct err *e);

#endif
