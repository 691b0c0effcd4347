// SPDX-License-Identifier: GPL-2.0-or-later
/* Taking the network over: what the client gets from which host, once each. */
#include "tests/unit/proxy-connection.h"

static void the_replicas_guest_is_not_heard(void **state)
{
	struct world *w = *state;

	guest_says(w, &w->b, 1);
	client_expect_nothing(w, &w->b);
	attach(w, &w->a, &w->b);
	guest_says(w, &w->b, 2);
	client_expect_nothing(w, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->b, 3);
	mk_start(&w->m);
	mk_eth(&w->m, mk_mac_all, mk_mac_guest);
	mk_arp(&w->m, 1, mk_mac_guest, GUEST, mk_mac_all, CLIENT);
	write_frame(w->b.tap, &w->m);
	await(w, status(&w->a).compare.secondary_packets == 2);
	order(w, &w->b, PROXY_DETACH, 0, false);
	guest_says(w, &w->b, 4);
	client_expect_nothing(w, &w->b);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->b.announced, 0);
}

/* What the client learned is where the guest is now. */
static void a_take_over_joins_the_bridge_and_tells_the_network(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	client_says(w, &w->a, 1); /* so the primary learns the guest's address, and tells it */
	await(w, status(&w->a).mirrored == 1);
	checkpoint(w, &w->a, &w->b, 1, true);
	assert_false(status(&w->b).nics[0].joined);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	client_expect_nothing(w, &w->b);
	assert_true(w->b.announced >= 2); /* RARP, and ARP for the address */
	assert_true(status(&w->b).nics[0].joined);
	assert_string_equal(status(&w->b).side, "pass");
	guest_says(w, &w->b, 2);
	client_expect(w, &w->b, 2);
	await(w, (client_take(w, &w->b), w->b.announced >= 4)); /* said again after a while */
}

static void what_was_released_is_not_sent_again_and_what_was_not_is_sent(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	for (uint32_t i = 1; i <= 5; i++) {
		guest_says(w, &w->a, i);
		guest_says(w, &w->b, i);
	}
	for (uint32_t i = 1; i <= 5; i++)
		client_expect(w, &w->a, i);
	for (uint32_t i = 6; i <= 8; i++)
		guest_says(w, &w->b, i);
	await(w, status(&w->a).compare.secondary_packets == 8);
	order(w, &w->a, PROXY_DETACH, 0, false);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	for (uint32_t i = 6; i <= 8; i++)
		client_expect(w, &w->b, i);
	guest_says(w, &w->b, 9);
	client_expect(w, &w->b, 9);
	client_expect_nothing(w, &w->b);
	client_expect_nothing(w, &w->a);
	assert_int_equal(status(&w->b).replayed, 3);
}

static void what_the_replica_said_before_its_load_is_not_sent_at_the_take_over(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->b, 1);
	await(w, status(&w->a).compare.secondary_packets == 1);
	checkpoint(w, &w->a, &w->b, 2, true);
	order(w, &w->b, PROXY_TAKE_OVER, 2, true);
	client_expect_nothing(w, &w->b);
	guest_says(w, &w->b, 2);
	client_expect(w, &w->b, 2);
}

/* From a, which leaves in order, to b; the packet connection serves on. */
static void switch_over(struct world *w, uint64_t epoch)
{
	checkpoint(w, &w->a, &w->b, epoch, false);
	order(w, &w->a, PROXY_SILENCE, 0, false);
	carry_out(w, &w->b,
		  (struct proxy_call){
			  .op = PROXY_TAKE_OVER, .epoch = epoch, .planned = true, .fd = -1});
}

static void after_a_switch_over_output_waits_from_the_first_packet(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	switch_over(w, 2);
	client_expect_nothing(w, &w->b);
	assert_true(w->b.announced);
	guest_says(w, &w->b, 1);
	await(w, held(&w->b) == 1);
	client_expect_nothing(w, &w->b);
	assert_string_equal(status(&w->b).side, "primary");
	order(w, &w->b, PROXY_PASS, 0, false);
	client_expect(w, &w->b, 1);
	assert_int_equal(w->a.lost + w->b.lost, 0);
}

