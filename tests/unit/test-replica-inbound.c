// SPDX-License-Identifier: GPL-2.0-or-later
/* Inbound frames of the replica: S5 against a model of what guests have read, marks, losses. */
#include "tests/unit/replica-net-rig.h"

#include <errno.h>

/*
 * The model. The primary's guest has been given @given frames of a NIC and read @read of them. Of
 * the replica's guest only what it has been given since its checkpoint is real: its history is the
 * frames up to the checkpoint's mark, and then what was injected.
 */
struct model {
	struct rng rng;
	uint64_t given[NICS], read[NICS];
	uint64_t arrived[NICS]; /* the packet connection has brought the frames up to here */
	uint64_t epoch, mark[NICS];
	bool runs;
};

static void history_is_a_prefix_of(uint8_t nic, uint64_t mark)
{
	out.seen_count[nic] = 0;
	for (uint64_t i = 1; i <= mark; i++)
		out.seen[nic][out.seen_count[nic]++] = i;
}

static void assert_history(uint8_t nic, uint64_t upto)
{
	assert_int_equal(out.seen_count[nic], upto);
	for (uint64_t i = 0; i < upto; i++)
		assert_int_equal(out.seen[nic][i], i + 1);
}

/* Bring frames over the connection, up to frame @upto of @nic. */
static void arrive(struct model *o, uint8_t nic, uint64_t upto)
{
	while (o->arrived[nic] < upto)
		mirror(nic, ++o->arrived[nic]);
}

/* One checkpoint with everything that may happen between its messages. */
static void model_checkpoint(struct model *o, bool colo)
{
	bool aborted = !rng_below(&o->rng, 4), late_marks = !rng_below(&o->rng, 3);
	uint64_t epoch = o->epoch + 1, mark[NICS];

	for (uint8_t i = 0; i < NICS; i++)
		mark[i] = o->read[i];
	replica_net_stopped(r);
	if (!late_marks)
		for (uint8_t i = 0; i < NICS; i++) {
			arrive(o, i, mark[i]);
			replica_net_mark(r, epoch, i, mark[i]);
		}
	for (uint8_t i = 0; i < NICS; i++)
		arrive(o, i, o->arrived[i] + rng_below(&o->rng, o->given[i] - o->arrived[i] + 1));
	if (aborted) { /* the replica goes on where it stood */
		replica_net_unmark(r, epoch);
		if (o->runs)
			replica_net_running(r);
		return;
	}
	assert_int_equal(replica_net_is_marked(r, epoch), !late_marks);
	replica_net_committed(r, epoch);
	replica_net_loaded(r, epoch);
	for (uint8_t i = 0; i < NICS; i++)
		history_is_a_prefix_of(i, mark[i]);
	o->runs = colo;
	if (colo)
		replica_net_running(r);
	if (late_marks)
		for (uint8_t i = 0; i < NICS; i++) {
			arrive(o, i, MAX(mark[i], o->arrived[i]));
			replica_net_mark(r, epoch, i, mark[i]);
		}
	o->epoch = epoch;
	memcpy(o->mark, mark, sizeof(mark));
}

static void model_step(struct model *o)
{
	uint8_t nic = (uint8_t)rng_below(&o->rng, NICS);

	switch (rng_below(&o->rng, 8)) {
	case 0:
		model_checkpoint(o, rng_below(&o->rng, 2));
		break;
	case 1:
	case 2:
		o->read[nic] += rng_below(&o->rng, o->given[nic] - o->read[nic] + 1);
		break;
	case 3:
		arrive(o, nic,
		       o->arrived[nic] + rng_below(&o->rng, o->given[nic] - o->arrived[nic] + 1));
		break;
	default:
		o->given[nic] += rng_below(&o->rng, 5);
	}
}

/* As the guest that runs has it: all that arrived, in order; one that stands still has nothing more. */
static void model_check(const struct model *o)
{
	for (uint8_t i = 0; i < NICS; i++)
		if (o->runs)
			assert_history(i, o->arrived[i]);
		else
			assert_history(i, out.seen_count[i]);
}

