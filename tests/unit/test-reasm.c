// SPDX-License-Identifier: GPL-2.0-or-later
/* Fragments in any order give the packet that was cut; what does not fit together gives nothing. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "proxy/reasm.h"
#include "tests/unit/packet-make.h"

#define SLOTS 4

static struct mk whole, frag;
static struct reasm *r;
static struct reasm_result res;

static const char *const addresses[][2] = {{"10.0.0.2", "10.0.0.9"}, {"fd00::1", "fd00::2"}};

static int set_up(void **state)
{
	(void)state;
	return reasm_new(&r, SLOTS, 8 * 65536, 1);
}

static int tear_down(void **state)
{
	(void)state;
	reasm_free(r);
	r = NULL;
	return 0;
}

/* A UDP packet of @n bytes behind the IP header, as one of the two address families. */
static void make_whole(unsigned family, size_t n)
{
	mk_start(&whole);
	mk_ip(&whole, addresses[family][0], addresses[family][1], IPPROTO_UDP);
	mk_udp(&whole, 5000, 53);
	mk_fill(&whole, family, 0, n - 8);
	mk_end(&whole);
}

/* The identification is the reassembled packet's too, in IPv4. */
static void set_id(uint32_t id)
{
	if (whole.ip6)
		return;
	mk_ip_id(&whole, id);
	mk_end(&whole);
}

static enum reasm_state add_frag(uint8_t nic, uint16_t vlan, uint64_t now_us)
{
	enum reasm_state state;
	struct pkt p;

	pkt_parse_ip(&p, frag.b, frag.len, vlan);
	assert_int_equal(p.kind, PKT_FRAGMENT);
	state = reasm_add(r, nic, &p, now_us, &res);
	assert_int_equal(state, res.state);
	return state;
}

static enum reasm_state add(uint32_t id, unsigned off, size_t n)
{
	mk_cut(&frag, &whole, id, off, n);
	return add_frag(0, 0, 0);
}

/* A fragment that says of itself what is wanted, whatever comes of it. */
static enum reasm_state add_by_hand(unsigned family, uint32_t id, unsigned off, size_t n, bool more)
{
	mk_start(&frag);
	mk_ip(&frag, addresses[family][0], addresses[family][1], IPPROTO_UDP);
	mk_fragment(&frag, id, off, more);
	mk_fill(&frag, family, off, n);
	mk_end(&frag);
	return add_frag(0, 0, 0);
}

static void assert_whole(void)
{
	struct pkt p;

	assert_int_equal(res.state, REASM_WHOLE);
	assert_int_equal(res.len, whole.len);
	assert_memory_equal(res.data, whole.b, whole.len);
	pkt_parse_ip(&p, res.data, res.len, 0);
	assert_int_equal(p.kind, PKT_UDP);
	assert_int_equal(p.sport, 5000);
}

static void fragments_in_order_give_the_packet_back(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		make_whole(f, 4001);
		set_id(7);
		assert_int_equal(add(7, 0, 1480), REASM_PART);
		assert_int_equal(add(7, 1480, 1480), REASM_PART);
		assert_int_equal(reasm_waiting(r), 1);
		add(7, 2960, 1041);
		assert_whole();
		assert_int_equal(reasm_waiting(r), 0);
	}
}

#define PIECES 16
static void shuffle(struct rng *rng, size_t *order, size_t n)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i > 1; i--) {
		size_t j = rng_below(rng, i), t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}

/* Cuts at random multiples of 8; the last piece is the rest. */
static size_t random_cuts(struct rng *rng, size_t total, unsigned *cuts)
{
	size_t n = 0, at = 0;

	while (at < total && n < PIECES) {
		size_t len = 8 * (1 + rng_below(rng, total / 8));

		cuts[n++] = (unsigned)at;
		at += n == PIECES ? total : len;
	}
	cuts[n] = (unsigned)total;
	return n;
}

