// SPDX-License-Identifier: GPL-2.0-or-later
/* Sender and receiver over connections that break: what arrived is not sent again, and nothing is lost. */
#include "tests/unit/tx-resume-rig.h"

/* ---- what is sent again ---- */

static void what_arrived_whole_is_not_sent_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	cut_epoch_2(r, &relay, RESUME_BYTES + 3 * FRAME_BYTES + FRAME_BYTES / 2);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	assert_int_equal(r->secondary.rx.frames, 3);
	resume_well(r, &relay, NO_CUT, 1, false, &res);
	assert_int_equal(res.epoch, 2);
	assert_int_equal(res.saved_pages, 3 * WIRE_PAGES_MAX);
	assert_in_range(res.resent_pages, WIRE_PAGES_MAX, 500 - 3 * WIRE_PAGES_MAX);
	round_trip(r, NO_BOUND);
	checkpoint(r);
	assert_int_equal(r->secondary.send.entries, 500 - 3 * WIRE_PAGES_MAX);
	end(r, &relay);
}

static void a_page_that_changed_after_it_arrived_is_sent_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	cut_epoch_2(r, &relay, NO_CUT);
	round_trip(r, NO_BOUND);
	side_write(&r->primary, 7, 1);
	side_write(&r->primary, 8, 2);
	capture(r);
	side_write(&r->primary, 8, 3); /* of the next epoch */
	relay_close(&relay);
	receiver_await(&r->secondary);
	rx_suspend(&r->secondary.rx);
	resume_well(r, &relay, NO_CUT, 1, true, &res);
	assert_true(res.closed);
	assert_int_equal(r->tx.unsent_slots, res.resent_pages + 2);
	side_write(&r->primary, 8, 2);
	finish(r, 0, 1);
	receiver_apply(&r->secondary);
	assert_replicated(r);
	end(r, &relay);
}

/* The torn frame's pages had come whole before, with what they held then. */
static void a_page_torn_over_an_earlier_one_is_sent_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	cut_epoch_2(r, &relay,
		    RESUME_BYTES + 7 * FRAME_BYTES + 12 + 12 + 8 * 52 + 52 * PAGE_BYTES +
			    FRAME_BYTES - 100);
	round_or_cut(r, NO_BOUND);
	for (uint64_t p = 0; p < 64; p++)
		side_write(&r->primary, p, p + 5000);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	assert_int_equal(r->secondary.rx.frames, 8);
	resume_well(r, &relay, NO_CUT, 1, false, &res);
	assert_int_equal(res.saved_pages, 500 - 64);
	assert_int_equal(res.resent_pages, 64);
	checkpoint(r);
	end(r, &relay);
}

/* Whatever the primary believes (S2). */
static void a_torn_page_that_does_not_come_again_is_refused(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;
	struct err e;

	cut_epoch_2(r, &relay, RESUME_BYTES + 3 * FRAME_BYTES + FRAME_BYTES / 2);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	resume_well(r, &relay, NO_CUT, 1, false, &res);
	for (uint64_t p = 3 * WIRE_PAGES_MAX; p < 4 * WIRE_PAGES_MAX; p++) {
		bitmap_clear(&r->tx.unsent, pagestore_find(&r->tx.outbox, p));
		r->tx.unsent_slots--;
	}
	capture(r);
	assert_ok(tx_finish(&r->tx, 0, 1, &e), &e);
	assert_int_equal(receiver_await(&r->secondary), -EBADMSG);
	assert_non_null(strstr(err_msg(&r->secondary.why), "64 pages are missing"));
	end(r, &relay);
}

static void a_link_may_break_any_number_of_times_in_a_row(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	cut_epoch_2(r, &relay, RESUME_BYTES + 2 * FRAME_BYTES + 5000);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	for (unsigned i = 0; i < 4; i++) { /* each with some bytes of a frame, or of RESUME */
		resume(r, &relay, i ? RESUME_BYTES + 5000 * i : 13, 1, false, false, &res);
		if (!r->tx.link_failed)
			round_or_cut(r, NO_BOUND);
		await_cut(r, &relay);
		assert_int_equal(r->secondary.rx.frames, 2);
	}
	resume_well(r, &relay, NO_CUT, 1, false, &res);
	assert_int_equal(res.saved_pages, 2 * WIRE_PAGES_MAX);
	checkpoint(r);
	end(r, &relay);
}

/* ---- the first full copy ---- */

static void a_copy_goes_on_where_it_was_cut(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;
	uint64_t sent;

	for (uint64_t p = 0; p < RIG_PAGES; p++)
		side_write(&r->primary, p, p + 1);
	begin_copy(r, &relay, 10 * FRAME_BYTES + FRAME_BYTES / 3);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	sent = r->stats->bytes_sent;
	resume_well(r, &relay, NO_CUT, 0, false, &res);
	assert_int_equal(res.saved_pages, 10 * WIRE_PAGES_MAX);
	write_some(r, &r->primary, 20);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	assert_in_range(r->stats->bytes_sent - sent, 0,
			(RIG_PAGES - 10 * WIRE_PAGES_MAX + 20) * (PAGE_BYTES + 10));
	checkpoint(r);
	end(r, &relay);
}

