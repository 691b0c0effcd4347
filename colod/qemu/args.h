/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU command line: the user's words checked for collisions, colod's own added. Pure. */
#ifndef QEMU_ARGS_H
#define QEMU_ARGS_H

#include "colod/core/config.h"

/* Descriptors as QEMU sees them, -1 when absent. */
struct qemu_fds {
	int ram;                   /* memfd of guest RAM */
	int qmp;                   /* listening unix socket */
	int taps[CONFIG_MAX_NICS]; /* of the config's nics, in their order */
};

/**
 * qemu_args_check() - refuse user arguments that collide with what colod adds, or that it cannot
 * protect. @argv: the user's words, NULL-terminated. The reason names the argument and what to do.
 */
int qemu_args_check(char *const *argv, struct err *e);

/** qemu_args_build() - the whole argv for execv, NULL-terminated; freed by strv_free(). */
int qemu_args_build(char ***out, const struct config *c, char *const *user,
		    const struct qemu_fds *fds, struct err *e);

#endif
