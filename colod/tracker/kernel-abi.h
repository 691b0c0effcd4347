/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel interfaces that are newer than the headers we build with (Debian 12 has those of 6.1). */
#ifndef TRACKER_KERNEL_ABI_H
#define TRACKER_KERNEL_ABI_H

#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* Documentation/admin-guide/mm/userfaultfd.rst, "Write Protect Notifications" */
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* Linux 6.4 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* Linux 6.7 */
#endif

/*
 * PAGEMAP_SCAN, Linux 6.7: Documentation/admin-guide/mm/pagemap.rst, PAGEMAP_SCAN(2const). The
 * kernel calls these struct page_region, struct pm_scan_arg, PM_SCAN_* and PAGE_IS_*; the names
 * differ here so that a newer <linux/fs.h> can be included too.
 */
struct scan_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end; /* out: how far the walk came */
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};

#define SCAN_IOCTL         _IOWR('f', 16, struct scan_arg)
#define SCAN_WP_MATCHING   (1u << 0) /* write-protect again what is reported */
#define SCAN_CHECK_WPASYNC (1u << 1) /* fail where write protection is not asynchronous */
#define SCAN_IS_WRITTEN    (1u << 1)

/* Documentation/admin-guide/mm/pagemap.rst: bit 55 of a /proc/PID/pagemap entry. */
#define PAGEMAP_SOFT_DIRTY_BIT 55

/* proc_pid_clear_refs(5): written to /proc/PID/clear_refs, forgets the soft-dirty bits. */
#define CLEAR_REFS_SOFT_DIRTY "4"

#endif
