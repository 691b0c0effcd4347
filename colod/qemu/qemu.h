/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU process: started with colod's own arguments added, checked, watched, ended. */
#ifndef QEMU_QEMU_H
#define QEMU_QEMU_H

#include "base/loop.h"
#include "colod/core/config.h"
#include "colod/core/guest.h"

struct qemu;

/**
 * struct qemu_handlers - called from the loop
 * @ready:  QEMU is up, stopped (-S), checked and fit for replication; called once
 * @failed: it did not come up or must be refused; the process has ended. Called instead of @ready.
 * @dying:  after @ready, some milliseconds before @exited: a thread that lives as long as QEMU is
 *          gone, so the guest stands still. Not on every kernel, see qemu_watch_thread(); may be NULL.
 * @exited: it ended after @ready; @how in words ("exit status 1", "killed by signal 9 (KILL)").
 *          A lost QMP connection of a living QEMU comes here too, after QEMU has been killed: a
 *          guest that cannot be commanded cannot be protected.
 *
 * One call of @failed or @exited is the last; both may call qemu_free().
 */
struct qemu_handlers {
	void (*ready)(void *arg);
	void (*failed)(void *arg, const struct err *reason);
	void (*exited)(void *arg, const char *how);
	void (*dying)(void *arg);
};

/**
 * qemu_start() - launch QEMU as @c says and bring it to @ready; @kind decides whether a userfaultfd
 * is fetched from it. @tap_fds: one for each of @c's nics, opened with IFF_TAP | IFF_NO_PI |
 * IFF_VNET_HDR on /dev/net/tun, borrowed; may be NULL when there are none. Returns at once; errors that are known at once (binary not found, colliding
 * argument, no memory, the name in use) come as the return value.
 */
int qemu_start(struct qemu **out, struct loop *l, const struct config *c, enum track_kind kind,
	       const int *tap_fds, const struct qemu_handlers *h, void *arg, struct err *e);

const struct guest *qemu_guest(const struct qemu *q);

/** qemu_ram_fd() - the descriptor of guest memory, borrowed. */
int qemu_ram_fd(const struct qemu *q);

/** qemu_runstate() - of a QEMU that was adopted: "running", "paused", ... as QEMU's RunState has it,
 * when it was found; NULL for one that qemu_start() has started. */
const char *qemu_runstate(const struct qemu *q);

/** qemu_is_left() - in @failed: it could not be adopted, and runs on. */
bool qemu_is_left(const struct qemu *q);

/**
 * qemu_watch_thread() - @tid ends only when QEMU does. A process is not dead for its parent before all
 * of its memory is given back, some ten milliseconds for a small guest; its threads end before that
 * (PIDFD_THREAD of pidfd_open(2), Linux 6.9; without it nothing is gained). The main thread is watched
 * without being asked for.
 */
void qemu_watch_thread(struct qemu *q, pid_t tid);

/**
 * qemu_quit() - ask QEMU to end (QMP quit), SIGKILL after @grace_ms; @exited follows, or @failed
 * when it was not ready yet.
 */
void qemu_quit(struct qemu *q, uint32_t grace_ms);

/**
 * qemu_hang_up() - close QMP; commands under way get their callback now. For the end: whoever waits
 * for one must still be there, and nothing may be sent afterwards.
 */
void qemu_hang_up(struct qemu *q);

/** qemu_free() - forget it; a process that still runs is left running. */
void qemu_free(struct qemu *q);

#endif
