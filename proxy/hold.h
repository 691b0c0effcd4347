/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for held packets: a pool of records and an arena for their bytes, both of fixed size. */
#ifndef PROXY_HOLD_H
#define PROXY_HOLD_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct pool - @count records of @size bytes; the one given back last is given out first, while
 * the cache still knows it. Memory that was never used costs nothing.
 */
struct pool {
	uint8_t *base;
	void *free;
	size_t size;
	uint32_t count, fresh; /* records from @fresh on were never given out */
	uint32_t used;
};

/** pool_init() - 0 or -ENOMEM. */
int pool_init(struct pool *p, uint32_t count, size_t size);
void pool_destroy(struct pool *p);

/** pool_get() - a record with undefined content, or NULL when all are in use. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *record);

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
