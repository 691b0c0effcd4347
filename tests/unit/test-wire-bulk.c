// SPDX-License-Identifier: GPL-2.0-or-later
/* Heads of the bulk frames: documented bytes, round trips, and that no length or page number is trusted. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "colod/core/wire-bulk.h"

#define NPAGES 1000

static struct wire_pages random_pages(struct rng *r)
{
	struct wire_pages p = {.epoch = rng_next(r),
			       .count = (uint32_t)(1 + rng_below(r, WIRE_PAGES_MAX))};

	for (uint32_t i = 0; i < p.count; i++) {
		bool zero = rng_below(r, 2);

		p.entries[i] = rng_below(r, NPAGES) | (zero ? WIRE_ZERO_PAGE : 0);
		p.data_pages += !zero;
	}
	return p;
}

/* As the receiver does it: header, head, entries, each from memory of exactly its size. */
static int decode_pages(struct wire_pages *p, const uint8_t *frame, uint32_t length, struct err *e)
{
	const uint8_t *at = frame + WIRE_HEADER_BYTES;
	autofree uint8_t *head = malloc(WIRE_PAGES_HEAD_BYTES);
	autofree uint8_t *entries = NULL;
	int r;

	memset(p, 0xa5, sizeof(*p));
	memcpy(head, at, WIRE_PAGES_HEAD_BYTES);
	r = wire_decode_pages_head(p, head, length, e);
	if (r)
		return r;
	entries = malloc(8ul * p->count);
	memcpy(entries, at + WIRE_PAGES_HEAD_BYTES, 8ul * p->count);
	return wire_decode_pages_entries(p, entries, length, NPAGES, e);
}

static uint32_t pages_length(const struct wire_pages *p)
{
	return (uint32_t)(WIRE_PAGES_HEAD_BYTES + 8 * p->count + PAGE_BYTES * p->data_pages);
}

#define PAGES_BYTES                                                                                \
	"COLO\0\2\0\23\0\0\20\34"                                                                  \
	"\0\0\0\0\0\0\0\7"                                                                         \
	"\0\0\0\2"                                                                                 \
	"\0\0\0\0\0\0\1\2"                                                                         \
	"\200\0\0\0\0\0\0\3"
#define HASHES_BYTES                                                                               \
	"COLO\0\2\0\25\0\0\0\44"                                                                   \
	"\0\0\0\0\0\0\0\7"                                                                         \
	"\0\0\0\0\0\0\1\0"                                                                         \
	"\0\0\0\2"

#define BITMAP_BYTES                                                                               \
	"COLO\0\2\0\26\0\0\0\63"                                                                   \
	"\0\0\0\0\0\0\0\6"                                                                         \
	"\0\0\0\0\0\0\0\7"                                                                         \
	"\0\0\0\0\0\0\0\3"                                                                         \
	"\1\2\3\4\5\6\7\10"                                                                        \
	"\0\0\0\0"                                                                                 \
	"\0\0\0\0\0\0\0\0"                                                                         \
	"\0\0\0\24"                                                                                \
	"\3\0\10"

/* The examples of docs/protocol.md. */
static void heads_have_the_documented_bytes(void **state)
{
	struct wire_pages p = {
		.epoch = 7, .count = 2, .data_pages = 1, .entries = {0x102, 3 | WIRE_ZERO_PAGE}};
	struct wire_hashes h = {.epoch = 7, .first = 256, .count = 2};
	uint8_t buf[WIRE_PAGES_FRAME_HEAD_MAX];

	(void)state;
	assert_int_equal(wire_encode_pages(&p, buf), sizeof(PAGES_BYTES) - 1);
	assert_memory_equal(buf, PAGES_BYTES, sizeof(PAGES_BYTES) - 1);
	assert_int_equal(wire_encode_hashes_head(&h, buf), sizeof(HASHES_BYTES) - 1);
	assert_memory_equal(buf, HASHES_BYTES, sizeof(HASHES_BYTES) - 1);
}

