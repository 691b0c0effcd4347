// SPDX-License-Identifier: GPL-2.0-or-later
/* Neighbours: what is learned, what is answered, what is swallowed, what is announced. */
#include "tests/unit/unit.h"

#include "proxy/neigh.h"
#include "tests/unit/packet-make.h"

#define NONE6 "::"

static const uint8_t mac_other[6] = {0x02, 0, 0, 0, 0, 7};
static struct neigh n;
static struct mk m;
static uint8_t reply[NEIGH_FRAME_MAX];

static int fresh(void **state)
{
	(void)state;
	neigh_init(&n, mk_mac_guest);
	memset(reply, 0x5a, sizeof(reply));
	return 0;
}

static void start(const uint8_t dst[6], const uint8_t src[6], unsigned vlan)
{
	mk_start(&m);
	mk_eth(&m, dst, src);
	if (vlan)
		mk_vlan(&m, 0x8100, vlan);
}

static void arp(unsigned op, bool from_guest, const char *sender, const char *target, unsigned vlan)
{
	const uint8_t *src = from_guest ? mk_mac_guest : mk_mac_peer;
	static const uint8_t none[6];

	start(mk_mac_all, src, vlan);
	mk_arp(&m, op, src, sender, none, target);
}

static void nd(unsigned type, bool from_guest, const char *src, const char *target, unsigned flags)
{
	const uint8_t *mac = from_guest ? mk_mac_guest : mk_mac_peer;

	start(mk_mac_all, mac, 0);
	mk_ip(&m, src, "ff02::1", IPPROTO_ICMPV6);
	mk_nd(&m, type, target, strcmp(src, NONE6) ? mac : NULL);
	m.b[m.l4 + 4] = (uint8_t)flags;
	mk_end(&m);
}

static int filter(void)
{
	return neigh_filter_out(&n, m.b, m.len, reply);
}

static void assert_arp_reply(size_t l3, const char *sender, const uint8_t mac[6])
{
	struct in_addr want;
	struct arp a;

	assert_memory_equal(reply, mk_mac_guest, 6);
	assert_memory_equal(reply + 6, mac, 6);
	assert_int_equal(arp_parse(&a, reply + l3, sizeof(reply) - l3), 0);
	assert_int_equal(a.op, 2);
	inet_pton(AF_INET, sender, &want);
	assert_memory_equal(a.sender.b + 12, &want, 4);
	assert_memory_equal(a.sender_mac, mac, 6);
	assert_memory_equal(a.target_mac, mk_mac_guest, 6);
}

static void a_learned_neighbour_is_answered_for(void **state)
{
	(void)state;
	arp(1, false, "10.0.0.9", "10.0.0.2", 0);
	neigh_learn_in(&n, m.b, m.len);
	arp(1, true, "10.0.0.2", "10.0.0.9", 0);
	assert_int_equal(filter(), 60);
	assert_arp_reply(14, "10.0.0.9", mk_mac_peer);
	assert_memory_equal(reply + 14 + 24, "\x0a\0\0\x02", 4);
}

static void the_latest_word_on_an_address_counts(void **state)
{
	(void)state;
	arp(1, false, "10.0.0.9", "10.0.0.2", 0);
	neigh_learn_in(&n, m.b, m.len);
	start(mk_mac_all, mac_other, 0);
	mk_arp(&m, 2, mac_other, "10.0.0.9", mk_mac_guest, "10.0.0.2");
	neigh_learn_in(&n, m.b, m.len);
	arp(1, true, "10.0.0.2", "10.0.0.9", 0);
	assert_int_equal(filter(), 60);
	assert_arp_reply(14, "10.0.0.9", mac_other);
}

