// SPDX-License-Identifier: GPL-2.0-or-later
/* Everything but TCP: whole payloads, compared in each flow's order. */
#include "proxy/compare-priv.h"

#include <netinet/in.h>
#include <string.h>
#include <xxhash.h>

/* ICMP's checksum: under offload one side may have left it open. */
#define ICMP_CSUM_AT    2
#define ICMP_CSUM_BYTES 2

static void view_of(struct seg *v, const struct pkt *p)
{
	*v = (struct seg){
		.seq = p->frag_off | p->frag_more,
		.packet = p->data,
		.packet_len = p->len,
		.payload = p->data + p->payload_off,
		.payload_len = p->payload_len,
	};
	list_init(&v->node);
}

static bool is_icmp(const struct flow *f)
{
	return f->node.key.proto == IPPROTO_ICMP || f->node.key.proto == IPPROTO_ICMPV6;
}

/* Index of the first difference in @n bytes, @n when there is none. */
static uint32_t difference(const struct flow *f, const uint8_t *a, const uint8_t *b, uint32_t n)
{
	uint32_t from = 0;

	if (is_icmp(f)) {
		uint32_t head = MIN(n, ICMP_CSUM_AT);

		if (memcmp(a, b, head) != 0)
			return cmp_differ_at(a, b, head);
		from = MIN(n, ICMP_CSUM_AT + ICMP_CSUM_BYTES);
	}
	if (!memcmp(a + from, b + from, n - from))
		return n;
	return from + cmp_differ_at(a + from, b + from, n - from);
}

static uint64_t hash_of(const struct flow *f, const struct seg *s)
{
	uint32_t from = is_icmp(f) ? MIN(s->payload_len, ICMP_CSUM_AT + ICMP_CSUM_BYTES) : 0;

	return XXH3_64bits(s->payload + from, s->payload_len - from);
}

static bool are_equal(const struct flow *f, const struct seg *p, const struct seg *s)
{
	return p->payload_len == s->payload_len && p->seq == s->seq &&
	       difference(f, p->payload, s->payload, p->payload_len) == p->payload_len;
}

/* The secondary keeps what it has sent whole until it is told. */
static void count_release(struct flow *f, const struct seg *s)
{
	f->note_packets += !s->in_parts;
	f->note_due |= !s->in_parts;
}

/*
 * The secondary's datagram to compare with @p. Of the last request before a checkpoint it cannot be
 * told whether the primary's guest had read it; the secondary's then gets it in any case, so once
 * in an epoch its answer may come twice in a row, the first time maybe before the checkpoint.
 */
static struct seg *counterpart(struct compare *c, struct flow *f, const struct seg *p)
{
	struct seg *s = seg_first(&f->s);

	if (!s || !f->may_repeat || are_equal(f, p, s) || hash_of(f, s) != f->repeat_hash)
		return s;
	f->may_repeat = false;
	count_release(f, s);
	cmp_seg_done(c, f, s);
	c->stats.secondary_dropped++;
	return seg_first(&f->s);
}

/* False: they differ, and the flow is stuck. */
static bool compare_pair(struct compare *c, struct flow *f, const struct seg *p,
			 const struct seg *s)
{
	uint32_t n = MIN(p->payload_len, s->payload_len);
	bool same_len = p->payload_len == s->payload_len;
	uint32_t at = difference(f, p->payload, s->payload, n);
	enum mismatch_reason r = same_len ? MISMATCH_PAYLOAD : MISMATCH_LENGTH;
	struct mismatch *m;

	if (at == n && same_len && p->seq == s->seq) {
		f->epoch_bytes += n;
		f->matched_bytes += n;
		c->stats.matched++;
		count_release(f, s);
		if (f->may_repeat)
			f->repeat_hash = hash_of(f, s);
		return true;
	}
	m = cmp_mismatch(c, r, f);
	m->offset = at;
	cmp_side(&m->primary, p, f->node.key.vlan, at);
	cmp_side(&m->secondary, s, f->node.key.vlan, at);
	cmp_mismatch_end(c, r, f);
	return false;
}

/* Heads of both lists, as long as there are both. */
static void compare_heads(struct compare *c, struct flow *f)
{
	struct seg *p, *s;

	while ((p = seg_first(&f->p)) && (s = counterpart(c, f, p))) {
		struct held *h = p->owner;

		if (!compare_pair(c, f, p, s))
			return;
		cmp_seg_done(c, f, s);
		cmp_seg_done(c, f, p);
		cmp_release_held(c, h, RELEASE_MATCH);
	}
}

void cmp_dgram_primary(struct compare *c, struct flow *f, const struct ticket *t,
		       const struct pkt *p)
{
	struct seg view, *s;

	f->packets++;
	view_of(&view, p);
	s = cmp_flow_waits(c, f) || f->stuck ? NULL : counterpart(c, f, &view);
	f->last_hash = hash_of(f, &view);
	if (s && compare_pair(c, f, &view, s)) {
		cmp_seg_done(c, f, s);
		cmp_release_ticket(c, t, RELEASE_MATCH);
	} else {
		if (!f->stuck)
			list_add_tail(&f->p, &view.node);
		cmp_hold_seg(c, t, f, &view);
	}
	cmp_flow_settle(c, f);
}

void cmp_dgram_secondary(struct compare *c, struct flow *f, const struct pkt *p, bool in_parts)
{
	bool wait = cmp_flow_waits(c, f);
	struct seg view;

	if (f->stuck)
		return;
	view_of(&view, p);
	view.in_parts = in_parts;
	list_add_tail(&f->s, &view.node);
	if (!wait)
		compare_heads(c, f);
	if (!list_empty(&view.node))
		cmp_store(c, f, &view);
	cmp_flow_settle(c, f);
}

void cmp_dgram_continue(struct compare *c, struct flow *f)
{
	compare_heads(c, f);
	cmp_flow_settle(c, f);
}