static void pages_are_decoded_as_they_were_encoded(void **state)
{
	struct rng rng = {1};

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct wire_pages p = random_pages(&rng), got;
		uint8_t buf[WIRE_PAGES_FRAME_HEAD_MAX];
		size_t n = wire_encode_pages(&p, buf);
		struct wire_header h;
		struct err e;

		assert_int_equal(n, WIRE_HEADER_BYTES + WIRE_PAGES_HEAD_BYTES + 8 * p.count);
		assert_ok(wire_decode_header(&h, buf, &e), &e);
		assert_int_equal(h.type, WIRE_PAGES);
		assert_int_equal(h.length, pages_length(&p));
		assert_ok(decode_pages(&got, buf, h.length, &e), &e);
		assert_true(got.epoch == p.epoch);
		assert_int_equal(got.count, p.count);
		assert_int_equal(got.data_pages, p.data_pages);
		assert_memory_equal(got.entries, p.entries, 8ul * p.count);
	}
}

static void pages_of_another_length_are_refused(void **state)
{
	struct rng rng = {2};

	(void)state;
	for (int i = 0; i < 200; i++) {
		struct wire_pages p = random_pages(&rng), got;
		uint8_t buf[WIRE_PAGES_FRAME_HEAD_MAX] = {};
		uint32_t right = pages_length(&p);
		const uint32_t wrong[] = {0,
					  right - 1,
					  right + 1,
					  right + (uint32_t)PAGE_BYTES,
					  right - (uint32_t)PAGE_BYTES,
					  right - 8,
					  right + 8,
					  UINT32_MAX};

		wire_encode_pages(&p, buf);
		for (size_t k = 0; k < ARRAY_SIZE(wrong); k++) {
			struct err e = {};

			assert_int_equal(decode_pages(&got, buf, wrong[k], &e), -EPROTO);
			assert_true(e.msg[0]);
		}
	}
}

static void a_count_beyond_the_frame_is_refused(void **state)
{
	static const uint32_t counts[] = {0, 2, 64, 65, 0x1fffffff, 0x20000000, UINT32_MAX};
	struct wire_pages p = {.count = 1, .data_pages = 1}, got;
	uint8_t buf[WIRE_PAGES_FRAME_HEAD_MAX] = {};
	struct err e;

	(void)state;
	wire_encode_pages(&p, buf);
	assert_int_equal(decode_pages(&got, buf, pages_length(&p), &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		put_be32(buf + WIRE_HEADER_BYTES + 8, counts[i]);
		assert_int_equal(decode_pages(&got, buf, pages_length(&p), &e), -EPROTO);
	}
	/* The head alone bounds what is read next. */
	put_be32(buf + WIRE_HEADER_BYTES + 8, 64);
	assert_int_equal(wire_decode_pages_head(&got, buf + WIRE_HEADER_BYTES, 12 + 8 * 64 - 1, &e),
			 -EPROTO);
	assert_int_equal(wire_decode_pages_head(&got, buf + WIRE_HEADER_BYTES, 12 + 8 * 64, &e), 0);
}

static void a_page_that_the_guest_does_not_have_is_refused(void **state)
{
	static const uint64_t pages[] = {NPAGES, NPAGES + 1, UINT64_C(1) << 52, WIRE_ZERO_PAGE - 1};
	uint8_t buf[WIRE_PAGES_FRAME_HEAD_MAX] = {};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct wire_pages data = {.count = 1, .data_pages = 1, .entries = {pages[i]}};
		struct wire_pages zero = {.count = 1, .entries = {pages[i] | WIRE_ZERO_PAGE}}, got;

		wire_encode_pages(&data, buf);
		assert_int_equal(decode_pages(&got, buf, pages_length(&data), &e), -EPROTO);
		wire_encode_pages(&zero, buf);
		assert_int_equal(decode_pages(&got, buf, pages_length(&zero), &e), -EPROTO);
	}
}

/* ---- hashes ---- */

static int decode_hashes_of(uint64_t npages, uint64_t first, uint32_t count, uint32_t length,
			    struct err *e)
{
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES];
	struct wire_hashes h = {.epoch = 9, .first = first, .count = count}, got;
	int r;

	assert_int_equal(wire_encode_hashes_head(&h, buf), sizeof(buf));
	r = wire_decode_hashes_head(&got, buf + WIRE_HEADER_BYTES, length, npages, e);
	if (!r)
		assert_true(got.epoch == 9 && got.first == first && got.count == count);
	return r;
}

