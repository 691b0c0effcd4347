// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core's limits: nothing grows, nothing that was not matched gets out. */
#include "tests/unit/compare-rig.h"

#define SYNACK (TCP_SYN | TCP_ACK)

static const struct compare_limits tight = {
	.max_held_packets = 4,
	.max_held_bytes = 4000,
	.max_flows = 4,
	.max_half_open = 2,
	.timeout_us = 1000,
	.flow_idle_us = 100000,
};

static void without_memory_for_bytes_a_packet_waits_for_the_commit(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);

	(void)state;
	rig_tcp(r, TCP_ACK, 0, 1, 0, 2500);
	rig_primary(r, 1);
	rig_tcp(r, TCP_ACK, 2500, 1, 0, 2500);
	rig_primary(r, 2);
	rig_saw(r, "!full");
	rig_tcp(r, TCP_ACK, 0, 1, 0, 5000);
	rig_secondary(r);
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c");
	rig_free(r);
}

static void without_a_record_a_packet_is_dropped_never_released(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_HOLD);
	struct compare_stats st;

	(void)state;
	for (uint32_t i = 1; i <= 6; i++)
		p_udp(r, i, "x");
	rig_saw(r, "5x !full 6x");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 3c 4c");
	for (uint32_t i = 1; i <= 5; i++)
		p_udp(r, i, "x");
	for (uint32_t i = 1; i <= 5; i++)
		s_udp(r, "x");
	rig_saw(r, "5x !full");
	compare_get_stats(r->c, &st);
	assert_int_equal(st.dropped, 3);
	assert_int_equal(st.max_held_packets, 4);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 3c 4c");
	rig_free(r);
}

static void without_room_for_a_flow_its_packets_wait_for_the_commit(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);

	(void)state;
	for (uint32_t i = 1; i <= 3; i++) {
		r->peer_port = i;
		p_udp(r, i, "x");
	}
	r->peer_port = 10;
	s_udp(r, "x");
	rig_saw(r, "");
	r->peer_port = 4;
	p_udp(r, 4, "one");
	rig_saw(r, "!flows");
	r->peer_port = 3;
	s_udp(r, "x"); /* that flow is done and may go */
	rig_saw(r, "3");
	r->peer_port = 4;
	p_udp(r, 5, "two");
	s_udp(r, "two"); /* does not overtake the first one */
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 4c 5c");
	p_udp(r, 6, "x");
	s_udp(r, "x");
	rig_saw(r, "6");
	rig_free(r);
}

static void flows_that_are_over_make_room_open_ones_do_not(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);
	struct compare_flow f[4];

	(void)state;
	for (uint32_t i = 1; i <= 20; i++) { /* a scan: each is answered with a reset */
		r->peer_port = i;
		rig_tcp(r, TCP_RST | TCP_ACK, 0, 1, 0, 0);
		rig_primary(r, i % 10);
		rig_secondary(r);
		rig_tcp(r, TCP_RST | TCP_ACK, 0, 1, 0, 0);
		rig_secondary(r);
	}
	rig_saw(r, "1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0");
	for (uint32_t i = 1; i <= 4; i++) {
		r->peer_port = 100 + i;
		rig_tcp(r, TCP_ACK, 0, 1, 0, 9);
		rig_primary(r, i);
		rig_tcp(r, TCP_ACK, 0, 1, 0, 9);
		rig_secondary(r);
	}
	rig_saw(r, "1 2 3 4");
	r->peer_port = 9;
	p_udp(r, 5, "x");
	rig_saw(r, "!flows");
	r->now += tight.flow_idle_us;
	assert_int_equal(compare_list_flows(r->c, f, 4, r->now), 4);
	p_udp(r, 6, "y");
	assert_int_equal(compare_list_flows(r->c, f, 4, r->now), 4);
	assert_int_equal(f[0].key.peer_port, 9);
	rig_free(r);
}

static void both_send(struct rig *r, unsigned port, uint32_t id, uint32_t seq)
{
	r->peer_port = port;
	rig_tcp(r, TCP_ACK, seq, 1, 0, 9);
	rig_primary(r, id);
	rig_tcp(r, TCP_ACK, seq, 1, 0, 9);
	rig_secondary(r);
}

static void connections_silent_in_an_epoch_make_room_and_are_compared_again(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);

	(void)state;
	for (uint32_t i = 1; i <= 4; i++)
		both_send(r, i, i, 0);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1 2 3 4");
	for (uint32_t i = 5; i <= 8; i++)
		both_send(r, i, i, 0);
	rig_saw(r, "5 6 7 8");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	both_send(r, 1, 9, 9);
	rig_saw(r, "9");
	rig_tcp(r, TCP_ACK, 18, 1, 0, 9);
	rig_primary(r, 10);
	rig_tcp(r, TCP_ACK, 18, 1, 1, 9); /* other bytes */
	rig_secondary(r);
	rig_saw(r, "!payload");
	rig_free(r);
}

