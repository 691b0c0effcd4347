// SPDX-License-Identifier: GPL-2.0-or-later
/* Rewritten connections: clocks that do not run backwards, and when a connection ends. */
#include "tests/unit/unit.h"

#include "proxy/rewrites.h"
#include "tests/unit/packet-make.h"

#define GUEST  "10.0.0.2"
#define CLIENT "10.0.0.9"

static struct rewrites w;
static struct mk m;
static const struct rewrite hundred = {100, 0};

static int fresh(void **state)
{
	(void)state;
	return rewrites_init(&w, 4, 1);
}

static int done(void **state)
{
	(void)state;
	rewrites_destroy(&w);
	return 0;
}

static struct flow_key key(unsigned port)
{
	struct flow_key k;
	struct pkt p;

	mk_tcp_packet(&m, GUEST, 80, CLIENT, port, 0, 0, 0, NULL, 0);
	p = mk_parse(&m);
	flow_key_out(&k, &p, 0);
	return k;
}

static void carry_on(unsigned port, struct rewrite own, const uint32_t *released_ts)
{
	struct flow_key k = key(port);

	rewrites_carry_on(&w, &k, &own, released_ts, 0, 0);
}

/* A segment of the guest as the network sees it. */
static struct pkt out(unsigned port, unsigned flags, uint32_t seq, uint32_t tsval, uint64_t now_us)
{
	struct pkt p;

	mk_start(&m);
	mk_ip(&m, GUEST, CLIENT, IPPROTO_TCP);
	mk_tcp(&m, 80, port, flags, seq, 0);
	if (tsval)
		mk_tcp_ts(&m, tsval, 0);
	mk_end(&m);
	p = mk_parse(&m);
	rewrites_out(&w, 0, m.b, &p, false, now_us);
	return mk_parse(&m);
}

/* A segment from the network as the guest sees it. */
static struct pkt in(unsigned port, unsigned flags, uint32_t ack, uint64_t now_us)
{
	struct pkt p;

	mk_tcp_packet(&m, CLIENT, port, GUEST, 80, flags, 0, ack, NULL, 0);
	p = mk_parse(&m);
	rewrites_in(&w, 0, m.b, &p, false, now_us);
	return mk_parse(&m);
}

static void an_older_clock_is_put_forward_once_and_for_all(void **state)
{
	const uint32_t released = 5;

	(void)state;
	carry_on(1, (struct rewrite){}, &released);
	assert_int_equal(out(1, TCP_ACK, 0, 0, 0).seq, 0); /* without a timestamp */
	assert_int_equal(out(1, TCP_ACK, 0, 0xfffffffb, 0).tsval, 5);
	assert_int_equal(out(1, TCP_ACK, 0, 2, 0).tsval, 12);
	assert_int_equal(out(1, TCP_ACK, 0, 0xfffffff0, 0).tsval, 0xfffffffa);
}

static void a_younger_clock_stays_as_it_is(void **state)
{
	const uint32_t released = 5;

	(void)state;
	carry_on(1, (struct rewrite){}, &released);
	assert_int_equal(out(1, TCP_ACK, 0, 9, 0).tsval, 9);
	assert_int_equal(out(1, TCP_ACK, 0, 3, 0).tsval, 3);
	rewrites_tick(&w, 0);
	assert_int_equal(w.flows.used, 0);
}

static void the_clock_counts_as_the_peer_sees_it(void **state)
{
	const struct rewrite inherited = {0, 1000};
	const uint32_t released = 60;
	struct flow_key k = key(1);

	(void)state;
	rewrites_inherit(&w, &k, &inherited, 0, 1, 0);
	carry_on(1, (struct rewrite){0, 10}, &released);
	/* 40 is 50 to the former primary, whose 60 the peer has seen as 1060. */
	assert_int_equal(out(1, TCP_ACK, 0, 40, 0).tsval, 1060);
}

static void a_plain_connection_needs_no_entry(void **state)
{
	(void)state;
	carry_on(1, (struct rewrite){}, NULL);
	assert_int_equal(w.flows.used, 0);
}

static void a_minute_after_both_fins_it_is_over(void **state)
{
	(void)state;
	carry_on(1, hundred, NULL);
	assert_int_equal(out(1, TCP_FIN | TCP_ACK, 5, 0, 10).seq, 105);
	rewrites_tick(&w, 10 + REWRITES_CLOSED_US + 1);
	assert_int_equal(w.flows.used, 1);
	assert_int_equal(in(1, TCP_FIN | TCP_ACK, 106, 20).ack, 6);
	rewrites_tick(&w, 20 + REWRITES_CLOSED_US);
	assert_int_equal(w.flows.used, 1);
	rewrites_tick(&w, 20 + REWRITES_CLOSED_US + 1);
	assert_int_equal(w.flows.used, 0);
}

