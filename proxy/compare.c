// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core: which way each packet goes, and what an epoch's end does to all of them. */
#include "proxy/compare-priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Fragments of each guest may take this part of what held packets may. */
#define FRAG_PART      16
#define FRAG_MIN_BYTES (256 * KIB)

static int alloc_tables(struct compare *c)
{
	const struct compare_limits *l = &c->limits;
	uint64_t frag_bytes = MAX(l->max_held_bytes / FRAG_PART, FRAG_MIN_BYTES);
	/* The secondary's packets have a share of their own. */
	uint32_t records = l->max_held_packets + l->max_held_packets / 2 + 1;

	c->chains = calloc(CMP_MAX_DATAGRAMS, sizeof(c->chains[0]));
	if (!c->chains)
		return -ENOMEM;
	return flow_table_init(&c->flows, l->max_flows, sizeof(struct flow), l->seed)
		       ?: pool_init(&c->pool, records, sizeof(struct held))
		       ?: hold_init(&c->hold, l->max_held_bytes)
		       ?: reasm_new(&c->p_frags, CMP_MAX_DATAGRAMS, frag_bytes, l->seed)
		       ?: reasm_new(&c->s_frags, CMP_MAX_DATAGRAMS, frag_bytes, l->seed);
}

int compare_new(struct compare **out, const struct compare_limits *l, const struct bypass *rules,
		struct mismatch_ring *mismatches, const struct compare_ops *ops, void *arg)
{
	struct compare *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->limits = *l;
	c->rules = rules;
	c->ring = mismatches;
	c->ops = *ops;
	c->arg = arg;
	c->gen = 1;
	list_init(&c->ready);
	list_init(&c->spare);
	list_init(&c->half_open);
	list_init(&c->halfway);
	list_init(&c->held);
	list_init(&c->closed);
	list_init(&c->stored);
	c->expiry = &c->held;
	r = alloc_tables(c);
	if (r)
		compare_free(c);
	else
		*out = c;
	return r;
}

void compare_free(struct compare *c)
{
	if (!c)
		return;
	if (c->flows.entries)
		flow_table_destroy(&c->flows);
	pool_destroy(&c->pool);
	hold_destroy(&c->hold);
	reasm_free(c->p_frags);
	reasm_free(c->s_frags);
	free(c->chains);
	free(c);
}

static enum bypass_action bypass_of(const struct compare *c, const struct pkt *p)
{
	if (p->kind == PKT_NEIGHBOUR)
		return BYPASS_RELEASE;
	return c->rules && c->rules->count ? bypass_match(c->rules, p, true) : BYPASS_NO;
}

/* True: @p is not compared, and has been dealt with. */
static bool bypass_primary(struct compare *c, const struct ticket *t, const struct pkt *p)
{
	switch (bypass_of(c, p)) {
	case BYPASS_RELEASE:
		c->stats.bypassed++;
		cmp_release_ticket(c, t, RELEASE_BYPASS);
		return true;
	case BYPASS_COMMIT:
		c->stats.bypassed++;
		cmp_hold(c, t, NULL, true);
		return true;
	case BYPASS_NO:
		break;
	}
	return false;
}

/* Fragments on their own are a flow for each datagram, named by its number. */
static void key_of(struct flow_key *k, const struct pkt *p, uint8_t nic)
{
	flow_key_out(k, p, nic);
	if (p->kind != PKT_FRAGMENT)
		return;
	k->proto = IPPROTO_FRAGMENT;
	k->guest_port = (uint16_t)(p->frag_id >> 16);
	k->peer_port = (uint16_t)p->frag_id;
}

void cmp_match_primary(struct compare *c, const struct ticket *t, const struct pkt *p)
{
	struct flow_key k;
	struct flow *f;

	if (bypass_primary(c, t, p))
		return;
	key_of(&k, p, t->nic);
	f = cmp_flow_get(c, &k, p);
	if (!f) {
		c->orphans = true;
		cmp_told_once(c, MISMATCH_FLOWS, "no room for another flow");
		cmp_hold(c, t, NULL, true);
	} else if (f->tcp) {
		cmp_tcp_primary(c, f, t, p);
	} else {
		cmp_dgram_primary(c, f, t, p);
	}
}