static void a_flood_of_half_open_connections_keeps_to_its_share(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);
	struct compare_stats st;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		r->peer_port = 1000 + i;
		rig_tcp(r, SYNACK, i, 1, 0, 0);
		rig_primary(r, 1);
		rig_tcp(r, SYNACK, i + 7, 1, 0, 0);
		rig_secondary(r);
		rig_saw(r, "1");
	}
	compare_get_stats(r->c, &st);
	assert_int_equal(st.half_open, 2);
	assert_int_equal(st.flows, 2);
	rig_inbound(r, TCP_ACK, 1, 1000);
	compare_get_stats(r->c, &st);
	assert_int_equal(st.half_open, 1);
	for (uint32_t i = 0; i < 3; i++) { /* unanswered by the secondary: these stay */
		r->peer_port = 3000 + i;
		rig_tcp(r, SYNACK, i, 1, 0, 0);
		rig_primary(r, 1);
	}
	rig_saw(r, "!flows");
	rig_free(r);
}

static void the_secondary_keeps_to_its_share_of_memory(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;

	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		r->peer_port = 1 + i % 40;
		mk_udp_packet(&r->m, GUEST, 53, PEER, r->peer_port, r->events, 3000);
		rig_secondary(r);
	}
	rig_saw(r, "!full");
	compare_get_stats(r->c, &st);
	assert_in_range(st.held_bytes, r->limits.max_held_bytes / 2 - 4000,
			r->limits.max_held_bytes / 2 + 4000);
	rig_free(r);
}

static void the_secondary_keeps_to_its_share_of_records(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);

	(void)state;
	s_udp(r, "1");
	s_udp(r, "2");
	rig_saw(r, "");
	s_udp(r, "3");
	rig_saw(r, "!full");
	for (uint32_t i = 1; i <= 4; i++) {
		r->peer_port = 7;
		p_udp(r, i, "x");
	}
	rig_saw(r, "");
	rig_free(r);
}

static void a_flow_forgotten_while_it_waits_for_a_commit_leaves_nothing_behind(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);

	(void)state;
	rig_close(r, COMPARE_MATCH);
	s_udp(r, "a");
	r->peer_port = 6;
	s_udp(r, "b");
	r->now += tight.flow_idle_us;
	compare_tick(r->c, r->now);
	r->peer_port = 7;
	s_udp(r, "c");
	p_udp(r, 1, "c");
	rig_commit(r);
	rig_saw(r, "1");
	rig_free(r);
}

static void a_flow_with_held_packets_is_not_forgotten(void **state)
{
	struct compare_limits l = tight;
	struct rig *r;

	(void)state;
	l.flow_idle_us = 10;
	l.timeout_us = USEC_PER_SEC;
	r = rig_new(&l, COMPARE_MATCH);
	p_udp(r, 1, "a");
	r->now += 20;
	compare_tick(r->c, r->now);
	s_udp(r, "a");
	rig_saw(r, "1");
	rig_free(r);
}

static void a_flood_of_datagrams_grows_nothing(void **state)
{
	struct rig *r = rig_new(&tight, COMPARE_MATCH);
	struct compare_stats st;

	(void)state;
	for (uint32_t i = 0; i < 10000; i++) {
		r->peer_port = i;
		if (i % 3)
			s_udp(r, "x");
		else
			p_udp(r, i, "y");
	}
	compare_get_stats(r->c, &st);
	assert_int_equal(st.held_packets, tight.max_held_packets);
	assert_in_range(st.held_bytes, 1, tight.max_held_bytes);
	assert_in_range(r->ring.count, 1, 3);
	r->seen = r->n;
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	r->seen = r->n;
	compare_get_stats(r->c, &st);
	assert_int_equal(st.held_packets, 0);
	assert_int_equal(st.held_bytes, 0);
	p_udp(r, 1, "x");
	s_udp(r, "x");
	rig_saw(r, "1");
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_for_bytes_a_packet_waits_for_the_commit),
		cmocka_unit_test(without_a_record_a_packet_is_dropped_never_released),
		cmocka_unit_test(without_room_for_a_flow_its_packets_wait_for_the_commit),
		cmocka_unit_test(flows_that_are_over_make_room_open_ones_do_not),
		cmocka_unit_test(connections_silent_in_an_epoch_make_room_and_are_compared_again),
		cmocka_unit_test(a_flood_of_half_open_connections_keeps_to_its_share),
		cmocka_unit_test(the_secondary_keeps_to_its_share_of_memory),
		cmocka_unit_test(the_secondary_keeps_to_its_share_of_records),
		cmocka_unit_test(
			a_flow_forgotten_while_it_waits_for_a_commit_leaves_nothing_behind),
		cmocka_unit_test(a_flow_with_held_packets_is_not_forgotten),
		cmocka_unit_test(a_flood_of_datagrams_grows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
