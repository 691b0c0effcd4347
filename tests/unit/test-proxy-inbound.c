// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames to the guest between two proxies: neither lost nor twice, in order, to both guests. */
#include "tests/unit/proxy-rig.h"

/* Nothing waits: what an order would have given to the guest has been given when it is done. */
static void expect_no_more(struct world *w, struct host *h)
{
	if (guest_take(w, h))
		fail_msg("a frame too many for the guest: %lld", (long long)w->seen.number);
}

static void say(struct world *w, struct host *h, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i <= to; i++)
		client_says(w, h, i);
}

static void expect(struct world *w, struct host *h, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i <= to; i++)
		guest_expect(w, h, i);
}

static void ask(struct world *w, const char *mac_of, bool from_guest)
{
	const uint8_t *mac = from_guest ? mk_mac_guest : mk_mac_peer;

	mk_start(&w->m);
	mk_eth(&w->m, mk_mac_all, mac);
	mk_arp(&w->m, 1, mac, from_guest ? GUEST : CLIENT, mk_mac_all, mac_of);
}

static void inbound_frames_reach_both_guests(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 50);
	expect(w, &w->a, 1, 50);
	expect(w, &w->b, 1, 50);
	say(w, &w->a, 51, 51);
	expect(w, &w->b, 51, 51);
	expect(w, &w->a, 51, 51);
	assert_int_equal(status(&w->a).mirrored, 51);
	assert_int_equal(status(&w->b).nics[0].frames_in, 51);
	assert_int_equal(status(&w->b).injected, 51);
}

static void the_replica_hears_nothing_of_its_own_hosts_network(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	client_says(w, &w->b, 1);
	ask(w, GUEST, false);
	send_frame(&w->b, &w->m);
	client_says(w, &w->a, 2);
	guest_expect(w, &w->b, 2);
	expect_no_more(w, &w->b);
}

static void the_replicas_questions_are_answered_from_the_mirror(void **state)
{
	struct world *w = *state;
	struct arp arp;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	ask(w, GUEST, false);
	send_frame(&w->a, &w->m);
	guest_next(w, &w->b); /* the client's question itself */
	assert_int_equal(w->seen.frame.ethertype, ETHERTYPE_ARP_);
	ask(w, CLIENT, true);
	write_frame(w->b.tap, &w->m);
	guest_next(w, &w->b);
	assert_int_equal(w->seen.frame.ethertype, ETHERTYPE_ARP_);
	assert_int_equal(arp_parse(&arp, w->seen.data + 14, w->seen.len - 14), 0);
	assert_int_equal(arp.op, 2);
	assert_memory_equal(arp.sender_mac, mk_mac_peer, 6);
	assert_memory_equal(arp.target_mac, mk_mac_guest, 6);
	client_expect_nothing(w, &w->b);
	assert_int_equal(w->b.announced, 0);
}

/*
 * A checkpoint as QEMU's main loop sees it: all that came was given to the guest, it stopped, then
 * @from to @to come, of which QEMU reads the first one and keeps it for later.
 */
static void close_while_they_come(struct world *w, uint64_t epoch, bool runs, uint32_t from,
				  uint32_t to)
{
	struct proxy_call stop = about_to_stop(&w->a);

	order(w, &w->b, PROXY_STOPPED, 0, false);
	say(w, &w->a, from, to);
	expect(w, &w->a, from, from);
	close_at(w, &w->a, epoch, runs, stop);
	await(w, w->b.marked == epoch);
}

static void frames_that_the_primary_had_not_been_given_come_again_after_the_load(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 3);
	expect(w, &w->b, 1, 3);
	expect(w, &w->a, 1, 3);
	close_while_they_come(w, 2, true, 4, 6);
	expect_no_more(w, &w->b);
	commit_epoch(w, &w->a, &w->b, 2, true);
	expect(w, &w->b, 4, 6);
	say(w, &w->a, 7, 8);
	expect(w, &w->b, 7, 8);
	expect(w, &w->a, 5, 8);
	checkpoint(w, &w->a, &w->b, 3, true);
	expect_no_more(w, &w->a);
	expect_no_more(w, &w->b);
}

