// SPDX-License-Identifier: GPL-2.0-or-later
/* What the parser makes of well-formed frames and packets. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "tests/unit/packet-check.h"
#include "tests/unit/packet-make.h"

static struct mk m, cut;

static void assert_addr(const struct ip_addr *a, const char *text)
{
	uint8_t want[16] = {[10] = 0xff, [11] = 0xff};
	bool v6 = strchr(text, ':');

	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, text, want + (v6 ? 0 : 12)), 1);
	assert_memory_equal(a->b, want, 16);
}

static struct pkt parse_made(void)
{
	return parse_exactly(mk_l3(&m), mk_l3_len(&m));
}

/* A SYN of Linux 6.1 as tcpdump shows it. */
static const uint8_t linux_syn[] = {
	0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0x0a, 0x74, 0x0a, 0x00, 0x00,
	0x02, 0x0a, 0x00, 0x00, 0x09, 0xa1, 0x12, 0x00, 0x50, 0x8e, 0x5b, 0x01, 0x77, 0x00, 0x00,
	0x00, 0x00, 0xa0, 0x02, 0xfa, 0xf0, 0x14, 0x37, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04,
	0x02, 0x08, 0x0a, 0x3b, 0x9a, 0xca, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
};

/* A neighbour solicitation of ff02::1:ff00:2. */
static const uint8_t linux_ns[] = {
	0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x02, 0x87, 0x00, 0x5c, 0x38, 0x00,
	0x00, 0x00, 0x00, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x02, 0x01, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56,
};

/* MLDv2 report: hop-by-hop header with router alert, then ICMPv6 143. */
static const uint8_t linux_mld[] = {
	0x60, 0x00, 0x00, 0x00, 0x00, 0x24, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56, 0xff, 0x02,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x16, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00, 0x01, 0x00, 0x8f, 0x00, 0x12, 0x34,
	0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x12, 0x34, 0x56,
};

static void packets_of_linux_are_understood(void **state)
{
	struct pkt p = parse_exactly(linux_syn, sizeof(linux_syn));

	(void)state;
	assert_int_equal(p.kind, PKT_TCP);
	assert_int_equal(p.ip_version, 4);
	assert_addr(&p.src, "10.0.0.2");
	assert_addr(&p.dst, "10.0.0.9");
	assert_int_equal(p.sport, 41234);
	assert_int_equal(p.dport, 80);
	assert_int_equal(p.seq, 0x8e5b0177);
	assert_int_equal(p.tcp_flags, TCP_SYN);
	assert_int_equal(p.window, 64240);
	assert_int_equal(p.payload_len, 0);
	assert_int_equal(p.seq_len, 1);
	assert_int_equal(p.ts_off, 48);
	assert_int_equal(p.tsval, 1000000000);
	assert_int_equal(p.sack_blocks, 0);
	p = parse_exactly(linux_ns, sizeof(linux_ns));
	assert_int_equal(p.kind, PKT_NEIGHBOUR);
	assert_addr(&p.src, "fe80::5054:ff:fe12:3456");
	assert_int_equal(p.payload_off, 40);
	assert_int_equal(p.payload_len, 32);
	p = parse_exactly(linux_mld, sizeof(linux_mld));
	assert_int_equal(p.kind, PKT_NEIGHBOUR);
	assert_int_equal(p.proto, IPPROTO_ICMPV6);
	assert_int_equal(p.payload_off, 48);
}

static void start_tcp(const char *src, const char *dst)
{
	mk_start(&m);
	mk_ip(&m, src, dst, IPPROTO_TCP);
	mk_tcp(&m, 80, 41234, TCP_ACK | TCP_PSH, 1000, 2000);
}

static void tcp_options_are_found(void **state)
{
	static const uint32_t edges[] = {10, 20, 30, 40, 50, 60};
	struct pkt p;

	(void)state;
	start_tcp("fd00::1", "fd00::2");
	mk_tcp_ts(&m, 77, 88);
	mk_tcp_sack(&m, edges, 3);
	mk_data(&m, "hello", 5);
	mk_end(&m);
	p = parse_made();
	assert_int_equal(p.kind, PKT_TCP);
	assert_int_equal(p.ts_off, 40 + 20 + 4);
	assert_int_equal(p.tsval, 77);
	assert_int_equal(p.tsecr, 88);
	assert_int_equal(p.sack_off, 40 + 20 + 12 + 4);
	assert_int_equal(p.sack_blocks, 3);
	assert_int_equal(p.payload_off, 40 + 20 + 12 + 28);
	assert_int_equal(p.payload_len, 5);
	assert_int_equal(p.seq, 1000);
	assert_int_equal(p.ack, 2000);
}

