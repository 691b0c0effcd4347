/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Neighbours: who has which address, learned off the mirror; answers for the secondary's guest,
 * announcements. */
#ifndef PROXY_NEIGH_H
#define PROXY_NEIGH_H

#include "proxy/packet.h"

#define NEIGH_ENTRIES   1024 /* neighbours of the guest; the oldest go */
#define NEIGH_OWN       16   /* addresses of the guest's own, per NIC */
#define NEIGH_FRAME_MAX 128

/** struct neigh_entry - @router: it says so (RFC 4861); a host that stopped saying so would lose its
 * routes. */
struct neigh_entry {
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t vlan;
	bool router;
	uint64_t used;
};

/** struct neigh - of one NIC; @mac is the guest's. No pointers: can be copied and sent. */
struct neigh {
	uint8_t mac[6];
	uint64_t clock; /* counts learning; the smallest @used goes first */
	unsigned count, own_count;
	struct neigh_entry entries[NEIGH_ENTRIES];
	struct neigh_entry own[NEIGH_OWN];
};

void neigh_init(struct neigh *n, const uint8_t mac[6]);

/** neigh_learn_in() - a frame to the guest: its sender's addresses (ARP, ND, and the MAC that IP
 * packets come from for on-link senders only through ARP/ND: an IP packet's source MAC may be a
 * router's). */
void neigh_learn_in(struct neigh *n, const void *frame, size_t len);

/** neigh_learn_out() - a frame of the guest: its own addresses. */
void neigh_learn_out(struct neigh *n, const void *frame, size_t len);

/** neigh_learn_own() - an address that the primary knows of; with the guest's own MAC unless known
 * with another. Not one that a neighbour has: somebody sends by way of the guest. */
void neigh_learn_own(struct neigh *n, const struct ip_addr *addr, uint16_t vlan);

/**
 * neigh_filter_out() - a frame of a guest whose output goes to nobody: 0 when it is neither ARP nor
 * neighbour discovery; else the length of the answer put into @reply (a whole Ethernet frame for
 * the guest), or -1 when it is swallowed without answer (its own replies, duplicate address
 * detection, router solicitations, neighbours that are not known).
 */
int neigh_filter_out(struct neigh *n, const void *frame, size_t len,
		     uint8_t reply[NEIGH_FRAME_MAX]);
/* The answer carries the question's VLAN tags. Frames are padded to 60 bytes. */

/**
 * neigh_announcement() - the @i-th frame that tells the network where the guest is now: gratuitous
 * ARP requests (RFC 5227) and unsolicited neighbour advertisements (RFC 4861 7.2.6) for each own
 * address, and one RARP broadcast for its MAC as QEMU's announce-self makes, which also stands in
 * for an address that a neighbour turned out to have. Returns its length, 0 behind the last one.
 */
size_t neigh_announcement(const struct neigh *n, unsigned i, uint8_t frame[NEIGH_FRAME_MAX]);

#endif
