/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a fixed size for the bytes of extents, which are cut and given back in any pieces. */
#ifndef DISK_ARENA_H
#define DISK_ARENA_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct arena - chunks, each filled from its start, and used again when no byte in it is alive
 *
 * Bytes got one after the other by the same arena_fill lie one behind the other, so that what is
 * written in sequence becomes one piece. What is cut out of the middle of a chunk is not used before
 * the rest is given back, too: who writes and trims in turns fills the arena sooner than its
 * live bytes say, but never beyond its size.
 */
#define ARENA_CHUNK (128 * 1024)
struct arena {
	uint8_t *base;
	struct arena_chunk *chunks;
	uint32_t nchunks, nfree, free; /* @free heads a list through the chunks */
	uint64_t live;                 /* bytes in use */
};

/** struct arena_fill - the chunk that somebody is filling. */
struct arena_fill {
	uint32_t chunk;
};
#define ARENA_NO_CHUNK   UINT32_MAX
#define ARENA_FILL_BEGIN ((struct arena_fill){ARENA_NO_CHUNK})

/** arena_init() - room for @max_bytes, in whole chunks. 0 or -ENOMEM. */
int arena_init(struct arena *a, uint64_t max_bytes);
void arena_destroy(struct arena *a);

/** arena_room() - bytes that arena_get() can give for @f, in pieces. */
uint64_t arena_room(const struct arena *a, const struct arena_fill *f);

/** arena_get() - up to *len bytes in one piece, *len is what they are; NULL: there are none. */
uint8_t *arena_get(struct arena *a, struct arena_fill *f, uint64_t *len);

/** arena_put() - give back any part of what was got; it lies in one chunk. */
void arena_put(struct arena *a, const uint8_t *bytes, uint64_t len);

/** arena_leave() - nothing more is got by @f, though what was may be in use still. */
void arena_leave(struct arena *a, struct arena_fill *f);

/** arena_adjoins() - whether @b begins where @len bytes at @a end, in the same chunk. */
static inline bool arena_adjoins(const struct arena *arena, const uint8_t *a, uint64_t len,
				 const uint8_t *b)
{
	return a + len == b && (b - arena->base) % ARENA_CHUNK;
}

/** arena_used() - bytes of the chunks that are not free. */
static inline uint64_t arena_used(const struct arena *a)
{
	return (uint64_t)(a->nchunks - a->nfree) * ARENA_CHUNK;
}

#endif
