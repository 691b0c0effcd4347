/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a fixed size from the start: pages that cost nothing until they are used, and a pool of records in them. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

/** map_pages() - @bytes of zeroed private memory that is not reserved, for munmap(); NULL: there is none. */
void *map_pages(size_t bytes);

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

/** pool_left() - how many records can still be had. */
static inline uint32_t pool_left(const struct pool *p)
{
	return p->count - p->used;
}

#endif
