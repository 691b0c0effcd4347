// SPDX-License-Identifier: GPL-2.0-or-later
/* Unix sockets at a path: stale ones are replaced, nobody connects before the mode is set. */
#include "base/unix-listen.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Make @path free for bind(2). */
static int clear_path(const struct sockaddr_un *sa, struct err *e)
{
	const char *path = sa->sun_path;
	autoclose int fd = -1;
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err_errno(e, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST,
			       "%s: a file of that name exists and is no socket; remove it or set "
			       "another path",
			       path);
	fd = unix_socket();
	if (fd < 0)
		return err_errno(e, errno, "%s", path);
	/* EAGAIN is a full backlog: somebody listens there. */
	if (!connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) || errno == EAGAIN)
		return err_set(e, EADDRINUSE,
			       "%s: another daemon answers there; is colod already running for "
			       "this guest?",
			       path);
	if (unlink(path) && errno != ENOENT)
		return err_errno(e, errno, "cannot remove the stale socket %s", path);
	return 0;
}

/* Mode and owner are set before listen(2): nobody can connect earlier. */
static int open_path(int fd, const struct sockaddr_un *sa, gid_t gid)
{
	if (bind(fd, (const struct sockaddr *)sa, sizeof(*sa)))
		return -errno;
	if (gid != NO_GROUP && chown(sa->sun_path, (uid_t)-1, gid))
		return -errno;
	if (chmod(sa->sun_path, gid != NO_GROUP ? 0660 : 0600))
		return -errno;
	return listen(fd, SOMAXCONN) ? -errno : 0;
}

int unix_listen(int *out, const char *path, gid_t gid, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	autoclose int fd = -1;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, ENAMETOOLONG,
			       "%s: a unix socket's path has at most %zu bytes; set a shorter one",
			       path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path));
	r = clear_path(&sa, e);
	if (r)
		return r;
	fd = unix_socket();
	if (fd < 0)
		return err_errno(e, errno, "%s", path);
	r = open_path(fd, &sa, gid);
	if (r)
		return err_errno(e, -r, "cannot listen on %s", path);
	*out = steal_fd(&fd);
	return 0;
}

int unix_peer_uid(int fd, uid_t *uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	*uid = cred.uid;
	return 0;
}
