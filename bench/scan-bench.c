// SPDX-License-Identifier: GPL-2.0-or-later
/* Time of one dirty scan: by RAM size, threads, page size and number of written pages. */
/*
 * usage: scan-bench FILE [GB...]    appends JSON lines to FILE; 1 2 4 8 GB unless given
 *
 * A child process stands in for QEMU, its RAM is locked. Sizes for which there are not enough free
 * 2 MB pages are left out of that case, and said so.
 */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/quantile.h"
#include "colod/tracker/tracker.h"
#include "colod/tracker/uffd-open.h"

#include <inttypes.h>
#include <linux/memfd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define SAMPLES 200

struct bench_case {
	uint64_t bytes;
	uint32_t page_bytes;
	unsigned threads;
	uint64_t dirty_pages; /* host pages written before each scan */
};

struct guest {
	pid_t pid;
	int sock, uffd;
	uint64_t va;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Each number that comes over the socket is answered when so many pages have been written. */
static _Noreturn void guest_main(int sock, int memfd, uint64_t bytes, uint32_t page_bytes)
{
	uint8_t *ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	uint64_t va = (uintptr_t)ram, count;
	int uffd = uffd_create();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ram == MAP_FAILED || mlock(ram, bytes))
		_exit(1);
	memset(ram, 1, bytes);
	if (uffd >= 0)
		uffd_enable(uffd);
	io_send_fd(sock, &va, sizeof(va), uffd >= 0 ? uffd : memfd);
	close(uffd);
	while (!io_read_full(sock, &count, sizeof(count))) {
		uint64_t step = count ? bytes / count / page_bytes * page_bytes : 0;

		for (uint64_t i = 0; i < count; i++)
			((volatile uint8_t *)ram)[i * step]++;
		io_write_full(sock, &count, sizeof(count));
	}
	_exit(0);
}

static int guest_start(struct guest *g, const struct bench_case *c)
{
	int flags = c->page_bytes == PAGE_BYTES ? 0 : MFD_HUGETLB | MFD_HUGE_2MB;
	autoclose int memfd = memfd_create("ram", MFD_CLOEXEC | flags);
	int sv[2];

	if (memfd < 0 || ftruncate(memfd, (off_t)c->bytes) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return -errno;
	g->pid = fork();
	if (!g->pid) {
		close(sv[0]);
		guest_main(sv[1], memfd, c->bytes, c->page_bytes);
	}
	close(sv[1]);
	g->sock = sv[0];
	if (io_recv_fd(g->sock, &g->va, sizeof(g->va), &g->uffd) != sizeof(g->va))
		return -ENOMEM;
	return 0;
}

static void guest_end(struct guest *g)
{
	close_fd(&g->sock);
	close_fd(&g->uffd);
	if (g->pid > 0)
		waitpid(g->pid, NULL, 0);
}

static void guest_write(struct guest *g, uint64_t pages)
{
	io_write_full(g->sock, &pages, sizeof(pages));
	io_read_full(g->sock, &pages, sizeof(pages));
}

static void print_result(FILE *out, const struct bench_case *c, const char *tracker,
			 const char *metric, const struct quantile *q)
{
	struct quantile_view v;

	quantile_view(q, &v);
	fprintf(out,
		"{\"bench\":\"scan\",\"case\":\"%s %" PRIu64 "GB %s-pages %u-threads %" PRIu64
		"-dirty\",\"metric\":\"%s\",\"unit\":\"us\",\"n\":%" PRIu64 ",\"p50\":%.1f,"
		"\"p99\":%.1f,\"max\":%.1f}\n",
		tracker, c->bytes / GIB, c->page_bytes == PAGE_BYTES ? "4K" : "2M", c->threads,
		c->dirty_pages, metric, v.count, (double)v.p50 / 1000, (double)v.p99 / 1000,
		(double)v.max / 1000);
	fflush(out);
}

static int measure(struct guest *g, struct tracker *t, const struct bench_case *c,
		   struct bitmap *written, struct quantile *q, struct err *e)
{
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t start;
		int r;

		guest_write(g, c->dirty_pages);
		bitmap_zero(written);
		start = now_ns();
		r = tracker_collect(t, true, written, e);
		quantile_add(q, now_ns() - start);
		if (r)
			return r;
		if (bitmap_count(written) != c->dirty_pages * (c->page_bytes / PAGE_BYTES))
			return err_set(e, EIO, "%" PRIu64 " pages reported, %" PRIu64 " written",
				       bitmap_count(written), c->dirty_pages);
	}
	return 0;
}

