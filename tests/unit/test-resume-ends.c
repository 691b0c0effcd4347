// SPDX-License-Identifier: GPL-2.0-or-later
/* Sessions that end while they wait for a link, and links that break at any moment. */
#include "tests/unit/resume-rig.h"

/* ---- ends ---- */

static void idle(struct pair *w)
{
	pair_until(w, primary_is_idle(w->p) && secondary_is_idle(w->s));
}

static void a_session_can_end_while_it_waits_and_while_it_is_resumed(void **state)
{
	struct pair *w = *state;
	struct asker a;

	w->writes = 10;
	for (int i = 0; i < 8; i++) {
		pair_start(w, NO_CUT);
		pair_until(w, w->a.events[FSM_EV_SYNCED] > (unsigned)i);
		pair_until(w, w->p->phase == PRIMARY_IDLE);
		ask(w, &a, CKPT_BY_COMMAND);
		pair_until(w, w->p->phase == (i % 2 ? PRIMARY_PAUSE : PRIMARY_PREPARE));
		pair_cut(w);
		if (i >= 2) {
			pair_resume(w, NO_CUT);
			for (int n = 2; n < i; n++)
				pair_step(w);
		}
		primary_stop(w->p);
		secondary_stop(w->s);
		pair_unlink(w);
		idle(w);
		w->a.captures = w->a.saves; /* not of a pause that ended early */
		assert_true(w->a.runs);
		assert_int_equal(a.answers, 1);
		assert_false(primary_can_resume(w->p) || secondary_can_resume(w->s));
	}
}

/* What it holds is the last commit, whole; the part of the next is dropped. */
static void a_secondary_goes_live_from_a_suspended_session(void **state)
{
	struct pair *w = *state;

	for (int i = 0; i < 4; i++) {
		uint64_t epoch;

		w->writes = 10;
		pair_start(w, NO_CUT);
		pair_until(w, w->a.events[FSM_EV_SYNCED] > (unsigned)i);
		pair_until(w, w->p->phase == PRIMARY_IDLE);
		primary_trigger(w->p, CKPT_BY_COMMAND);
		epoch = primary_epoch(w->p);
		if (i % 2) /* committed, being applied or loaded */
			pair_until(w, secondary_epoch(w->s) > epoch);
		else
			pair_until(w, w->p->phase == PRIMARY_SEND);
		pair_cut(w);
		if (i / 2)
			pair_resume(w, 13);
		secondary_go_live(w->s);
		pair_until(w, w->b.events[FSM_EV_LIVE] > (unsigned)i);
		assert_true(w->b.runs);
		assert_false(secondary_can_resume(w->s));
		primary_stop(w->p);
		pair_unlink(w);
		idle(w);
		w->b.runs = false;
	}
}

static void what_has_not_begun_ends_with_its_link(void **state)
{
	struct pair *w = *state;

	w->hold_to_a = true;
	pair_start(w, NO_CUT); /* READY is not heard */
	assert_false(primary_can_resume(w->p) || secondary_can_resume(w->s));
	pair_cut(w);
	assert_int_equal(w->p->phase, PRIMARY_OFF);
	assert_int_equal(w->s->phase, SECONDARY_OFF);
	close(w->relay.far);
	idle(w);
	w->hold_to_a = false;
}

/* A switch-over under way decides about the guest: it is not resumed. */
static void a_switch_over_is_not_resumed(void **state)
{
	struct pair *w = *state;

	synchronise(w);
	primary_switch(w->p);
	assert_false(primary_can_resume(w->p));
	pair_until(w, w->p->phase == PRIMARY_PAUSE);
	assert_false(primary_can_resume(w->p));
	pair_cut(w);
	assert_int_equal(w->p->phase, PRIMARY_OFF);
	pair_until(w, w->a.runs);
}

static void sides_that_do_not_fit_do_not_resume(void **state)
{
	struct pair *w = *state;

	synchronise(w);
	pair_cut(w);
	w->s->committed = w->s->loaded = 3; /* another session's */
	w->s->rx.epoch = 4;
	pair_resume(w, NO_CUT);
	while (!w->a.failed.code)
		pair_step(w);
	assert_non_null(strstr(err_msg(&w->a.failed), "does not fit"));
	assert_int_equal(w->a.events[FSM_EV_LINK_LOST], 0);
}

