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

void cmp_frag_primary(struct compare *c, const struct ticket *t, const struct pkt *p)
{
	struct reasm_result r;
	struct ticket whole = *t;
	struct pkt datagram;

	reasm_add(c->p_frags, t->nic, p, c->now_us, &r);
	if (r.state == REASM_FULL)
		cmp_told_once(c, MISMATCH_FULL, "too many fragments");
	whole.lead = cmp_hold(c, t, NULL, r.state == REASM_FULL);
	if (r.state == REASM_FULL)
		return;
	if (whole.lead && r.state != REASM_GIVEN_UP)
		chain_add(&c->chains[r.ref.slot], whole.lead);
	if (r.state == REASM_PART)
		return;
	whole.lead = chain_take(&c->chains[r.ref.slot]);
	if (r.state == REASM_GIVEN_UP || !whole.lead)
		return;
	pkt_parse_ip(&datagram, r.data, r.len, p->vlan);
	cmp_match_primary(c, &whole, &datagram);
}

void cmp_frag_secondary(struct compare *c, uint8_t nic, const struct pkt *p)
{
	struct reasm_result r;
	struct pkt datagram;

	if (reasm_add(c->s_frags, nic, p, c->now_us, &r) != REASM_WHOLE) {
		if (r.state != REASM_PART)
			c->stats.secondary_dropped++;
		return;
	}
	pkt_parse_ip(&datagram, r.data, r.len, p->vlan);
	cmp_match_secondary(c, nic, &datagram);
}

/* The rest of a datagram that began before has no counterpart: the secondary sends that alone. */
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

	if (c->now_us >= life) {
		while (reasm_expire(c->p_frags, c->now_us - life, &ref))
			chain_take(&c->chains[ref.slot]);
		while (reasm_expire(c->s_frags, c->now_us - life, &ref))
			;
	}
	oldest = MIN(reasm_oldest_us(c->p_frags), reasm_oldest_us(c->s_frags));
	return oldest == UINT64_MAX ? oldest : oldest + life + 1;
}
