// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory of a fixed size from the start: pages that cost nothing until they are used, and a pool of records in them. */
#include "base/pool.h"

#include "base/util.h"

#include <errno.h>
#include <sys/mman.h>

#define POOL_ALIGN 16

void *map_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int pool_init(struct pool *p, uint32_t count, size_t size)
{
	*p = (struct pool){.size = ALIGN_UP(size, POOL_ALIGN), .count = count};
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
