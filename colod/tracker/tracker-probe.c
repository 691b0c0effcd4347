// SPDX-License-Identifier: GPL-2.0-or-later
/* Which dirty tracking this kernel and our permissions allow: tried on a page of our own. */
#include "base/cleanup.h"
#include "colod/tracker/kernel-abi.h"
#include "colod/tracker/tracker-ops.h"
#include "colod/tracker/uffd-open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/utsname.h>

struct mapping {
	volatile uint8_t *p;
};

static void cleanup_mapping(struct mapping *m)
{
	if (m->p)
		munmap((void *)(uintptr_t)m->p, PAGE_BYTES);
}

static int map_page(struct mapping *m, struct err *e)
{
	void *p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_errno(e, errno, "cannot map a page");
	m->p = p;
	return 0;
}

static const char *kernel_release(struct utsname *u)
{
	return uname(u) ? "unknown" : u->release;
}

static int no_async_wp(struct err *e)
{
	struct utsname u;

	return err_set(
		e, EOPNOTSUPP,
		"this kernel (%s) has no asynchronous write protection; set dirty_tracking = "
		"soft-dirty or run Linux 6.7 or newer",
		kernel_release(&u));
}

static int probe_uffd(int *uffd, struct err *e)
{
	struct utsname u;
	int r;

	*uffd = uffd_create();
	if (*uffd == -ENOSYS)
		return err_set(e, EOPNOTSUPP,
			       "this kernel (%s) is built without userfaultfd; set dirty_tracking "
			       "= soft-dirty or use a kernel with CONFIG_USERFAULTFD",
			       kernel_release(&u));
	if (*uffd == -EPERM || *uffd == -EACCES)
		return err_set(e, EPERM,
			       "userfaultfd is not permitted: allow the system call in the "
			       "container's seccomp profile, or access to /dev/userfaultfd");
	if (*uffd < 0)
		return err_errno(e, -*uffd, "cannot make a userfaultfd");
	r = uffd_enable(*uffd);
	if (r == -EINVAL)
		return no_async_wp(e);
	return r ? err_errno(e, -r, "cannot set up a userfaultfd") : 0;
}

/* Written pages among the one at @p, which is protected again: 0, 1 or -errno. */
static int scan_page(int pagemap, const volatile uint8_t *p)
{
	struct scan_region region;
	struct scan_arg a = {
		.size = sizeof(a),
		.flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + PAGE_BYTES,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = SCAN_IS_WRITTEN,
		.return_mask = SCAN_IS_WRITTEN,
	};
	int n = ioctl(pagemap, SCAN_IOCTL, &a);

	return n < 0 ? -errno : n;
}

static int probe_pagemap_scan(struct err *e)
{
	autoclose int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	_cleanup_(cleanup_mapping) struct mapping m = {};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_WP};
	struct uffdio_writeprotect wp = {.mode = UFFDIO_WRITEPROTECT_MODE_WP};
	autoclose int uffd = -1;
	int before, after, r;

	r = probe_uffd(&uffd, e);
	r = r ?: map_page(&m, e);
	if (r)
		return r;
	if (pagemap < 0)
		return err_errno(e, errno, "cannot open /proc/self/pagemap");
	reg.range = wp.range = (struct uffdio_range){(uintptr_t)m.p, PAGE_BYTES};
	if (ioctl(uffd, UFFDIO_REGISTER, &reg) || ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		return err_errno(e, errno,
				 "cannot write-protect shared memory (the kernel needs "
				 "CONFIG_PTE_MARKER_UFFD_WP)");
	before = scan_page(pagemap, m.p);
	m.p[0] = 1;
	after = scan_page(pagemap, m.p);
	if (before == -ENOTTY || before == -EINVAL)
		return no_async_wp(e);
	if (before < 0 || after < 0)
		return err_errno(e, before < 0 ? -before : -after, "PAGEMAP_SCAN");
	if (before != 0 || after != 1)
		return err_set(e, EOPNOTSUPP,
			       "PAGEMAP_SCAN of this kernel does not report a written page");
	return 0;
}

/* Soft-dirty bit of the page at @p: 0, 1 or -errno. */
static int soft_dirty_bit(int pagemap, const volatile uint8_t *p)
{
	uint64_t entry;

	if (pread(pagemap, &entry, 8, (off_t)((uintptr_t)p >> PAGE_SHIFT) * 8) != 8)
		return -EIO;
	return (int)(entry >> PAGEMAP_SOFT_DIRTY_BIT & 1);
}

/* A kernel without CONFIG_MEM_SOFT_DIRTY accepts the clearing and never sets the bit. */
static int probe_soft_dirty(uint32_t host_page_bytes, struct err *e)
{
	autoclose int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	autoclose int clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	_cleanup_(cleanup_mapping) struct mapping m = {};
	int before, after, r;
	struct utsname u;

	if (host_page_bytes != PAGE_BYTES)
		return err_set(e, EOPNOTSUPP,
			       "soft-dirty tracking has no bits for huge pages: set "
			       "memory_page_size = 4K or run Linux 6.7 or newer");
	if (pagemap < 0 || clear_refs < 0)
		return err_errno(e, errno, "cannot open /proc/self/pagemap and clear_refs");
	r = map_page(&m, e);
	if (r)
		return r;
	m.p[0] = 1;
	if (write(clear_refs, CLEAR_REFS_SOFT_DIRTY, 1) != 1)
		return err_errno(e, errno, "cannot clear soft-dirty bits");
	before = soft_dirty_bit(pagemap, m.p);
	m.p[0] = 2;
	after = soft_dirty_bit(pagemap, m.p);
	if (before != 0 || after != 1)
		return err_set(e, EOPNOTSUPP,
			       "this kernel (%s) does not keep soft-dirty bits "
			       "(CONFIG_MEM_SOFT_DIRTY); set dirty_tracking = pagemap-scan, which "
			       "needs Linux 6.7 or newer",
			       kernel_release(&u));
	return 0;
}

static int probe_one(enum track_kind kind, uint32_t host_page_bytes, struct err *e)
{
	return kind == TRACK_SOFT_DIRTY ? probe_soft_dirty(host_page_bytes, e)
					: probe_pagemap_scan(e);
}

static int probe_auto(uint32_t host_page_bytes, enum track_kind *chosen, struct err *e)
{
	struct err scan_err = {}, soft_err = {};

	*chosen = TRACK_PAGEMAP_SCAN;
	if (!probe_one(TRACK_PAGEMAP_SCAN, host_page_bytes, &scan_err))
		return 0;
	*chosen = TRACK_SOFT_DIRTY;
	if (!probe_one(TRACK_SOFT_DIRTY, host_page_bytes, &soft_err))
		return 0;
	return err_set(e, EOPNOTSUPP, "no way to track what the guest writes: %.220s; %.220s",
		       err_msg(&scan_err), err_msg(&soft_err));
}

int tracker_probe(enum track_kind want, uint32_t host_page_bytes, enum track_kind *chosen,
		  struct err *e)
{
	if (want == TRACK_AUTO)
		return probe_auto(host_page_bytes, chosen, e);
	*chosen = want;
	return probe_one(want, host_page_bytes, e);
}
