// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core's flows: made, brought up to the epoch, forgotten when room is needed. */
#include "proxy/compare-priv.h"

#include <string.h>

/* Flows that are looked at when one must go. */
#define VICTIMS 16
/* Idle flows that are forgotten at once. */
#define EXPIRE_BATCH 256
static uint32_t held_of(const struct compare *c, const struct flow *f)
{
	return f->gen == c->gen ? f->held_count : 0;
}

/* Its next packets show where it is, as those of a connection that was not known. */
static void forget_stream(struct flow *f)
{
	f->has_p_end = f->has_p_ack = f->p_syn = false;
	f->p_rst = f->p_fin = f->peer_rst = f->peer_fin = false;
}

void cmp_flow_sync(struct compare *c, struct flow *f)
{
	if (f->gen == c->gen)
		return;
	if (f->gen < c->trusted_gen)
		forget_stream(f);
	f->gen = c->gen;
	list_init(&f->held);
	list_init(&f->p);
	list_init(&f->s);
	f->held_count = 0;
	f->s_bytes = f->epoch_bytes = 0;
	f->repeat_hash = f->last_hash;
	f->may_repeat = !f->tcp;
	f->stuck = f->p_syn_alone = f->s_syn_alone = f->noted = f->met_half_way = false;
	f->has_base = f->has_p_end;
	f->matched = f->p_end;
	f->has_s_ack = f->has_p_ack;
	f->s_ack = f->p_ack;
	f->s_syn = f->p_syn;
	f->s_isn = f->p_isn;
	f->s_rst = f->p_rst;
	f->seq_offset = f->ts_offset = 0;
}

void cmp_flow_established(struct compare *c, struct flow *f)
{
	if (list_empty(&f->half_open))
		return;
	list_del(&f->half_open);
	c->half_open_count--;
}

static void forget(struct compare *c, struct flow *f)
{
	if (f->gen == c->gen)
		cmp_store_clear(c, f);
	cmp_flow_established(c, f);
	list_del(&f->ready);
	list_del(&f->spare);
	list_del(&f->halfway);
	flow_remove(&c->flows, &f->node);
}

/* A datagram flow has no state but its packets. */
static bool is_over(const struct flow *f)
{
	return !f->tcp || f->p_rst || f->peer_rst || (f->p_fin && f->peer_fin);
}

static void tell_note(struct compare *c, struct flow *f)
{
	struct flow_note n = {
		.kind = FLOW_RELEASED,
		.key = f->node.key,
		.seq_offset = f->seq_offset,
		.ts_offset = f->ts_offset,
		.released_seq = f->note_seq,
		.released_ts = f->note_ts,
		.has_ts = f->note_has_ts,
		.released_packets = f->note_packets,
	};

	if (!f->note_due)
		return;
	f->note_due = false;
	f->noted = true;
	f->noted_ts = f->note_ts;
	f->note_packets = 0;
	c->ops.note(c->arg, &n);
}

bool cmp_flow_waits(struct compare *c, struct flow *f)
{
	if (c->commit_pending && list_empty(&f->ready))
		list_add_tail(&c->ready, &f->ready);
	return c->commit_pending;
}

void cmp_flow_settle(struct compare *c, struct flow *f)
{
	bool spare = !f->held_count && list_empty(&f->s) && !f->stuck && is_over(f);

	tell_note(c, f);
	if (spare == !list_empty(&f->spare))
		return;
	if (spare)
		list_add_tail(&c->spare, &f->spare);
	else
		list_del(&f->spare);
}

static bool half_open_room(struct compare *c)
{
	struct list *pos, *tmp;
	unsigned tries = 0;

	if (c->half_open_count < c->limits.max_half_open)
		return true;
	list_for_each_safe (pos, tmp, &c->half_open) {
		struct flow *f = list_entry(pos, struct flow, half_open);

		if (!held_of(c, f)) {
			forget(c, f);
			return true;
		}
		if (++tries == VICTIMS)
			break;
	}
	return false;
}

/*
 * Nothing that is still needed would be lost with it. One that was silent in this epoch has no state
 * but how far the primary was; without that it is met half-way, and compared all the same.
 */
static bool may_go(const struct compare *c, const struct flow *f)
{
	if (held_of(c, f))
		return false;
	if (f->gen != c->gen || c->now_us - f->node.used_us >= c->limits.flow_idle_us)
		return true;
	return is_over(f) && list_empty(&f->s);
}

static bool room(struct compare *c)
{
	struct list *pos, *tmp;
	unsigned tries = 0;

	if (c->flows.used < c->flows.capacity)
		return true;
	if (!list_empty(&c->spare)) {
		forget(c, list_entry(c->spare.next, struct flow, spare));
		return true;
	}
	list_for_each_safe (pos, tmp, &c->flows.by_age) {
		struct flow *f = list_entry(pos, struct flow, node.age);

		if (may_go(c, f)) {
			forget(c, f);
			return true;
		}
		if (++tries == VICTIMS)
			break;
	}
	return false;
}

static struct flow *make(struct compare *c, const struct flow_key *k, const struct pkt *p)
{
	bool opening = p->kind == PKT_TCP && (p->tcp_flags & (TCP_SYN | TCP_RST)) == TCP_SYN;
	struct flow *f = NULL;

	if ((!opening || half_open_room(c)) && room(c))
		f = flow_add(&c->flows, k, c->now_us);
	if (!f)
		return NULL;
	list_init(&f->ready);
	list_init(&f->spare);
	list_init(&f->half_open);
	list_init(&f->halfway);
	f->tcp = p->kind == PKT_TCP;
	f->gen = c->gen - 1;
	cmp_flow_sync(c, f);
	f->stuck = c->orphans;
	if (opening) {
		list_add_tail(&c->half_open, &f->half_open);
		c->half_open_count++;
	}
	return f;
}

struct flow *cmp_flow_get(struct compare *c, const struct flow_key *k, const struct pkt *p)
{
	struct flow *f = flow_find(&c->flows, k, c->now_us);

	if (!f)
		f = make(c, k, p);
	if (!f)
		return NULL;
	cmp_flow_sync(c, f);
	return f;
}

uint64_t cmp_flows_expire(struct compare *c)
{
	for (int i = 0; i < EXPIRE_BATCH; i++) {
		struct flow *f = flow_oldest(&c->flows);
		uint64_t end;

		if (!f)
			return UINT64_MAX;
		end = f->node.used_us + c->limits.flow_idle_us;
		if (c->now_us < end)
			return end;
		if (held_of(c, f)) /* its packets will expire, or be committed */
			return c->now_us + c->limits.flow_idle_us;
		forget(c, f);
	}
	return c->now_us;
}

static const char *state_name(const struct flow *f)
{
	if (!f->tcp)
		return "datagram";
	if (!list_empty(&f->half_open))
		return "syn";
	return f->p_fin || f->p_rst || f->peer_fin || f->peer_rst ? "closing" : "open";
}

size_t compare_list_flows(const struct compare *c, struct compare_flow *out, size_t max,
			  uint64_t now_us)
{
	const struct list *pos = c->flows.by_age.prev;
	size_t n = 0;

	for (; n < max && pos != &c->flows.by_age; pos = pos->prev) {
		const struct flow *f = list_entry(pos, struct flow, node.age);

		out[n++] = (struct compare_flow){
			.key = f->node.key,
			.state = state_name(f),
			.seq_offset = f->gen == c->gen ? f->seq_offset : 0,
			.held_packets = held_of(c, f),
			.matched_bytes = f->matched_bytes,
			.packets = f->packets,
			.idle_us = now_us - f->node.used_us,
		};
	}
	return n;
}
