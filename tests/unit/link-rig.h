/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the link share: ends that count what they hear, free ports, raw callers. */
#ifndef TESTS_UNIT_LINK_RIG_H
#define TESTS_UNIT_LINK_RIG_H

#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/link/link.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

/* One end of a link, and what its handlers were told. */
struct end {
	struct config config;
	struct link *link;
	const char *refuse; /* what accept() answers; NULL: welcome */
	bool lives_here;    /* as its reason */
	uint64_t resume;    /* session that it would go on with */
	uint8_t live;
	int lives; /* times it was told that the guest lives on the other host */
	struct wire_hello peer;
	int up, lost, silent, notes, messages, bulk_fd, packet_fd;
	bool packets; /* wants a packet connection */
	struct wire_msg last;
	uint64_t order; /* how many messages came with the epoch expected next */
	char text[ERR_MSG_MAX], note[ERR_MSG_MAX];
};

static inline void end_hello(void *arg, const struct wire_hello *caller, struct wire_hello *h)
{
	struct end *x = arg;

	if (!caller)
		h->resume = x->resume;
	else if (caller->resume == x->resume)
		h->resume = x->resume;
	h->live = x->live;

	snprintf(h->name, sizeof(h->name), "%s", x->config.name);
	h->epoch = 42;
}

static inline int end_accept(void *arg, const struct wire_hello *h, bool again, struct err *e)
{
	struct end *x = arg;

	if (again && h->resume && h->resume != x->resume)
		return err_set(e, EBUSY, "cannot resume any more");
	return x->refuse ? err_set(e, x->lives_here ? EEXIST : EINVAL, "%s", x->refuse) : 0;
}

static inline bool end_is_ours(void *arg, const struct wire_hello *h)
{
	struct end *x = arg;

	return h->resume && h->resume == x->resume;
}

static inline void end_lives(void *arg, const char *why)
{
	struct end *x = arg;

	(void)why;
	x->lives++;
}

static inline void end_up(void *arg, const struct wire_hello *peer, int bulk_fd, int packet_fd)
{
	struct end *x = arg;

	close_fd(&x->bulk_fd);
	close_fd(&x->packet_fd);
	x->bulk_fd = bulk_fd;
	x->packet_fd = packet_fd;
	x->peer = *peer;
	x->up++;
}

static inline void end_message(void *arg, const struct wire_msg *m)
{
	struct end *x = arg;

	x->messages++;
	x->order += m->epoch == x->order;
	x->last = *m;
}

static inline void end_lost(void *arg, const char *reason)
{
	struct end *x = arg;

	if (strstr(reason, "nothing heard"))
		x->silent++;
	else
		x->lost++;
	snprintf(x->text, sizeof(x->text), "%s", reason);
	assert_int_equal(link_state(x->link), LINK_DOWN);
}

static inline void end_note(void *arg, const char *text)
{
	struct end *x = arg;

	x->notes++;
	snprintf(x->note, sizeof(x->note), "%s", text);
}

static inline const struct link_handlers *end_handlers(void)
{
	static const struct link_handlers h = {
		.hello = end_hello,
		.accept = end_accept,
		.up = end_up,
		.message = end_message,
		.lost = end_lost,
		.is_ours = end_is_ours,
		.lives = end_lives,
		.note = end_note,
	};

	return &h;
}

/* A loopback address of this process alone: rigs that run side by side never share a port. */
static inline uint32_t local_address(void)
{
	return 0x7f000000u | 1u << 23 | ((uint32_t)getpid() & 0x3fffff) << 1 | 1;
}

static inline const char *local_host(void)
{
	static char text[16];
	uint32_t a = local_address();

	snprintf(text, sizeof(text), "127.%u.%u.%u", a >> 16 & 255, a >> 8 & 255, a & 255);
	return text;
}

static inline struct sockaddr_in local(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr = {htonl(local_address())}};
}

