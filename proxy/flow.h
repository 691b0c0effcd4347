/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow keys and a table of fixed capacity from keys to the caller's entries, with aging. */
#ifndef PROXY_FLOW_H
#define PROXY_FLOW_H

#include "base/list.h"
#include "proxy/packet.h"

/**
 * struct flow_key - a flow as the guest sees it: @guest_* are the guest's own side, whichever way a
 * packet goes. Compared as bytes: fill it with flow_key_out() or flow_key_in() only.
 */
struct flow_key {
	struct ip_addr guest, peer;
	uint16_t guest_port, peer_port;
	uint16_t vlan;
	uint8_t proto, nic;
};

/** flow_key_out(), flow_key_in() - the key of a packet that the guest sent, or that it gets. */
void flow_key_out(struct flow_key *k, const struct pkt *p, uint8_t nic);
void flow_key_in(struct flow_key *k, const struct pkt *p, uint8_t nic);

/** flow_key_text() - "tcp 10.0.0.2:80 <-> 10.0.0.9:41234 nic 0 [vlan 5]" into @buf. */
#define FLOW_TEXT_MAX 160
const char *flow_key_text(const struct flow_key *k, char buf[FLOW_TEXT_MAX]);

/** struct flow_node - head of the caller's entry */
struct flow_node {
	struct flow_key key;
	struct flow_node *next; /* of its bucket, or of the free entries */
	struct list age;        /* oldest use first */
	uint64_t used_us;
};

/** struct flow_table - @capacity entries of @entry_bytes each (struct flow_node first), allocated
 * at once. */
struct flow_table {
	struct flow_node **buckets;
	uint8_t *entries;
	struct flow_node *free;
	struct list by_age;
	size_t entry_bytes;
	uint32_t capacity, used, bucket_mask;
	uint64_t seed;
};

/** flow_table_init() - 0 or -ENOMEM. @seed makes bucket attacks hard: from getrandom(2). */
int flow_table_init(struct flow_table *t, uint32_t capacity, size_t entry_bytes, uint64_t seed);
void flow_table_destroy(struct flow_table *t);

/** flow_find() - the entry, made young at @now_us, or NULL. */
void *flow_find(struct flow_table *t, const struct flow_key *k, uint64_t now_us);

/** flow_peek() - like flow_find() without touching its age. */
void *flow_peek(const struct flow_table *t, const struct flow_key *k);

/** flow_add() - a new zeroed entry for a key that is not there; NULL when the table is full. */
void *flow_add(struct flow_table *t, const struct flow_key *k, uint64_t now_us);
void flow_remove(struct flow_table *t, struct flow_node *n);

/**
 * flow_index() - the entry's number below the capacity, for arrays beside the table.
 * flow_at() - the other way round, in use or not; NULL beyond the capacity.
 */
void *flow_at(const struct flow_table *t, uint32_t index);
uint32_t flow_index(const struct flow_table *t, const struct flow_node *n);

/** flow_oldest() - the entry unused for longest, or NULL; the caller decides whether it may go. */
void *flow_oldest(const struct flow_table *t);

#endif
