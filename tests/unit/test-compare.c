// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core's epochs, modes and time. */
#include "tests/unit/compare-rig.h"

#include "base/quantile.h"

#define SYNACK (TCP_SYN | TCP_ACK)

static void unprotected_output_goes_at_once(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_PASS);

	(void)state;
	p_udp(r, 1, "a");
	rig_tcp(r, TCP_ACK, 1, 1, 0, 9);
	rig_primary(r, 2);
	rig_saw(r, "1s 2s");
	rig_free(r);
}

static void periodic_output_waits_for_its_commit_in_order_of_arrival(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_HOLD);
	struct compare_stats st;

	(void)state;
	p_udp(r, 1, "a");
	rig_tcp(r, TCP_ACK, 1, 1, 0, 900);
	rig_primary(r, 2);
	p_udp(r, 3, "b");
	s_udp(r, "a");
	compare_get_stats(r->c, &st);
	assert_int_equal(st.held_packets, 3);
	assert_int_equal(st.held_bytes, 0); /* bytes nobody will look at are not kept */
	rig_close(r, COMPARE_HOLD);
	p_udp(r, 4, "c");
	rig_saw(r, "");
	rig_commit(r);
	rig_saw(r, "1c 2c 3c");
	r->now += 100 * r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "");
	rig_close(r, COMPARE_HOLD);
	rig_commit(r);
	rig_saw(r, "4c");
	rig_free(r);
}

static void an_epoch_closed_again_after_a_failure_takes_all_along(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "a");
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 2, "b");
	r->epoch--;
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 3, "c");
	compare_commit(r->c, r->epoch - 1, r->now);
	rig_saw(r, "");
	rig_commit(r);
	rig_saw(r, "1c 2c");
	s_udp(r, "c");
	rig_saw(r, "3");
	rig_free(r);
}

/* S1: what the guest sends after a checkpoint follows from it. */
static void nothing_of_the_new_epoch_goes_before_the_old_one_is_committed(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	rig_tcp(r, TCP_ACK, 1, 1, 0, 9);
	rig_primary(r, 1);
	p_udp(r, 2, "a");
	rig_close(r, COMPARE_MATCH);
	rig_tcp(r, TCP_ACK, 1, 1, 0, 9); /* sent again: not committed either */
	rig_primary(r, 3);
	p_udp(r, 4, "b");
	s_udp(r, "b"); /* the packet connection was faster than the control connection */
	rig_tcp(r, TCP_ACK, 10, 1, 0, 9);
	rig_secondary(r);
	r->peer_port = 5;
	s_udp(r, "c");
	p_udp(r, 5, "c");
	rig_saw(r, "");
	rig_commit(r);
	rig_saw(r, "1c 2c 3 4 5");
	rig_free(r);
}

static void what_the_secondary_sent_before_the_checkpoint_is_forgotten(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	s_udp(r, "old");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	p_udp(r, 1, "old");
	rig_saw(r, "");
	s_udp(r, "old");
	rig_saw(r, "1");
	rig_free(r);
}

/* S1: what is missing may make one packet look like another. */
static void while_the_secondary_is_out_of_reach_nothing_is_released_but_by_its_epochs_commit(
	void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	s_udp(r, "c"); /* came before the break */
	rig_tcp(r, TCP_ACK, 1, 1, 0, 9);
	rig_primary(r, 1);
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 2, "a");
	s_udp(r, "b");
	r->peer_port = 5;
	p_udp(r, 3, "a"); /* more flows to go on with at the commit */
	compare_suspend(r->c);
	assert_int_equal(compare_awaited(r->c), r->epoch);
	s_udp(r, "a");
	p_udp(r, 4, "b");
	r->peer_port = 40000;
	s_udp(r, "a");
	p_udp(r, 5, "c");
	rig_saw(r, "");
	rig_commit(r);
	rig_saw(r, "1c");
	assert_int_equal(compare_awaited(r->c), 0);
	s_udp(r, "a");
	rig_tcp(r, TCP_ACK, 1, 1, 0, 9);
	rig_secondary(r);
	r->now += 2 * r->limits.timeout_us; /* nobody waits for a match */
	compare_tick(r->c, r->now);
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 6, "d");
	rig_commit(r);
	rig_saw(r, "2c 3c 4c 5c");
	s_udp(r, "d");
	rig_saw(r, "6");
	rig_free(r);
}

