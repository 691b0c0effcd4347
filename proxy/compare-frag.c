// SPDX-License-Identifier: GPL-2.0-or-later
/* Fragments: both guests' datagrams are compared whole, the primary's fragments go together. */
#include "proxy/compare-priv.h"

#include <string.h>

static void chain_add(struct frag_chain *chain, struct held *h)
{
	if (chain->last)
		chain->last->more = h;
	else
		chain->first = h;
	chain->last = h;
}

/* Its fragments go when the first one does. */
static struct held *chain_take(struct frag_chain *chain)
{
	struct held *first = chain->first;

	for (struct held *h = first ? first->more : NULL; h; h = h->more)
		h->at_commit = true;
	*chain = (struct frag_chain){};
	return first;
}

/* Only the commit lets it go: better soon, for younger datagrams of its flow overtake it. */
static void give_up(struct compare *c, const struct ticket *t, struct frag_chain *chain)
{
	struct held *first = chain ? chain_take(chain) : NULL;

	if (first)
		first->at_commit = true;
	cmp_hold(c, t, NULL, true);
	cmp_told_once(c, MISMATCH_FULL, "fragments overlap, or are too many");
}

void cmp_frag_primary(struct compare *c, const struct ticket *t, const struct pkt *p)
{
	struct reasm_result r;
	struct ticket whole = *t;
	struct frag_chain *chain;
	struct pkt datagram;

	reasm_add(c->p_frags, t->nic, p, c->now_us, &r);
	if (r.state == REASM_FULL) {
		give_up(c, t, NULL);
		return;
	}
	chain = &c->chains[r.ref.slot];
	if (r.state == REASM_REST) {
		cmp_match_primary(c, t, p);
		return;
	}
	if (r.state == REASM_GIVEN_UP) {
		give_up(c, t, chain);
		return;
	}
	whole.lead = cmp_hold(c, t, NULL, false);
	if (whole.lead)
		chain_add(chain, whole.lead);
	if (r.state == REASM_PART)
		return;
	whole.lead = chain_take(chain);
	if (!whole.lead)
		return;
	pkt_parse_ip(&datagram, r.data, r.len, p->vlan);
	cmp_match_primary(c, &whole, &datagram);
}

void cmp_frag_secondary(struct compare *c, uint8_t nic, const struct pkt *p)
{
	struct reasm_result r;
	struct pkt datagram;

	if (reasm_is_rest(c->p_frags, nic, p)) {
		cmp_match_secondary(c, nic, p, true);
		return;
	}
	if (reasm_add(c->s_frags, nic, p, c->now_us, &r) != REASM_WHOLE) {
		if (r.state != REASM_PART)
			c->stats.secondary_dropped++;
		return;
	}
	pkt_parse_ip(&datagram, r.data, r.len, p->vlan);
	cmp_match_secondary(c, nic, &datagram, true);
}

/* Of a datagram that began before, the secondary sends the rest alone: compared by the fragment. */
void cmp_frag_close(struct compare *c)
{
	reasm_give_up_all(c->p_frags);
	reasm_clear(c->s_frags);
	memset(c->chains, 0, sizeof(c->chains[0]) * CMP_MAX_DATAGRAMS);
}

/* As long as a fragment is waited for, its datagram's memory is. */
uint64_t cmp_frag_expire(struct compare *c)
{
	uint64_t life = c->limits.timeout_us, oldest;
	struct reasm_ref ref;

	/* The secondary runs since the last commit only, and its rests must be known. */
	if (c->commit_pending)
		return UINT64_MAX;
	if (c->now_us > c->committed_us + life) {
		while (reasm_expire(c->p_frags, c->now_us - life, &ref))
			chain_take(&c->chains[ref.slot]);
		while (reasm_expire(c->s_frags, c->now_us - life, &ref))
			;
	}
	oldest = MIN(reasm_oldest_us(c->p_frags), reasm_oldest_us(c->s_frags));
	return oldest == UINT64_MAX ? oldest : MAX(oldest, c->committed_us) + life + 1;
}
