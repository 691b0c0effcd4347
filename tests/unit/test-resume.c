// SPDX-License-Identifier: GPL-2.0-or-later
/* Both halves of the engine over links that break in every phase: the epoch goes on, no checkpoint is torn. */
#include "tests/unit/resume-rig.h"

/* ---- each phase ---- */

static void a_copy_goes_on(void **state)
{
	struct pair *w = *state;

	w->writes = 3;
	node_writes(&w->a, 5000); /* more than fits into sockets */
	w->config.bandwidth_Bps = 1 * MIB;
	pair_start(w, FRAME_BYTES + FRAME_BYTES / 2);
	pair_until(w, w->lost);
	pair_cut(w);
	assert_int_equal(w->p->phase, PRIMARY_COPY);
	w->config.bandwidth_Bps = 0;
	pair_resume_well(w);
	assert_int_equal(w->a.events[FSM_EV_RESUMED_COPY], 1);
	assert_int_equal(w->b.events[FSM_EV_RESUMED_COPY], 1);
	assert_true(w->a.stats->resume_saved_pages >= WIRE_PAGES_MAX);
	pair_until(w, w->a.events[FSM_EV_SYNCED] && w->b.events[FSM_EV_SYNCED]);
	checkpoint(w);
}

/* The guest has gone on when the link breaks: what the copy had in its RAM only is not to be had. */
static void a_first_checkpoint_that_misses_pages_is_taken_again(void **state)
{
	struct pair *w = *state;

	w->writes = 3;
	pair_start(w, FRAME_BYTES + FRAME_BYTES / 2);
	atomic_store(&w->relay.swallows, true);
	pair_until(w, w->p->phase == PRIMARY_AWAIT);
	assert_true(primary_peer_may_hold(w->p));
	pair_cut(w);
	pair_resume(w, NO_CUT);
	pair_until(w, node_resumes(&w->a));
	assert_false(primary_peer_may_hold(w->p));
	pair_until(w, w->a.events[FSM_EV_SYNCED] && w->b.events[FSM_EV_SYNCED]);
	assert_true(primary_peer_may_hold(w->p));
	assert_int_equal(w->a.saves, 2);
	assert_int_equal(primary_epoch(w->p), 1);
	checkpoint(w);
}

static void a_first_checkpoint_whose_load_was_not_heard_of_is_told_again(void **state)
{
	struct pair *w = *state;

	w->writes = 3;
	pair_start(w, NO_CUT);
	pair_until(w, w->p->phase == PRIMARY_SEND);
	w->hold_to_a = true;
	pair_until(w, w->p->phase == PRIMARY_AWAIT && w->b.events[FSM_EV_SYNCED]);
	node_takes(&w->a); /* RECEIVED, but not what follows */
	assert_int_equal(primary_epoch(w->p), 1);
	pair_cut(w);
	assert_int_equal(w->a.events[FSM_EV_SYNCED], 0);
	pair_resume_well(w);
	assert_int_equal(w->a.events[FSM_EV_RESUMED_COPY], 1);
	assert_int_equal(w->b.events[FSM_EV_RESUMED], 1);
	pair_until(w, w->a.events[FSM_EV_SYNCED]);
	assert_int_equal(w->b.loads, 1);
}

static void between_checkpoints_nothing_is_lost(void **state)
{
	struct pair *w = *state;

	w->writes = 10;
	synchronise(w);
	pair_cut(w);
	resume_and_commit(w, 1);
	assert_int_equal(w->a.events[FSM_EV_RESUMED], 1);
	assert_int_equal(w->b.events[FSM_EV_RESUMED], 1);
	assert_int_equal(w->a.stats->resumes, 1);
	assert_int_equal(w->b.stats->resumes, 1);
}

static void a_checkpoint_that_has_not_stopped_the_guest_begins_anew(void **state)
{
	struct pair *w = *state;
	struct asker a;

	w->writes = 10;
	synchronise(w);
	for (int heard = 0; heard < 2; heard++) {
		unsigned saves = w->a.saves;

		w->hold_to_b = !heard; /* NEW is lost, or its answer */
		w->hold_to_a = true;
		ask(w, &a, CKPT_BY_COMMAND);
		pair_until(w, w->p->phase == PRIMARY_PREPARE && w->p->prepared &&
				      (!heard || w->s->suspended));
		pair_cut(w);
		assert_int_equal(w->p->phase, PRIMARY_IDLE);
		assert_int_equal(a.answers, 0);
		resume_and_commit(w, 2);
		assert_int_equal(a.answers, 1);
		assert_int_equal(a.status, 0);
		assert_int_equal(w->a.saves, saves + 3);
	}
}

