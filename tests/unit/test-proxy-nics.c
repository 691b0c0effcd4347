// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest with two NICs between two proxies: each has its own frames, numbers and marks. */
#include "tests/unit/proxy-rig.h"

#define GUEST2 "10.0.0.3"

static int two_nics(void **state)
{
	return world_with(state, 2);
}

/* Between the client and the second NIC. */
static void datagram2(struct world *w, bool to_guest, uint32_t number)
{
	mk_start(&w->m);
	mk_eth(&w->m, to_guest ? mac_of_tap2 : mk_mac_peer, to_guest ? mk_mac_peer : mac_of_tap2);
	mk_ip(&w->m, to_guest ? CLIENT : GUEST2, to_guest ? GUEST2 : CLIENT, IPPROTO_UDP);
	mk_udp(&w->m, to_guest ? 4000 : 53, to_guest ? 53 : 4000);
	add_number(w, number);
	mk_end(&w->m);
}

static void says_on_second(struct world *w, struct host *h, uint32_t number)
{
	datagram2(w, false, number);
	write_frame(h->tap2, &w->m);
}

/* The same guest as its second NIC sees it. */
static struct host second(const struct host *h)
{
	struct host s = *h;

	s.tap = h->tap2;
	return s;
}

/* Each NIC hears what the other one announces. */
static void expect(struct world *w, struct host *h, uint32_t number)
{
	do
		guest_next(w, h);
	while (!frame_is_ip(&w->seen.frame));
	assert_int_equal(w->seen.number, number);
}

static void expect_on_second(struct world *w, struct host *h, uint32_t number)
{
	struct host s = second(h);

	expect(w, &s, number);
}

/* Each NIC has said something, so that the bridge knows where they are. */
static void attach_known(struct world *w)
{
	struct host s = second(&w->a);

	order(w, &w->a, PROXY_PASS, 0, false);
	while (guest_take(w, &w->a) || guest_take(w, &s))
		;
	attach(w, &w->a, &w->b);
	guest_says(w, &w->a, 1);
	client_expect(w, &w->a, 1);
	says_on_second(w, &w->a, 2);
	client_expect(w, &w->a, 2);
}

static void each_nic_has_its_own_mark(void **state)
{
	struct world *w = *state;
	struct proxy_call stop;
	struct host s;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, true);
	for (uint32_t i = 1; i <= 3; i++) {
		client_says(w, &w->a, i);
		datagram2(w, true, 10 + i);
		send_frame(&w->a, &w->m);
	}
	for (uint32_t i = 1; i <= 3; i++) {
		expect(w, &w->a, i);
		expect(w, &w->b, i);
		expect_on_second(w, &w->a, 10 + i);
		expect_on_second(w, &w->b, 10 + i);
	}
	order(w, &w->b, PROXY_STOPPED, 0, false);
	stop = about_to_stop(&w->a);
	for (uint32_t i = 14; i <= 16; i++) {
		datagram2(w, true, i);
		send_frame(&w->a, &w->m);
	}
	expect_on_second(w, &w->a, 14); /* QEMU keeps this one */
	client_says(w, &w->a, 4);
	close_at(w, &w->a, 2, true, stop);
	await(w, w->b.marked == 2);
	commit_epoch(w, &w->a, &w->b, 2, true);
	for (uint32_t i = 14; i <= 16; i++)
		expect_on_second(w, &w->b, i);
	s = second(&w->b);
	assert_false(guest_take(w, &s));
	guest_expect(w, &w->b, 4);
	assert_false(guest_take(w, &w->b));
}

static void output_of_one_nic_is_no_match_for_the_other(void **state)
{
	struct world *w = *state;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, true);
	says_on_second(w, &w->a, 7);
	says_on_second(w, &w->a, 8);
	guest_says(w, &w->a, 9);
	await(w, held(&w->a) == 3);
	guest_says(w, &w->b, 9);
	client_expect(w, &w->a, 9);
	client_expect_nothing(w, &w->a);
	says_on_second(w, &w->b, 7);
	client_expect(w, &w->a, 7);
	client_expect_nothing(w, &w->a);
	assert_int_equal(held(&w->a), 1);
	assert_int_equal(w->a.checkpoints, 0);
}

static void all_nics_leave(void **state)
{
	struct world *w = *state;
	struct chan_msg m;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	client_expect_nothing(w, &w->a);
	order(w, &w->a, PROXY_SILENCE, 0, false);
	peer_expect(w, &m, CHAN_LEFT);
	assert_int_equal(m.nic, 0);
	peer_expect(w, &m, CHAN_LEFT);
	assert_int_equal(m.nic, 1);
	guest_says(w, &w->a, 1);
	says_on_second(w, &w->a, 2);
	client_expect_nothing(w, &w->a);
}

