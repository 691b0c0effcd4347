// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core beside TCP: datagrams and bypass rules. */
#include "tests/unit/compare-rig.h"

#define RULE(text)                                                                                 \
	do {                                                                                       \
		struct err e_ = {};                                                                \
		assert_ok(bypass_add(&r->rules, text, &e_), &e_);                                  \
	} while (0)

/* Datagrams */

static void datagrams_are_compared_in_each_flows_order(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "one");
	p_udp(r, 2, "two");
	r->peer_port = 5;
	s_udp(r, "other flow");
	r->peer_port = 40000;
	s_udp(r, "one");
	rig_told(r, "1 note:0:0:1");
	s_udp(r, "two");
	s_udp(r, "three");
	p_udp(r, 3, "three");
	rig_told(r, "2 note:0:0:1 3 note:0:0:1");
	r->peer_port = 5;
	p_udp(r, 4, "other flow");
	rig_saw(r, "4");
	rig_free(r);
}

static void an_answer_given_before_the_checkpoint_may_come_again_once(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "one");
	s_udp(r, "one");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1");
	s_udp(r, "one");
	p_udp(r, 2, "two");
	s_udp(r, "two");
	rig_saw(r, "2");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	p_udp(r, 3, "three");
	s_udp(r, "two");
	s_udp(r, "three");
	rig_saw(r, "3");
	s_udp(r, "two");
	p_udp(r, 4, "six");
	rig_saw(r, "!payload");
	rig_free(r);
}

static void the_first_answer_after_a_checkpoint_may_come_twice(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	p_udp(r, 1, "one");
	s_udp(r, "one");
	rig_told(r, "1 note:0:0:1");
	s_udp(r, "one");
	p_udp(r, 2, "two");
	rig_told(r, "note:0:0:1"); /* the secondary need not keep it either */
	s_udp(r, "two");
	rig_told(r, "2 note:0:0:1");
	s_udp(r, "two"); /* once is enough */
	p_udp(r, 3, "six");
	rig_saw(r, "!payload");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "3c");
	p_udp(r, 4, "four"); /* sent twice by both: nothing is left out */
	p_udp(r, 5, "four");
	s_udp(r, "four");
	s_udp(r, "four");
	rig_saw(r, "4 5");
	p_udp(r, 6, "five");
	s_udp(r, "five");
	p_udp(r, 7, "nine");
	s_udp(r, "four"); /* not in a row */
	rig_saw(r, "6 !payload");
	rig_free(r);
}

static void other_bytes_and_other_lengths_differ(void **state)
{
	static const struct {
		const char *p, *s, *want;
		unsigned at;
	} cases[] = {
		{"abcdef", "abXdef", "!payload", 2}, {"abcdef", "abcdeX", "!payload", 5},
		{"abcdef", "abcde", "!length", 5},   {"abcdef", "abcdefg", "!length", 6},
		{"abcdef", "aXcdefg", "!length", 1}, {"abcdef", "", "!length", 0},
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(NULL, COMPARE_MATCH);
		const char *p = cases[i / 2].p, *s = cases[i / 2].s;
		struct compare_stats st;

		if (i % 2) {
			s_udp(r, s);
			p_udp(r, 1, p);
		} else {
			p_udp(r, 1, p);
			s_udp(r, s);
		}
		rig_saw(r, cases[i / 2].want);
		assert_int_equal(mismatch_get(&r->ring, 0)->offset, cases[i / 2].at);
		assert_int_equal(mismatch_get(&r->ring, 0)->primary.len, 28 + strlen(p));
		assert_int_equal(mismatch_get(&r->ring, 0)->secondary.len, 28 + strlen(s));
		p_udp(r, 2, "same");
		s_udp(r, "same");
		compare_get_stats(r->c, &st);
		assert_int_equal(st.held_bytes, 0);
		rig_close(r, COMPARE_MATCH);
		rig_saw(r, "");
		rig_commit(r);
		rig_saw(r, "1c 2c");
		rig_free(r);
	}
}

static void one_checkpoint_is_asked_for_in_an_epoch(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		r->peer_port = 1000 + i;
		p_udp(r, 1 + i, "a");
		s_udp(r, "b");
	}
	rig_saw(r, "!payload");
	assert_int_equal(r->ring.count, 3);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	rig_saw(r, "1c 2c 3c");
	p_udp(r, 4, "a");
	s_udp(r, "b");
	rig_saw(r, "!payload");
	rig_free(r);
}

