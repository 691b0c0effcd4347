// SPDX-License-Identifier: GPL-2.0-or-later
/* Bypass rules: what the grammar takes and refuses, by name, and which packets a rule fits. */
#include "tests/unit/unit.h"

#include "proxy/bypass.h"
#include "tests/unit/packet-make.h"

/* ---- grammar ---- */

static void assert_rule(const char *text, const struct bypass_rule *want)
{
	struct bypass b = {};
	struct err e = {};
	const struct bypass_rule *r = &b.rules[0];

	assert_ok(bypass_add(&b, text, &e), &e);
	assert_int_equal(b.count, 1);
	assert_int_equal(r->action, want->action);
	assert_int_equal(r->proto, want->proto);
	assert_int_equal(r->peer_prefix, want->peer_prefix);
	assert_memory_equal(&r->peer, &want->peer, sizeof(r->peer));
	assert_int_equal(r->guest_port, want->guest_port);
	assert_int_equal(r->peer_port, want->peer_port);
}

static void every_condition_is_taken_in_any_order(void **state)
{
	const struct bypass_rule full = {
		.action = BYPASS_RELEASE,
		.proto = IPPROTO_UDP,
		.peer.b = {[10] = 0xff, 0xff, 10, 0, 0, 0},
		.peer_prefix = 120,
		.guest_port = 53,
		.peer_port = 65535,
	};

	(void)state;
	assert_rule("release proto udp peer 10.0.0.0/24 guest-port 53 peer-port 65535", &full);
	assert_rule("\t release  peer-port\t65535 guest-port 53 peer 10.0.0.0/24 proto 17 ", &full);
}

static void protocols_have_names_and_numbers(void **state)
{
	static const struct {
		const char *text;
		uint8_t proto;
	} cases[] = {{"commit proto tcp", 6},  {"commit proto udp", 17},
		     {"commit proto icmp", 1}, {"commit proto icmp6", 58},
		     {"commit proto 1", 1},    {"commit proto 255", 255},
		     {"commit proto 047", 47}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct bypass_rule want = {.action = BYPASS_COMMIT, .proto = cases[i].proto};

		assert_rule(cases[i].text, &want);
	}
}

static void addresses_of_both_families_have_prefixes(void **state)
{
	const struct bypass_rule host4 = {.action = BYPASS_COMMIT,
					  .peer.b = {[10] = 0xff, 0xff, 192, 168, 1, 7},
					  .peer_prefix = 128};
	const struct bypass_rule all4 = {
		.action = BYPASS_COMMIT, .peer.b = {[10] = 0xff, 0xff}, .peer_prefix = 96};
	const struct bypass_rule host6 = {
		.action = BYPASS_COMMIT, .peer.b = {0xfd, 0, [15] = 9}, .peer_prefix = 128};
	const struct bypass_rule net6 = {
		.action = BYPASS_COMMIT, .peer.b = {0xfe, 0x80}, .peer_prefix = 10};

	(void)state;
	assert_rule("commit peer 192.168.1.7", &host4);
	assert_rule("commit peer 192.168.1.7/32", &host4);
	assert_rule("commit peer ::ffff:192.168.1.7", &host4);
	assert_rule("commit peer 0.0.0.0/0", &all4);
	assert_rule("commit peer fd00::9", &host6);
	assert_rule("commit peer fd00:0000:0000:0000:0000:0000:0000:0009/128", &host6);
	assert_rule("commit peer fe80::/10", &net6);
}

static void a_wrong_word_is_named(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"", "empty"},
		{" \t ", "empty"},
		{"drop proto udp", "\"drop\""},
		{"proto udp", "\"proto\""},
		{"Release proto udp", "\"Release\""},
		{"release", "needs one of proto"},
		{"release ", "needs one of proto"},
		{"release udp", "\"udp\" is none of"},
		{"release port 53", "\"port\" is none of"},
		{"release proto", "proto has no value"},
		{"release proto udp peer", "peer has no value"},
		{"release proto udp proto udp", "proto stands twice"},
		{"release guest-port 1 guest-port 1", "guest-port stands twice"},
		{"release proto 0", "proto \"0\""},
		{"release proto 256", "proto \"256\""},
		{"release proto 99999999999999999999", "proto \"99999999999999999999\""},
		{"release proto -1", "proto \"-1\""},
		{"release proto sctp", "proto \"sctp\""},
		{"release proto 6x", "proto \"6x\""},
		{"release guest-port 0", "guest-port \"0\""},
		{"release guest-port 65536", "guest-port \"65536\""},
		{"release peer-port 4294967297", "peer-port \"4294967297\""},
		{"release peer-port http", "peer-port \"http\""},
		{"release peer-port +1", "peer-port \"+1\""},
		{"release peer 10.0.0", "peer \"10.0.0\""},
		{"release peer 10.0.0.256", "peer \"10.0.0.256\""},
		{"release peer host.example", "peer \"host.example\""},
		{"release peer 10.0.0.1/33", "0 to 32"},
		{"release peer 10.0.0.1/", "0 to 32"},
		{"release peer fd00::/129", "0 to 128"},
		{"release peer fd00::/-1", "\"fd00::/-1\""},
		{"release peer 10.0.0.1/24", "behind the first 24"},
		{"release peer fd00::1/127", "behind the first 127"},
		{"release peer ::/0", "everybody"},
		{"release peer /24", "peer \"\""},
		{"release proto icmp guest-port 5", "guest-port needs proto tcp or udp"},
		{"release peer-port 5 proto 47", "peer-port needs proto tcp or udp"},
		{"release proto udp and more", "\"and\" is none of"},
		{"release peer "
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 "too long"},
		{"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
		 "\"bbbbbbbbbbbbbbbbbbbb...\" is too long"},
		{"release ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
		 "\"cccccccccccccccccccc...\" is too long"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bypass b = {};
		struct err e = {};

		if (bypass_add(&b, cases[i].text, &e) != -EINVAL)
			fail_msg("\"%s\" is taken", cases[i].text);
		if (e.code != EINVAL || !strstr(e.msg, cases[i].words))
			fail_msg("\"%s\": \"%s\"", cases[i].text, e.msg);
		assert_int_equal(b.count, 0);
	}
}

