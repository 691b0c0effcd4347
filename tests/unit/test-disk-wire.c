// SPDX-License-Identifier: GPL-2.0-or-later
/* The DISK_EXTENTS frame: documented bytes, round trips, and that no length or offset is trusted. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "colod/disk/disk-wire.h"

#define NDISKS     3
#define DISK_BYTES (UINT64_C(5) << 40)

static struct disk_frame random_frame(struct rng *r)
{
	struct disk_frame f = {.epoch = rng_next(r),
			       .disk = (uint32_t)rng_below(r, NDISKS),
			       .count = (uint32_t)(1 + rng_below(r, DISK_WIRE_EXTENTS_MAX))};

	for (uint32_t i = 0; i < f.count; i++) {
		struct disk_extent *x = &f.extents[i];
		uint64_t max = DISK_BYTES;

		x->kind = (enum extent_kind)rng_below(r, EXTENT_KINDS);
		if (x->kind == EXTENT_DATA && f.data_bytes == DISK_WIRE_DATA_MAX)
			x->kind = EXTENT_ZERO;
		if (x->kind == EXTENT_DATA)
			max = MIN(DISK_WIRE_DATA_MAX - f.data_bytes, 1 + rng_below(r, 20000));
		x->len = 1 + rng_below(r, max);
		x->offset = rng_below(r, DISK_BYTES - x->len + 1);
		f.data_bytes += x->kind == EXTENT_DATA ? (uint32_t)x->len : 0;
	}
	return f;
}

/* As a receiver does it: head, entries, each from memory of exactly its size. */
static int decode(struct disk_frame *f, const uint8_t *payload, uint32_t length, struct err *e)
{
	autofree uint8_t *head = malloc(DISK_WIRE_HEAD_BYTES);
	autofree uint8_t *entries = NULL;
	int r;

	memset(f, 0xa5, sizeof(*f));
	memcpy(head, payload, DISK_WIRE_HEAD_BYTES);
	r = disk_wire_decode_head(f, head, length, NDISKS, e);
	if (r)
		return r;
	entries = malloc(disk_wire_entries_bytes(f));
	memcpy(entries, payload + DISK_WIRE_HEAD_BYTES, disk_wire_entries_bytes(f));
	return disk_wire_decode_entries(f, entries, length, DISK_BYTES, e);
}

#define EXAMPLE                                                                                    \
	"\0\0\0\0\0\0\0\7"                                                                         \
	"\0\0\0\1"                                                                                 \
	"\0\0\0\2"                                                                                 \
	"\0\0\0\0\0\0\x10\0"                                                                       \
	"\0\0\0\0\0\0\2\0"                                                                         \
	"\0\0\0\0"                                                                                 \
	"\0\0\0\0\0\x10\0\0"                                                                       \
	"\0\0\0\1\0\0\0\0"                                                                         \
	"\0\0\0\2"

/* The example of docs/protocol.md. */
static void a_frame_has_the_documented_bytes(void **state)
{
	struct disk_frame f = {.epoch = 7,
			       .disk = 1,
			       .count = 2,
			       .data_bytes = 512,
			       .extents = {{0x1000, 512, EXTENT_DATA},
					   {0x100000, UINT64_C(1) << 32, EXTENT_TRIM}}};
	uint8_t buf[DISK_WIRE_HEAD_MAX];

	(void)state;
	assert_int_equal(disk_wire_encode(&f, buf), sizeof(EXAMPLE) - 1);
	assert_memory_equal(buf, EXAMPLE, sizeof(EXAMPLE) - 1);
	assert_int_equal(disk_wire_length(&f), sizeof(EXAMPLE) - 1 + 512);
	assert_int_equal(EXTENT_ZERO, 1);
}