static void no_inbound_frame_is_lost_or_reordered(void **state)
{
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct model o = {.rng = {seed}};
		uint64_t steps = rng_below(&o.rng, 120);

		assert_int_equal(fresh(state), 0);
		replica_net_attach(r, 0);
		while (steps--) {
			model_step(&o);
			model_check(&o);
		}
		for (uint8_t i = 0; i < NICS; i++)
			arrive(&o, i, o.given[i]);
		if (rng_below(&o.rng, 2))
			replica_net_stopped(r);
		if (rng_below(&o.rng, 2))
			replica_net_catch_up(r);
		replica_net_take_over(r, 0);
		for (uint8_t i = 0; i < NICS; i++)
			assert_history(i, o.given[i]);
		assert_int_equal(out.lost, 0);
		done(state);
	}
}

static void frames_of_a_committed_checkpoint_are_forgotten(void **state)
{
	struct replica_net_stats s;

	(void)state;
	for (uint64_t i = 1; i <= 10; i++)
		mirror(0, i);
	mark_all(1, 7);
	assert_int_equal(out.marked, 1);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.kept_frames, 10);
	replica_net_committed(r, 1);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.kept_frames, 3);
}

static void marks_of_every_nic_are_awaited_before_anything_is_injected(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		mirror(0, i);
	replica_net_committed(r, 1);
	replica_net_loaded(r, 1);
	replica_net_running(r);
	assert_int_equal(out.injected, 0);
	replica_net_mark(r, 1, 0, 3);
	assert_int_equal(out.injected, 0);
	assert_int_equal(out.marked, 0);
	replica_net_mark(r, 1, 1, 0);
	assert_int_equal(out.injected, 1);
	assert_int_equal(out.seen[0][0], 4);
	assert_int_equal(out.marked, 1);
}

static void a_checkpoint_tried_again_has_new_marks(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		mirror(0, i);
	mark_all(1, 1);
	replica_net_unmark(r, 1);
	replica_net_mark(r, 1, 0, 3);
	assert_false(replica_net_is_marked(r, 1));
	replica_net_mark(r, 1, 1, 0);
	assert_true(replica_net_is_marked(r, 1));
	replica_net_committed(r, 1);
	replica_net_loaded(r, 1);
	replica_net_running(r);
	assert_int_equal(out.injected, 1);
}

static void a_frame_seen_twice_or_of_no_nic_is_ignored(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	mirror(0, 1);
	mirror(0, 1);
	mirror(NICS, 1);
	replica_net_mark(r, 2, NICS, 1);
	replica_net_mirrored(r, 0, 2, m.b, REPLICA_VNET_BYTES + 13, 0);
	assert_int_equal(out.injected, 1);
}

static void forgotten_frames_are_no_loss_when_the_guest_had_them(void **state)
{
	const uint64_t count = REPLICA_MIN_FRAMES + 50;

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	for (uint64_t i = 1; i <= count; i++)
		mirror(0, i);
	assert_int_equal(out.injected, count);
	checkpoint(2, 50);
	replica_net_running(r);
	assert_int_equal(out.lost, 0);
	assert_int_equal(out.injected, count + REPLICA_MIN_FRAMES);
}

static void a_checkpoint_that_needs_forgotten_frames_is_a_loss(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	checkpoint(2, 40);
	assert_int_equal(out.lost, 10);
	replica_net_running(r);
	assert_int_equal(out.lost, 10);
}

static void a_replica_standing_still_reports_a_loss_once_for_each_checkpoint(void **state)
{
	(void)state;
	checkpoint(1, 0);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	assert_int_equal(out.lost_calls, 1);
	checkpoint(2, REPLICA_MIN_FRAMES + 50);
	assert_int_equal(out.lost_calls, 1);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 1; i++)
		mirror(0, REPLICA_MIN_FRAMES + 50 + i);
	assert_int_equal(out.lost_calls, 2);
}

static void a_late_frame_of_a_committed_checkpoint_is_not_kept(void **state)
{
	struct replica_net_stats s;

	(void)state;
	checkpoint(1, 5);
	mirror(0, 5);
	mirror(0, 6);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.kept_frames, 1);
	assert_int_equal(s.mirrored, 2);
}

