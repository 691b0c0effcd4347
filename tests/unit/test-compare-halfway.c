// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core's time for a packet of which the secondary has sent a part. */
#include "tests/unit/compare-rig.h"

#define SUPER_FRAME 20000

static uint64_t part_us(const struct rig *r)
{
	return r->limits.timeout_us / 8;
}

static void primary_sends(struct rig *r, uint32_t id, uint32_t seq, size_t n)
{
	rig_tcp(r, TCP_ACK, seq, 1, 0, n);
	rig_primary(r, id);
}

static void secondary_sends(struct rig *r, uint32_t seq, size_t n)
{
	rig_tcp(r, TCP_ACK, seq, 1, 0, n);
	rig_secondary(r);
}

static void one_that_stands_still_halfway_is_a_mismatch_sooner(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	uint64_t end;

	(void)state;
	primary_sends(r, 1, 0, SUPER_FRAME);
	assert_int_equal(compare_tick(r->c, r->now), r->now + r->limits.timeout_us);
	r->now += 1000;
	secondary_sends(r, 0, 1000);
	end = r->now + part_us(r);
	r->now += 1000;
	primary_sends(r, 2, SUPER_FRAME, 100); /* says nothing of the secondary */
	assert_int_equal(compare_tick(r->c, r->now), end);
	compare_tick(r->c, end - 1);
	rig_saw(r, "");
	compare_tick(r->c, end);
	rig_saw(r, "!timeout");
	assert_string_equal(mismatch_get(&r->ring, 0)->what,
			    "no data of the secondary behind the first 1000 bytes, at 1000");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c");
	rig_free(r);
}

static void each_byte_that_comes_gives_it_time_again(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	primary_sends(r, 1, 0, SUPER_FRAME);
	for (uint32_t at = 0; at < SUPER_FRAME; at += SUPER_FRAME / 5) {
		secondary_sends(r, at, SUPER_FRAME / 5);
		r->now += part_us(r) - 1;
		compare_tick(r->c, r->now);
	}
	rig_saw(r, "1");
	assert_int_equal(r->ring.count, 0);
	rig_free(r);
}

static void one_that_ends_between_two_packets_has_all_its_time(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	uint64_t start = r->now;

	(void)state;
	primary_sends(r, 1, 0, 1000);
	primary_sends(r, 2, 1000, 1000);
	secondary_sends(r, 0, 500);
	secondary_sends(r, 500, 500);
	rig_saw(r, "1");
	assert_int_equal(compare_tick(r->c, r->now), start + r->limits.timeout_us);
	rig_free(r);
}

static void its_time_runs_only_while_the_secondary_does(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	primary_sends(r, 1, 0, SUPER_FRAME);
	secondary_sends(r, 0, 1000);
	rig_close(r, COMPARE_MATCH);
	primary_sends(r, 2, SUPER_FRAME, SUPER_FRAME);
	secondary_sends(r, SUPER_FRAME, 1000);
	compare_tick(r->c, r->now + part_us(r));
	rig_saw(r, "");
	r->now += 2 * part_us(r);
	rig_commit(r);
	rig_saw(r, "1c");
	assert_int_equal(compare_tick(r->c, r->now), r->now + part_us(r));
	secondary_sends(r, SUPER_FRAME + 1000, SUPER_FRAME - 1000);
	rig_saw(r, "2");
	compare_tick(r->c, r->now + r->limits.timeout_us);
	assert_int_equal(r->ring.count, 0);
	rig_free(r);
}

static void of_two_connections_each_has_its_own(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	uint64_t start = r->now;

	(void)state;
	primary_sends(r, 1, 0, SUPER_FRAME);
	secondary_sends(r, 0, 1000);
	r->now += 10;
	r->peer_port = 5;
	primary_sends(r, 2, 0, SUPER_FRAME);
	secondary_sends(r, 0, 1000);
	r->now += 10;
	r->peer_port = 40000;
	secondary_sends(r, 1000, 1000);
	assert_int_equal(compare_tick(r->c, r->now), start + 10 + part_us(r));
	compare_tick(r->c, start + 10 + part_us(r));
	assert_int_equal(r->ring.count, 1);
	assert_int_equal(mismatch_get(&r->ring, 0)->key.peer_port, 5);
	compare_tick(r->c, start + 20 + part_us(r));
	assert_int_equal(r->ring.count, 2);
	rig_free(r);
}

/* What differs behind the part that was equal is told as such, and not again as late. */
static void one_that_differs_further_on_is_told_once(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	primary_sends(r, 1, 0, SUPER_FRAME);
	secondary_sends(r, 0, 1000);
	rig_tcp(r, TCP_ACK, 1000, 1, 7, 1000);
	rig_secondary(r);
	rig_saw(r, "!payload");
	compare_tick(r->c, r->now + r->limits.timeout_us);
	assert_int_equal(r->ring.count, 1);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_stands_still_halfway_is_a_mismatch_sooner),
		cmocka_unit_test(each_byte_that_comes_gives_it_time_again),
		cmocka_unit_test(one_that_ends_between_two_packets_has_all_its_time),
		cmocka_unit_test(its_time_runs_only_while_the_secondary_does),
		cmocka_unit_test(of_two_connections_each_has_its_own),
		cmocka_unit_test(one_that_differs_further_on_is_told_once),
	};

	return cmocka_run_group_tests_name("compare-halfway", tests, NULL, NULL);
}
