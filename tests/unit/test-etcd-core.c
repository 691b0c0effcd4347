// SPDX-License-Identifier: GPL-2.0-or-later
/* The host that asks etcd: every verdict, when it renews and holds, how it goes through endpoints. */
#include "tests/unit/etcd-rig.h"

/* ---- verdicts ---- */

static const char *const owners[] = {
	NULL,     "nobody",  "shared 0000000000000007", "shared 0000000000000008", "host a",
	"host b", "strange", "ended 0000000000000007",  "ended 0000000000000008",  "ended 7"};

enum { PLAIN, CERTAIN, FRESH, FORCE, REGAIN, BIDS };

static const struct arbiter_claim bids[BIDS] = {
	[PLAIN] = {.session = 7},
	[CERTAIN] = {.session = 7, .certain = true},
	[FRESH] = {.fresh = true, .primary = true},
	[FORCE] = {.force = true},
	[REGAIN] = {.primary = true},
};

static enum etcd_verdict judge(const char *owner, const char *live, int bid, char why[320])
{
	struct etcd_view v = view_of(owner, live);
	struct etcd_core c;

	etcd_core_init(&c, "a", 5000, 10000, 1);
	c.claim = bids[bid];
	*why = 0;
	return etcd_judge(&c, &v, bid == REGAIN, why, 320);
}

#define T ETCD_TAKE
#define L ETCD_LOSE
#define O ETCD_OVER
#define W ETCD_WAIT
#define U ETCD_UNDECIDED

static void nobody_takes_what_another_may_have_been_heard_with(void **state)
{
	/* By owner, as above; PLAIN, CERTAIN, FRESH, FORCE, REGAIN */
	static const enum etcd_verdict want[ARRAY_SIZE(owners)][BIDS] = {
		{U, U, T, T, T}, {L, U, T, T, L}, {T, T, U, T, L}, {L, U, U, T, L},
		{T, T, T, T, T}, {L, U, L, T, L}, {U, U, U, T, U}, {O, O, T, T, L},
		{L, U, T, T, L}, {U, U, U, T, U}};
	char why[320];

	(void)state;
	for (size_t o = 0; o < ARRAY_SIZE(owners); o++)
		for (int bid = 0; bid < BIDS; bid++) {
			enum etcd_verdict got = judge(owners[o], NULL, bid, why);

			if (got != want[o][bid] || !*why == (got != ETCD_TAKE))
				fail_msg("owner %s, bid %d: %d, %s", owners[o], bid, got, why);
			/* What is left of an earlier life of ours is nobody else's. */
			assert_int_equal(judge(owners[o], "a", bid, why), got);
		}
}

static void nobody_takes_anything_while_another_is_live(void **state)
{
	char why[320];

	(void)state;
	for (size_t o = 0; o < ARRAY_SIZE(owners); o++)
		for (int bid = 0; bid < BIDS; bid++) {
			bool theirs = owners[o] && !strcmp(owners[o], "host b");
			bool lost = theirs && bid != CERTAIN && bid != FORCE;

			assert_int_equal(judge(owners[o], "b", bid, why), lost ? L : W);
			assert_non_null(strstr(why, "host b"));
		}
}

static void a_primary_stands_in_the_session_it_shared_last(void **state)
{
	struct etcd_view v = view_of("shared 0000000000000007", NULL);
	struct etcd_core c;
	char why[320];

	(void)state;
	etcd_core_init(&c, "a", 5000, 10000, 1);
	c.last_session = 7;
	c.claim = (struct arbiter_claim){.session = 9};
	assert_int_equal(etcd_judge(&c, &v, false, why, sizeof(why)), ETCD_LOSE);
	c.claim.primary = true;
	assert_int_equal(etcd_judge(&c, &v, false, why, sizeof(why)), ETCD_TAKE);
	c.last_session = 6;
	assert_int_equal(etcd_judge(&c, &v, false, why, sizeof(why)), ETCD_LOSE);
	c.claim.certain = true; /* the other host has nothing that could come to life */
	assert_int_equal(etcd_judge(&c, &v, false, why, sizeof(why)), ETCD_TAKE);
}