static void the_number_of_rules_is_bounded(void **state)
{
	struct bypass b = {};
	struct err e = {};

	(void)state;
	for (unsigned i = 0; i < BYPASS_MAX_RULES; i++)
		assert_ok(bypass_add(&b, "commit proto udp", &e), &e);
	assert_int_equal(bypass_add(&b, "commit proto udp", &e), -ENOSPC);
	assert_int_equal(b.count, BYPASS_MAX_RULES);
}

/* ---- matching ---- */

static struct bypass rules_of(const char *const *texts)
{
	struct bypass b = {};
	struct err e = {};

	for (; *texts; texts++)
		assert_ok(bypass_add(&b, *texts, &e), &e);
	return b;
}

enum transport { TCP, UDP, ECHO, GRE };

static struct pkt packet(struct mk *m, enum transport t, const char *src, unsigned sport,
			 const char *dst, unsigned dport)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_GRE};
	bool ip6 = strchr(src, ':');

	mk_start(m);
	mk_ip(m, src, dst, t == ECHO && ip6 ? IPPROTO_ICMPV6 : protos[t]);
	if (t == TCP)
		mk_tcp(m, sport, dport, TCP_ACK, 1, 1);
	else if (t == UDP)
		mk_udp(m, sport, dport);
	else if (t == ECHO)
		mk_icmp(m, ip6 ? 128 : 8, 0, sport, 1);
	else
		mk_data(m, "\0\0\x08\0", 4);
	mk_end(m);
	return mk_parse(m);
}

/* The guest is 10.0.0.2 or fd00::2. A packet that it sends and the answer must both fit or not. */
static bool fits(const char *rule, enum transport t, unsigned guest_port, const char *peer,
		 unsigned peer_port)
{
	const char *const rules[] = {rule, NULL};
	const char *guest = strchr(peer, ':') ? "fd00::2" : "10.0.0.2";
	struct bypass b = rules_of(rules);
	static struct mk m;
	struct pkt p = packet(&m, t, guest, guest_port, peer, peer_port);
	enum bypass_action out = bypass_match(&b, &p, true);

	p = packet(&m, t, peer, peer_port, guest, t == ECHO ? peer_port : guest_port);
	if (t != ECHO)
		assert_int_equal(bypass_match(&b, &p, false), out);
	assert_true(out == BYPASS_NO || out == b.rules[0].action);
	return out != BYPASS_NO;
}

static void protocol_and_ports_are_those_of_the_packet(void **state)
{
	(void)state;
	assert_true(fits("commit proto udp", UDP, 1, "10.0.0.9", 2));
	assert_false(fits("commit proto udp", TCP, 1, "10.0.0.9", 2));
	assert_true(fits("release proto icmp", ECHO, 1, "10.0.0.9", 2));
	assert_false(fits("release proto icmp", ECHO, 1, "fd00::9", 2));
	assert_true(fits("release proto icmp6", ECHO, 1, "fd00::9", 2));
	assert_true(fits("release proto 47", GRE, 0, "10.0.0.9", 0));
	assert_true(fits("release guest-port 53", UDP, 53, "10.0.0.9", 2));
	assert_true(fits("release guest-port 53", TCP, 53, "fd00::9", 2));
	assert_false(fits("release guest-port 53", UDP, 2, "10.0.0.9", 53));
	assert_true(fits("release peer-port 53", UDP, 2, "10.0.0.9", 53));
	assert_false(fits("release peer-port 53", UDP, 53, "10.0.0.9", 2));
	assert_true(fits("release guest-port 7 peer-port 53", UDP, 7, "10.0.0.9", 53));
	assert_false(fits("release guest-port 7 peer-port 53", UDP, 8, "10.0.0.9", 53));
	assert_false(fits("release guest-port 7 peer-port 53", UDP, 7, "10.0.0.9", 54));
	assert_false(fits("release proto udp guest-port 53", TCP, 53, "10.0.0.9", 2));
}

