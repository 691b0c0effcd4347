/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded FIFO of frames in one block of memory: kept inbound frames, unreleased output, send
 * queues. */
#ifndef PROXY_FRAMEBUF_H
#define PROXY_FRAMEBUF_H

#include "proxy/packet.h"

/** struct kept - one frame in the buffer; @tag is the user's (number, flow) */
struct kept {
	uint64_t number;
	uint32_t len;
	uint8_t nic;
	bool gone; /* taken out of the middle */
	uint64_t user[4];
	uint8_t data[];
};

/** struct framebuf - @bytes of memory, mapped at once, touched as used; starts anew whenever it
 * runs empty. */
struct framebuf {
	uint8_t *mem;
	size_t bytes, head, tail,
		wrap; /* head: oldest; wrap: end of the used part when tail < head */
	uint32_t count, max_count;
	uint64_t used_bytes, dropped;
};

int framebuf_init(struct framebuf *b, size_t bytes, uint32_t max_count);
void framebuf_destroy(struct framebuf *b);
void framebuf_clear(struct framebuf *b);

/** framebuf_add() - copy @len bytes (given in two pieces, @n1 and @n2) to the end; NULL when full.
 */
struct kept *framebuf_add(struct framebuf *b, const void *p1, size_t n1, const void *p2, size_t n2);

/** framebuf_first(), framebuf_next() - oldest to youngest, without those gone; NULL at the end. */
struct kept *framebuf_first(struct framebuf *b);
struct kept *framebuf_next(struct framebuf *b, struct kept *k);

/** framebuf_drop() - take @k out; its memory is free again when all older ones are gone too. */
void framebuf_drop(struct framebuf *b, struct kept *k);

static inline bool framebuf_is_empty(const struct framebuf *b)
{
	return !b->count;
}

#endif
