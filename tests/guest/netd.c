/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network services of the test guest: echo, echoes that differ or are counted, sink, source.
 *
 * usage: netd                  serves the ports of net.h, IPv4 and IPv6, until it is killed
 *        netd content BYTES    writes so much content to standard output
 *
 * Answers follow from the questions alone, except two: those of PORT_DIFFERS end in the clock, which
 * no two replicas read at the same moment; those of PORT_COUNTS end in a number that the guest never
 * gives twice, so that a state which went back shows.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/guest/net.h"

#define BUFFER_BYTES 16384
#define EVENTS       64
#define BACKLOG      512
#define QUEUE_BYTES  (4 << 20) /* questions that came while the guest stood still */

enum kind { LISTENER, DATAGRAMS, CONNECTION };

/* A connection has at most one bufferful that it could not send yet, and reads nothing then. */
struct sock {
	enum kind kind;
	int fd;
	int port;
	size_t len, sent;
	uint64_t hash, count; /* sink: of what came; source: count is what is left to send */
	uint64_t offset;      /* source: in the content */
	bool ending;          /* close when all is sent */
	char buf[BUFFER_BYTES];
};

static int epoll_fd;
static char datagram[65536];

static void watch(struct sock *s, int op, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = s};

	epoll_ctl(epoll_fd, op, s->fd, &event);
}

static void sock_close(struct sock *s)
{
	close(s->fd);
	free(s);
}

static struct sock *sock_new(enum kind kind, int fd, int port)
{
	struct sock *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return NULL;
	}
	s->kind = kind;
	s->fd = fd;
	s->port = port;
	s->hash = FNV_START;
	watch(s, EPOLL_CTL_ADD, EPOLLIN);
	return s;
}

/* One socket for both families; the kernel chooses the source address by its routes. */
static int serve(enum kind kind, int port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int type = kind == LISTENER ? SOCK_STREAM : SOCK_DGRAM, off = 0, on = 1,
	    queue = QUEUE_BYTES;
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (kind == DATAGRAMS)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof(queue));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) ||
	    (kind == LISTENER && listen(fd, BACKLOG))) {
		int r = -errno;

		close(fd);
		return r;
	}
	return sock_new(kind, fd, port) ? 0 : -ENOMEM;
}

static void stamp(const struct sock *s, char *buf, size_t len)
{
	static uint64_t answers;
	char text[32];

	if ((s->port != PORT_DIFFERS && s->port != PORT_COUNTS) || len < STAMP_BYTES)
		return;
	snprintf(text, sizeof(text), "%016llx",
		 (unsigned long long)(s->port == PORT_COUNTS ? ++answers : now_nsec()));
	memcpy(buf + len - STAMP_BYTES, text, STAMP_BYTES);
}

static void answer_datagrams(struct sock *s)
{
	for (int i = 0; i < EVENTS; i++) {
		struct sockaddr_in6 from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(s->fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&from,
				     &size);

		if (n < 0)
			return;
		stamp(s, datagram, (size_t)n);
		sendto(s->fd, datagram, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

static void accept_all(struct sock *listener)
{
	int fd, on = 1;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		sock_new(CONNECTION, fd, listener->port);
	}
}

static void source_fill(struct sock *s)
{
	s->len = s->count < BUFFER_BYTES ? (size_t)s->count : BUFFER_BYTES;
	s->sent = 0;
	content_make(s->buf, s->len, s->offset);
	s->offset += s->len;
	s->count -= s->len;
	s->ending = !s->count;
}

/* Send what is in the buffer, and for a source what follows; whether the socket lives on. */
static bool send_rest(struct sock *s)
{
	while (s->sent < s->len) {
		ssize_t n = send(s->fd, s->buf + s->sent, s->len - s->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			watch(s, EPOLL_CTL_MOD, EPOLLOUT);
			return true;
		}
		if (n < 0)
			return false;
		s->sent += (size_t)n;
		if (s->sent == s->len && s->port == PORT_SOURCE && !s->ending)
			source_fill(s);
	}
	s->len = s->sent = 0;
	watch(s, EPOLL_CTL_MOD, EPOLLIN);
	return !s->ending;
}

/* What a sink has taken: its checksum and length. */
static bool sink_end(struct sock *s)
{
	s->len = (size_t)snprintf(s->buf, sizeof(s->buf), "%016llx %llu\n",
				  (unsigned long long)s->hash, (unsigned long long)s->count);
	s->ending = true;
	return send_rest(s);
}

static bool source_begin(struct sock *s, size_t got)
{
	s->len += got;
	if (!memchr(s->buf, '\n', s->len))
		return s->len < BUFFER_BYTES;
	s->count = strtoull(s->buf, NULL, 10);
	source_fill(s);
	return send_rest(s);
}

static bool take_bytes(struct sock *s, size_t got)
{
	switch (s->port) {
	case PORT_SINK:
		s->hash = fnv_add(s->hash, s->buf, got);
		s->count += got;
		return true;
	case PORT_SOURCE:
		return source_begin(s, got);
	default:
		s->len = got;
		stamp(s, s->buf, got);
		return send_rest(s);
	}
}

static bool serve_connection(struct sock *s, uint32_t events)
{
	ssize_t n;

	if (events & EPOLLOUT)
		return send_rest(s);
	/* Only a source collects its question; the others have answered when they read again. */
	n = recv(s->fd, s->buf + s->len, BUFFER_BYTES - s->len, 0);
	if (n > 0)
		return take_bytes(s, (size_t)n);
	if (n < 0)
		return errno == EAGAIN;
	return s->port == PORT_SINK && !s->ending && sink_end(s);
}

static void serve_event(struct sock *s, uint32_t events)
{
	if (s->kind == LISTENER)
		accept_all(s);
	else if (s->kind == DATAGRAMS)
		answer_datagrams(s);
	else if (!serve_connection(s, events))
		sock_close(s);
}

static int run(void)
{
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll_fd, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++)
			serve_event(events[i].data.ptr, events[i].events);
	}
}

static int write_content(uint64_t bytes)
{
	char buf[BLOCK_BYTES];
	size_t n;

	for (uint64_t at = 0; at < bytes; at += n) {
		n = bytes - at < sizeof(buf) ? (size_t)(bytes - at) : sizeof(buf);
		content_make(buf, n, at);
		if (fwrite(buf, 1, n, stdout) != n)
			return -EIO;
	}
	return fflush(stdout) ? -EIO : 0;
}

int main(int argc, char **argv)
{
	static const int streams[] = {PORT_ECHO, PORT_DIFFERS, PORT_SINK, PORT_SOURCE, PORT_COUNTS};
	static const int datagrams[] = {PORT_ECHO, PORT_DIFFERS, PORT_COUNTS};
	int r;

	if (argc == 3 && !strcmp(argv[1], "content"))
		return write_content(strtoull(argv[2], NULL, 10)) ? 1 : 0;
	signal(SIGPIPE, SIG_IGN);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = epoll_fd < 0 ? -errno : 0;
	for (size_t i = 0; !r && i < sizeof(streams) / sizeof(streams[0]); i++)
		r = serve(LISTENER, streams[i]);
	for (size_t i = 0; !r && i < sizeof(datagrams) / sizeof(datagrams[0]); i++)
		r = serve(DATAGRAMS, datagrams[i]);
	if (!r) {
		puts("netd on");
		fflush(stdout);
		r = run();
	}
	fprintf(stderr, "netd: %s\n", strerror(-r));
	return 1;
}
