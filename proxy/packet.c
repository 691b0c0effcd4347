// SPDX-License-Identifier: GPL-2.0-or-later
/* Parsing of frames and packets: every offset is checked before it is read. */
#include "proxy/packet.h"

#include "base/bytes.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define ETHERTYPE_VLAN_   0x8100
#define ETHERTYPE_QINQ_   0x88a8
#define IP4_HEADER_BYTES  20
#define IP6_HEADER_BYTES  40
#define TCP_HEADER_BYTES  20
#define UDP_HEADER_BYTES  8
#define ICMP_HEADER_BYTES 8
#define TCP_QUOTED_MIN    8
#define IP6_EXT_UNIT      8

/* More extension headers than anybody sends; also keeps every TCP header below offset 64 K. */
#define IP6_EXT_MAX 16

/* RFC 4291, 2.5.5.2 */
static const uint8_t ip4_mapped[12] = {[10] = 0xff, [11] = 0xff};

void ip_addr_set_ip4(struct ip_addr *a, const uint8_t *ip4)
{
	memcpy(a->b, ip4_mapped, sizeof(ip4_mapped));
	memcpy(a->b + sizeof(ip4_mapped), ip4, 4);
}

bool ip_addr_is_ip4(const struct ip_addr *a)
{
	return !memcmp(a->b, ip4_mapped, sizeof(ip4_mapped));
}

/* Nothing that was found so far counts, but how far the packet reaches. */
static void set_opaque(struct pkt *p)
{
	*p = (struct pkt){
		.data = p->data,
		.len = p->len,
		.kind = PKT_OPAQUE,
		.ip_version = p->ip_version,
		.vlan = p->vlan,
		.payload_len = p->len,
	};
}

static void set_payload(struct pkt *p, enum pkt_kind kind, uint32_t off)
{
	p->kind = kind;
	p->payload_off = off;
	p->payload_len = p->len - off;
}

static void tcp_option(struct pkt *p, uint32_t at, unsigned kind, unsigned len)
{
	const uint8_t *o = p->data + at;

	if (kind == 8 && len == 10) { /* timestamps, RFC 7323 */
		p->ts_off = (uint16_t)(at + 2);
		p->tsval = get_be32(o + 2);
		p->tsecr = get_be32(o + 6);
	} else if (kind == 5 && len > 2 && (len - 2) % 8 == 0) { /* SACK, RFC 2018 */
		p->sack_off = (uint16_t)(at + 2);
		p->sack_blocks = (uint8_t)((len - 2) / 8);
	}
}

/* A malformed option hides those behind it, as it does from a receiver. */
static void tcp_options(struct pkt *p, uint32_t at, uint32_t end)
{
	while (at < end && p->data[at] != 0) {
		unsigned len = 1;

		if (p->data[at] != 1) {
			if (end - at < 2)
				return;
			len = p->data[at + 1];
			if (len < 2 || len > end - at)
				return;
			tcp_option(p, at, p->data[at], len);
		}
		at += len;
	}
}

static void parse_tcp(struct pkt *p)
{
	const uint8_t *h = p->data + p->l4_off;
	uint32_t room = p->len - p->l4_off, header;

	if (room < TCP_HEADER_BYTES)
		return set_opaque(p);
	header = (uint32_t)(h[12] >> 4) * 4;
	if (header < TCP_HEADER_BYTES || header > room)
		return set_opaque(p);
	set_payload(p, PKT_TCP, p->l4_off + header);
	p->sport = get_be16(h);
	p->dport = get_be16(h + 2);
	p->seq = get_be32(h + 4);
	p->ack = get_be32(h + 8);
	p->tcp_flags = h[13];
	p->window = get_be16(h + 14);
	p->urgent = get_be16(h + 18);
	p->seq_len = p->payload_len + !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
	tcp_options(p, p->l4_off + TCP_HEADER_BYTES, p->payload_off);
}