static void an_answer_carries_the_tags_of_the_question(void **state)
{
	(void)state;
	arp(2, false, "10.0.0.9", "10.0.0.2", 5);
	neigh_learn_in(&n, m.b, m.len);
	arp(1, true, "10.0.0.2", "10.0.0.9", 0);
	assert_int_equal(filter(), -1);
	arp(1, true, "10.0.0.2", "10.0.0.9", 5);
	assert_int_equal(filter(), 60);
	assert_memory_equal(reply + 12, "\x81\x00\x00\x05\x08\x06", 6);
	assert_arp_reply(18, "10.0.0.9", mk_mac_peer);
	/* Nested tags, as far as there is room; beyond it there is no answer. */
	for (unsigned tags = 2; tags < 20; tags++) {
		mk_start(&m);
		mk_eth(&m, mk_mac_all, mk_mac_guest);
		for (unsigned i = 0; i < tags; i++)
			mk_vlan(&m, 0x88a8, 5);
		mk_arp(&m, 1, mk_mac_guest, "10.0.0.2", mk_mac_all, "10.0.0.9");
		if (filter() > 0)
			assert_memory_equal(reply + 12, m.b + 12, 4 * tags + 2);
		else
			assert_true(14 + 4 * tags + 72 > NEIGH_FRAME_MAX);
	}
}

static void nobody_answers_for_the_unknown_or_for_the_guest_itself(void **state)
{
	(void)state;
	arp(1, false, "10.0.0.9", "10.0.0.2", 0);
	neigh_learn_in(&n, m.b, m.len);
	arp(1, true, "10.0.0.2", "10.0.0.8", 0);
	assert_int_equal(filter(), -1);
	arp(2, true, "10.0.0.2", "10.0.0.9", 0);
	assert_int_equal(filter(), -1);
	arp(1, true, "0.0.0.0", "10.0.0.9", 0); /* a probe, RFC 5227 */
	assert_int_equal(filter(), -1);
	arp(1, true, "10.0.0.9", "10.0.0.9", 0);
	assert_int_equal(filter(), -1);
}

static void what_is_no_neighbour_discovery_is_none_of_its_business(void **state)
{
	(void)state;
	start(mk_mac_peer, mk_mac_guest, 0);
	mk_ip(&m, "fd00::2", "fd00::9", IPPROTO_ICMPV6);
	mk_icmp(&m, 128, 0, 1, 1);
	mk_end(&m);
	assert_int_equal(filter(), 0);
	start(mk_mac_peer, mk_mac_guest, 0);
	mk_ip(&m, "10.0.0.2", "10.0.0.9", IPPROTO_UDP);
	mk_udp(&m, 1, 2);
	mk_end(&m);
	assert_int_equal(filter(), 0);
	assert_int_equal(neigh_filter_out(&n, m.b, 13, reply), 0);
}

/* The advertisement in @reply, its checksum as a receiver sees it; returns its flags. */
static unsigned assert_advertisement(const char *target, const uint8_t mac[6])
{
	struct in6_addr want;
	static struct mk got;
	struct pkt p;

	mk_start(&got);
	mk_data(&got, reply, sizeof(reply));
	got.len = 14 + 72;
	got.l3 = 14;
	got.l4 = 54;
	got.ip6 = true;
	got.proto = IPPROTO_ICMPV6;
	assert_true(mk_checksums_ok(&got));
	p = mk_parse(&got);
	assert_int_equal(p.kind, PKT_NEIGHBOUR);
	inet_pton(AF_INET6, target, &want);
	assert_memory_equal(p.src.b, &want, 16);
	assert_memory_equal(reply + 54 + 8, &want, 16);
	assert_memory_equal(reply + 54 + 24, "\x02\x01", 2);
	assert_memory_equal(reply + 54 + 26, mac, 6);
	assert_int_equal(reply[54], 136);
	assert_int_equal(reply[14 + 7], 255);
	return reply[54 + 4];
}

static void a_solicitation_is_answered_by_an_advertisement(void **state)
{
	(void)state;
	nd(135, false, "fe80::9", "fe80::2", 0);
	neigh_learn_in(&n, m.b, m.len);
	nd(135, true, "fe80::2", "fe80::9", 0);
	assert_int_equal(filter(), 14 + 72);
	assert_int_equal(assert_advertisement("fe80::9", mk_mac_peer), 0x60);
}

static void a_router_stays_a_router_in_our_answers(void **state)
{
	(void)state;
	nd(136, false, "fe80::9", "fe80::9", 0xe0);
	neigh_learn_in(&n, m.b, m.len);
	nd(135, false, "fe80::9", "fe80::2", 0); /* says nothing about it */
	neigh_learn_in(&n, m.b, m.len);
	nd(135, true, "fe80::2", "fe80::9", 0);
	assert_int_equal(filter(), 14 + 72);
	assert_int_equal(assert_advertisement("fe80::9", mk_mac_peer), 0xe0);
	nd(136, false, "fe80::9", "fe80::9", 0x60);
	neigh_learn_in(&n, m.b, m.len);
	nd(135, true, "fe80::2", "fe80::9", 0);
	assert_int_equal(filter(), 14 + 72);
	assert_int_equal(assert_advertisement("fe80::9", mk_mac_peer), 0x60);
}

