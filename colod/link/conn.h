/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One non-blocking connection that carries whole wire messages, buffered in both directions. */
#ifndef LINK_CONN_H
#define LINK_CONN_H

#include "base/loop.h"
#include "colod/core/wire.h"

#define CONN_BUF_BYTES (64 * 1024)

/**
 * struct conn - connected TCP socket on the loop
 * @on_message: one whole message; the callee may close the connection
 * @on_closed:  broken or ended by the peer; the socket is closed already
 */
struct conn {
	struct loop_src *src;
	int fd;
	uint8_t in[CONN_BUF_BYTES], out[CONN_BUF_BYTES];
	size_t in_len, out_len;
	uint64_t last_heard_us;
	bool exact; /* take no byte behind a message out of the socket: it may be another reader's */
	void (*on_message)(struct conn *c, const struct wire_msg *m);
	void (*on_closed)(struct conn *c, const struct err *reason);
};

/** conn_open() - run @fd (non-blocking, taken over also on error) on the loop. */
int conn_open(struct conn *c, struct loop *l, int fd, struct err *e);
void conn_close(struct conn *c);

/** conn_send() - queue and try at once. -ENOBUFS when the peer does not read. */
int conn_send(struct conn *c, const struct wire_msg *m);

/** conn_poll() - take in what waits in the socket without the loop; may close the connection. */
void conn_poll(struct conn *c);

/** conn_steal() - take the socket out; what was read already must have been consumed. -EPROTO if
 * not. */
int conn_steal(struct conn *c);

static inline bool conn_is_open(const struct conn *c)
{
	return c->fd >= 0;
}

#endif
