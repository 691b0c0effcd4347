/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making the userfaultfd: shared by the library inside QEMU and by the probe in colod. */
#ifndef TRACKER_UFFD_OPEN_H
#define TRACKER_UFFD_OPEN_H

#include "colod/tracker/kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UFFD_TRACK_FEATURES                                                                        \
	(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

/**
 * uffd_create() - a userfaultfd of the calling process, or -errno.
 *
 * UFFD_USER_MODE_ONLY lets an unprivileged QEMU make it (userfaultfd(2)) and costs nothing: it
 * bounds the faults that are handed to user space, and asynchronous write protection hands over
 * none; writes by the kernel are tracked all the same. Container sandboxes often filter the system
 * call; the device is then the way in.
 */
static inline int uffd_create(void)
{
	const int flags = O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
	int fd = (int)syscall(SYS_userfaultfd, flags);
	int dev, error;

	if (fd >= 0)
		return fd;
	error = errno;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -error;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, flags);
	error = errno;
	close(dev);
	return fd < 0 ? -error : fd;
}

/**
 * uffd_enable() - negotiate asynchronous write protection on a fresh userfaultfd. 0 or -errno;
 * -EINVAL: the kernel is older than 6.7.
 */
static inline int uffd_enable(int uffd)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_TRACK_FEATURES};

	return ioctl(uffd, UFFDIO_API, &api) ? -errno : 0;
}

#endif
