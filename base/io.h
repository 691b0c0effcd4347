/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole reads and writes, and passing descriptors over unix sockets. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/** io_read_full() - read exactly @len bytes. 0, -ECONNRESET at an early end of file, or -errno. */
int io_read_full(int fd, void *buf, size_t len);

/** io_write_full() - write exactly @len bytes; never raises SIGPIPE on a socket. 0 or -errno. */
int io_write_full(int fd, const void *buf, size_t len);

/** io_iov_advance() - drop @done bytes from the front of @n entries; how many of them are used up. */
int io_iov_advance(struct iovec *iov, int n, size_t done);

/** io_writev_full() - write all of @iov; the array is modified. 0 or -errno. */
int io_writev_full(int fd, struct iovec *iov, int n);

/** io_readv_full() - fill all of @iov; the array is modified. 0, -ECONNRESET or -errno. */
int io_readv_full(int fd, struct iovec *iov, int n);

/** io_send_fd() - write @len bytes with one descriptor attached (SCM_RIGHTS, unix(7)); bytes sent
 * or -errno. */
ssize_t io_send_fd(int sock, const void *buf, size_t len, int fd);

/** io_recv_fd() - read with room for one descriptor; *fd is -1 when none came. Bytes read or
 * -errno. */
ssize_t io_recv_fd(int sock, void *buf, size_t len, int *fd);

/** io_replace_file() - @path becomes a file of these bytes, mode 0600: by another name first, so that
 * who looks finds the old one or the new one, whole. 0 or -errno. */
int io_replace_file(const char *path, const void *bytes, size_t len);

/** io_read_file() - a whole small file (procfs too) as a string that the caller frees. */
int io_read_file(const char *path, char **out, struct err *e);

#endif
