/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A QEMU that another colod has started and left running: found, and taken over. */
#ifndef QEMU_QEMU_ADOPT_H
#define QEMU_QEMU_ADOPT_H

#include "colod/core/statefile.h"
#include "colod/qemu/qemu.h"

/** process_boot_id() - of this boot of the host; "" when the kernel does not say. */
void process_boot_id(char id[40]);

/** process_started() - when process @pid was started, in clock ticks of this boot. 0 or -errno. */
int process_started(pid_t pid, uint64_t *ticks);

/**
 * qemu_find() - the process that @s speaks of: its pidfd, or -ESRCH when it has ended, whoever has its
 * number now.
 */
int qemu_find(const struct statefile *s, struct err *e);

/** qemu_has_ended() - waits for it, but not longer than @wait_ms. A process that was killed has closed
 * its files some time before. */
bool qemu_has_ended(int pidfd, int wait_ms);

/** qemu_end_found() - SIGKILL, and wait for the end. 0, -ETIMEDOUT or -errno. */
int qemu_end_found(int pidfd, struct err *e);

/** struct qemu_fds_kept - colod's ends of what QEMU has, -1 when absent */
struct qemu_fds_kept {
	int ram, uffd;
	int taps[CONFIG_MAX_NICS];
};

/**
 * qemu_fetch_fds() - fill what is -1 in @fds with copies of QEMU's own (pidfd_getfd(2), which takes
 * the right to trace it). What was fetched is the caller's, also on error.
 */
int qemu_fetch_fds(struct qemu_fds_kept *fds, const struct statefile *s, int pidfd, struct err *e);

/**
 * qemu_adopt() - as qemu_start(), with a process that runs. @pidfd, @fds->ram and @fds->uffd are taken
 * over, also on error. Whatever fails before @h->ready, the process is left alone; @h->failed tells.
 *
 * What the colod before was about is brought to its end; whether the guest runs is not touched.
 */
int qemu_adopt(struct qemu **out, struct loop *l, const struct config *c, const struct statefile *s,
	       int pidfd, struct qemu_fds_kept *fds, const struct qemu_handlers *h, void *arg,
	       struct err *e);

#endif