/* The guest stands still, since long or because it was stopped now (@ran), and QEMU reads frame 1,
 * which had waited for it, and keeps it. */
static void keep_one_at_a_stop(struct world *w, bool ran)
{
	struct proxy_call stop;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 1);
	expect(w, &w->b, 1, 1); /* it came long ago */
	order(w, &w->b, PROXY_STOPPED, 0, false);
	if (!ran)
		expect(w, &w->a, 1, 1);
	stop = about_to_stop(&w->a);
	stop.ran = ran;
	if (ran)
		expect(w, &w->a, 1, 1);
	close_at(w, &w->a, 2, true, stop);
	await(w, w->b.marked == 2);
	commit_epoch(w, &w->a, &w->b, 2, true);
	expect(w, &w->b, 1, 1);
}

static void a_frame_that_waited_long_and_was_read_after_the_stop_comes_again(void **state)
{
	struct world *w = *state;

	keep_one_at_a_stop(w, true);
	expect_no_more(w, &w->b);
}

static void what_qemu_kept_at_a_stop_was_given_once_the_guest_ran_again(void **state)
{
	struct world *w = *state;

	keep_one_at_a_stop(w, true);
	for (uint64_t epoch = 3; epoch < 6; epoch++) {
		checkpoint(w, &w->a, &w->b, epoch, true);
		expect_no_more(w, &w->b);
	}
}

static void what_qemu_kept_of_a_guest_that_did_not_run_is_not_given_yet(void **state)
{
	struct world *w = *state;
	struct proxy_call stop;

	keep_one_at_a_stop(w, false);
	order(w, &w->b, PROXY_STOPPED, 0, false);
	stop = about_to_stop(&w->a);
	stop.ran = false;
	close_at(w, &w->a, 3, true, stop);
	await(w, w->b.marked == 3);
	commit_epoch(w, &w->a, &w->b, 3, true);
	expect(w, &w->b, 1, 1);
}

/* Past the bridge: each has arrived when it was sent. */
static void say_to_tap(struct world *w, int fd, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i <= to; i++) {
		datagram(w, true, i, 16);
		assert_int_equal(send(fd, w->m.b, w->m.len, 0), w->m.len);
	}
}

static uint64_t mark_of(struct world *w, uint64_t epoch)
{
	struct chan_msg m;

	close_now(w, &w->a, epoch, true);
	peer_expect(w, &m, CHAN_EPOCH);
	assert_int_equal(m.number, epoch);
	return m.mark;
}

static void frames_from_before_the_mirror_do_not_count_as_those_that_were_mirrored(void **state)
{
	struct world *w = *state;
	int fd;

	order(w, &w->a, PROXY_PASS, 0, false);
	enter(&w->a);
	fd = packet_socket(TAP);
	say_to_tap(w, fd, 1, 50);
	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	say_to_tap(w, fd, 51, 60);
	await(w, status(&w->a).mirrored == 10);
	expect(w, &w->a, 1, 20);
	assert_int_equal(mark_of(w, 1), 0);
	expect(w, &w->a, 21, 55);
	assert_int_equal(mark_of(w, 2), 0);
	expect(w, &w->a, 56, 60);
	assert_int_equal(mark_of(w, 3), 10);
	say_to_tap(w, fd, 61, 65);
	expect(w, &w->a, 61, 63);
	assert_int_equal(mark_of(w, 4), 13);
	close(fd);
}

static void a_tap_that_is_never_empty_does_not_keep_the_mark_for_ever(void **state)
{
	struct world *w = *state;
	int fd;

	order(w, &w->a, PROXY_PASS, 0, false);
	enter(&w->a);
	fd = packet_socket(TAP);
	say_to_tap(w, fd, 1, 50);
	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	for (uint32_t i = 51; i <= 1550; i++) {
		say_to_tap(w, fd, i, i);
		expect(w, &w->a, i - 50, i - 50);
	}
	await(w, status(&w->a).mirrored == 1500);
	assert_in_range(mark_of(w, 1), 1, 1450);
	close(fd);
}