static void after_a_switch_over_the_session_goes_on_the_other_way(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	switch_over(w, 2);
	guest_says(w, &w->b, 1);
	await(w, held(&w->b) == 1);
	order(w, &w->b, PROXY_ATTACH_PRIMARY, 2, false);
	order(w, &w->a, PROXY_ATTACH_SECONDARY, 2, false);
	client_expect_nothing(w, &w->b);
	close_epoch(w, &w->b, &w->a, 3, true);
	client_expect_nothing(w, &w->b);
	commit_epoch(w, &w->b, &w->a, 3, true);
	client_expect(w, &w->b, 1);
	guest_says(w, &w->b, 2);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->b, 2);
	client_says(w, &w->b, 3);
	guest_expect(w, &w->a, 3);
	guest_expect(w, &w->b, 3);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->a.lost + w->b.lost, 0);
}

static void frames_on_their_way_at_a_switch_over_reach_the_new_host_once(void **state)
{
	struct world *w = *state;
	struct proxy_call c = {.op = PROXY_TAKE_OVER, .epoch = 2, .planned = true, .fd = -1};

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	checkpoint(w, &w->a, &w->b, 2, false);
	for (uint32_t i = 1; i <= 20; i++)
		client_says(w, &w->a, i);
	order(w, &w->a, PROXY_SILENCE, 0, false);
	carry_out(w, &w->b, c);
	for (uint32_t i = 21; i <= 25; i++)
		client_says(w, &w->b, i);
	for (uint32_t i = 1; i <= 25; i++)
		guest_expect(w, &w->b, i);
	assert_false(guest_take(w, &w->b));
}

/* Else the old host's QEMU would keep the first, and give it to its guest at the next switch-over. */
static void frames_that_come_while_a_guest_is_stopped_for_a_switch_over_go_to_the_new_host_only(
	void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	client_says(w, &w->a, 1);
	guest_expect(w, &w->a, 1);
	guest_expect(w, &w->b, 1);
	order(w, &w->a, PROXY_FILTER, 0, false);
	order(w, &w->b, PROXY_STOPPED, 0, false);
	for (uint32_t i = 2; i <= 6; i++)
		client_says(w, &w->a, i);
	await(w, status(&w->a).mirrored == 6);
	switch_over(w, 2);
	for (uint32_t i = 2; i <= 6; i++)
		guest_expect(w, &w->b, i);
	assert_false(guest_take(w, &w->b));
	assert_false(guest_take(w, &w->a));
}

static void a_guest_that_reads_nothing_is_moved_with_what_waits_for_it(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	for (uint32_t i = 1; i <= 3; i++)
		client_says(w, &w->a, i);
	await(w, status(&w->a).mirrored == 3);
	order(w, &w->a, PROXY_FILTER, 0, false);
	switch_over(w, 2);
	for (uint32_t i = 1; i <= 3; i++)
		guest_expect(w, &w->b, i);
	assert_false(guest_take(w, &w->b));
}

static void after_a_switch_over_that_failed_both_guests_go_on_with_the_same_frames(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	order(w, &w->b, PROXY_STOPPED, 0, false);
	order(w, &w->a, PROXY_FILTER, 0, false);
	for (uint32_t i = 1; i <= 3; i++)
		client_says(w, &w->a, i);
	await(w, status(&w->a).mirrored == 3);
	order(w, &w->a, PROXY_UNFILTER, 0, false);
	checkpoint(w, &w->a, &w->b, 2, true);
	assert_false(guest_take(w, &w->b));
	for (uint32_t i = 4; i <= 6; i++) {
		client_says(w, &w->a, i);
		guest_expect(w, &w->a, i);
		guest_expect(w, &w->b, i);
	}
	checkpoint(w, &w->a, &w->b, 3, true);
	assert_false(guest_take(w, &w->b));
}

/* ---- a connection whose numbers differ ---- */

