// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP as a byte stream: a primary's segment may go when the secondary sent the same bytes. */
#include "proxy/compare-priv.h"

#include <stdio.h>
#include <string.h>

/* Segments out of order walk no further than this; beyond, they are not compared and time out. */
#define INSERT_STEPS 256

/* A stream of acks alone is noted when its TSval moved by this much, mostly milliseconds: data is
 * not the only thing that a client's PAWS check (RFC 7323) remembers. */
#define ACK_NOTE_TS 100

/* What lies at one place of the sequence space. */
enum at_kind { AT_SYN, AT_DATA, AT_FIN };

struct run {
	enum at_kind kind;
	uint32_t len, off; /* @off: in the payload */
};

static struct run run_at(const struct seg *s, uint32_t at)
{
	uint32_t off = at - s->seq;

	if (s->flags & TCP_SYN) {
		if (!off)
			return (struct run){AT_SYN, 1, 0};
		off--;
	}
	if (off < s->payload_len)
		return (struct run){AT_DATA, s->payload_len - off, off};
	return (struct run){AT_FIN, 1, s->payload_len};
}

/* Where the urgent data ends within @n bytes from @at on, 0 when not there: how a stream is cut
 * decides which segments carry the pointer, but the one with the urgent byte always does. */
static uint32_t urgent_in(const struct seg *s, uint32_t at, uint32_t n)
{
	uint32_t up = s->seq + s->urgent - at;

	return (s->flags & TCP_URG) && up <= n ? up : 0;
}

static void differ(struct compare *c, struct flow *f, enum mismatch_reason r, const struct seg *p,
		   const struct seg *s, uint32_t ahead)
{
	struct mismatch *m = cmp_mismatch(c, r, f);
	static const char *const names[] = {"SYN", "data", "FIN"};

	m->offset = f->epoch_bytes + ahead;
	if (r == MISMATCH_FLAGS)
		snprintf(m->what, sizeof(m->what), "primary %s, secondary %s%s",
			 names[run_at(p, f->matched).kind], names[run_at(s, f->matched).kind],
			 run_at(p, f->matched).kind == run_at(s, f->matched).kind
				 ? ", urgent pointers differ"
				 : "");
	cmp_side(&m->primary, p, f->node.key.vlan, run_at(p, f->matched).off + ahead);
	cmp_side(&m->secondary, s, f->node.key.vlan, run_at(s, f->matched).off + ahead);
	cmp_mismatch_end(c, r, f);
}

/* Both have what lies at f->matched. False: they differ. */
static bool compare_run(struct compare *c, struct flow *f, const struct seg *p, const struct seg *s)
{
	struct run a = run_at(p, f->matched), b = run_at(s, f->matched);
	uint32_t n = MIN(a.len, b.len);

	if (a.kind != b.kind) {
		differ(c, f, MISMATCH_FLAGS, p, s, 0);
		return false;
	}
	if (a.kind == AT_DATA) {
		const uint8_t *x = p->payload + a.off, *y = s->payload + b.off;

		if (memcmp(x, y, n) != 0) {
			differ(c, f, MISMATCH_PAYLOAD, p, s, cmp_differ_at(x, y, n));
			return false;
		}
		if (urgent_in(p, f->matched, n) != urgent_in(s, f->matched, n)) {
			differ(c, f, MISMATCH_FLAGS, p, s, 0);
			return false;
		}
		f->epoch_bytes += n;
		f->matched_bytes += n;
	}
	f->matched += n;
	return true;
}

static struct seg *first_open(struct compare *c, struct flow *f, struct list *l)
{
	struct seg *s;

	while ((s = seg_first(l)) && seq_le(seg_end(s), f->matched))
		cmp_seg_done(c, f, s);
	return s;
}

static void advance(struct compare *c, struct flow *f)
{
	uint32_t before = f->matched;
	struct seg *p, *s;

	if (!f->has_base || f->p_syn_alone || f->s_syn_alone)
		return;
	do {
		p = first_open(c, f, &f->p);
		s = first_open(c, f, &f->s);
	} while (p && s && seq_le(p->seq, f->matched) && seq_le(s->seq, f->matched) &&
		 compare_run(c, f, p, s));
	if (f->matched != before)
		cmp_held_halfway(c, f, !f->stuck && p && seq_lt(p->seq, f->matched));
}

/* By sequence number; what is there already is not taken again. */
static bool insert(struct list *l, struct seg *n)
{
	struct list *pos = l->prev;
	unsigned steps = 0;

	while (pos != l && seq_lt(n->seq, list_entry(pos, struct seg, node)->seq)) {
		pos = pos->prev;
		if (++steps > INSERT_STEPS)
			return false;
	}
	if (pos != l && seq_le(seg_end(n), seg_end(list_entry(pos, struct seg, node))))
		return false;
	list_add_tail(pos->next, &n->node);
	return true;
}

