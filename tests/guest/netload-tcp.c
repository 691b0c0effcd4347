/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loads on TCP: echo, both ways at once, short connections, downloads, uploads. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/guest/netload.h"

#define WINDOW_BYTES (256u * 1024)
#define CHUNK_BYTES  65536u
#define RETRY_US     20000

static int tcp_connect(void)
{
	int fd, on = 1, r = 0;
	socklen_t size = sizeof(r);

	fd = socket(opt.to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&opt.to, opt.to_len) && errno != EINPROGRESS)
		r = errno;
	if (!r)
		r = -wait_ready(fd, POLLOUT, 0);
	if (!r)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &size);
	if (!r)
		return fd;
	close(fd);
	return -r;
}

static int send_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);
		int r;

		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			r = wait_ready(fd, POLLOUT, 0);
			if (r)
				return r;
			continue;
		}
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The number of bytes read, 0 at the end. */
static ssize_t recv_some(int fd, char *buf, size_t len)
{
	for (;;) {
		ssize_t n = recv(fd, buf, len, 0);
		int r;

		if (n >= 0)
			return n;
		if (errno != EAGAIN)
			return -errno;
		r = wait_ready(fd, POLLIN, 0);
		if (r)
			return r;
	}
}

static int recv_all(int fd, char *buf, size_t len)
{
	while (len) {
		ssize_t n = recv_some(fd, buf, len);

		if (n <= 0)
			return n ? (int)n : -EPIPE;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int echo_once(int fd, uint64_t seq, uint64_t asked)
{
	static char ask[MAX_SIZE], got[MAX_SIZE];
	int r;

	message_make(ask, opt.size, seq);
	r = send_all(fd, ask, opt.size);
	if (!r)
		r = recv_all(fd, got, opt.size);
	if (r)
		return failed("echo", r);
	compare(got, ask, compared_bytes(opt.size));
	answered(asked, opt.size);
	return 0;
}

static int run_tcp(int fd, uint64_t asked)
{
	int r = 0;

	(void)asked; /* the connection's own time is not measured */

	for (uint64_t seq = 0; !r && !stopping(); seq++) {
		r = echo_once(fd, seq, now_nsec());
		if (!r && opt.interval_us)
			pause_us(opt.interval_us);
	}
	return r;
}

static int run_conn(int fd, uint64_t asked)
{
	static uint64_t seq;

	return echo_once(fd, seq++, asked);
}

/* Both ways at once; at the end the echo must have returned every byte and then its end. */
static int run_stream(int fd, uint64_t asked)
{
	static char out[CHUNK_BYTES], in[CHUNK_BYTES], want[CHUNK_BYTES];
	uint64_t sent = 0, got = 0;
	bool open = true;

	while (open || got < sent) {
		bool may_send = open && sent - got < WINDOW_BYTES;
		ssize_t n;
		int r;

		if (open && stopping()) {
			open = false;
			shutdown(fd, SHUT_WR);
			continue;
		}
		r = wait_ready(fd, (short)(POLLIN | (may_send ? POLLOUT : 0)), 0);
		if (r)
			return failed("stream", r);
		content_make(out, BLOCK_BYTES, sent);
		n = may_send ? send(fd, out, BLOCK_BYTES, MSG_NOSIGNAL) : 0;
		if (n < 0 && errno != EAGAIN)
			return failed("stream", -errno);
		sent += n > 0 ? (size_t)n : 0;
		n = recv(fd, in, sizeof(in), 0);
		if (!n)
			return failed("stream", -EPIPE);
		if (n < 0 && errno != EAGAIN)
			return failed("stream", -errno);
		if (n > 0) {
			content_make(want, (size_t)n, got);
			compare(in, want, (size_t)n);
			got += (size_t)n;
			answered(asked, (uint64_t)n);
			asked = now_nsec();
		}
	}
	return recv_some(fd, in, 1) ? failed("stream", -EPROTO) : 0;
}

static int ask_for(int fd, const char *format, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return send_all(fd, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* Read to the end and compare with the content from its start on. */
static int take_content(int fd, uint64_t asked, uint64_t want_bytes, const char *doing)
{
	static char in[CHUNK_BYTES], want[CHUNK_BYTES];
	uint64_t got = 0;
	ssize_t n;

	while ((n = recv_some(fd, in, sizeof(in))) > 0) {
		content_make(want, (size_t)n, got);
		compare(in, want, (size_t)n);
		got += (uint64_t)n;
	}
	if (n < 0)
		return failed(doing, (int)n);
	if (got != want_bytes)
		return failed(doing, -EMSGSIZE);
	answered(asked, got);
	return 0;
}

static int run_fetch(int fd, uint64_t asked)
{
	int r = ask_for(fd, "%llu\n", (unsigned long long)opt.bytes);

	return r ? failed("fetch", r) : take_content(fd, asked, opt.bytes, "fetch");
}

/* Reads the header of an answer up to its end, byte by byte: the body stays in the socket. */
static int take_header(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		ssize_t n = recv_some(fd, buf + len, 1);

		if (n <= 0)
			return n ? (int)n : -EPIPE;
		buf[++len] = 0;
		if (len >= 4 && !memcmp(buf + len - 4, "\r\n\r\n", 4))
			return 0;
	}
	return -EMSGSIZE;
}

static int run_get(int fd, uint64_t asked)
{
	char header[2048];
	const char *length;
	int r = ask_for(fd, "GET %s HTTP/1.0\r\n\r\n", opt.path);

	if (!r)
		r = take_header(fd, header, sizeof(header));
	if (r)
		return failed("get", r);
	length = strcasestr(header, "\r\nContent-Length:");
	if (strncmp(header, "HTTP/1.", 7) || strncmp(header + 8, " 200 ", 5) || !length)
		return failed("get", -EPROTO);
	return take_content(fd, asked, strtoull(strchr(length, ':') + 1, NULL, 10), "get");
}

static int run_put(int fd, uint64_t asked)
{
	static char out[CHUNK_BYTES];
	uint64_t hash = FNV_START;
	char line[64] = "", want[64];
	size_t n;
	int r = 0;

	for (uint64_t at = 0; !r && at < opt.bytes; at += n) {
		n = opt.bytes - at < sizeof(out) ? (size_t)(opt.bytes - at) : sizeof(out);
		content_make(out, n, at);
		hash = fnv_add(hash, out, n);
		r = send_all(fd, out, n);
	}
	shutdown(fd, SHUT_WR);
	n = (size_t)snprintf(want, sizeof(want), "%016llx %llu\n", (unsigned long long)hash,
			     (unsigned long long)opt.bytes);
	if (!r)
		r = recv_all(fd, line, n);
	if (r)
		return failed("put", r);
	compare(line, want, n);
	answered(asked, opt.bytes);
	return 0;
}

void run_streams(void)
{
	static int (*const runs[MODES])(int fd, uint64_t asked) = {
		[TCP] = run_tcp, [STREAM] = run_stream, [CONN] = run_conn,
		[GET] = run_get, [FETCH] = run_fetch,   [PUT] = run_put,
	};

	while (!stopping()) {
		uint64_t asked = now_nsec();
		int fd = tcp_connect();
		int r = fd < 0 ? failed("connect", fd) : runs[opt.mode](fd, asked);

		if (fd >= 0)
			close(fd);
		if (r)
			pause_us(RETRY_US);
		else if (opt.mode > STREAM && opt.interval_us)
			pause_us(opt.interval_us);
	}
}