static void echo(struct rig *r, unsigned type, uint8_t proto, const char *data)
{
	bool v6 = proto == IPPROTO_ICMPV6;

	mk_start(&r->m);
	mk_ip(&r->m, v6 ? "fd00::2" : GUEST, v6 ? "fd00::9" : PEER, proto);
	mk_icmp(&r->m, type, 0, 77, 1);
	mk_data(&r->m, data, strlen(data));
	mk_end(&r->m);
}

static void the_checksum_of_icmp_is_not_compared_all_else_is(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t proto = i ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

		echo(r, i ? 129 : 0, proto, "ping");
		rig_primary(r, 1);
		echo(r, i ? 129 : 0, proto, "ping");
		r->m.b[r->m.l4 + 2] ^= 0xff;
		r->m.b[r->m.l4 + 3] ^= 0xff;
		rig_secondary(r);
		rig_saw(r, "1");
		echo(r, i ? 129 : 0, proto, "ping");
		rig_primary(r, 2);
		echo(r, i ? 129 : 0, proto, "pong");
		rig_secondary(r);
		assert_int_equal(mismatch_get(&r->ring, 0)->offset, 9);
		rig_text(r, false);
		rig_close(r, COMPARE_MATCH);
		rig_commit(r);
		rig_text(r, false);
	}
	echo(r, 3, IPPROTO_ICMP, "");
	rig_primary(r, 3);
	echo(r, 3, IPPROTO_ICMP, "");
	r->m.b[r->m.l4 + 1] = 1; /* the code */
	rig_secondary(r);
	rig_saw(r, "!payload");
	rig_free(r);
}

static void other_protocols_and_garbage_are_compared_whole(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		mk_start(&r->m);
		mk_ip(&r->m, GUEST, PEER, 132);
		mk_data(&r->m, "whatever this is", 16);
		mk_end(&r->m);
		if (i >= 2)
			r->m.b[0] = 0x10; /* IP version 1 */
		if (i % 2)
			rig_secondary(r);
		else
			rig_primary(r, i);
	}
	rig_saw(r, "0 2");
	rig_free(r);
}

/* Rules */

static void neighbour_discovery_goes_at_once(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_HOLD);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		mk_start(&r->m);
		mk_ip(&r->m, "fd00::2", "ff02::1:ff00:9", IPPROTO_ICMPV6);
		mk_nd(&r->m, 135, "fd00::9", NULL);
		mk_end(&r->m);
		rig_primary(r, i);
		rig_secondary(r);
		rig_close(r, COMPARE_MATCH);
		rig_commit(r);
	}
	rig_saw(r, "0b 1b");
	rig_free(r);
}

static void bypass_rules_are_obeyed(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;
	struct mk *whole = rig_datagram(2992);

	(void)state;
	RULE("release peer-port 40001");
	RULE("commit peer-port 40002");
	RULE("release proto udp peer-port 40000");
	r->peer_port = 40001;
	p_udp(r, 1, "free");
	s_udp(r, "other");
	rig_saw(r, "1b");
	r->peer_port = 40002;
	s_udp(r, "same");
	p_udp(r, 2, "same");
	r->now += 10 * r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "");
	/* a rule that names ports is for whole datagrams */
	rig_cut(r, whole, 0, 1000);
	rig_primary(r, 3);
	rig_saw(r, "");
	rig_cut(r, whole, 1000, 2000);
	rig_primary(r, 4);
	rig_saw(r, "3b 4b");
	rig_close(r, COMPARE_HOLD);
	rig_commit(r);
	rig_saw(r, "2c");
	r->peer_port = 40001;
	p_udp(r, 5, "free");
	rig_saw(r, "5b");
	compare_get_stats(r->c, &st);
	assert_int_equal(st.flows, 0);
	assert_int_equal(st.bypassed, 4);
	free(whole);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_are_compared_in_each_flows_order),
		cmocka_unit_test(an_answer_given_before_the_checkpoint_may_come_again_once),
		cmocka_unit_test(the_first_answer_after_a_checkpoint_may_come_twice),
		cmocka_unit_test(other_bytes_and_other_lengths_differ),
		cmocka_unit_test(one_checkpoint_is_asked_for_in_an_epoch),
		cmocka_unit_test(the_checksum_of_icmp_is_not_compared_all_else_is),
		cmocka_unit_test(other_protocols_and_garbage_are_compared_whole),
		cmocka_unit_test(neighbour_discovery_goes_at_once),
		cmocka_unit_test(bypass_rules_are_obeyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
