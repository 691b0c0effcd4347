/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the server's files: one connection. */
#ifndef DISK_NBD_CONN_H
#define DISK_NBD_CONN_H

#include "colod/disk/nbd-pool.h"
#include "colod/disk/nbd-server.h"

/* struct nbd_conn - a place for a connection; free while @fd is -1 and no request is in work. */
struct nbd_conn {
	const struct nbd_backend *backend;
	void *arg;
	struct loop *loop;
	int fd;
	struct loop_src *io, *again;
	struct nbd_core core;
	struct nbd_pool pool;
	struct nbd_request requests[NBD_IN_FLIGHT_MAX];
	struct nbd_request *coming; /* its data are being read */
	struct list answers;        /* to be sent, in the order in which they were given */
	size_t sent;                /* of the first of them */
	unsigned in_work;           /* requests that the backend has */
	bool in_turn, bye, broken;
	struct err why; /* it is broken */
};

/* nbd_conn_init() - an unused place. */
int nbd_conn_init(struct nbd_conn *c, struct loop *l, const struct nbd_backend *b, void *arg);

/* nbd_conn_destroy() - nbd_conn_init() undone; fine for one that is zeroed. */
void nbd_conn_destroy(struct nbd_conn *c);

static inline bool nbd_conn_is_free(const struct nbd_conn *c)
{
	return c->fd < 0 && !c->in_work;
}

/* nbd_conn_open() - serve @exports to the client behind @fd, which is taken over, also on error. */
int nbd_conn_open(struct nbd_conn *c, int fd, const struct nbd_export *exports, unsigned n_exports);

/* nbd_conn_close() - hang up now; @why is NULL for an end in peace. Harmless for a free place. */
void nbd_conn_close(struct nbd_conn *c, const struct err *why);

#endif
