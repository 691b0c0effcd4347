// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory of a fixed size for the bytes of held packets. */
#include "proxy/hold.h"

#include "base/pool.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define NO_CHUNK   UINT32_MAX
#define HOLD_ALIGN 16

struct hold_chunk {
	uint32_t live, filled; /* pieces in use; bytes given out since it was empty */
	uint32_t next_free;
};

/* A quarter more than asked for, because chunks are seldom full to the brim. */
int hold_init(struct hold *h, uint64_t max_bytes)
{
	uint64_t n = DIV_ROUND_UP(max_bytes + max_bytes / 4, HOLD_CHUNK) + 1;

	*h = (struct hold){.nchunks = (uint32_t)n, .free = NO_CHUNK, .max_bytes = max_bytes};
	if (n >= NO_CHUNK)
		return -ENOMEM;
	h->arena = map_pages(n * HOLD_CHUNK);
	h->chunks = calloc(n, sizeof(h->chunks[0]));
	if (!h->arena || !h->chunks) {
		hold_destroy(h);
		return -ENOMEM;
	}
	while (--n) {
		h->chunks[n].next_free = h->free;
		h->free = (uint32_t)n;
	}
	return 0;
}

void hold_destroy(struct hold *h)
{
	if (h->arena)
		munmap(h->arena, (size_t)h->nchunks * HOLD_CHUNK);
	free(h->chunks);
	h->arena = NULL;
	h->chunks = NULL;
}

void *hold_get(struct hold *h, size_t len)
{
	size_t n = ALIGN_UP(len, HOLD_ALIGN);
	struct hold_chunk *c = &h->chunks[h->current];
	void *p;

	if (n > HOLD_CHUNK || n > h->max_bytes - h->bytes)
		return NULL;
	if (c->filled + n > HOLD_CHUNK) {
		if (h->free == NO_CHUNK)
			return NULL;
		h->current = h->free;
		c = &h->chunks[h->current];
		h->free = c->next_free;
	}
	p = h->arena + (size_t)h->current * HOLD_CHUNK + c->filled;
	c->filled += (uint32_t)n;
	c->live++;
	h->bytes += n;
	return p;
}

void hold_put(struct hold *h, const void *bytes, size_t len)
{
	uint32_t i = (uint32_t)((size_t)((const uint8_t *)bytes - h->arena) / HOLD_CHUNK);
	struct hold_chunk *c = &h->chunks[i];

	assert(i < h->nchunks && c->live);
	h->bytes -= ALIGN_UP(len, HOLD_ALIGN);
	if (--c->live)
		return;
	c->filled = 0;
	if (i == h->current)
		return;
	c->next_free = h->free;
	h->free = i;
}
