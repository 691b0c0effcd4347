/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fixed-size bitmap, one bit a page: 32 KB for each GB of guest RAM. */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include "base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct bitmap {
	uint64_t *words;
	uint64_t nbits;
};

static inline uint64_t bitmap_nwords(const struct bitmap *b)
{
	return DIV_ROUND_UP(b->nbits, 64);
}

static inline int bitmap_init(struct bitmap *b, uint64_t nbits)
{
	b->nbits = nbits;
	b->words = calloc(DIV_ROUND_UP(nbits, 64), 8);
	return b->words ? 0 : -ENOMEM;
}

static inline void bitmap_destroy(struct bitmap *b)
{
	free(b->words);
	b->words = NULL;
	b->nbits = 0;
}

static inline bool bitmap_test(const struct bitmap *b, uint64_t i)
{
	return b->words[i / 64] >> (i % 64) & 1;
}

static inline void bitmap_set(struct bitmap *b, uint64_t i)
{
	b->words[i / 64] |= 1ull << (i % 64);
}

static inline void bitmap_clear(struct bitmap *b, uint64_t i)
{
	b->words[i / 64] &= ~(1ull << (i % 64));
}

static inline void bitmap_zero(struct bitmap *b)
{
	memset(b->words, 0, bitmap_nwords(b) * 8);
}

static inline uint64_t bitmap_count(const struct bitmap *b)
{
	uint64_t n = 0;

	for (uint64_t w = 0; w < bitmap_nwords(b); w++)
		n += (uint64_t)__builtin_popcountll(b->words[w]);
	return n;
}

/** bitmap_set_range() - set @len bits from @start on. */
void bitmap_set_range(struct bitmap *b, uint64_t start, uint64_t len);

/** bitmap_next() - index of the first set bit at or after @from; nbits when there is none. */
uint64_t bitmap_next(const struct bitmap *b, uint64_t from);

#endif
