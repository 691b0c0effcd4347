// SPDX-License-Identifier: GPL-2.0-or-later
/* Flow table: hash buckets over entries allocated at once, chained by age. */
#include "proxy/flow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

_Static_assert(sizeof(struct flow_key) == 40, "a key is compared as bytes: no padding");

static void fill_key(struct flow_key *k, const struct pkt *p, uint8_t nic, bool from_guest)
{
	*k = (struct flow_key){
		.guest = from_guest ? p->src : p->dst,
		.peer = from_guest ? p->dst : p->src,
		.guest_port = from_guest ? p->sport : p->dport,
		.peer_port = from_guest ? p->dport : p->sport,
		.vlan = p->vlan,
		.proto = p->proto,
		.nic = nic,
	};
}

void flow_key_out(struct flow_key *k, const struct pkt *p, uint8_t nic)
{
	fill_key(k, p, nic, true);
}

void flow_key_in(struct flow_key *k, const struct pkt *p, uint8_t nic)
{
	fill_key(k, p, nic, false);
}

/* Address and, where the protocol has ports, the port behind it. */
#define ENDPOINT_MAX (INET6_ADDRSTRLEN + 8)
static void endpoint_text(const struct flow_key *k, const struct ip_addr *a, uint16_t port,
			  char out[ENDPOINT_MAX])
{
	bool ports = k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP;
	bool ip4 = ip_addr_is_ip4(a);
	char text[INET6_ADDRSTRLEN] = "?";

	inet_ntop(ip4 ? AF_INET : AF_INET6, a->b + (ip4 ? 12 : 0), text, sizeof(text));
	if (!ports)
		snprintf(out, ENDPOINT_MAX, "%s", text);
	else
		snprintf(out, ENDPOINT_MAX, ip4 ? "%s:%u" : "[%s]:%u", text, port);
}

#define PROTO_MAX 13
static void proto_text(uint8_t proto, char out[PROTO_MAX])
{
	const char *name = proto == IPPROTO_TCP      ? "tcp"
			   : proto == IPPROTO_UDP    ? "udp"
			   : proto == IPPROTO_ICMP   ? "icmp"
			   : proto == IPPROTO_ICMPV6 ? "icmp6"
						     : NULL;

	if (name)
		snprintf(out, PROTO_MAX, "%s", name);
	else
		snprintf(out, PROTO_MAX, "protocol %u", proto);
}

const char *flow_key_text(const struct flow_key *k, char buf[FLOW_TEXT_MAX])
{
	static const struct ip_addr none;
	bool echo = k->proto == IPPROTO_ICMP || k->proto == IPPROTO_ICMPV6;
	char guest[ENDPOINT_MAX], peer[ENDPOINT_MAX], proto[PROTO_MAX], id[10] = "", vlan[12] = "";

	if (echo && k->guest_port)
		snprintf(id, sizeof(id), " id %u", k->guest_port);
	if (k->vlan)
		snprintf(vlan, sizeof(vlan), " vlan %u", k->vlan);
	endpoint_text(k, &k->guest, k->guest_port, guest);
	endpoint_text(k, &k->peer, k->peer_port, peer);
	proto_text(k->proto, proto);
	if (!memcmp(&k->guest, &none, sizeof(none)) && !memcmp(&k->peer, &none, sizeof(none)))
		snprintf(buf, FLOW_TEXT_MAX, "opaque nic %u%s", k->nic, vlan);
	else
		snprintf(buf, FLOW_TEXT_MAX, "%s %s <-> %s%s nic %u%s", proto, guest, peer, id,
			 k->nic, vlan);
	return buf;
}

static struct flow_node *node_at(const struct flow_table *t, uint32_t i)
{
	return (struct flow_node *)(void *)(t->entries + i * t->entry_bytes);
}

static struct flow_node **bucket_of(const struct flow_table *t, const struct flow_key *k)
{
	return &t->buckets[XXH3_64bits_withSeed(k, sizeof(*k), t->seed) & t->bucket_mask];
}

static uint32_t bucket_count(uint32_t capacity)
{
	uint32_t n = 1;

	while (n < capacity && n < UINT32_C(1) << 31)
		n *= 2;
	return n;
}

int flow_table_init(struct flow_table *t, uint32_t capacity, size_t entry_bytes, uint64_t seed)
{
	uint32_t buckets = bucket_count(capacity);

	*t = (struct flow_table){
		.entry_bytes = ALIGN_UP(entry_bytes, _Alignof(max_align_t)),
		.capacity = capacity,
		.bucket_mask = buckets - 1,
		.seed = seed,
	};
	list_init(&t->by_age);
	t->buckets = calloc(buckets, sizeof(struct flow_node *));
	t->entries = calloc(capacity, t->entry_bytes);
	if (!t->buckets || (!t->entries && capacity)) {
		flow_table_destroy(t);
		return -ENOMEM;
	}
	for (uint32_t i = capacity; i-- > 0;) {
		node_at(t, i)->next = t->free;
		t->free = node_at(t, i);
	}
	return 0;
}

void flow_table_destroy(struct flow_table *t)
{
	free(t->buckets);
	free(t->entries);
	*t = (struct flow_table){};
}

void *flow_peek(const struct flow_table *t, const struct flow_key *k)
{
	struct flow_node *n = *bucket_of(t, k);

	while (n && memcmp(&n->key, k, sizeof(*k)) != 0)
		n = n->next;
	return n;
}

static void make_young(struct flow_table *t, struct flow_node *n, uint64_t now_us)
{
	list_del(&n->age);
	list_add_tail(&t->by_age, &n->age);
	n->used_us = now_us;
}

void *flow_find(struct flow_table *t, const struct flow_key *k, uint64_t now_us)
{
	struct flow_node *n = flow_peek(t, k);

	if (n)
		make_young(t, n, now_us);
	return n;
}

void *flow_add(struct flow_table *t, const struct flow_key *k, uint64_t now_us)
{
	struct flow_node **bucket = bucket_of(t, k), *n = t->free;

	if (!n)
		return NULL;
	t->free = n->next;
	t->used++;
	memset(n, 0, t->entry_bytes);
	n->key = *k;
	n->next = *bucket;
	*bucket = n;
	list_init(&n->age);
	make_young(t, n, now_us);
	return n;
}

void flow_remove(struct flow_table *t, struct flow_node *n)
{
	struct flow_node **at = bucket_of(t, &n->key);

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	list_del(&n->age);
	n->next = t->free;
	t->free = n;
	t->used--;
}

uint32_t flow_index(const struct flow_table *t, const struct flow_node *n)
{
	return (uint32_t)((size_t)((const uint8_t *)n - t->entries) / t->entry_bytes);
}

void *flow_at(const struct flow_table *t, uint32_t index)
{
	return index < t->capacity ? node_at(t, index) : NULL;
}

void *flow_oldest(const struct flow_table *t)
{
	return list_empty(&t->by_age) ? NULL : list_entry(t->by_age.next, struct flow_node, age);
}
