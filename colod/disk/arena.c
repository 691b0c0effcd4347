// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory of a fixed size for the bytes of extents. */
#include "colod/disk/arena.h"

#include "base/pool.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct arena_chunk {
	uint32_t live, filled; /* bytes in use; bytes given out since it was empty */
	uint32_t next_free;
	bool filling; /* it is somebody's arena_fill */
};

static void set_free(struct arena *a, uint32_t i)
{
	a->chunks[i].next_free = a->free;
	a->free = i;
	a->nfree++;
}

int arena_init(struct arena *a, uint64_t max_bytes)
{
	uint64_t n = DIV_ROUND_UP(max_bytes, ARENA_CHUNK);

	*a = (struct arena){.nchunks = (uint32_t)n, .free = ARENA_NO_CHUNK};
	if (!n || n >= ARENA_NO_CHUNK)
		return -ENOMEM;
	a->base = map_pages(n * ARENA_CHUNK);
	a->chunks = calloc(n, sizeof(a->chunks[0]));
	if (!a->base || !a->chunks) {
		arena_destroy(a);
		return -ENOMEM;
	}
	while (n--)
		set_free(a, (uint32_t)n);
	return 0;
}

void arena_destroy(struct arena *a)
{
	if (a->base)
		munmap(a->base, (size_t)a->nchunks * ARENA_CHUNK);
	free(a->chunks);
	a->base = NULL;
	a->chunks = NULL;
}

static uint32_t room_in_chunk(const struct arena *a, const struct arena_fill *f)
{
	return f->chunk == ARENA_NO_CHUNK ? 0 : ARENA_CHUNK - a->chunks[f->chunk].filled;
}

uint64_t arena_room(const struct arena *a, const struct arena_fill *f)
{
	return room_in_chunk(a, f) + (uint64_t)a->nfree * ARENA_CHUNK;
}

uint8_t *arena_get(struct arena *a, struct arena_fill *f, uint64_t *len)
{
	struct arena_chunk *c;
	uint8_t *p;

	if (!room_in_chunk(a, f)) {
		if (a->free == ARENA_NO_CHUNK)
			return NULL;
		arena_leave(a, f);
		f->chunk = a->free;
		c = &a->chunks[f->chunk];
		a->free = c->next_free;
		a->nfree--;
		c->filling = true;
	}
	c = &a->chunks[f->chunk];
	*len = MIN(*len, ARENA_CHUNK - c->filled);
	p = a->base + (size_t)f->chunk * ARENA_CHUNK + c->filled;
	c->filled += (uint32_t)*len;
	c->live += (uint32_t)*len;
	a->live += *len;
	return p;
}

void arena_put(struct arena *a, const uint8_t *bytes, uint64_t len)
{
	uint32_t i = (uint32_t)((size_t)(bytes - a->base) / ARENA_CHUNK);
	struct arena_chunk *c = &a->chunks[i];

	assert(i < a->nchunks && len <= c->live);
	a->live -= len;
	c->live -= (uint32_t)len;
	if (c->live)
		return;
	c->filled = 0;
	if (!c->filling)
		set_free(a, i);
}

void arena_leave(struct arena *a, struct arena_fill *f)
{
	if (f->chunk == ARENA_NO_CHUNK)
		return;
	a->chunks[f->chunk].filling = false;
	if (!a->chunks[f->chunk].live)
		set_free(a, f->chunk);
	f->chunk = ARENA_NO_CHUNK;
}