/* Bytes behind the UDP length (RFC 9868) are the guest's output too: all is compared as a whole. */
static void parse_udp(struct pkt *p)
{
	const uint8_t *h = p->data + p->l4_off;
	uint32_t room = p->len - p->l4_off, len;

	if (room < UDP_HEADER_BYTES)
		return set_opaque(p);
	len = get_be16(h + 4);
	if (!len) /* more than 64 KB, or a super-frame */
		len = room;
	if (len < UDP_HEADER_BYTES || len > room)
		return set_opaque(p);
	if (len < room)
		return set_payload(p, PKT_OTHER, p->l4_off);
	set_payload(p, PKT_UDP, p->l4_off + UDP_HEADER_BYTES);
	p->sport = get_be16(h);
	p->dport = get_be16(h + 2);
}

/* RFC 4861: 133 to 137; RFC 2710: 130 to 132; RFC 3810: 143. */
static bool is_neighbour(uint8_t type)
{
	return (type >= 130 && type <= 137) || type == 143;
}

static void parse_icmp(struct pkt *p, bool v6)
{
	const uint8_t *h = p->data + p->l4_off;
	uint32_t room = p->len - p->l4_off;
	bool echo;

	if (room < 4)
		return set_opaque(p);
	echo = v6 ? h[0] == 128 || h[0] == 129 : h[0] == 8 || h[0] == 0;
	set_payload(p, v6 && is_neighbour(h[0]) ? PKT_NEIGHBOUR : PKT_ICMP, p->l4_off);
	if (echo && room >= 8)
		p->sport = p->dport = get_be16(h + 4);
}

/* RFC 1122, 3.2.2; RFC 4443, 2.1. */
static bool is_icmp_error(const struct pkt *p)
{
	uint8_t type = p->data[p->l4_off];

	if (p->ip_version == 6)
		return type < 128;
	return (type >= 3 && type <= 5) || type == 11 || type == 12;
}

/* Behind the quote of some errors there may be more; then its length is told, in words of 4 or 8
 * bytes (RFC 4884, 4). */
static uint32_t quote_end(const struct pkt *icmp, uint32_t at)
{
	const uint8_t *h = icmp->data + icmp->l4_off;
	bool v6 = icmp->ip_version == 6;
	uint32_t bytes = 0;

	if (v6 && (h[0] == 1 || h[0] == 3))
		bytes = h[4] * 8u;
	else if (!v6 && (h[0] == 3 || h[0] >= 11))
		bytes = h[5] * 4u;
	return bytes && bytes < icmp->len - at ? at + bytes : icmp->len;
}

static bool quoted_ip4(struct pkt *q, uint32_t at)
{
	const uint8_t *h = q->data + at;
	uint32_t room = q->len - at, header;

	if (room < IP4_HEADER_BYTES || h[0] >> 4 != 4)
		return false;
	header = (h[0] & 15u) * 4;
	if (header < IP4_HEADER_BYTES || header > room || get_be16(h + 6) & 0x1fff)
		return false; /* not the first fragment either: it has no ports */
	q->proto = h[9];
	q->l4_off = at + header;
	ip_addr_set_ip4(&q->src, h + 12);
	ip_addr_set_ip4(&q->dst, h + 16);
	return true;
}

/* Those that are walked past; others, AH (51) too, are the payload. RFC 8200 4. */
static bool is_ip6_ext(uint8_t proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
	       proto == IPPROTO_FRAGMENT;
}

static bool quoted_ip6(struct pkt *q, uint32_t at)
{
	const uint8_t *d = q->data;
	uint32_t next_at = at + 6, len;

	if (q->len - at < IP6_HEADER_BYTES || d[at] >> 4 != 6)
		return false;
	memcpy(q->src.b, d + at + 8, 16);
	memcpy(q->dst.b, d + at + 24, 16);
	at += IP6_HEADER_BYTES;
	for (int i = 0; i < IP6_EXT_MAX && is_ip6_ext(d[next_at]); i++) {
		bool fragment = d[next_at] == IPPROTO_FRAGMENT;

		if (q->len - at < IP6_EXT_UNIT || (fragment && get_be16(d + at + 2) & 0xfff8))
			return false;
		len = fragment ? IP6_EXT_UNIT : IP6_EXT_UNIT * (1u + d[at + 1]);
		if (len > q->len - at)
			return false;
		next_at = at;
		at += len;
	}
	q->proto = d[next_at];
	q->l4_off = at;
	return true;
}