static void any_cuts_in_any_order_give_the_packet_back(void **state)
{
	struct rng rng = {1};

	(void)state;
	for (uint32_t i = 0; i < 400; i++) {
		size_t total = 17 + rng_below(&rng, i % 20 ? 6000 : 65000), order[PIECES], n;
		unsigned cuts[PIECES + 1];

		make_whole(i % 2, total);
		set_id(i);
		n = random_cuts(&rng, total, cuts);
		if (n < 2)
			continue;
		shuffle(&rng, order, n);
		for (size_t k = 0; k < n; k++) {
			size_t at = order[k];

			assert_int_equal(add(i, cuts[at], cuts[at + 1] - cuts[at]),
					 k + 1 < n ? REASM_PART : REASM_WHOLE);
		}
		assert_whole();
	}
}

static void headers_before_the_fragment_header_come_back(void **state)
{
	static const uint8_t options[8] = {1, 1, 1, 1, 1, 1, 1, 0};

	(void)state;
	mk_start(&whole);
	mk_ip(&whole, "fd00::1", "fd00::2", IPPROTO_UDP);
	mk_ip6_ext(&whole, IPPROTO_HOPOPTS, 1);
	mk_ip6_ext(&whole, IPPROTO_ROUTING, 0);
	mk_udp(&whole, 5000, 53);
	mk_fill(&whole, 1, 0, 100);
	mk_end(&whole);
	assert_int_equal(add(1, 64, 44), REASM_PART);
	add(1, 0, 64);
	assert_whole();
	mk_start(&whole);
	mk_ip(&whole, "10.0.0.2", "10.0.0.9", IPPROTO_UDP);
	mk_ip_id(&whole, 2);
	mk_ip4_options(&whole, options, sizeof(options));
	mk_udp(&whole, 5000, 53);
	mk_fill(&whole, 1, 0, 100);
	mk_end(&whole);
	assert_int_equal(add(2, 64, 44), REASM_PART);
	add(2, 0, 64);
	assert_whole();
}

static void unfragmentable_headers_beyond_256_bytes_are_given_up(void **state)
{
	(void)state;
	for (unsigned units = 26; units <= 27; units++) {
		mk_start(&whole);
		mk_ip(&whole, "fd00::1", "fd00::2", IPPROTO_UDP);
		mk_ip6_ext(&whole, IPPROTO_HOPOPTS, units); /* 40 + 8 + 8 * 26 = 256 */
		mk_udp(&whole, 5000, 53);
		mk_fill(&whole, 1, 0, 100);
		mk_end(&whole);
		assert_int_equal(add(units, 0, 64), units == 26 ? REASM_PART : REASM_GIVEN_UP);
	}
}

static void each_part_of_the_key_tells_datagrams_apart(void **state)
{
	(void)state;
	make_whole(0, 100);
	assert_int_equal(add(1, 0, 64), REASM_PART);
	assert_int_equal(add(2, 64, 36), REASM_PART);
	mk_cut(&frag, &whole, 1, 64, 36);
	assert_int_equal(add_frag(1, 0, 0), REASM_PART);
	assert_int_equal(add_frag(0, 5, 0), REASM_PART);
	assert_int_equal(reasm_waiting(r), 4);
	assert_int_equal(add_frag(0, 0, 0), REASM_WHOLE);
	assert_int_equal(reasm_waiting(r), 3);
	reasm_clear(r);
	make_whole(1, 100);
	assert_int_equal(add(0x00010002, 0, 64), REASM_PART);
	assert_int_equal(add(0x00030002, 64, 36), REASM_PART);
	assert_int_equal(add(0x00010002, 64, 36), REASM_WHOLE);
}

static void the_protocol_is_part_of_the_key_of_ip4_only(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		make_whole(f, 100);
		assert_int_equal(add(1, 0, 64), REASM_PART);
		mk_cut(&frag, &whole, 1, 64, 36);
		frag.b[f ? 40 : 9] = IPPROTO_TCP;
		assert_int_equal(add_frag(0, 0, 0), f ? REASM_WHOLE : REASM_PART);
	}
	assert_whole();
}