static void view_of(struct seg *v, const struct pkt *p, uint32_t seq_offset)
{
	*v = (struct seg){
		.packet = p->data,
		.packet_len = p->len,
		.payload = p->data + p->payload_off,
		.payload_len = p->payload_len,
		.seq = p->seq + seq_offset,
		.seq_len = p->tcp_flags & TCP_RST ? 0 : p->seq_len,
		.ack = p->ack,
		.urgent = p->urgent,
		.flags = p->tcp_flags,
		.tsval = p->tsval,
		.has_ts = p->ts_off,
	};
	list_init(&v->node);
}

/*
 * The guests' streams were equal to their end, and the client has ended its own: a RST that follows only
 * says that the primary has forgotten the connection, as it does when it has too many of them. The
 * secondary, with others of them, need not have.
 */
static bool is_closed(const struct flow *f)
{
	return f->p_fin && f->peer_fin && f->has_base && seq_le(f->p_end, f->matched);
}

static bool may_release(const struct flow *f, const struct seg *s)
{
	if (f->p_syn_alone || f->s_syn_alone)
		return false;
	if (s->flags & TCP_RST)
		return f->s_rst || is_closed(f);
	if (s->seq_len && !seq_le(seg_end(s), f->matched))
		return false;
	if (s->seq_len && f->met_half_way && seq_lt(s->seq, f->base))
		return false;
	if (!(s->flags & TCP_ACK))
		return true;
	/* The other way round: instead of the client's FIN alone the secondary has answered with a RST. */
	return f->has_s_ack && seq_le(s->ack, f->s_ack + (f->s_rst && is_closed(f)));
}

static void note_release(struct flow *f, const struct seg *s)
{
	bool acks_age = s->has_ts && (!f->noted || s->tsval - f->noted_ts >= ACK_NOTE_TS);

	if (s->flags & TCP_RST || (!s->seq_len && !acks_age && !f->note_due))
		return;
	if (!f->note_due || seq_lt(f->note_seq, seg_end(s)))
		f->note_seq = seg_end(s);
	f->note_ts = s->tsval;
	f->note_has_ts = s->has_ts;
	f->note_due = true;
}

static void release_held(struct compare *c, struct flow *f)
{
	while (!list_empty(&f->held) && !f->stuck) {
		struct held *h = list_entry(f->held.next, struct held, in_flow);

		if (!may_release(f, &h->seg))
			break;
		note_release(f, &h->seg);
		c->stats.matched++;
		cmp_release_held(c, h, RELEASE_MATCH);
	}
}

/* Both sides' SYN are there: from here on their numbers can be told from each other, if the secondary
 * can be told. */
static void pair(struct compare *c, struct flow *f)
{
	struct flow_note n = {.kind = FLOW_OFFSET, .key = f->node.key};
	struct list *pos, *tmp;

	f->p_syn_alone = f->s_syn_alone = false;
	f->seq_offset = f->p_isn - f->s_isn;
	n.has_ts = f->p_syn_has_ts && f->s_syn_has_ts;
	f->ts_offset = n.has_ts ? f->p_syn_ts - f->s_syn_ts : 0;
	list_for_each_safe (pos, tmp, &f->s)
		list_entry(pos, struct seg, node)->seq += f->seq_offset;
	n.seq_offset = f->seq_offset;
	n.ts_offset = f->ts_offset;
	if (!c->ops.note(c->arg, &n))
		cmp_flow_stuck(c, f);
}

static bool is_new_syn(const struct pkt *p, bool known, uint32_t isn)
{
	return (p->tcp_flags & (TCP_SYN | TCP_RST)) == TCP_SYN && !(known && isn == p->seq);
}

/* Nothing of an older connection with the same ports counts any more. */
static void primary_opens(struct flow *f, const struct pkt *p)
{
	f->p_syn = f->has_p_end = true;
	f->p_isn = f->p_end = p->seq;
	f->has_p_ack = f->p_rst = f->p_fin = f->peer_rst = f->peer_fin = false;
	f->p_syn_ts = p->tsval;
	f->p_syn_has_ts = p->ts_off;
}

void cmp_tcp_track(struct compare *c, struct flow *f, const struct pkt *p)
{
	uint32_t end = p->seq + p->seq_len;

	f->packets++;
	if (is_new_syn(p, f->p_syn, f->p_isn))
		primary_opens(f, p);
	if (p->tcp_flags & TCP_RST) {
		f->p_rst = true;
		cmp_flow_established(c, f);
		return;
	}
	/* A flow that is met half-way begins with data: acks may lie before what is sent next. */
	if (f->has_p_end ? seq_lt(f->p_end, end) : p->seq_len) {
		f->p_end = end;
		f->has_p_end = true;
	}
	if (p->tcp_flags & TCP_ACK && (!f->has_p_ack || seq_lt(f->p_ack, p->ack))) {
		f->p_ack = p->ack;
		f->has_p_ack = true;
	}
	f->p_fin |= !!(p->tcp_flags & TCP_FIN);
	if (!(p->tcp_flags & TCP_SYN))
		cmp_flow_established(c, f);
}