void cmp_match_secondary(struct compare *c, uint8_t nic, const struct pkt *p, bool in_parts)
{
	struct flow_key k;
	struct flow *f;

	if (bypass_of(c, p) != BYPASS_NO)
		return;
	key_of(&k, p, nic);
	f = cmp_flow_get(c, &k, p);
	if (!f) {
		c->stats.secondary_dropped++;
		cmp_told_once(c, MISMATCH_FLOWS, "no room for another flow of the secondary");
	} else if (f->tcp) {
		cmp_tcp_secondary(c, f, p);
	} else {
		cmp_dgram_secondary(c, f, p, in_parts);
	}
}

/* Not compared now, but the next epoch may be: then it must be known how far each stream was, and
 * of which datagrams the rest is to come. */
static void track(struct compare *c, uint8_t nic, const struct pkt *p)
{
	struct reasm_result r;
	struct flow_key k;
	struct flow *f;

	if (p->kind == PKT_FRAGMENT)
		reasm_add(c->p_frags, nic, p, c->now_us, &r);
	if (p->kind != PKT_TCP)
		return;
	flow_key_out(&k, p, nic);
	f = cmp_flow_get(c, &k, p);
	if (!f)
		return;
	cmp_tcp_track(c, f, p);
	cmp_flow_settle(c, f);
}

/* Within a flow nothing overtakes what still waits. */
static bool may_pass(const struct compare *c)
{
	return c->mode == COMPARE_PASS && !c->held_count;
}

void compare_primary(struct compare *c, uint8_t nic, uint32_t id, const struct pkt *p,
		     uint64_t now_us)
{
	struct ticket t = {.id = id, .nic = nic};

	c->now_us = now_us;
	c->stats.primary_packets++;
	if (c->dropping) {
		c->stats.dropped++;
		c->ops.drop(c->arg, nic, id);
	} else if (may_pass(c)) {
		track(c, nic, p);
		cmp_release_ticket(c, &t, RELEASE_SOLO);
	} else if (c->mode != COMPARE_MATCH) {
		if (bypass_primary(c, &t, p))
			return;
		track(c, nic, p);
		cmp_hold(c, &t, NULL, true);
	} else if (p->kind != PKT_FRAGMENT) {
		cmp_match_primary(c, &t, p);
	} else if (!bypass_primary(c, &t, p)) {
		cmp_frag_primary(c, &t, p);
	}
}

void compare_secondary(struct compare *c, uint8_t nic, uint64_t after, const struct pkt *p,
		       uint64_t now_us)
{
	c->now_us = now_us;
	c->stats.secondary_packets++;
	if (c->mode != COMPARE_MATCH || after != c->closed_epoch)
		c->stats.secondary_dropped++;
	else if (p->kind == PKT_FRAGMENT)
		cmp_frag_secondary(c, nic, p);
	else
		cmp_match_secondary(c, nic, p, false);
}

void compare_inbound(struct compare *c, uint8_t nic, const struct pkt *p, uint64_t now_us)
{
	struct flow_key k;
	struct flow *f;

	c->now_us = now_us;
	if (p->kind != PKT_TCP || (!(p->tcp_flags & (TCP_FIN | TCP_RST)) && !c->half_open_count))
		return;
	flow_key_in(&k, p, nic);
	f = flow_peek(&c->flows, &k);
	if (!f)
		return;
	cmp_flow_sync(c, f);
	f->peer_rst |= !!(p->tcp_flags & TCP_RST);
	f->peer_fin |= !!(p->tcp_flags & TCP_FIN);
	if (!(p->tcp_flags & TCP_SYN))
		cmp_flow_established(c, f);
	/* A RST that waits for the client's FIN: they come by different ways. */
	if (!list_empty(&f->held) && !cmp_flow_waits(c, f))
		cmp_tcp_continue(c, f);
	else
		cmp_flow_settle(c, f);
}

