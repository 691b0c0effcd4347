// SPDX-License-Identifier: GPL-2.0-or-later
/* The journal's format: a record is what was sealed, byte for byte, or none; and it is of these disks. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "colod/disk/journal.h"

#include <xxhash.h>

static const struct journal_disk disks[] = {{"vda /srv/a.raw", 1 << 20},
					    {"vdb /dev/vg/b", 5 << 20}};
static const struct journal_entry entries[] = {
	{4096, 5, 0, EXTENT_DATA, (const uint8_t *)"hello"},
	{0, 1 << 20, 1, EXTENT_TRIM, NULL},
	{(5 << 20) - 3, 3, 1, EXTENT_DATA, (const uint8_t *)"end"},
	{8192, 4096, 0, EXTENT_ZERO, NULL}};

#define DATA_BYTES 8
#define RECORD_BYTES                                                                               \
	(JOURNAL_HEAD_BYTES + 4 * JOURNAL_ENTRY_BYTES + DATA_BYTES + JOURNAL_SEAL_BYTES)

static struct journal_head head_of_two_disks(void)
{
	struct journal_head h = {.session = 77, .epoch = 12, .ndisks = 2};

	memcpy(h.disks, disks, sizeof(disks));
	h.extents = ARRAY_SIZE(entries);
	h.data_bytes = DATA_BYTES;
	return h;
}

static void seal(const struct journal_head *h, uint8_t *buf)
{
	uint64_t whole = journal_record_bytes(h);

	journal_encode_seal(h, buf + whole - JOURNAL_SEAL_BYTES);
	journal_encode_checksum(XXH3_64bits(buf, whole - 8), buf + whole - JOURNAL_SEAL_BYTES);
}

static void encode(uint8_t *buf)
{
	struct journal_head h = head_of_two_disks();
	uint8_t *at = buf + JOURNAL_HEAD_BYTES;

	journal_encode_head(&h, buf);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++, at += JOURNAL_ENTRY_BYTES)
		journal_encode_entry(&entries[i], at);
	memcpy(at, "helloend", DATA_BYTES);
	seal(&h, buf);
}

static void a_record_is_decoded_as_it_was_encoded(void **state)
{
	autofree uint8_t *buf = malloc(RECORD_BYTES);
	struct journal_record r;
	struct journal_walk walk = {};
	struct journal_entry x;
	struct err e = {};

	(void)state;
	encode(buf);
	assert_ok(journal_decode(&r, buf, RECORD_BYTES, &e), &e);
	assert_int_equal(r.head.session, 77);
	assert_int_equal(r.head.epoch, 12);
	assert_ok(journal_check_disks(&r.head, disks, 2, &e), &e);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		const struct journal_entry *w = &entries[i];

		assert_true(journal_next(&r, &walk, &x));
		assert_true(x.offset == w->offset && x.len == w->len && x.disk == w->disk &&
			    x.kind == w->kind);
		if (w->data)
			assert_memory_equal(x.data, w->data, w->len);
	}
	assert_false(journal_next(&r, &walk, &x));
}

static void a_record_that_is_cut_anywhere_is_none(void **state)
{
	uint8_t whole[RECORD_BYTES];

	(void)state;
	encode(whole);
	for (size_t len = 0; len < RECORD_BYTES; len++) {
		autofree uint8_t *buf = malloc(len ?: 1);
		struct journal_record r;
		struct err e = {};

		memcpy(buf, whole, len);
		assert_int_equal(journal_decode(&r, buf, len, &e), -EBADMSG);
		assert_true(e.msg[0]);
	}
}

static void a_record_with_any_byte_changed_is_none(void **state)
{
	autofree uint8_t *buf = malloc(RECORD_BYTES);

	(void)state;
	encode(buf);
	for (size_t at = 0; at < RECORD_BYTES; at++)
		for (int bit = 0; bit < 8; bit++) {
			struct journal_record r;

			buf[at] ^= 1u << bit;
			assert_int_equal(journal_decode(&r, buf, RECORD_BYTES, NULL), -EBADMSG);
			buf[at] ^= 1u << bit;
		}
}

/* A record with a right checksum that no colod has made. */
static void refused(const struct journal_head *h, size_t at, uint64_t value)
{
	autofree uint8_t *buf = malloc(RECORD_BYTES);
	struct journal_record r;
	struct err e = {};

	encode(buf);
	journal_encode_head(h, buf);
	if (at)
		put_be64(buf + at, value);
	if (journal_record_bytes(h) == RECORD_BYTES)
		seal(h, buf);
	assert_int_equal(journal_decode(&r, buf, RECORD_BYTES, &e), -EBADMSG);
	assert_true(e.msg[0]);
}

