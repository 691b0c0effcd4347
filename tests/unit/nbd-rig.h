/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An NBD server over disks in memory, which does as it is told with requests, and clients of it. */
#ifndef TESTS_UNIT_NBD_RIG_H
#define TESTS_UNIT_NBD_RIG_H

#include "base/cleanup.h"
#include "colod/disk/nbd-server.h"
#include "tests/unit/nbd-client.h"
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/un.h>

#define RIG_DISKS       2
#define RIG_HELD_MAX    64
#define RIG_DISK_BYTES  (4 * MIB)
#define RIG_OTHER_BYTES (64 * KIB)

/* Each field is the loop's thread's. */
struct rig {
	struct loop *loop;
	struct nbd_server *server;
	char dir[32], path[64];
	struct nbd_export exports[RIG_DISKS];
	uint8_t *bytes[RIG_DISKS];
	bool hold[RIG_DISKS]; /* requests are kept in @held */
	bool late;            /* a cancelled request is not given back at once */
	int error;            /* what requests end with */
	unsigned cut_at;      /* cut the export when so many requests have come */
	struct nbd_request *held[RIG_HELD_MAX];
	unsigned n_held, n_requests, n_flushes, n_fua, n_no_unmap, n_cancelled, n_opened, n_closed;
	unsigned closed_export;
	bool closed_in_peace;
	struct err why;
};

static inline void rig_hold(struct rig *r, struct nbd_request *rq)
{
	assert_true(r->n_held < RIG_HELD_MAX);
	r->held[r->n_held++] = rq;
}

/* Whatever a request does to the bytes is done by now. */
static inline void rig_end(struct rig *r, struct nbd_request *rq)
{
	unsigned export = rq->export;

	r->n_fua += rq->cmd.fua;
	if (++r->n_requests == r->cut_at)
		nbd_server_cut(r->server, export, "cut by the backend");
	if (r->hold[export])
		rig_hold(r, rq);
	else
		nbd_request_done(rq, r->error);
}

static inline void rig_read(void *arg, struct nbd_request *rq)
{
	struct rig *r = arg;

	memcpy(rq->data, r->bytes[rq->export] + rq->cmd.offset, rq->cmd.length);
	rig_end(r, rq);
}

static inline void rig_write(void *arg, struct nbd_request *rq)
{
	struct rig *r = arg;

	memcpy(r->bytes[rq->export] + rq->cmd.offset, rq->data, rq->cmd.length);
	rig_end(r, rq);
}

static inline void rig_zero(void *arg, struct nbd_request *rq)
{
	struct rig *r = arg;

	r->n_no_unmap += rq->cmd.type == NBD_CMD_WRITE_ZEROES && !rq->cmd.may_unmap;
	memset(r->bytes[rq->export] + rq->cmd.offset, 0, rq->cmd.length);
	rig_end(r, rq);
}

static inline void rig_flush(void *arg, struct nbd_request *rq)
{
	struct rig *r = arg;

	r->n_flushes++;
	rig_end(r, rq);
}

static inline void rig_cancel(void *arg, struct nbd_request *rq)
{
	struct rig *r = arg;

	r->n_cancelled++;
	if (r->late)
		return;
	for (unsigned i = 0; i < r->n_held; i++) {
		if (r->held[i] != rq)
			continue;
		r->held[i] = r->held[--r->n_held];
		nbd_request_done(rq, ECANCELED);
		return;
	}
}

static inline void rig_opened(void *arg, unsigned export)
{
	struct rig *r = arg;

	assert_true(export < RIG_DISKS);
	r->n_opened++;
}

static inline void rig_closed(void *arg, unsigned export, const struct err *why)
{
	struct rig *r = arg;

	r->n_closed++;
	r->closed_export = export;
	r->closed_in_peace = !why;
	r->why = why ? *why : (struct err){};
	assert_true(!why || (why->code && why->msg[0]));
}

/* The i-th of the held ones is done. */
static inline void rig_done(struct rig *r, unsigned i, int error)
{
	struct nbd_request *rq = r->held[i];

	memmove(r->held + i, r->held + i + 1, (--r->n_held - i) * sizeof(*r->held));
	nbd_request_done(rq, error);
}

static const struct nbd_backend rig_backend = {
	.read = rig_read,
	.write = rig_write,
	.zero = rig_zero,
	.trim = rig_zero,
	.flush = rig_flush,
	.cancel = rig_cancel,
	.opened = rig_opened,
	.closed = rig_closed,
};

