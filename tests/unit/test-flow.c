// SPDX-License-Identifier: GPL-2.0-or-later
/* Flow keys and the table, against an array of keys in order of use. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "proxy/flow.h"
#include "tests/unit/packet-make.h"

#define CAPACITY 100

struct entry {
	struct flow_node node;
	uint32_t value;
};

static struct mk m;

static struct flow_key key_of(uint16_t number)
{
	struct flow_key k;
	struct pkt p;

	mk_tcp_packet(&m, "10.0.0.2", 80, "10.0.0.9", number, TCP_ACK, 1, 2, NULL, 0);
	p = mk_parse(&m);
	flow_key_out(&k, &p, 0);
	return k;
}

static void both_directions_have_one_key(void **state)
{
	struct flow_key out, in;
	struct pkt p;

	(void)state;
	memset(&out, 0xaa, sizeof(out));
	memset(&in, 0x55, sizeof(in));
	mk_tcp_packet(&m, "10.0.0.2", 80, "10.0.0.9", 41234, TCP_ACK, 1, 2, NULL, 0);
	pkt_parse_ip(&p, m.b, m.len, 5);
	flow_key_out(&out, &p, 3);
	mk_tcp_packet(&m, "10.0.0.9", 41234, "10.0.0.2", 80, TCP_ACK, 2, 1, NULL, 0);
	pkt_parse_ip(&p, m.b, m.len, 5);
	flow_key_in(&in, &p, 3);
	assert_memory_equal(&out, &in, sizeof(out));
	assert_int_equal(out.guest_port, 80);
	assert_int_equal(out.peer_port, 41234);
}

static void each_part_of_a_key_tells_flows_apart(void **state)
{
	struct flow_key k = key_of(1);
	struct flow_table t;

	(void)state;
	assert_int_equal(flow_table_init(&t, 2, sizeof(struct entry), 1), 0);
	assert_non_null(flow_add(&t, &k, 0));
	for (size_t i = 0; i < sizeof(k); i++) {
		struct flow_key other = k;

		((uint8_t *)&other)[i] ^= 1;
		assert_null(flow_peek(&t, &other));
	}
	assert_non_null(flow_peek(&t, &k));
	flow_table_destroy(&t);
}

static void what_a_flow_is_reads_well(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto, nic;
		uint16_t vlan;
		const char *want;
	} cases[] = {
		{"10.0.0.2", "10.0.0.9", IPPROTO_TCP, 0, 0,
		 "tcp 10.0.0.2:80 <-> 10.0.0.9:41234 nic 0"},
		{"10.0.0.2", "10.0.0.9", IPPROTO_UDP, 1, 5,
		 "udp 10.0.0.2:80 <-> 10.0.0.9:41234 nic 1 vlan 5"},
		{"fd00::1", "fd00::2", IPPROTO_TCP, 0, 0,
		 "tcp [fd00::1]:80 <-> [fd00::2]:41234 nic 0"},
		{"10.0.0.2", "10.0.0.9", IPPROTO_ICMP, 0, 0,
		 "icmp 10.0.0.2 <-> 10.0.0.9 id 77 nic 0"},
		{"fd00::1", "fd00::2", IPPROTO_ICMPV6, 0, 0,
		 "icmp6 fd00::1 <-> fd00::2 id 77 nic 0"},
		{"fd00::1", "fd00::2", IPPROTO_GRE, 2, 0, "protocol 47 fd00::1 <-> fd00::2 nic 2"},
	};
	char text[FLOW_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct flow_key k;
		struct pkt p;

		mk_start(&m);
		mk_ip(&m, cases[i].src, cases[i].dst, cases[i].proto);
		if (cases[i].proto == IPPROTO_TCP)
			mk_tcp(&m, 80, 41234, TCP_ACK, 1, 2);
		else if (cases[i].proto == IPPROTO_UDP)
			mk_udp(&m, 80, 41234);
		else
			mk_icmp(&m, m.ip6 ? 128 : 8, 0, 77, 1);
		mk_end(&m);
		pkt_parse_ip(&p, m.b, m.len, cases[i].vlan);
		flow_key_out(&k, &p, cases[i].nic);
		assert_string_equal(flow_key_text(&k, text), cases[i].want);
	}
}

static void the_longest_text_fits_and_opaque_packets_have_one(void **state)
{
	char text[FLOW_TEXT_MAX];
	struct flow_key k;
	struct pkt p;

	(void)state;
	memset(&k, 0xff, sizeof(k));
	k.proto = IPPROTO_TCP;
	assert_true(strstr(flow_key_text(&k, text), "nic 255 vlan 65535"));
	pkt_parse_ip(&p, "?", 1, 9);
	flow_key_out(&k, &p, 4);
	assert_string_equal(flow_key_text(&k, text), "opaque nic 4 vlan 9");
}

static void a_full_table_takes_no_more_until_one_goes(void **state)
{
	struct flow_key k;
	struct flow_table t;
	struct entry *n;

	(void)state;
	assert_int_equal(flow_table_init(&t, 3, sizeof(struct entry), 1), 0);
	for (uint16_t i = 0; i < 3; i++) {
		k = key_of(i);
		n = flow_add(&t, &k, i);
		assert_non_null(n);
		n->value = 7;
	}
	k = key_of(3);
	assert_null(flow_add(&t, &k, 3));
	assert_int_equal(t.used, 3);
	n = flow_oldest(&t);
	flow_remove(&t, &n->node);
	n = flow_add(&t, &k, 3);
	assert_non_null(n);
	assert_int_equal(n->value, 0); /* nothing of the old one */
	flow_table_destroy(&t);
}

