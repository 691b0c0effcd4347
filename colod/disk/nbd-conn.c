// SPDX-License-Identifier: GPL-2.0-or-later
/* One NBD client: its socket is read as far as there is room for requests; answers leave as given. */
#include "colod/disk/nbd-conn.h"

#include "base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Reads of one turn, so that a busy client does not keep the loop from the others. */
#define TURN_READS 64

enum request_state {
	REQUEST_FREE,
	REQUEST_COMING,   /* its data are being read */
	REQUEST_IN_WORK,  /* the backend has it */
	REQUEST_ANSWERED, /* its reply is being sent */
};

static void request_free(struct nbd_conn *c, struct nbd_request *rq)
{
	if (rq->data)
		nbd_pool_put(&c->pool, rq->data, rq->cmd.length);
	rq->data = NULL;
	rq->state = REQUEST_FREE;
	list_del(&rq->link);
}

/* A place for the command that has begun, with memory for its data; NULL while there is none. */
static struct nbd_request *request_new(struct nbd_conn *c)
{
	const struct nbd_command *cmd = nbd_core_command(&c->core);
	uint32_t bytes = nbd_command_buffer(cmd);

	for (unsigned i = 0; i < NBD_IN_FLIGHT_MAX; i++) {
		struct nbd_request *rq = &c->requests[i];

		if (rq->state != REQUEST_FREE)
			continue;
		rq->data = bytes ? nbd_pool_get(&c->pool, bytes) : NULL;
		if (bytes && !rq->data)
			return NULL;
		rq->cmd = *cmd;
		rq->export = nbd_core_export(&c->core);
		rq->state = REQUEST_COMING;
		return rq;
	}
	return NULL;
}

static bool has_output(const struct nbd_conn *c)
{
	const uint8_t *at;

	return !list_empty(&c->answers) || nbd_core_out(&c->core, &at);
}

static void conn_idle(struct nbd_conn *c)
{
	if (nbd_conn_is_free(c))
		nbd_pool_idle(&c->pool);
}

void nbd_conn_close(struct nbd_conn *c, const struct err *why)
{
	unsigned export = nbd_core_export(&c->core);

	if (c->fd < 0)
		return;
	loop_src_free(&c->io);
	close_fd(&c->fd);
	c->coming = NULL;
	for (unsigned i = 0; i < NBD_IN_FLIGHT_MAX; i++) {
		struct nbd_request *rq = &c->requests[i];

		if (rq->state == REQUEST_IN_WORK)
			c->backend->cancel(c->arg, rq);
		else if (rq->state != REQUEST_FREE)
			request_free(c, rq);
	}
	conn_idle(c);
	if (c->backend->closed)
		c->backend->closed(c->arg, export, why);
}

/* The connection ends when its turn does: a callback of the backend may be on the stack. */
static void conn_break(struct nbd_conn *c, int code, const char *what)
{
	if (!c->broken)
		err_errno(&c->why, code, "NBD client: %s", what);
	c->broken = true;
}

static void answer(struct nbd_request *rq, uint32_t error)
{
	struct nbd_conn *c = rq->conn;
	bool with_data = rq->cmd.type == NBD_CMD_READ && !error;

	if (rq->data && !with_data) {
		nbd_pool_put(&c->pool, rq->data, rq->cmd.length);
		rq->data = NULL;
	}
	nbd_encode_reply(rq->reply, rq->cmd.cookie, error);
	rq->state = REQUEST_ANSWERED;
	list_add_tail(&c->answers, &rq->link);
	if (!c->in_turn)
		loop_defer_arm(c->again);
}

void nbd_request_done(struct nbd_request *rq, int error)
{
	struct nbd_conn *c = rq->conn;

	assert(rq->state == REQUEST_IN_WORK);
	list_del(&rq->link);
	c->in_work--;
	if (c->fd >= 0) {
		answer(rq, nbd_error(error));
		return;
	}
	request_free(c, rq);
	conn_idle(c);
}

static void hand_over(struct nbd_request *rq)
{
	struct nbd_conn *c = rq->conn;
	const struct nbd_backend *b = c->backend;

	if (rq->cmd.error) {
		answer(rq, rq->cmd.error);
		return;
	}
	rq->state = REQUEST_IN_WORK;
	c->in_work++;
	switch ((enum nbd_type)rq->cmd.type) {
	case NBD_CMD_READ:
		b->read(c->arg, rq);
		return;
	case NBD_CMD_WRITE:
		b->write(c->arg, rq);
		return;
	case NBD_CMD_WRITE_ZEROES:
		b->zero(c->arg, rq);
		return;
	case NBD_CMD_TRIM:
		b->trim(c->arg, rq);
		return;
	case NBD_CMD_FLUSH:
		b->flush(c->arg, rq);
		return;
	case NBD_CMD_DISC:
		break;
	}
	nbd_request_done(rq, EINVAL);
}

/* What the answers have still to say, from byte c->sent of the first one on. */
static int collect(const struct nbd_conn *c, struct iovec *iov)
{
	size_t skip = c->sent;
	struct list *pos, *tmp;
	int n = 0;

	list_for_each_safe (pos, tmp, &c->answers) {
		struct nbd_request *rq = list_entry(pos, struct nbd_request, link);

		if (skip < NBD_REPLY_BYTES) {
			iov[n++] = (struct iovec){rq->reply + skip, NBD_REPLY_BYTES - skip};
			skip = 0;
		} else {
			skip -= NBD_REPLY_BYTES;
		}
		if (rq->data)
			iov[n++] = (struct iovec){rq->data + skip, rq->cmd.length - skip};
		skip = 0;
	}
	return n;
}

