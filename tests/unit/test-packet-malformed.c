// SPDX-License-Identifier: GPL-2.0-or-later
/* What the parser makes of packets that are malformed, cut off or random. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "tests/unit/packet-check.h"
#include "tests/unit/packet-make.h"

static struct mk m;

static struct pkt parse_made(void)
{
	return parse_exactly(mk_l3(&m), mk_l3_len(&m));
}

static void malformed_tcp_options_end_parsing_but_not_the_packet(void **state)
{
	static const struct {
		uint8_t bytes[16];
		bool has_ts, has_sack;
	} cases[] = {
		{{8, 0, 8, 10}, false, false},              /* length 0 */
		{{8, 1, 8, 10}, false, false},              /* length 1 */
		{{3, 17, 1, 1, 1, 1, 8, 10}, false, false}, /* reaches behind the header */
		{{8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 5, 10}, true, false}, /* SACK cut off */
		{{0, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, false, false}, /* end of options */
		{{8, 9, 1, 2, 3, 4, 5, 6, 7, 1}, false, false}, /* timestamps of a wrong length */
		{{5, 2, 5, 9, 0, 0, 0, 0, 0, 0, 0, 1},
		 false,
		 false}, /* SACK without a whole block */
		{{1, 1, 1, 1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 8},
		 false,
		 true}, /* half an option */
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		size_t c = i / 2, payload = i % 2 ? 4 : 0;
		struct pkt p;

		mk_start(&m);
		mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_TCP);
		mk_tcp(&m, 80, 41234, TCP_ACK, 1000, 2000);
		mk_tcp_option(&m, cases[c].bytes, 16);
		mk_data(&m, "data", payload);
		mk_end(&m);
		p = parse_made();
		assert_int_equal(p.kind, PKT_TCP);
		assert_int_equal(p.payload_len, payload);
		assert_int_equal(!!p.ts_off, cases[c].has_ts);
		assert_int_equal(!!p.sack_off, cases[c].has_sack);
	}
}

static void malformed_headers_make_a_packet_opaque(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{0, 0x44},  /* IPv4 header of 16 bytes */
		{0, 0x4f},  /* IPv4 header longer than the packet */
		{0, 0x55},  /* IP version 5 */
		{0, 0x05},  /* IP version 0 */
		{3, 19},    /* shorter than its header */
		{3, 60},    /* longer than what is there */
		{32, 0x40}, /* TCP header of 16 bytes */
		{32, 0x60}, /* TCP header longer than the packet */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pkt p;

		mk_tcp_packet(&m, "10.0.0.2", 1, "10.0.0.9", 2, TCP_ACK, 5, 6, "xyz", 3);
		assert_int_equal(parse_made().kind, PKT_TCP);
		m.b[cases[i].at] = cases[i].value;
		p = parse_made();
		assert_int_equal(p.kind, PKT_OPAQUE);
		assert_int_equal(p.payload_len, 43);
	}
}

/* Packets that take every path of the parser. */
static void make_variant(unsigned variant)
{
	static const uint32_t edges[] = {1, 2, 3, 4};

	mk_start(&m);
	switch (variant) {
	case 0:
	case 1:
		mk_ip(&m, variant ? "fd00::1" : "10.0.0.2", variant ? "fd00::2" : "10.0.0.9",
		      IPPROTO_TCP);
		if (variant)
			mk_ip6_ext(&m, IPPROTO_HOPOPTS, 0);
		else
			mk_ip4_options(&m, edges, 8);
		mk_tcp(&m, 1, 2, TCP_ACK, 3, 4);
		mk_tcp_ts(&m, 5, 6);
		mk_tcp_sack(&m, edges, 2);
		break;
	case 2:
		mk_ip(&m, "fd00::1", "fd00::2", IPPROTO_UDP);
		mk_ip6_ext(&m, IPPROTO_DSTOPTS, 1);
		mk_fragment(&m, 7, 0, true);
		mk_udp(&m, 1, 2);
		break;
	case 3:
		mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_UDP);
		mk_udp(&m, 1, 2);
		break;
	case 4:
		mk_ip(&m, "fe80::1", "fe80::2", IPPROTO_ICMPV6);
		mk_nd(&m, 136, "fe80::1", mk_mac_guest);
		break;
	default:
		mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_ICMP);
		mk_icmp(&m, 8, 0, 1, 2);
		break;
	}
	mk_data(&m, "payload", 7);
	mk_end(&m);
}
#define VARIANTS 6

static void a_packet_cut_off_anywhere_is_opaque(void **state)
{
	(void)state;
	for (unsigned v = 0; v < VARIANTS; v++) {
		make_variant(v);
		assert_int_not_equal(parse_made().kind, PKT_OPAQUE);
		for (size_t len = 0; len < mk_l3_len(&m); len++) {
			struct pkt p = parse_exactly(mk_l3(&m), len);

			assert_int_equal(p.kind, PKT_OPAQUE);
			assert_int_equal(p.payload_len, len);
		}
	}
}

/* As above, but the IP header agrees with the cut, so that it hits what is inside. */
static void a_cut_inside_never_reads_beyond(void **state)
{
	(void)state;
	for (unsigned v = 0; v < VARIANTS; v++) {
		size_t whole, least;

		make_variant(v);
		whole = mk_l3_len(&m);
		least = m.ip6 ? 40 : (m.b[0] & 15u) * 4;
		for (size_t len = least; len < whole; len++) {
			struct pkt p;

			m.len = len;
			mk_ip_end(&m);
			p = parse_made();
			assert_int_equal(p.len, len);
			if (len < m.l4)
				assert_true(p.kind == PKT_OPAQUE);
		}
	}
}

static void random_bytes_are_survived(void **state)
{
	struct rng rng = {1};

	(void)state;
	for (int i = 0; i < 50000; i++) {
		unsigned changes = 1 + (unsigned)rng_below(&rng, 4);

		if (i % 50 == 0)
			make_variant((unsigned)rng_below(&rng, VARIANTS));
		while (changes--)
			m.b[rng_below(&rng, m.len)] = (uint8_t)rng_next(&rng);
		parse_made();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_tcp_options_end_parsing_but_not_the_packet),
		cmocka_unit_test(malformed_headers_make_a_packet_opaque),
		cmocka_unit_test(a_packet_cut_off_anywhere_is_opaque),
		cmocka_unit_test(a_cut_inside_never_reads_beyond),
		cmocka_unit_test(random_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
