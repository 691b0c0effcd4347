// SPDX-License-Identifier: GPL-2.0-or-later
/* Checkpoints from one guest's RAM into another's: sender, socket, receiver and apply in one process. */
#include "tests/unit/tx-rig.h"

/* ---- whole sessions ---- */

/* The secondary's RAM holds an earlier life: pages that are zero on the primary must become so. */
static void a_full_copy_replaces_whatever_was_there(void **state)
{
	struct rig *r = *state;

	write_some(r, &r->secondary.side, RIG_PAGES);
	tracker_arm(&r->secondary.side.tracker, NULL);
	synchronise(r);
}

static void a_full_copy_takes_writes_before_and_behind_its_cursor_along(void **state)
{
	struct rig *r = *state;
	struct err e;

	write_some(r, &r->primary, RIG_PAGES);
	r->secondary.rep.direct = true;
	assert_ok(tx_open(&r->tx, receiver_start(&r->secondary, 1), 1, true, &e), &e);
	while (!tx_full_copy_done(&r->tx)) {
		round_trip(r, 20 * PAGE_BYTES);
		write_some(r, &r->primary, 5);
	}
	checkpoint(r);
}

static void a_full_copy_ends_though_the_guest_writes_faster_than_it_is_sent(void **state)
{
	struct rig *r = *state;
	struct err e;

	write_some(r, &r->primary, RIG_PAGES);
	r->secondary.rep.direct = true;
	assert_ok(tx_open(&r->tx, receiver_start(&r->secondary, 1), 1, true, &e), &e);
	for (unsigned rounds = 0; !tx_full_copy_done(&r->tx); rounds++) {
		assert_true(rounds < RIG_PAGES);
		round_trip(r, 10 * PAGE_BYTES);
		write_some(r, &r->primary, 100);
	}
	checkpoint(r);
}

static void every_epoch_makes_both_sides_equal(void **state)
{
	struct rig *r = *state;

	synchronise(r);
	for (unsigned epoch = 2; epoch < 40; epoch++) {
		for (unsigned round = 0; round < epoch % 4; round++) {
			write_some(r, &r->primary, 30);
			round_trip(r, rng_below(&r->rng, 100) * PAGE_BYTES);
		}
		write_some(r, &r->primary, epoch % 7 ? 20 : 0);
		write_some(r, &r->secondary.side, epoch % 3 ? 25 : 0); /* it runs, too */
		checkpoint(r);
		assert_int_equal(r->secondary.send.epoch, epoch);
	}
}

static void a_tracker_that_repeats_itself_changes_nothing(void **state)
{
	struct rig *r = *state;

	r->primary.tracker.cumulative = true;
	synchronise(r);
	for (unsigned epoch = 2; epoch < 12; epoch++) {
		write_some(r, &r->primary, 50);
		assert_true(round_trip(r, NO_BOUND) > 0);
		assert_int_equal(round_trip(r, NO_BOUND), 0);
		checkpoint(r);
		assert_int_equal(round_trip(r, NO_BOUND), 0);
	}
}

/* The old secondary's RAM is its last checkpoint, and the trackers of both sides go on. */
static void after_a_switch_over_no_full_copy_is_needed(void **state)
{
	struct rig *r = *state;
	struct err e;
	int fd;

	synchronise(r);
	write_some(r, &r->primary, 40);
	capture(r);
	finish(r, WIRE_EPOCH_SWITCH, 1);
	receiver_apply(&r->secondary);
	close(rx_detach(&r->secondary.rx));
	tx_close(&r->tx);
	apply_adopt(&r->secondary.rep);
	assert_replicated(r);
	fd = receiver_start(&r->secondary, 3);
	write_some(r, &r->primary, 10); /* what the load wrote */
	assert_ok(tx_open(&r->tx, fd, 3, false, &e), &e);
	assert_true(tx_full_copy_done(&r->tx));
	for (int i = 0; i < 5; i++) {
		write_some(r, &r->primary, 10);
		checkpoint(r);
	}
}

static void an_aborted_checkpoint_loses_no_write(void **state)
{
	struct rig *r = *state;

	synchronise(r);
	write_some(r, &r->primary, 50);
	capture(r); /* and QEMU could not save its devices: the guest goes on */
	write_some(r, &r->primary, 50);
	round_trip(r, 10 * PAGE_BYTES);
	capture(r);
	write_some(r, &r->primary, 50);
	checkpoint(r);
}

/* ---- what is sent ---- */