static void what_the_secondary_sent_before_it_was_out_of_reach_is_forgotten(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;

	(void)state;
	s_udp(r, "a");
	rig_tcp(r, TCP_ACK, 10, 1, 10, 9);
	rig_primary(r, 1);
	rig_tcp(r, TCP_ACK, 40, 1, 10, 9);
	rig_secondary(r);
	compare_get_stats(r->c, &st);
	assert_true(st.held_bytes > 0);
	compare_suspend(r->c);
	p_udp(r, 2, "a");
	rig_tcp(r, TCP_ACK, 19, 1, 10, 30);
	rig_primary(r, 3);
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 3c");
	rig_tcp(r, TCP_ACK, 19, 1, 10, 30); /* sent again, in the checkpoint */
	rig_primary(r, 4);
	rig_saw(r, "4");
	rig_free(r);
}

static void a_checkpoint_is_asked_for_again_when_the_secondary_is_back(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	compare_lost(r->c, "before", r->now);
	rig_saw(r, "!lost");
	compare_lost(r->c, "again", r->now);
	rig_saw(r, "");
	compare_suspend(r->c);
	compare_lost(r->c, "the link was broken", r->now);
	rig_saw(r, "!lost");
	rig_free(r);
}

static void output_that_nobody_protects_is_let_go_whoever_is_out_of_reach(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_PASS);

	(void)state;
	compare_suspend(r->c);
	p_udp(r, 1, "a");
	rig_saw(r, "1s");
	rig_free(r);
}

/* Of whatever is held then, nothing is given up; what finds no room is lost, as in the network. */
static void when_there_is_no_room_for_more_the_youngest_is_dropped(void **state)
{
	struct compare_limits l = {.max_held_packets = 3,
				   .max_held_bytes = 1 << 20,
				   .max_flows = 16,
				   .max_half_open = 4,
				   .timeout_us = 1000000,
				   .flow_idle_us = 300000000};
	struct rig *r = rig_new(&l, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "a");
	rig_close(r, COMPARE_MATCH);
	compare_suspend(r->c);
	for (uint32_t i = 2; i <= 6; i++)
		p_udp(r, i, "b");
	rig_saw(r, "4x !full 5x 6x");
	rig_commit(r);
	rig_saw(r, "1c");
	p_udp(r, 7, "b");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "2c 3c 7c");
	rig_free(r);
}

static void streams_are_followed_while_they_are_not_compared(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_HOLD);

	(void)state;
	rig_tcp(r, TCP_ACK, 100, 7, 100, 50);
	rig_primary(r, 1);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c");
	rig_tcp(r, TCP_ACK, 100, 7, 100, 50); /* sent again */
	rig_primary(r, 2);
	rig_tcp(r, TCP_ACK, 150, 7, 100, 50);
	rig_primary(r, 3);
	rig_saw(r, "2");
	rig_tcp(r, TCP_ACK, 150, 7, 100, 50);
	rig_secondary(r);
	rig_saw(r, "3");
	rig_free(r);
}

static void streams_are_followed_while_nobody_protects(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_PASS);

	(void)state;
	rig_tcp(r, TCP_ACK, 100, 7, 100, 50);
	rig_primary(r, 1);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_tcp(r, TCP_ACK, 100, 7, 100, 50);
	rig_primary(r, 2);
	rig_saw(r, "1s 2");
	rig_free(r);
}

/* Port numbers come again, and 2 GB more make old numbers of new ones. */
static void streams_that_went_on_unseen_are_not_taken_for_matched(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_PASS);

	(void)state;
	rig_tcp(r, TCP_ACK, 5000, 9000, 5000, 50);
	rig_primary(r, 1);
	compare_unseen(r->c);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1s");
	rig_tcp(r, TCP_ACK, 100, 7, 100, 50); /* all its numbers are below */
	rig_primary(r, 2);
	rig_saw(r, "");
	rig_tcp(r, TCP_ACK, 100, 7, 100, 50);
	rig_secondary(r);
	rig_saw(r, "2");
	rig_tcp(r, TCP_RST, 150, 0, 100, 0);
	rig_primary(r, 3);
	rig_saw(r, "");
	rig_free(r);
}

