// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a control connection fed in pieces whose sizes the input chooses. */
#include "colod/link/conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same stream must give the same messages whatever its pieces were. */
struct heard {
	struct conn conn;
	unsigned messages, closed;
	uint64_t types; /* in order, mixed into a number */
	int error;
};

static struct loop *loop;

static void on_message(struct conn *c, const struct wire_msg *m)
{
	struct heard *h = container_of(c, struct heard, conn);

	assert(!h->closed && conn_is_open(c));
	h->messages++;
	h->types = h->types * 31 + m->type;
}

static void on_closed(struct conn *c, const struct err *why)
{
	struct heard *h = container_of(c, struct heard, conn);

	assert(!h->closed && !conn_is_open(c) && why->msg[0]);
	h->closed++;
	h->error = why->code;
}

static void feed(struct heard *h, const uint8_t *data, size_t size, size_t piece)
{
	struct err e;
	int p[2];

	memset(h, 0, sizeof(*h));
	h->conn.on_message = on_message;
	h->conn.on_closed = on_closed;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p) ||
	    conn_open(&h->conn, loop, p[0], &e))
		abort();
	while (size && conn_is_open(&h->conn)) {
		size_t n = MIN(piece, size);

		if (send(p[1], data, n, MSG_NOSIGNAL) != (ssize_t)n)
			abort();
		conn_poll(&h->conn);
		data += n;
		size -= n;
	}
	close(p[1]);
	while (conn_is_open(&h->conn))
		conn_poll(&h->conn);
	assert(h->closed == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct heard whole, pieces;

	if (!loop && loop_new(&loop, NULL))
		abort();
	if (!size)
		return 0;
	feed(&whole, data + 1, size - 1, size);
	feed(&pieces, data + 1, size - 1, data[0] + 1u);
	assert(whole.messages == pieces.messages && whole.types == pieces.types);
	assert(whole.error == pieces.error);
	return 0;
}