/* Its next replica was whole before etcd could be told so, and the link broke again. */
static void a_primary_remembers_that_the_session_before_is_void(void **state)
{
	struct arbiter_claim certain = {.session = 9, .primary = true, .certain = true};
	struct arbiter_claim plain = {.session = 9, .primary = true};
	struct etcd_view v = view_of("shared 0000000000000007", NULL);
	struct etcd_core c;
	char why[320];

	(void)state;
	etcd_core_init(&c, "a", 5000, 10000, 1);
	etcd_core_claim(&c, 1, &certain);
	etcd_core_share(&c, 2, 9);
	etcd_core_claim(&c, 3, &plain);
	assert_int_equal(etcd_judge(&c, &v, false, why, sizeof(why)), ETCD_TAKE);
	plain.primary = false; /* it is not one any more */
	etcd_core_claim(&c, 4, &plain);
	assert_int_equal(etcd_judge(&c, &v, false, why, sizeof(why)), ETCD_LOSE);
}

/* ---- in the course of time ---- */

static void a_lease_is_renewed_three_times_as_often_as_it_must(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	pass(&r, 50 * USEC_PER_SEC);
	assert_in_range(r.requests[ETCD_RENEW], 29, 30);
	assert_int_equal(r.requests[ETCD_WRITE], 1);
	assert_int_equal(r.hold + r.won, 1);
}

static void output_is_held_before_the_lease_can_have_run_out(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.dead = true;
	/* The grant was sent at START_US: from then on 5 s, less a tenth. */
	pass(&r, 4499 * USEC_PER_MSEC);
	assert_int_equal(r.hold, 0);
	pass(&r, 1 * USEC_PER_MSEC);
	assert_int_equal(r.hold, 1);
	pass(&r, 60 * USEC_PER_SEC);
	assert_int_equal(r.hold, 1);
	r.dead = false;
	pass(&r, USEC_PER_SEC);
	assert_int_equal(r.won, 2);
	assert_int_equal(r.requests[ETCD_WRITE], 1); /* the lease was alive all the time */
}

/* What counts is when the renewal was sent, not when its answer came. */
static void a_slow_answer_makes_the_lease_no_longer(void **state)
{
	struct etcd_reply done = {.outcome = ETCD_DONE, .ttl_s = 5};
	struct etcd_lane *renew;
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	renew = &r.core.lane[ETCD_LANE_RENEW];
	r.now = etcd_core_due(&r.core);
	etcd_core_tick(&r.core, r.now);
	assert_true(renew->busy);
	done.lease = renew->request.lease;
	etcd_core_reply(&r.core, r.now + USEC_PER_SEC, ETCD_LANE_RENEW, &done);
	assert_int_equal(r.core.sure_until_us, r.now + 4500 * USEC_PER_MSEC);
	/* An answer that comes after the hold makes nothing of what was held before it. */
	r.now += 4500 * USEC_PER_MSEC + USEC_PER_SEC;
	etcd_core_tick(&r.core, r.now);
	hear(&r);
	assert_int_equal(r.hold, 1);
}

static void a_lease_that_is_gone_is_held_at_once_and_won_back(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.keys.live_rev = 0; /* it went with the lease */
	r.lease_gone = true;
	r.now = etcd_core_due(&r.core);
	etcd_core_tick(&r.core, r.now);
	etcd_core_reply(&r.core, r.now, ETCD_LANE_RENEW,
			&(struct etcd_reply){.outcome = ETCD_GONE});
	hear(&r);
	assert_int_equal(r.hold, 1);
	serve(&r);
	assert_int_equal(r.won, 2);
	assert_int_equal(r.requests[ETCD_GRANT], 2);
}

