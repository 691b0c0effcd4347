/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Heads of the bulk frames: what stands before the page data. Pure. */
#ifndef CORE_WIRE_BULK_H
#define CORE_WIRE_BULK_H

#include "colod/core/wire.h"

/** struct wire_pages - a PAGES frame's head, checked. */
struct wire_pages {
	uint64_t epoch;
	uint32_t count;
	uint32_t data_pages; /* entries without WIRE_ZERO_PAGE: 4 KB each follow the entries */
	uint64_t entries[WIRE_PAGES_MAX];
};

/** struct wire_hashes - a HASHES frame's head, checked; @count big-endian u64 follow. */
struct wire_hashes {
	uint64_t epoch, first;
	uint32_t count;
};

/**
 * wire_decode_pages_head() - @head holds WIRE_PAGES_HEAD_BYTES; sets epoch and count. The entries,
 * 8 * count bytes, come next. -EPROTO unless the frame's @length can hold them.
 */
int wire_decode_pages_head(struct wire_pages *p, const uint8_t *head, uint32_t length,
			   struct err *e);

/**
 * wire_decode_pages_entries() - fill the entries; -EPROTO unless every page is below @npages and
 * @length is exactly that of head, entries and data.
 */
int wire_decode_pages_entries(struct wire_pages *p, const uint8_t *entries, uint32_t length,
			      uint64_t npages, struct err *e);

/** wire_encode_pages() - header, head and entries into @buf (WIRE_PAGES_FRAME_HEAD_MAX); returns
 * the bytes. */
size_t wire_encode_pages(const struct wire_pages *p, uint8_t *buf);
#define WIRE_PAGES_FRAME_HEAD_MAX (WIRE_HEADER_BYTES + WIRE_PAGES_HEAD_BYTES + 8 * WIRE_PAGES_MAX)

int wire_decode_hashes_head(struct wire_hashes *h, const uint8_t *head, uint32_t length,
			    uint64_t npages, struct err *e);
size_t wire_encode_hashes_head(const struct wire_hashes *h, uint8_t *buf);

/**
 * wire_encode_seal() - SEND's epoch and flags as the checksum covers them, after all that was sent
 * before: what a checkpoint is for must not change on the way either.
 */
void wire_encode_seal(const struct wire_msg *send, uint8_t *buf);
#define WIRE_SEAL_BYTES 12

#endif
