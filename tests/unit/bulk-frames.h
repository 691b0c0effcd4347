/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of the bulk connection, built as docs/protocol.md describes them and not with the sender's code. */
#ifndef TESTS_UNIT_BULK_FRAMES_H
#define TESTS_UNIT_BULK_FRAMES_H

#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "colod/core/wire-bulk.h"

#include <xxhash.h>

struct frames {
	uint8_t buf[512 * KIB];
	size_t len;
	XXH3_state_t *hash;
	struct wire_msg send;
};

static inline struct frames *frames_new(uint64_t epoch)
{
	struct frames *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->send = (struct wire_msg){.type = WIRE_SEND, .epoch = epoch};
	f->hash = XXH3_createState();
	XXH3_64bits_reset(f->hash);
	return f;
}

static inline void frames_free(struct frames *f)
{
	XXH3_freeState(f->hash);
	free(f);
}

static inline void put(struct frames *f, const void *data, size_t len)
{
	assert_true(f->len + len <= sizeof(f->buf));
	memcpy(f->buf + f->len, data, len);
	f->len += len;
}

static inline void put_u32(struct frames *f, uint32_t v)
{
	uint8_t b[4];

	put_be32(b, v);
	put(f, b, 4);
}

static inline void put_u64(struct frames *f, uint64_t v)
{
	uint8_t b[8];

	put_be64(b, v);
	put(f, b, 8);
}

static inline void put_header(struct frames *f, enum wire_type type, size_t length)
{
	uint8_t b[WIRE_HEADER_BYTES];

	wire_encode_header(b, type, (uint32_t)length);
	put(f, b, sizeof(b));
}

/* @count entries; those without WIRE_ZERO_PAGE get data that @seed decides. */
static inline void put_pages(struct frames *f, uint64_t epoch, const uint64_t *entries,
			     uint32_t count, uint64_t seed)
{
	size_t at = f->len + WIRE_HEADER_BYTES;
	struct rng rng = {seed};
	uint8_t page[PAGE_BYTES];
	uint32_t data = 0;

	for (uint32_t i = 0; i < count; i++)
		data += !(entries[i] & WIRE_ZERO_PAGE);
	put_header(f, WIRE_PAGES, 12 + 8 * count + PAGE_BYTES * data);
	put_u64(f, epoch);
	put_u32(f, count);
	for (uint32_t i = 0; i < count; i++)
		put_u64(f, entries[i]);
	for (uint32_t i = 0; i < data; i++) {
		rng_fill(&rng, page, sizeof(page));
		put(f, page, sizeof(page));
	}
	XXH3_64bits_update(f->hash, f->buf + at, f->len - at);
	f->send.entries += count;
	f->send.zero_entries += count - data;
}

static inline void put_devices(struct frames *f, uint64_t epoch, size_t bytes, uint8_t fill)
{
	uint8_t *devices = malloc(bytes);

	assert_non_null(devices);
	memset(devices, fill, bytes);
	put_header(f, WIRE_DEVICES, 8 + bytes);
	put_u64(f, epoch);
	put(f, devices, bytes);
	XXH3_64bits_update(f->hash, devices, bytes);
	f->send.devices_bytes = bytes;
	free(devices);
}

static inline void put_message(struct frames *f, const struct wire_msg *m)
{
	uint8_t b[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];

	put(f, b, wire_encode(m, b));
}

static inline void put_send(struct frames *f)
{
	uint8_t seal[12];

	put_be64(seal, f->send.epoch);
	put_be32(seal + 8, f->send.flags);
	XXH3_64bits_update(f->hash, seal, sizeof(seal));
	f->send.checksum = XXH3_64bits_digest(f->hash);
	put_message(f, &f->send);
}

#endif