/* On @loop, which stays the caller's. */
static inline void rig_start(struct rig *r, struct loop *loop, size_t bytes, size_t other_bytes)
{
	struct err e = {};

	memset(r, 0, sizeof(*r));
	r->loop = loop;
	strcpy(r->dir, "/tmp/colod-nbd-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/socket", r->dir);
	r->exports[0] = (struct nbd_export){"disk0", bytes};
	r->exports[1] = (struct nbd_export){"other", other_bytes};
	for (unsigned i = 0; i < RIG_DISKS; i++) {
		r->bytes[i] = calloc(1, r->exports[i].bytes);
		assert_non_null(r->bytes[i]);
	}
	assert_ok(nbd_server_start(&r->server, r->loop, r->path, r->exports, RIG_DISKS,
				   &rig_backend, r, &e),
		  &e);
}

static inline void rig_stop(struct rig *r)
{
	nbd_server_free(r->server);
	for (unsigned i = 0; i < RIG_DISKS; i++)
		free(r->bytes[i]);
	assert_int_equal(rmdir(r->dir), 0); /* the server has removed its socket */
}

/* A rig of its own loop, for a test that needs no more. */
static inline int rig_setup(void **state)
{
	struct rig *r = malloc(sizeof(*r));
	struct loop *loop;

	assert_non_null(r);
	assert_int_equal(loop_new(&loop, NULL), 0);
	rig_start(r, loop, RIG_DISK_BYTES, RIG_OTHER_BYTES);
	*state = r;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct rig *r = *state;

	rig_stop(r);
	loop_free(r->loop);
	free(r);
	return 0;
}

static inline int rig_connect(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sa.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return -errno;
	return steal_fd(&fd);
}

/* Send it all, turning the loop while the socket is full. */
static inline void rig_send(struct rig *r, int fd, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_int_equal(loop_step(r->loop, GIVE_UP_US), 1);
			continue;
		}
		at += n;
		len -= (size_t)n;
	}
}

/* The next @len bytes of the server; fewer when it hangs up. Returns them. */
static inline size_t rig_hear(struct rig *r, int fd, void *bytes, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = recv(fd, (uint8_t *)bytes + have, len - have, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_int_equal(loop_step(r->loop, GIVE_UP_US), 1);
			continue;
		}
		have += (size_t)n;
	}
	return have;
}

static inline void rig_say(struct rig *r, int fd, struct said *s)
{
	rig_send(r, fd, s->bytes, s->len);
	s->len = 0;
}

/* A client that has chosen the export of that name. */
static inline int rig_attach(struct rig *r, const char *name)
{
	int fd = rig_connect(r->path);
	uint8_t answer[18 + 10];
	autofree struct said *s = calloc(1, sizeof(*s));

	assert_true(fd >= 0);
	say_be(s, 3, 4);
	say_option(s, NBD_OPT_EXPORT_NAME, (uint32_t)strlen(name));
	say(s, name, strlen(name));
	rig_say(r, fd, s);
	assert_int_equal(rig_hear(r, fd, answer, sizeof(answer)), sizeof(answer));
	return fd;
}

static inline void rig_command(struct rig *r, int fd, uint16_t type, uint16_t flags,
			       uint64_t cookie, uint64_t offset, uint32_t length)
{
	autofree struct said *s = calloc(1, sizeof(*s));

	say_command(s, type, flags, cookie, offset, length);
	rig_say(r, fd, s);
}

/* The next reply is to that command; its error. */
static inline uint32_t rig_reply(struct rig *r, int fd, uint64_t cookie)
{
	uint8_t head[NBD_REPLY_BYTES];

	assert_int_equal(rig_hear(r, fd, head, sizeof(head)), sizeof(head));
	assert_int_equal(get_be32(head), NBD_SIMPLE_MAGIC);
	assert_true(get_be64(head + 8) == cookie);
	return get_be32(head + 4);
}

/* The server has hung up and said nothing more. */
static inline void rig_hung_up(struct rig *r, int fd)
{
	uint8_t byte;

	assert_int_equal(rig_hear(r, fd, &byte, 1), 0);
}

/* Until there is nothing to do. */
static inline void rig_turn_all(struct rig *r)
{
	while (loop_step(r->loop, 0) == 1)
		;
}

#endif
