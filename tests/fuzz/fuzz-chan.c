// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a stream of packet channel messages from a peer; what is taken encodes to the same bytes. */
#include "base/cleanup.h"
#include "proxy/chan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct chan_msg *m, const uint8_t *data, size_t len)
{
	uint8_t again[CHAN_ENCODE_MAX];
	size_t n = chan_encode(m, again);

	assert(n + m->payload_len == len);
	assert(!memcmp(again, data, n));
	if (m->payload_len)
		assert(m->payload == data + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as large, so that the sanitizer sees a read beyond it. */
	autofree uint8_t *copy = malloc(size ? size : 1);
	size_t at = 0;

	assert(copy);
	memcpy(copy, data, size);
	while (at < size) {
		struct chan_msg m;
		struct err e = {};
		ssize_t n = chan_decode(&m, copy + at, size - at, &e);

		if (n < 0)
			assert(n == -EPROTO && e.msg[0]);
		if (n <= 0)
			return 0;
		assert((size_t)n <= size - at && n >= CHAN_HEADER_BYTES);
		assert(strcmp(chan_type_name(m.type), "unknown"));
		check_same(&m, copy + at, (size_t)n);
		at += (size_t)n;
	}
	return 0;
}