static void what_another_has_taken_meanwhile_is_lost(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.keys = view_of("host b", "b");
	r.lease_gone = true;
	r.now = etcd_core_due(&r.core);
	etcd_core_tick(&r.core, r.now);
	serve(&r);
	assert_int_equal(r.hold, 1);
	assert_int_equal(r.lost, 1);
	assert_true(etcd_core_idle(&r.core));
	assert_int_equal(etcd_core_due(&r.core), 0);
}

static void a_claim_without_an_answer_ends_in_time(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 3);
	r.dead = true;
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 7});
	pass(&r, 9999 * USEC_PER_MSEC);
	assert_int_equal(r.unknown, 0);
	pass(&r, USEC_PER_MSEC);
	assert_int_equal(r.unknown, 1);
	assert_int_equal(etcd_core_due(&r.core), 0);
}

static void endpoints_are_tried_at_once_and_all_again_after_a_pause(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 3);
	r.dead = true;
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 7});
	serve(&r);
	pass(&r, 50 * USEC_PER_MSEC);
	assert_int_equal(r.requests[ETCD_GRANT], 3);
	pass(&r, 60 * USEC_PER_MSEC);
	assert_int_equal(r.requests[ETCD_GRANT], 6);
	pass(&r, 9 * USEC_PER_SEC);
	/* Pauses grow, to no more than one try takes. */
	assert_in_range(r.requests[ETCD_GRANT], 30, 50);
}

static void who_waits_for_another_lease_looks_again(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	r.keys = view_of("host b", "b");
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.force = true});
	serve(&r);
	pass(&r, 6 * USEC_PER_SEC); /* longer than a lease: another one is taken */
	assert_int_equal(r.won, 0);
	r.keys = view_of("host b", NULL);
	pass(&r, USEC_PER_SEC);
	assert_int_equal(r.won, 1);
	assert_string_equal(r.keys.owner, "host a");
}

static void sharing_and_resigning_end_the_lease_and_hold_nothing(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.dead = true;
	etcd_core_share(&r.core, r.now, 8);
	serve(&r);
	pass(&r, 20 * USEC_PER_SEC);
	assert_false(etcd_core_idle(&r.core));
	r.dead = false;
	pass(&r, 2 * USEC_PER_SEC);
	assert_true(etcd_core_idle(&r.core) && r.core.shared);
	assert_string_equal(r.keys.owner, "shared 0000000000000008");
	assert_int_equal(r.keys.live_rev, 0);
	assert_int_equal(r.hold, 0);
	assert_int_equal(r.requests[ETCD_RENEW], 0);
	etcd_core_resign(&r.core, r.now); /* it does not have the guest: nothing to give */
	serve(&r);
	assert_string_equal(r.keys.owner, "shared 0000000000000008");
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 8});
	serve(&r);
	assert_int_equal(r.won, 2);
	etcd_core_resign(&r.core, r.now);
	serve(&r);
	assert_string_equal(r.keys.owner, "nobody");
	assert_int_equal(etcd_core_due(&r.core), 0);
}

/* The caller goes on in the session; the share that its claim had ended is not forgotten. */
static void a_claim_that_replaced_a_share_and_is_dropped_shares_again(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.dead = true;
	etcd_core_share(&r.core, r.now, 8);
	serve(&r);
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 8, .primary = true});
	serve(&r);
	etcd_core_drop(&r.core, r.now, false);
	r.dead = false;
	serve(&r);
	pass(&r, 2 * USEC_PER_SEC);
	assert_string_equal(r.keys.owner, "shared 0000000000000008");
	assert_int_equal(r.won, 1);
	assert_true(etcd_core_idle(&r.core));
}

