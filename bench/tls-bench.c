// SPDX-License-Identifier: GPL-2.0-or-later
/* What encryption costs a checkpoint's stream and a small message: plain and tls = psk in turns. */
/*
 * usage: tls-bench FILE [ROUNDS]    appends JSON lines to FILE
 *
 * Two ends of one connection over the loop-back interface, a thread each: a round sends STREAM_BYTES in frames as
 * the primary does, 64 pages in one call, and then ECHOES small messages there and back. Both ends' work is on this
 * machine, so on two CPUs the streams compete with the relays' threads; CPU time counts all of it.
 */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/quantile.h"
#include "colod/link/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define ROUNDS       20
#define STREAM_BYTES (256 * MIB)
#define FRAME_PAGES  64
#define HEAD_BYTES   536 /* header and entries of such a frame */
#define ECHOES       500
#define KEY_FILE     "/tmp/tls-bench-key"

struct side {
	struct config config;
	struct tls *tls;
	struct tls_shake *shake;
	int fd;
	bool done;
};

struct bench_case {
	const char *name;
	enum tls_kind kind;
	struct quantile mbps, echo_us, cpu_ms, shake_us;
};

static void on_done(void *arg, int fd, const struct tls_peer *who, const struct err *why)
{
	struct side *s = arg;

	(void)who;
	s->fd = fd;
	s->done = true;
	if (fd < 0)
		fprintf(stderr, "tls-bench: %s\n", err_msg(why));
}

static void on_note(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "tls-bench: %s\n", text);
}

/* Connected TCP sockets: the caller's and the listener's. */
static int tcp_pair(int fds[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	autoclose int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);
	int one = 1;

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len) ||
	    connect(fds[0], (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
	}
	return fds[1] < 0 ? -errno : 0;
}

static int open_side(struct side *s, struct loop *l, enum tls_kind kind, struct err *e)
{
	*s = (struct side){.fd = -1, .config = {.tls = kind, .insecure = true}};
	s->config.tls_psk_file = (char *)KEY_FILE;
	s->config.tls_psk_identity = (char *)"vm";
	return tls_new(&s->tls, l, &s->config, on_note, NULL, e);
}

static int connect_sides(struct loop *l, struct side s[2])
{
	int fds[2] = {-1, -1};

	if (tcp_pair(fds))
		return -1;
	for (int i = 0; i < 2; i++)
		tls_begin(&s[i].shake, s[i].tls, fds[i], i ? TLS_LISTENER : TLS_CALLER, on_done,
			  &s[i]);
	while (!s[0].done || !s[1].done)
		if (loop_step(l, USEC_PER_SEC) < 0)
			return -1;
	for (int i = 0; i < 2; i++)
		fcntl(s[i].fd, F_SETFL, 0);
	return MIN(s[0].fd, s[1].fd);
}

static void *answer(void *arg)
{
	autofree uint8_t *buf = malloc(MIB);
	int fd = *(int *)arg;

	for (uint64_t left = STREAM_BYTES; left;) {
		ssize_t n = read(fd, buf, MIN(left, MIB));

		if (n <= 0)
			return NULL;
		left -= (uint64_t)n;
	}
	io_write_full(fd, buf, 1);
	for (int i = 0; i < ECHOES; i++)
		if (io_read_full(fd, buf, 100) || io_write_full(fd, buf, 100))
			return NULL;
	return arg;
}

static int send_stream(int fd, uint8_t *pages)
{
	uint8_t head[HEAD_BYTES] = {};
	uint64_t left = STREAM_BYTES;

	while (left) {
		struct iovec iov[1 + FRAME_PAGES];
		int n = 1, r;

		iov[0] = (struct iovec){head, MIN(left, HEAD_BYTES)};
		left -= iov[0].iov_len;
		while (left && n <= FRAME_PAGES) {
			iov[n] = (struct iovec){pages + (left % (64 * MIB)), MIN(left, PAGE_BYTES)};
			left -= iov[n++].iov_len;
		}
		r = io_writev_full(fd, iov, n);
		if (r)
			return r;
	}
	return io_read_full(fd, head, 1);
}

