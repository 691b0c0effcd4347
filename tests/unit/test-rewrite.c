// SPDX-License-Identifier: GPL-2.0-or-later
/* Rewriting against packets built with the changed numbers from the start: the bytes must be equal. */
#include "tests/unit/unit.h"

#include "proxy/rewrite.h"
#include "tests/unit/packet-make.h"

#define ADDR4 "10.0.0.2", "10.0.0.9"
#define ADDR6 "fd00::2", "fd00::9"

/* What a segment says; built twice, with the numbers of either side. */
struct segment {
	const char *src, *dst;
	unsigned flags, lead; /* @lead: NOPs that move the options to odd places */
	uint32_t seq, ack, tsval, tsecr, sack[4];
	bool has_ts;
	unsigned sacks, bytes;
};

static void build(struct mk *m, const struct segment *s)
{
	static const uint8_t nop[3] = {1, 1, 1};
	uint8_t ts[10] = {8, 10};

	mk_start(m);
	mk_ip(m, s->src, s->dst, IPPROTO_TCP);
	mk_tcp(m, 80, 4000, s->flags, s->seq, s->ack);
	mk_put32(ts + 2, s->tsval);
	mk_put32(ts + 6, s->tsecr);
	mk_data(m, nop, s->lead);
	if (s->has_ts)
		mk_tcp_option(m, ts, sizeof(ts));
	if (s->sacks)
		mk_tcp_sack(m, s->sack, s->sacks);
	mk_fill(m, 1, 0, s->bytes);
	mk_end(m);
}

static void assert_same(struct mk *got, const struct mk *want)
{
	assert_int_equal(got->len, want->len);
	assert_memory_equal(got->b, want->b, want->len);
	assert_true(mk_checksums_ok(got));
}

static struct segment random_segment(struct rng *r, bool ip6)
{
	static const unsigned flags[] = {TCP_ACK, TCP_SYN, TCP_SYN | TCP_ACK, TCP_RST,
					 TCP_FIN | TCP_ACK};
	struct segment s = {
		.src = ip6 ? "fd00::2" : "10.0.0.2",
		.dst = ip6 ? "fd00::9" : "10.0.0.9",
		.flags = flags[rng_below(r, ARRAY_SIZE(flags))],
		.has_ts = rng_below(r, 2),
		.lead = (unsigned)rng_below(r, 4),
		.sacks = (unsigned)rng_below(r, 3),
		.bytes = (unsigned)rng_below(r, 50),
		.seq = (uint32_t)rng_next(r),
		.ack = (uint32_t)rng_next(r),
		.tsval = (uint32_t)rng_next(r),
		.tsecr = rng_below(r, 3) ? (uint32_t)rng_next(r) : 0,
	};

	for (unsigned i = 0; i < 4; i++)
		s.sack[i] = (uint32_t)rng_next(r);
	return s;
}

static void outgoing_seq_and_tsval_move_and_the_checksum_holds(void **state)
{
	struct rng r = {.state = 1};
	static struct mk got, want;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct segment s = random_segment(&r, i % 2);
		struct rewrite w = {(uint32_t)rng_next(&r), (uint32_t)rng_next(&r)};
		struct pkt p;

		build(&got, &s);
		s.seq += w.seq_offset;
		s.tsval += w.ts_offset;
		build(&want, &s);
		p = mk_parse(&got);
		assert_true(rewrite_out(&w, got.b, &p, false));
		assert_same(&got, &want);
	}
}

static void incoming_ack_sack_and_tsecr_move_back(void **state)
{
	struct rng r = {.state = 2};
	static struct mk got, want;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct segment s = random_segment(&r, i % 2);
		struct rewrite w = {(uint32_t)rng_next(&r), (uint32_t)rng_next(&r)};
		bool means = s.flags & TCP_ACK;
		struct pkt p;

		build(&got, &s);
		if (means) {
			s.ack -= w.seq_offset;
			s.tsecr -= s.tsecr ? w.ts_offset : 0;
			for (int k = 0; k < 4; k++)
				s.sack[k] -= w.seq_offset;
		}
		build(&want, &s);
		p = mk_parse(&got);
		assert_int_equal(rewrite_in(&w, got.b, &p, false), means);
		assert_same(&got, &want);
	}
}

