/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD server on a unix socket: disks by name for a backend that answers each request when it likes. */
#ifndef DISK_NBD_SERVER_H
#define DISK_NBD_SERVER_H

#include "base/list.h"
#include "base/loop.h"
#include "colod/disk/nbd-core.h"

/* Connections at a time over all exports: QEMU's, and one of an operator's tool. */
#define NBD_CONNS_MAX (2 * NBD_EXPORTS_MAX)
/* Requests of one connection begun and not yet answered to its socket, as many as QEMU's mirror has
 * on its way; at this many, or without memory for a request's data, nothing is read from that socket. */
#define NBD_IN_FLIGHT_MAX 16

struct nbd_server;
struct nbd_conn;

/**
 * struct nbd_request - one request in the hands of the backend
 * @link:   for a list of the backend's; nbd_request_done() takes it off
 * @export: index of the export
 * @cmd:    what is to be done; checked, it lies within the export
 * @data:   a write's data, or where a read's go; the backend may read and change it until
 *          nbd_request_done()
 */
struct nbd_request {
	struct list link;
	unsigned export;
	struct nbd_command cmd;
	uint8_t *data;

	/* The server's. */
	struct nbd_conn *conn;
	uint8_t state;
	uint8_t reply[NBD_REPLY_BYTES];
};

/**
 * struct nbd_backend - carries out requests; all on the loop's thread
 *
 * The first five are called in the order in which a connection's requests came. Each request ends
 * with exactly one nbd_request_done(), from within the call or any time later and in any order: an
 * acknowledgement that is held back costs its own connection its place, no other. rq->cmd.fua asks
 * for stable storage first, as @flush does for all that was acknowledged before.
 *
 * @zero:   rq->cmd.may_unmap: the range need not stay allocated
 * @trim:   the range's content is not needed any more
 * @cancel: the client of @rq, which the backend has, is gone; nbd_request_done() is still due, from
 *          within the call if that is possible, and what it says goes nowhere
 * @opened: a client has chosen that export. May be NULL
 * @closed: a connection is over, all its requests were cancelled; @export is NBD_EXPORT_UNKNOWN
 *          when it had none; @why is NULL when its client ended it in peace. May be NULL
 */
struct nbd_backend {
	void (*read)(void *arg, struct nbd_request *rq);
	void (*write)(void *arg, struct nbd_request *rq);
	void (*zero)(void *arg, struct nbd_request *rq);
	void (*trim)(void *arg, struct nbd_request *rq);
	void (*flush)(void *arg, struct nbd_request *rq);
	void (*cancel)(void *arg, struct nbd_request *rq);
	void (*opened)(void *arg, unsigned export);
	void (*closed)(void *arg, unsigned export, const struct err *why);
};

/**
 * nbd_server_start() - listen at @path, mode 0600, for root and our own user
 *
 * All memory is taken here but for what the loop needs per connection. @exports are copied, names
 * too; their order is their index. @backend and @arg are borrowed. -EINVAL for no or too many
 * exports or a name that cannot be, else as unix_listen().
 */
int nbd_server_start(struct nbd_server **out, struct loop *l, const char *path,
		     const struct nbd_export *exports, unsigned n_exports,
		     const struct nbd_backend *backend, void *arg, struct err *e);

/**
 * nbd_server_free() - hang up on all, remove the socket; NULL is fine
 *
 * Not from within the backend's callbacks. Requests that the backend did not end when it was told
 * to cancel them are void afterwards.
 */
void nbd_server_free(struct nbd_server *s);

/**
 * nbd_request_done() - answer @rq; @error is an errno of either sign, 0 for success
 *
 * @rq is not the caller's any more. Only on the loop's thread.
 */
void nbd_request_done(struct nbd_request *rq, int error);

/**
 * nbd_server_cut() - hang up on the clients of that export at once, whatever they wait for, and
 * refuse it to others; @why is what closed() will be told
 *
 * QEMU's `stop` waits for a mirror's target without limit. Its client connects again with the next
 * request, whatever its "reconnect-delay" (seen on 7.2): without the refusal blockdev-del would
 * hang on the flush that it begins with.
 */
void nbd_server_cut(struct nbd_server *s, unsigned export, const char *why);

/** nbd_server_admit() - let clients have that export again. All are to be had at the start. */
void nbd_server_admit(struct nbd_server *s, unsigned export);

/** nbd_server_clients() - how many have chosen that export and are connected. */
unsigned nbd_server_clients(const struct nbd_server *s, unsigned export);

#endif