static void frames_that_were_given_to_the_primary_do_not_come_again(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 5);
	expect(w, &w->b, 1, 5);
	expect(w, &w->a, 1, 5);
	for (uint64_t epoch = 2; epoch < 5; epoch++) {
		checkpoint(w, &w->a, &w->b, epoch, true);
		expect_no_more(w, &w->b);
	}
}

static void frames_that_come_while_the_replica_stands_still_wait_for_its_load(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 2);
	expect(w, &w->b, 1, 2);
	expect(w, &w->a, 1, 2);
	close_epoch(w, &w->a, &w->b, 2, true);
	say(w, &w->a, 3, 5);
	await(w, status(&w->a).mirrored == 5);
	expect_no_more(w, &w->b);
	commit_epoch(w, &w->a, &w->b, 2, true);
	expect(w, &w->b, 3, 5);
	expect_no_more(w, &w->b);
}

static void what_waits_in_the_replicas_tap_at_the_load_does_not_come_twice(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 6);
	await(w, status(&w->b).nics[0].frames_in == 6);
	expect(w, &w->b, 1, 2); /* slower than the primary */
	expect(w, &w->a, 1, 6);
	close_while_they_come(w, 2, true, 7, 9);
	commit_epoch(w, &w->a, &w->b, 2, true);
	expect(w, &w->b, 7, 9);
	expect_no_more(w, &w->b);
}

/* More than a tap queues; the replica reads only when the primary has read all. */
static void a_slow_replica_gets_every_frame(void **state)
{
	struct world *w = *state;
	const uint32_t count = TAP_QUEUE_FRAMES + 500;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	for (uint32_t i = 1; i <= count; i++) {
		client_says(w, &w->a, i);
		guest_expect(w, &w->a, i);
	}
	await(w, status(&w->a).mirrored == count);
	expect(w, &w->b, 1, count);
	expect_no_more(w, &w->b);
	assert_int_equal(status(&w->b).mirror_lost, 0);
}

static void every_checkpoint_finds_its_own_place(void **state)
{
	struct world *w = *state;
	struct rng rng = {.state = 7};
	uint32_t said = 0;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	for (uint64_t epoch = 2; epoch < 30; epoch++) {
		uint32_t before = (uint32_t)rng_below(&rng, 6),
			 after = (uint32_t)rng_below(&rng, 6);

		say(w, &w->a, said + 1, said + before);
		expect(w, &w->a, said + 1, said + before);
		expect(w, &w->b, said + 1, said + before);
		said += before;
		if (after)
			close_while_they_come(w, epoch, true, said + 1, said + after);
		else
			close_epoch(w, &w->a, &w->b, epoch, true);
		commit_epoch(w, &w->a, &w->b, epoch, true);
		expect(w, &w->b, said + 1, said + after);
		expect_no_more(w, &w->b);
		expect(w, &w->a, said + 2, said + after);
		said += after;
	}
	assert_int_equal(w->a.lost + w->b.lost + w->a.checkpoints, 0);
}

static void nothing_of_its_own_host_reaches_a_replica_that_stands_still(void **state)
{
	struct world *w = *state;
	autoclose int host = -1;

	attach(w, &w->a, &w->b);
	enter(&w->b);
	host = packet_socket(TAP);
	for (uint64_t epoch = 1; epoch < 4; epoch++) {
		order(w, &w->b, PROXY_STOPPED, 0, false);
		datagram(w, true, 1, 16);
		assert_int_equal(send(host, w->m.b, w->m.len, 0), w->m.len);
		assert_false(can_read(w->b.tap, 20));
		checkpoint(w, &w->a, &w->b, epoch, epoch != 3);
		assert_int_equal(send(host, w->m.b, w->m.len, 0), w->m.len);
		if (epoch != 3)
			guest_expect(w, &w->b, 1);
		assert_false(can_read(w->b.tap, 20));
	}
	order(w, &w->b, PROXY_TAKE_OVER, 3, false);
	client_says(w, &w->b, 2);
	guest_expect(w, &w->b, 2);
}

