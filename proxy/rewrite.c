// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers of TCP segments, sent or quoted, changed in place, and checksums of what was changed. */
#include "proxy/rewrite.h"

#include "base/bytes.h"
#include "base/util.h"

enum {
	TCP_SEQ = 4,
	TCP_ACKNO = 8,
	TCP_CHECKSUM = 16,
	UDP_CHECKSUM = 6,
	ICMP_CHECKSUM = 2,
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
static bool finish(struct edit *e, uint8_t *field, bool partial)
{
	uint16_t sum;

	if (!e->changed || partial)
		return e->changed;
	sum = fold((uint64_t)(uint16_t)~get_be16(field) + e->sum);
	put_be16(field, (uint16_t)~sum);
	return true;
}

/* The numbers of the sender. */
static void move_own(struct edit *e, const struct pkt *p, uint32_t seq, uint32_t ts)
{
	add32(e, TCP_SEQ, seq);
	if (p->ts_off)
		add32(e, p->ts_off - p->l4_off, ts);
}

/* What it says of the numbers of the other end. */
static void move_echoes(struct edit *e, const struct pkt *p, uint32_t seq, uint32_t ts)
{
	if (!(p->tcp_flags & TCP_ACK))
		return;
	add32(e, TCP_ACKNO, seq);
	for (uint32_t i = 0; i < p->sack_blocks; i++) {
		uint32_t off = p->sack_off - p->l4_off + i * SACK_BLOCK_BYTES;

		add32(e, off, seq);
		add32(e, off + 4, seq);
	}
	if (p->ts_off && p->tsecr)
		add32(e, p->ts_off - p->l4_off + 4, ts);
}

bool rewrite_out(const struct rewrite *r, uint8_t *data, const struct pkt *p, bool partial)
{
	struct edit e = {.l4 = data + p->l4_off};

	if (p->kind != PKT_TCP)
		return false;
	move_own(&e, p, r->seq_offset, r->ts_offset);
	return finish(&e, e.l4 + TCP_CHECKSUM, partial);
}

bool rewrite_in(const struct rewrite *r, uint8_t *data, const struct pkt *p, bool partial)
{
	struct edit e = {.l4 = data + p->l4_off};

	if (p->kind != PKT_TCP)
		return false;
	move_echoes(&e, p, -r->seq_offset, -r->ts_offset);
	return finish(&e, e.l4 + TCP_CHECKSUM, partial);
}

/* With the segment's own checksum put right its sum is as before, and the error's holds. A short
 * quote lacks that. */
static bool finish_quote(struct edit *e, uint8_t *data, const struct pkt *icmp, const struct pkt *q,
			 bool partial)
{
	if (q->len - q->l4_off >= TCP_QUOTED_BYTES)
		return finish(e, e->l4 + TCP_CHECKSUM, false);
	return finish(e, data + icmp->l4_off + ICMP_CHECKSUM, partial);
}

bool rewrite_quoted_in(const struct rewrite *r, uint8_t *data, const struct pkt *icmp,
		       const struct pkt *q, bool partial)
{
	struct edit e = {.l4 = data + q->l4_off};

	move_own(&e, q, -r->seq_offset, -r->ts_offset);
	return finish_quote(&e, data, icmp, q, partial);
}

bool rewrite_quoted_out(const struct rewrite *r, uint8_t *data, const struct pkt *icmp,
			const struct pkt *q, bool partial)
{
	struct edit e = {.l4 = data + q->l4_off};

	move_echoes(&e, q, r->seq_offset, r->ts_offset);
	return finish_quote(&e, data, icmp, q, partial);
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