static void a_partial_checksum_stays_as_it_is(void **state)
{
	const struct rewrite w = {1000, 77};
	static struct mk m;
	struct segment s = {ADDR4, .flags = TCP_ACK, .has_ts = true, .tsecr = 5, .bytes = 10};
	uint8_t *sum;
	struct pkt p;

	(void)state;
	build(&m, &s);
	sum = mk_checksum_at(&m);
	mk_put16(sum, 0x1234);
	p = mk_parse(&m);
	assert_true(rewrite_out(&w, m.b, &p, true));
	p = mk_parse(&m);
	assert_int_equal(p.seq, 1000);
	assert_int_equal(p.tsval, 77);
	assert_true(rewrite_in(&w, m.b, &p, true));
	assert_int_equal(sum[0] << 8 | sum[1], 0x1234);
}

static void offsets_of_zero_change_nothing(void **state)
{
	const struct rewrite w = {};
	struct segment s = {ADDR6, .flags = TCP_ACK, .has_ts = true, .tsecr = 5, .bytes = 10};
	static struct mk m, before;
	struct pkt p;

	(void)state;
	build(&m, &s);
	before = m;
	p = mk_parse(&m);
	assert_false(rewrite_out(&w, m.b, &p, false));
	assert_false(rewrite_in(&w, m.b, &p, false));
	assert_memory_equal(m.b, before.b, m.len);
}

static void what_is_not_tcp_is_left_alone(void **state)
{
	const struct rewrite w = {1, 1};
	static struct mk m, before;
	struct pkt p;

	(void)state;
	mk_udp_packet(&m, "10.0.0.2", 1, "10.0.0.9", 2, "0123456789abcdef0123456789abcdef", 32);
	before = m;
	p = mk_parse(&m);
	assert_false(rewrite_out(&w, m.b, &p, false));
	assert_false(rewrite_in(&w, m.b, &p, false));
	assert_memory_equal(m.b, before.b, m.len);
}

static void out_and_back_gives_the_numbers_of_the_guest(void **state)
{
	const struct rewrite w = {0xfffffff0, 0x80000001};
	struct segment s = {ADDR4, .flags = TCP_ACK, .has_ts = true, .seq = 0x20,
			    .tsval = 0x7fffffff};
	struct segment answer = {"10.0.0.9", "10.0.0.2", .flags = TCP_ACK, .has_ts = true};
	static struct mk m;
	struct pkt p;

	(void)state;
	build(&m, &s);
	p = mk_parse(&m);
	rewrite_out(&w, m.b, &p, false);
	p = mk_parse(&m);
	assert_int_equal(p.seq, 0x10);
	answer.ack = p.seq;
	answer.tsecr = p.tsval;
	build(&m, &answer);
	p = mk_parse(&m);
	rewrite_in(&w, m.b, &p, false);
	p = mk_parse(&m);
	assert_int_equal(p.ack, s.seq);
	/* 0x7fffffff + 0x80000001 is 0, which as an echo means nothing: RFC 7323 has no way out. */
	assert_int_equal(p.tsecr, 0);
}

/* ---- ICMP errors, which quote a segment ---- */

