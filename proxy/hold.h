/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a fixed size for the bytes of held packets. */
#ifndef PROXY_HOLD_H
#define PROXY_HOLD_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct hold - bytes of packets that come and go in about the order of their arrival
 *
 * Each chunk is filled from its start and used again when nothing in it is alive: a packet that
 * stays for long keeps one chunk, not all that came behind it, and while everything goes soon the
 * same few hot pages serve all.
 */
#define HOLD_CHUNK (128 * 1024)
struct hold {
	uint8_t *arena;
	struct hold_chunk *chunks;
	uint32_t nchunks, current, free; /* @free heads a list through the chunks */
	uint64_t bytes, max_bytes;       /* in use */
};

/** hold_init() - 0 or -ENOMEM. */
int hold_init(struct hold *h, uint64_t max_bytes);
void hold_destroy(struct hold *h);

/** hold_get() - @len bytes; NULL when they are more than what is left or than HOLD_CHUNK. */
void *hold_get(struct hold *h, size_t len);

/** hold_put() - give back what hold_get() gave for the same @len. */
void hold_put(struct hold *h, const void *bytes, size_t len);

#endif
