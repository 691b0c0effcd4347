/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in the runtime folder: QEMU's QMP socket and process number. */
#ifndef QEMU_QEMU_SOCKET_H
#define QEMU_QEMU_SOCKET_H

#include "colod/core/config.h"

#include <sys/types.h>

/**
 * struct qemu_files - paths of one guest, RUNTIME_DIR/NAME.qmp and .pid; owned by the struct
 */
struct qemu_files {
	char *qmp, *pid;
};

int qemu_files_init(struct qemu_files *f, const struct config *c, struct err *e);
void qemu_files_destroy(struct qemu_files *f);

/** qemu_files_unlink() - remove both from the file system. */
void qemu_files_unlink(const struct qemu_files *f);

/** make_runtime_dir() - make folder @path (0755) unless it is there; only its last part is ours to
 * make. -ENOTDIR when something else has that name. */
int make_runtime_dir(const char *path, struct err *e);

/**
 * qmp_listen() - a listening socket at f->qmp that only this user may open, for QEMU to inherit.
 * The runtime folder is made (0755) when missing, a stale socket replaced. -EADDRINUSE when a QEMU
 * still answers there. Returns the descriptor.
 *
 * The name stays while QEMU runs, so that it can be commanded after a crash of colod.
 */
int qmp_listen(const struct qemu_files *f, const struct config *c, struct err *e);

/** qmp_connect() - connect to it, before QEMU accepts: the kernel queues us. The descriptor. */
int qmp_connect(const struct qemu_files *f, struct err *e);

int write_pid_file(const struct qemu_files *f, pid_t pid, struct err *e);

#endif
