/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening unix sockets at a path, and who is at the other end. */
#ifndef BASE_UNIX_LISTEN_H
#define BASE_UNIX_LISTEN_H

#include "base/err.h"

#include <sys/types.h>

#define NO_GROUP ((gid_t)-1)

/**
 * unix_listen() - a non-blocking listening socket at @path: mode 0600, or 0660 for the group @gid
 * unless that is NO_GROUP. A stale socket is replaced; -EADDRINUSE when somebody answers there,
 * -EEXIST when @path is no socket.
 */
int unix_listen(int *out, const char *path, gid_t gid, struct err *e);

/** unix_peer_uid() - the user of the process behind @fd (SO_PEERCRED, unix(7)). 0 or -errno. */
int unix_peer_uid(int fd, uid_t *uid);

#endif