static void syn_and_fin_occupy_sequence_space(void **state)
{
	static const struct {
		unsigned flags, want;
	} cases[] = {{TCP_ACK, 5},
		     {TCP_SYN, 6},
		     {TCP_FIN | TCP_ACK, 6},
		     {TCP_SYN | TCP_FIN, 7},
		     {TCP_RST, 5}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		mk_tcp_packet(&m, "10.0.0.2", 1, "10.0.0.9", 2, cases[i].flags, 5, 6, "12345", 5);
		assert_int_equal(parse_made().seq_len, cases[i].want);
	}
}

static void urgent_pointer_and_window_are_read(void **state)
{
	struct pkt p;

	(void)state;
	start_tcp("10.0.0.2", "10.0.0.9");
	mk_tcp_urgent(&m, 3);
	mk_tcp_window(&m, 1234);
	mk_end(&m);
	p = parse_made();
	assert_int_equal(p.urgent, 3);
	assert_int_equal(p.window, 1234);
	assert_true(p.tcp_flags & TCP_URG);
}

static void padding_behind_the_packet_is_cut_off(void **state)
{
	static const char *const addresses[][2] = {{"10.0.0.2", "10.0.0.9"},
						   {"fd00::1", "fd00::2"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		size_t len;
		struct pkt p;

		mk_udp_packet(&m, addresses[i][0], 53, addresses[i][1], 5353, "abc", 3);
		len = mk_l3_len(&m);
		memset(mk_more(&m, 18), 0xee, 18);
		p = parse_made();
		assert_int_equal(p.kind, PKT_UDP);
		assert_int_equal(p.len, len);
		assert_int_equal(p.payload_len, 3);
	}
}

static void ip4_options_are_walked_past(void **state)
{
	static const uint8_t router_alert[] = {0x94, 4, 0, 0};
	struct pkt p;

	(void)state;
	mk_start(&m);
	mk_ip(&m, "10.0.0.2", "224.0.0.22", IPPROTO_UDP);
	mk_ip4_options(&m, router_alert, sizeof(router_alert));
	mk_udp(&m, 7, 8);
	mk_data(&m, "x", 1);
	mk_end(&m);
	p = parse_made();
	assert_int_equal(p.kind, PKT_UDP);
	assert_int_equal(p.l4_off, 24);
	assert_int_equal(p.sport, 7);
	assert_int_equal(p.payload_len, 1);
}

static void ip6_extension_headers_are_walked_past(void **state)
{
	struct pkt p;

	(void)state;
	mk_start(&m);
	mk_ip(&m, "fd00::1", "fd00::2", IPPROTO_TCP);
	mk_ip6_ext(&m, IPPROTO_HOPOPTS, 0);
	mk_ip6_ext(&m, IPPROTO_DSTOPTS, 2);
	mk_ip6_ext(&m, IPPROTO_ROUTING, 1);
	mk_ip6_ext(&m, IPPROTO_DSTOPTS, 0);
	mk_tcp(&m, 9, 10, TCP_ACK, 1, 2);
	mk_data(&m, "yz", 2);
	mk_end(&m);
	p = parse_made();
	assert_int_equal(p.kind, PKT_TCP);
	assert_int_equal(p.l4_off, 40 + 8 + 24 + 16 + 8);
	assert_int_equal(p.dport, 10);
	assert_int_equal(p.payload_len, 2);
}

static void other_protocols_are_payload_as_a_whole(void **state)
{
	static const uint8_t protos[] = {IPPROTO_AH,  IPPROTO_ESP,  IPPROTO_NONE,
					 IPPROTO_GRE, IPPROTO_SCTP, IPPROTO_ICMP};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		struct pkt p;

		mk_start(&m);
		mk_ip(&m, "fd00::1", "fd00::2", protos[i]);
		mk_fill(&m, 3, 0, 50);
		mk_ip_end(&m);
		p = parse_made();
		assert_int_equal(p.kind, PKT_OTHER);
		assert_int_equal(p.proto, protos[i]);
		assert_int_equal(p.payload_off, 40);
		assert_int_equal(p.payload_len, 50);
		assert_int_equal(p.sport, 0);
	}
}

static void no_more_than_16_extension_headers_are_walked(void **state)
{
	(void)state;
	for (int n = 16; n <= 17; n++) {
		struct pkt p;

		mk_start(&m);
		mk_ip(&m, "fd00::1", "fd00::2", IPPROTO_UDP);
		for (int i = 0; i < n; i++)
			mk_ip6_ext(&m, IPPROTO_DSTOPTS, 255);
		mk_udp(&m, 1, 2);
		mk_end(&m);
		p = parse_made();
		assert_int_equal(p.kind, n == 16 ? PKT_UDP : PKT_OTHER);
		assert_int_equal(p.proto, n == 16 ? IPPROTO_UDP : IPPROTO_DSTOPTS);
	}
}