static void a_page_written_twice_arrives_once_with_its_last_content(void **state)
{
	struct rig *r = *state;

	synchronise(r);
	side_write(&r->primary, 77, 1);
	round_trip(r, NO_BOUND);
	side_write(&r->primary, 77, 2);
	round_trip(r, NO_BOUND);
	side_write(&r->primary, 77, 3);
	capture(r);
	finish(r, 0, 1);
	assert_int_equal(r->secondary.send.entries, 3);
	assert_int_equal(r->secondary.rep.stage.used, 1);
	assert_int_equal(r->secondary.rep.stage.page_of[0], 77);
	assert_memory_equal(pagestore_data(&r->secondary.rep.stage, 0), side_page(&r->primary, 77),
			    PAGE_BYTES);
}

static void zero_pages_cost_no_data(void **state)
{
	struct rig *r = *state;
	uint64_t before;

	synchronise(r);
	for (uint64_t p = 0; p < 1000; p++)
		side_write(&r->primary, p, p + 1);
	checkpoint(r);
	for (uint64_t p = 0; p < 1000; p++)
		side_write(&r->primary, p, 0);
	before = r->stats->bytes_sent;
	checkpoint(r);
	assert_int_equal(r->secondary.send.entries, 1000);
	assert_int_equal(r->secondary.send.zero_entries, 1000);
	assert_in_range(r->stats->bytes_sent - before, 8 * 1000, 16 * 1000);
	assert_int_equal(r->stats->bytes_sent, r->secondary.stats->bytes_received);
}

static void a_round_keeps_to_its_budget(void **state)
{
	struct rig *r = *state;
	uint64_t before;

	synchronise(r);
	for (uint64_t p = 0; p < 500; p++)
		side_write(&r->primary, p, p + 1);
	before = r->stats->bytes_sent;
	round_trip(r, 0);
	assert_int_equal(r->stats->bytes_sent, before);
	round_trip(r, 100 * PAGE_BYTES);
	assert_in_range(r->stats->bytes_sent - before, 99 * PAGE_BYTES, 102 * PAGE_BYTES);
	checkpoint(r);
}

static void a_hurried_round_ends_at_the_next_frame(void **state)
{
	struct rig *r = *state;

	synchronise(r);
	for (uint64_t p = 0; p < 500; p++)
		side_write(&r->primary, p, p + 1);
	atomic_store(&r->tx.hurry, true);
	round_trip(r, NO_BOUND);
	assert_int_equal(r->tx.unsent_slots, 500 - WIRE_PAGES_MAX);
	checkpoint(r); /* which sends all, hurry or not */
}

static void preparing_copies_and_sends_nothing(void **state)
{
	struct rig *r = *state;
	uint64_t before;
	struct err e;

	synchronise(r);
	before = r->stats->bytes_sent;
	for (uint64_t p = 0; p < 500; p++)
		side_write(&r->primary, p, p + 1);
	assert_ok(tx_prepare(&r->tx, &e), &e);
	assert_int_equal(r->stats->bytes_sent, before);
	assert_int_equal(r->tx.unsent_slots, 500);
	assert_int_equal(capture(r), 0);
	checkpoint(r);
}

static void draining_leaves_nothing_to_send(void **state)
{
	struct rig *r = *state;
	struct err e;

	synchronise(r);
	for (uint64_t p = 0; p < 500; p++)
		side_write(&r->primary, p, p + 1);
	assert_ok(tx_drain(&r->tx, &e), &e);
	assert_int_equal(r->tx.unsent_slots, 0);
	checkpoint(r);
	assert_int_equal(r->secondary.send.entries, 500);
}

/* A 2 MB page is reported as a whole; only the 4 KB that changed in it are worth sending. */
static void of_a_huge_page_only_the_changed_part_is_sent(void **state)
{
	struct rig *r = malloc(sizeof(*r));

	rig_init(r, 1024, 2 * MIB);
	synchronise(r);
	side_write(&r->primary, 3, 1);
	side_write(&r->primary, 600, 2);
	assert_int_equal(round_trip(r, NO_BOUND), 2);
	side_write(&r->primary, 3, 3);
	bitmap_set(&r->primary.tracker.dirty, 900); /* written with what it held */
	checkpoint(r);
	assert_int_equal(r->secondary.send.entries, 3);
	side_write(&r->primary, 600, 5);
	side_write(&r->primary, 3, 1); /* back to what it once was */
	checkpoint(r);
	assert_int_equal(r->secondary.send.entries, 2);
	*state = r;
	teardown(state);
	*state = NULL;
}

