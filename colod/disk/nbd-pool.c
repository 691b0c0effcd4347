// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs of units in a mapping that is made once. */
#include "colod/disk/nbd-pool.h"

#include "base/pool.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int nbd_pool_init(struct nbd_pool *p)
{
	memset(p->used, 0, sizeof(p->used));
	p->base = map_pages(NBD_POOL_BYTES);
	return p->base ? 0 : -ENOMEM;
}

void nbd_pool_destroy(struct nbd_pool *p)
{
	if (p->base)
		munmap(p->base, NBD_POOL_BYTES);
	p->base = NULL;
}

uint8_t *nbd_pool_get(struct nbd_pool *p, uint32_t bytes)
{
	unsigned want = DIV_ROUND_UP(bytes, NBD_POOL_UNIT), run = 0;

	for (unsigned i = 0; i < NBD_POOL_UNITS; i++) {
		run = p->used[i] ? 0 : run + 1;
		if (run < want)
			continue;
		i -= want - 1;
		memset(p->used + i, true, want);
		return p->base + (size_t)i * NBD_POOL_UNIT;
	}
	return NULL;
}

void nbd_pool_put(struct nbd_pool *p, uint8_t *at, uint32_t bytes)
{
	size_t first = (size_t)(at - p->base) / NBD_POOL_UNIT;
	unsigned n = DIV_ROUND_UP(bytes, NBD_POOL_UNIT);

	assert(first + n <= NBD_POOL_UNITS && p->used[first] && p->used[first + n - 1]);
	memset(p->used + first, false, n);
}

void nbd_pool_idle(struct nbd_pool *p)
{
	madvise(p->base, NBD_POOL_BYTES, MADV_DONTNEED);
}
