// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of rewritten connections: how they come, how their packets change, how they end. */
#include "proxy/rewrites.h"

#include "proxy/tcp-end.h"

/**
 * struct connection
 * @epoch:    of the primary's last word on it; UINT64_MAX when it is this host's own
 * @ts_floor: once, for the first outgoing TSval, in the peer's terms
 */
struct connection {
	struct flow_node node;
	struct rewrite rewrite;
	uint64_t epoch;
	uint32_t ts_floor;
	bool has_floor;
	uint8_t ends;
};

static struct connection *connection_of(struct list *age)
{
	return list_entry(age, struct connection, node.age);
}

static void forget(struct rewrites *w, struct flow_node *n)
{
	w->changes++;
	flow_remove(&w->flows, n);
}

int rewrites_init(struct rewrites *w, uint32_t capacity, uint64_t seed)
{
	w->gone = w->changes = 0;
	return flow_table_init(&w->flows, capacity, sizeof(struct connection), seed);
}

void rewrites_destroy(struct rewrites *w)
{
	flow_table_destroy(&w->flows);
}

void rewrites_clear(struct rewrites *w)
{
	struct flow_node *n;

	while ((n = flow_oldest(&w->flows)))
		forget(w, n);
}

/* There, or new; in a full table the one unused for longest makes room. */
static struct connection *get(struct rewrites *w, const struct flow_key *k, uint64_t now_us)
{
	struct connection *c = flow_find(&w->flows, k, now_us);

	if (c)
		return c;
	if (w->flows.used == w->flows.capacity) {
		c = flow_oldest(&w->flows);
		if (!c)
			return NULL;
		w->gone += !tcp_end_is_over(c->ends);
		forget(w, &c->node);
	}
	return flow_add(&w->flows, k, now_us);
}

void rewrites_inherit(struct rewrites *w, const struct flow_key *k, const struct rewrite *r,
		      uint8_t ends, uint64_t epoch, uint64_t now_us)
{
	struct connection *c = get(w, k, now_us);

	if (!c)
		return;
	w->changes++;
	c->rewrite = *r;
	c->ends = ends;
	c->epoch = epoch;
	c->has_floor = false;
}

void rewrites_keep_since(struct rewrites *w, uint64_t epoch)
{
	struct list *at, *tmp;

	list_for_each_safe (at, tmp, &w->flows.by_age) {
		struct connection *c = connection_of(at);

		if (c->epoch < epoch || c->epoch == UINT64_MAX)
			forget(w, &c->node);
	}
}

void rewrites_carry_on(struct rewrites *w, const struct flow_key *k, const struct rewrite *own,
		       const uint32_t *released_ts, uint8_t ends, uint64_t now_us)
{
	struct connection *c;

	if (!own->seq_offset && !own->ts_offset && !released_ts)
		return;
	c = get(w, k, now_us);
	if (!c)
		return;
	if (released_ts) {
		c->ts_floor = *released_ts + c->rewrite.ts_offset;
		c->has_floor = true;
	}
	w->changes++;
	c->rewrite.seq_offset += own->seq_offset;
	c->rewrite.ts_offset += own->ts_offset;
	c->epoch = UINT64_MAX;
	c->ends |= ends;
}

/* The connection of a packet, NULL when it is none of ours or was, and another begins. */
static struct connection *lookup(struct rewrites *w, uint8_t nic, const struct pkt *p, bool out,
				 uint64_t now_us)
{
	struct connection *c;
	struct flow_key k;
	uint8_t ends;

	if (!w->flows.used || p->kind != PKT_TCP)
		return NULL;
	if (out)
		flow_key_out(&k, p, nic);
	else
		flow_key_in(&k, p, nic);
	c = flow_find(&w->flows, &k, now_us);
	if (!c)
		return NULL;
	if (tcp_end_is_over(c->ends) && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		forget(w, &c->node);
		return NULL;
	}
	ends = c->ends;
	tcp_end_saw(&c->ends, p, out);
	w->changes += c->ends != ends;
	return c;
}

/* The peer's clock of this guest must not run backwards. */
static void hold_floor(struct rewrites *w, struct connection *c, const struct pkt *p)
{
	int32_t behind = (int32_t)(c->ts_floor - (p->tsval + c->rewrite.ts_offset));

	if (!c->has_floor || !p->ts_off)
		return;
	c->has_floor = false;
	if (behind <= 0)
		return;
	c->rewrite.ts_offset += (uint32_t)behind;
	w->changes++;
}

/* An error says nothing of a connection's end; anybody can have sent it. */
static bool rewrite_error(const struct rewrites *w, uint8_t nic, uint8_t *data, const struct pkt *p,
			  bool partial, bool out)
{
	const struct connection *c;
	struct flow_key k;
	struct pkt q;

	if (!w->flows.used || !pkt_parse_quote(&q, p))
		return false;
	if (out)
		flow_key_in(&k, &q, nic);
	else
		flow_key_out(&k, &q, nic);
	c = flow_peek(&w->flows, &k);
	if (!c)
		return false;
	return (out ? rewrite_quoted_out : rewrite_quoted_in)(&c->rewrite, data, p, &q, partial);
}

bool rewrites_out(struct rewrites *w, uint8_t nic, uint8_t *data, const struct pkt *p, bool partial,
		  uint64_t now_us)
{
	struct connection *c = lookup(w, nic, p, true, now_us);

	if (p->kind == PKT_ICMP)
		return rewrite_error(w, nic, data, p, partial, true);
	if (!c)
		return false;
	hold_floor(w, c, p);
	return rewrite_out(&c->rewrite, data, p, partial);
}

bool rewrites_in(struct rewrites *w, uint8_t nic, uint8_t *data, const struct pkt *p, bool partial,
		 uint64_t now_us)
{
	struct connection *c = lookup(w, nic, p, false, now_us);

	if (p->kind == PKT_ICMP)
		return rewrite_error(w, nic, data, p, partial, false);
	return c && rewrite_in(&c->rewrite, data, p, partial);
}

void rewrites_saw(struct rewrites *w, uint8_t nic, const struct pkt *p, bool out, uint64_t now_us)
{
	lookup(w, nic, p, out, now_us);
}

static uint64_t life_us(const struct connection *c)
{
	if (tcp_end_is_over(c->ends))
		return REWRITES_CLOSED_US;
	return c->rewrite.seq_offset ? REWRITES_IDLE_US : REWRITES_CLOCK_US;
}

/* A known floor that asked for nothing leaves an entry that does nothing. */
static bool is_over(const struct connection *c, uint64_t now_us)
{
	if (!c->has_floor && !c->rewrite.seq_offset && !c->rewrite.ts_offset)
		return true;
	return now_us - c->node.used_us > life_us(c);
}

void rewrites_tick(struct rewrites *w, uint64_t now_us)
{
	struct list *at, *tmp;

	list_for_each_safe (at, tmp, &w->flows.by_age) {
		struct connection *c = connection_of(at);

		if (is_over(c, now_us))
			forget(w, &c->node);
	}
}

void rewrites_each(const struct rewrites *w,
		   void (*fn)(void *arg, const struct flow_key *k, const struct rewrite *r,
			      uint8_t ends),
		   void *arg)
{
	for (struct list *at = w->flows.by_age.next; at != &w->flows.by_age; at = at->next) {
		const struct connection *c = connection_of(at);

		if (c->rewrite.seq_offset || c->rewrite.ts_offset)
			fn(arg, &c->node.key, &c->rewrite, c->ends);
	}
}
