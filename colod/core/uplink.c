// SPDX-License-Identifier: GPL-2.0-or-later
/* Dead uplinks: when to hand over, and how not to flap. */
#include "colod/core/uplink.h"

#include "base/util.h"

/* After a hand-over uplinks that come and go must not carry the guest to and fro. */
#define REST_DELAYS 10
#define REST_MIN_US (10 * USEC_PER_SEC)
#define REST_MAX_US (300 * USEC_PER_SEC)

static bool set_side(struct uplink_side *s, bool alive, uint64_t now_us)
{
	bool news = !s->known || s->alive != alive;

	if (news)
		*s = (struct uplink_side){.known = true, .alive = alive, .since_us = now_us};
	return news;
}

/* Alive for as long as we would rest: whatever was wrong is over. */
static bool has_recovered(const struct uplink *u, uint64_t now_us)
{
	return u->ours.known && u->ours.alive && now_us - u->ours.since_us >= u->rest_us;
}

bool uplink_ours(struct uplink *u, bool alive, uint64_t now_us)
{
	if (has_recovered(u, now_us))
		u->rest_us = u->not_before_us = 0;
	return set_side(&u->ours, alive, now_us);
}

void uplink_peers(struct uplink *u, bool alive, uint64_t now_us)
{
	set_side(&u->peers, alive, now_us);
}

void uplink_peer_gone(struct uplink *u)
{
	u->peers = (struct uplink_side){};
}

uint64_t uplink_due_us(const struct uplink *u, uint64_t delay_us)
{
	if (!u->ours.known || u->ours.alive || !u->peers.known || !u->peers.alive)
		return UINT64_MAX;
	return MAX(MAX(u->ours.since_us, u->peers.since_us) + delay_us, u->not_before_us);
}

void uplink_tried(struct uplink *u, uint64_t delay_us, uint64_t now_us)
{
	uint64_t first = MAX(REST_DELAYS * delay_us, REST_MIN_US);

	u->rest_us = MIN(MAX(u->rest_us * 2, first), MAX(REST_MAX_US, first));
	u->not_before_us = now_us + u->rest_us;
}