static void duplicate_address_detection_finds_nobody(void **state)
{
	(void)state;
	nd(135, false, "fe80::9", "fe80::2", 0);
	neigh_learn_in(&n, m.b, m.len);
	nd(135, true, NONE6, "fe80::9", 0);
	assert_int_equal(filter(), -1);
	nd(136, true, "fe80::2", "fe80::2", 0);
	assert_int_equal(filter(), -1);
}

static void what_came_through_a_router_teaches_nothing(void **state)
{
	(void)state;
	nd(135, false, "fe80::9", "fe80::2", 0);
	m.b[m.l3 + 7] = 64;
	neigh_learn_in(&n, m.b, m.len);
	assert_int_equal(n.count, 0);
}

static void addresses_of_groups_are_not_learned(void **state)
{
	(void)state;
	arp(1, false, "0.0.0.0", "10.0.0.2", 0);
	neigh_learn_in(&n, m.b, m.len);
	arp(1, false, "239.0.0.1", "10.0.0.2", 0);
	neigh_learn_in(&n, m.b, m.len);
	start(mk_mac_all, mk_mac_peer, 0);
	mk_arp(&m, 1, mk_mac_all, "10.0.0.9", mk_mac_all, "10.0.0.2");
	neigh_learn_in(&n, m.b, m.len);
	nd(136, false, "fe80::9", "ff02::9", 0);
	neigh_learn_in(&n, m.b, m.len);
	assert_int_equal(n.count, 0);
}

static void the_neighbour_unheard_of_for_longest_goes(void **state)
{
	char addr[32];

	(void)state;
	for (unsigned i = 0; i < NEIGH_ENTRIES + 1; i++) {
		if (i == NEIGH_ENTRIES) { /* the first one is heard again */
			arp(1, false, "10.1.0.0", "10.0.0.2", 0);
			neigh_learn_in(&n, m.b, m.len);
		}
		snprintf(addr, sizeof(addr), "10.1.%u.%u", i / 256, i % 256);
		arp(1, false, addr, "10.0.0.2", 0);
		neigh_learn_in(&n, m.b, m.len);
	}
	arp(1, true, "10.0.0.2", "10.1.0.0", 0);
	assert_int_equal(filter(), 60);
	arp(1, true, "10.0.0.2", "10.1.0.1", 0);
	assert_int_equal(filter(), -1);
	arp(1, true, "10.0.0.2", "10.1.4.0", 0);
	assert_int_equal(filter(), 60);
}