static int decode_hashes(uint64_t first, uint32_t count, uint32_t length, struct err *e)
{
	return decode_hashes_of(NPAGES, first, count, length, e);
}

static void hashes_stay_within_the_guest(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(decode_hashes(0, NPAGES, 20 + 8 * NPAGES, &e), 0);
	assert_int_equal(decode_hashes(NPAGES - 1, 1, 28, &e), 0);
	assert_int_equal(decode_hashes(0, NPAGES + 1, 20 + 8 * (NPAGES + 1), &e), -EPROTO);
	assert_int_equal(decode_hashes(NPAGES, 1, 28, &e), -EPROTO);
	assert_int_equal(decode_hashes(NPAGES - 1, 2, 36, &e), -EPROTO);
	assert_int_equal(decode_hashes(UINT64_MAX, 1, 28, &e), -EPROTO);
	assert_int_equal(decode_hashes(UINT64_MAX - 1, 2, 36, &e), -EPROTO);
}

static void hashes_fill_their_frame(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(decode_hashes(0, 0, 20, &e), -EPROTO);
	assert_int_equal(decode_hashes(0, 2, 35, &e), -EPROTO);
	assert_int_equal(decode_hashes(0, 2, 37, &e), -EPROTO);
	assert_int_equal(decode_hashes_of(1 << 30, 0, 4096, 20 + 8 * 4096, &e), 0);
	assert_int_equal(decode_hashes_of(1 << 30, 0, 4097, 20 + 8 * 4097, &e), -EPROTO);
	/* 8 * count wraps round to the length of one hash. */
	assert_int_equal(decode_hashes_of(1 << 30, 0, 0x20000001, 28, &e), -EPROTO);
}

/* ---- RECV_BITMAP ---- */

static void a_bitmap_has_the_documented_bytes(void **state)
{
	struct wire_bitmap b = {
		.committed = 6, .epoch = 7, .frames = 3, .digest = 0x0102030405060708};
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES + 3];
	uint64_t word = 1 | 2 | 1 << 19;
	struct bitmap pages = {&word, 20};
	size_t len;

	(void)state;
	assert_int_equal(wire_bitmap_cut(&b, 20), 20);
	len = wire_encode_bitmap_head(&b, buf);
	wire_encode_bitmap_bits(&b, &pages, buf + len);
	assert_int_equal(len + wire_bitmap_bytes(&b), sizeof(BITMAP_BYTES) - 1);
	assert_memory_equal(buf, BITMAP_BYTES, sizeof(BITMAP_BYTES) - 1);
	wire_encode_bitmap_bits(&b, NULL, buf + len);
	assert_memory_equal(buf + len, "\0\0\0", 3);
}

/* Of any guest, in as many frames as it takes. */
static void a_bitmap_is_decoded_as_it_was_encoded(void **state)
{
	static const uint64_t sizes[] = {1,
					 7,
					 8,
					 9,
					 63,
					 64,
					 65,
					 1000,
					 WIRE_BITMAP_PAGES_MAX - 1,
					 WIRE_BITMAP_PAGES_MAX,
					 WIRE_BITMAP_PAGES_MAX + 1,
					 2 * WIRE_BITMAP_PAGES_MAX + 77};
	static uint8_t head[WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES];
	struct rng rng = {9};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct wire_bitmap b = {.committed = rng_next(&rng),
					.epoch = rng_next(&rng),
					.frames = rng_next(&rng),
					.digest = rng_next(&rng),
					.flags = (uint32_t)i % 4},
				   got, first;
		struct bitmap from, to;
		unsigned frames = 0;

		assert_int_equal(bitmap_init(&from, sizes[i]) | bitmap_init(&to, sizes[i]), 0);
		for (uint64_t p = 0; p < sizes[i]; p++)
			if (rng_next(&rng) & 1)
				bitmap_set(&from, p);
		for (; wire_bitmap_cut(&b, sizes[i]); b.first += b.count, frames++) {
			uint8_t *bits = malloc(wire_bitmap_bytes(&b));
			struct err e;

			wire_encode_bitmap_head(&b, head);
			wire_encode_bitmap_bits(&b, &from, bits);
			assert_ok(wire_decode_bitmap_head(&got, head + WIRE_HEADER_BYTES,
							  48 + wire_bitmap_bytes(&b), sizes[i], &e),
				  &e);
			assert_ok(wire_decode_bitmap_bits(&got, bits, &to, &e), &e);
			assert_true(got.first == b.first && got.count == b.count);
			if (!frames)
				first = got;
			assert_true(wire_bitmap_same_telling(&first, &got));
			assert_true(wire_bitmap_same_telling(&b, &got));
			free(bits);
		}
		assert_int_equal(frames, DIV_ROUND_UP(sizes[i], WIRE_BITMAP_PAGES_MAX));
		assert_memory_equal(from.words, to.words, 8 * bitmap_nwords(&from));
		bitmap_destroy(&from);
		bitmap_destroy(&to);
	}
}

