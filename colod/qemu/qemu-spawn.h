/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting the QEMU process: its session, descriptors, signals and environment. */
#ifndef QEMU_QEMU_SPAWN_H
#define QEMU_QEMU_SPAWN_H

#include "base/err.h"

#include <sys/types.h>

/* Descriptor numbers as QEMU sees them; it gets these and 0 to 2 only. */
#define QEMU_FD_RAM  3
#define QEMU_FD_QMP  4
#define QEMU_FD_UFFD 5
#define QEMU_FD_TAP  6 /* and on, one for each tap */

#define QEMU_MAX_TAPS 8

/**
 * struct qemu_spawn - what the process is given; descriptors are borrowed
 * @uffd_fd: socket for the preload library (core/uffd-msg.h), -1 to start without the library
 */
struct qemu_spawn {
	char *const *argv;
	int ram_fd, qmp_fd, uffd_fd;
	const int *tap_fds;
	unsigned tap_count; /* at most QEMU_MAX_TAPS */
};

/**
 * qemu_spawn() - start argv[0] (looked up in PATH) in a session of its own, stdin from /dev/null,
 * stdout and stderr to colod's stderr, default signals. Nothing of it depends on colod living on.
 * Errors of exec come back here.
 */
int qemu_spawn(pid_t *pid, const struct qemu_spawn *s, struct err *e);

#endif
