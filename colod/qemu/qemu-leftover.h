/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A QEMU whose colod is gone: what that colod had begun in it is brought to its end and taken away. */
#ifndef QEMU_QEMU_LEFTOVER_H
#define QEMU_QEMU_LEFTOVER_H

#include "base/loop.h"
#include "colod/core/guest.h"

#define FDSET_OPAQUE "colod" /* marks colod's own descriptors in QEMU */

/**
 * struct qemu_leftover - waits for jobs that load a checkpoint, dismisses them, removes the state
 * files' node and descriptors; new ones take their place (qemu-setup.h)
 * @runstate: of query-status when colod came back
 * @done: called once from the loop; @reason is NULL when all is gone
 *
 * Embedded in its user. The QMP client must be freed before the struct is.
 */
struct qemu_leftover {
	struct guest *guest;
	struct loop_src *timer;
	char runstate[32];
	char job[64];  /* to be dismissed */
	int64_t fdset; /* to be removed; -1 before the first */
	void (*done)(void *arg, const struct err *reason);
	void *arg;
};

int qemu_leftover_init(struct qemu_leftover *o, struct loop *l, struct err *e);
void qemu_leftover_destroy(struct qemu_leftover *o);

/** qemu_leftover_start() - send the first command; the greeting must be in. */
void qemu_leftover_start(struct qemu_leftover *o);

/** Each takes the "return" member of the named command; pure. -EPROTO for an unknown form. */

/** leftover_take_status() - query-status. */
int leftover_take_status(struct qemu_leftover *o, struct json_object *ret, struct err *e);

/**
 * leftover_take_jobs() - query-jobs: 1 and @o->job when one that loads a checkpoint is over, -EAGAIN
 * while one is not, 0 when there is none.
 */
int leftover_take_jobs(struct qemu_leftover *o, struct json_object *ret, struct err *e);

/**
 * leftover_take_fdsets() - query-fdsets: 1 and the next of colod's in @o->fdset, 0 when that was the
 * last. QEMU lists what was removed until its guest runs again.
 */
int leftover_take_fdsets(struct qemu_leftover *o, struct json_object *ret, struct err *e);

#endif