static int run_tracker(FILE *out, const struct bench_case *c, struct guest *g, enum track_kind kind,
		       struct err *e)
{
	struct tracker_target target = {.pid = g->pid,
					.uffd = g->uffd,
					.va = g->va,
					.bytes = c->bytes,
					.host_page_bytes = c->page_bytes,
					.threads = c->threads};
	struct quantile scan = {}, arm = {};
	struct bitmap written;
	struct tracker *t;
	uint64_t start;
	int r = tracker_open(&t, kind, &target, e);

	if (r)
		return r;
	start = now_ns();
	r = tracker_arm(t, e);
	quantile_add(&arm, now_ns() - start);
	if (bitmap_init(&written, c->bytes / PAGE_BYTES))
		r = err_errno(e, ENOMEM, "bitmap");
	r = r ?: measure(g, t, c, &written, &scan, e);
	if (!r) {
		print_result(out, c, tracker_name(t), "scan", &scan);
		print_result(out, c, tracker_name(t), "arm", &arm);
	}
	bitmap_destroy(&written);
	tracker_close(t);
	return r;
}

/* All cases of one RAM size and page size; the guest is the same. */
static int run_guest(FILE *out, struct bench_case c, enum track_kind kind)
{
	static const uint64_t dirty[] = {0, 64};
	struct guest g = {.sock = -1, .uffd = -1};
	/* The tracker scans huge pages with one thread, whatever it is given. */
	unsigned threads = c.page_bytes == PAGE_BYTES ? 2 : 1;
	struct err e = {};
	int r = guest_start(&g, &c);

	if (r) {
		fprintf(stderr, "scan-bench: left out: %" PRIu64 " GB of %u byte pages: %s\n",
			c.bytes / GIB, c.page_bytes, strerror(-r));
		guest_end(&g);
		return 0;
	}
	for (unsigned i = 0; i < threads * ARRAY_SIZE(dirty) && !r; i++) {
		c.threads = 1 + i / ARRAY_SIZE(dirty);
		c.dirty_pages = dirty[i % ARRAY_SIZE(dirty)];
		r = run_tracker(out, &c, &g, kind, &e);
	}
	guest_end(&g);
	if (r)
		fprintf(stderr, "scan-bench: %s\n", err_msg(&e));
	return r;
}

static int run_size(FILE *out, uint64_t bytes)
{
	static const uint32_t pages[] = {PAGE_BYTES, 2 * MIB};
	enum track_kind kind;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		struct bench_case c = {.bytes = bytes, .page_bytes = pages[i]};

		/* soft-dirty tracks no huge pages */
		if (tracker_probe(TRACK_AUTO, pages[i], &kind, NULL))
			continue;
		if (run_guest(out, c, kind))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const usual[] = {"1", "2", "4", "8"};
	const char *const *sizes = argc > 2 ? (const char *const *)argv + 2 : usual;
	unsigned n = argc > 2 ? (unsigned)argc - 2 : ARRAY_SIZE(usual);
	autofclose FILE *out = argc > 1 ? fopen(argv[1], "ae") : NULL;

	if (!out) {
		fprintf(stderr, "usage: scan-bench FILE [GB...]\n");
		return 2;
	}
	for (unsigned i = 0; i < n; i++)
		if (run_size(out, strtoull(sizes[i], NULL, 10) * GIB))
			return 1;
	return 0;
}
