// SPDX-License-Identifier: GPL-2.0-or-later
/* Heads of the bulk frames: encoding, and decoding that trusts no length and no page number. */
#include "colod/core/wire-bulk.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

int wire_decode_pages_head(struct wire_pages *p, const uint8_t *head, uint32_t length,
			   struct err *e)
{
	p->epoch = get_be64(head);
	p->count = get_be32(head + 8);
	p->data_pages = 0;
	if (!p->count || p->count > WIRE_PAGES_MAX || length < WIRE_PAGES_HEAD_BYTES + 8 * p->count)
		return err_set(e, EPROTO, "peer sent PAGES with %u entries in %u bytes", p->count,
			       length);
	return 0;
}

int wire_decode_pages_entries(struct wire_pages *p, const uint8_t *entries, uint32_t length,
			      uint64_t npages, struct err *e)
{
	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t entry = get_be64(entries + 8 * i);

		if ((entry & ~WIRE_ZERO_PAGE) >= npages)
			return err_set(e, EPROTO,
				       "peer sent page %" PRIu64 " of a guest with %" PRIu64
				       " pages",
				       entry & ~WIRE_ZERO_PAGE, npages);
		p->entries[i] = entry;
		p->data_pages += !(entry & WIRE_ZERO_PAGE);
	}
	if (length != WIRE_PAGES_HEAD_BYTES + p->count * 8 + p->data_pages * PAGE_BYTES)
		return err_set(e, EPROTO, "peer sent PAGES of %u bytes with %u pages of data",
			       length, p->data_pages);
	return 0;
}

size_t wire_encode_pages(const struct wire_pages *p, uint8_t *buf)
{
	uint8_t *at = buf + WIRE_HEADER_BYTES;

	wire_encode_header(
		buf, WIRE_PAGES,
		(uint32_t)(WIRE_PAGES_HEAD_BYTES + p->count * 8 + p->data_pages * PAGE_BYTES));
	put_be64(at, p->epoch);
	put_be32(at + 8, p->count);
	at += WIRE_PAGES_HEAD_BYTES;
	for (uint32_t i = 0; i < p->count; i++, at += 8)
		put_be64(at, p->entries[i]);
	return (size_t)(at - buf);
}

int wire_decode_hashes_head(struct wire_hashes *h, const uint8_t *head, uint32_t length,
			    uint64_t npages, struct err *e)
{
	h->epoch = get_be64(head);
	h->first = get_be64(head + 8);
	h->count = get_be32(head + 16);
	if (!h->count || h->count > WIRE_HASHES_MAX ||
	    length != WIRE_HASHES_HEAD_BYTES + 8 * h->count)
		return err_set(e, EPROTO, "peer sent HASHES with %u entries in %u bytes", h->count,
			       length);
	if (h->first > npages || h->count > npages - h->first)
		return err_set(e, EPROTO, "peer sent hashes of pages beyond the guest's %" PRIu64,
			       npages);
	return 0;
}

size_t wire_encode_hashes_head(const struct wire_hashes *h, uint8_t *buf)
{
	uint8_t *at = buf + WIRE_HEADER_BYTES;

	wire_encode_header(buf, WIRE_HASHES, WIRE_HASHES_HEAD_BYTES + 8 * h->count);
	put_be64(at, h->epoch);
	put_be64(at + 8, h->first);
	put_be32(at + 16, h->count);
	return WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES;
}

uint32_t wire_bitmap_cut(struct wire_bitmap *b, uint64_t npages)
{
	b->count = (uint32_t)MIN(npages - MIN(b->first, npages), WIRE_BITMAP_PAGES_MAX);
	return b->count;
}

int wire_decode_bitmap_head(struct wire_bitmap *b, const uint8_t *head, uint32_t length,
			    uint64_t npages, struct err *e)
{
	uint32_t count = get_be32(head + 44);

	b->committed = get_be64(head);
	b->epoch = get_be64(head + 8);
	b->frames = get_be64(head + 16);
	b->digest = get_be64(head + 24);
	b->flags = get_be32(head + 32);
	b->first = get_be64(head + 36);
	if (b->flags & ~(WIRE_RECV_COMPLETE | WIRE_RECV_DIRECT))
		return err_set(e, EPROTO, "peer sent RECV_BITMAP with unknown flags %#x", b->flags);
	if (b->first % WIRE_BITMAP_PAGES_MAX || !wire_bitmap_cut(b, npages) || b->count != count)
		return err_set(e, EPROTO,
			       "peer sent RECV_BITMAP of %u pages from %" PRIu64
			       " on of a guest with %" PRIu64 " pages",
			       count, b->first, npages);
	if (length != WIRE_BITMAP_HEAD_BYTES + wire_bitmap_bytes(b))
		return err_set(e, EPROTO, "peer sent RECV_BITMAP of %u pages in %u bytes", count,
			       length);
	return 0;
}

int wire_decode_bitmap_bits(const struct wire_bitmap *b, const uint8_t *bits, struct bitmap *to,
			    struct err *e)
{
	uint32_t bytes = wire_bitmap_bytes(b);

	if (b->count % 8 && bits[bytes - 1] >> (b->count % 8))
		return err_set(e, EPROTO, "peer received pages beyond the guest's %" PRIu64,
			       to->nbits);
	for (uint32_t at = 0; at < bytes; at += 8) {
		uint64_t word = 0;

		for (uint32_t i = 0; i < MIN(bytes - at, 8); i++)
			word |= (uint64_t)bits[at + i] << (8 * i);
		to->words[b->first / 64 + at / 8] = word;
	}
	return 0;
}

size_t wire_encode_bitmap_head(const struct wire_bitmap *b, uint8_t *buf)
{
	uint8_t *at = buf + WIRE_HEADER_BYTES;

	wire_encode_header(buf, WIRE_RECV_BITMAP, WIRE_BITMAP_HEAD_BYTES + wire_bitmap_bytes(b));
	put_be64(at, b->committed);
	put_be64(at + 8, b->epoch);
	put_be64(at + 16, b->frames);
	put_be64(at + 24, b->digest);
	put_be32(at + 32, b->flags);
	put_be64(at + 36, b->first);
	put_be32(at + 44, b->count);
	return WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES;
}

void wire_encode_bitmap_bits(const struct wire_bitmap *b, const struct bitmap *from, uint8_t *bits)
{
	const uint64_t *words = from ? from->words + b->first / 64 : NULL;

	for (uint32_t i = 0; i < wire_bitmap_bytes(b); i++)
		bits[i] = words ? (uint8_t)(words[i / 8] >> (8 * (i % 8))) : 0;
}

bool wire_bitmap_same_telling(const struct wire_bitmap *a, const struct wire_bitmap *b)
{
	return a->committed == b->committed && a->epoch == b->epoch && a->frames == b->frames &&
	       a->digest == b->digest && a->flags == b->flags;
}

void wire_encode_seal(const struct wire_msg *send, uint8_t *buf)
{
	put_be64(buf, send->epoch);
	put_be32(buf + 8, send->flags);
}