static void what_has_no_ports_fits_no_port(void **state)
{
	(void)state;
	assert_false(fits("release guest-port 77", ECHO, 77, "10.0.0.9", 77));
	assert_false(fits("release peer-port 77", ECHO, 77, "fd00::9", 77));
	assert_false(fits("release peer-port 2048", GRE, 0, "10.0.0.9", 0));
}

static void the_peer_is_matched_up_to_its_prefix(void **state)
{
	(void)state;
	assert_true(fits("release peer 10.0.0.9", TCP, 1, "10.0.0.9", 1));
	assert_false(fits("release peer 10.0.0.9", TCP, 1, "10.0.0.8", 1));
	assert_false(fits("release peer 10.0.0.2", TCP, 1, "10.0.0.9", 1));
	assert_true(fits("release peer 10.0.0.8/31", TCP, 1, "10.0.0.9", 1));
	assert_false(fits("release peer 10.0.0.8/31", TCP, 1, "10.0.0.10", 1));
	assert_true(fits("release peer 10.0.128.0/17", TCP, 1, "10.0.255.255", 1));
	assert_false(fits("release peer 10.0.128.0/17", TCP, 1, "10.0.127.255", 1));
	assert_true(fits("release peer 10.0.0.0/8", TCP, 1, "10.255.0.1", 1));
	assert_true(fits("release peer fd00:1::/32", UDP, 1, "fd00:1:ffff::", 1));
	assert_false(fits("release peer fd00:1::/32", UDP, 1, "fd00:2::", 1));
	assert_true(fits("release peer 8000::/1", UDP, 1, "fd00::1", 1));
	assert_false(fits("release peer 8000::/1", UDP, 1, "7fff::1", 1));
}

static void a_network_is_of_one_family(void **state)
{
	(void)state;
	assert_true(fits("release peer 0.0.0.0/0", UDP, 1, "192.0.2.1", 1));
	assert_false(fits("release peer 0.0.0.0/0", UDP, 1, "fd00::1", 1));
	assert_true(fits("release peer ::/1", UDP, 1, "::9", 1));
	assert_false(fits("release peer ::/1", UDP, 1, "10.0.0.9", 1));
	assert_false(fits("release peer ::/95", UDP, 1, "0.0.0.1", 1));
}

static void the_first_rule_that_fits_counts(void **state)
{
	const char *const texts[] = {"commit proto udp peer 10.0.0.9", "release proto udp",
				     "commit proto tcp", NULL};
	struct bypass b = rules_of(texts);
	static struct mk m;
	struct pkt p = packet(&m, UDP, "10.0.0.2", 1, "10.0.0.9", 1);

	(void)state;
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_COMMIT);
	p = packet(&m, UDP, "10.0.0.2", 1, "10.0.0.8", 1);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_RELEASE);
	p = packet(&m, TCP, "10.0.0.2", 1, "10.0.0.8", 1);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_COMMIT);
	p = packet(&m, GRE, "10.0.0.2", 1, "10.0.0.8", 1);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_NO);
	b.count = 0;
	p = packet(&m, TCP, "10.0.0.2", 1, "10.0.0.8", 1);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_NO);
}

static void a_fragment_fits_by_address_but_not_by_port(void **state)
{
	const char *const texts[] = {"release guest-port 53", "commit proto udp peer 10.0.0.9",
				     NULL};
	struct bypass b = rules_of(texts);
	static struct mk whole, m;
	struct pkt p;

	(void)state;
	mk_start(&whole);
	mk_ip(&whole, "10.0.0.2", "10.0.0.9", IPPROTO_UDP);
	mk_udp(&whole, 53, 1);
	mk_fill(&whole, 1, 0, 100);
	mk_end(&whole);
	mk_cut(&m, &whole, 1, 0, 64);
	p = mk_parse(&m);
	assert_int_equal(p.kind, PKT_FRAGMENT);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_COMMIT);
	p = mk_parse(&whole);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_RELEASE);
}

static void what_is_not_understood_is_never_bypassed(void **state)
{
	const char *const texts[] = {"release peer ::/1", NULL};
	struct bypass b = rules_of(texts);
	struct pkt p;

	(void)state;
	pkt_parse_ip(&p, "\x60", 1, 0);
	assert_int_equal(p.kind, PKT_OPAQUE);
	assert_int_equal(bypass_match(&b, &p, true), BYPASS_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_condition_is_taken_in_any_order),
		cmocka_unit_test(protocols_have_names_and_numbers),
		cmocka_unit_test(addresses_of_both_families_have_prefixes),
		cmocka_unit_test(a_wrong_word_is_named),
		cmocka_unit_test(the_number_of_rules_is_bounded),
		cmocka_unit_test(protocol_and_ports_are_those_of_the_packet),
		cmocka_unit_test(what_has_no_ports_fits_no_port),
		cmocka_unit_test(the_peer_is_matched_up_to_its_prefix),
		cmocka_unit_test(a_network_is_of_one_family),
		cmocka_unit_test(the_first_rule_that_fits_counts),
		cmocka_unit_test(a_fragment_fits_by_address_but_not_by_port),
		cmocka_unit_test(what_is_not_understood_is_never_bypassed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