static uint64_t cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int measure(struct bench_case *k, int fd, uint8_t *pages)
{
	uint64_t start = clock_now_us(), cpu = cpu_us(), took;
	uint8_t small[100] = {};

	if (send_stream(fd, pages))
		return -1;
	took = clock_now_us() - start;
	quantile_add(&k->mbps, STREAM_BYTES / took); /* bytes in a microsecond: MB/s */
	quantile_add(&k->cpu_ms, (cpu_us() - cpu) * (GIB / STREAM_BYTES) / USEC_PER_MSEC);
	for (int i = 0; i < ECHOES; i++) {
		start = clock_now_us();
		if (io_write_full(fd, small, sizeof(small)) ||
		    io_read_full(fd, small, sizeof(small)))
			return -1;
		quantile_add(&k->echo_us, clock_now_us() - start);
	}
	return 0;
}

static int run_round(struct bench_case *k, struct loop *l, uint8_t *pages)
{
	struct side s[2] = {};
	pthread_t thread;
	struct err e;
	void *good = NULL;
	uint64_t start;
	int r = 0;

	for (int i = 0; !r && i < 2; i++)
		r = open_side(&s[i], l, k->kind, &e);
	start = clock_now_us();
	if (r || connect_sides(l, s) < 0)
		return -1;
	quantile_add(&k->shake_us, clock_now_us() - start);
	if (pthread_create(&thread, NULL, answer, &s[1].fd))
		return -1;
	r = measure(k, s[0].fd, pages);
	if (r)
		shutdown(s[0].fd, SHUT_RDWR);
	pthread_join(thread, &good);
	for (int i = 0; i < 2; i++) {
		close_fd(&s[i].fd);
		tls_free(s[i].tls);
	}
	return r || !good ? -1 : 0;
}

static void print_line(FILE *out, const char *name, const char *metric, const char *unit,
		       const struct quantile *q)
{
	struct quantile_view v;

	quantile_view(q, &v);
	fprintf(out,
		"{\"bench\":\"tls\",\"case\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\",\"n\":"
		"%" PRIu64 ",\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}\n",
		name, metric, unit, v.count, v.p50, v.p99, v.max);
	fflush(out);
}

static int make_key(void)
{
	static const char line[] =
		"vm:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
	autoclose int fd = open(KEY_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : io_write_full(fd, line, sizeof(line) - 1);
}

int main(int argc, char **argv)
{
	static struct bench_case cases[] = {{"plain", TLS_NONE}, {"psk", TLS_PSK}};
	autofclose FILE *out = argc > 1 ? fopen(argv[1], "ae") : NULL;
	long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : ROUNDS;
	_cleanup_(cleanup_loop) struct loop *l = NULL;
	autofree uint8_t *pages = malloc(64 * MIB + PAGE_BYTES);
	struct err e;
	int r;

	if (!out || !pages || rounds < 1 || make_key() || loop_new(&l, &e)) {
		fprintf(stderr, "usage: tls-bench FILE [ROUNDS]\n");
		return 2;
	}
	memset(pages, 0x5a, 64 * MIB + PAGE_BYTES);
	r = 0;
	for (long i = 0; !r && i < rounds; i++)
		for (size_t k = 0; !r && k < ARRAY_SIZE(cases); k++)
			r = run_round(&cases[k], l, pages);
	for (size_t k = 0; !r && k < ARRAY_SIZE(cases); k++) {
		print_line(out, cases[k].name, "stream", "MB/s", &cases[k].mbps);
		print_line(out, cases[k].name, "cpu", "ms/GB", &cases[k].cpu_ms);
		print_line(out, cases[k].name, "echo", "us", &cases[k].echo_us);
		print_line(out, cases[k].name, "connect", "us", &cases[k].shake_us);
	}
	unlink(KEY_FILE);
	return r ? 1 : 0;
}