/* Its copy is in the outbox then, and RAM must not be sent beside it. */
static void a_missing_page_that_is_written_comes_once(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	for (uint64_t p = 0; p < RIG_PAGES; p++)
		side_write(&r->primary, p, p + 1);
	begin_copy(r, &relay, 2 * FRAME_BYTES);
	round_or_cut(r, 5 * 64 * PAGE_BYTES);
	await_cut(r, &relay);
	resume_well(r, &relay, NO_CUT, 0, false, &res);
	assert_true(bitmap_test(&r->tx.missing, 130));
	side_write(&r->primary, 130, 77);
	round_trip(r, 1);
	assert_false(bitmap_test(&r->tx.missing, 130));
	side_write(&r->primary, 130, 78);
	round_trip(r, NO_BOUND);
	side_write(&r->primary, 130, 77);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	checkpoint(r);
	end(r, &relay);
}

/* The guest runs on when a checkpoint is sent, so what was in RAM only cannot be had any more. */
static void a_first_checkpoint_that_misses_pages_of_the_copy_is_taken_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	for (uint64_t p = 0; p < RIG_PAGES; p++)
		side_write(&r->primary, p, p + 1);
	begin_copy(r, &relay, 16 * FRAME_BYTES);
	round_or_cut(r, NO_BOUND);
	write_some(r, &r->primary, 30);
	capture(r);
	write_some(r, &r->primary, 30); /* it goes on */
	finish_or_cut(r, 1);
	await_cut(r, &relay);
	resume_well(r, &relay, NO_CUT, 0, true, &res);
	assert_false(res.closed);
	assert_false(tx_full_copy_done(&r->tx));
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	checkpoint(r);
	end(r, &relay);
}

static void a_first_checkpoint_that_has_all_of_the_copy_stands(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	for (uint64_t p = 0; p < RIG_PAGES; p++)
		side_write(&r->primary, p, p + 1);
	begin_copy(r, &relay, NO_CUT);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	while (r->secondary.stats->bytes_received < r->stats->bytes_sent)
		;
	write_some(r, &r->primary, 30);
	capture(r);
	relay_close(&relay);
	receiver_await(&r->secondary);
	rx_suspend(&r->secondary.rx);
	resume_well(r, &relay, NO_CUT, 0, true, &res);
	assert_true(res.closed);
	checkpoint(r);
	end(r, &relay);
}

/* ---- all again ---- */

static void a_damaged_digest_makes_all_come_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	cut_epoch_2(r, &relay, RESUME_BYTES + 3 * FRAME_BYTES + 100);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	r->secondary.rx.digest ^= 1;
	memset(r->secondary.rep.stage.data, 0x55, PAGE_BYTES); /* why it differs */
	resume_well(r, &relay, NO_CUT, 1, true, &res);
	assert_true(r->secondary.resume.flags & WIRE_RESUME_RESTART);
	assert_true(res.closed);
	assert_int_equal(res.saved_pages, 0);
	checkpoint(r);
	assert_int_equal(r->secondary.send.entries, 500);
	end(r, &relay);
}

static void a_damaged_digest_makes_a_copy_begin_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	for (uint64_t p = 0; p < RIG_PAGES; p++)
		side_write(&r->primary, p, p + 1);
	begin_copy(r, &relay, NO_CUT);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	side_write(&r->primary, 5, 900);
	round_trip(r, NO_BOUND);
	capture(r);
	relay_close(&relay);
	receiver_await(&r->secondary);
	rx_suspend(&r->secondary.rx);
	r->secondary.rx.digest ^= 1;
	memset(r->secondary.rep.cache, 0x55, PAGE_BYTES);
	resume_well(r, &relay, NO_CUT, 0, true, &res);
	assert_false(res.closed);
	/* The copy from RAM takes this along; then it is again what it was in the outbox once. */
	side_write(&r->primary, 5, 901);
	round_trip(r, 40 * PAGE_BYTES);
	side_write(&r->primary, 5, 900);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	checkpoint(r);
	end(r, &relay);
}

static void what_is_too_long_ago_to_be_known_comes_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	cut_epoch_2(r, &relay, RESUME_BYTES + 3 * FRAME_BYTES + 100);
	round_or_cut(r, NO_BOUND);
	await_cut(r, &relay);
	r->tx.frames = 3 + TX_DIGESTS;
	resume_well(r, &relay, NO_CUT, 1, false, &res);
	assert_true(r->secondary.resume.flags & WIRE_RESUME_RESTART);
	checkpoint(r);
	end(r, &relay);
}

/* ---- complete, committed ---- */