static void an_echo_is_a_flow_by_its_identifier(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto;
		unsigned type;
		bool echo;
	} cases[] = {
		{"10.0.0.2", "10.0.0.9", IPPROTO_ICMP, 8, true},
		{"10.0.0.2", "10.0.0.9", IPPROTO_ICMP, 0, true},
		{"10.0.0.2", "10.0.0.9", IPPROTO_ICMP, 3, false},
		{"fd00::1", "fd00::2", IPPROTO_ICMPV6, 128, true},
		{"fd00::1", "fd00::2", IPPROTO_ICMPV6, 129, true},
		{"fd00::1", "fd00::2", IPPROTO_ICMPV6, 1, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pkt p;

		mk_start(&m);
		mk_ip(&m, cases[i].src, cases[i].dst, cases[i].proto);
		mk_icmp(&m, cases[i].type, 0, 4711, 1);
		mk_data(&m, "ping", 4);
		mk_end(&m);
		p = parse_made();
		assert_int_equal(p.kind, PKT_ICMP);
		assert_int_equal(p.sport, cases[i].echo ? 4711 : 0);
		assert_int_equal(p.dport, cases[i].echo ? 4711 : 0);
		assert_int_equal(p.payload_off, p.l4_off);
		assert_int_equal(p.payload_len, 12);
	}
}

static void only_neighbour_discovery_and_mld_are_neighbour_packets(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		bool want = (type >= 130 && type <= 137) || type == 143;

		mk_start(&m);
		mk_ip(&m, "fe80::1", "ff02::1", IPPROTO_ICMPV6);
		mk_icmp(&m, type, 0, 0, 0);
		mk_end(&m);
		assert_int_equal(parse_made().kind, want ? PKT_NEIGHBOUR : PKT_ICMP);
	}
	mk_start(&m);
	mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_ICMP);
	mk_icmp(&m, 135, 0, 0, 0);
	mk_end(&m);
	assert_int_equal(parse_made().kind, PKT_ICMP);
}

static void bytes_behind_the_udp_length_are_not_lost(void **state)
{
	static const struct {
		unsigned udp_len;
		enum pkt_kind want;
		uint32_t payload;
	} cases[] = {
		{18, PKT_UDP, 10},  {0, PKT_UDP, 10},    {12, PKT_OTHER, 18},
		{8, PKT_OTHER, 18}, {7, PKT_OPAQUE, 38}, {19, PKT_OPAQUE, 38},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pkt p;

		mk_udp_packet(&m, "10.0.0.2", 1, "10.0.0.9", 2, "0123456789", 10);
		mk_put16(m.b + m.l4 + 4, cases[i].udp_len);
		p = parse_made();
		assert_int_equal(p.kind, cases[i].want);
		assert_int_equal(p.payload_len, cases[i].payload);
		assert_int_equal(p.sport, cases[i].want == PKT_UDP ? 1 : 0);
	}
}