static void quoted_tcp(struct pkt *q)
{
	const uint8_t *h = q->data + q->l4_off;
	uint32_t room = q->len - q->l4_off, header;

	q->kind = PKT_TCP;
	q->payload_off = q->len;
	q->sport = get_be16(h);
	q->dport = get_be16(h + 2);
	q->seq = get_be32(h + 4);
	if (room < TCP_QUOTED_BYTES)
		return;
	q->ack = get_be32(h + 8);
	q->tcp_flags = h[13];
	q->window = get_be16(h + 14);
	header = (uint32_t)(h[12] >> 4) * 4;
	if (header < TCP_HEADER_BYTES || header > room)
		return;
	set_payload(q, PKT_TCP, q->l4_off + header);
	tcp_options(q, q->l4_off + TCP_HEADER_BYTES, q->payload_off);
}

bool pkt_parse_quote(struct pkt *q, const struct pkt *icmp)
{
	uint32_t at = icmp->l4_off + ICMP_HEADER_BYTES;
	bool is_ip;

	*q = (struct pkt){.data = icmp->data, .ip_version = icmp->ip_version, .vlan = icmp->vlan};
	if (icmp->kind != PKT_ICMP || icmp->len < at || !is_icmp_error(icmp))
		return false;
	q->len = quote_end(icmp, at);
	is_ip = icmp->ip_version == 6 ? quoted_ip6(q, at) : quoted_ip4(q, at);
	if (!is_ip || q->proto != IPPROTO_TCP || q->len - q->l4_off < TCP_QUOTED_MIN)
		return false;
	quoted_tcp(q);
	return true;
}

