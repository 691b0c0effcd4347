/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receives the userfaultfd that the preload library makes inside QEMU. */
#ifndef QEMU_QEMU_UFFD_H
#define QEMU_QEMU_UFFD_H

#include "base/loop.h"

/**
 * struct qemu_uffd - one transfer, see core/uffd-msg.h
 * @fd:   the userfaultfd once it is there, else -1; owned
 * @sock: our end of the socket, -1 when nothing is awaited
 */
struct qemu_uffd {
	int fd, sock;
	struct loop_src *io;
	void (*failed)(void *arg, const struct err *reason);
	void *arg;
};

/** qemu_uffd_init() - closed; @failed is called from the loop. */
void qemu_uffd_init(struct qemu_uffd *u, void (*failed)(void *arg, const struct err *reason),
		    void *arg);

/** qemu_uffd_await() - *theirs is the end for QEMU to inherit; the caller closes it. */
int qemu_uffd_await(struct qemu_uffd *u, struct loop *l, int *theirs, struct err *e);

/** qemu_uffd_need() - QEMU runs its main(), so what is awaited must be there by now. */
int qemu_uffd_need(struct qemu_uffd *u, struct err *e);
void qemu_uffd_close(struct qemu_uffd *u);

#endif
