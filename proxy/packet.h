/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the proxy knows about a frame: bounds-checked parsing of Ethernet, ARP, IPv4, IPv6 and what
 * they carry. */
#ifndef PROXY_PACKET_H
#define PROXY_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKT_MAX_BYTES 65535

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
};

enum pkt_kind {
	PKT_TCP,
	PKT_UDP,
	PKT_ICMP,      /* ICMP and ICMPv6 but for what PKT_NEIGHBOUR names */
	PKT_NEIGHBOUR, /* ICMPv6 neighbour and router discovery, MLD: the IPv6 host's own ARP */
	PKT_OTHER,     /* any other protocol over IP, whole payload */
	PKT_FRAGMENT,  /* part of a datagram: only addresses, protocol and the fragment's place */
	PKT_OPAQUE,    /* not understood: no flow, the bytes themselves are all there is */
};

/** struct ip_addr - an address, IPv4 as ::ffff:a.b.c.d */
struct ip_addr {
	uint8_t b[16];
};

/** ip_addr_set_ip4() - the address of which an IPv4 header has the four bytes at @ip4. */
void ip_addr_set_ip4(struct ip_addr *a, const uint8_t *ip4);

/** ip_addr_is_ip4() - then its last four bytes are those of an IPv4 header. */
bool ip_addr_is_ip4(const struct ip_addr *a);

/**
 * struct pkt - one IP packet, as pkt_parse_ip() understood it; @data is borrowed
 * @len:      without link-layer padding behind the packet
 * @l4_off:   where TCP, UDP, ICMP or the unknown protocol begins
 * @payload_off, @payload_len: what is compared: the TCP or UDP payload; ICMP from its type on
 * without its checksum taken into account by the comparer; the whole of another protocol
 * @sport, @dport: TCP and UDP; of an ICMP echo its identifier in both, so that it is a flow; else 0
 * @frag_next_off: of an IPv6 fragment, where the byte is that says that a fragment header follows
 * @seq_len:  sequence space of a TCP segment: payload, SYN and FIN
 * @ts_off:   offset of the timestamp option's TSval, 0 when there is none
 * @sack_off, @sack_blocks: first SACK block's offset and their number
 */
struct pkt {
	const uint8_t *data;
	uint32_t len;
	enum pkt_kind kind;
	uint8_t ip_version, proto;
	uint16_t vlan; /* 12-bit id, 0 for none */
	struct ip_addr src, dst;
	uint32_t l4_off, payload_off, payload_len;
	uint16_t sport, dport;
	/* fragments */
	uint32_t frag_id, frag_off, frag_next_off;
	bool frag_more;
	/* TCP */
	uint32_t seq, ack, seq_len;
	uint16_t window, urgent;
	uint8_t tcp_flags;
	uint16_t ts_off, sack_off;
	uint8_t sack_blocks;
	uint32_t tsval, tsecr;
};

/**
 * pkt_parse_ip() - understand @len bytes from the IP header on. Never fails: what is malformed is
 * PKT_OPAQUE, without addresses and protocol, its payload all of it. UDP whose length does not
 * cover all of the IP payload is PKT_OTHER without ports. IPv6 atomic fragments (RFC 6946) are
 * whole packets; extension headers but for AH are walked past, 16 at most. TCP super-frames of
 * segmentation offload are ordinary packets here, and so is an IPv4 total length or IPv6 payload
 * length of 0 with more than 64 KB (BIG TCP). Checksums are not looked at: under offload they are
 * partial.
 */
void pkt_parse_ip(struct pkt *p, const void *data, size_t len, uint16_t vlan);

/**
 * pkt_parse_quote() - the TCP segment that the ICMP error @icmp is about, of which it quotes the
 * beginning (RFC 792; RFC 4443, 2.4 c; RFC 4884). False: @icmp is no error, or about something else.
 *
 * @q has the offsets of @icmp's @data and reaches as far as the quote: 8 bytes of TCP at least, so
 * that there are ports and @seq; @ack, @tcp_flags and @window when there are TCP_QUOTED_BYTES,
 * options when the whole header is quoted; else they are 0.
 */
#define TCP_QUOTED_BYTES 20
bool pkt_parse_quote(struct pkt *q, const struct pkt *icmp);

/**
 * struct frame - an Ethernet frame's outside; offsets from its first byte
 * @vlan: id of the outermost 802.1Q or 802.1ad tag, 0 for none
 */
struct frame {
	uint8_t dst[6], src[6];
	uint16_t vlan, ethertype;
	uint32_t l3_off;
};

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP_ 0x0806
#define ETHERTYPE_IPV6 0x86dd

/** frame_parse() - 0, or -EBADMSG when @len bytes hold no Ethernet header. */
int frame_parse(struct frame *f, const void *data, size_t len);

static inline bool frame_is_ip(const struct frame *f)
{
	return f->ethertype == ETHERTYPE_IPV4 || f->ethertype == ETHERTYPE_IPV6;
}

/**
 * pkt_of_frame() - the IP packet of an Ethernet frame of @len bytes, and the frame's outside. False:
 * there is none; then only @f is set, and not even that when @data holds no Ethernet header. The
 * frame's VLAN is not taken over into the packet: see proxy-primary.c.
 */
bool pkt_of_frame(struct pkt *p, struct frame *f, const void *data, size_t len);

/** struct arp - an Ethernet/IPv4 ARP packet (RFC 826) */
struct arp {
	uint16_t op; /* 1 request, 2 reply */
	uint8_t sender_mac[6], target_mac[6];
	struct ip_addr sender, target;
};

/** arp_parse() - @data from the ARP header on. 0, or -EBADMSG for anything but Ethernet/IPv4 ARP.
 */
int arp_parse(struct arp *a, const void *data, size_t len);

#endif