static void periodic_frames_are_kept_until_the_take_over(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, false);
	say(w, &w->a, 1, 4);
	expect(w, &w->a, 1, 4);
	close_while_they_come(w, 2, false, 5, 6);
	commit_epoch(w, &w->a, &w->b, 2, false);
	say(w, &w->a, 7, 8);
	expect(w, &w->a, 6, 8);
	await(w, status(&w->a).mirrored == 8);
	expect_no_more(w, &w->b);
	order(w, &w->a, PROXY_DETACH, 0, false);
	order(w, &w->b, PROXY_TAKE_OVER, 2, false);
	expect(w, &w->b, 5, 8);
	client_says(w, &w->b, 9);
	expect(w, &w->b, 9, 9);
	expect_no_more(w, &w->b);
}

static void a_take_over_between_commit_and_load_goes_on_from_the_commit(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 4);
	expect(w, &w->b, 1, 4);
	expect(w, &w->a, 1, 4);
	close_while_they_come(w, 2, true, 5, 6);
	order(w, &w->b, PROXY_COMMITTED, 2, false);
	order(w, &w->b, PROXY_LOADED, 2, false);
	expect_no_more(w, &w->b);
	order(w, &w->b, PROXY_TAKE_OVER, 2, false);
	expect(w, &w->b, 5, 6);
	expect_no_more(w, &w->b);
}

static void a_take_over_before_the_commit_goes_on_where_the_replica_stands(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	say(w, &w->a, 1, 5);
	expect(w, &w->b, 1, 5);
	expect(w, &w->a, 1, 5);
	close_epoch(w, &w->a, &w->b, 2, true);
	say(w, &w->a, 6, 7);
	await(w, status(&w->a).mirrored == 7);
	order(w, &w->b, PROXY_TAKE_OVER, 1, false);
	expect(w, &w->b, 6, 7);
	expect_no_more(w, &w->b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(inbound_frames_reach_both_guests),
		PROXY_TEST(the_replica_hears_nothing_of_its_own_hosts_network),
		PROXY_TEST(the_replicas_questions_are_answered_from_the_mirror),
		PROXY_TEST(frames_that_the_primary_had_not_been_given_come_again_after_the_load),
		PROXY_TEST(a_frame_that_waited_long_and_was_read_after_the_stop_comes_again),
		PROXY_TEST(what_qemu_kept_at_a_stop_was_given_once_the_guest_ran_again),
		PROXY_TEST(what_qemu_kept_of_a_guest_that_did_not_run_is_not_given_yet),
		PROXY_TEST(frames_from_before_the_mirror_do_not_count_as_those_that_were_mirrored),
		PROXY_TEST(a_tap_that_is_never_empty_does_not_keep_the_mark_for_ever),
		PROXY_TEST(frames_that_were_given_to_the_primary_do_not_come_again),
		PROXY_TEST(frames_that_come_while_the_replica_stands_still_wait_for_its_load),
		PROXY_TEST(what_waits_in_the_replicas_tap_at_the_load_does_not_come_twice),
		PROXY_TEST(a_slow_replica_gets_every_frame),
		PROXY_TEST(every_checkpoint_finds_its_own_place),
		PROXY_TEST(nothing_of_its_own_host_reaches_a_replica_that_stands_still),
		PROXY_TEST(periodic_frames_are_kept_until_the_take_over),
		PROXY_TEST(a_take_over_between_commit_and_load_goes_on_from_the_commit),
		PROXY_TEST(a_take_over_before_the_commit_goes_on_where_the_replica_stands),
	};

	return run_as_root(tests);
}