static void every_own_address_is_announced_and_then_the_mac(void **state)
{
	struct ip_addr told = {.b = {[10] = 0xff, 0xff, 10, 0, 0, 3}};

	(void)state;
	arp(1, true, "10.0.0.2", "10.0.0.9", 5);
	neigh_learn_out(&n, m.b, m.len);
	neigh_learn_out(&n, m.b, m.len);
	nd(136, true, "fe80::2", "fe80::2", 0x20);
	neigh_learn_out(&n, m.b, m.len);
	neigh_learn_own(&n, &told, 0);
	neigh_learn_own(&n, &told, 0);
	assert_int_equal(neigh_announcement(&n, 0, reply), 60);
	assert_memory_equal(reply, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(reply + 6, mk_mac_guest, 6);
	assert_memory_equal(reply + 12, "\x81\0\0\5\x08\x06\0\1\x08\0\6\4\0\1", 14);
	assert_memory_equal(reply + 26, mk_mac_guest, 6);
	assert_memory_equal(reply + 32, "\x0a\0\0\2\0\0\0\0\0\0\x0a\0\0\2", 14);
	assert_int_equal(neigh_announcement(&n, 1, reply), 86);
	assert_memory_equal(reply, "\x33\x33\0\0\0\1", 6);
	assert_int_equal(assert_advertisement("fe80::2", mk_mac_guest), 0x20);
	assert_int_equal(neigh_announcement(&n, 2, reply), 60);
	assert_memory_equal(reply + 14 + 14, told.b + 12, 4);
	assert_int_equal(neigh_announcement(&n, 3, reply), 60);
	assert_memory_equal(reply + 12, "\x80\x35\0\1\x08\0\6\4\0\3", 10);
	assert_int_equal(neigh_announcement(&n, 4, reply), 0);
	assert_int_equal(neigh_announcement(&n, 100000, reply), 0);
}

static void addresses_of_its_own_beyond_the_bound_replace_the_oldest(void **state)
{
	char addr[32];

	(void)state;
	for (unsigned i = 0; i < NEIGH_OWN + 1; i++) {
		snprintf(addr, sizeof(addr), "10.0.1.%u", i);
		arp(1, true, addr, "10.0.0.9", 0);
		neigh_learn_out(&n, m.b, m.len);
		assert_int_equal(n.own_count, MIN(i + 1, NEIGH_OWN));
	}
	for (unsigned i = 0; i < NEIGH_OWN; i++)
		assert_int_not_equal(n.own[i].addr.b[15], 0);
}

/* The true owner would take it for a conflict (RFC 5227, 2.4). */
static void a_routing_guest_claims_no_address_of_its_neighbours(void **state)
{
	struct ip_addr before = {.b = {[10] = 0xff, 0xff, 10, 0, 0, 9}};
	struct ip_addr after = {.b = {[10] = 0xff, 0xff, 10, 0, 0, 10}};

	(void)state;
	arp(1, false, "10.0.0.9", "10.0.0.1", 0);
	neigh_learn_in(&n, m.b, m.len);
	neigh_learn_own(&n, &before, 0);
	neigh_learn_own(&n, &after, 0);
	arp(1, false, "10.0.0.10", "10.0.0.1", 0);
	neigh_learn_in(&n, m.b, m.len);
	for (unsigned i = 0; neigh_announcement(&n, i, reply); i++)
		assert_memory_equal(reply + 12, "\x80\x35", 2);
	assert_int_equal(n.own_count, 1);
}

static void a_solicitation_of_the_guest_tells_its_address(void **state)
{
	(void)state;
	nd(135, true, NONE6, "fe80::2", 0);
	neigh_learn_out(&n, m.b, m.len);
	assert_int_equal(n.own_count, 0);
	nd(135, true, "fe80::2", "fe80::9", 0);
	neigh_learn_out(&n, m.b, m.len);
	assert_int_equal(n.own_count, 1);
	assert_memory_equal(n.own[0].mac, mk_mac_guest, 6);
}

/* Lengths as they lie in memory, so that the sanitizers see a byte too far. */
static void frames_cut_anywhere_are_harmless(void **state)
{
	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		if (kind)
			nd(135, true, "fe80::2", "fe80::9", 0);
		else
			arp(1, true, "10.0.0.2", "10.0.0.9", 3);
		for (size_t len = 0; len <= m.len; len++) {
			uint8_t *copy = malloc(len ? len : 1);

			assert_non_null(copy);
			memcpy(copy, m.b, len);
			neigh_learn_in(&n, copy, len);
			neigh_learn_out(&n, copy, len);
			neigh_filter_out(&n, copy, len, reply);
			free(copy);
		}
	}
}

#define rule(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rule(a_learned_neighbour_is_answered_for),
		rule(the_latest_word_on_an_address_counts),
		rule(an_answer_carries_the_tags_of_the_question),
		rule(nobody_answers_for_the_unknown_or_for_the_guest_itself),
		rule(what_is_no_neighbour_discovery_is_none_of_its_business),
		rule(a_solicitation_is_answered_by_an_advertisement),
		rule(a_router_stays_a_router_in_our_answers),
		rule(duplicate_address_detection_finds_nobody),
		rule(what_came_through_a_router_teaches_nothing),
		rule(addresses_of_groups_are_not_learned),
		rule(the_neighbour_unheard_of_for_longest_goes),
		rule(every_own_address_is_announced_and_then_the_mac),
		rule(addresses_of_its_own_beyond_the_bound_replace_the_oldest),
		rule(a_routing_guest_claims_no_address_of_its_neighbours),
		rule(a_solicitation_of_the_guest_tells_its_address),
		rule(frames_cut_anywhere_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