static void frames_are_decoded_as_they_were_encoded(void **state)
{
	struct rng rng = {1};

	(void)state;
	for (int i = 0; i < 500; i++) {
		struct disk_frame f = random_frame(&rng), got;
		uint8_t buf[DISK_WIRE_HEAD_MAX];
		struct err e;

		assert_int_equal(disk_wire_encode(&f, buf),
				 DISK_WIRE_HEAD_BYTES + disk_wire_entries_bytes(&f));
		assert_ok(decode(&got, buf, disk_wire_length(&f), &e), &e);
		assert_true(got.epoch == f.epoch && got.disk == f.disk && got.count == f.count);
		assert_int_equal(got.data_bytes, f.data_bytes);
		for (uint32_t k = 0; k < f.count; k++)
			assert_true(got.extents[k].offset == f.extents[k].offset &&
				    got.extents[k].len == f.extents[k].len &&
				    got.extents[k].kind == f.extents[k].kind);
	}
}

static void refused(const uint8_t *payload, uint32_t length)
{
	struct disk_frame got;
	struct err e = {};

	assert_int_equal(decode(&got, payload, length, &e), -EPROTO);
	assert_int_equal(e.code, EPROTO);
	assert_true(e.msg[0]);
}

static void frames_of_another_length_are_refused(void **state)
{
	struct rng rng = {2};

	(void)state;
	for (int i = 0; i < 100; i++) {
		struct disk_frame f = random_frame(&rng);
		uint8_t buf[DISK_WIRE_HEAD_MAX];
		uint32_t right = disk_wire_length(&f);
		const uint32_t wrong[] = {0,
					  right - 1,
					  right + 1,
					  UINT32_MAX,
					  DISK_WIRE_HEAD_BYTES,
					  DISK_WIRE_HEAD_BYTES + disk_wire_entries_bytes(&f) - 1};

		disk_wire_encode(&f, buf);
		for (size_t k = 0; k < ARRAY_SIZE(wrong); k++)
			refused(buf, wrong[k]);
	}
}

/* The frame of EXAMPLE with one number changed. */
static void refused_with(size_t at, size_t size, uint64_t value)
{
	uint8_t buf[] = EXAMPLE;
	uint32_t length = sizeof(EXAMPLE) - 1 + 512;

	if (size == 4)
		put_be32(buf + at, (uint32_t)value);
	else
		put_be64(buf + at, value);
	refused(buf, length);
}

static void counts_and_disks_beyond_their_limits_are_refused(void **state)
{
	uint8_t head[DISK_WIRE_HEAD_BYTES] = {};
	struct disk_frame f;

	(void)state;
	refused_with(8, 4, NDISKS);
	refused_with(8, 4, UINT32_MAX);
	refused_with(12, 4, 0);
	refused_with(12, 4, DISK_WIRE_EXTENTS_MAX + 1);
	refused_with(12, 4, UINT32_MAX / DISK_WIRE_ENTRY_BYTES + 1);
	refused_with(12, 4, UINT32_MAX);
	/* However long the frame is. */
	put_be32(head + 8, 0);
	put_be32(head + 12, DISK_WIRE_EXTENTS_MAX);
	assert_int_equal(disk_wire_decode_head(&f, head, UINT32_MAX, NDISKS, NULL), 0);
	put_be32(head + 12, DISK_WIRE_EXTENTS_MAX + 1);
	assert_int_equal(disk_wire_decode_head(&f, head, UINT32_MAX, NDISKS, NULL), -EPROTO);
}

static void extents_that_leave_the_disk_are_refused(void **state)
{
	(void)state;
	refused_with(16, 8, DISK_BYTES - 511);
	refused_with(16, 8, DISK_BYTES);
	refused_with(16, 8, UINT64_MAX);
	refused_with(36, 8, DISK_BYTES - (UINT64_C(1) << 32) + 1);
	refused_with(36, 8, UINT64_MAX);
	refused_with(44, 8, DISK_BYTES);
	refused_with(44, 8, UINT64_MAX);
	refused_with(44, 8, UINT64_MAX - 0x100000 + 2);
	refused_with(44, 8, 0);
	refused_with(24, 8, 0);
}

static void unknown_kinds_are_refused(void **state)
{
	(void)state;
	refused_with(32, 4, EXTENT_KINDS);
	refused_with(52, 4, EXTENT_KINDS);
	refused_with(52, 4, UINT32_MAX);
}