static void both_guests_speak_with_the_client_each_in_its_own_numbers(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	open_connection(w);
	guest_segment(w, &w->b, TCP_ACK, B_ISN + 1, C_ISN + 1, "a hundred words");
	guest_segment(w, &w->a, TCP_ACK, A_ISN + 1, C_ISN + 1, "a hundred words");
	client_next(w, &w->a);
	assert_segment(w, TCP_ACK, A_ISN + 1, C_ISN + 1);
	client_segment(w, &w->a, TCP_ACK, C_ISN + 1, A_ISN + 16, "and back");
	guest_next(w, &w->b);
	assert_segment(w, TCP_ACK, C_ISN + 1, B_ISN + 16);
	client_expect_nothing(w, &w->b);
	assert_int_equal(w->a.checkpoints, 0);
}

static void after_a_take_over_numbers_are_rewritten_in_both_directions(void **state)
{
	take_over_connection(*state);
}

/* An error about the segment with these numbers; @to_guest: about one that the guest has sent. */
static void error_about(struct world *w, bool to_guest, uint32_t seq, uint32_t ack)
{
	static struct mk about;

	start_frame(w, !to_guest, IPPROTO_TCP);
	mk_tcp(&w->m, to_guest ? PORT : PEER, to_guest ? PEER : PORT, TCP_ACK, seq, ack);
	mk_end(&w->m);
	about = w->m;
	start_frame(w, to_guest, IPPROTO_ICMP);
	mk_icmp(&w->m, 3, 4, 0, 1300);
	mk_data(&w->m, about.b + about.l3, about.len - about.l3);
	mk_end(&w->m);
}

static void assert_error(struct world *w, uint32_t seq, uint32_t ack)
{
	struct pkt q;

	assert_true(pkt_parse_quote(&q, &w->seen.pkt));
	assert_int_equal(q.seq, seq);
	assert_int_equal(q.ack, ack);
	assert_int_equal(mk_fold(mk_sum(w->seen.pkt.data + w->seen.pkt.l4_off,
					w->seen.pkt.len - w->seen.pkt.l4_off, 0)),
			 0);
}

static void after_a_take_over_errors_quote_what_their_receiver_knows(void **state)
{
	struct world *w = *state;

	take_over_connection(w);
	error_about(w, true, A_ISN + 16, C_ISN + 9);
	send_frame(&w->b, &w->m);
	guest_next(w, &w->b);
	assert_error(w, B_ISN + 16, C_ISN + 9);
	error_about(w, false, C_ISN + 9, B_ISN + 16);
	write_frame(w->b.tap, &w->m);
	client_next(w, &w->b);
	assert_error(w, C_ISN + 9, A_ISN + 16);
}

static void a_reset_ends_the_rewriting_for_the_next_connection(void **state)
{
	struct world *w = *state;

	take_over_connection(w);
	client_segment(w, &w->b, TCP_RST | TCP_ACK, C_ISN + 9, A_ISN + 16, "");
	guest_next(w, &w->b);
	assert_segment(w, TCP_RST | TCP_ACK, C_ISN + 9, B_ISN + 16);
	client_segment(w, &w->b, TCP_SYN, 90000, 0, "");
	guest_next(w, &w->b);
	assert_segment(w, TCP_SYN, 90000, 0);
	guest_segment(w, &w->b, TCP_SYN | TCP_ACK, 123, 90001, "");
	client_next(w, &w->b);
	assert_segment(w, TCP_SYN | TCP_ACK, 123, 90001);
	client_segment(w, &w->b, TCP_ACK, 90001, 124, "");
	guest_next(w, &w->b);
	assert_segment(w, TCP_ACK, 90001, 124);
}

static void a_rewritten_connection_is_held_released_and_inherited_like_any_other(void **state)
{
	struct world *w = *state;

	take_over_connection(w);
	protect_connection_again(w);
	checkpoint(w, &w->b, &w->a, 2, true);
	guest_segment(w, &w->b, TCP_ACK, B_ISN + 16, C_ISN + 9, "once more");
	await(w, held(&w->b) == 1);
	client_expect_nothing(w, &w->b);
	guest_segment(w, &w->a, TCP_ACK, B_ISN + 16, C_ISN + 9, "once more");
	client_next(w, &w->b);
	assert_segment(w, TCP_ACK, A_ISN + 16, C_ISN + 9);
	order(w, &w->b, PROXY_DETACH, 0, false);
	order(w, &w->a, PROXY_TAKE_OVER, 2, true);
	guest_segment(w, &w->a, TCP_ACK, B_ISN + 25, C_ISN + 9, "the third");
	client_next(w, &w->a);
	assert_segment(w, TCP_ACK, A_ISN + 25, C_ISN + 9);
}

