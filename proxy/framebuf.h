/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded FIFO of frames in one block of memory: kept inbound frames, unreleased output, send
 * queues. */
#ifndef PROXY_FRAMEBUF_H
#define PROXY_FRAMEBUF_H

#include "base/util.h"

#include <stdbool.h>

/** struct kept - one frame in the buffer; @number, @nic and @user are the user's, zero at first */
struct kept {
	uint64_t number;
	uint32_t len;
	uint8_t nic;
	bool gone; /* taken out of the middle */
	uint64_t user[4];
	uint8_t data[];
};

/** framebuf_bytes_of() - what a frame of @len bytes takes of the buffer. */
static inline size_t framebuf_bytes_of(size_t len)
{
	return ALIGN_UP(sizeof(struct kept) + len, 8);
}

/**
 * struct framebuf - @bytes of memory, mapped at once, touched as used; starts anew whenever it
 * runs empty, so that little traffic stays in the cache
 * @head: oldest; @wrap: end of the used part when the youngest begin anew at 0, else 0
 * @count: frames, without those gone
 * @used_bytes: memory that is not free, of those gone too
 * @dropped: how often framebuf_add() found it full
 */
struct framebuf {
	uint8_t *mem;
	size_t bytes, head, tail, wrap;
	uint32_t count, max_count;
	uint64_t used_bytes, dropped;
};

/** framebuf_init() - room for @max_count frames in @bytes of memory. 0, -EINVAL for no bytes at
 * all, -ENOMEM. */
int framebuf_init(struct framebuf *b, size_t bytes, uint32_t max_count);
void framebuf_destroy(struct framebuf *b);
void framebuf_clear(struct framebuf *b);

/**
 * framebuf_add() - copy a frame (given in two pieces of @n1 and @n2 bytes) to the end; NULL when full:
 * there are @max_count frames, or no free piece of memory that is large enough. @p1 and @p2 must
 * not lie in the buffer.
 */
struct kept *framebuf_add(struct framebuf *b, const void *p1, size_t n1, const void *p2, size_t n2);

/**
 * framebuf_first(), framebuf_next() - oldest to youngest, without those gone; NULL at the end. @k
 * may have been dropped since, as long as nothing was added after that.
 */
struct kept *framebuf_first(struct framebuf *b);
struct kept *framebuf_next(struct framebuf *b, struct kept *k);

/** framebuf_drop() - take @k out; its memory is free again when all older ones are gone too. */
void framebuf_drop(struct framebuf *b, struct kept *k);

static inline bool framebuf_is_empty(const struct framebuf *b)
{
	return !b->count;
}

#endif
