// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: DISK_EXTENTS payloads from a peer, decoded and staged as the receiver does it. */
#include "base/cleanup.h"
#include "colod/disk/disk-wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NDISKS      2
#define DISK_BYTES  300000
#define MAX_EXTENTS 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct extent_store store;
static struct extents maps[NDISKS];

/* A copy of exactly @len bytes, so that the sanitizer sees a read beyond it. */
static uint8_t *exactly(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert(p);
	memcpy(p, data, len);
	return p;
}

static void check_map(const struct extents *m)
{
	uint64_t at = 0, count = 0;

	for (struct extent *x = extents_at(m, 0); x; x = extents_next(x), count++) {
		assert(x->len && x->offset >= at && extent_end(x) <= DISK_BYTES);
		at = extent_end(x);
	}
	assert(count == m->count);
}

/* The bytes of the payload that @data begins with, 0 if it is refused. */
static size_t one_frame(const uint8_t *data, size_t size, uint32_t length)
{
	static uint8_t again[DISK_WIRE_HEAD_MAX];
	static struct disk_frame f;
	struct err e = {};
	size_t head;

	if (size < DISK_WIRE_HEAD_BYTES || disk_wire_decode_head(&f, data, length, NDISKS, &e)) {
		assert(size < DISK_WIRE_HEAD_BYTES || (e.code && e.msg[0]));
		return 0;
	}
	assert(f.disk < NDISKS && f.count && f.count <= DISK_WIRE_EXTENTS_MAX);
	head = DISK_WIRE_HEAD_BYTES + disk_wire_entries_bytes(&f);
	if (size < head)
		return 0;
	autofree uint8_t *entries =
		exactly(data + DISK_WIRE_HEAD_BYTES, head - DISK_WIRE_HEAD_BYTES);

	if (disk_wire_decode_entries(&f, entries, length, DISK_BYTES, &e)) {
		assert(e.code && e.msg[0]);
		return 0;
	}
	assert(f.data_bytes <= DISK_WIRE_DATA_MAX && disk_wire_length(&f) == length);
	assert(disk_wire_encode(&f, again) == head && !memcmp(again, data, head));
	if (size < length)
		return 0;
	autofree uint8_t *bytes = exactly(data + head, f.data_bytes);

	if (disk_frame_put(&f, bytes, &maps[f.disk], &e))
		assert(e.code == ENOSPC && e.msg[0]);
	check_map(&maps[f.disk]);
	return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!store.records.base) {
		assert(!extent_store_init(&store, 8 * (uint64_t)ARENA_CHUNK, MAX_EXTENTS));
		for (int i = 0; i < NDISKS; i++)
			extents_init(&maps[i], &store);
	}
	while (size > 2) {
		/* Two bytes say the length that the frame's header had. */
		size_t n = one_frame(data + 2, size - 2, (uint32_t)(data[0] << 8 | data[1]));

		if (!n)
			break;
		data += 2 + n;
		size -= 2 + n;
	}
	for (int i = 0; i < NDISKS; i++)
		extents_clear(&maps[i]);
	assert(!store.records.used && !store.arena.live && !arena_used(&store.arena));
	return 0;
}
