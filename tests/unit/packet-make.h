/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builder of frames and packets for tests: append headers and data, then mk_end() completes. */
#ifndef TESTS_UNIT_PACKET_MAKE_H
#define TESTS_UNIT_PACKET_MAKE_H

#include "proxy/packet.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

/*
 *	struct mk m;
 *
 *	mk_start(&m);
 *	mk_eth(&m, mk_mac_peer, mk_mac_guest);           (leave out for a bare IP packet)
 *	mk_vlan(&m, 0x8100, 5);
 *	mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_TCP);  (or two IPv6 addresses)
 *	mk_tcp(&m, 80, 41234, TCP_ACK, seq, ack);
 *	mk_tcp_ts(&m, tsval, tsecr);
 *	mk_data(&m, "hello", 5);
 *	mk_end(&m);
 *
 * The packet: m.b, m.len. From its IP header on: mk_l3(&m), mk_l3_len(&m).
 */

#define MK_MAX  100000
#define MK_NONE SIZE_MAX

struct mk {
	size_t len;
	size_t type_at; /* where the EtherType goes */
	size_t l3, l4;  /* offsets, MK_NONE while there is none */
	size_t next_at; /* where IPv6 says what follows */
	size_t tcp_at;  /* the TCP header whose options may still grow */
	uint8_t proto;  /* of the transport header */
	bool ip6, fragment;
	uint8_t b[MK_MAX];
};

