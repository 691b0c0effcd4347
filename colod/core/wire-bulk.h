/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Heads of the bulk frames: what stands before the page data. Pure. */
#ifndef CORE_WIRE_BULK_H
#define CORE_WIRE_BULK_H

#include "base/bitmap.h"
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
 * struct wire_bitmap - a RECV_BITMAP frame's head, checked; bits of @count pages from @first on
 * follow, page @first in the lowest bit of the first byte. All frames of one telling have the same
 * head but for @first and @count.
 */
struct wire_bitmap {
	uint64_t committed; /* last epoch committed at the secondary */
	uint64_t epoch;     /* the one that the rest tells of: the next */
	uint64_t frames;    /* PAGES frames of it that came whole */
	uint64_t digest;    /* XXH3 of them, see docs/protocol.md */
	uint32_t flags;     /* WIRE_RECV_... */
	uint64_t first;
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
 * wire_bitmap_cut() - set @b's count for the frame that begins with page b->first; 0: there is none.
 * Frames are full but for the last.
 */
uint32_t wire_bitmap_cut(struct wire_bitmap *b, uint64_t npages);

/** wire_bitmap_bytes() - of the bits that follow the head. */
static inline uint32_t wire_bitmap_bytes(const struct wire_bitmap *b)
{
	return DIV_ROUND_UP(b->count, 8);
}

/**
 * wire_decode_bitmap_head() - @head holds WIRE_BITMAP_HEAD_BYTES; -EPROTO unless the frame is cut as
 * wire_bitmap_cut() does and its @length is exactly that of head and bits.
 */
int wire_decode_bitmap_head(struct wire_bitmap *b, const uint8_t *head, uint32_t length,
			    uint64_t npages, struct err *e);

/** wire_decode_bitmap_bits() - into @to (of npages bits); -EPROTO for a bit behind the last page. */
int wire_decode_bitmap_bits(const struct wire_bitmap *b, const uint8_t *bits, struct bitmap *to,
			    struct err *e);

/** wire_encode_bitmap_head() - header and head into @buf (both sizes together); the bytes. */
size_t wire_encode_bitmap_head(const struct wire_bitmap *b, uint8_t *buf);

/** wire_encode_bitmap_bits() - those of @from (npages bits) that @b tells of; NULL: none is set. */
void wire_encode_bitmap_bits(const struct wire_bitmap *b, const struct bitmap *from, uint8_t *bits);

/** wire_bitmap_same_telling() - whether two frames' heads agree. */
bool wire_bitmap_same_telling(const struct wire_bitmap *a, const struct wire_bitmap *b);

/**
 * wire_encode_seal() - SEND's epoch and flags as the checksum covers them, after all that was sent
 * before: what a checkpoint is for must not change on the way either.
 */
void wire_encode_seal(const struct wire_msg *send, uint8_t *buf);
#define WIRE_SEAL_BYTES 12

#endif