static void more_data_than_a_frame_may_bring_is_refused(void **state)
{
	struct disk_frame f = {.count = 2, .data_bytes = DISK_WIRE_DATA_MAX};
	uint8_t buf[DISK_WIRE_HEAD_MAX];
	struct disk_frame got;
	struct err e;

	(void)state;
	f.extents[0] = (struct disk_extent){0, DISK_WIRE_DATA_MAX - 1, EXTENT_DATA};
	f.extents[1] = (struct disk_extent){DISK_BYTES - 1, 1, EXTENT_DATA};
	disk_wire_encode(&f, buf);
	assert_ok(decode(&got, buf, disk_wire_length(&f), &e), &e);
	f.extents[1] = (struct disk_extent){DISK_BYTES - 2, 2, EXTENT_DATA};
	f.data_bytes++;
	disk_wire_encode(&f, buf);
	refused(buf, disk_wire_length(&f));
	/* Nor by lengths whose sum is small again in 32 bits. */
	f.extents[1] = (struct disk_extent){0, (UINT64_C(1) << 32) + 1, EXTENT_DATA};
	f.data_bytes = DISK_WIRE_DATA_MAX;
	disk_wire_encode(&f, buf);
	refused(buf, disk_wire_length(&f));
}

static void a_frame_is_put_into_the_map_in_its_order(void **state)
{
	struct disk_frame f = {
		.count = 3,
		.data_bytes = 30,
		.extents = {{100, 20, EXTENT_DATA}, {110, 5, EXTENT_ZERO}, {90, 10, EXTENT_DATA}}};
	uint8_t data[30];
	struct extent_store store;
	struct extents m;
	struct extent *x;
	struct err e = {};

	(void)state;
	for (int i = 0; i < 30; i++)
		data[i] = (uint8_t)i;
	assert_int_equal(extent_store_init(&store, ARENA_CHUNK, 10), 0);
	extents_init(&m, &store);
	assert_ok(disk_frame_put(&f, data, &m, &e), &e);
	x = extents_at(&m, 0);
	assert_true(x->offset == 90 && x->len == 10 && x->data[0] == 20);
	x = extents_next(x);
	assert_true(x->offset == 100 && x->len == 10 && x->data[9] == 9);
	x = extents_next(x);
	assert_true(x->offset == 110 && x->len == 5 && x->kind == EXTENT_ZERO);
	x = extents_next(x);
	assert_true(x->offset == 115 && x->len == 5 && x->data[0] == 15);
	assert_null(extents_next(x));
	store.records.count = store.records.used;
	f.extents[0].offset = 1000;
	assert_int_equal(disk_frame_put(&f, data, &m, &e), -ENOSPC);
	assert_true(e.msg[0]);
	extents_clear(&m);
	extent_store_destroy(&store);
}

static void counts_must_agree(void **state)
{
	struct disk_frame f = {.count = 3, .data_bytes = 1000};
	struct disk_counts came = {}, sent;
	uint8_t buf[DISK_WIRE_COUNTS_BYTES];
	struct err e = {};

	(void)state;
	disk_counts_add(&came, &f);
	disk_counts_add(&came, &f);
	disk_counts_encode(&came, buf);
	assert_memory_equal(buf, "\0\0\0\0\0\0\0\6\0\0\0\0\0\0\7\xd0", sizeof(buf));
	disk_counts_decode(&sent, buf);
	assert_ok(disk_counts_check(&sent, &came, &e), &e);
	came.extents++;
	assert_int_equal(disk_counts_check(&sent, &came, &e), -EPROTO);
	came.extents--;
	came.data_bytes--;
	assert_int_equal(disk_counts_check(&sent, &came, &e), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_has_the_documented_bytes),
		cmocka_unit_test(frames_are_decoded_as_they_were_encoded),
		cmocka_unit_test(frames_of_another_length_are_refused),
		cmocka_unit_test(counts_and_disks_beyond_their_limits_are_refused),
		cmocka_unit_test(extents_that_leave_the_disk_are_refused),
		cmocka_unit_test(unknown_kinds_are_refused),
		cmocka_unit_test(more_data_than_a_frame_may_bring_is_refused),
		cmocka_unit_test(a_frame_is_put_into_the_map_in_its_order),
		cmocka_unit_test(counts_must_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