static int decode_bitmap(uint64_t npages, uint64_t first, uint32_t count, uint32_t flags,
			 uint32_t length)
{
	struct wire_bitmap b = {.first = first, .count = count, .flags = flags};
	uint8_t head[WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES];
	struct err e = {};
	int r;

	wire_encode_bitmap_head(&b, head);
	r = wire_decode_bitmap_head(&b, head + WIRE_HEADER_BYTES, length, npages, &e);
	assert_true(!r || (r == -EPROTO && e.msg[0]));
	return r;
}

static void a_bitmap_tells_of_the_guests_pages_and_no_others(void **state)
{
	const uint64_t max = WIRE_BITMAP_PAGES_MAX;

	(void)state;
	assert_int_equal(decode_bitmap(20, 0, 20, 0, 51), 0);
	assert_int_equal(decode_bitmap(20, 0, 19, 0, 51), -EPROTO);
	assert_int_equal(decode_bitmap(20, 0, 21, 0, 51), -EPROTO);
	assert_int_equal(decode_bitmap(20, 0, 0, 0, 48), -EPROTO);
	assert_int_equal(decode_bitmap(20, 0, 20, 0, 50), -EPROTO);
	assert_int_equal(decode_bitmap(20, 0, 20, 0, 52), -EPROTO);
	assert_int_equal(decode_bitmap(20, 1, 19, 0, 51), -EPROTO);
	assert_int_equal(decode_bitmap(20, max, 20, 0, 51), -EPROTO);
	assert_int_equal(decode_bitmap(20, UINT64_MAX - max + 1, 20, 0, 51), -EPROTO);
	assert_int_equal(decode_bitmap(20, 0, 20, 4, 51), -EPROTO);
	assert_int_equal(decode_bitmap(max + 1, max, 1, 0, 49), 0);
	assert_int_equal(decode_bitmap(max + 1, 0, max + 1, 0, 48 + 65537), -EPROTO);
	assert_int_equal(decode_bitmap(max + 1, 0, 8, 0, 49), -EPROTO);
}

static void a_bit_behind_the_last_page_is_refused(void **state)
{
	struct wire_bitmap b = {};
	uint64_t word;
	struct bitmap to = {&word, 20};
	struct err e;

	(void)state;
	wire_bitmap_cut(&b, 20);
	assert_int_equal(wire_decode_bitmap_bits(&b, (uint8_t[]){0xff, 0xff, 0x0f}, &to, &e), 0);
	assert_true(word == 0xfffff);
	for (unsigned bit = 4; bit < 8; bit++) {
		uint8_t bits[3] = {0, 0, (uint8_t)BIT(bit)};

		assert_int_equal(wire_decode_bitmap_bits(&b, bits, &to, &e), -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_have_the_documented_bytes),
		cmocka_unit_test(pages_are_decoded_as_they_were_encoded),
		cmocka_unit_test(pages_of_another_length_are_refused),
		cmocka_unit_test(a_count_beyond_the_frame_is_refused),
		cmocka_unit_test(a_page_that_the_guest_does_not_have_is_refused),
		cmocka_unit_test(hashes_stay_within_the_guest),
		cmocka_unit_test(hashes_fill_their_frame),
		cmocka_unit_test(a_bitmap_has_the_documented_bytes),
		cmocka_unit_test(a_bitmap_is_decoded_as_it_was_encoded),
		cmocka_unit_test(a_bitmap_tells_of_the_guests_pages_and_no_others),
		cmocka_unit_test(a_bit_behind_the_last_page_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