static void parse_transport(struct pkt *p)
{
	bool v6 = p->ip_version == 6;

	if (p->proto == IPPROTO_TCP)
		parse_tcp(p);
	else if (p->proto == IPPROTO_UDP)
		parse_udp(p);
	else if (p->proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		parse_icmp(p, v6);
	else
		set_payload(p, PKT_OTHER, p->l4_off);
}

static void parse_ip4(struct pkt *p)
{
	const uint8_t *h = p->data;
	uint32_t header, total;
	uint16_t frag;

	if (p->len < IP4_HEADER_BYTES)
		return set_opaque(p);
	header = (h[0] & 15u) * 4;
	total = get_be16(h + 2);
	if (!total && p->len > PKT_MAX_BYTES)
		total = p->len;
	if (header < IP4_HEADER_BYTES || header > total || total > p->len)
		return set_opaque(p);
	p->len = total;
	p->l4_off = header;
	p->proto = h[9];
	ip_addr_set_ip4(&p->src, h + 12);
	ip_addr_set_ip4(&p->dst, h + 16);
	frag = get_be16(h + 6);
	p->frag_off = (frag & 0x1fffu) * 8;
	p->frag_more = frag & 0x2000;
	if (!p->frag_off && !p->frag_more)
		return parse_transport(p);
	p->frag_id = get_be16(h + 4);
	set_payload(p, PKT_FRAGMENT, header);
}

/* The fragment header at @at, announced at @next_at. False: the packet is only a part. */
static bool ip6_is_whole(struct pkt *p, uint32_t at, uint32_t next_at)
{
	uint16_t frag = get_be16(p->data + at + 2);

	if (!(frag & 0xfff9)) /* RFC 6946: an atomic fragment */
		return true;
	p->frag_off = frag & 0xfff8;
	p->frag_more = frag & 1;
	p->frag_id = get_be32(p->data + at + 4);
	p->frag_next_off = next_at;
	p->proto = p->data[at];
	p->l4_off = at + IP6_EXT_UNIT;
	set_payload(p, PKT_FRAGMENT, p->l4_off);
	return false;
}

/* Walk to the transport header. */
static void ip6_headers(struct pkt *p)
{
	uint32_t at = IP6_HEADER_BYTES, next_at = 6, len;

	for (int i = 0; i < IP6_EXT_MAX && is_ip6_ext(p->data[next_at]); i++) {
		bool fragment = p->data[next_at] == IPPROTO_FRAGMENT;

		if (p->len - at < IP6_EXT_UNIT)
			return set_opaque(p);
		len = fragment ? IP6_EXT_UNIT : IP6_EXT_UNIT * (1u + p->data[at + 1]);
		if (len > p->len - at)
			return set_opaque(p);
		if (fragment && !ip6_is_whole(p, at, next_at))
			return;
		next_at = at;
		at += len;
	}
	p->proto = p->data[next_at];
	p->l4_off = at;
	parse_transport(p);
}

static void parse_ip6(struct pkt *p)
{
	const uint8_t *h = p->data;
	uint32_t total;

	if (p->len < IP6_HEADER_BYTES)
		return set_opaque(p);
	total = IP6_HEADER_BYTES + get_be16(h + 4);
	if (total == IP6_HEADER_BYTES && p->len > IP6_HEADER_BYTES + PKT_MAX_BYTES)
		total = p->len; /* a jumbogram or BIG TCP */
	if (total > p->len)
		return set_opaque(p);
	p->len = total;
	memcpy(p->src.b, h + 8, 16);
	memcpy(p->dst.b, h + 24, 16);
	ip6_headers(p);
}

void pkt_parse_ip(struct pkt *p, const void *data, size_t len, uint16_t vlan)
{
	*p = (struct pkt){
		.data = data,
		.len = len > UINT32_MAX ? UINT32_MAX : (uint32_t)len,
		.vlan = vlan,
	};
	p->ip_version = p->len ? p->data[0] >> 4 : 0;
	if (p->ip_version == 4)
		parse_ip4(p);
	else if (p->ip_version == 6)
		parse_ip6(p);
	else
		set_opaque(p);
}

int frame_parse(struct frame *f, const void *data, size_t len)
{
	const uint8_t *d = data;
	bool tagged = false;

	*f = (struct frame){.l3_off = 14};
	if (len < f->l3_off)
		return -EBADMSG;
	memcpy(f->dst, d, 6);
	memcpy(f->src, d + 6, 6);
	f->ethertype = get_be16(d + 12);
	while (f->ethertype == ETHERTYPE_VLAN_ || f->ethertype == ETHERTYPE_QINQ_) {
		if (len - f->l3_off < 4)
			return -EBADMSG;
		if (!tagged)
			f->vlan = get_be16(d + f->l3_off) & 0xfff;
		tagged = true;
		f->ethertype = get_be16(d + f->l3_off + 2);
		f->l3_off += 4;
	}
	return 0;
}

bool pkt_of_frame(struct pkt *p, struct frame *f, const void *data, size_t len)
{
	if (frame_parse(f, data, len) || !frame_is_ip(f))
		return false;
	pkt_parse_ip(p, (const uint8_t *)data + f->l3_off, len - f->l3_off, 0);
	return true;
}

int arp_parse(struct arp *a, const void *data, size_t len)
{
	static const uint8_t ethernet_ip4[6] = {0, 1, 8, 0, 6, 4};
	const uint8_t *d = data;

	if (len < 28 || memcmp(d, ethernet_ip4, sizeof(ethernet_ip4)) != 0)
		return -EBADMSG;
	a->op = get_be16(d + 6);
	memcpy(a->sender_mac, d + 8, 6);
	ip_addr_set_ip4(&a->sender, d + 14);
	memcpy(a->target_mac, d + 18, 6);
	ip_addr_set_ip4(&a->target, d + 24);
	return 0;
}