static void a_lost_frame_is_counted_once(void **state)
{
	struct replica_net_stats s;

	(void)state;
	checkpoint(1, 0);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	replica_net_take_over(r, 0);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.lost, 50);
	assert_int_equal(out.injected, REPLICA_MIN_FRAMES);
}

static void a_loss_above_the_marks_is_not_made_up_for(void **state)
{
	(void)state;
	checkpoint(1, 0);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	assert_int_equal(out.lost_calls, 1);
	checkpoint(2, 40);
	assert_int_equal(out.lost_calls, 2);
	assert_int_equal(out.lost, 1 + 10);
}

static void frames_that_never_came_are_a_loss_told_once_for_each_checkpoint(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	mirror(0, 1);
	assert_int_equal(out.lost_calls, 0);
	mirror(0, 5);
	mirror(0, 7);
	assert_int_equal(out.lost_calls, 1);
	assert_int_equal(out.lost, 3);
	checkpoint(2, 7);
	replica_net_running(r);
	assert_int_equal(out.lost_calls, 1);
	mirror(0, 9);
	assert_int_equal(out.lost_calls, 2);
	assert_int_equal(out.injected, 4);
}

static void frames_that_never_came_are_no_loss_below_the_mark_only(void **state)
{
	(void)state;
	mark_all(1, 4);
	mirror(0, 5);
	assert_int_equal(out.lost_calls, 0);
	checkpoint(1, 4);
	replica_net_running(r);
	mirror(0, 8);
	assert_int_equal(out.lost, 2);
	checkpoint(2, 6); /* made up for one of two */
	assert_int_equal(out.lost, 2 + 1);
}

static void frames_that_the_primary_knows_to_be_missing_are_no_loss(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	mirror(0, 1);
	replica_net_gap(r, 0, 5);
	replica_net_gap(r, 1, 0);
	replica_net_gap(r, NICS, 9);
	mirror(0, 5); /* cannot be */
	mirror(0, 6);
	assert_int_equal(out.lost_calls, 0);
	assert_int_equal(out.injected, 2);
	mirror(0, 8); /* but this one is */
	assert_int_equal(out.lost, 1);
	checkpoint(2, 6); /* the gap is made up for, not this */
	assert_int_equal(out.lost, 2);
}

static void neither_are_they_when_what_was_closed_before_is_loaded(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	mark_all(2, 1);
	replica_net_gap(r, 0, 5);
	mark_all(2, 1); /* said again */
	replica_net_stopped(r);
	replica_net_committed(r, 2);
	replica_net_loaded(r, 2);
	replica_net_running(r);
	assert_int_equal(out.lost_calls, 0);
}

static void frames_missing_above_the_next_mark_are_a_loss_all_the_same(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	replica_net_gap(r, 0, 5);
	checkpoint(2, 3);
	assert_int_equal(out.lost, 2);
}

/* The connection broke on the way. */
static void marks_may_be_said_again(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		mirror(0, i);
	mark_all(1, 2);
	replica_net_mark(r, 1, 0, 2);
	assert_true(replica_net_is_marked(r, 1));
	replica_net_committed(r, 1);
	replica_net_mark(r, 1, 0, 2);
	replica_net_loaded(r, 1);
	replica_net_running(r);
	replica_net_mark(r, 1, 1, 2);
	assert_int_equal(out.injected, 2);
	assert_int_equal(out.seen[0][0], 3);
	assert_int_equal(out.lost_calls, 0);
}

static void set_room(bool room)
{
	out.inject_error = -EAGAIN;
	out.inject_fails = room ? 0 : BIT(0);
}

static void frames_that_find_no_room_are_given_later_in_order(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	mirror(0, 1);
	set_room(false);
	mirror(0, 2);
	mirror(1, 1); /* the other NIC has room */
	replica_net_retry(r);
	set_room(true);
	mirror(0, 3); /* must not overtake */
	assert_int_equal(out.seen_count[0], 1);
	assert_int_equal(out.seen_count[1], 1);
	replica_net_retry(r);
	mirror(0, 4);
	assert_history(0, 4);
	assert_history(1, 1);
	assert_int_equal(out.lost_calls, 0);
}

