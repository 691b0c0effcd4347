/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for the data of one NBD connection's requests: runs of units, first fit. */
#ifndef DISK_NBD_POOL_H
#define DISK_NBD_POOL_H

#include "colod/disk/nbd-core.h"

/* Pages are the kernel's until they are used; the lowest units are used first. */
#define NBD_POOL_UNIT  (64u << 10)
#define NBD_POOL_UNITS 128u
#define NBD_POOL_BYTES ((size_t)NBD_POOL_UNIT * NBD_POOL_UNITS)

/* A connection whose requests have all ended can take any request. */
_Static_assert(NBD_POOL_BYTES >= NBD_BLOCK_MAX, "the largest request fits");

struct nbd_pool {
	uint8_t *base;
	bool used[NBD_POOL_UNITS];
};

/** nbd_pool_init() - 0 or -ENOMEM. */
int nbd_pool_init(struct nbd_pool *p);
void nbd_pool_destroy(struct nbd_pool *p);

/** nbd_pool_get() - @bytes in one piece, at least 1; NULL while there is no room. */
uint8_t *nbd_pool_get(struct nbd_pool *p, uint32_t bytes);
void nbd_pool_put(struct nbd_pool *p, uint8_t *at, uint32_t bytes);

/** nbd_pool_idle() - give the pages back to the kernel; nothing is in use. */
void nbd_pool_idle(struct nbd_pool *p);

#endif