/* A listening socket on a port that the kernel chooses. */
static inline int raw_listen(uint16_t *port)
{
	struct sockaddr_in a = local(0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* Below the range that the kernel takes the callers' own ports from (ip_local_port_range). */
static inline uint16_t free_port(void)
{
	static uint16_t next = 10000;

	return next++;
}

static inline int raw_connect(uint16_t port)
{
	struct sockaddr_in a = local(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static inline void end_init(struct end *x, const char *name, uint16_t listen, uint16_t peer,
			    uint32_t timeout_ms)
{
	*x = (struct end){.bulk_fd = -1,
			  .packet_fd = -1,
			  .config = {.peer_timeout_ms = timeout_ms, .peer_count = 1}};
	snprintf(x->config.name, sizeof(x->config.name), "%s", name);
	snprintf(x->config.listen.host, sizeof(x->config.listen.host), "%s", local_host());
	snprintf(x->config.peers[0].host, sizeof(x->config.peers[0].host), "%s", local_host());
	snprintf(x->config.listen.port, sizeof(x->config.listen.port), "%u", listen);
	snprintf(x->config.peers[0].port, sizeof(x->config.peers[0].port), "%u", peer);
}

static inline void end_open(struct end *x, struct loop *l)
{
	struct err e;

	assert_ok(link_new(&x->link, l, &x->config, x->packets, end_handlers(), x, &e), &e);
}

static inline void end_free(struct end *x)
{
	link_free(x->link);
	x->link = NULL;
	close_fd(&x->bulk_fd);
	close_fd(&x->packet_fd);
}

/* ---- a peer made of plain sockets ---- */

static inline size_t hello_bytes(uint8_t *buf, enum wire_type type, enum wire_channel channel,
				 uint64_t session)
{
	struct wire_msg m = {.type = type, .hello = {.channel = channel, .session = session}};

	snprintf(m.hello.name, sizeof(m.hello.name), "raw");
	return wire_encode(&m, buf);
}

static inline void raw_hello(int fd, enum wire_type type, enum wire_channel channel,
			     uint64_t session)
{
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];

	assert_int_equal(io_write_full(fd, buf, hello_bytes(buf, type, channel, session)), 0);
}

static inline void raw_send(int fd, const struct wire_msg *m)
{
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];

	assert_int_equal(io_write_full(fd, buf, wire_encode(m, buf)), 0);
}

static inline bool raw_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* Turn the loop until @cond, which the kernel alone can make true while the loop has nothing to do. */
#define turn_and_poll_until(loop, cond)                                                            \
	do {                                                                                       \
		uint64_t give_up_ = clock_now_us() + GIVE_UP_US;                                   \
                                                                                                   \
		while (!(cond)) {                                                                  \
			assert_true(loop_step(loop, USEC_PER_MSEC) >= 0);                          \
			assert_true(clock_now_us() < give_up_);                                    \
		}                                                                                  \
	} while (0)

static inline void raw_read(struct loop *l, int fd, uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n;

		turn_and_poll_until(l, raw_readable(fd));
		n = recv(fd, buf, len, MSG_DONTWAIT);
		assert_true(n > 0);
		buf += n;
		len -= (size_t)n;
	}
}

/* The next message, which must come. */
static inline struct wire_msg raw_receive(struct loop *l, int fd)
{
	uint8_t head[WIRE_HEADER_BYTES], payload[WIRE_MSG_MAX_BYTES];
	struct wire_header h;
	struct wire_msg m;
	struct err e;

	raw_read(l, fd, head, sizeof(head));
	assert_ok(wire_decode_header(&h, head, &e), &e);
	raw_read(l, fd, payload, h.length);
	assert_ok(wire_decode(&m, &h, payload, &e), &e);
	return m;
}

/* True when the other end has hung up; what it said before is thrown away. */
static inline bool raw_ended(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		;
	return n == 0 || errno != EAGAIN;
}

static inline unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

#endif
