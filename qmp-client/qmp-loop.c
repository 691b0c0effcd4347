// SPDX-License-Identifier: GPL-2.0-or-later
/* Adapter: socket reads, queued writes and the deadline timer for a QMP client in an event loop. */
#include "qmp-client/qmp-loop.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define READ_SIZE (64 * KIB)

/* Bytes that wait for the socket; a descriptor goes with the first of them. */
struct chunk {
	struct list link;
	int fd;
	size_t pos, len;
	char data[];
};

struct qmp_loop {
	struct loop *loop;
	struct qmp_client *client;
	int sock; /* -1 once the connection is over */
	struct loop_src *io, *timer;
	uint64_t armed_us; /* when the timer fires, UINT64_MAX when it is off */
	struct qmp_loop_handlers handlers;
	void *arg;
	struct list out;
	bool corked, wants_out;
	unsigned int busy; /* as in the client: the last one out frees */
	bool freed;
	char buf[READ_SIZE];
};

static void chunk_free(struct chunk *k)
{
	list_del(&k->link);
	close_fd(&k->fd);
	free(k);
}

/* The last chunk with room for @len bytes more; NULL, and as before, without memory. */
static struct chunk *chunk_grow(struct qmp_loop *q, size_t len)
{
	struct chunk *k = list_entry(q->out.prev, struct chunk, link), *bigger;

	list_del(&k->link);
	bigger = realloc(k, sizeof(*k) + k->len + len);
	k = bigger ?: k;
	list_add_tail(&q->out, &k->link);
	return bigger;
}

static struct chunk *chunk_new(struct qmp_loop *q, size_t len)
{
	struct chunk *k = malloc(sizeof(*k) + len);

	if (!k)
		return NULL;
	*k = (struct chunk){.fd = -1};
	list_add_tail(&q->out, &k->link);
	return k;
}

/* The descriptor is duplicated: a bad one is noticed while its command can still be refused. */
static int out_add(struct qmp_loop *q, const char *buf, size_t len, int fd)
{
	autoclose int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct chunk *k;

	if (fd >= 0 && own < 0)
		return -errno;
	k = fd < 0 && !list_empty(&q->out) ? chunk_grow(q, len) : chunk_new(q, len);
	if (!k)
		return -ENOMEM;
	if (own >= 0)
		k->fd = steal_fd(&own);
	memcpy(k->data + k->len, buf, len);
	k->len += len;
	return 0;
}

/* Bytes taken by the socket, which may be none, or -errno. */
static ssize_t try_send(int sock, const char *buf, size_t len, int fd)
{
	ssize_t n;

	do {
		if (fd >= 0) {
			n = io_send_fd(sock, buf, len, fd);
		} else {
			n = send(sock, buf, len, MSG_NOSIGNAL);
			n = n < 0 ? -errno : n;
		}
	} while (n == -EINTR);
	return n == -EAGAIN ? 0 : n;
}

static void want_out(struct qmp_loop *q)
{
	bool want = !list_empty(&q->out) && !q->corked;

	if (q->sock < 0 || want == q->wants_out)
		return;
	q->wants_out = want;
	loop_io_events(q->io, EPOLLIN | (want ? EPOLLOUT : 0));
}

/* 0 also when the socket is full. */
static int flush(struct qmp_loop *q)
{
	while (!list_empty(&q->out)) {
		struct chunk *k = list_entry(q->out.next, struct chunk, link);
		ssize_t n = try_send(q->sock, k->data + k->pos, k->len - k->pos, k->fd);

		if (n < 0)
			return (int)n;
		if (!n)
			return 0;
		close_fd(&k->fd);
		k->pos += (size_t)n;
		if (k->pos == k->len)
			chunk_free(k);
	}
	return 0;
}

static int on_write(void *arg, const void *buf, size_t len, int fd)
{
	struct qmp_loop *q = arg;
	ssize_t n = 0;
	int r;

	if (list_empty(&q->out) && !q->corked)
		n = try_send(q->sock, buf, len, fd);
	if (n < 0 || (size_t)n == len)
		return n < 0 ? (int)n : 0;
	r = out_add(q, (const char *)buf + n, len - (size_t)n, n ? -1 : fd);
	/* Half a command is out: the stream is of no more use, and the loop will see its end. */
	if (r < 0 && n)
		shutdown(q->sock, SHUT_RDWR);
	want_out(q);
	return r;
}

static void on_ready(void *arg)
{
	struct qmp_loop *q = arg;

	if (q->handlers.ready)
		q->handlers.ready(q->arg);
}

static void disconnect(struct qmp_loop *q)
{
	loop_src_free(&q->io);
	loop_src_free(&q->timer);
	close_fd(&q->sock);
	while (!list_empty(&q->out))
		chunk_free(list_entry(q->out.next, struct chunk, link));
}

