// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames of the replica, in one buffer by age and chained by flow; released as the primary reports. */
#include "proxy/outbox.h"

#include "proxy/tcp-end.h"

#include <netinet/in.h>

/* What struct kept's @user holds; the end of the segment in the low half of USER_TCP. */
enum { USER_FLOW, USER_PREV, USER_NEXT, USER_TCP };
#define PURE_ACK (UINT64_C(1) << 32)

/* So many flows are looked at, oldest first, for one that can make room. */
#define EVICT_TRIES 16

int outbox_init(struct outbox *o, size_t bytes, uint32_t frames, uint32_t flows, uint64_t seed)
{
	int r;

	*o = (struct outbox){};
	r = framebuf_init(&o->frames, bytes, frames);
	if (r)
		return r;
	r = flow_table_init(&o->flows, flows, sizeof(struct outbox_flow), seed);
	if (r)
		framebuf_destroy(&o->frames);
	return r;
}

void outbox_destroy(struct outbox *o)
{
	framebuf_destroy(&o->frames);
	flow_table_destroy(&o->flows);
}

void outbox_clear(struct outbox *o)
{
	struct flow_node *n;

	framebuf_clear(&o->frames);
	while ((n = flow_oldest(&o->flows)))
		flow_remove(&o->flows, n);
}

/* Nothing would be missed without it. */
static bool is_idle(const struct outbox_flow *f)
{
	bool plain = !f->evicted && !f->has_ts && !f->own.seq_offset && !f->own.ts_offset;

	return !f->first && (plain || f->closed);
}

static void make_room(struct outbox *o)
{
	struct list *at, *tmp;
	int tries = 0;

	if (o->flows.used < o->flows.capacity)
		return;
	list_for_each_safe (at, tmp, &o->flows.by_age) {
		struct outbox_flow *f = list_entry(at, struct outbox_flow, node.age);

		if (is_idle(f)) {
			flow_remove(&o->flows, &f->node);
			return;
		}
		if (++tries == EVICT_TRIES)
			return;
	}
}

static struct outbox_flow *get(struct outbox *o, const struct flow_key *k, uint64_t now_us)
{
	struct outbox_flow *f = flow_find(&o->flows, k, now_us);

	if (f)
		return f;
	make_room(o);
	return flow_add(&o->flows, k, now_us);
}

static struct kept *next_of(const struct kept *k)
{
	return (struct kept *)(uintptr_t)k->user[USER_NEXT];
}

static struct kept *prev_of(const struct kept *k)
{
	return (struct kept *)(uintptr_t)k->user[USER_PREV];
}

static void drop(struct outbox *o, struct outbox_flow *f, struct kept *k)
{
	if (next_of(k))
		next_of(k)->user[USER_PREV] = k->user[USER_PREV];
	else
		f->last = prev_of(k);
	if (prev_of(k))
		prev_of(k)->user[USER_NEXT] = k->user[USER_NEXT];
	else
		f->first = next_of(k);
	framebuf_drop(&o->frames, k);
}

/* Of all frames the oldest is also the first of its flow. */
static void evict_oldest(struct outbox *o)
{
	struct kept *k = framebuf_first(&o->frames);
	struct outbox_flow *f = (struct outbox_flow *)(uintptr_t)k->user[USER_FLOW];

	if (f->node.key.proto != IPPROTO_TCP)
		f->evicted++;
	o->evicted++;
	drop(o, f, k);
}

/* A lone acknowledgement says nothing that the next segment does not say. */
static void drop_last_ack(struct outbox *o, struct outbox_flow *f)
{
	if (f->last && f->last->user[USER_TCP] & PURE_ACK)
		drop(o, f, f->last);
}

static void append(struct outbox_flow *f, struct kept *k)
{
	k->user[USER_FLOW] = (uintptr_t)f;
	k->user[USER_PREV] = (uintptr_t)f->last;
	if (f->last)
		f->last->user[USER_NEXT] = (uintptr_t)k;
	else
		f->first = k;
	f->last = k;
}

static void note_end(struct outbox_flow *f, const struct pkt *p, bool out)
{
	if (p->tcp_flags & TCP_SYN)
		f->ends = 0; /* a new connection */
	tcp_end_saw(&f->ends, p, out);
}

static uint64_t tcp_word(const struct pkt *p)
{
	bool pure = p->kind == PKT_TCP && !p->seq_len && !(p->tcp_flags & TCP_RST);

	return (uint32_t)(p->seq + p->seq_len) | (pure ? PURE_ACK : 0);
}

void outbox_add(struct outbox *o, uint8_t nic, const void *data, size_t len, const struct pkt *p,
		uint64_t now_us)
{
	struct outbox_flow *f;
	struct flow_key key;
	struct kept *k;

	if (p->kind == PKT_FRAGMENT)
		return;
	flow_key_out(&key, p, nic);
	f = get(o, &key, now_us);
	if (!f) {
		o->untracked++;
		return;
	}
	if (p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))
		f->closed = !(p->tcp_flags & TCP_SYN);
	note_end(f, p, true);
	drop_last_ack(o, f);
	while (!(k = framebuf_add(&o->frames, data, len, NULL, 0)) &&
	       !framebuf_is_empty(&o->frames))
		evict_oldest(o);
	if (!k)
		return;
	k->nic = nic;
	k->user[USER_TCP] = tcp_word(p);
	append(f, k);
}

static void release_tcp(struct outbox *o, struct outbox_flow *f, const struct flow_note *n)
{
	uint32_t released = n->released_seq - f->own.seq_offset;

	f->has_ts |= n->has_ts;
	if (n->has_ts)
		f->released_ts = n->released_ts;
	while (f->first && (int32_t)(released - (uint32_t)f->first->user[USER_TCP]) >= 0)
		drop(o, f, f->first);
}

static void release_datagrams(struct outbox *o, struct outbox_flow *f, uint32_t count)
{
	uint32_t evicted = MIN(count, f->evicted);

	f->evicted -= evicted;
	count -= evicted;
	for (; count && f->first; count--)
		drop(o, f, f->first);
}

void outbox_note(struct outbox *o, const struct flow_note *n, uint64_t now_us)
{
	struct outbox_flow *f = get(o, &n->key, now_us);

	if (!f)
		return;
	if (n->kind == FLOW_OFFSET) { /* a connection begins */
		f->own = (struct rewrite){n->seq_offset, n->ts_offset};
		f->has_ts = false;
	} else if (n->key.proto == IPPROTO_TCP) {
		release_tcp(o, f, n);
	} else {
		release_datagrams(o, f, n->released_packets);
	}
}

const struct rewrite *outbox_to_guest(struct outbox *o, uint8_t nic, const struct pkt *p)
{
	struct outbox_flow *f;
	struct flow_key key;

	if (p->kind != PKT_TCP || !o->flows.used)
		return NULL;
	flow_key_in(&key, p, nic);
	f = flow_peek(&o->flows, &key);
	if (!f)
		return NULL;
	note_end(f, p, false);
	return f->own.seq_offset || f->own.ts_offset ? &f->own : NULL;
}

const struct rewrite *outbox_quoted(const struct outbox *o, uint8_t nic, const struct pkt *q)
{
	const struct outbox_flow *f;
	struct flow_key key;

	if (!o->flows.used)
		return NULL;
	flow_key_out(&key, q, nic);
	f = flow_peek(&o->flows, &key);
	return f && (f->own.seq_offset || f->own.ts_offset) ? &f->own : NULL;
}
