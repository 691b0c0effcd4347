/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection of the client to both guests, whose numbers differ, on a rig of two proxies. */
#ifndef TESTS_UNIT_PROXY_CONNECTION_H
#define TESTS_UNIT_PROXY_CONNECTION_H

#include "tests/unit/proxy-rig.h"

#define PORT   80
#define PEER   41234
#define A_ISN  UINT32_C(0xfffffff0) /* wraps within the first bytes */
#define B_ISN  UINT32_C(500000)
#define C_ISN  UINT32_C(7000)
#define BEHIND (A_ISN - B_ISN)

static inline void guest_segment(struct world *w, struct host *h, unsigned flags, uint32_t seq,
				 uint32_t ack, const char *data)
{
	start_frame(w, false, IPPROTO_TCP);
	mk_tcp(&w->m, PORT, PEER, flags, seq, ack);
	mk_data(&w->m, data, strlen(data));
	mk_end(&w->m);
	write_frame(h->tap, &w->m);
}

static inline void client_segment(struct world *w, struct host *h, unsigned flags, uint32_t seq,
				  uint32_t ack, const char *data)
{
	start_frame(w, true, IPPROTO_TCP);
	mk_tcp(&w->m, PEER, PORT, flags, seq, ack);
	mk_data(&w->m, data, strlen(data));
	mk_end(&w->m);
	send_frame(h, &w->m);
}

/* What arrived is whole and has these numbers. */
static inline void assert_segment(struct world *w, unsigned flags, uint32_t seq, uint32_t ack)
{
	assert_int_equal(w->seen.pkt.kind, PKT_TCP);
	assert_int_equal(w->seen.pkt.tcp_flags & ~TCP_PSH, flags);
	assert_int_equal(w->seen.pkt.seq, seq);
	if (flags & TCP_ACK)
		assert_int_equal(w->seen.pkt.ack, ack);
	w->m.len = w->seen.len;
	memcpy(w->m.b, w->seen.data, w->seen.len);
	w->m.l3 = w->seen.frame.l3_off;
	w->m.l4 = w->m.l3 + w->seen.pkt.l4_off;
	w->m.proto = IPPROTO_TCP;
	w->m.ip6 = false;
	assert_true(mk_checksums_ok(&w->m));
}

/* The client opens a connection; the guests answer with numbers of their own. */
static inline void open_connection(struct world *w)
{
	client_segment(w, &w->a, TCP_SYN, C_ISN, 0, "");
	guest_next(w, &w->a);
	guest_next(w, &w->b);
	guest_segment(w, &w->a, TCP_SYN | TCP_ACK, A_ISN, C_ISN + 1, "");
	await(w, held(&w->a) == 1);
	client_expect_nothing(w, &w->a);
	guest_segment(w, &w->b, TCP_SYN | TCP_ACK, B_ISN, C_ISN + 1, "");
	client_next(w, &w->a);
	assert_segment(w, TCP_SYN | TCP_ACK, A_ISN, C_ISN + 1);
	client_segment(w, &w->a, TCP_ACK, C_ISN + 1, A_ISN + 1, "");
	guest_next(w, &w->a);
	assert_segment(w, TCP_ACK, C_ISN + 1, A_ISN + 1);
	guest_next(w, &w->b);
	assert_segment(w, TCP_ACK, C_ISN + 1, B_ISN + 1);
}

/* The connection lives on the other host, and the client sees no difference. */
static inline void take_over_connection(struct world *w)
{
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	open_connection(w);
	order(w, &w->a, PROXY_DETACH, 0, false);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	guest_segment(w, &w->b, TCP_ACK, B_ISN + 1, C_ISN + 1, "said by another");
	client_next(w, &w->b);
	assert_segment(w, TCP_ACK, B_ISN + 1 + BEHIND, C_ISN + 1);
	client_segment(w, &w->b, TCP_ACK, C_ISN + 1, A_ISN + 16, "and back");
	guest_next(w, &w->b);
	assert_segment(w, TCP_ACK, C_ISN + 1, B_ISN + 16);
	assert_int_equal(status(&w->b).rewritten_flows, 1);
}

/* The old host is the replica's now. */
static inline void protect_connection_again(struct world *w)
{
	int fd[2];

	order(w, &w->a, PROXY_SILENCE, 0, false);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	carry_out(w, &w->b,
		  (struct proxy_call){.op = PROXY_ATTACH_PRIMARY, .epoch = 1, .fd = fd[0]});
	carry_out(w, &w->a,
		  (struct proxy_call){.op = PROXY_ATTACH_SECONDARY, .epoch = 1, .fd = fd[1]});
	while (guest_take(w, &w->a))
		;
}

#endif