/* ---- a connection whose clocks differ (RFC 7323, 5.3) ---- */

static void guest_segment_at(struct world *w, struct host *h, uint32_t seq, const char *data,
			     uint32_t tsval)
{
	start_frame(w, false, IPPROTO_TCP);
	mk_tcp(&w->m, PORT, PEER, TCP_ACK, seq, 77);
	mk_tcp_ts(&w->m, tsval, 300);
	mk_data(&w->m, data, strlen(data));
	mk_end(&w->m);
	write_frame(h->tap, &w->m);
}

static void of_a_stream_only_what_was_not_released_is_sent_and_its_clock_never_runs_back(
	void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_segment_at(w, &w->a, 1000, "abcd", 5000);
	guest_segment_at(w, &w->b, 1000, "abcd", 4000);
	client_next(w, &w->a);
	assert_segment(w, TCP_ACK, 1000, 77);
	assert_int_equal(w->seen.pkt.tsval, 5000);
	guest_segment_at(w, &w->b, 1004, "efgh", 4010);
	await(w, status(&w->a).compare.secondary_packets == 2);
	order(w, &w->a, PROXY_DETACH, 0, false);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	client_next(w, &w->b);
	assert_segment(w, TCP_ACK, 1004, 77);
	assert_int_equal(w->seen.pkt.tsval, 5000);
	guest_segment_at(w, &w->b, 1008, "ijkl", 4030);
	client_next(w, &w->b);
	assert_segment(w, TCP_ACK, 1008, 77);
	assert_int_equal(w->seen.pkt.tsval, 5020);
	start_frame(w, true, IPPROTO_TCP);
	mk_tcp(&w->m, PEER, PORT, TCP_ACK, 77, 1012);
	mk_tcp_ts(&w->m, 301, 5020);
	mk_end(&w->m);
	send_frame(&w->b, &w->m);
	guest_next(w, &w->b);
	assert_segment(w, TCP_ACK, 77, 1012);
	assert_int_equal(w->seen.pkt.tsval, 301);
	assert_int_equal(w->seen.pkt.tsecr, 4030);
	client_expect_nothing(w, &w->b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(the_replicas_guest_is_not_heard),
		PROXY_TEST(a_take_over_joins_the_bridge_and_tells_the_network),
		PROXY_TEST(what_was_released_is_not_sent_again_and_what_was_not_is_sent),
		PROXY_TEST(what_the_replica_said_before_its_load_is_not_sent_at_the_take_over),
		PROXY_TEST(after_a_switch_over_output_waits_from_the_first_packet),
		PROXY_TEST(after_a_switch_over_the_session_goes_on_the_other_way),
		PROXY_TEST(frames_on_their_way_at_a_switch_over_reach_the_new_host_once),
		PROXY_TEST(
			frames_that_come_while_a_guest_is_stopped_for_a_switch_over_go_to_the_new_host_only),
		PROXY_TEST(a_guest_that_reads_nothing_is_moved_with_what_waits_for_it),
		PROXY_TEST(after_a_switch_over_that_failed_both_guests_go_on_with_the_same_frames),
		PROXY_TEST(both_guests_speak_with_the_client_each_in_its_own_numbers),
		PROXY_TEST(after_a_take_over_numbers_are_rewritten_in_both_directions),
		PROXY_TEST(after_a_take_over_errors_quote_what_their_receiver_knows),
		PROXY_TEST(a_reset_ends_the_rewriting_for_the_next_connection),
		PROXY_TEST(a_rewritten_connection_is_held_released_and_inherited_like_any_other),
		PROXY_TEST(
			of_a_stream_only_what_was_not_released_is_sent_and_its_clock_never_runs_back),
	};

	return run_as_root(tests);
}