static void overlaps_give_the_datagram_up(void **state)
{
	static const struct {
		unsigned off;
		size_t n;
		bool more;
	} cases[] = {
		{0, 64, true},    /* the same again */
		{56, 16, true},   /* into the end */
		{8, 8, true},     /* inside */
		{0, 2048, true},  /* around */
		{32, 100, false}, /* the last one, into what is there */
	};

	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
			reasm_clear(r);
			assert_int_equal(add_by_hand(f, i, 0, 64, true), REASM_PART);
			assert_int_equal(add_by_hand(f, i, cases[i].off, cases[i].n, cases[i].more),
					 REASM_GIVEN_UP);
		}
}

static void impossible_places_give_the_datagram_up(void **state)
{
	static const struct {
		unsigned off;
		size_t n;
		bool more;
		unsigned off2;
		size_t n2;
		bool more2;
	} cases[] = {
		{0, 64, true, 128, 13, true},   /* not a multiple of 8, not the last */
		{0, 64, true, 128, 0, true},    /* nothing in it */
		{64, 10, false, 128, 8, true},  /* behind the last */
		{64, 10, false, 72, 10, false}, /* two last ones */
		{64, 13, false, 72, 5, false},  /* two last ones with one end */
		{128, 8, true, 64, 10, false},  /* the last one before another */
		{0, 64, true, 65528, 8, false}, /* 65536 bytes */
	};

	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
			reasm_clear(r);
			assert_int_equal(add_by_hand(f, i, cases[i].off, cases[i].n, cases[i].more),
					 REASM_PART);
			assert_int_equal(
				add_by_hand(f, i, cases[i].off2, cases[i].n2, cases[i].more2),
				REASM_GIVEN_UP);
		}
}

/* 65535 bytes with the header are the most: of IPv4 20 fewer in fragments. */
static void a_packet_longer_than_64_kb_is_given_up(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		size_t most = f ? 65535 : 65515;

		make_whole(f, most);
		set_id(1);
		assert_int_equal(add(1, 0, 65504), REASM_PART);
		add(1, 65504, most - 65504);
		assert_whole();
		assert_int_equal(add_by_hand(f, 2, 0, 65504, true), REASM_PART);
		assert_int_equal(add_by_hand(f, 2, 65504, most - 65504 + 1, false), REASM_GIVEN_UP);
	}
}

static void fragments_after_the_giving_up_get_the_same_answer(void **state)
{
	struct reasm_ref ref;

	(void)state;
	make_whole(0, 200);
	assert_int_equal(add(1, 0, 64), REASM_PART);
	ref = res.ref;
	assert_true(reasm_is_current(r, ref));
	assert_int_equal(add(1, 0, 64), REASM_GIVEN_UP);
	assert_int_equal(add(1, 64, 64), REASM_GIVEN_UP);
	assert_int_equal(add(1, 128, 72), REASM_GIVEN_UP);
	assert_int_equal(res.ref.slot, ref.slot);
	assert_int_equal(res.ref.generation, ref.generation);
}

static void without_a_free_slot_a_fragment_is_on_its_own(void **state)
{
	(void)state;
	make_whole(0, 100);
	for (uint32_t id = 0; id < SLOTS; id++)
		assert_int_equal(add(id, 0, 64), REASM_PART);
	assert_int_equal(add(SLOTS, 0, 64), REASM_FULL);
	assert_int_equal(add(2, 64, 36), REASM_WHOLE);
	assert_int_equal(add(SLOTS, 0, 64), REASM_PART);
}

static void without_memory_the_new_datagram_is_given_up_and_older_ones_go_on(void **state)
{
	(void)state;
	tear_down(NULL);
	assert_int_equal(reasm_new(&r, SLOTS, 65536, 1), 0);
	make_whole(0, 60000);
	set_id(1);
	assert_int_equal(add(1, 0, 59992), REASM_PART);
	assert_int_equal(add(2, 0, 8192), REASM_GIVEN_UP);
	add(1, 59992, 8);
	assert_whole();
	/* All memory is back. */
	for (uint32_t id = 3; id < 200; id++) {
		reasm_clear(r);
		assert_int_equal(add(id, 0, 59992), REASM_PART);
		assert_int_equal(add(id, 0, 8), REASM_GIVEN_UP);
		assert_int_equal(add(id + 1000, 0, 59992), REASM_PART);
	}
}

