// SPDX-License-Identifier: GPL-2.0-or-later
/* Snapshots of the proxy's state for the daemon's thread. */
#include "proxy/proxy-priv.h"

#include <string.h>

static const char *kind_name(const struct proxy *p)
{
	return p->rules.kind == RULES_NFT ? "nft" : "iptables";
}

static void port_status(const struct port *o, struct proxy_nic_status *s)
{
	memcpy(s->tap, o->proxy->config.nics[o->nic].tap, sizeof(s->tap));
	memcpy(s->bridge, o->proxy->config.nics[o->nic].bridge, sizeof(s->bridge));
	s->joined = o->joined;
	s->frames_in = o->frames_in;
	s->frames_out = o->frames_out;
}

void proxy_get_status(struct proxy *p, struct proxy_status *out)
{
	static const char *const sides[SIDE_COUNT] = {[SIDE_SILENT] = "silent",
						      [SIDE_PASS] = "pass",
						      [SIDE_PRIMARY] = "primary",
						      [SIDE_SECONDARY] = "secondary",
						      [SIDE_RELAY] = "relay"};
	struct replica_net_stats rs;

	*out = (struct proxy_status){};
	pthread_mutex_lock(&p->lock);
	compare_get_stats(p->compare, &out->compare);
	quantile_view(compare_hold_us(p->compare), &out->hold_us);
	out->netfilter = kind_name(p);
	out->rules_missing = p->rules_missing;
	out->side = sides[p->side];
	out->compares = p->side == SIDE_PRIMARY && p->compares;
	out->rewritten_flows = replica_net_rewrites(p->replica)->flows.used;
	replica_net_get_stats(p->replica, &rs);
	out->injected = rs.injected;
	out->replayed = rs.replayed;
	out->mirror_lost += rs.lost;
	out->nic_count = p->config.nic_count;
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		out->mirrored += p->ports[i].mirrored;
		out->mirror_lost += p->ports[i].lost;
		out->queue_lost += p->ports[i].overruns;
		port_status(&p->ports[i], &out->nics[i]);
	}
	out->mirror_lost += p->chan.refused;
	pthread_mutex_unlock(&p->lock);
}

void proxy_get_waits(struct proxy *p, uint64_t *packets, uint64_t *waited_us)
{
	const struct quantile *q;

	pthread_mutex_lock(&p->lock);
	q = compare_hold_us(p->compare);
	*packets = q->count;
	*waited_us = q->sum;
	pthread_mutex_unlock(&p->lock);
}

size_t proxy_list_flows(struct proxy *p, struct compare_flow *out, size_t max)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = compare_list_flows(p->compare, out, max, clock_now_us());
	pthread_mutex_unlock(&p->lock);
	return n;
}

void proxy_copy_mismatches(struct proxy *p, struct mismatch_ring *out)
{
	pthread_mutex_lock(&p->lock);
	*out = p->mismatches;
	pthread_mutex_unlock(&p->lock);
}

void proxy_set_timeout(struct proxy *p, uint64_t timeout_us)
{
	pthread_mutex_lock(&p->lock);
	compare_set_timeout(p->compare, timeout_us);
	pthread_mutex_unlock(&p->lock);
}
