// SPDX-License-Identifier: GPL-2.0-or-later
/* A session whose packet connection breaks and comes back: what is held, said again, compared. */
#include "tests/unit/proxy-link.h"

/* With the test itself as the secondary. */
static void resume_to_test(struct world *w, struct host *h)
{
	int fd[2];

	close_fd(&w->peer);
	w->in_len = w->taken = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	w->peer = fd[1];
	carry_out(w, h, (struct proxy_call){.op = PROXY_RESUME, .fd = fd[0]});
}

/* ---- the primary's output ---- */

static void what_is_said_without_a_link_waits_for_the_next_checkpoint(void **state)
{
	struct world *w = *state;

	begin(w, true);
	both_say(w, 1);
	client_expect(w, &w->a, 1);
	guest_says(w, &w->b, 2); /* before the break: the primary knows it */
	await(w, status(&w->a).compare.secondary_packets == 2);
	cut(w);
	hold_one(w, 2);
	guest_says(w, &w->b, 3);
	resume(w);
	hold_one(w, 3);
	both_say(w, 4); /* the secondary's 3 is missing, its 4 is not */
	await(w, status(&w->a).compare.secondary_packets == 3 && held(&w->a) == 3);
	client_expect_nothing(w, &w->a);
	checkpoint(w, &w->a, &w->b, 2, true);
	for (uint32_t i = 2; i <= 4; i++)
		client_expect(w, &w->a, i);
	assert_matches_again(w, 5);
	client_expect_nothing(w, &w->a);
}

