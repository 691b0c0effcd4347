// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory for held packets: a pool of records and an arena for their bytes, both of fixed size. */
#include "proxy/hold.h"

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

static void *map_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int pool_init(struct pool *p, uint32_t count, size_t size)
{
	*p = (struct pool){.size = ALIGN_UP(size, HOLD_ALIGN), .count = count};
	p->base = map_pages(p->size * MAX(count, 1));
	return p->base ? 0 : -ENOMEM;
}

void pool_destroy(struct pool *p)
{
	if (p->base)
		munmap(p->base, p->size * MAX(p->count, 1));
	p->base = NULL;
}

void *pool_get(struct pool *p)
{
	void *r = p->free;

	if (r)
		p->free = *(void **)r;
	else if (p->fresh < p->count)
		r = p->base + p->size * p->fresh++;
	else
		return NULL;
	p->used++;
	return r;
}

void pool_put(struct pool *p, void *record)
{
	*(void **)record = p->free;
	p->free = record;
	p->used--;
}

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
