// SPDX-License-Identifier: GPL-2.0-or-later
/* Whole reads and writes on blocking descriptors, SCM_RIGHTS. */
#include "base/io.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

int io_iov_advance(struct iovec *iov, int n, size_t done)
{
	int i = 0;

	while (i < n && done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	if (i < n) {
		iov[i].iov_base = (char *)iov[i].iov_base + done;
		iov[i].iov_len -= done;
	}
	return i;
}

int io_readv_full(int fd, struct iovec *iov, int n)
{
	while (n > 0) {
		ssize_t r = readv(fd, iov, n);
		int used;

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ECONNRESET;
		used = io_iov_advance(iov, n, (size_t)r);
		iov += used;
		n -= used;
	}
	return 0;
}

int io_writev_full(int fd, struct iovec *iov, int n)
{
	while (n > 0) {
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
		ssize_t r = sendmsg(fd, &msg, MSG_NOSIGNAL);
		int used;

		if (r < 0 && errno == ENOTSOCK)
			r = writev(fd, iov, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		used = io_iov_advance(iov, n, (size_t)r);
		iov += used;
		n -= used;
	}
	return 0;
}

int io_read_full(int fd, void *buf, size_t len)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};

	return len ? io_readv_full(fd, &iov, 1) : 0;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};

	return len ? io_writev_full(fd, &iov, 1) : 0;
}

ssize_t io_send_fd(int sock, const void *buf, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = {};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t r;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	r = sendmsg(sock, &msg, MSG_NOSIGNAL);
	return r < 0 ? -errno : r;
}

ssize_t io_recv_fd(int sock, void *buf, size_t len, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = {};
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf)};
	ssize_t r;

	*fd = -1;
	r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	if (r < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return r;
}

int io_replace_file(const char *path, const void *bytes, size_t len)
{
	autofree char *tmp = NULL;
	autoclose int fd = -1;
	int r;

	if (asprintf(&tmp, "%s.new", path) < 0)
		return -ENOMEM;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, bytes, len);
	if (!r && rename(tmp, path))
		r = -errno;
	if (r)
		unlink(tmp);
	return r;
}

int io_read_file(const char *path, char **out, struct err *e)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	autofree char *buf = NULL;
	size_t len = 0, cap = 0;

	if (fd < 0)
		return err_errno(e, errno, "cannot open %s", path);
	for (;;) {
		ssize_t r;

		if (len + 1 >= cap) {
			char *bigger = realloc(buf, cap = cap ? cap * 2 : 4096);

			if (!bigger)
				return err_errno(e, ENOMEM, "reading %s", path);
			buf = bigger;
		}
		r = read(fd, buf + len, cap - len - 1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_errno(e, errno, "cannot read %s", path);
		if (!r)
			break;
		len += (size_t)r;
	}
	buf[len] = 0;
	*out = steal_ptr(&buf);
	return 0;
}