/* A write of a claim whose end is not known: it may still come, and must find the keys changed. */
static void claim_and_lose_sight_of_the_write(struct rig *r)
{
	rig_init(r, 1);
	r->keys = view_of("shared 0000000000000007", NULL);
	etcd_core_claim(&r->core, r->now, &(struct arbiter_claim){.session = 7});
	while (r->core.step != ETCD_STEP_WRITE) {
		struct etcd_request q = r->core.lane[ETCD_LANE_MOVE].request;
		struct etcd_reply reply = answer(r, &q);

		etcd_core_reply(&r->core, r->now, ETCD_LANE_MOVE, &reply);
	}
}

static void drop_and_expect_a_write(struct rig *r)
{
	int64_t before = r->keys.owner_rev;

	etcd_core_drop(&r->core, r->now, false);
	serve(r);
	assert_string_equal(r->keys.owner, "shared 0000000000000007");
	assert_true(r->keys.owner_rev > before);
	assert_true(etcd_core_idle(&r->core));
}

static void a_write_that_may_come_late_is_made_void(void **state)
{
	const struct etcd_reply failed = {.outcome = ETCD_FAILED};
	struct rig r;

	(void)state;
	claim_and_lose_sight_of_the_write(&r);
	drop_and_expect_a_write(&r);
	claim_and_lose_sight_of_the_write(&r);
	etcd_core_reply(&r.core, r.now, ETCD_LANE_MOVE, &failed);
	drop_and_expect_a_write(&r);
	claim_and_lose_sight_of_the_write(&r);
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 7});
	drop_and_expect_a_write(&r);
	claim_and_lose_sight_of_the_write(&r);
	r.now += 11 * USEC_PER_SEC;
	etcd_core_tick(&r.core, r.now);
	drop_and_expect_a_write(&r);
}

static void what_another_host_is_live_with_is_not_touched(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.dead = true;
	etcd_core_share(&r.core, r.now, 8);
	serve(&r);
	r.keys = view_of("host b", "b");
	r.dead = false;
	pass(&r, 10 * USEC_PER_SEC);
	assert_string_equal(r.keys.owner, "host b");
	r.keys = view_of("host a", "b"); /* by whatever hand */
	etcd_core_resign(&r.core, r.now);
	serve(&r);
	assert_string_equal(r.keys.owner, "host a");
	assert_true(etcd_core_idle(&r.core));
}

static void who_has_won_wins_again_without_asking(void **state)
{
	unsigned before;
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	before = r.requests[ETCD_READ];
	r.dead = true;
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 8});
	serve(&r);
	assert_int_equal(r.won, 2);
	assert_int_equal(r.requests[ETCD_READ], before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_takes_what_another_may_have_been_heard_with),
		cmocka_unit_test(nobody_takes_anything_while_another_is_live),
		cmocka_unit_test(a_primary_stands_in_the_session_it_shared_last),
		cmocka_unit_test(a_primary_remembers_that_the_session_before_is_void),
		cmocka_unit_test(a_lease_is_renewed_three_times_as_often_as_it_must),
		cmocka_unit_test(output_is_held_before_the_lease_can_have_run_out),
		cmocka_unit_test(a_slow_answer_makes_the_lease_no_longer),
		cmocka_unit_test(a_lease_that_is_gone_is_held_at_once_and_won_back),
		cmocka_unit_test(what_another_has_taken_meanwhile_is_lost),
		cmocka_unit_test(a_claim_without_an_answer_ends_in_time),
		cmocka_unit_test(endpoints_are_tried_at_once_and_all_again_after_a_pause),
		cmocka_unit_test(who_waits_for_another_lease_looks_again),
		cmocka_unit_test(sharing_and_resigning_end_the_lease_and_hold_nothing),
		cmocka_unit_test(a_claim_that_replaced_a_share_and_is_dropped_shares_again),
		cmocka_unit_test(a_write_that_may_come_late_is_made_void),
		cmocka_unit_test(what_another_host_is_live_with_is_not_touched),
		cmocka_unit_test(who_has_won_wins_again_without_asking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
