// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest that ends for good, as etcd is told of it: who may not go on with it, and who may begin anew. */
#include "tests/unit/etcd-rig.h"

static const struct arbiter_claim replica = {.session = 7};

static void rig_of(struct rig *r, const char *owner)
{
	rig_init(r, 1);
	r->keys = view_of(owner, NULL);
}

static void an_end_takes_what_both_hold_and_a_replica_learns_of_it(void **state)
{
	struct rig r;

	(void)state;
	rig_of(&r, "shared 0000000000000007");
	etcd_core_end(&r.core, r.now, 7);
	serve(&r);
	assert_true(etcd_core_idle(&r.core));
	assert_string_equal(r.keys.owner, "ended 0000000000000007");
	assert_int_equal(r.keys.live_rev, 0);
	assert_int_equal(r.requests[ETCD_GRANT], 0);

	etcd_core_init(&r.core, "b", 5000, 10000, 1);
	etcd_core_claim(&r.core, r.now, &replica);
	serve(&r);
	assert_int_equal(r.ended, 1);
	assert_non_null(strstr(r.core.reason, "ended for good"));
	assert_true(etcd_core_idle(&r.core));
	assert_int_equal(etcd_core_due(&r.core), 0);
	assert_int_equal(r.requests[ETCD_WRITE], 1);
	assert_int_equal(r.won + r.lost + r.unknown, 0);
}

static void a_start_over_an_end_is_decided_at_once(void **state)
{
	struct rig r;

	(void)state;
	rig_of(&r, "ended 0000000000000007");
	win(&r);
	assert_string_equal(r.keys.owner, "host a");
	assert_int_equal(r.core.last_session, 0);
	assert_int_equal(r.now, START_US);
}

static void an_end_of_who_is_alone_names_the_session_before(void **state)
{
	struct rig r;

	(void)state;
	rig_of(&r, "shared 0000000000000007"); /* a replica that takes over */
	etcd_core_claim(&r.core, r.now, &replica);
	serve(&r);
	assert_int_equal(r.won, 1);
	etcd_core_end(&r.core, r.now, 0);
	serve(&r);
	assert_string_equal(r.keys.owner, "ended 0000000000000007");
	assert_int_equal(r.keys.live_rev, 0);

	rig_init(&r, 1); /* nobody ever held anything else of it */
	win(&r);
	etcd_core_end(&r.core, r.now, 0);
	serve(&r);
	assert_string_equal(r.keys.owner, "nobody");
}

static void an_end_does_not_touch_what_another_host_has_won(void **state)
{
	static const char *const theirs[] = {"host b", "shared 0000000000000008",
					     "ended 0000000000000008", "strange"};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		rig_of(&r, theirs[i]);
		etcd_core_end(&r.core, r.now, 7);
		serve(&r);
		assert_true(etcd_core_idle(&r.core));
		assert_int_equal(r.requests[ETCD_WRITE], 0);
	}
	rig_init(&r, 1);
	r.keys = view_of("shared 0000000000000007", "b");
	etcd_core_end(&r.core, r.now, 7);
	serve(&r);
	assert_int_equal(r.requests[ETCD_WRITE], 0);
}

/* The other host wins between the look and the write. */
static void an_end_that_comes_too_late_has_lost(void **state)
{
	struct etcd_reply behind = {.outcome = ETCD_BEHIND, .view = view_of("host b", "b")};
	struct etcd_reply read = {.outcome = ETCD_DONE};
	struct rig r;

	(void)state;
	rig_of(&r, "shared 0000000000000007");
	read.view = r.keys;
	etcd_core_end(&r.core, r.now, 7);
	etcd_core_reply(&r.core, r.now, ETCD_LANE_MOVE, &read);
	assert_int_equal(r.core.lane[ETCD_LANE_MOVE].request.kind, ETCD_WRITE);
	assert_int_equal(r.core.lane[ETCD_LANE_MOVE].request.owner_rev, read.view.owner_rev);
	etcd_core_reply(&r.core, r.now, ETCD_LANE_MOVE, &behind);
	assert_true(etcd_core_idle(&r.core));
}

/* The share that was under way might have been heard of, and its answer lost. */
static void a_share_does_not_undo_an_end(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.dead = true;
	etcd_core_share(&r.core, r.now, 8);
	serve(&r);
	r.keys = view_of("ended 0000000000000008", NULL);
	r.dead = false;
	pass(&r, 10 * USEC_PER_SEC);
	assert_string_equal(r.keys.owner, "ended 0000000000000008");
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.session = 8, .primary = true});
	serve(&r);
	assert_int_equal(r.ended, 1);
}

/* Etcd was never told of the session, and the other host never could win it. */
static void an_end_before_the_share_was_told_ends_the_session_before(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1);
	win(&r);
	r.dead = true;
	etcd_core_share(&r.core, r.now, 8);
	serve(&r);
	etcd_core_end(&r.core, r.now, 8);
	serve(&r);
	r.dead = false;
	pass(&r, 2 * USEC_PER_SEC);
	assert_string_equal(r.keys.owner, "ended 0000000000000008");

	rig_of(&r, "shared 0000000000000007");
	r.dead = true;
	etcd_core_claim(&r.core, r.now, &(struct arbiter_claim){.primary = true, .certain = true});
	etcd_core_share(&r.core, r.now, 8);
	etcd_core_end(&r.core, r.now, 8);
	serve(&r);
	r.dead = false;
	pass(&r, 2 * USEC_PER_SEC);
	assert_string_equal(r.keys.owner, "ended 0000000000000008");
}

static void a_held_back_guest_that_was_ended_elsewhere_is_over(void **state)
{
	struct rig r;

	(void)state;
	rig_of(&r, "shared 0000000000000007");
	etcd_core_claim(&r.core, r.now, &replica);
	serve(&r);
	r.keys = view_of("ended 0000000000000007", NULL); /* taken by force, and ended */
	r.lease_gone = true;
	pass(&r, 3 * USEC_PER_SEC);
	assert_int_equal(r.hold, 1);
	assert_int_equal(r.ended, 1);
	assert_int_equal(etcd_core_due(&r.core), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_takes_what_both_hold_and_a_replica_learns_of_it),
		cmocka_unit_test(a_start_over_an_end_is_decided_at_once),
		cmocka_unit_test(an_end_of_who_is_alone_names_the_session_before),
		cmocka_unit_test(an_end_does_not_touch_what_another_host_has_won),
		cmocka_unit_test(an_end_that_comes_too_late_has_lost),
		cmocka_unit_test(a_share_does_not_undo_an_end),
		cmocka_unit_test(an_end_before_the_share_was_told_ends_the_session_before),
		cmocka_unit_test(a_held_back_guest_that_was_ended_elsewhere_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
