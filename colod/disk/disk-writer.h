/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing extents to a file or block device: in large writes, zeroes without data where that is possible. */
#ifndef DISK_DISK_WRITER_H
#define DISK_DISK_WRITER_H

#include "colod/disk/extents.h"

#include <sys/uio.h>

/** struct write_hook - called before each system call that changes a file; for tests that die there. */
struct write_hook {
	void (*fn)(void *arg);
	void *arg;
};

static inline void write_hook_call(const struct write_hook *h)
{
	if (h->fn)
		h->fn(h->arg);
}

#define DISK_WRITER_IOV 64

/** struct disk_writer - gathers what is contiguous. Data is pointed to until disk_writer_flush(). */
struct disk_writer {
	int fd;
	struct write_hook hook;
	uint64_t offset, len; /* gathered */
	int n;
	struct iovec iov[DISK_WRITER_IOV];
	bool cannot[EXTENT_KINDS]; /* the file has no such fallocate() */
};

/** disk_writer_init() - @fd stays the caller's. */
void disk_writer_init(struct disk_writer *w, int fd, const struct write_hook *hook);

/** disk_writer_put() - write an extent, now or with a flush. 0 or -errno. */
int disk_writer_put(struct disk_writer *w, enum extent_kind kind, uint64_t offset, uint64_t len,
		    const uint8_t *data);

/** disk_writer_flush() - write what was gathered; it need not be durable. 0 or -errno. */
int disk_writer_flush(struct disk_writer *w);

#endif