/* An error to the sender of @about, from a router, with the first @bytes of TCP. */
static void build_error(struct mk *m, const struct mk *about, size_t bytes)
{
	bool ip6 = about->ip6;

	mk_start(m);
	mk_ip(m, ip6 ? "fd00::1" : "10.0.0.1", ip6 ? "fd00::2" : "10.0.0.2",
	      ip6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	mk_icmp(m, ip6 ? 2 : 3, ip6 ? 0 : 4, 0, 1300);
	mk_data(m, about->b, about->l4 + bytes);
	mk_end(m);
}

/* What is quoted of @s when all fits into an error. */
static size_t whole(struct mk *m, const struct segment *s)
{
	build(m, s);
	return m->len - m->l4;
}

static bool translate(struct mk *m, const struct rewrite *w, bool out)
{
	struct pkt p = mk_parse(m), q;

	assert_true(pkt_parse_quote(&q, &p));
	return (out ? rewrite_quoted_out : rewrite_quoted_in)(w, m->b, &p, &q, false);
}

/* The numbers that a rewritten segment of the guest has on its way. */
static struct segment as_sent(struct segment s, const struct rewrite *w)
{
	s.seq += w->seq_offset;
	s.tsval += w->ts_offset;
	return s;
}

static void an_error_to_the_guest_quotes_what_the_guest_has_sent(void **state)
{
	static const size_t shorter[] = {8, 11, 12, 16};
	static struct mk about, got, want;
	struct rng r = {.state = 3};

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct rewrite w = {(uint32_t)rng_next(&r), (uint32_t)rng_next(&r)};
		struct segment s = random_segment(&r, i % 2), sent = as_sent(s, &w);
		size_t pick = (size_t)i % 5, bytes = whole(&about, &s);

		bytes = pick < 4 ? shorter[pick] : bytes;
		build_error(&want, &about, bytes);
		build(&about, &sent);
		build_error(&got, &about, bytes);
		assert_true(translate(&got, &w, false));
		assert_same(&got, &want);
	}
}

static void an_error_of_the_guest_quotes_what_the_network_has_sent(void **state)
{
	static struct mk about, got, want;
	struct rng r = {.state = 4};

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct rewrite w = {(uint32_t)rng_next(&r), (uint32_t)rng_next(&r)};
		struct segment s = random_segment(&r, i % 2);
		size_t bytes = whole(&about, &s);
		struct pkt p;

		build_error(&want, &about, bytes);
		p = mk_parse(&about);
		rewrite_in(&w, about.b, &p, false);
		build_error(&got, &about, bytes);
		assert_int_equal(translate(&got, &w, true), !!(s.flags & TCP_ACK));
		assert_same(&got, &want);
	}
}

static void of_a_cut_header_the_sequence_number_is_moved_and_the_checksum_holds(void **state)
{
	const struct rewrite w = {1000, 77};
	struct segment s = {ADDR4, .flags = TCP_ACK, .seq = 1234, .has_ts = true, .bytes = 10};
	static struct mk about, m;

	(void)state;
	build(&about, &s);
	for (size_t bytes = 8; bytes < 40; bytes++) {
		struct pkt p, q;

		build_error(&m, &about, bytes);
		assert_true(translate(&m, &w, false));
		p = mk_parse(&m);
		assert_true(pkt_parse_quote(&q, &p));
		assert_int_equal(q.seq, 234);
		assert_true(mk_checksums_ok(&m));
	}
}

/* A frag needed (RFC 792, RFC 1191) of 10.0.0.1 about 10.0.0.2:80 > 10.0.0.9:4000, seq 0x11223344,
 * which had been moved by 0x01000000: by hand. */
static void a_known_error_becomes_what_it_should_be(void **state)
{
	static const uint8_t before[] = {
		0x45, 0, 0,    56,   0, 0, 0,    0,  64, 1,   0x66, 0xc3, 10,   0,
		0,    1, 10,   0,    0, 2,           /* IP */
		3,    4, 0xa3, 0x91, 0, 0, 5,    20, /* ICMP, MTU 1300 */
		0x45, 0, 5,    220,  0, 0, 0x40, 0,  64, 6,   0x21, 0x12, 10,   0,
		0,    2, 10,   0,    0, 9, 0,    80, 15, 160, 0x11, 0x22, 0x33, 0x44};
	const struct rewrite w = {0x01000000, 0};
	static struct mk m;

	(void)state;
	mk_start(&m);
	mk_ip(&m, "10.0.0.1", "10.0.0.2", IPPROTO_ICMP);
	m.len = 0;
	mk_data(&m, before, sizeof(before));
	assert_true(mk_checksums_ok(&m));
	assert_true(translate(&m, &w, false));
	assert_int_equal(m.b[sizeof(before) - 4], 0x10);
	assert_int_equal(m.b[22] << 8 | m.b[23], 0xa491);
	assert_true(mk_checksums_ok(&m));
}

static bool is_quote(struct mk *m)
{
	struct pkt p = mk_parse(m), q;

	return pkt_parse_quote(&q, &p);
}