/* ---- verify ---- */

static struct apply_verify verify(struct rig *r, uint64_t damaged_page)
{
	struct apply_verify v;
	struct err e;

	write_some(r, &r->primary, 100);
	write_some(r, &r->secondary.side, 100);
	capture(r);
	assert_ok(tx_hash_ram(&r->tx, &e), &e);
	finish(r, WIRE_EPOCH_VERIFY, 1);
	receiver_apply(&r->secondary);
	if (damaged_page < npages(r))
		side_page(&r->secondary.side, damaged_page)[4095] ^= 1;
	assert_non_null(r->secondary.rep.page_hashes);
	apply_verify(&r->secondary.rep, &v);
	assert_null(r->secondary.rep.page_hashes);
	rx_continue(&r->secondary.rx);
	tx_committed(&r->tx);
	return v;
}

static void a_verify_finds_one_flipped_bit(void **state)
{
	struct rig *r = *state;
	struct apply_verify v;

	synchronise(r);
	v = verify(r, UINT64_MAX);
	assert_int_equal(v.pages, RIG_PAGES);
	assert_int_equal(v.differing, 0);
	v = verify(r, RIG_PAGES - 1);
	assert_int_equal(v.pages, RIG_PAGES);
	assert_int_equal(v.differing, 1);
	assert_int_equal(v.first_differing, RIG_PAGES - 1);
}

/* More pages than one HASHES frame holds. */
static void a_verify_covers_a_guest_of_many_frames(void **state)
{
	struct rig *r = malloc(sizeof(*r));
	struct apply_verify v;

	rig_init(r, 2 * WIRE_HASHES_MAX + 5, PAGE_BYTES);
	synchronise(r);
	v = verify(r, 2 * WIRE_HASHES_MAX + 4);
	assert_int_equal(v.pages, npages(r));
	assert_int_equal(v.differing, 1);
	assert_int_equal(v.first_differing, 2 * WIRE_HASHES_MAX + 4);
	*state = r;
	teardown(state);
	*state = NULL;
}

/* ---- failures ---- */

static void a_broken_link_is_told_from_other_failures(void **state)
{
	struct rig *r = *state;
	struct tx_round round = {};
	struct err e;

	synchronise(r);
	r->primary.tracker.broken = true;
	assert_int_equal(tx_capture(&r->tx, &round, &e), -EIO);
	assert_false(r->tx.link_failed);
	r->primary.tracker.broken = false;
	rx_stop(&r->secondary.rx);
	side_write(&r->primary, 1, 1);
	assert_int_equal(tx_finish(&r->tx, 0, 1, &e), -EPIPE);
	assert_true(r->tx.link_failed);
	assert_non_null(strstr(err_msg(&e), "sending to the secondary"));
}

static void a_closed_session_can_be_followed_by_another(void **state)
{
	struct rig *r = *state;

	for (int i = 0; i < 3; i++) {
		synchronise(r);
		write_some(r, &r->primary, 100);
		round_trip(r, 30 * PAGE_BYTES);
		capture(r);
		rx_stop(&r->secondary.rx);
		tx_close(&r->tx);
		assert_int_equal(r->tx.outbox.used, 0);
		apply_reset(&r->secondary.rep);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_full_copy_replaces_whatever_was_there),
		test(a_full_copy_takes_writes_before_and_behind_its_cursor_along),
		test(a_full_copy_ends_though_the_guest_writes_faster_than_it_is_sent),
		test(every_epoch_makes_both_sides_equal),
		test(a_tracker_that_repeats_itself_changes_nothing),
		test(after_a_switch_over_no_full_copy_is_needed),
		test(an_aborted_checkpoint_loses_no_write),
		test(a_page_written_twice_arrives_once_with_its_last_content),
		test(zero_pages_cost_no_data),
		test(a_round_keeps_to_its_budget),
		test(a_hurried_round_ends_at_the_next_frame),
		test(preparing_copies_and_sends_nothing),
		test(draining_leaves_nothing_to_send),
		cmocka_unit_test(of_a_huge_page_only_the_changed_part_is_sent),
		test(a_verify_finds_one_flipped_bit),
		cmocka_unit_test(a_verify_covers_a_guest_of_many_frames),
		test(a_broken_link_is_told_from_other_failures),
		test(a_closed_session_can_be_followed_by_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