static void a_guest_that_stands_still_runs_on_and_its_checkpoint_is_sent_later(void **state)
{
	struct pair *w = *state;

	w->writes = 10;
	synchronise(w);
	primary_trigger(w->p, CKPT_BY_COMMAND);
	pair_until(w, w->p->phase == PRIMARY_PAUSE);
	pair_cut(w);
	pair_until(w, w->a.runs && w->p->phase == PRIMARY_SEND);
	assert_int_equal(primary_epoch(w->p), 1);
	resume_and_commit(w, 2);
	assert_int_equal(w->a.saves, 4); /* epochs 1 to 4 */
}

/* The link is back before the guest's pause is over. */
static void a_link_that_comes_back_within_the_pause_waits_for_its_end(void **state)
{
	struct pair *w = *state;

	w->writes = 10;
	synchronise(w);
	primary_trigger(w->p, CKPT_BY_COMMAND);
	pair_until(w, w->p->phase == PRIMARY_PAUSE);
	pair_cut(w);
	pair_resume(w, NO_CUT);
	assert_int_equal(w->p->link, PRIMARY_OFFERED);
	pair_until(w, primary_epoch(w->p) == 2);
	assert_int_equal(w->a.saves, 2);
	checkpoint(w);
}

static void an_epoch_cut_within_a_frame_goes_on(void **state)
{
	struct pair *w = *state;

	synchronise(w);
	w->writes = 1000;
	atomic_store(&w->relay.limit, 2 * FRAME_BYTES + 5000);
	primary_trigger(w->p, CKPT_BY_COMMAND);
	pair_until(w, w->lost);
	w->writes = 0;
	pair_until(w, w->p->phase >= PRIMARY_SEND && w->a.runs);
	pair_cut(w);
	resume_and_commit(w, 2);
	assert_true(w->a.stats->resume_saved_pages >= 2 * WIRE_PAGES_MAX - 30); /* some were zero */
	assert_int_equal(w->a.saves, 4);
}

static void a_lost_word_of_the_commit_counts_as_heard(void **state)
{
	struct pair *w = *state;
	struct asker a;
	uint64_t sent;

	w->writes = 10;
	synchronise(w);
	w->hold_to_a = true;
	ask(w, &a, CKPT_BY_COMMAND);
	pair_until(w, w->a.nbox);
	w->hold_to_a = false;
	pair_until(w, !w->a.nbox); /* SUSPENDED */
	w->hold_to_a = true;
	pair_until(w, secondary_epoch(w->s) == 2 && w->b.loads == 2);
	pair_until(w, w->p->phase == PRIMARY_AWAIT);
	pair_cut(w);
	assert_int_equal(primary_epoch(w->p), 1);
	sent = w->a.stats->bytes_sent;
	w->writes = 0;
	pair_resume_well(w);
	pair_until(w, a.answers);
	assert_int_equal(a.status, 0);
	assert_int_equal(a.epoch, 2);
	assert_int_equal(primary_epoch(w->p), 2);
	assert_in_range(w->a.stats->bytes_sent - sent, 1, 20 * PAGE_BYTES);
	checkpoint(w);
}

/* Its report to the loop is on its way when the link breaks. */
static void a_complete_epoch_is_kept_and_committed_later(void **state)
{
	struct pair *w = *state;
	struct pollfd report = {.events = POLLIN};

	w->writes = 10;
	synchronise(w);
	report.fd = w->s->rx.to_loop.event_fd;
	primary_trigger(w->p, CKPT_BY_COMMAND);
	pair_until(w, w->p->ckpt_job.busy && w->p->ckpt_job.work == TX_FINISH);
	assert_int_equal(poll(&report, 1, 60000), 1);
	pair_cut(w);
	assert_true(w->s->staged);
	assert_int_equal(secondary_epoch(w->s), 1);
	for (int i = 0; i < 20; i++)
		loop_step(w->loop, 1000);
	assert_int_equal(secondary_epoch(w->s), 1); /* not without a link */
	resume_and_commit(w, 2);
	assert_int_equal(w->a.saves, 4);
}

/* The primary's outcome of a verify was lost as well. */
static void a_verify_is_answered_once_and_truly(void **state)
{
	struct pair *w = *state;
	struct asker a;

	w->writes = 10;
	synchronise(w);
	for (int i = 0; i < 4; i++) {
		int lost = MAX(i - 1, 0); /* the second time an older outcome is said again */
		uint64_t epoch;

		epoch = primary_epoch(w->p) + 1;
		ask(w, &a, CKPT_BY_VERIFY);
		pair_until(w, w->p->phase == PRIMARY_SEND);
		w->hold_to_a = true;
		if (lost)
			pair_until(w,
				   w->p->phase == PRIMARY_AWAIT && w->s->verified.epoch == epoch);
		if (lost == 2)
			node_takes(&w->a); /* RECEIVED, but not what follows */
		assert_int_equal(primary_epoch(w->p), epoch - (lost < 2));
		pair_cut(w);
		assert_int_equal(a.answers, 0);
		pair_resume_well(w);
		pair_until(w, a.answers);
		assert_int_equal(a.status, 0);
		assert_int_equal(w->s->verified.epoch, a.epoch);
		assert_int_equal(a.pages, PAIR_PAGES);
		assert_int_equal(a.differing, 0);
	}
	checkpoint(w);
}

