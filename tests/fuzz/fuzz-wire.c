// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a stream of frames from a peer, decoded as both connections decode it. */
#include "base/cleanup.h"
#include "colod/core/wire-bulk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NPAGES        0x10000
#define BITMAP_NPAGES 1003 /* one frame tells of them all, the last byte in part */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly @len bytes, so that the sanitizer sees a read beyond it. */
static uint8_t *exactly(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert(p);
	memcpy(p, data, len);
	return p;
}

static void check_message(const struct wire_header *h, const uint8_t *frame)
{
	autofree uint8_t *payload = exactly(frame + WIRE_HEADER_BYTES, h->length);
	uint8_t again[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];
	struct wire_msg m;
	struct err e = {};

	if (wire_decode(&m, h, payload, &e)) {
		assert(e.code && e.msg[0]);
		return;
	}
	assert(wire_encode(&m, again) == WIRE_HEADER_BYTES + h->length);
	assert(!memcmp(again, frame, WIRE_HEADER_BYTES + h->length));
}

static void check_pages(const struct wire_header *h, const uint8_t *frame, size_t size)
{
	const uint8_t *entries = frame + WIRE_HEADER_BYTES + WIRE_PAGES_HEAD_BYTES;
	uint8_t again[WIRE_PAGES_FRAME_HEAD_MAX];
	struct wire_pages p;
	struct err e = {};

	if (size < WIRE_HEADER_BYTES + WIRE_PAGES_HEAD_BYTES ||
	    wire_decode_pages_head(&p, frame + WIRE_HEADER_BYTES, h->length, &e))
		return;
	assert(p.count && p.count <= WIRE_PAGES_MAX);
	if (size < (size_t)(entries - frame) + 8 * p.count)
		return;
	autofree uint8_t *copy = exactly(entries, 8 * p.count);

	if (wire_decode_pages_entries(&p, copy, h->length, NPAGES, &e)) {
		assert(e.code && e.msg[0]);
		return;
	}
	assert(p.data_pages <= p.count);
	for (uint32_t i = 0; i < p.count; i++)
		assert((p.entries[i] & ~WIRE_ZERO_PAGE) < NPAGES);
	assert(!memcmp(again, frame, wire_encode_pages(&p, again)));
}

static void check_hashes(const struct wire_header *h, const uint8_t *frame, size_t size)
{
	uint8_t again[WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES];
	struct wire_hashes hashes;
	struct err e = {};

	if (size < sizeof(again) ||
	    wire_decode_hashes_head(&hashes, frame + WIRE_HEADER_BYTES, h->length, NPAGES, &e))
		return;
	assert(hashes.count && hashes.first < NPAGES && hashes.count <= NPAGES - hashes.first);
	wire_encode_hashes_head(&hashes, again);
	assert(!memcmp(again, frame, sizeof(again)));
}

static void check_bitmap(const struct wire_header *h, const uint8_t *frame, size_t size)
{
	const uint8_t *bits = frame + WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES;
	uint8_t again[WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES];
	uint8_t bits_again[DIV_ROUND_UP(BITMAP_NPAGES, 8)];
	struct bitmap to = {};
	struct wire_bitmap b;
	struct err e = {};

	if (size < sizeof(again) ||
	    wire_decode_bitmap_head(&b, frame + WIRE_HEADER_BYTES, h->length, BITMAP_NPAGES, &e))
		return;
	assert(b.first == 0 && b.count == BITMAP_NPAGES);
	assert(wire_encode_bitmap_head(&b, again) == sizeof(again));
	assert(!memcmp(again, frame, sizeof(again)));
	if (size < sizeof(again) + wire_bitmap_bytes(&b))
		return;
	autofree uint8_t *copy = exactly(bits, wire_bitmap_bytes(&b));

	assert(!bitmap_init(&to, BITMAP_NPAGES));
	if (wire_decode_bitmap_bits(&b, copy, &to, &e)) {
		assert(e.code && e.msg[0]);
	} else {
		assert(bitmap_next(&to, BITMAP_NPAGES) >= BITMAP_NPAGES);
		wire_encode_bitmap_bits(&b, &to, bits_again);
		assert(!memcmp(bits_again, bits, sizeof(bits_again)));
	}
	bitmap_destroy(&to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size >= WIRE_HEADER_BYTES) {
		struct wire_header h;
		struct err e = {};
		size_t whole;

		if (wire_decode_header(&h, data, &e)) {
			assert(e.code && e.msg[0]);
			return 0;
		}
		assert(wire_type_name(h.type) && strcmp(wire_type_name(h.type), "unknown"));
		whole = WIRE_HEADER_BYTES + (size_t)h.length;
		if (h.type == WIRE_PAGES)
			check_pages(&h, data, size);
		else if (h.type == WIRE_HASHES)
			check_hashes(&h, data, size);
		else if (h.type == WIRE_RECV_BITMAP)
			check_bitmap(&h, data, size);
		else if (!wire_is_bulk_frame(h.type) && size >= whole)
			check_message(&h, data);
		if (size < whole)
			return 0;
		data += whole;
		size -= whole;
	}
	return 0;
}
