// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core and fragments: whole datagrams, cut ones, given up ones. */
#include "tests/unit/compare-rig.h"

static void fragments_go_together_when_the_datagram_is_matched(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	p_udp(r, 2, "first");
	rig_cut(r, whole, 2000, 1000);
	rig_primary(r, 3);
	rig_cut(r, whole, 1000, 1000);
	rig_primary(r, 4);
	s_udp(r, "first");
	rig_saw(r, "2");
	rig_cut(r, whole, 0, 1800);
	rig_secondary(r);
	rig_saw(r, "");
	rig_cut(r, whole, 1800, 1200);
	rig_secondary(r);
	rig_told(r, "1 3 4"); /* the secondary keeps no fragments that a note could mean */
	/* conntrack may have put it together on one side */
	r->m = *whole;
	rig_secondary(r);
	rig_cut(r, whole, 0, 1800);
	rig_primary(r, 5);
	rig_cut(r, whole, 1800, 1200);
	rig_primary(r, 6);
	rig_saw(r, "5 6");
	free(whole);
	rig_free(r);
}

static void an_incomplete_datagram_times_out_and_waits_for_the_commit(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "!timeout");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c");
	r->now += 2 * r->limits.timeout_us;
	compare_tick(r->c, r->now);
	r->m = *whole;
	rig_secondary(r);
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 3);
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 4);
	rig_saw(r, "3 4");
	free(whole);
	rig_free(r);
}

/* Its first fragment was sent in the last epoch; the others come in this one. */
static void begin_datagram(struct rig *r, struct mk *whole, enum compare_mode next)
{
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	rig_saw(r, "");
	rig_close(r, next);
}

static void the_rest_of_a_split_datagram_goes_before_younger_ones(void **state)
{
	static const enum compare_mode modes[] = {COMPARE_MATCH, COMPARE_HOLD};
	struct mk *whole = rig_datagram(2992);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		struct rig *r = rig_new(NULL, modes[i]);

		begin_datagram(r, whole, COMPARE_MATCH);
		rig_cut(r, whole, 1000, 1000);
		rig_primary(r, 2); /* before the commit */
		r->now += 5 * r->limits.timeout_us;
		compare_tick(r->c, r->now);
		rig_commit(r);
		rig_saw(r, "1c");
		r->now += r->limits.timeout_us / 2; /* the secondary is still being loaded */
		compare_tick(r->c, r->now);
		rig_cut(r, whole, 2000, 1000);
		rig_primary(r, 3); /* after it */
		p_udp(r, 4, "younger");
		rig_saw(r, "");
		rig_cut(r, whole, 1000, 1000);
		rig_secondary(r);
		rig_told(r, "2");
		rig_cut(r, whole, 2000, 1000);
		rig_secondary(r);
		s_udp(r, "younger");
		rig_saw(r, "3 4");
		rig_free(r);
	}
	free(whole);
}

static void a_rest_that_differs_waits_for_the_commit(void **state)
{
	struct mk *whole = rig_datagram(2992), *other = rig_datagram(2992);

	(void)state;
	other->b[other->len - 1] ^= 1;
	for (unsigned shift = 0; shift <= 8; shift += 8) {
		struct rig *r = rig_new(NULL, COMPARE_MATCH);

		begin_datagram(r, whole, COMPARE_MATCH);
		rig_commit(r);
		rig_saw(r, "1c");
		rig_cut(r, shift ? whole : other, 2000, 1000);
		rig_secondary(r);
		mk_cut(&r->m, whole, 99, 2000, 1000);
		if (shift) { /* the same bytes at another place */
			r->m.b[7] ^= 1;
			mk_end(&r->m);
		}
		rig_primary(r, 2);
		rig_saw(r, "!payload");
		rig_close(r, COMPARE_MATCH);
		rig_commit(r);
		rig_saw(r, "2c");
		rig_free(r);
	}
	free(other);
	free(whole);
}

static void a_rest_without_counterpart_times_out(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	mk_cut(&r->m, whole, 98, 0, 1000);
	rig_primary(r, 0);
	begin_datagram(r, whole, COMPARE_MATCH);
	rig_commit(r);
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 2);
	mk_cut(&r->m, whole, 98, 1000, 2000); /* of another datagram */
	rig_secondary(r);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "0c 1c !timeout");
	rig_cut(r, whole, 1000, 2000);
	rig_secondary(r);
	rig_saw(r, "");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "2c");
	free(whole);
	rig_free(r);
}

static void a_given_up_fragment_is_not_taken_for_another_datagrams(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	r->now += 2 * r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "!timeout");
	r->m = *whole;
	rig_secondary(r);
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 2);
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 3);
	rig_saw(r, "2 3");
	free(whole);
	rig_free(r);
}

static void fragments_of_the_last_epoch_are_not_anothers(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	r->now += 2 * r->limits.timeout_us;
	compare_tick(r->c, r->now);
	r->peer_port = 5;
	p_udp(r, 2, "where the first one was");
	r->m = *whole;
	rig_secondary(r);
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 3);
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 4);
	rig_saw(r, "1c 3 4");
	free(whole);
	rig_free(r);
}

static void a_whole_datagram_times_out_once(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 2);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "!timeout");
	assert_int_equal(r->ring.count, 1);
	assert_true(mismatch_get(&r->ring, 0)->has_flow);
	free(whole);
	rig_free(r);
}

static void the_secondarys_fragments_of_two_epochs_make_no_datagram(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_secondary(r);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_cut(r, whole, 1000, 2000);
	rig_secondary(r);
	r->m = *whole;
	rig_primary(r, 1);
	rig_saw(r, "");
	free(whole);
	rig_free(r);
}

static void overlapping_fragments_wait_for_the_commit(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;
	struct mk *whole = rig_datagram(2992);

	(void)state;
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 1);
	rig_cut(r, whole, 992, 1000);
	rig_primary(r, 2);
	rig_saw(r, "!full"); /* nobody waits until their time is over */
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 3);
	r->m = *whole;
	rig_secondary(r);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "");
	compare_get_stats(r->c, &st);
	assert_int_equal(st.timed_out, 0);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 3c");
	free(whole);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fragments_go_together_when_the_datagram_is_matched),
		cmocka_unit_test(an_incomplete_datagram_times_out_and_waits_for_the_commit),
		cmocka_unit_test(the_rest_of_a_split_datagram_goes_before_younger_ones),
		cmocka_unit_test(a_rest_that_differs_waits_for_the_commit),
		cmocka_unit_test(a_rest_without_counterpart_times_out),
		cmocka_unit_test(a_given_up_fragment_is_not_taken_for_another_datagrams),
		cmocka_unit_test(fragments_of_the_last_epoch_are_not_anothers),
		cmocka_unit_test(a_whole_datagram_times_out_once),
		cmocka_unit_test(the_secondarys_fragments_of_two_epochs_make_no_datagram),
		cmocka_unit_test(overlapping_fragments_wait_for_the_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