static void what_another_host_carried_on_is_not_known_any_more(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	rig_tcp(r, TCP_RST, 5000, 0, 5000, 0);
	rig_primary(r, 1);
	compare_drop_all(r->c);
	rig_saw(r, "1x");
	compare_pass_all(r->c, r->now);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_tcp(r, TCP_RST, 100, 0, 100, 0);
	rig_primary(r, 2);
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH); /* from here on it is */
	rig_commit(r);
	rig_saw(r, "2c");
	rig_tcp(r, TCP_RST, 100, 0, 100, 0);
	rig_primary(r, 3);
	rig_saw(r, "3");
	rig_free(r);
}

static void when_nobody_protects_any_more_all_goes(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "a");
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 2, "b");
	s_udp(r, "x");
	compare_pass_all(r->c, r->now);
	rig_saw(r, "1s 2s");
	p_udp(r, 3, "c");
	rig_saw(r, "3s");
	rig_free(r);
}

static void the_last_checkpoint_before_protection_ends_is_waited_for(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "a");
	rig_close(r, COMPARE_PASS);
	p_udp(r, 2, "b");
	rig_saw(r, "");
	rig_commit(r);
	rig_saw(r, "1c 2s");
	p_udp(r, 3, "c");
	rig_saw(r, "3s");
	rig_free(r);
}

static void a_silenced_guest_stays_silent(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "a");
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 2, "b");
	compare_drop_all(r->c);
	rig_saw(r, "1x 2x");
	p_udp(r, 3, "c");
	rig_close(r, COMPARE_PASS);
	rig_commit(r);
	p_udp(r, 4, "c");
	rig_saw(r, "3x 4x");
	compare_pass_all(r->c, r->now);
	p_udp(r, 5, "d");
	rig_saw(r, "5s");
	rig_free(r);
}

/* Time */

static void a_packet_without_counterpart_times_out_once_for_its_flow(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;
	uint64_t start = r->now;

	(void)state;
	p_udp(r, 1, "a");
	r->now += 10;
	p_udp(r, 2, "b");
	r->peer_port = 5;
	p_udp(r, 3, "c");
	assert_int_equal(compare_tick(r->c, r->now), start + r->limits.timeout_us);
	r->now = start + r->limits.timeout_us - 1;
	compare_tick(r->c, r->now);
	rig_saw(r, "");
	assert_int_equal(compare_tick(r->c, ++r->now), start + r->limits.timeout_us + 10);
	rig_saw(r, "!timeout");
	assert_string_equal(mismatch_get(&r->ring, 0)->what, "no such packet of the secondary");
	assert_int_equal(mismatch_get(&r->ring, 0)->primary.len, 29);
	r->now += 100;
	compare_tick(r->c, r->now);
	compare_get_stats(r->c, &st);
	assert_int_equal(st.timed_out, 2);
	assert_int_equal(r->ring.count, 2);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 3c");
	rig_free(r);
}

static void a_released_packet_has_no_time_left_to_run_out(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "a");
	compare_tick(r->c, r->now);
	r->peer_port = 5;
	p_udp(r, 2, "b");
	r->peer_port = 40000;
	s_udp(r, "a");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1 2c");
	r->now += r->limits.timeout_us;
	p_udp(r, 3, "c");
	r->peer_port = 5;
	p_udp(r, 4, "d");
	r->peer_port = 40000;
	s_udp(r, "c");
	compare_tick(r->c, r->now);
	rig_saw(r, "3");
	compare_tick(r->c, r->now + r->limits.timeout_us);
	rig_saw(r, "!timeout");
	assert_int_equal(mismatch_get(&r->ring, 0)->key.peer_port, 5);
	rig_free(r);
}

static void time_runs_only_while_the_secondary_does(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	uint64_t end;

	(void)state;
	rig_close(r, COMPARE_MATCH);
	p_udp(r, 1, "a");
	r->now += 5 * r->limits.timeout_us;
	end = compare_tick(r->c, r->now);
	assert_true(end > r->now + r->limits.timeout_us);
	rig_commit(r);
	end = compare_tick(r->c, r->now);
	assert_int_equal(end, r->now + r->limits.timeout_us);
	rig_saw(r, "");
	compare_set_timeout(r->c, 7);
	assert_int_equal(compare_tick(r->c, r->now), r->now + 7);
	compare_tick(r->c, r->now + 7);
	rig_saw(r, "!timeout");
	rig_free(r);
}

