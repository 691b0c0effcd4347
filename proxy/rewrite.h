/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rewriting of connections whose numbers differ between a guest and what its peer has seen. Pure.
 */
#ifndef PROXY_REWRITE_H
#define PROXY_REWRITE_H

#include "proxy/flow.h"

/**
 * struct rewrite - offsets of one connection, modulo 2^32
 * Guest to peer: seq += @seq_offset, TSval += @ts_offset. Peer to guest: ack and SACK blocks -=
 * @seq_offset, TSecr -= @ts_offset (RFC 9293, RFC 7323; a TSecr of 0 or without ACK means nothing
 * and stays).
 */
struct rewrite {
	uint32_t seq_offset, ts_offset;
};

/**
 * struct rewrite_buf - an IP packet to change in place
 * @partial: the TCP checksum field holds only the pseudo header's sum (CHECKSUM_PARTIAL, vnet
 * header's NEEDS_CSUM): numbers may change without it. Else it is updated incrementally (RFC 1624).
 */
bool rewrite_out(const struct rewrite *r, uint8_t *data, const struct pkt *p, bool partial);
bool rewrite_in(const struct rewrite *r, uint8_t *data, const struct pkt *p, bool partial);
/* Both return whether something changed; @p is the parsed @data, stale afterwards. */

/**
 * rewrite_quoted_in() - ICMP error @icmp to the guest, about a segment @q that it has sent
 * (pkt_parse_quote()): the quoted numbers, which the network has seen, become the guest's own, or it
 * would not believe them (RFC 5927, 4.1). rewrite_quoted_out() - the same of an error that the guest
 * sends, about a segment that it got. @data is that of both; @partial as above, of @icmp.
 */
bool rewrite_quoted_in(const struct rewrite *r, uint8_t *data, const struct pkt *icmp,
		       const struct pkt *q, bool partial);
bool rewrite_quoted_out(const struct rewrite *r, uint8_t *data, const struct pkt *icmp,
			const struct pkt *q, bool partial);

/** tcp_checksum_fill() - complete checksum of a TCP or UDP packet, for one whose checksum was
 * partial. */
void l4_checksum_fill(uint8_t *data, const struct pkt *p);

#endif
