// SPDX-License-Identifier: GPL-2.0-or-later
/* Mismatches: the ring keeps the last ones, packets and context are those of the difference, pcap to the byte. */
#include "tests/unit/unit.h"

#include "proxy/mismatch.h"
#include "tests/unit/packet-make.h"

static struct mismatch_ring ring;

static int setup(void **state)
{
	(void)state;
	memset(&ring, 0, sizeof(ring));
	return 0;
}

/* ---- the ring ---- */

static void every_reason_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MISMATCH_REASONS; i++) {
		assert_string_not_equal(mismatch_reason_name((enum mismatch_reason)i), "unknown");
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(mismatch_reason_name((enum mismatch_reason)i),
						mismatch_reason_name((enum mismatch_reason)j));
	}
	assert_string_equal(mismatch_reason_name(MISMATCH_PAYLOAD), "payload");
	assert_string_equal(mismatch_reason_name(MISMATCH_LOST), "lost");
	assert_string_equal(mismatch_reason_name(MISMATCH_REASONS), "unknown");
}

static void the_newest_come_first_and_the_oldest_go(void **state)
{
	(void)state;
	assert_null(mismatch_get(&ring, 0));
	for (uint64_t n = 1; n <= 3 * MISMATCH_RING + 5; n++) {
		struct mismatch *m = mismatch_next(&ring);
		unsigned have = (unsigned)MIN(n, MISMATCH_RING);

		assert_int_equal(m->number, n);
		assert_ptr_equal(mismatch_get(&ring, 0), m);
		for (unsigned back = 0; back < have; back++)
			assert_int_equal(mismatch_get(&ring, back)->number, n - back);
		assert_null(mismatch_get(&ring, have));
		assert_null(mismatch_get(&ring, UINT32_MAX));
	}
}

static void a_new_entry_holds_nothing_of_the_old_one(void **state)
{
	static const struct mismatch zero;

	(void)state;
	for (uint64_t n = 1; n <= 2 * MISMATCH_RING; n++) {
		struct mismatch *m = mismatch_next(&ring);

		m->number = 0;
		assert_memory_equal(m, &zero, sizeof(zero));
		memset(m, 0xee, sizeof(*m));
	}
}

static void a_commit_resolves_its_epoch_and_those_before(void **state)
{
	static const uint64_t epochs[] = {4, 5, 5, 6};

	(void)state;
	mismatch_resolved(&ring, 1);
	for (size_t i = 0; i < ARRAY_SIZE(epochs); i++)
		mismatch_next(&ring)->epoch = epochs[i];
	mismatch_resolved(&ring, 4);
	assert_int_equal(mismatch_get(&ring, 3)->checkpoint, 4);
	for (unsigned back = 0; back < 3; back++)
		assert_int_equal(mismatch_get(&ring, back)->checkpoint, 0);
	mismatch_resolved(&ring, 7);
	assert_int_equal(mismatch_get(&ring, 3)->checkpoint, 4);
	for (unsigned back = 0; back < 3; back++)
		assert_int_equal(mismatch_get(&ring, back)->checkpoint, 7);
}

static void a_commit_resolves_every_entry_of_a_full_ring(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MISMATCH_RING + 3; i++)
		mismatch_next(&ring)->epoch = 2;
	mismatch_resolved(&ring, 2);
	for (unsigned back = 0; back < MISMATCH_RING; back++)
		assert_int_equal(mismatch_get(&ring, back)->checkpoint, 2);
}

/* ---- packets ---- */

static struct pkt udp(struct mk *m, size_t n)
{
	mk_start(m);
	mk_ip(m, "10.0.0.2", "10.0.0.9", IPPROTO_UDP);
	mk_udp(m, 53, 1024);
	mk_fill(m, 1, 0, n);
	mk_end(m);
	return mk_parse(m);
}