static void forget_sent(struct nbd_conn *c, size_t n)
{
	c->sent += n;
	while (!list_empty(&c->answers)) {
		struct nbd_request *rq = list_entry(c->answers.next, struct nbd_request, link);
		size_t bytes = NBD_REPLY_BYTES + (rq->data ? rq->cmd.length : 0);

		if (c->sent < bytes)
			return;
		c->sent -= bytes;
		request_free(c, rq);
	}
}

/* The negotiation's output comes first: no command is read before it is gone. */
static void conn_flush(struct nbd_conn *c)
{
	while (!c->broken && has_output(c)) {
		struct iovec iov[2 * NBD_IN_FLIGHT_MAX];
		struct msghdr m = {.msg_iov = iov};
		const uint8_t *at;
		size_t out = nbd_core_out(&c->core, &at);
		ssize_t n;

		if (out)
			iov[m.msg_iovlen++] = (struct iovec){(void *)at, out};
		else
			m.msg_iovlen = (size_t)collect(c, iov);
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			conn_break(c, errno, "cannot answer");
		else if (n > 0 && out)
			nbd_core_sent(&c->core, (size_t)n);
		else if (n > 0)
			forget_sent(c, (size_t)n);
	}
}

/* false: it has to wait for another request's end. */
static bool take_command(struct nbd_conn *c, int *event)
{
	c->coming = request_new(c);
	if (!c->coming)
		return false;
	*event = (int)nbd_core_take(&c->core, c->coming->data);
	return true;
}

/* Go on from what the core told. */
static void on_event(struct nbd_conn *c, int event)
{
	if (event == NBD_TAKE && !take_command(c, &event))
		return;
	switch (event) {
	case NBD_TAKEN:
		hand_over(steal_ptr(&c->coming));
		break;
	case NBD_ATTACHED:
		if (c->backend->opened)
			c->backend->opened(c->arg, nbd_core_export(&c->core));
		break;
	case NBD_BYE:
		c->bye = true;
		break;
	default:
		break;
	}
}

/* One read; false when there is nothing more to read for now. */
static bool conn_read(struct nbd_conn *c)
{
	uint8_t *at;
	size_t room = nbd_core_room(&c->core, &at);
	ssize_t n;
	int r;

	if (!room)
		return false;
	n = recv(c->fd, at, room, MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_break(c, errno, "cannot read");
		return false;
	}
	if (!n) {
		conn_break(c, ECONNRESET, "hung up");
		return false;
	}
	r = nbd_core_filled(&c->core, (size_t)n, &c->why);
	if (r < 0) {
		c->broken = true;
		return false;
	}
	on_event(c, r);
	return (size_t)n == room;
}

/* A command that has begun may find its place when answers have left. */
static void conn_unblock(struct nbd_conn *c)
{
	if (c->fd < 0 || c->core.state != NBD_UNTAKEN)
		return;
	conn_flush(c);
	on_event(c, NBD_TAKE);
}

static void conn_turn(struct nbd_conn *c)
{
	c->in_turn = true;
	conn_flush(c);
	conn_unblock(c);
	/* The backend may cut the connection at any time. */
	for (unsigned i = 0; i < TURN_READS && c->fd >= 0 && !c->broken; i++) {
		if (!conn_read(c))
			break;
		conn_unblock(c);
	}
	if (c->fd >= 0)
		conn_flush(c);
	/* Not to be left without a place that this has made: nothing else would wake us. */
	conn_unblock(c);
	c->in_turn = false;
}

/* Ask the loop for exactly what can bring this connection further, or end it. */
static void conn_update(struct nbd_conn *c)
{
	uint32_t events = 0;
	uint8_t *at;

	if (c->fd < 0)
		return;
	if (c->broken) {
		nbd_conn_close(c, &c->why);
		return;
	}
	if (c->bye && !c->in_work && !has_output(c)) {
		nbd_conn_close(c, NULL);
		return;
	}
	if (nbd_core_room(&c->core, &at))
		events |= EPOLLIN;
	if (has_output(c))
		events |= EPOLLOUT;
	loop_io_events(c->io, events);
}

static void on_io(void *arg, int fd, uint32_t revents)
{
	struct nbd_conn *c = arg;

	(void)fd;
	conn_turn(c);
	/* Gone for good, not only for writing: nobody is left to answer to. */
	if (c->fd >= 0 && revents & (EPOLLHUP | EPOLLERR)) {
		if (c->bye)
			nbd_conn_close(c, NULL);
		else
			conn_break(c, ECONNRESET, "hung up");
	}
	conn_update(c);
}

static void on_again(void *arg)
{
	struct nbd_conn *c = arg;

	if (c->fd < 0)
		return;
	conn_turn(c);
	conn_update(c);
}

int nbd_conn_init(struct nbd_conn *c, struct loop *l, const struct nbd_backend *b, void *arg)
{
	int r;

	c->loop = l;
	c->backend = b;
	c->arg = arg;
	c->fd = -1;
	list_init(&c->answers);
	for (unsigned i = 0; i < NBD_IN_FLIGHT_MAX; i++) {
		c->requests[i].conn = c;
		list_init(&c->requests[i].link);
	}
	r = loop_add_defer(l, &c->again, on_again, c);
	return r ? r : nbd_pool_init(&c->pool);
}

void nbd_conn_destroy(struct nbd_conn *c)
{
	loop_src_free(&c->again);
	nbd_pool_destroy(&c->pool);
}

int nbd_conn_open(struct nbd_conn *c, int fd, const struct nbd_export *exports, unsigned n_exports)
{
	int r = loop_add_io(c->loop, &c->io, fd, EPOLLIN | EPOLLOUT, on_io, c);

	if (r) {
		close(fd);
		return r;
	}
	c->fd = fd;
	c->sent = 0;
	c->bye = c->broken = false;
	nbd_core_init(&c->core, exports, n_exports);
	return 0;
}