static void match_primary_syn(struct compare *c, struct flow *f, const struct pkt *p)
{
	if (!list_empty(&f->held)) {
		struct mismatch *m = cmp_mismatch(c, MISMATCH_FLAGS, f);

		snprintf(m->what, sizeof(m->what),
			 "a new connection, while the last one's packets wait");
		cmp_mismatch_end(c, MISMATCH_FLAGS, f);
		return;
	}
	f->has_base = true;
	f->matched = p->seq;
	f->s_rst = f->met_half_way = false;
	if (f->s_syn_alone) {
		pair(c, f);
		return;
	}
	/* What the secondary still sends of an older connection is forgotten with its SYN. */
	f->p_syn_alone = true;
}

void cmp_tcp_primary(struct compare *c, struct flow *f, const struct ticket *t, const struct pkt *p)
{
	bool opens = is_new_syn(p, f->p_syn, f->p_isn), wait = cmp_flow_waits(c, f);
	struct seg view;

	cmp_tcp_track(c, f, p);
	view_of(&view, p, 0);
	if (opens && !f->stuck)
		match_primary_syn(c, f, p);
	if (view.seq_len && !f->stuck) {
		if (!f->has_base) {
			f->has_base = f->met_half_way = true;
			f->matched = f->base = p->seq;
		}
		if (!seq_le(seg_end(&view), f->matched))
			insert(&f->p, &view);
		if (!wait)
			advance(c, f);
	}
	if (!wait && !f->stuck && list_empty(&f->held) && may_release(f, &view)) {
		note_release(f, &view);
		c->stats.matched++;
		cmp_release_ticket(c, t, RELEASE_MATCH);
	} else {
		cmp_hold_seg(c, t, f, &view);
		if (!wait)
			release_held(c, f);
	}
	cmp_flow_settle(c, f);
}

static void match_secondary_syn(struct compare *c, struct flow *f, const struct pkt *p)
{
	cmp_store_clear(c, f);
	f->has_s_ack = false;
	f->s_syn = true;
	f->s_isn = p->seq;
	f->s_syn_ts = p->tsval;
	f->s_syn_has_ts = p->ts_off;
	f->seq_offset = 0;
	if (f->p_syn_alone)
		pair(c, f);
	else
		f->s_syn_alone = true;
}

static void secondary_data(struct compare *c, struct flow *f, const struct pkt *p, bool wait)
{
	bool raw = f->p_syn_alone || f->s_syn_alone || !f->has_base;
	struct seg view;

	view_of(&view, p, f->seq_offset);
	if (!raw && seq_le(seg_end(&view), f->matched))
		return;
	if (!insert(&f->s, &view))
		return;
	if (!wait)
		advance(c, f);
	if (!list_empty(&view.node))
		cmp_store(c, f, &view);
}

void cmp_tcp_secondary(struct compare *c, struct flow *f, const struct pkt *p)
{
	bool wait = cmp_flow_waits(c, f);

	if (f->stuck)
		return;
	if (is_new_syn(p, f->s_syn, f->s_isn))
		match_secondary_syn(c, f, p);
	if (f->stuck)
		return;
	if (p->tcp_flags & TCP_RST) {
		f->s_rst = true;
	} else {
		if (p->tcp_flags & TCP_ACK && (!f->has_s_ack || seq_lt(f->s_ack, p->ack))) {
			f->s_ack = p->ack;
			f->has_s_ack = true;
		}
		if (p->seq_len)
			secondary_data(c, f, p, wait);
	}
	if (!wait)
		release_held(c, f);
	cmp_flow_settle(c, f);
}

void cmp_tcp_continue(struct compare *c, struct flow *f)
{
	advance(c, f);
	release_held(c, f);
	cmp_flow_settle(c, f);
}

void cmp_tcp_explain(const struct flow *f, const struct seg *s, char *what, size_t size)
{
	if (f->p_syn_alone)
		snprintf(what, size, "no SYN of the secondary");
	else if (s->flags & TCP_RST)
		snprintf(what, size, "no RST of the secondary");
	else if (s->seq_len && seq_lt(s->seq, f->matched) && seq_lt(f->matched, seg_end(s)))
		snprintf(what, size, "no data of the secondary behind the first %u bytes, at %u",
			 f->matched - s->seq, f->matched);
	else if (s->seq_len && !seq_le(seg_end(s), f->matched))
		snprintf(what, size, "no data of the secondary at sequence number %u", f->matched);
	else if (f->has_s_ack)
		snprintf(what, size, "acknowledges %u, the secondary only %u", s->ack, f->s_ack);
	else
		snprintf(what, size, "acknowledges %u, the secondary nothing", s->ack);
}