/* The model: numbers of keys, the least lately used one first. */
struct model {
	uint16_t order[CAPACITY];
	size_t used;
};

static size_t model_find(const struct model *o, uint16_t number)
{
	size_t i = 0;

	while (i < o->used && o->order[i] != number)
		i++;
	return i;
}

static void model_remove(struct model *o, size_t at)
{
	memmove(o->order + at, o->order + at + 1, (o->used - at - 1) * sizeof(o->order[0]));
	o->used--;
}

static void model_add(struct model *o, uint16_t number)
{
	o->order[o->used++] = number;
}

static void assert_same_order(const struct flow_table *t, const struct model *o)
{
	const struct list *at = t->by_age.next;

	assert_int_equal(t->used, o->used);
	for (size_t i = 0; i < o->used; i++, at = at->next)
		assert_int_equal(list_entry(at, struct entry, node.age)->value, o->order[i]);
	assert_ptr_equal(at, &t->by_age);
}

static void use_one(struct flow_table *t, struct model *o, uint16_t number, bool remove)
{
	struct flow_key k = key_of(number);
	size_t at = model_find(o, number);
	struct entry *n = flow_peek(t, &k);

	assert_int_equal(!!n, at < o->used);
	if (n && remove) {
		flow_remove(t, &n->node);
		model_remove(o, at);
		return;
	}
	if (n) {
		assert_ptr_equal(flow_find(t, &k, 0), n);
		assert_int_equal(n->value, number);
		model_remove(o, at);
		model_add(o, number);
		return;
	}
	n = flow_add(t, &k, 0);
	assert_int_equal(!!n, o->used < CAPACITY);
	if (!n)
		return;
	assert_ptr_equal(flow_at(t, flow_index(t, &n->node)), n);
	n->value = number;
	model_add(o, number);
}

static void the_table_does_as_a_list_in_order_of_use(void **state)
{
	struct model o = {};
	struct rng rng = {1};
	struct flow_table t;

	(void)state;
	assert_int_equal(flow_table_init(&t, CAPACITY, sizeof(struct entry), 42), 0);
	for (int i = 0; i < 20000; i++) {
		use_one(&t, &o, (uint16_t)rng_below(&rng, 150), rng_below(&rng, 4) == 0);
		if (i % 16 == 0)
			assert_same_order(&t, &o);
	}
	assert_null(flow_at(&t, CAPACITY));
	flow_table_destroy(&t);
}

static void only_find_makes_an_entry_young(void **state)
{
	struct flow_key a = key_of(1), b = key_of(2);
	struct flow_table t;
	struct entry *n;

	(void)state;
	assert_int_equal(flow_table_init(&t, 2, sizeof(struct entry), 1), 0);
	assert_null(flow_oldest(&t));
	n = flow_add(&t, &a, 10);
	assert_non_null(flow_add(&t, &b, 20));
	flow_peek(&t, &a);
	assert_ptr_equal(flow_oldest(&t), n);
	assert_int_equal(n->node.used_us, 10);
	flow_find(&t, &a, 30);
	assert_ptr_not_equal(flow_oldest(&t), n);
	assert_int_equal(n->node.used_us, 30);
	flow_table_destroy(&t);
}

static uint32_t longest_bucket(const struct flow_table *t)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i <= t->bucket_mask; i++) {
		uint32_t n = 0;

		for (const struct flow_node *at = t->buckets[i]; at; at = at->next)
			n++;
		longest = MAX(longest, n);
	}
	return longest;
}

static void keys_that_are_alike_spread_over_the_buckets(void **state)
{
	struct flow_table t;

	(void)state;
	assert_int_equal(flow_table_init(&t, 4096, sizeof(struct entry), 7), 0);
	for (uint16_t i = 0; i < 4096; i++) {
		struct flow_key k = key_of(i);

		assert_non_null(flow_add(&t, &k, 0));
	}
	assert_true(longest_bucket(&t) < 12);
	flow_table_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_directions_have_one_key),
		cmocka_unit_test(each_part_of_a_key_tells_flows_apart),
		cmocka_unit_test(what_a_flow_is_reads_well),
		cmocka_unit_test(the_longest_text_fits_and_opaque_packets_have_one),
		cmocka_unit_test(a_full_table_takes_no_more_until_one_goes),
		cmocka_unit_test(the_table_does_as_a_list_in_order_of_use),
		cmocka_unit_test(only_find_makes_an_entry_young),
		cmocka_unit_test(keys_that_are_alike_spread_over_the_buckets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