static void a_reset_that_the_guest_does_not_believe_ends_nothing(void **state)
{
	(void)state;
	carry_on(1, hundred, NULL);
	in(1, TCP_RST, 0, 0);
	assert_int_equal(out(1, TCP_ACK, 5, 0, 0).seq, 105);
	rewrites_tick(&w, REWRITES_IDLE_US);
	assert_int_equal(w.flows.used, 1);
	in(1, TCP_RST, 0, 0);
	rewrites_tick(&w, REWRITES_CLOSED_US + 1);
	assert_int_equal(w.flows.used, 0);
}

static void an_open_connection_may_be_silent_for_days(void **state)
{
	(void)state;
	carry_on(1, hundred, NULL);
	rewrites_tick(&w, 4 * 24 * 3600 * USEC_PER_SEC);
	assert_int_equal(out(1, TCP_ACK, 5, 0, 0).seq, 105);
	rewrites_tick(&w, REWRITES_IDLE_US + 1);
	assert_int_equal(w.flows.used, 0);
}

static void a_clock_alone_is_put_right_for_hours(void **state)
{
	(void)state;
	carry_on(1, (struct rewrite){0, 7}, NULL);
	rewrites_tick(&w, REWRITES_CLOCK_US);
	assert_int_equal(w.flows.used, 1);
	rewrites_tick(&w, REWRITES_CLOCK_US + 1);
	assert_int_equal(w.flows.used, 0);
}

static void a_new_connection_on_the_same_ports_is_not_rewritten(void **state)
{
	(void)state;
	carry_on(1, hundred, NULL);
	in(1, TCP_SYN, 0, 0); /* half open: its repetition */
	assert_int_equal(out(1, TCP_SYN | TCP_ACK, 5, 0, 0).seq, 105);
	in(1, TCP_RST, 0, 0);
	in(1, TCP_SYN, 0, 0);
	assert_int_equal(out(1, TCP_SYN | TCP_ACK, 5, 0, 0).seq, 5);
}

static void what_the_replica_sees_ends_connections_too(void **state)
{
	struct flow_key k = key(1);
	struct pkt p;

	(void)state;
	rewrites_inherit(&w, &k, &hundred, 0, 1, 0);
	mk_tcp_packet(&m, CLIENT, 1, GUEST, 80, TCP_RST, 0, 0, NULL, 0);
	p = mk_parse(&m);
	rewrites_saw(&w, 0, &p, false, 0);
	mk_tcp_packet(&m, GUEST, 80, CLIENT, 1, TCP_SYN, 0, 0, NULL, 0);
	p = mk_parse(&m);
	rewrites_saw(&w, 0, &p, true, 0);
	assert_int_equal(w.flows.used, 0);
}

static void the_connection_unused_for_longest_makes_room(void **state)
{
	(void)state;
	for (unsigned port = 1; port <= 4; port++)
		carry_on(port, hundred, NULL);
	out(1, TCP_ACK, 0, 0, 0);
	carry_on(5, hundred, NULL);
	assert_int_equal(w.gone, 1);
	assert_int_equal(out(1, TCP_ACK, 5, 0, 0).seq, 105);
	assert_int_equal(out(2, TCP_ACK, 5, 0, 0).seq, 5);
	assert_int_equal(out(5, TCP_ACK, 5, 0, 0).seq, 105);
	out(3, TCP_RST, 0, 0, 0);
	for (unsigned port = 4; port != 2; port = port == 4 ? 1 : port == 1 ? 5 : 2)
		out(port, TCP_ACK, 5, 0, 0);
	carry_on(6, hundred, NULL); /* in place of a closed one */
	assert_int_equal(w.gone, 1);
}

/* A port unreachable from @src to @dst about what is in @m. */
static struct pkt error_about(const char *src, const char *dst)
{
	static struct mk about;

	about = m;
	mk_start(&m);
	mk_ip(&m, src, dst, IPPROTO_ICMP);
	mk_icmp(&m, 3, 3, 0, 0);
	mk_data(&m, about.b, about.len);
	mk_end(&m);
	return mk_parse(&m);
}

static struct pkt quoted(void)
{
	struct pkt p = mk_parse(&m), q;

	assert_true(pkt_parse_quote(&q, &p));
	return q;
}