static void only_errors_about_the_beginning_of_a_segment_quote_one(void **state)
{
	static struct mk about, m;
	struct segment s = {ADDR4, .flags = TCP_ACK, .bytes = 100};

	(void)state;
	build(&about, &s);
	build_error(&m, &about, 100);
	assert_true(is_quote(&m));
	build_error(&m, &about, 7);
	assert_false(is_quote(&m));
	build_error(&m, &about, 100);
	m.b[m.l4] = 8; /* an echo request */
	assert_false(is_quote(&m));
	about.b[7] = 1; /* a later fragment */
	build_error(&m, &about, 100);
	assert_false(is_quote(&m));
	about.b[7] = 0;
	about.b[9] = IPPROTO_UDP;
	build_error(&m, &about, 100);
	assert_false(is_quote(&m));
}

/* RFC 4884: an extension stands behind the quote, whose length byte 5 tells in words. */
static void what_stands_behind_a_quote_is_not_taken_for_a_part_of_it(void **state)
{
	struct segment s = {ADDR4, .flags = TCP_ACK, .has_ts = true, .bytes = 100};
	static struct mk about, m;
	struct pkt p, q;

	(void)state;
	build(&about, &s);
	build_error(&m, &about, 100);
	m.b[m.l4 + 5] = 7; /* 28 bytes: IP and 8 of TCP */
	p = mk_parse(&m);
	assert_true(pkt_parse_quote(&q, &p));
	assert_int_equal(q.len - q.l4_off, 8);
	assert_int_equal(q.ts_off, 0);
}

static void a_filled_checksum_is_what_a_receiver_expects(void **state)
{
	static struct mk m;

	(void)state;
	for (unsigned bytes = 0; bytes < 70; bytes++) {
		for (int kind = 0; kind < 4; kind++) {
			const char *src = kind % 2 ? "fd00::2" : "10.0.0.2";
			const char *dst = kind % 2 ? "fd00::9" : "10.0.0.9";
			uint8_t data[70];
			struct pkt p;

			memset(data, (int)(bytes * 37 + 1), sizeof(data));
			if (kind < 2)
				mk_tcp_packet(&m, src, 1, dst, 2, TCP_ACK, 3, 4, data, bytes);
			else
				mk_udp_packet(&m, src, 1, dst, 2, data, bytes);
			mk_put16(mk_checksum_at(&m), 0xbeef);
			p = mk_parse(&m);
			l4_checksum_fill(m.b, &p);
			assert_true(mk_checksums_ok(&m));
		}
	}
}

static void padding_behind_the_packet_is_not_summed(void **state)
{
	static struct mk m;
	struct pkt p;

	(void)state;
	mk_udp_packet(&m, "10.0.0.2", 1, "10.0.0.9", 2, "x", 1);
	mk_put16(mk_checksum_at(&m), 0);
	memset(m.b + m.len, 0xff, 17);
	pkt_parse_ip(&p, m.b, m.len + 17, 0);
	l4_checksum_fill(m.b, &p);
	assert_true(mk_checksums_ok(&m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outgoing_seq_and_tsval_move_and_the_checksum_holds),
		cmocka_unit_test(incoming_ack_sack_and_tsecr_move_back),
		cmocka_unit_test(a_partial_checksum_stays_as_it_is),
		cmocka_unit_test(offsets_of_zero_change_nothing),
		cmocka_unit_test(what_is_not_tcp_is_left_alone),
		cmocka_unit_test(out_and_back_gives_the_numbers_of_the_guest),
		cmocka_unit_test(an_error_to_the_guest_quotes_what_the_guest_has_sent),
		cmocka_unit_test(an_error_of_the_guest_quotes_what_the_network_has_sent),
		cmocka_unit_test(
			of_a_cut_header_the_sequence_number_is_moved_and_the_checksum_holds),
		cmocka_unit_test(a_known_error_becomes_what_it_should_be),
		cmocka_unit_test(only_errors_about_the_beginning_of_a_segment_quote_one),
		cmocka_unit_test(what_stands_behind_a_quote_is_not_taken_for_a_part_of_it),
		cmocka_unit_test(a_filled_checksum_is_what_a_receiver_expects),
		cmocka_unit_test(padding_behind_the_packet_is_not_summed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
