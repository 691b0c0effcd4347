// SPDX-License-Identifier: GPL-2.0-or-later
/* ARP and neighbour discovery: learned, answered in the neighbours' name, and announced. */
#include "proxy/neigh.h"

#include "base/bytes.h"
#include "base/util.h"

#include <netinet/in.h>
#include <string.h>

#define FRAME_MIN       60 /* of Ethernet, without its checksum */
#define ARP_BYTES       28
#define IP6_BYTES       40
#define ND_HOP_LIMIT    255 /* RFC 4861: anything less came through a router */
#define ETHERTYPE_TAG   0x8100
#define ETHERTYPE_RARP_ 0x8035

enum { ARP_REQUEST = 1, ARP_REPLY = 2, RARP_REQUEST = 3 };
enum { ND_RS = 133, ND_RA, ND_NS, ND_NA };
enum { ND_OPT_SOURCE = 1, ND_OPT_TARGET = 2 };
enum { NA_ROUTER = 0x80, NA_SOLICITED = 0x40, NA_OVERRIDE = 0x20 };

static const uint8_t mac_all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t mac_none[6];

/** struct nd - a neighbour discovery message; @mac is its link-layer address option or NULL */
struct nd {
	uint8_t type;
	bool router; /* it is said to come from one */
	struct ip_addr src, target;
	const uint8_t *mac;
};

static bool is_host(const struct ip_addr *a)
{
	static const struct ip_addr none;

	if (ip_addr_is_ip4(a))
		return memcmp(a->b + 12, none.b, 4) != 0 && a->b[12] < 224;
	return memcmp(a, &none, sizeof(none)) != 0 && a->b[0] != 0xff;
}

static bool is_unicast(const uint8_t mac[6])
{
	return !(mac[0] & 1) && memcmp(mac, mac_none, 6) != 0;
}

/* RFC 4861 4.6: options are (type, length in 8 bytes). NULL when @want is not among them. */
static const uint8_t *nd_option(const uint8_t *p, size_t len, uint8_t want)
{
	while (len >= 8) {
		size_t bytes = p[1] * 8u;

		if (!bytes || bytes > len)
			return NULL;
		if (p[0] == want)
			return p + 2;
		p += bytes;
		len -= bytes;
	}
	return NULL;
}

static bool nd_parse(struct nd *nd, const struct pkt *p)
{
	/* Where the options begin, of the four types that carry addresses. */
	static const uint8_t options_at[] = {8, 16, 24, 24};
	const uint8_t *m = p->data + p->payload_off;
	uint8_t off;

	if (p->kind != PKT_NEIGHBOUR || p->data[7] != ND_HOP_LIMIT)
		return false;
	if (m[0] < ND_RS || m[0] > ND_NA)
		return false;
	off = options_at[m[0] - ND_RS];
	if (p->payload_len < off)
		return false;
	*nd = (struct nd){.type = m[0], .src = p->src};
	if (nd->type == ND_NS || nd->type == ND_NA)
		memcpy(nd->target.b, m + 8, 16);
	nd->router = nd->type == ND_RA || (nd->type == ND_NA && m[4] & NA_ROUTER);
	nd->mac = nd_option(m + off, p->payload_len - off,
			    nd->type == ND_NA ? ND_OPT_TARGET : ND_OPT_SOURCE);
	return true;
}

static struct neigh_entry *entry_find(const struct neigh_entry *e, unsigned count,
				      const struct ip_addr *addr, uint16_t vlan)
{
	for (unsigned i = 0; i < count; i++)
		if (e[i].vlan == vlan && !memcmp(&e[i].addr, addr, sizeof(*addr)))
			return (struct neigh_entry *)&e[i];
	return NULL;
}

/* A guest that routes is sent what is meant for its neighbours. */
static bool is_neighbours(const struct neigh *n, const struct ip_addr *addr, uint16_t vlan)
{
	const struct neigh_entry *e = entry_find(n->entries, n->count, addr, vlan);

	return e && memcmp(e->mac, n->mac, 6) != 0;
}

/* The entry for @addr: there, new, or in place of the oldest. NULL for what is no host's address. */
static struct neigh_entry *entry_get(struct neigh *n, struct neigh_entry *e, unsigned *count,
				     unsigned max, const struct ip_addr *addr, uint16_t vlan)
{
	struct neigh_entry *found = entry_find(e, *count, addr, vlan);

	if (!is_host(addr))
		return NULL;
	if (!found && *count < max)
		found = &e[(*count)++];
	if (!found) {
		found = e;
		for (unsigned i = 1; i < max; i++)
			if (e[i].used < found->used)
				found = &e[i];
		memset(found, 0, sizeof(*found));
	}
	found->addr = *addr;
	found->vlan = vlan;
	found->used = ++n->clock;
	return found;
}

/* @router: 1 and 0 as it says, -1 it does not say. */
static void learn(struct neigh *n, const struct ip_addr *addr, uint16_t vlan, const uint8_t *mac,
		  int router)
{
	struct neigh_entry *e;

	if (!mac || !is_unicast(mac))
		return;
	e = entry_get(n, n->entries, &n->count, NEIGH_ENTRIES, addr, vlan);
	if (!e)
		return;
	memcpy(e->mac, mac, 6);
	if (router >= 0)
		e->router = router;
}