static void errors_about_a_connection_are_rewritten_and_end_nothing(void **state)
{
	struct pkt p;

	(void)state;
	carry_on(1, hundred, NULL);
	mk_tcp_packet(&m, GUEST, 80, CLIENT, 1, TCP_FIN | TCP_ACK, 105, 9, NULL, 0);
	p = error_about("10.0.0.7", GUEST);
	assert_true(rewrites_in(&w, 0, m.b, &p, false, 0));
	assert_int_equal(quoted().seq, 5);
	mk_tcp_packet(&m, CLIENT, 1, GUEST, 80, TCP_FIN | TCP_ACK, 9, 5, NULL, 0);
	p = error_about(GUEST, CLIENT);
	assert_true(rewrites_out(&w, 0, m.b, &p, false, 0));
	assert_int_equal(quoted().ack, 105);
	assert_int_equal(quoted().seq, 9);
	rewrites_tick(&w, REWRITES_CLOSED_US + 1);
	assert_int_equal(w.flows.used, 1);
}

static void errors_about_other_connections_are_left_alone(void **state)
{
	struct pkt p;

	(void)state;
	carry_on(1, hundred, NULL);
	mk_tcp_packet(&m, GUEST, 80, CLIENT, 2, TCP_ACK, 105, 9, NULL, 0);
	p = error_about("10.0.0.7", GUEST);
	assert_false(rewrites_in(&w, 0, m.b, &p, false, 0));
	assert_int_equal(quoted().seq, 105);
	mk_tcp_packet(&m, CLIENT, 1, GUEST, 80, TCP_ACK, 105, 9, NULL, 0); /* the peer's own */
	p = error_about("10.0.0.7", GUEST);
	assert_false(rewrites_in(&w, 0, m.b, &p, false, 0));
}

/* What one host tells, the other is told. */
static void pass_on(void *arg, const struct flow_key *k, const struct rewrite *r, uint8_t ends)
{
	rewrites_inherit(arg, k, r, ends, 1, 0);
}

static void the_next_host_knows_what_was_seen_of_a_connections_end(void **state)
{
	struct rewrites next;
	struct pkt p;

	(void)state;
	assert_int_equal(rewrites_init(&next, 4, 1), 0);
	carry_on(1, hundred, NULL);
	carry_on(2, hundred, NULL);
	out(1, TCP_FIN | TCP_ACK, 5, 0, 0);
	out(2, TCP_FIN | TCP_ACK, 5, 0, 0);
	in(2, TCP_FIN | TCP_ACK, 106, 0);
	rewrites_each(&w, pass_on, &next);
	rewrites_tick(&next, REWRITES_CLOSED_US + 1);
	assert_int_equal(next.flows.used, 1); /* the other is closed by one side only */
	mk_tcp_packet(&m, CLIENT, 1, GUEST, 80, TCP_FIN | TCP_ACK, 0, 106, NULL, 0);
	p = mk_parse(&m);
	rewrites_saw(&next, 0, &p, false, 0);
	rewrites_tick(&next, REWRITES_CLOSED_US + 1);
	assert_int_equal(next.flows.used, 0);
	rewrites_destroy(&next);
}

static void count(void *arg, const struct flow_key *k, const struct rewrite *r, uint8_t ends)
{
	assert_int_equal(ends, 0);
	assert_int_equal(k->peer_port, 2);
	assert_int_equal(r->seq_offset, 100);
	++*(int *)arg;
}

static void the_list_holds_what_has_an_offset(void **state)
{
	const uint32_t released = 5;
	int n = 0;

	(void)state;
	carry_on(1, (struct rewrite){}, &released);
	carry_on(2, hundred, NULL);
	rewrites_each(&w, count, &n);
	assert_int_equal(n, 1);
	rewrites_clear(&w);
	rewrites_each(&w, count, &n);
	assert_int_equal(n, 1);
}

#define rule(f) cmocka_unit_test_setup_teardown(f, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rule(an_older_clock_is_put_forward_once_and_for_all),
		rule(a_younger_clock_stays_as_it_is),
		rule(the_clock_counts_as_the_peer_sees_it),
		rule(a_plain_connection_needs_no_entry),
		rule(a_minute_after_both_fins_it_is_over),
		rule(a_reset_that_the_guest_does_not_believe_ends_nothing),
		rule(an_open_connection_may_be_silent_for_days),
		rule(a_clock_alone_is_put_right_for_hours),
		rule(a_new_connection_on_the_same_ports_is_not_rewritten),
		rule(what_the_replica_sees_ends_connections_too),
		rule(errors_about_a_connection_are_rewritten_and_end_nothing),
		rule(errors_about_other_connections_are_left_alone),
		rule(the_connection_unused_for_longest_makes_room),
		rule(the_next_host_knows_what_was_seen_of_a_connections_end),
		rule(the_list_holds_what_has_an_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
