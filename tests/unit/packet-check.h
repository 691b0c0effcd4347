/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What holds of every parsed packet, whatever it is made of; for tests and fuzz targets. */
#ifndef TESTS_UNIT_PACKET_CHECK_H
#define TESTS_UNIT_PACKET_CHECK_H

#include "proxy/packet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static inline bool options_are_inside(const struct pkt *p)
{
	uint32_t first = p->l4_off + 22, sack_bytes = 8u * p->sack_blocks;

	if (p->ts_off && (p->ts_off < first || p->ts_off + 8u > p->payload_off))
		return false;
	return !p->sack_off ||
	       (sack_bytes && p->sack_off >= first && p->sack_off + sack_bytes <= p->payload_off);
}

static inline bool pkt_is_sane(const struct pkt *p, const void *data, size_t len)
{
	if (p->data != data || p->len > len || p->l4_off > p->payload_off ||
	    p->payload_off + p->payload_len != p->len || !options_are_inside(p))
		return false;
	if (p->kind == PKT_OPAQUE && (p->payload_off || p->proto || p->sport || p->frag_id))
		return false;
	if (p->kind == PKT_FRAGMENT && p->frag_next_off + 8 > p->l4_off)
		return false;
	return (p->kind == PKT_FRAGMENT) == (p->frag_off || p->frag_more);
}

/** parse_exactly() - parse a copy that ends where it ends: a sanitizer sees a byte too many. */
static inline struct pkt parse_exactly(const void *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct pkt p;

	assert(copy);
	if (len)
		memcpy(copy, data, len);
	pkt_parse_ip(&p, copy, len, 0);
	assert(pkt_is_sane(&p, copy, len));
	free(copy);
	return p;
}

#endif