static void of_a_complete_epoch_nothing_is_sent_again(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;
	uint64_t sent;

	cut_epoch_2(r, &relay, NO_CUT);
	capture(r);
	finish(r, 0, 1);
	rx_suspend(&r->secondary.rx);
	relay_close(&relay);
	sent = r->stats->bytes_sent;
	assert_int_equal(resume(r, &relay, NO_CUT, 1, true, true, &res), 0);
	turn_until(r->secondary.loop, r->secondary.resumes == 2);
	assert_true(res.complete && res.closed && !res.committed);
	assert_int_equal(res.saved_pages, 500);
	assert_int_equal(r->stats->bytes_sent - sent, RESUME_BYTES);
	receiver_apply(&r->secondary);
	assert_replicated(r);
	rx_continue(&r->secondary.rx);
	tx_committed(&r->tx);
	write_some(r, &r->primary, 50);
	checkpoint(r);
	end(r, &relay);
}

/* The word of the commit was lost; the stage is being applied while the links change. */
static void a_lost_commit_is_told_by_the_bitmap(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;

	for (int applied = 0; applied < 3; applied++) {
		unsigned resumes;

		if (!applied)
			cut_epoch_2(r, &relay, NO_CUT);
		else
			write_some(r, &r->primary, 100);
		resumes = r->secondary.resumes;
		capture(r);
		finish(r, 0, 1);
		rx_suspend(&r->secondary.rx);
		relay_close(&relay);
		receiver_apply(&r->secondary);
		if (applied == 1) /* before the new link, within its greeting, behind it */
			rx_continue(&r->secondary.rx);
		assert_int_equal(resume(r, &relay, NO_CUT, r->tx.epoch, true, true, &res), 0);
		if (applied == 2)
			rx_continue(&r->secondary.rx);
		turn_until(r->secondary.loop, r->secondary.resumes > resumes);
		assert_true(res.committed);
		assert_int_equal(res.epoch, r->tx.epoch + 1);
		if (!applied)
			rx_continue(&r->secondary.rx);
		tx_committed(&r->tx);
		write_some(r, &r->primary, 50);
		checkpoint(r);
	}
	end(r, &relay);
}

/* Told to go on while the thread was busy with a link that broke. */
static void a_word_to_a_thread_that_has_gone_is_not_lost(void **state)
{
	struct rig *r = *state;
	struct tx_resumed res;
	struct relay relay;
	struct err e;

	cut_epoch_2(r, &relay, NO_CUT);
	capture(r);
	finish(r, 0, 1);
	rx_suspend(&r->secondary.rx);
	relay_close(&relay);
	relay_open(&relay, 0); /* nobody reads the bitmap */
	assert_ok(rx_resume(&r->secondary.rx, relay.far, 2, &e), &e);
	receiver_apply(&r->secondary);
	rx_continue(&r->secondary.rx);
	assert_true(receiver_await(&r->secondary) < 0);
	rx_suspend(&r->secondary.rx);
	close(relay.near);
	relay_close(&relay);
	assert_int_equal(r->secondary.rx.epoch, 3);
	assert_int_equal(resume(r, &relay, NO_CUT, 2, true, true, &res), 0);
	assert_true(res.committed);
	tx_committed(&r->tx);
	write_some(r, &r->primary, 50);
	checkpoint(r);
	end(r, &relay);
}

static void a_verify_survives(void **state)
{
	struct rig *r = *state;
	struct apply_verify v;
	struct tx_resumed res;
	struct relay relay;
	struct err e;

	/* 500 pages, and two thirds of the hashes. */
	cut_epoch_2(r, &relay, RESUME_BYTES + 500 * (PAGE_BYTES + 8) + 8 * 24 + 12 + 20 + 6000);
	capture(r);
	assert_ok(tx_hash_ram(&r->tx, &e), &e);
	tx_finish(&r->tx, WIRE_EPOCH_VERIFY, 1, &e);
	await_cut(r, &relay);
	assert_non_null(r->secondary.rep.page_hashes);
	resume_well(r, &relay, NO_CUT, 1, true, &res);
	assert_int_equal(res.saved_pages, 500);
	finish(r, WIRE_EPOCH_VERIFY, 1);
	receiver_apply(&r->secondary);
	apply_verify(&r->secondary.rep, &v);
	assert_int_equal(v.pages, RIG_PAGES);
	assert_int_equal(v.differing, 0);
	tx_committed(&r->tx);
	assert_null(r->tx.page_hashes);
	end(r, &relay);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_arrived_whole_is_not_sent_again),
		test(a_page_that_changed_after_it_arrived_is_sent_again),
		test(a_page_torn_over_an_earlier_one_is_sent_again),
		test(a_torn_page_that_does_not_come_again_is_refused),
		test(a_link_may_break_any_number_of_times_in_a_row),
		test(a_copy_goes_on_where_it_was_cut),
		test(a_missing_page_that_is_written_comes_once),
		test(a_first_checkpoint_that_misses_pages_of_the_copy_is_taken_again),
		test(a_first_checkpoint_that_has_all_of_the_copy_stands),
		test(a_damaged_digest_makes_all_come_again),
		test(a_damaged_digest_makes_a_copy_begin_again),
		test(what_is_too_long_ago_to_be_known_comes_again),
		test(of_a_complete_epoch_nothing_is_sent_again),
		test(a_lost_commit_is_told_by_the_bitmap),
		test(a_word_to_a_thread_that_has_gone_is_not_lost),
		test(a_verify_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
