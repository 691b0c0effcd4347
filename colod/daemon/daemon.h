/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon: connects QEMU, link, checkpoint engine, control socket and the failover machine. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "colod/core/config.h"
#include "colod/core/fsm.h"

/** daemon_check_config() - what only the daemon can say of a configuration: its bypass rules, keys and
 * certificates, and whether it may do without them. */
int daemon_check_config(const struct config *c, struct err *e);

/** struct daemon_program - what to run for colo-ctl upgrade: ourselves, as we were called */
struct daemon_program {
	char path[512];
	char *const *argv;
};

/**
 * daemon_run() - protect the guest of @c until it ends or colod is told to; SIGTERM, SIGINT must be
 * blocked in all threads. A guest that an earlier colod has left running is taken over, as what it was
 * there, whatever @role says. @c may be changed by control commands while it runs. Returns 0 after an
 * orderly end, -errno with the reason otherwise.
 */
int daemon_run(struct config *c, enum role role, const struct daemon_program *program,
	       struct err *e);

#endif