static void learn_own(struct neigh *n, const struct ip_addr *addr, uint16_t vlan,
		      const uint8_t mac[6], int router)
{
	struct neigh_entry *e;

	if (!is_unicast(mac))
		return;
	e = entry_get(n, n->own, &n->own_count, NEIGH_OWN, addr, vlan);
	if (!e)
		return;
	memcpy(e->mac, mac, 6);
	if (router >= 0)
		e->router = router;
}

void neigh_init(struct neigh *n, const uint8_t mac[6])
{
	memset(n, 0, sizeof(*n));
	memcpy(n->mac, mac, 6);
}

void neigh_learn_own(struct neigh *n, const struct ip_addr *addr, uint16_t vlan)
{
	if (!entry_find(n->own, n->own_count, addr, vlan) && !is_neighbours(n, addr, vlan))
		learn_own(n, addr, vlan, n->mac, -1);
}

static void learn_nd(struct neigh *n, uint16_t vlan, const struct pkt *p)
{
	struct nd nd;

	if (!nd_parse(&nd, p))
		return;
	if (nd.type == ND_NA)
		learn(n, &nd.target, vlan, nd.mac, nd.router);
	else
		learn(n, &nd.src, vlan, nd.mac, nd.type == ND_RA ? 1 : -1);
}

void neigh_learn_in(struct neigh *n, const void *frame, size_t len)
{
	const uint8_t *d = frame;
	struct frame f;
	struct arp a;
	struct pkt p;

	if (frame_parse(&f, frame, len))
		return;
	if (f.ethertype == ETHERTYPE_ARP_ && !arp_parse(&a, d + f.l3_off, len - f.l3_off)) {
		learn(n, &a.sender, f.vlan, a.sender_mac, -1);
	} else if (f.ethertype == ETHERTYPE_IPV6) {
		pkt_parse_ip(&p, d + f.l3_off, len - f.l3_off, f.vlan);
		learn_nd(n, f.vlan, &p);
	}
}

static void learn_own_nd(struct neigh *n, const struct frame *f, const struct pkt *p)
{
	struct nd nd;

	if (!nd_parse(&nd, p))
		return;
	if (nd.type == ND_NA)
		learn_own(n, &nd.target, f->vlan, nd.mac ? nd.mac : f->src, nd.router);
	else
		learn_own(n, &nd.src, f->vlan, f->src, nd.type == ND_RA ? 1 : -1);
}

void neigh_learn_out(struct neigh *n, const void *frame, size_t len)
{
	const uint8_t *d = frame;
	struct frame f;
	struct arp a;
	struct pkt p;

	if (frame_parse(&f, frame, len))
		return;
	if (f.ethertype == ETHERTYPE_ARP_ && !arp_parse(&a, d + f.l3_off, len - f.l3_off)) {
		learn_own(n, &a.sender, f.vlan, a.sender_mac, -1);
	} else if (f.ethertype == ETHERTYPE_IPV6) {
		pkt_parse_ip(&p, d + f.l3_off, len - f.l3_off, f.vlan);
		learn_own_nd(n, &f, &p);
	}
}

static size_t pad(uint8_t *frame, size_t len)
{
	if (len >= FRAME_MIN)
		return len;
	memset(frame + len, 0, FRAME_MIN - len);
	return FRAME_MIN;
}

static void put_arp(uint8_t *p, unsigned op, const uint8_t *sender_mac, const uint8_t *sender,
		    const uint8_t *target_mac, const uint8_t *target)
{
	static const uint8_t ethernet_ip4[6] = {0, 1, 8, 0, 6, 4};

	memcpy(p, ethernet_ip4, 6);
	put_be16(p + 6, op);
	memcpy(p + 8, sender_mac, 6);
	memcpy(p + 14, sender, 4);
	memcpy(p + 18, target_mac, 6);
	memcpy(p + 24, target, 4);
}

/* A neighbour advertisement of @e for @dst: IPv6 header, message, option. RFC 4861 4.4. */
#define NA_BYTES (IP6_BYTES + 32)
static void put_na(uint8_t *p, const struct neigh_entry *e, const uint8_t dst[16], uint8_t flags)
{
	uint8_t *m = p + IP6_BYTES;
	uint32_t sum = 32 + IPPROTO_ICMPV6;

	memset(p, 0, NA_BYTES);
	p[0] = 0x60;
	put_be16(p + 4, 32);
	p[6] = IPPROTO_ICMPV6;
	p[7] = ND_HOP_LIMIT;
	memcpy(p + 8, e->addr.b, 16);
	memcpy(p + 24, dst, 16);
	m[0] = ND_NA;
	m[4] = flags | (e->router ? NA_ROUTER : 0);
	memcpy(m + 8, e->addr.b, 16);
	m[24] = ND_OPT_TARGET;
	m[25] = 1;
	memcpy(m + 26, e->mac, 6);
	for (unsigned i = 8; i < NA_BYTES; i += 2)
		sum += get_be16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	put_be16(m + 2, (uint16_t) ~(sum + (sum >> 16)));
}