static const uint8_t mk_mac_guest[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
static const uint8_t mk_mac_peer[6] = {0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc};
static const uint8_t mk_mac_all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static inline void mk_start(struct mk *m)
{
	memset(m, 0, offsetof(struct mk, b));
	m->type_at = m->l3 = m->l4 = m->next_at = m->tcp_at = MK_NONE;
}

static inline void mk_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void mk_put32(uint8_t *p, uint32_t v)
{
	mk_put16(p, v >> 16);
	mk_put16(p + 2, v & 0xffff);
}

/** mk_more() - @n zeroed bytes at the end. */
static inline uint8_t *mk_more(struct mk *m, size_t n)
{
	uint8_t *p = m->b + m->len;

	assert(n <= MK_MAX - m->len);
	memset(p, 0, n);
	m->len += n;
	return p;
}

static inline void mk_data(struct mk *m, const void *data, size_t n)
{
	uint8_t *p = mk_more(m, n);

	if (n)
		memcpy(p, data, n);
}

/** mk_fill() - @n bytes from place @at of the endless stream @seed. */
static inline void mk_fill(struct mk *m, uint32_t seed, uint64_t at, size_t n)
{
	uint8_t *p = mk_more(m, n);

	for (size_t i = 0; i < n; i++) {
		uint64_t x =
			(at + i + 1) * 0x9e3779b97f4a7c15 + seed * UINT64_C(0xbf58476d1ce4e5b9);

		p[i] = (uint8_t)(x >> 56 ^ x >> 24);
	}
}

static inline void mk_eth(struct mk *m, const uint8_t dst[6], const uint8_t src[6])
{
	mk_data(m, dst, 6);
	mk_data(m, src, 6);
	m->type_at = m->len;
	mk_more(m, 2);
}

/** mk_vlan() - a tag (@tpid 0x8100 or 0x88a8); call again for an inner one. */
static inline void mk_vlan(struct mk *m, unsigned tpid, unsigned id)
{
	mk_put16(m->b + m->type_at, tpid);
	mk_put16(mk_more(m, 2), id);
	m->type_at = m->len;
	mk_more(m, 2);
}

static inline void mk_ethertype(struct mk *m, unsigned type)
{
	if (m->type_at != MK_NONE)
		mk_put16(m->b + m->type_at, type);
}

/** mk_ip() - an IPv4 or IPv6 header, as the addresses say. */
static inline void mk_ip(struct mk *m, const char *src, const char *dst, uint8_t proto)
{
	int family = strchr(src, ':') ? AF_INET6 : AF_INET;
	uint8_t *p;
	int ok;

	m->ip6 = family == AF_INET6;
	m->l3 = m->len;
	m->proto = proto;
	mk_ethertype(m, m->ip6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	p = mk_more(m, m->ip6 ? 40 : 20);
	m->l4 = m->len;
	m->next_at = m->l3 + (m->ip6 ? 6 : 9);
	p[0] = m->ip6 ? 0x60 : 0x45;
	p[m->ip6 ? 7 : 8] = 64;
	m->b[m->next_at] = proto;
	ok = inet_pton(family, src, p + (m->ip6 ? 8 : 12));
	ok &= inet_pton(family, dst, p + (m->ip6 ? 24 : 16));
	assert(ok == 1);
	(void)ok;
}

/** mk_ip_id() - the IPv4 identification. */
static inline void mk_ip_id(struct mk *m, unsigned id)
{
	mk_put16(m->b + m->l3 + 4, id);
}

/** mk_ip4_options() - right behind mk_ip(); @n a multiple of 4. */
static inline void mk_ip4_options(struct mk *m, const void *options, size_t n)
{
	assert(!m->ip6 && m->len == m->l4 && n % 4 == 0 && n <= 40);
	mk_data(m, options, n);
	m->l4 = m->len;
	m->b[m->l3] = (uint8_t)(0x40 | (m->l4 - m->l3) / 4);
}

/** mk_ip6_ext() - an extension header of 8 + 8 * @units bytes, body zero; returns it. In order of
 * appearance, before the transport header. */
static inline uint8_t *mk_ip6_ext(struct mk *m, uint8_t type, unsigned units)
{
	uint8_t *p = mk_more(m, 8 + 8 * (size_t)units);

	p[0] = m->b[m->next_at];
	p[1] = (uint8_t)units;
	m->b[m->next_at] = type;
	m->next_at = (size_t)(p - m->b);
	m->l4 = m->len;
	return p;
}

/** mk_fragment() - make it a fragment by hand: @off in bytes. mk_cut() is easier. */
static inline void mk_fragment(struct mk *m, uint32_t id, unsigned off, bool more)
{
	uint8_t *p;

	m->fragment = off || more;
	if (m->ip6) {
		p = mk_ip6_ext(m, IPPROTO_FRAGMENT, 0);
		mk_put16(p + 2, off | more);
		mk_put32(p + 4, id);
		return;
	}
	mk_ip_id(m, id);
	mk_put16(m->b + m->l3 + 6, off / 8 | (more ? 0x2000u : 0));
}

static inline void mk_tcp(struct mk *m, unsigned sport, unsigned dport, unsigned flags,
			  uint32_t seq, uint32_t ack)
{
	uint8_t *p = mk_more(m, 20);

	m->tcp_at = (size_t)(p - m->b);
	mk_put16(p, sport);
	mk_put16(p + 2, dport);
	mk_put32(p + 4, seq);
	mk_put32(p + 8, ack);
	p[12] = 5 << 4;
	p[13] = (uint8_t)flags;
	mk_put16(p + 14, 29200);
}

/** mk_tcp_option() - raw option bytes behind mk_tcp(), padded with NOPs to 4 bytes. */
static inline void mk_tcp_option(struct mk *m, const void *option, size_t n)
{
	mk_data(m, option, n);
	while ((m->len - m->tcp_at) % 4)
		*mk_more(m, 1) = 1;
	assert(m->len - m->tcp_at <= 60);
	m->b[m->tcp_at + 12] = (uint8_t)((m->len - m->tcp_at) / 4 << 4);
}

static inline void mk_tcp_ts(struct mk *m, uint32_t tsval, uint32_t tsecr)
{
	uint8_t o[12] = {1, 1, 8, 10};

	mk_put32(o + 4, tsval);
	mk_put32(o + 8, tsecr);
	mk_tcp_option(m, o, sizeof(o));
}

/** mk_tcp_sack() - @count blocks (start, end) from @edges. */
static inline void mk_tcp_sack(struct mk *m, const uint32_t *edges, unsigned count)
{
	uint8_t o[36] = {1, 1, 5, (uint8_t)(2 + 8 * count)};

	assert(count <= 4);
	for (unsigned i = 0; i < 2 * count; i++)
		mk_put32(o + 4 + 4 * (size_t)i, edges[i]);
	mk_tcp_option(m, o, 4 + 8 * (size_t)count);
}

static inline void mk_tcp_window(struct mk *m, unsigned window)
{
	mk_put16(m->b + m->tcp_at + 14, window);
}

static inline void mk_tcp_urgent(struct mk *m, unsigned urgent)
{
	m->b[m->tcp_at + 13] |= TCP_URG;
	mk_put16(m->b + m->tcp_at + 18, urgent);
}

static inline void mk_udp(struct mk *m, unsigned sport, unsigned dport)
{
	uint8_t *p = mk_more(m, 8);

	mk_put16(p, sport);
	mk_put16(p + 2, dport);
}

/** mk_icmp() - the first 8 bytes, of ICMP or ICMPv6; @id and @seq as in an echo. */
static inline void mk_icmp(struct mk *m, unsigned type, unsigned code, unsigned id, unsigned seq)
{
	uint8_t *p = mk_more(m, 8);

	p[0] = (uint8_t)type;
	p[1] = (uint8_t)code;
	mk_put16(p + 4, id);
	mk_put16(p + 6, seq);
}

/** mk_nd() - behind mk_ip(IPPROTO_ICMPV6): neighbour solicitation (135) or advertisement (136), with
 * the option of @mac's address unless NULL. */
static inline void mk_nd(struct mk *m, unsigned type, const char *target, const uint8_t mac[6])
{
	uint8_t *p = mk_more(m, 24);
	int ok = inet_pton(AF_INET6, target, p + 8);

	assert(ok == 1);
	(void)ok;
	m->b[m->l3 + 7] = 255;
	p[0] = (uint8_t)type;
	p[4] = type == 136 ? 0x60 : 0;
	if (!mac)
		return;
	p = mk_more(m, 8);
	p[0] = type == 136 ? 2 : 1;
	p[1] = 1;
	memcpy(p + 2, mac, 6);
}

/** mk_arp() - behind mk_eth(); @op 1 request, 2 reply. Needs no mk_end(). */
static inline void mk_arp(struct mk *m, unsigned op, const uint8_t sender_mac[6],
			  const char *sender, const uint8_t target_mac[6], const char *target)
{
	uint8_t *p;
	int ok;

	mk_ethertype(m, ETHERTYPE_ARP_);
	p = mk_more(m, 28);
	mk_put16(p, 1);
	mk_put16(p + 2, ETHERTYPE_IPV4);
	p[4] = 6;
	p[5] = 4;
	mk_put16(p + 6, op);
	memcpy(p + 8, sender_mac, 6);
	ok = inet_pton(AF_INET, sender, p + 14);
	memcpy(p + 18, target_mac, 6);
	ok &= inet_pton(AF_INET, target, p + 24);
	assert(ok == 1);
	(void)ok;
}

static inline uint64_t mk_sum(const uint8_t *p, size_t n, uint64_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
	return sum;
}

static inline uint16_t mk_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static inline uint8_t *mk_l3(struct mk *m)
{
	return m->b + m->l3;
}

static inline size_t mk_l3_len(const struct mk *m)
{
	return m->len - m->l3;
}

/** mk_checksum_at() - where the transport's checksum lies, NULL when it has none. */
static inline uint8_t *mk_checksum_at(struct mk *m)
{
	switch (m->proto) {
	case IPPROTO_TCP:
		return m->b + m->l4 + 16;
	case IPPROTO_UDP:
		return m->b + m->l4 + 6;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return m->b + m->l4 + 2;
	default:
		return NULL;
	}
}

/** mk_l4_checksum() - what the transport's checksum field, now 0, ought to hold. */
static inline uint16_t mk_l4_checksum(struct mk *m)
{
	size_t addr = m->l3 + (m->ip6 ? 8 : 12), n = m->len - m->l4;
	uint64_t sum = 0;
	uint16_t c;

	if (m->proto != IPPROTO_ICMP)
		sum = mk_sum(m->b + addr, m->ip6 ? 32 : 8, (n & 0xffff) + (n >> 16) + m->proto);
	c = mk_fold(mk_sum(m->b + m->l4, n, sum));
	return m->proto == IPPROTO_UDP && !c ? 0xffff : c;
}

static inline void mk_ip_end(struct mk *m)
{
	size_t n = mk_l3_len(m);
	uint8_t *p = mk_l3(m);

	if (m->ip6) {
		mk_put16(p + 4, n - 40 > 0xffff ? 0 : (unsigned)n - 40);
		return;
	}
	mk_put16(p + 2, n > 0xffff ? 0 : (unsigned)n);
	mk_put16(p + 10, 0);
	mk_put16(p + 10, mk_fold(mk_sum(p, (p[0] & 15u) * 4, 0)));
}

/** mk_end() - fill in lengths and checksums; again after a change to the packet. */
static inline void mk_end(struct mk *m)
{
	uint8_t *sum = mk_checksum_at(m);

	mk_ip_end(m);
	if (m->fragment || !sum)
		return;
	if (m->proto == IPPROTO_UDP)
		mk_put16(m->b + m->l4 + 4, (unsigned)(m->len - m->l4));
	mk_put16(sum, 0);
	mk_put16(sum, mk_l4_checksum(m));
}

/** mk_checksums_ok() - of the IPv4 header and the transport, as a receiver would look at them. */
static inline bool mk_checksums_ok(const struct mk *whole)
{
	struct mk m = *whole;
	uint8_t *sum = mk_checksum_at(&m);
	uint16_t was;

	if (!m.ip6 && mk_fold(mk_sum(mk_l3(&m), (m.b[m.l3] & 15u) * 4, 0)))
		return false;
	if (!sum)
		return true;
	was = (uint16_t)(sum[0] << 8 | sum[1]);
	mk_put16(sum, 0);
	return was == mk_l4_checksum(&m);
}

/**
 * mk_cut() - the fragment of an ended packet that carries @n bytes from @off of what follows the IP
 * header (@off, and @n but for the last one, multiples of 8).
 */
static inline void mk_cut(struct mk *out, const struct mk *whole, uint32_t id, unsigned off,
			  size_t n)
{
	size_t total = whole->len - whole->l4;

	assert(off + n <= total);
	memcpy(out, whole, offsetof(struct mk, b) + whole->l4);
	out->len = whole->l4;
	mk_fragment(out, id, off, off + n < total);
	out->l4 = out->len;
	mk_data(out, whole->b + whole->l4 + off, n);
	mk_end(out);
}

/** mk_tcp_packet(), mk_udp_packet() - whole ones without Ethernet header, for the common case. */
static inline void mk_tcp_packet(struct mk *m, const char *src, unsigned sport, const char *dst,
				 unsigned dport, unsigned flags, uint32_t seq, uint32_t ack,
				 const void *data, size_t n)
{
	mk_start(m);
	mk_ip(m, src, dst, IPPROTO_TCP);
	mk_tcp(m, sport, dport, flags, seq, ack);
	mk_data(m, data, n);
	mk_end(m);
}

static inline void mk_udp_packet(struct mk *m, const char *src, unsigned sport, const char *dst,
				 unsigned dport, const void *data, size_t n)
{
	mk_start(m);
	mk_ip(m, src, dst, IPPROTO_UDP);
	mk_udp(m, sport, dport);
	mk_data(m, data, n);
	mk_end(m);
}

/** mk_parse() - the packet as the parser understands it. */
static inline struct pkt mk_parse(struct mk *m)
{
	struct pkt p;

	pkt_parse_ip(&p, mk_l3(m), mk_l3_len(m), 0);
	return p;
}

#endif
