// SPDX-License-Identifier: GPL-2.0-or-later
/* The colod end of the preload library's socket. */
#include "colod/qemu/qemu-uffd.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/core/uffd-msg.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define ERRNO_MAX 4095 /* the kernel's own bound of error numbers */

void qemu_uffd_init(struct qemu_uffd *u, void (*failed)(void *arg, const struct err *reason),
		    void *arg)
{
	*u = (struct qemu_uffd){.fd = -1, .sock = -1, .failed = failed, .arg = arg};
}

static int refused(uint32_t error, struct err *e)
{
	if (error == EPERM || error == EACCES)
		return err_set(e, EPERM,
			       "userfaultfd is not permitted; run colod as root, or set sysctl "
			       "vm.unprivileged_userfaultfd=1 or dirty_tracking = soft-dirty");
	return err_errno(e, error && error <= ERRNO_MAX ? (int)error : EPROTO,
			 "this kernel's userfaultfd cannot be used (Linux 6.7 or newer can), set "
			 "dirty_tracking = soft-dirty");
}

/* -EAGAIN when nothing came yet. */
static int receive(struct qemu_uffd *u, struct err *e)
{
	struct preload_msg msg;
	int fd = -1;
	ssize_t n = io_recv_fd(u->sock, &msg, sizeof(msg), &fd);
	autoclose int got = fd;

	if (n == -EAGAIN || n == -EINTR)
		return -EAGAIN;
	loop_src_free(&u->io);
	close_fd(&u->sock);
	if (n != sizeof(msg) || msg.magic != PRELOAD_MSG_MAGIC)
		return err_set(
			e, EPROTO,
			"the preload library was not loaded into QEMU; the key qemu must name "
			"a program (or script) that passes LD_PRELOAD on and is not set-uid");
	if (msg.error || got < 0)
		return refused(msg.error, e);
	u->fd = steal_fd(&got);
	return 0;
}

static void on_message(void *arg, int fd, uint32_t revents)
{
	struct qemu_uffd *u = arg;
	struct err e = {};
	int r = receive(u, &e);

	(void)fd;
	(void)revents;
	if (r && r != -EAGAIN)
		u->failed(u->arg, &e);
}

int qemu_uffd_await(struct qemu_uffd *u, struct loop *l, int *theirs, struct err *e)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_errno(e, errno, "cannot create a socket pair");
	u->sock = pair[0];
	*theirs = pair[1];
	/* Ours alone must never block. */
	if (fcntl(u->sock, F_SETFL, O_NONBLOCK))
		return err_errno(e, errno, "cannot set up a socket pair");
	r = loop_add_io(l, &u->io, u->sock, EPOLLIN, on_message, u);
	return r < 0 ? err_errno(e, -r, "event loop") : 0;
}

int qemu_uffd_need(struct qemu_uffd *u, struct err *e)
{
	int r;

	/* Nothing awaited, there already, or its failure is being dealt with. */
	if (u->sock < 0)
		return 0;
	r = receive(u, e);
	if (r == -EAGAIN)
		return err_set(e, EPROTO,
			       "QEMU started without the preload library; the key qemu must name a "
			       "program that passes LD_PRELOAD and inherited descriptors on to a "
			       "program whose name begins with \"qemu\"");
	return r;
}

void qemu_uffd_close(struct qemu_uffd *u)
{
	loop_src_free(&u->io);
	close_fd(&u->sock);
	close_fd(&u->fd);
}
