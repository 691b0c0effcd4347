/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a primary whose uplink is dead gives its guest to a peer whose uplink is alive. Pure. */
#ifndef CORE_UPLINK_H
#define CORE_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

/** struct uplink_side - one host's uplinks, all of them together, and since when */
struct uplink_side {
	bool known, alive;
	uint64_t since_us;
};

/**
 * struct uplink - both hosts' uplinks, and what was tried
 * @rest_us: how long nothing is tried after an attempt; grows with each until our uplink was alive
 * for so long
 * @not_before_us: end of that
 */
struct uplink {
	struct uplink_side ours, peers;
	uint64_t rest_us, not_before_us;
};

/** uplink_ours() - our uplinks are @alive; true when that is news. */
bool uplink_ours(struct uplink *u, bool alive, uint64_t now_us);

/** uplink_peers() - the peer says that its are; uplink_peer_gone(): nothing that it said counts any
 * more. */
void uplink_peers(struct uplink *u, bool alive, uint64_t now_us);
void uplink_peer_gone(struct uplink *u);

/**
 * uplink_due_us() - when the guest is to be handed over if nothing changes: ours dead and the peer's
 * alive, both for @delay_us. UINT64_MAX: not at all. A peer that never spoke of its uplinks has
 * none that could serve.
 */
uint64_t uplink_due_us(const struct uplink *u, uint64_t delay_us);

/** uplink_tried() - a hand-over was begun, however it ends. */
void uplink_tried(struct uplink *u, uint64_t delay_us, uint64_t now_us);

#endif