static void on_closed(void *arg, const struct err *reason)
{
	struct qmp_loop *q = arg;

	disconnect(q);
	if (q->handlers.closed)
		q->handlers.closed(q->arg, reason);
}

static void leave(struct qmp_loop *q)
{
	if (!--q->busy && q->freed)
		free(q);
}

/* The timer is only ever moved forward: deadlines that were met in time cost no system call. */
static void watch_deadline(struct qmp_loop *q)
{
	uint64_t next, now;

	if (q->sock < 0)
		return;
	next = qmp_client_deadline(q->client);
	if (next >= q->armed_us)
		return;
	now = clock_now_us();
	q->armed_us = next;
	loop_timer_arm(q->timer, next > now ? next - now : 0);
}

static void lost(struct qmp_loop *q, int err)
{
	struct err e = {};

	if (err)
		err_errno(&e, err, "the QMP connection failed");
	else
		err_set(&e, ECONNRESET, "QEMU closed the QMP connection: it exited or was killed");
	qmp_client_eof(q->client, &e);
}

static void on_readable(struct qmp_loop *q)
{
	ssize_t n = recv(q->sock, q->buf, sizeof(q->buf), 0);

	if (n > 0)
		qmp_client_feed(q->client, q->buf, (size_t)n, clock_now_us());
	else if (!n || errno == ECONNRESET)
		lost(q, 0);
	else if (errno != EAGAIN && errno != EINTR)
		lost(q, errno);
}

static void on_io(void *arg, int fd, uint32_t revents)
{
	struct qmp_loop *q = arg;
	int r;

	(void)fd;
	q->busy++;
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		on_readable(q);
	if (q->sock >= 0 && !q->corked && (r = flush(q)) < 0)
		lost(q, -r);
	want_out(q);
	watch_deadline(q);
	leave(q);
}

static void on_timer(void *arg)
{
	struct qmp_loop *q = arg;

	q->busy++;
	q->armed_us = UINT64_MAX;
	qmp_client_tick(q->client, clock_now_us());
	watch_deadline(q);
	leave(q);
}

static const struct qmp_client_ops client_ops = {
	.write = on_write,
	.ready = on_ready,
	.closed = on_closed,
};

static int set_up(struct qmp_loop *q)
{
	int flags = fcntl(q->sock, F_GETFL), r;

	if (flags < 0 || fcntl(q->sock, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	r = loop_add_io(q->loop, &q->io, q->sock, EPOLLIN, on_io, q);
	if (r < 0)
		return r;
	r = loop_add_timer(q->loop, &q->timer, on_timer, q);
	if (r < 0)
		return r;
	return qmp_client_new(&q->client, &client_ops, q);
}

int qmp_loop_new(struct qmp_loop **out, struct loop *l, int sock, const struct qmp_loop_handlers *h,
		 void *arg, struct err *e)
{
	autoclose int own = sock;
	struct qmp_loop *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_errno(e, ENOMEM, "QMP connection");
	q->loop = l;
	q->sock = steal_fd(&own);
	q->armed_us = UINT64_MAX;
	q->handlers = h ? *h : (struct qmp_loop_handlers){};
	q->arg = arg;
	list_init(&q->out);
	r = set_up(q);
	if (r < 0) {
		qmp_loop_free(q);
		return err_errno(e, -r, "cannot use the QMP socket");
	}
	qmp_client_tick(q->client, clock_now_us());
	watch_deadline(q);
	*out = q;
	return 0;
}

void qmp_loop_free(struct qmp_loop *q)
{
	if (!q || q->freed)
		return;
	q->freed = true;
	q->busy++;
	disconnect(q);
	qmp_client_free(q->client);
	leave(q);
}

struct qmp_client *qmp_loop_client(struct qmp_loop *q)
{
	return q->client;
}

int qmp_loop_send(struct qmp_loop *q, const struct qmp_cmd *cmd)
{
	int r = qmp_client_send(q->client, cmd, clock_now_us());

	watch_deadline(q);
	return r;
}

int qmp_loop_prime(struct qmp_loop *q)
{
	return qmp_client_prime(q->client);
}

int qmp_loop_run_job(struct qmp_loop *q, const struct qmp_cmd *cmd)
{
	int r = qmp_client_run_job(q->client, cmd, clock_now_us());

	watch_deadline(q);
	return r;
}

void qmp_loop_cork(struct qmp_loop *q)
{
	q->corked = true;
}

void qmp_loop_uncork(struct qmp_loop *q)
{
	q->corked = false;
	/* An error shows again in the loop, where the connection may be ended. */
	if (q->sock >= 0)
		flush(q);
	want_out(q);
}
