/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP commands between the greeting and "ready": checks first, then the state files. */
#ifndef QEMU_QEMU_SETUP_H
#define QEMU_QEMU_SETUP_H

#include "colod/core/guest.h"

#include <stdbool.h>

/**
 * struct qemu_setup - runs the commands one by one over guest->qmp and fills @guest
 * @done: called once from the loop; @reason is NULL when every step went well
 *
 * Embedded in its user. The QMP client must be freed before the struct is.
 */
struct qemu_setup {
	struct guest *guest;
	size_t step;
	char cpu_path[256];
	char vmstate_path[32];
	void (*done)(void *arg, const struct err *reason);
	void *arg;
};

/**
 * qemu_setup_files() - make the guest's device state file and its vmstate container, a sparse memfd
 * with room for 64 MiB (a PC's device state has some 100 KB).
 */
int qemu_setup_files(struct guest *g, struct err *e);

/** qemu_setup_start() - send the first command; the greeting must be in. @fresh: the guest of this
 * QEMU must not have run yet. */
void qemu_setup_start(struct qemu_setup *s, bool fresh);

#endif
