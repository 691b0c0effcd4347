// SPDX-License-Identifier: GPL-2.0-or-later
/* Dirty tracking by soft-dirty bits: /proc/PID/pagemap and clear_refs, for kernels before 6.7. */
#include "base/cleanup.h"
#include "base/io.h"
#include "colod/tracker/kernel-abi.h"
#include "colod/tracker/tracker-ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

/*
 * Documentation/admin-guide/mm/soft-dirty.rst. Reading and clearing are two steps, and clearing is
 * for the whole process: a page written between them would be lost. So the bits are cleared only
 * while the guest stands still, and a collect of a running guest reports everything since then.
 */

/* pagemap entries fetched by one read; a multiple of 64, so that it fills whole bitmap words. */
#define ENTRIES_PER_READ 8192

#define SHMEM_THP "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

/* When khugepaged collapses shared memory into a huge page it drops the entries of the small ones,
 * locked or not, and their soft-dirty bits with them. */
static int check_no_collapse(struct err *e)
{
	autofree char *policy = NULL;
	int r = io_read_file(SHMEM_THP, &policy, NULL);

	if (r == -ENOENT)
		return 0; /* a kernel without transparent huge pages */
	if (r || (!strstr(policy, "[never]") && !strstr(policy, "[deny]")))
		return err_set(
			e, EPERM,
			"transparent huge pages in shared memory make soft-dirty lose writes: "
			"echo never >" SHMEM_THP ", or run Linux 6.7 or newer");
	return 0;
}

static int softdirty_attach(struct tracker *t, struct err *e)
{
	char path[32];
	int r;

	if (t->target.host_page_bytes != PAGE_BYTES)
		return err_set(e, EOPNOTSUPP,
			       "the kernel keeps no soft-dirty bits for huge pages: set "
			       "memory_page_size = 4K, or run Linux 6.7 or newer");
	r = check_no_collapse(e);
	if (r)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)t->target.pid);
	t->clear_refs_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (t->clear_refs_fd < 0)
		return err_errno(e, errno, "cannot open %s: colod must be QEMU's user or root",
				 path);
	return 0;
}

static void softdirty_detach(struct tracker *t)
{
	(void)t; /* the bits cost nothing once nobody clears them */
}

static int softdirty_arm(struct tracker *t, struct err *e)
{
	if (pwrite(t->clear_refs_fd, CLEAR_REFS_SOFT_DIRTY, 1, 0) == 1)
		return 0;
	if (errno == ESRCH)
		return err_set(e, ESRCH, "process %d has ended", (int)t->target.pid);
	return err_errno(e, errno, "cannot clear soft-dirty bits");
}

/* @n entries, the first one that of page @page, a multiple of 64. */
static void report(const uint64_t *entries, uint64_t n, uint64_t page, struct bitmap *written)
{
	for (uint64_t i = 0; i < n; i += 64) {
		uint64_t some = MIN(n - i, 64), word = 0;

		for (uint64_t b = 0; b < some; b++)
			word |= (entries[i + b] >> PAGEMAP_SOFT_DIRTY_BIT & 1) << b;
		written->words[(page + i) / 64] |= word;
	}
}

static int softdirty_scan(struct tracker *t, struct scan_slice *s, struct bitmap *written)
{
	uint64_t va = s->start;

	while (va < s->end) {
		uint64_t n = MIN((s->end - va) >> PAGE_SHIFT, ENTRIES_PER_READ);
		ssize_t want = (ssize_t)(n * 8);
		ssize_t r =
			pread(t->pagemap_fd, s->buf, (size_t)want, (off_t)(va >> PAGE_SHIFT) * 8);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_errno(&s->err, errno, "cannot read pagemap");
		if (r != want)
			return err_set(&s->err, ESRCH, "process %d has ended", (int)t->target.pid);
		report(s->buf, n, tracker_page(t, va), written);
		va += n << PAGE_SHIFT;
	}
	return 0;
}

const struct tracker_ops tracker_softdirty_ops = {
	.name = "soft-dirty",
	.cumulative = true,
	.buf_bytes = ENTRIES_PER_READ * 8,
	.attach = softdirty_attach,
	.detach = softdirty_detach,
	.arm = softdirty_arm,
	.scan = softdirty_scan,
};
