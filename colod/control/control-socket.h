/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The listening unix socket of the control interface, and who may use it. */
#ifndef CONTROL_SOCKET_H
#define CONTROL_SOCKET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** struct control_access - besides root: this user, and this group unless it is (gid_t)-1. */
struct control_access {
	uid_t uid;
	gid_t gid;
};

/** control_access_init() - the daemon's own user and @group, NULL for none; looks the group up. */
int control_access_init(struct control_access *a, const char *group, struct err *e);

/** control_access_ok() - may a peer with this user, group and supplementary groups? Pure. */
bool control_access_ok(const struct control_access *a, uid_t uid, gid_t gid, const gid_t *groups,
		       size_t n_groups);

/** control_access_peer() - control_access_ok() for the process behind @fd; *uid is its user. */
bool control_access_peer(const struct control_access *a, int fd, uid_t *uid);

/**
 * control_listen() - a non-blocking listening socket at @path: mode 0600, or 0660 for the group
 * @a->gid. A stale socket is replaced; -EADDRINUSE when a daemon answers there, -EEXIST when @path is no socket.
 */
int control_listen(int *out, const char *path, const struct control_access *a, struct err *e);

#endif