static void the_context_lies_around_the_offset(void **state)
{
	static const struct {
		uint32_t payload, at, start, len;
	} cases[] = {
		{100, 50, 34, 32},  {100, 0, 0, 32},   {100, 16, 0, 32},  {100, 17, 1, 32},
		{100, 84, 68, 32},  {100, 85, 69, 31}, {100, 99, 83, 17}, {100, 100, 84, 16},
		{100, 500, 84, 16}, {5, 3, 0, 5},      {5, 5, 0, 5},      {0, 0, 0, 0},
		{0, 9, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static struct mk m;
		struct pkt p = udp(&m, cases[i].payload);
		struct mismatch_side s = {};
		uint32_t at = MIN(cases[i].at, cases[i].payload);

		mismatch_side_set(&s, &p, cases[i].at);
		assert_int_equal(s.context_len, cases[i].len);
		assert_int_equal(s.context_at, at - cases[i].start);
		assert_memory_equal(s.context, p.data + 28 + cases[i].start, s.context_len);
		assert_int_equal(s.len, 28 + cases[i].payload);
		assert_int_equal(s.kept, s.len);
		assert_memory_equal(s.packet, p.data, s.kept);
	}
}

static void a_long_packet_is_kept_in_part_its_context_in_full(void **state)
{
	static const size_t payloads[] = {MISMATCH_SNAPSHOT - 28, MISMATCH_SNAPSHOT - 27, 60000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(payloads); i++) {
		static struct mk m;
		struct pkt p = udp(&m, payloads[i]);
		struct mismatch_side s = {};

		mismatch_side_set(&s, &p, (uint32_t)payloads[i] - 2);
		assert_int_equal(s.len, 28 + payloads[i]);
		assert_int_equal(s.kept, MISMATCH_SNAPSHOT);
		assert_memory_equal(s.packet, p.data, MISMATCH_SNAPSHOT);
		assert_int_equal(s.context_len, 18);
		assert_memory_equal(s.context, p.data + p.len - 18, 18);
	}
}

/* ---- pcap ---- */

static void the_file_header_is_that_of_raw_ip(void **state)
{
	static const uint8_t want[MISMATCH_PCAP_HEADER_BYTES] = {
		0xd4, 0xc3, 0xb2, 0xa1, 2,    0, 4, 0, 0,   0, 0, 0,
		0,    0,    0,    0,    0x40, 6, 0, 0, 101, 0, 0, 0};
	uint8_t buf[MISMATCH_PCAP_HEADER_BYTES];

	(void)state;
	assert_int_equal(mismatch_pcap_header(buf), sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

static void a_record_is_time_lengths_and_bytes(void **state)
{
	static const uint8_t head[16] = {4,    3, 2, 1, 0x3f, 0x42, 0x0f, 0,
					 0x40, 6, 0, 0, 0x60, 0xea, 0,    0};
	static uint8_t buf[MISMATCH_PCAP_RECORD_BYTES + 1];
	static struct mk m;
	struct pkt p = udp(&m, 60000 - 28);
	struct mismatch *e = mismatch_next(&ring);

	(void)state;
	e->realtime_us = 0x01020304 * USEC_PER_SEC + 999999;
	mismatch_side_set(&e->primary, &p, 0);
	buf[MISMATCH_PCAP_RECORD_BYTES] = 0xaa;
	assert_int_equal(mismatch_pcap_record(e, &e->primary, buf), MISMATCH_PCAP_RECORD_BYTES);
	assert_memory_equal(buf, head, sizeof(head));
	assert_memory_equal(buf + sizeof(head), p.data, MISMATCH_SNAPSHOT);
	assert_int_equal(buf[MISMATCH_PCAP_RECORD_BYTES], 0xaa);
	p = udp(&m, 7);
	mismatch_side_set(&e->secondary, &p, 0);
	assert_int_equal(mismatch_pcap_record(e, &e->secondary, buf), 16 + 35);
	assert_memory_equal(buf + 8, "\x23\0\0\0\x23\0\0\0", 8);
	assert_memory_equal(buf + 16, p.data, 35);
}

static void a_side_without_packet_makes_no_record(void **state)
{
	uint8_t buf[MISMATCH_PCAP_RECORD_BYTES] = {0xaa};
	struct mismatch *e = mismatch_next(&ring);

	(void)state;
	assert_int_equal(mismatch_pcap_record(e, &e->secondary, buf), 0);
	assert_int_equal(buf[0], 0xaa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_reason_has_a_name_of_its_own, setup),
		cmocka_unit_test_setup(the_newest_come_first_and_the_oldest_go, setup),
		cmocka_unit_test_setup(a_new_entry_holds_nothing_of_the_old_one, setup),
		cmocka_unit_test_setup(a_commit_resolves_its_epoch_and_those_before, setup),
		cmocka_unit_test_setup(a_commit_resolves_every_entry_of_a_full_ring, setup),
		cmocka_unit_test_setup(the_context_lies_around_the_offset, setup),
		cmocka_unit_test_setup(a_long_packet_is_kept_in_part_its_context_in_full, setup),
		cmocka_unit_test_setup(the_file_header_is_that_of_raw_ip, setup),
		cmocka_unit_test_setup(a_record_is_time_lengths_and_bytes, setup),
		cmocka_unit_test_setup(a_side_without_packet_makes_no_record, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