static void numbers_that_cannot_be_are_refused_whatever_the_checksum(void **state)
{
	const size_t first = JOURNAL_HEAD_BYTES, second = first + JOURNAL_ENTRY_BYTES;
	struct journal_head h = head_of_two_disks();

	(void)state;
	refused(&h, first, 1 << 20);
	refused(&h, first, UINT64_MAX);
	refused(&h, first + 8, 0);
	refused(&h, first + 8, 4);
	refused(&h, first + 8, 6);
	refused(&h, first + 8, UINT64_MAX - 4095);
	refused(&h, first + 16, UINT64_C(2) << 32);
	refused(&h, first + 16, EXTENT_KINDS);
	refused(&h, second + 8, (5 << 20) + 1);
	h.ndisks = 1;
	refused(&h, 0, 0);
	h = head_of_two_disks();
	h.extents = UINT64_MAX / JOURNAL_ENTRY_BYTES + 1;
	refused(&h, 0, 0);
	h = head_of_two_disks();
	h.data_bytes = 0 - (uint64_t)JOURNAL_HEAD_BYTES;
	refused(&h, 0, 0);
	/* As long as the right one. */
	h = head_of_two_disks();
	h.extents--;
	h.data_bytes += JOURNAL_ENTRY_BYTES;
	refused(&h, 0, 0);
}

/* Two lengths beyond the record, whose sum is right again in 64 bits. */
static void lengths_that_wrap_are_refused(void **state)
{
	const size_t first = JOURNAL_HEAD_BYTES, third = first + 2 * JOURNAL_ENTRY_BYTES;
	struct journal_head h = head_of_two_disks();
	autofree uint8_t *buf = malloc(RECORD_BYTES);
	struct journal_record r;

	(void)state;
	encode(buf);
	h.disks[0].bytes = UINT64_MAX;
	journal_encode_head(&h, buf);
	seal(&h, buf);
	assert_int_equal(journal_decode(&r, buf, RECORD_BYTES, NULL), 0);
	put_be64(buf + first + 8, UINT64_MAX - 8191);
	put_be64(buf + third, 0);
	put_be64(buf + third + 8, 8192 + DATA_BYTES);
	seal(&h, buf);
	assert_int_equal(journal_decode(&r, buf, RECORD_BYTES, NULL), -EBADMSG);
}

static void a_mark_names_a_record_or_none(void **state)
{
	struct journal_mark m = {true, 77, 12, 0x123456789abcdef0}, got;
	uint8_t buf[JOURNAL_MARK_BYTES], none[JOURNAL_MARK_BYTES] = {};
	struct err e = {};

	(void)state;
	journal_encode_mark(&m, buf);
	assert_ok(journal_decode_mark(&got, buf, &e), &e);
	assert_true(got.any && got.session == 77 && got.epoch == 12 && got.checksum == m.checksum);
	for (size_t at = 0; at < 48; at++) {
		buf[at] ^= 0x10;
		assert_ok(journal_decode_mark(&got, buf, &e), &e);
		assert_false(got.any);
		assert_int_equal(got.epoch, 0);
		buf[at] ^= 0x10;
	}
	assert_ok(journal_decode_mark(&got, none, &e), &e);
	assert_false(got.any);
	put_be32(buf + 8, JOURNAL_VERSION + 1);
	put_be64(buf + 40, XXH3_64bits(buf, 40));
	assert_int_equal(journal_decode_mark(&got, buf, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "version 2"));
}

static void a_record_of_other_disks_is_told_from_ours(void **state)
{
	struct journal_head h = head_of_two_disks();
	struct journal_disk now[3];
	struct err e = {};

	(void)state;
	memcpy(now, disks, sizeof(disks));
	assert_ok(journal_check_disks(&h, now, 2, &e), &e);
	assert_int_equal(journal_check_disks(&h, now, 1, &e), -EINVAL);
	assert_int_equal(journal_check_disks(&h, now, 3, &e), -EINVAL);
	now[1].bytes++;
	assert_int_equal(journal_check_disks(&h, now, 2, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "vdb /dev/vg/b"));
	now[1] = now[0];
	assert_int_equal(journal_check_disks(&h, now, 2, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "vda /srv/a.raw"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_decoded_as_it_was_encoded),
		cmocka_unit_test(a_record_that_is_cut_anywhere_is_none),
		cmocka_unit_test(a_record_with_any_byte_changed_is_none),
		cmocka_unit_test(numbers_that_cannot_be_are_refused_whatever_the_checksum),
		cmocka_unit_test(lengths_that_wrap_are_refused),
		cmocka_unit_test(a_mark_names_a_record_or_none),
		cmocka_unit_test(a_record_of_other_disks_is_told_from_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