static void frames_that_found_no_room_are_not_given_to_a_guest_that_stands_still(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	set_room(false);
	mirror(0, 1);
	mirror(0, 2);
	replica_net_stopped(r);
	set_room(true);
	replica_net_retry(r);
	assert_int_equal(out.injected, 0);
	checkpoint(2, 1);
	replica_net_running(r);
	assert_int_equal(out.injected, 1);
	assert_int_equal(out.seen[0][0], 2);
	mirror(0, 3);
	assert_int_equal(out.injected, 2);
}

static void frames_that_a_slow_guest_misses_for_want_of_memory_are_a_loss(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	set_room(false);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	assert_int_equal(out.lost_calls, 1);
	set_room(true);
	replica_net_retry(r);
	assert_int_equal(out.injected, REPLICA_MIN_FRAMES);
	assert_int_equal(out.lost_calls, 1);
}

static void a_frame_that_cannot_be_given_is_a_loss_and_holds_up_nothing(void **state)
{
	struct replica_net_stats s;

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	out.inject_error = -EINVAL;
	out.inject_fails = BIT(0);
	mirror(0, 1);
	assert_int_equal(out.lost, 1);
	out.inject_fails = 0;
	mirror(0, 2);
	assert_int_equal(out.injected, 1);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.injected, 1);
	assert_int_equal(s.lost, 1);
}

static void before_the_network_can_reach_it_the_guest_has_what_was_kept(void **state)
{
	(void)state;
	checkpoint(1, 0);
	mirror(0, 1);
	mirror(0, 2);
	mark_all(2, 1);
	replica_net_committed(r, 2);
	replica_net_catch_up(r); /* behind the checkpoint that it is loaded with */
	assert_int_equal(out.injected, 1);
	assert_int_equal(out.seen[0][0], 2);
	replica_net_take_over(r, 0);
	assert_int_equal(out.injected, 1);
}

static void what_finds_no_room_at_a_take_over_is_counted_as_lost(void **state)
{
	struct replica_net_stats s;

	(void)state;
	checkpoint(1, 0);
	mirror(0, 1);
	mirror(0, 2);
	set_room(false);
	replica_net_take_over(r, 0);
	set_room(true);
	replica_net_retry(r);
	replica_net_get_stats(r, &s);
	assert_int_equal(out.injected, 0);
	assert_int_equal(s.lost, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_inbound_frame_is_lost_or_reordered),
		rule(frames_of_a_committed_checkpoint_are_forgotten),
		rule(marks_of_every_nic_are_awaited_before_anything_is_injected),
		rule(a_checkpoint_tried_again_has_new_marks),
		rule(a_frame_seen_twice_or_of_no_nic_is_ignored),
		rule(forgotten_frames_are_no_loss_when_the_guest_had_them),
		rule(a_checkpoint_that_needs_forgotten_frames_is_a_loss),
		rule(a_replica_standing_still_reports_a_loss_once_for_each_checkpoint),
		rule(a_late_frame_of_a_committed_checkpoint_is_not_kept),
		rule(a_lost_frame_is_counted_once),
		rule(a_loss_above_the_marks_is_not_made_up_for),
		rule(frames_that_never_came_are_a_loss_told_once_for_each_checkpoint),
		rule(frames_that_never_came_are_no_loss_below_the_mark_only),
		rule(frames_that_the_primary_knows_to_be_missing_are_no_loss),
		rule(neither_are_they_when_what_was_closed_before_is_loaded),
		rule(frames_missing_above_the_next_mark_are_a_loss_all_the_same),
		rule(marks_may_be_said_again),
		rule(frames_that_find_no_room_are_given_later_in_order),
		rule(frames_that_found_no_room_are_not_given_to_a_guest_that_stands_still),
		rule(frames_that_a_slow_guest_misses_for_want_of_memory_are_a_loss),
		rule(a_frame_that_cannot_be_given_is_a_loss_and_holds_up_nothing),
		rule(before_the_network_can_reach_it_the_guest_has_what_was_kept),
		rule(what_finds_no_room_at_a_take_over_is_counted_as_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
