// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a journal of any bytes, as recovery reads it; and with its checksum made right, as a broken colod might have
 * written it. Whatever is taken lies within its bytes and its disks. */
#include "base/bytes.h"
#include "colod/disk/journal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct journal_record *r, const uint8_t *bytes, size_t len)
{
	struct journal_walk w = {};
	struct journal_entry x;
	uint64_t n = 0, data = 0;

	while (journal_next(r, &w, &x)) {
		assert(x.disk < r->head.ndisks && x.kind < EXTENT_KINDS && x.len);
		assert(x.offset <= r->head.disks[x.disk].bytes);
		assert(x.len <= r->head.disks[x.disk].bytes - x.offset);
		n++;
		if (x.kind != EXTENT_DATA)
			continue;
		assert(x.data >= bytes + JOURNAL_HEAD_BYTES && x.len <= len);
		assert(x.data + x.len <= bytes + len - JOURNAL_SEAL_BYTES);
		data += x.len;
	}
	assert(n == r->head.extents && data == r->head.data_bytes);
}

/* What is decoded is what would be written for it. */
static void check_head(const struct journal_head *h)
{
	static uint8_t again[JOURNAL_HEAD_BYTES];
	struct journal_head same;
	struct err e = {};

	journal_encode_head(h, again);
	assert(!journal_decode_head(&same, again, &e));
	assert(!journal_check_disks(&same, h->disks, h->ndisks, &e));
	assert(journal_record_bytes(&same) == journal_record_bytes(h));
}

static void decode(const uint8_t *bytes, size_t len)
{
	struct journal_record r;
	struct err e = {};

	if (!journal_decode(&r, bytes, len, &e)) {
		check_head(&r.head);
		walk(&r, bytes, len);
	} else {
		assert(e.code == EBADMSG && e.msg[0]);
	}
}

static void seal(const struct journal_head *h, uint8_t *bytes)
{
	uint8_t *at = bytes + journal_record_bytes(h) - JOURNAL_SEAL_BYTES;

	journal_encode_seal(h, at);
	journal_encode_checksum(XXH3_64bits(bytes, journal_record_bytes(h) - 8), at);
}

/* Right but for its entries, which are as the fuzzer wants them, as is how many there are. */
static void make_whole(const uint8_t *given, uint8_t *bytes, size_t len)
{
	struct journal_head h = {.ndisks = 2,
				 .extents = given[0] % 32,
				 .data_bytes = given[1],
				 .disks = {{"a", UINT64_MAX}, {"b", 300}}};

	if (len < journal_record_bytes(&h))
		return;
	journal_encode_head(&h, bytes);
	seal(&h, bytes);
}

/* Any head, with the right seal behind it. */
static void make_sealed(uint8_t *bytes, size_t len)
{
	struct journal_head h;

	if (!journal_decode_head(&h, bytes, NULL) && journal_record_bytes(&h) <= len)
		seal(&h, bytes);
}

/* Heads are mostly zeroes: what the fuzzer gives is their beginning, and what follows them. */
#define HEAD_GIVEN 64
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t head = size < HEAD_GIVEN ? size : HEAD_GIVEN, len = size - head + JOURNAL_HEAD_BYTES;
	uint8_t *bytes = calloc(1, len);
	struct journal_mark m;
	struct err e = {};

	assert(bytes);
	memcpy(bytes, data, head);
	memcpy(bytes + JOURNAL_HEAD_BYTES, data + head, size - head);
	if (journal_decode_mark(&m, bytes, &e))
		assert(e.code == ENOTSUP && e.msg[0]);
	decode(bytes, len);
	put_be64(bytes, UINT64_C(0x636f6c6f64657063));
	make_sealed(bytes, len);
	decode(bytes, len);
	if (size > 2) {
		make_whole(data, bytes, len);
		decode(bytes, len);
	}
	free(bytes);
	return 0;
}