/* S1 */
static void what_follows_a_closed_epoch_does_not_leave_with_it(void **state)
{
	struct world *w = *state;

	begin(w, true);
	hold_one(w, 1);
	close_epoch(w, &w->a, &w->b, 2, true);
	hold_one(w, 2);
	cut(w);
	hold_one(w, 3);
	resume(w);
	client_expect_nothing(w, &w->a);
	commit_epoch(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	client_expect_nothing(w, &w->a);
	assert_int_equal(held(&w->a), 2);
	checkpoint(w, &w->a, &w->b, 3, true);
	client_expect(w, &w->a, 2);
	client_expect(w, &w->a, 3);
	assert_matches_again(w, 4);
}

static void an_epoch_closed_without_a_link_is_committed_with_the_next_one(void **state)
{
	struct world *w = *state;

	begin(w, true);
	order(w, &w->b, PROXY_STOPPED, 2, false);
	hold_one(w, 1);
	cut(w);
	close_now(w, &w->a, 2, true);
	hold_one(w, 2);
	assert_false(status(&w->a).compares);
	resume(w);
	await(w, w->b.marked == 2);
	commit_epoch(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	guest_says(w, &w->b, 2); /* as if it had been compared all the time */
	await(w, status(&w->a).compare.secondary_packets == 1);
	client_expect_nothing(w, &w->a);
	checkpoint(w, &w->a, &w->b, 3, true);
	client_expect(w, &w->a, 2);
	assert_matches_again(w, 3);
}

/* Its word that it has did not come. */
static void an_epoch_that_the_secondary_had_committed_is_committed_here_too(void **state)
{
	struct world *w = *state;

	begin(w, true);
	hold_one(w, 1);
	close_epoch(w, &w->a, &w->b, 2, true);
	order(w, &w->b, PROXY_COMMITTED, 2, false);
	order(w, &w->b, PROXY_LOADED, 2, true);
	client_says(w, &w->a, 10);
	guest_expect(w, &w->a, 10);
	guest_expect(w, &w->b, 10);
	cut(w);
	hold_one(w, 2);
	resume(w);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	client_expect(w, &w->a, 1);
	client_expect_nothing(w, &w->a);
	client_says_to_both(w, 11); /* and 10 not again */
	checkpoint(w, &w->a, &w->b, 3, true);
	client_expect(w, &w->a, 2);
	assert_matches_again(w, 3);
}

static void a_link_that_breaks_again_and_again_changes_nothing(void **state)
{
	struct world *w = *state;

	begin(w, true);
	hold_one(w, 1);
	close_epoch(w, &w->a, &w->b, 2, true);
	for (uint32_t i = 2; i <= 4; i++) {
		cut(w);
		hold_one(w, i);
		resume(w);
		client_says(w, &w->a, 100 + i);
		guest_expect(w, &w->a, 100 + i);
	}
	commit_epoch(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	client_expect_nothing(w, &w->a);
	for (uint32_t i = 2; i <= 4; i++)
		guest_expect(w, &w->b, 100 + i); /* they are not in the checkpoint */
	checkpoint(w, &w->a, &w->b, 3, true);
	for (uint32_t i = 2; i <= 4; i++)
		client_expect(w, &w->a, i);
	assert_matches_again(w, 5);
	assert_int_equal(w->a.lost, 0);
}

/* The daemon gives no order for it. */
static void nothing_is_compared_from_the_moment_that_the_connection_is_known_to_be_broken(
	void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	order(w, &w->a, PROXY_COMMIT, 1, false);
	assert_true(status(&w->a).compares);
	close_fd(&w->peer);
	await(w, w->a.lost == 1);
	assert_false(status(&w->a).compares);
	resume_to_test(w, &w->a);
	assert_false(status(&w->a).compares);
	assert_int_equal(w->a.lost, 1);
}

static void more_than_can_be_held_is_dropped_and_what_is_held_stays(void **state)
{
	struct world *w = *state;

	begin(w, true);
	cut(w);
	for (uint32_t i = 1; i <= 4096 + 20; i++)
		guest_says(w, &w->a, i);
	await(w, status(&w->a).nics[0].frames_out == 4096 + 20);
	assert_int_equal(held(&w->a), 4096);
	assert_int_equal(status(&w->a).compare.dropped, 20);
	resume(w);
	checkpoint(w, &w->a, &w->b, 2, true);
	for (uint32_t i = 1; i <= 4096; i++)
		client_expect(w, &w->a, i);
	assert_matches_again(w, 5000);
}

/* ---- words for the daemon ---- */

static void a_checkpoint_is_asked_for_when_the_link_is_back(void **state)
{
	struct world *w = *state;

	begin(w, true);
	assert_int_equal(w->a.checkpoints, 0);
	cut(w);
	hold_one(w, 1);
	resume(w);
	await(w, w->a.checkpoints == 1);
	assert_int_equal(w->a.reason, MISMATCH_LOST);
	cut(w);
	resume(w);
	await(w, w->a.checkpoints == 2);
	checkpoint(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	assert_matches_again(w, 2);
	assert_int_equal(w->a.checkpoints, 2); /* what is missing is known */
}

static void output_that_waits_is_told_of_again_when_the_link_is_back(void **state)
{
	struct world *w = *state;

	begin(w, false);
	hold_one(w, 1);
	await(w, w->a.waits == 1);
	cut(w);
	hold_one(w, 2);
	assert_int_equal(w->a.waits, 1);
	resume(w);
	await(w, w->a.waits == 2);
	checkpoint(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
}

/* ---- what the secondary is told ---- */

static void what_the_secondary_must_know_is_said_again(void **state)
{
	struct world *w = *state;
	struct chan_msg m;
	uint64_t mark;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	for (uint32_t i = 1; i <= 3; i++) {
		client_says(w, &w->a, i);
		guest_expect(w, &w->a, i);
	}
	await(w, status(&w->a).mirrored == 3);
	close_now(w, &w->a, 1, true);
	peer_expect(w, &m, CHAN_OWN_ADDRESS);
	peer_expect(w, &m, CHAN_EPOCH);
	mark = m.mark;
	order(w, &w->a, PROXY_DETACH, 0, false);
	client_says(w, &w->a, 4);
	guest_expect(w, &w->a, 4);
	await(w, status(&w->a).mirrored == 4);
	resume_to_test(w, &w->a);
	peer_next(w, &m);
	assert_int_equal(m.type, CHAN_EPOCH);
	assert_int_equal(m.number, 1);
	assert_int_equal(m.mark, mark);
	peer_next(w, &m);
	assert_int_equal(m.type, CHAN_GAP);
	assert_int_equal(m.number, 4);
	peer_next(w, &m);
	assert_int_equal(m.type, CHAN_OWN_ADDRESS);
	client_says(w, &w->a, 5);
	peer_next(w, &m);
	assert_int_equal(m.type, CHAN_FRAME_IN);
	assert_int_equal(m.number, 5);
	order(w, &w->a, PROXY_COMMIT, 1, false);
	resume_to_test(w, &w->a);
	peer_expect(w, &m, CHAN_OWN_ADDRESS);
	client_says(w, &w->a, 6);
	peer_next(w, &m); /* nothing of a checkpoint that is committed */
	assert_int_equal(m.type, CHAN_FRAME_IN);
}

static void rewritten_connections_are_known_though_the_link_was_broken(void **state)
{
	struct world *w = *state;

	take_over_connection(w);
	protect_connection_again(w);
	cut_between(w, &w->b, &w->a);
	close_now(w, &w->b, 2, true);
	resume_as(w, &w->b, &w->a);
	await(w, w->a.marked == 2);
	commit_epoch(w, &w->b, &w->a, 2, true);
	cut_between(w, &w->b, &w->a);
	order(w, &w->a, PROXY_TAKE_OVER, 2, true);
	guest_segment(w, &w->a, TCP_ACK, B_ISN + 16, C_ISN + 9, "the third");
	client_next(w, &w->a);
	assert_segment(w, TCP_ACK, A_ISN + 16, C_ISN + 9);
}

/* ---- the secondary ---- */

static void the_secondary_is_given_what_is_above_the_marks_and_came(void **state)
{
	struct world *w = *state;

	begin(w, true);
	client_says_to_both(w, 10);
	order(w, &w->b, PROXY_STOPPED, 2, false);
	client_says(w, &w->a, 11);
	guest_expect(w, &w->a, 11);
	cut(w);
	client_says(w, &w->a, 12);
	guest_expect(w, &w->a, 12);
	close_now(w, &w->a, 2, true);
	client_says(w, &w->a, 13); /* nobody else has it */
	guest_expect(w, &w->a, 13);
	await(w, status(&w->a).mirrored == 4);
	resume(w);
	client_says(w, &w->a, 14);
	guest_expect(w, &w->a, 14);
	await(w, w->b.marked == 2);
	commit_epoch(w, &w->a, &w->b, 2, true);
	guest_expect(w, &w->b, 14);
	checkpoint(w, &w->a, &w->b, 3, true);
	assert_matches_again(w, 20);
}

static void a_replica_that_ran_on_without_a_link_takes_over_with_all_that_was_not_let_out(
	void **state)
{
	struct world *w = *state;

	begin(w, true);
	both_say(w, 1);
	client_expect(w, &w->a, 1);
	guest_says(w, &w->b, 2);
	cut(w);
	guest_says(w, &w->b, 3);
	await(w, status(&w->b).nics[0].frames_out == 3);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	client_expect(w, &w->b, 2);
	client_expect(w, &w->b, 3);
	client_expect_nothing(w, &w->b);
}

static void a_replica_that_ran_on_through_a_resume_takes_over_with_all_that_was_not_let_out(
	void **state)
{
	struct world *w = *state;

	begin(w, true);
	both_say(w, 1);
	client_expect(w, &w->a, 1);
	cut(w);
	both_say(w, 2);
	resume(w);
	both_say(w, 3);
	await(w, held(&w->a) == 2);
	await(w, status(&w->b).nics[0].frames_out == 3);
	cut(w);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	client_expect(w, &w->b, 2);
	client_expect(w, &w->b, 3);
	client_expect_nothing(w, &w->b);
	client_expect_nothing(w, &w->a);
}

static void a_replica_that_stands_still_takes_over_with_what_had_come(void **state)
{
	struct world *w = *state;

	begin(w, false);
	hold_one(w, 1);
	close_epoch(w, &w->a, &w->b, 2, false);
	client_says(w, &w->a, 10);
	guest_expect(w, &w->a, 10);
	await(w, status(&w->a).mirrored == 1);
	order(w, &w->b, PROXY_COMMITTED, 2, false);
	cut(w);
	client_says(w, &w->a, 11);
	order(w, &w->b, PROXY_LOADED, 2, false);
	order(w, &w->b, PROXY_TAKE_OVER, 2, false);
	guest_expect(w, &w->b, 10);
	assert_false(guest_take(w, &w->b));
	client_expect_nothing(w, &w->b);
	client_expect_nothing(w, &w->a);
}

/* A session whose epoch was closed ended without a commit; another one has closed nothing yet. */
static void of_an_earlier_sessions_epoch_nothing_is_said(void **state)
{
	struct world *w = *state;
	struct chan_msg m;

	begin(w, true);
	close_epoch(w, &w->a, &w->b, 2, true);
	cut(w);
	begin_anew(w);
	resume_to_test(w, &w->a);
	client_says(w, &w->a, 1);
	do {
		peer_next(w, &m);
		assert_int_not_equal(m.type, CHAN_EPOCH);
	} while (m.type != CHAN_FRAME_IN);
}

/* ---- orders of the wrong moment ---- */

static void a_session_that_is_not_there_cannot_go_on(void **state)
{
	struct world *w = *state;

	resume_to_test(w, &w->a);
	await(w, w->a.lost == 1);
	assert_true(can_read(w->peer, 1000));
	order(w, &w->a, PROXY_SHUT, 0, false);
	order(w, &w->a, PROXY_PASS, 0, false);
	guest_says(w, &w->a, 1);
	client_expect(w, &w->a, 1);
}

/* Before anything is protected, nothing is held. */
static void a_link_that_breaks_during_the_first_copy_holds_nothing(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	cut(w);
	guest_says(w, &w->a, 1);
	client_expect(w, &w->a, 1);
	resume(w);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->a, 2);
	checkpoint(w, &w->a, &w->b, 1, true);
	assert_matches_again(w, 3);
	assert_int_equal(w->a.checkpoints, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(what_is_said_without_a_link_waits_for_the_next_checkpoint),
		PROXY_TEST(what_follows_a_closed_epoch_does_not_leave_with_it),
		PROXY_TEST(an_epoch_closed_without_a_link_is_committed_with_the_next_one),
		PROXY_TEST(an_epoch_that_the_secondary_had_committed_is_committed_here_too),
		PROXY_TEST(a_link_that_breaks_again_and_again_changes_nothing),
		PROXY_TEST(
			nothing_is_compared_from_the_moment_that_the_connection_is_known_to_be_broken),
		PROXY_TEST(more_than_can_be_held_is_dropped_and_what_is_held_stays),
		PROXY_TEST(a_checkpoint_is_asked_for_when_the_link_is_back),
		PROXY_TEST(output_that_waits_is_told_of_again_when_the_link_is_back),
		PROXY_TEST(what_the_secondary_must_know_is_said_again),
		PROXY_TEST(rewritten_connections_are_known_though_the_link_was_broken),
		PROXY_TEST(the_secondary_is_given_what_is_above_the_marks_and_came),
		PROXY_TEST(
			a_replica_that_ran_on_without_a_link_takes_over_with_all_that_was_not_let_out),
		PROXY_TEST(
			a_replica_that_ran_on_through_a_resume_takes_over_with_all_that_was_not_let_out),
		PROXY_TEST(a_replica_that_stands_still_takes_over_with_what_had_come),
		PROXY_TEST(of_an_earlier_sessions_epoch_nothing_is_said),
		PROXY_TEST(a_session_that_is_not_there_cannot_go_on),
		PROXY_TEST(a_link_that_breaks_during_the_first_copy_holds_nothing),
	};

	return run_as_root(tests);
}
