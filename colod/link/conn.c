// SPDX-License-Identifier: GPL-2.0-or-later
/* One buffered connection: bytes to messages and back. */
#include "colod/link/conn.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void conn_close(struct conn *c)
{
	loop_src_free(&c->src);
	close_fd(&c->fd);
	c->in_len = c->out_len = 0;
}

static void break_off(struct conn *c, const struct err *why)
{
	conn_close(c);
	c->on_closed(c, why);
}

/* Hand out the first whole message. 1: one was there, 0: more bytes needed, -errno: garbage. */
static int next_message(struct conn *c, struct wire_msg *m, struct err *e)
{
	struct wire_header h;
	size_t whole;
	int r;

	if (c->in_len < WIRE_HEADER_BYTES)
		return 0;
	r = wire_decode_header(&h, c->in, e);
	if (r)
		return r;
	if (wire_is_bulk_frame(h.type))
		return err_set(e, EPROTO, "peer sent %s on the control connection",
			       wire_type_name(h.type));
	whole = WIRE_HEADER_BYTES + h.length;
	if (c->in_len < whole)
		return 0;
	r = wire_decode(m, &h, c->in + WIRE_HEADER_BYTES, e);
	if (r)
		return r;
	c->in_len -= whole;
	memmove(c->in, c->in + whole, c->in_len);
	return 1;
}

static void consume(struct conn *c)
{
	struct wire_msg m;
	struct err e;
	int r = 0;

	while (conn_is_open(c) && (r = next_message(c, &m, &e)) > 0)
		c->on_message(c, &m);
	if (conn_is_open(c) && r < 0)
		break_off(c, &e);
}

/* How much may be read at once. */
static size_t room(const struct conn *c)
{
	struct wire_header h;
	struct err e;

	if (!c->exact)
		return sizeof(c->in) - c->in_len;
	if (c->in_len < WIRE_HEADER_BYTES)
		return WIRE_HEADER_BYTES - c->in_len;
	if (wire_decode_header(&h, c->in, &e))
		return 1; /* which will be found out */
	return WIRE_HEADER_BYTES + h.length - c->in_len;
}

static void receive(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, room(c), MSG_DONTWAIT);
	struct err e;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (n < 0)
			err_errno(&e, errno, "connection broken");
		else
			err_set(&e, ECONNRESET, "connection closed by the peer");
		break_off(c, &e);
		return;
	}
	c->in_len += (size_t)n;
	c->last_heard_us = clock_now_us();
	consume(c);
}

static void flush(struct conn *c)
{
	ssize_t n = send(c->fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* A broken connection is reported by the read side. */
	if (n > 0) {
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	loop_io_events(c->src, c->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void on_io(void *arg, int fd, uint32_t revents)
{
	struct conn *c = arg;

	(void)fd;
	if (revents & EPOLLOUT)
		flush(c);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(c);
}

int conn_open(struct conn *c, struct loop *l, int fd, struct err *e)
{
	int r;

	c->fd = fd;
	c->in_len = c->out_len = 0;
	c->last_heard_us = clock_now_us();
	r = loop_add_io(l, &c->src, fd, EPOLLIN, on_io, c);
	if (r) {
		close_fd(&c->fd);
		return err_errno(e, -r, "connection");
	}
	return 0;
}

int conn_send(struct conn *c, const struct wire_msg *m)
{
	if (!conn_is_open(c))
		return -ENOTCONN;
	if (sizeof(c->out) - c->out_len < WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES)
		return -ENOBUFS;
	c->out_len += wire_encode(m, c->out + c->out_len);
	flush(c);
	return 0;
}

void conn_poll(struct conn *c)
{
	if (conn_is_open(c))
		receive(c);
}

int conn_steal(struct conn *c)
{
	int fd;

	if (c->in_len || c->out_len)
		return -EPROTO;
	fd = steal_fd(&c->fd);
	conn_close(c);
	return fd;
}