static void a_fragment_tells_its_place(void **state)
{
	static const char *const addresses[][2] = {{"10.0.0.2", "10.0.0.9"},
						   {"fd00::1", "fd00::2"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		bool v6 = i == 1;

		mk_udp_packet(&cut, addresses[i][0], 1, addresses[i][1], 2, linux_mld, 72);
		for (unsigned off = 0; off < 80; off += 40) {
			struct pkt p;

			mk_cut(&m, &cut, 0xbeef, off, 40);
			p = parse_made();
			assert_int_equal(p.kind, PKT_FRAGMENT);
			assert_int_equal(p.proto, IPPROTO_UDP);
			assert_int_equal(p.frag_id, 0xbeef);
			assert_int_equal(p.frag_off, off);
			assert_int_equal(p.frag_more, off == 0);
			assert_int_equal(p.frag_next_off, v6 ? 6 : 0);
			assert_int_equal(p.l4_off, v6 ? 48 : 20);
			assert_int_equal(p.payload_len, 40);
			assert_int_equal(p.sport, 0);
		}
	}
}

static void an_atomic_fragment_is_a_whole_packet(void **state)
{
	struct pkt p;

	(void)state;
	mk_start(&m);
	mk_ip(&m, "fd00::1", "fd00::2", IPPROTO_UDP);
	mk_fragment(&m, 5, 0, false);
	mk_udp(&m, 1, 2);
	mk_end(&m);
	p = parse_made();
	assert_int_equal(p.kind, PKT_UDP);
	assert_int_equal(p.l4_off, 48);
	assert_int_equal(p.dport, 2);
}

static void more_than_64_kb_are_a_packet_when_its_length_says_0(void **state)
{
	static const char *const addresses[][2] = {{"10.0.0.2", "10.0.0.9"},
						   {"fd00::1", "fd00::2"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		start_tcp(addresses[i][0], addresses[i][1]);
		mk_fill(&m, 1, 0, 90000);
		mk_end(&m);
		assert_int_equal(parse_made().kind, PKT_TCP);
		assert_int_equal(parse_made().payload_len, 90000);
	}
	mk_udp_packet(&m, "10.0.0.2", 1, "10.0.0.9", 2, "x", 1);
	mk_put16(m.b + 2, 0);
	assert_int_equal(parse_made().kind, PKT_OPAQUE);
	mk_start(&m);
	mk_ip(&m, "fd00::1", "fd00::2", IPPROTO_NONE);
	mk_fill(&m, 1, 0, 20);
	assert_int_equal(parse_made().kind, PKT_OTHER); /* IPv6 without payload, padded */
	assert_int_equal(parse_made().len, 40);
}

static void frames_are_parsed_through_nested_tags(void **state)
{
	struct frame f;

	(void)state;
	for (int tags = 0; tags <= 3; tags++) {
		mk_start(&m);
		mk_eth(&m, mk_mac_peer, mk_mac_guest);
		for (int i = 0; i < tags; i++)
			mk_vlan(&m, i || tags == 1 ? 0x8100 : 0x88a8,
				0xe000u | (100u + (unsigned)i));
		mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_UDP);
		mk_udp(&m, 1, 2);
		mk_end(&m);
		assert_int_equal(frame_parse(&f, m.b, m.len), 0);
		assert_memory_equal(f.dst, mk_mac_peer, 6);
		assert_memory_equal(f.src, mk_mac_guest, 6);
		assert_int_equal(f.vlan, tags ? 100 : 0);
		assert_int_equal(f.ethertype, ETHERTYPE_IPV4);
		assert_int_equal(f.l3_off, 14 + 4 * tags);
		assert_true(frame_is_ip(&f));
		for (size_t len = 0; len < f.l3_off; len++)
			assert_int_equal(frame_parse(&(struct frame){}, m.b, len), -EBADMSG);
	}
}

static void an_outer_priority_tag_means_no_vlan(void **state)
{
	struct frame f;

	(void)state;
	mk_start(&m);
	mk_eth(&m, mk_mac_peer, mk_mac_guest);
	mk_vlan(&m, 0x8100, 0xe000);
	mk_vlan(&m, 0x8100, 7);
	mk_ethertype(&m, ETHERTYPE_IPV6);
	assert_int_equal(frame_parse(&f, m.b, m.len), 0);
	assert_int_equal(f.vlan, 0);
	assert_int_equal(f.ethertype, ETHERTYPE_IPV6);
}

static void arp_is_parsed_and_nothing_else_is_arp(void **state)
{
	struct arp a;

	(void)state;
	mk_start(&m);
	mk_eth(&m, mk_mac_all, mk_mac_guest);
	mk_arp(&m, 2, mk_mac_guest, "10.0.0.2", mk_mac_peer, "10.0.0.9");
	assert_int_equal(arp_parse(&a, m.b + 14, 28), 0);
	assert_int_equal(a.op, 2);
	assert_memory_equal(a.sender_mac, mk_mac_guest, 6);
	assert_memory_equal(a.target_mac, mk_mac_peer, 6);
	assert_addr(&a.sender, "10.0.0.2");
	assert_addr(&a.target, "10.0.0.9");
	for (size_t len = 0; len < 28; len++)
		assert_int_equal(arp_parse(&a, m.b + 14, len), -EBADMSG);
	for (size_t at = 0; at < 6; at++) {
		m.b[14 + at] ^= 1;
		assert_int_equal(arp_parse(&a, m.b + 14, 28), -EBADMSG);
		m.b[14 + at] ^= 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_of_linux_are_understood),
		cmocka_unit_test(tcp_options_are_found),
		cmocka_unit_test(syn_and_fin_occupy_sequence_space),
		cmocka_unit_test(urgent_pointer_and_window_are_read),
		cmocka_unit_test(padding_behind_the_packet_is_cut_off),
		cmocka_unit_test(ip4_options_are_walked_past),
		cmocka_unit_test(ip6_extension_headers_are_walked_past),
		cmocka_unit_test(other_protocols_are_payload_as_a_whole),
		cmocka_unit_test(no_more_than_16_extension_headers_are_walked),
		cmocka_unit_test(an_echo_is_a_flow_by_its_identifier),
		cmocka_unit_test(only_neighbour_discovery_and_mld_are_neighbour_packets),
		cmocka_unit_test(bytes_behind_the_udp_length_are_not_lost),
		cmocka_unit_test(a_fragment_tells_its_place),
		cmocka_unit_test(an_atomic_fragment_is_a_whole_packet),
		cmocka_unit_test(more_than_64_kb_are_a_packet_when_its_length_says_0),
		cmocka_unit_test(frames_are_parsed_through_nested_tags),
		cmocka_unit_test(an_outer_priority_tag_means_no_vlan),
		cmocka_unit_test(arp_is_parsed_and_nothing_else_is_arp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