/* Ethernet header and tags of an answer to @question. Returns where its contents begin. */
static size_t put_outside(uint8_t *reply, const uint8_t *question, const struct frame *f,
			  const uint8_t mac[6])
{
	memcpy(reply, f->src, 6);
	memcpy(reply + 6, mac, 6);
	memcpy(reply + 12, question + 12, f->l3_off - 12);
	return f->l3_off;
}

static int answer_arp(struct neigh *n, const struct frame *f, const uint8_t *d, size_t len,
		      uint8_t *reply)
{
	struct neigh_entry *e;
	struct arp a;
	size_t at;

	if (arp_parse(&a, d + f->l3_off, len - f->l3_off) || a.op != ARP_REQUEST)
		return -1;
	/* A probe of its own address (RFC 5227) gets no answer; nor does an announcement. */
	if (!is_host(&a.sender) || !memcmp(&a.sender, &a.target, sizeof(a.target)))
		return -1;
	e = entry_find(n->entries, n->count, &a.target, f->vlan);
	if (!e)
		return -1;
	e->used = ++n->clock;
	at = put_outside(reply, d, f, e->mac);
	put_arp(reply + at, ARP_REPLY, e->mac, a.target.b + 12, a.sender_mac, a.sender.b + 12);
	return (int)pad(reply, at + ARP_BYTES);
}

static int answer_nd(struct neigh *n, const struct frame *f, const uint8_t *d, const struct pkt *p,
		     uint8_t *reply)
{
	struct neigh_entry *e;
	struct nd nd;
	size_t at;

	if (!nd_parse(&nd, p) || nd.type != ND_NS)
		return -1;
	/* From nowhere: duplicate address detection (RFC 4862 5.4.2). */
	if (!is_host(&nd.src))
		return -1;
	e = entry_find(n->entries, n->count, &nd.target, f->vlan);
	if (!e)
		return -1;
	e->used = ++n->clock;
	at = put_outside(reply, d, f, e->mac);
	put_na(reply + at, e, nd.src.b, NA_SOLICITED | NA_OVERRIDE);
	return (int)pad(reply, at + NA_BYTES);
}

int neigh_filter_out(struct neigh *n, const void *frame, size_t len, uint8_t reply[NEIGH_FRAME_MAX])
{
	const uint8_t *d = frame;
	struct frame f;
	struct pkt p;
	bool room;

	if (frame_parse(&f, frame, len))
		return 0;
	room = f.l3_off + NA_BYTES <= NEIGH_FRAME_MAX;
	if (f.ethertype == ETHERTYPE_ARP_)
		return room ? answer_arp(n, &f, d, len, reply) : -1;
	if (f.ethertype != ETHERTYPE_IPV6)
		return 0;
	pkt_parse_ip(&p, d + f.l3_off, len - f.l3_off, f.vlan);
	if (p.kind != PKT_NEIGHBOUR)
		return 0;
	return room ? answer_nd(n, &f, d, &p, reply) : -1;
}

static size_t put_announcement(uint8_t *frame, const uint8_t *dst, const uint8_t *src,
			       uint16_t vlan, uint16_t type)
{
	size_t at = 12;

	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	if (vlan) {
		put_be16(frame + at, ETHERTYPE_TAG);
		put_be16(frame + at + 2, vlan);
		at += 4;
	}
	put_be16(frame + at, type);
	return at + 2;
}

/* As QEMU's net/announce.c makes it: switches learn the MAC from it. */
static size_t announce_rarp(const struct neigh *n, uint8_t *frame)
{
	size_t at = put_announcement(frame, mac_all, n->mac, 0, ETHERTYPE_RARP_);

	put_arp(frame + at, RARP_REQUEST, n->mac, mac_none, n->mac, mac_none);
	return pad(frame, at + ARP_BYTES);
}

size_t neigh_announcement(const struct neigh *n, unsigned i, uint8_t frame[NEIGH_FRAME_MAX])
{
	static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
	static const uint8_t mac_all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
	const struct neigh_entry *e;
	size_t at;

	if (i > n->own_count)
		return 0;
	e = &n->own[i];
	if (i == n->own_count || is_neighbours(n, &e->addr, e->vlan))
		return announce_rarp(n, frame);
	if (ip_addr_is_ip4(&e->addr)) {
		at = put_announcement(frame, mac_all, e->mac, e->vlan, ETHERTYPE_ARP_);
		put_arp(frame + at, ARP_REQUEST, e->mac, e->addr.b + 12, mac_none, e->addr.b + 12);
		return pad(frame, at + ARP_BYTES);
	}
	at = put_announcement(frame, mac_all_nodes, e->mac, e->vlan, ETHERTYPE_IPV6);
	put_na(frame + at, e, all_nodes, NA_OVERRIDE);
	return pad(frame, at + NA_BYTES);
}
