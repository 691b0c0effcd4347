// SPDX-License-Identifier: GPL-2.0-or-later
/* What the comparing core says of differences: records of mismatches, one request an epoch. */
#include "proxy/compare-priv.h"

#include <stdio.h>

static void ask(struct compare *c, enum mismatch_reason r)
{
	if (c->asked)
		return;
	c->asked = true;
	c->ops.checkpoint(c->arg, r);
}

struct mismatch *cmp_mismatch(struct compare *c, enum mismatch_reason r, struct flow *f)
{
	struct mismatch *m = mismatch_next(c->ring);

	c->stats.mismatched++;
	m->at_us = c->now_us;
	m->reason = r;
	m->epoch = c->closed_epoch + 1;
	if (f) {
		m->has_flow = true;
		m->key = f->node.key;
	}
	return m;
}

/* What was kept of the flow's packets is of no use any more. */
void cmp_flow_stuck(struct compare *c, struct flow *f)
{
	struct seg *s;

	f->stuck = true;
	while ((s = seg_first(&f->p)))
		cmp_seg_done(c, f, s);
	cmp_store_clear(c, f);
}

void cmp_mismatch_end(struct compare *c, enum mismatch_reason r, struct flow *f)
{
	if (f)
		cmp_flow_stuck(c, f);
	ask(c, r);
}

void cmp_told_once(struct compare *c, enum mismatch_reason r, const char *what)
{
	struct mismatch *m;

	if (c->told & BIT(r))
		return;
	c->told |= BIT(r);
	m = cmp_mismatch(c, r, NULL);
	snprintf(m->what, sizeof(m->what), "%s", what);
	cmp_mismatch_end(c, r, NULL);
}

void cmp_side(struct mismatch_side *side, const struct seg *s, uint16_t vlan, uint32_t at)
{
	struct pkt p;

	if (!s || !s->packet)
		return;
	pkt_parse_ip(&p, s->packet, s->packet_len, vlan);
	mismatch_side_set(side, &p, at);
}

uint32_t cmp_differ_at(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	uint32_t i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}