static void a_time_out_says_what_is_missing(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	rig_tcp(r, TCP_ACK, 100, 600, 0, 10);
	rig_primary(r, 1);
	rig_tcp(r, TCP_ACK, 100, 500, 0, 10);
	rig_secondary(r);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	assert_string_equal(mismatch_get(&r->ring, 0)->what,
			    "acknowledges 600, the secondary only 500");
	r->peer_port = 7;
	rig_tcp(r, SYNACK, 100, 600, 0, 0);
	rig_primary(r, 2);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	assert_string_equal(mismatch_get(&r->ring, 0)->what, "no SYN of the secondary");
	rig_free(r);
}

static void idle_flows_are_forgotten(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;

	(void)state;
	rig_tcp(r, TCP_ACK, 100, 600, 0, 10);
	rig_secondary(r);
	assert_int_equal(compare_tick(r->c, r->now), r->now + r->limits.flow_idle_us);
	r->now += r->limits.flow_idle_us;
	assert_int_equal(compare_tick(r->c, r->now), UINT64_MAX);
	compare_get_stats(r->c, &st);
	assert_int_equal(st.flows, 0);
	assert_int_equal(st.held_bytes, 0);
	rig_free(r);
}

static void loss_asks_for_a_checkpoint_when_somebody_protects(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_PASS);

	(void)state;
	compare_lost(r->c, "queue overrun", r->now);
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH);
	compare_lost(r->c, "queue overrun", r->now);
	compare_lost(r->c, "queue overrun", r->now);
	rig_saw(r, "!lost");
	assert_int_equal(r->ring.count, 1);
	assert_string_equal(mismatch_get(&r->ring, 0)->what, "queue overrun");
	rig_free(r);
}

static void how_long_packets_were_held_is_measured(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct quantile_view v;

	(void)state;
	p_udp(r, 1, "a");
	r->now += 70;
	s_udp(r, "a");
	p_udp(r, 2, "b");
	r->now += 500;
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	quantile_view(compare_hold_us(r->c), &v);
	assert_int_equal(v.count, 2);
	assert_int_equal(v.p50, 70);
	assert_int_equal(v.max, 500);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unprotected_output_goes_at_once),
		cmocka_unit_test(periodic_output_waits_for_its_commit_in_order_of_arrival),
		cmocka_unit_test(an_epoch_closed_again_after_a_failure_takes_all_along),
		cmocka_unit_test(nothing_of_the_new_epoch_goes_before_the_old_one_is_committed),
		cmocka_unit_test(what_the_secondary_sent_before_the_checkpoint_is_forgotten),
		cmocka_unit_test(
			while_the_secondary_is_out_of_reach_nothing_is_released_but_by_its_epochs_commit),
		cmocka_unit_test(what_the_secondary_sent_before_it_was_out_of_reach_is_forgotten),
		cmocka_unit_test(a_checkpoint_is_asked_for_again_when_the_secondary_is_back),
		cmocka_unit_test(output_that_nobody_protects_is_let_go_whoever_is_out_of_reach),
		cmocka_unit_test(when_there_is_no_room_for_more_the_youngest_is_dropped),
		cmocka_unit_test(streams_are_followed_while_they_are_not_compared),
		cmocka_unit_test(streams_are_followed_while_nobody_protects),
		cmocka_unit_test(streams_that_went_on_unseen_are_not_taken_for_matched),
		cmocka_unit_test(what_another_host_carried_on_is_not_known_any_more),
		cmocka_unit_test(when_nobody_protects_any_more_all_goes),
		cmocka_unit_test(the_last_checkpoint_before_protection_ends_is_waited_for),
		cmocka_unit_test(a_silenced_guest_stays_silent),
		cmocka_unit_test(a_packet_without_counterpart_times_out_once_for_its_flow),
		cmocka_unit_test(a_released_packet_has_no_time_left_to_run_out),
		cmocka_unit_test(time_runs_only_while_the_secondary_does),
		cmocka_unit_test(a_time_out_says_what_is_missing),
		cmocka_unit_test(idle_flows_are_forgotten),
		cmocka_unit_test(loss_asks_for_a_checkpoint_when_somebody_protects),
		cmocka_unit_test(how_long_packets_were_held_is_measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