/* What the flows know of the last generation does not count any more. */
static void forget_generation(struct compare *c, enum compare_mode mode)
{
	cmp_held_forget(c);
	cmp_frag_close(c);
	c->gen++;
	c->mode = mode;
	c->asked = c->orphans = false;
	c->told = 0;
}

static void new_generation(struct compare *c, enum compare_mode mode)
{
	cmp_held_close(c);
	forget_generation(c, mode);
	if (c->unseen)
		c->trusted_gen = c->gen;
	c->unseen = false;
}

void compare_close_epoch(struct compare *c, uint64_t epoch, enum compare_mode next, uint64_t now_us)
{
	c->now_us = now_us;
	new_generation(c, next);
	c->closed_epoch = epoch;
	c->commit_pending = true;
}

static void go_on(struct compare *c)
{
	while (!list_empty(&c->ready)) {
		struct flow *f = list_entry(c->ready.next, struct flow, ready);

		list_del(&f->ready);
		cmp_flow_sync(c, f);
		if (f->tcp)
			cmp_tcp_continue(c, f);
		else
			cmp_dgram_continue(c, f);
	}
}

void compare_commit(struct compare *c, uint64_t epoch, uint64_t now_us)
{
	c->now_us = now_us;
	mismatch_resolved(c->ring, epoch);
	if (!c->commit_pending || epoch < c->closed_epoch)
		return;
	c->commit_pending = false;
	c->committed_us = now_us;
	cmp_release_list(c, &c->closed, RELEASE_COMMIT);
	if (c->mode == COMPARE_PASS)
		cmp_release_list(c, &c->held, RELEASE_SOLO);
	go_on(c);
}

uint64_t compare_awaited(const struct compare *c)
{
	return c->commit_pending ? c->closed_epoch : 0;
}

void compare_suspend(struct compare *c)
{
	if (c->mode != COMPARE_PASS)
		forget_generation(c, COMPARE_HOLD);
}

void compare_pass_all(struct compare *c, uint64_t now_us)
{
	c->now_us = now_us;
	new_generation(c, COMPARE_PASS);
	c->commit_pending = c->dropping = false;
	cmp_release_list(c, &c->closed, RELEASE_SOLO);
}

void compare_drop_all(struct compare *c)
{
	new_generation(c, COMPARE_PASS);
	c->commit_pending = false;
	c->dropping = true;
	compare_unseen(c); /* for however long another carries on */
	cmp_drop_list(c, &c->closed);
}

void compare_undrop(struct compare *c)
{
	c->dropping = false;
}

void compare_unseen(struct compare *c)
{
	c->unseen = true;
}

void compare_lost(struct compare *c, const char *what, uint64_t now_us)
{
	c->now_us = now_us;
	if (c->mode != COMPARE_PASS)
		cmp_told_once(c, MISMATCH_LOST, what);
}

uint64_t compare_tick(struct compare *c, uint64_t now_us)
{
	uint64_t held, frags, flows;

	c->now_us = now_us;
	held = cmp_held_expire(c);
	frags = cmp_frag_expire(c);
	flows = cmp_flows_expire(c);
	return MIN(held, MIN(frags, flows));
}

void compare_set_timeout(struct compare *c, uint64_t timeout_us)
{
	c->limits.timeout_us = timeout_us;
}

void compare_get_stats(const struct compare *c, struct compare_stats *out)
{
	*out = c->stats;
	out->held_packets = c->held_count;
	out->held_bytes = c->hold.bytes;
	out->flows = c->flows.used;
	out->half_open = c->half_open_count;
}

const struct quantile *compare_hold_us(const struct compare *c)
{
	return &c->hold_us;
}