static void all_nics_are_taken_over(void **state)
{
	struct world *w = *state;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, false);
	client_says(w, &w->a, 1);
	datagram2(w, true, 2);
	send_frame(&w->a, &w->m);
	expect(w, &w->a, 1);
	expect_on_second(w, &w->a, 2);
	await(w, status(&w->a).mirrored == 2);
	order(w, &w->b, PROXY_TAKE_OVER, 1, false);
	expect(w, &w->b, 1);
	expect_on_second(w, &w->b, 2);
	guest_says(w, &w->b, 3);
	client_expect(w, &w->b, 3);
	says_on_second(w, &w->b, 4);
	client_expect(w, &w->b, 4);
	assert_true(w->b.announced >= 2);
}

static void remake_bridge(const struct host *h)
{
	enter(h);
	run("ip link add " BRIDGE " type bridge mcast_snooping 0 && ip link set " BRIDGE " up &&"
	    "ip link set wire master " BRIDGE " && ip link set other master " BRIDGE);
}

static void remove_bridge(const struct host *h)
{
	enter(h);
	run("ip link del " BRIDGE);
}

static void a_bridge_that_was_made_anew_is_joined_at_a_take_over(void **state)
{
	struct world *w = *state;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, true);
	remove_bridge(&w->b);
	remake_bridge(&w->b);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	assert_true(status(&w->b).nics[0].joined);
	assert_true(status(&w->b).nics[1].joined);
}

static void expect_mtu(const struct host *h, const char *link, const char *mtu)
{
	char command[100];

	enter(h);
	snprintf(command, sizeof(command), "ip link show %s | grep -q ' mtu %s '", link, mtu);
	run(command);
}

static void a_bridge_does_not_shrink_when_the_guest_comes(void **state)
{
	struct world *w = *state;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, true);
	enter(&w->b);
	run("ip link set other mtu 9000");
	expect_mtu(&w->b, BRIDGE, "9000");
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	expect_mtu(&w->b, TAP2, "9000");
	expect_mtu(&w->b, TAP, "60000");
	expect_mtu(&w->b, BRIDGE, "9000");
}

static void a_bridge_that_comes_back_after_the_take_over_is_joined(void **state)
{
	struct world *w = *state;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, true);
	remove_bridge(&w->b);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	assert_false(status(&w->b).nics[0].joined);
	await(w, w->b.notes == 1);
	remake_bridge(&w->b);
	await(w, status(&w->b).nics[0].joined && status(&w->b).nics[1].joined);
	await(w, w->b.notes == 2);
}

static void a_nic_that_cannot_join_keeps_no_other_out(void **state)
{
	struct world *w = *state;

	attach_known(w);
	checkpoint(w, &w->a, &w->b, 1, true);
	enter(&w->b);
	run("ip link del " TAP);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	assert_false(status(&w->b).nics[0].joined);
	assert_true(status(&w->b).nics[1].joined);
}

static int routed(void **state)
{
	return world_of(state, 1, "");
}

static void a_replica_with_a_routed_tap_is_heard_and_hears(void **state)
{
	struct chan_msg in = {.type = CHAN_FRAME_IN, .number = 1}, out;
	uint8_t head[CHAN_ENCODE_MAX], frame[VNET_BYTES + 200] = {};
	struct world *w = *state;
	size_t n;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	order(w, &w->b, PROXY_LOADED, 0, true);
	guest_says(w, &w->b, 1);
	peer_expect(w, &out, CHAN_FRAME_OUT);
	datagram(w, true, 2, 16);
	memcpy(frame + VNET_BYTES, w->m.b, w->m.len);
	in.payload = frame;
	in.payload_len = (uint32_t)(VNET_BYTES + w->m.len);
	n = chan_encode(&in, head);
	assert_int_equal(send(w->peer, head, n, 0), n);
	assert_int_equal(send(w->peer, frame, in.payload_len, 0), in.payload_len);
	guest_expect(w, &w->b, 2);
}

#define NICS_TEST(f) cmocka_unit_test_setup_teardown(f, two_nics, world_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NICS_TEST(each_nic_has_its_own_mark),
		NICS_TEST(output_of_one_nic_is_no_match_for_the_other),
		NICS_TEST(all_nics_leave),
		NICS_TEST(all_nics_are_taken_over),
		NICS_TEST(a_bridge_that_was_made_anew_is_joined_at_a_take_over),
		NICS_TEST(a_bridge_does_not_shrink_when_the_guest_comes),
		NICS_TEST(a_bridge_that_comes_back_after_the_take_over_is_joined),
		NICS_TEST(a_nic_that_cannot_join_keeps_no_other_out),
		cmocka_unit_test_setup_teardown(a_replica_with_a_routed_tap_is_heard_and_hears,
						routed, world_down),
	};

	return run_as_root(tests);
}
