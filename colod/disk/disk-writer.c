// SPDX-License-Identifier: GPL-2.0-or-later
/* Writing extents to a file or block device. */
#include "colod/disk/disk-writer.h"

#include "base/io.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>

/* Block devices take no finer ranges; for a file anything finer is no gain. */
#define ZERO_ALIGN UINT64_C(4096)

static uint8_t zeroes[ARENA_CHUNK]; /* never written */

void disk_writer_init(struct disk_writer *w, int fd, const struct write_hook *hook)
{
	*w = (struct disk_writer){.fd = fd, .hook = *hook};
}

int disk_writer_flush(struct disk_writer *w)
{
	struct iovec *iov = w->iov;
	uint64_t at = w->offset;
	int left = w->n;

	w->n = 0;
	w->len = 0;
	while (left) {
		ssize_t n;
		int used;

		write_hook_call(&w->hook);
		n = pwritev(w->fd, iov, left, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (uint64_t)n;
		used = io_iov_advance(iov, left, (size_t)n);
		iov += used;
		left -= used;
	}
	return 0;
}

static int put_data(struct disk_writer *w, uint64_t offset, uint64_t len, const uint8_t *data)
{
	if (w->n == DISK_WRITER_IOV || (w->n && offset != w->offset + w->len)) {
		int r = disk_writer_flush(w);

		if (r)
			return r;
	}
	if (!w->n)
		w->offset = offset;
	w->iov[w->n++] = (struct iovec){(void *)(uintptr_t)data, len};
	w->len += len;
	return 0;
}

static int put_zeroes(struct disk_writer *w, uint64_t offset, uint64_t len)
{
	while (len) {
		uint64_t n = MIN(len, sizeof(zeroes));
		int r = put_data(w, offset, n, zeroes);

		if (r)
			return r;
		offset += n;
		len -= n;
	}
	return 0;
}

/*
 * fallocate(2). On a block device (Linux 4.9) both leave zeroes, the one with its space given back if
 * the device can; BLKDISCARD is no choice, as nobody knows what it leaves.
 */
static int zero_range(struct disk_writer *w, enum extent_kind kind, uint64_t offset, uint64_t len)
{
	int mode = kind == EXTENT_TRIM ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	int r;

	do {
		write_hook_call(&w->hook);
		r = fallocate(w->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	} while (r && errno == EINTR);
	return r ? -errno : 0;
}

static bool is_not_supported(int r)
{
	return r == -EOPNOTSUPP || r == -ENOSYS || r == -EINVAL || r == -ENODEV;
}

static int put_zero(struct disk_writer *w, enum extent_kind kind, uint64_t offset, uint64_t len)
{
	uint64_t start = ALIGN_UP(offset, ZERO_ALIGN), end = (offset + len) & ~(ZERO_ALIGN - 1);
	int r;

	if (w->cannot[kind] || start >= end)
		return put_zeroes(w, offset, len);
	r = put_zeroes(w, offset, start - offset) ?: disk_writer_flush(w);
	if (r)
		return r;
	r = zero_range(w, kind, start, end - start);
	if (is_not_supported(r)) {
		w->cannot[kind] = true;
		r = put_zeroes(w, start, end - start);
	}
	return r ?: put_zeroes(w, end, offset + len - end);
}

int disk_writer_put(struct disk_writer *w, enum extent_kind kind, uint64_t offset, uint64_t len,
		    const uint8_t *data)
{
	return kind == EXTENT_DATA ? put_data(w, offset, len, data)
				   : put_zero(w, kind, offset, len);
}
