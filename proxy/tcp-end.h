/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a TCP connection has come to its end, by the packets of both directions. Pure. */
#ifndef PROXY_TCP_END_H
#define PROXY_TCP_END_H

#include "proxy/packet.h"

enum tcp_end { TCP_END_FIN_OUT = 1, TCP_END_FIN_IN = 2, TCP_END_RESET = 4 };

/**
 * tcp_end_saw() - a packet of the guest (@out) or to it. @ends: enum tcp_end, or-ed; 0 at first.
 * A RST that the guest did not believe (it goes on sending) does not count.
 */
static inline void tcp_end_saw(uint8_t *ends, const struct pkt *p, bool out)
{
	if (p->tcp_flags & TCP_RST)
		*ends |= TCP_END_RESET;
	else if (out && p->tcp_flags & TCP_ACK)
		*ends &= (uint8_t)~TCP_END_RESET;
	if (p->tcp_flags & TCP_FIN)
		*ends |= out ? TCP_END_FIN_OUT : TCP_END_FIN_IN;
}

/** tcp_end_is_over() - reset, or ended by both sides. */
static inline bool tcp_end_is_over(uint8_t ends)
{
	const uint8_t both = TCP_END_FIN_OUT | TCP_END_FIN_IN;

	return ends & TCP_END_RESET || (ends & both) == both;
}

#endif