static void a_new_that_was_not_answered_cannot_stand(void **state)
{
	struct pair *w = *state;

	w->writes = 10;
	synchronise(w);
	primary_trigger(w->p, CKPT_BY_COMMAND);
	pair_until(w, w->p->phase == PRIMARY_PAUSE);
	pair_cut(w);
	w->s->suspended = false;
	pair_resume(w, NO_CUT);
	while (!w->b.failed.code)
		pair_step(w);
	assert_non_null(strstr(err_msg(&w->b.failed), "not answered"));
}

/* Its heart beats, but it does not answer RESUME. */
static void a_resume_without_progress_is_given_up(void **state)
{
	struct pair *w = *state;

	synchronise(w);
	pair_cut(w);
	primary_on_stall(w->p); /* armed or not */
	pair_resume(w, NO_CUT);
	w->hold_to_a = true;
	pair_until(w, w->p->link == PRIMARY_AGREED);
	primary_on_stall(w->p); /* bytes have moved since */
	assert_int_equal(w->a.events[FSM_EV_SYNC_FAILED], 0);
	primary_on_stall(w->p);
	assert_int_equal(w->a.events[FSM_EV_SYNC_FAILED], 1);
	assert_non_null(strstr(err_msg(&w->a.failed), "the session"));
}

/* ---- any moment ---- */

static void walk(struct pair *w, uint64_t seed, unsigned cuts)
{
	struct rng rng = {seed};
	uint64_t mean = (seed % 5 + 1) * 150 * KIB;
	unsigned done = 0;

	w->writes = (unsigned)(1 + seed % 7 * 5);
	w->own_writes = seed % 2;
	w->config.period_ms = 1 + seed % 3 * 4;
	w->config.colo_period_ms = 2;
	pair_start(w, rng_below(&rng, 2 * mean));
	while (done < cuts) {
		uint64_t steps = rng_below(&rng, 400), i;

		for (i = 0; i < steps && !w->lost; i++)
			pair_until(w, (pair_step(w), true));
		if (w->p->phase < PRIMARY_COPY || w->s->phase < SECONDARY_OPEN) {
			pair_until(w, w->p->phase >= PRIMARY_COPY);
			continue;
		}
		w->lost = false;
		pair_cut(w);
		done++;
		for (i = rng_below(&rng, 4); i && (w->a.ncalls || w->b.ncalls); i--)
			pair_step(w);
		pair_resume(w, rng_below(&rng, 2 * mean));
	}
	pair_cut(w);
	pair_resume_well(w);
	w->config.period_ms = w->config.colo_period_ms = 60000;
	pair_until(w, w->a.events[FSM_EV_SYNCED] && w->b.events[FSM_EV_SYNCED]);
	pair_until(w, w->p->phase == PRIMARY_IDLE && !w->p->triggers);
	checkpoint(w);
	assert_true(w->a.stats->resumes > cuts / 4);
	assert_int_equal(w->a.stats->failed_checkpoints, 0);
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void any_cut_is_survived(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	for (uint64_t seed = 1; seed <= 16; seed++) {
		struct pair *w = malloc(sizeof(*w));

		assert_non_null(w);
		pair_open(w, seed % 4 >= 2);
		walk(w, seed, 40);
		pair_close(w);
		free(w);
	}
	assert_int_equal(open_fds(), fds);
}

#define test(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define proxy_test(name) cmocka_unit_test_setup_teardown(name, setup_with_proxy, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_session_can_end_while_it_waits_and_while_it_is_resumed),
		test(a_secondary_goes_live_from_a_suspended_session),
		test(what_has_not_begun_ends_with_its_link),
		test(a_switch_over_is_not_resumed),
		test(sides_that_do_not_fit_do_not_resume),
		test(a_new_that_was_not_answered_cannot_stand),
		test(a_resume_without_progress_is_given_up),
		cmocka_unit_test(any_cut_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
