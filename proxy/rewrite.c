// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers of TCP segments changed in place, and checksums of what was changed. */
#include "proxy/rewrite.h"

#include "base/bytes.h"
#include "base/util.h"

enum {
	TCP_SEQ = 4,
	TCP_ACKNO = 8,
	TCP_CHECKSUM = 16,
	UDP_CHECKSUM = 6,
	SACK_BLOCK_BYTES = 8,
};

/** struct edit - a segment being changed; @sum is the change of its one's complement sum */
struct edit {
	uint8_t *l4;
	uint32_t sum;
	bool changed;
};

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Options stand at any offset, so the sum is made of bytes: those at even places count 256-fold. */
static void add32(struct edit *e, uint32_t off, uint32_t delta)
{
	uint32_t value = get_be32(e->l4 + off) + delta;

	if (!delta)
		return;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t *byte = &e->l4[off + i], now = (uint8_t)(value >> (24 - 8 * i));
		unsigned shift = (off + i) % 2 ? 0 : 8;

		e->sum += 0xffffu - ((uint32_t)*byte << shift);
		e->sum += (uint32_t)now << shift;
		*byte = now;
	}
	e->changed = true;
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). */
static bool finish(struct edit *e, bool partial)
{
	uint8_t *field = e->l4 + TCP_CHECKSUM;
	uint16_t sum;

	if (!e->changed || partial)
		return e->changed;
	sum = fold((uint64_t)(uint16_t)~get_be16(field) + e->sum);
	put_be16(field, (uint16_t)~sum);
	return true;
}

bool rewrite_out(const struct rewrite *r, uint8_t *data, const struct pkt *p, bool partial)
{
	struct edit e = {.l4 = data + p->l4_off};

	if (p->kind != PKT_TCP)
		return false;
	add32(&e, TCP_SEQ, r->seq_offset);
	if (p->ts_off)
		add32(&e, p->ts_off - p->l4_off, r->ts_offset);
	return finish(&e, partial);
}

bool rewrite_in(const struct rewrite *r, uint8_t *data, const struct pkt *p, bool partial)
{
	struct edit e = {.l4 = data + p->l4_off};

	if (p->kind != PKT_TCP || !(p->tcp_flags & TCP_ACK))
		return false;
	add32(&e, TCP_ACKNO, -r->seq_offset);
	for (uint32_t i = 0; i < p->sack_blocks; i++) {
		uint32_t off = p->sack_off - p->l4_off + i * SACK_BLOCK_BYTES;

		add32(&e, off, -r->seq_offset);
		add32(&e, off + 4, -r->seq_offset);
	}
	if (p->ts_off && p->tsecr)
		add32(&e, p->ts_off - p->l4_off + 4, -r->ts_offset);
	return finish(&e, partial);
}

static uint64_t sum_bytes(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += get_be16(p + i);
	if (len % 2)
		sum += (uint32_t)p[len - 1] << 8;
	return sum;
}

void l4_checksum_fill(uint8_t *data, const struct pkt *p)
{
	uint32_t end = MIN(p->payload_off + p->payload_len, p->len), len = end - p->l4_off;
	uint8_t *l4 = data + p->l4_off, *field;
	uint64_t sum;
	uint16_t check;

	if (p->kind != PKT_TCP && p->kind != PKT_UDP)
		return;
	field = l4 + (p->kind == PKT_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
	field[0] = field[1] = 0;
	/* The prefix of an IPv4-mapped address, 0xffff, is another form of 0 here. */
	sum = sum_bytes(p->src.b, 16) + sum_bytes(p->dst.b, 16) + (len >> 16) + (len & 0xffff);
	check = (uint16_t)~fold(sum + p->proto + sum_bytes(l4, len));
	/* Of UDP, 0 says that there is none (RFC 768). */
	if (!check && p->kind == PKT_UDP)
		check = 0xffff;
	field[0] = (uint8_t)(check >> 8);
	field[1] = (uint8_t)check;
}
