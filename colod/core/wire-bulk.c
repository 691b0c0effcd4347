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

void wire_encode_seal(const struct wire_msg *send, uint8_t *buf)
{
	put_be64(buf, send->epoch);
	put_be32(buf + 8, send->flags);
}