/* ---- with a proxy ---- */

static void what_the_guests_missed_makes_a_checkpoint_at_once(void **state)
{
	struct pair *w = *state;

	w->writes = 5;
	synchronise(w);
	pair_until(w, w->b.runs);
	pair_cut(w);
	pair_resume_well(w);
	pair_until(w, primary_epoch(w->p) == 2 && w->b.runs);
	assert_int_equal(w->a.stats->checkpoints[CKPT_BY_MISMATCH], 1);
	checkpoint(w);
}

static void a_stage_that_waits_for_marks_is_committed_when_they_are_said_again(void **state)
{
	struct pair *w = *state;

	w->writes = 5;
	synchronise(w);
	pair_until(w, w->b.runs);
	primary_trigger(w->p, CKPT_BY_COMMAND);
	while (!w->s->staged) {
		w->marked = 0; /* lost */
		pair_step(w);
	}
	assert_int_equal(secondary_epoch(w->s), 1);
	pair_cut(w);
	secondary_packets_marked(w->s, 2); /* too late: nobody would hear of the commit */
	assert_int_equal(secondary_epoch(w->s), 1);
	pair_resume_well(w);
	pair_until(w, primary_epoch(w->p) >= 3 && w->b.runs);
	checkpoint(w);
}

/* The secondary's guest was being stopped for a NEW that the primary has forgotten. */
static void a_stop_under_way_serves_the_next_new(void **state)
{
	struct pair *w = *state;

	w->writes = 5;
	synchronise(w);
	for (uint64_t epoch = 1; epoch < 4; epoch += 2) {
		bool stopping = epoch > 1;

		pair_until(w, w->b.runs && w->p->phase == PRIMARY_IDLE);
		w->hold_b_calls = !stopping;
		primary_trigger(w->p, CKPT_BY_COMMAND);
		pair_until(w, w->s->phase == SECONDARY_STOPPING);
		pair_cut(w);
		pair_resume_well(w);
		pair_until(w, w->p->phase == PRIMARY_PREPARE && !w->b.nbox);
		assert_int_equal(w->s->new_epoch, epoch + 1);
		w->hold_b_calls = false;
		pair_until(w, primary_epoch(w->p) == epoch + 1);
		checkpoint(w);
	}
}

/* ---- more than one break ---- */

/* At every step of the greeting between the halves, on either side. */
static void a_resume_may_break_at_any_step(void **state)
{
	struct pair *w = *state;

	w->writes = 10;
	synchronise(w);
	for (unsigned steps = 0; steps < 12; steps++) {
		uint64_t epoch = primary_epoch(w->p);

		primary_trigger(w->p, CKPT_BY_COMMAND);
		pair_until(w, w->p->phase == PRIMARY_SEND || w->p->phase == PRIMARY_AWAIT);
		pair_cut(w);
		for (unsigned again = 0; again < 3; again++) {
			pair_resume(w, again ? 13 : NO_CUT);
			for (unsigned i = 0; i < steps && !w->lost; i++)
				pair_step(w);
			pair_cut(w);
			pair_cut(w); /* which says nothing new */
		}
		resume_and_commit(w, epoch + 1);
	}
	assert_int_equal(w->a.events[FSM_EV_SYNC_FAILED], 0);
	assert_int_equal(w->b.events[FSM_EV_SYNC_FAILED], 0);
}

#define test(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define proxy_test(name) cmocka_unit_test_setup_teardown(name, setup_with_proxy, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_copy_goes_on),
		test(a_first_checkpoint_that_misses_pages_is_taken_again),
		test(a_first_checkpoint_whose_load_was_not_heard_of_is_told_again),
		test(between_checkpoints_nothing_is_lost),
		test(a_checkpoint_that_has_not_stopped_the_guest_begins_anew),
		test(a_guest_that_stands_still_runs_on_and_its_checkpoint_is_sent_later),
		test(a_link_that_comes_back_within_the_pause_waits_for_its_end),
		test(an_epoch_cut_within_a_frame_goes_on),
		test(a_lost_word_of_the_commit_counts_as_heard),
		test(a_complete_epoch_is_kept_and_committed_later),
		test(a_verify_is_answered_once_and_truly),
		proxy_test(what_the_guests_missed_makes_a_checkpoint_at_once),
		proxy_test(a_stage_that_waits_for_marks_is_committed_when_they_are_said_again),
		proxy_test(a_stop_under_way_serves_the_next_new),
		test(a_resume_may_break_at_any_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
