// SPDX-License-Identifier: GPL-2.0-or-later
/* Dirty tracking by asynchronous write protection: userfaultfd and PAGEMAP_SCAN, Linux 6.7+. */
#include "colod/tracker/kernel-abi.h"
#include "colod/tracker/tracker-ops.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Documentation/admin-guide/mm/pagemap.rst, "Pagemap Scan IOCTL". The mark of a page that is clean
 * is its uffd-wp bit; a write fault clears the bit inside the kernel and goes on. The scan reports
 * pages without it and sets it again, under the page table lock: no write falls between the two.
 */

/* One call returns at most this many runs of pages; the loop goes on where it ended. */
#define REGIONS_PER_CALL 4096

static int uffd_error(const struct tracker *t, int code, const char *what, struct err *e)
{
	if (code == ESRCH)
		return err_set(e, ESRCH, "process %d has ended", (int)t->target.pid);
	if (code == ENOMEM || code == ENOENT)
		return err_set(e, code, "%s: no RAM of %" PRIu64 " bytes at 0x%" PRIx64, what,
			       t->target.bytes, t->target.va);
	if (code == EBUSY)
		return err_set(e, EBUSY, "%s: another userfaultfd has guest RAM registered", what);
	return err_errno(e, code, "%s", what);
}

static struct uffdio_range target_range(const struct tracker *t)
{
	return (struct uffdio_range){.start = t->target.va, .len = t->target.bytes};
}

static int pagemap_attach(struct tracker *t, struct err *e)
{
	struct uffdio_register reg = {.range = target_range(t), .mode = UFFDIO_REGISTER_MODE_WP};

	if (t->target.uffd < 0)
		return err_set(e, EINVAL, "QEMU handed over no userfaultfd");
	if (ioctl(t->target.uffd, UFFDIO_REGISTER, &reg))
		return uffd_error(t, errno, "cannot register guest RAM", e);
	return 0;
}

static void pagemap_detach(struct tracker *t)
{
	struct uffdio_range range = target_range(t);

	/* Fails only for a process that has ended. The guest's writes run at full speed again. */
	ioctl(t->target.uffd, UFFDIO_UNREGISTER, &range);
}

/* Unlike a scan this leaves a marker where no page table exists yet, so that nothing starts
 * untracked. */
static int pagemap_arm(struct tracker *t, struct err *e)
{
	struct uffdio_writeprotect wp = {.range = target_range(t),
					 .mode = UFFDIO_WRITEPROTECT_MODE_WP};

	if (ioctl(t->target.uffd, UFFDIO_WRITEPROTECT, &wp))
		return uffd_error(t, errno, "cannot write-protect guest RAM", e);
	return 0;
}

static int scan_error(const struct tracker *t, struct scan_slice *s, int code)
{
	if (code == ESRCH)
		return err_set(&s->err, ESRCH, "process %d has ended", (int)t->target.pid);
	if (code == EPERM)
		return err_set(&s->err, EPERM,
			       "guest RAM is no longer write-protected: QEMU has mapped it anew");
	return err_errno(&s->err, code, "PAGEMAP_SCAN");
}

static void report(const struct tracker *t, const struct scan_region *regions, int n,
		   struct bitmap *written)
{
	for (int i = 0; i < n; i++)
		bitmap_set_range(written, tracker_page(t, regions[i].start),
				 (regions[i].end - regions[i].start) >> PAGE_SHIFT);
}

static int pagemap_scan(struct tracker *t, struct scan_slice *s, struct bitmap *written)
{
	/* Nothing but PAGE_IS_WRITTEN is asked for: some kernels report a page without an entry as
	 * written only then. */
	struct scan_arg a = {
		.size = sizeof(a),
		.flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
		.start = s->start,
		.end = s->end,
		.vec = (uintptr_t)s->buf,
		.vec_len = REGIONS_PER_CALL,
		.category_mask = SCAN_IS_WRITTEN,
		.return_mask = SCAN_IS_WRITTEN,
	};

	while (a.start < s->end) {
		int n = ioctl(t->pagemap_fd, SCAN_IOCTL, &a);

		if (n < 0)
			return scan_error(t, s, errno);
		report(t, s->buf, n, written);
		if (a.walk_end <= a.start)
			return scan_error(t, s, EIO);
		a.start = a.walk_end;
	}
	return 0;
}

const struct tracker_ops tracker_pagemap_ops = {
	.name = "pagemap-scan",
	.cumulative = false,
	.buf_bytes = REGIONS_PER_CALL * sizeof(struct scan_region),
	.attach = pagemap_attach,
	.detach = pagemap_detach,
	.arm = pagemap_arm,
	.scan = pagemap_scan,
};