static void the_oldest_expire_by_their_first_fragment(void **state)
{
	struct reasm_ref first, ref;

	(void)state;
	assert_int_equal(reasm_oldest_us(r), UINT64_MAX);
	make_whole(0, 200);
	mk_cut(&frag, &whole, 1, 0, 64);
	add_frag(0, 0, 10);
	first = res.ref;
	mk_cut(&frag, &whole, 2, 0, 64);
	add_frag(0, 0, 20);
	mk_cut(&frag, &whole, 1, 64, 64);
	add_frag(0, 0, 30);
	assert_int_equal(reasm_oldest_us(r), 10);
	assert_false(reasm_expire(r, 10, &ref));
	assert_true(reasm_expire(r, 11, &ref));
	assert_memory_equal(&ref, &first, sizeof(ref));
	assert_false(reasm_is_current(r, first));
	assert_false(reasm_expire(r, 11, &ref));
	assert_int_equal(reasm_oldest_us(r), 20);
	assert_int_equal(add(1, 64, 64), REASM_PART); /* a new one */
	assert_true(res.ref.generation != first.generation);
}

static void those_given_up_expire_in_silence(void **state)
{
	struct reasm_ref ref;

	(void)state;
	make_whole(0, 200);
	add(1, 0, 64);
	assert_int_equal(add(1, 0, 64), REASM_GIVEN_UP);
	assert_false(reasm_expire(r, 1000, &ref));
	assert_int_equal(reasm_waiting(r), 0);
}

static void after_clearing_nothing_is_remembered(void **state)
{
	struct reasm_ref ref;

	(void)state;
	make_whole(0, 100);
	add(1, 0, 64);
	ref = res.ref;
	reasm_clear(r);
	assert_false(reasm_is_current(r, ref));
	assert_int_equal(add(1, 64, 36), REASM_PART);
	assert_true(res.ref.generation != ref.generation);
}

static void the_rest_of_all_that_is_split_is_told_from_new_datagrams(void **state)
{
	(void)state;
	make_whole(0, 100);
	add(1, 0, 64);
	add(2, 0, 64);
	reasm_give_up_all(r);
	assert_int_equal(add(1, 64, 36), REASM_REST);
	assert_int_equal(add(2, 64, 36), REASM_REST);
	assert_int_equal(add(3, 64, 36), REASM_PART);
}

static void sizes_without_sense_are_refused(void **state)
{
	struct reasm *none = NULL;

	(void)state;
	assert_int_equal(reasm_new(&none, 0, 65536, 1), -EINVAL);
	assert_int_equal(reasm_new(&none, 1, UINT64_MAX, 1), -EINVAL);
	assert_null(none);
	reasm_free(none);
}

#define reasm_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		reasm_test(fragments_in_order_give_the_packet_back),
		reasm_test(any_cuts_in_any_order_give_the_packet_back),
		reasm_test(headers_before_the_fragment_header_come_back),
		reasm_test(unfragmentable_headers_beyond_256_bytes_are_given_up),
		reasm_test(each_part_of_the_key_tells_datagrams_apart),
		reasm_test(the_protocol_is_part_of_the_key_of_ip4_only),
		reasm_test(overlaps_give_the_datagram_up),
		reasm_test(impossible_places_give_the_datagram_up),
		reasm_test(a_packet_longer_than_64_kb_is_given_up),
		reasm_test(fragments_after_the_giving_up_get_the_same_answer),
		reasm_test(without_a_free_slot_a_fragment_is_on_its_own),
		reasm_test(without_memory_the_new_datagram_is_given_up_and_older_ones_go_on),
		reasm_test(the_oldest_expire_by_their_first_fragment),
		reasm_test(those_given_up_expire_in_silence),
		reasm_test(after_clearing_nothing_is_remembered),
		reasm_test(the_rest_of_all_that_is_split_is_told_from_new_datagrams),
		cmocka_unit_test(sizes_without_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
