// SPDX-License-Identifier: GPL-2.0-or-later
/* Bitmap operations that work a word at a time. */
#include "base/bitmap.h"

void bitmap_set_range(struct bitmap *b, uint64_t start, uint64_t len)
{
	while (len) {
		uint64_t shift = start % 64, n = MIN(len, 64 - shift);
		uint64_t ones = n == 64 ? ~0ull : (1ull << n) - 1;

		b->words[start / 64] |= ones << shift;
		start += n;
		len -= n;
	}
}

uint64_t bitmap_next(const struct bitmap *b, uint64_t from)
{
	uint64_t w = from / 64, word;

	if (from >= b->nbits)
		return b->nbits;
	word = b->words[w] & (~0ull << (from % 64));
	while (!word) {
		if (++w >= bitmap_nwords(b))
			return b->nbits;
		word = b->words[w];
	}
	return w * 64 + (uint64_t)__builtin_ctzll(word);
}
