// SPDX-License-Identifier: GPL-2.0-or-later
/* The listening unix socket: stale ones replaced, peers judged by SO_PEERCRED. */
#include "colod/control/control-socket.h"

#include "base/cleanup.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NO_GROUP        ((gid_t)-1)
#define PEER_GROUPS_MAX 1024

int control_access_init(struct control_access *a, const char *group, struct err *e)
{
	char buf[16384];
	struct group gr, *found = NULL;
	int r;

	a->uid = geteuid();
	a->gid = NO_GROUP;
	if (!group)
		return 0;
	r = getgrnam_r(group, &gr, buf, sizeof(buf), &found);
	if (r)
		return err_errno(e, r, "cannot look up control_group \"%s\"", group);
	if (!found)
		return err_set(e, ENOENT,
			       "control_group \"%s\" does not exist: create it with groupadd, "
			       "or name another",
			       group);
	a->gid = gr.gr_gid;
	return 0;
}

bool control_access_ok(const struct control_access *a, uid_t uid, gid_t gid, const gid_t *groups,
		       size_t n_groups)
{
	if (uid == 0 || uid == a->uid)
		return true;
	if (a->gid == NO_GROUP)
		return false;
	if (gid == a->gid)
		return true;
	for (size_t i = 0; i < n_groups; i++)
		if (groups[i] == a->gid)
			return true;
	return false;
}

bool control_access_peer(const struct control_access *a, int fd, uid_t *uid)
{
	gid_t groups[PEER_GROUPS_MAX];
	socklen_t groups_len = sizeof(groups);
	struct ucred cred;
	socklen_t cred_len = sizeof(cred);

	*uid = (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len))
		return false;
	*uid = cred.uid;
	/* Without the list (too long, an old kernel) the primary group still counts. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_len))
		groups_len = 0;
	return control_access_ok(a, cred.uid, cred.gid, groups, groups_len / sizeof(groups[0]));
}

/* Make @path free for bind(2). */
static int clear_path(const struct sockaddr_un *sa, struct err *e)
{
	const char *path = sa->sun_path;
	autoclose int fd = -1;
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err_errno(e, errno, "control socket %s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST,
			       "control socket %s: a file of that name exists and is no socket; "
			       "remove it or set another \"socket\"",
			       path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "control socket");
	/* EAGAIN is a full backlog: somebody listens there. */
	if (!connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) || errno == EAGAIN)
		return err_set(e, EADDRINUSE,
			       "control socket %s: another daemon answers there; is colod already "
			       "running for this guest?",
			       path);
	if (unlink(path) && errno != ENOENT)
		return err_errno(e, errno, "cannot remove the stale control socket %s", path);
	return 0;
}

/* Mode and owner are set before listen(2): nobody can connect earlier. */
static int open_path(int fd, const struct sockaddr_un *sa, const struct control_access *a)
{
	if (bind(fd, (const struct sockaddr *)sa, sizeof(*sa)))
		return -errno;
	if (a->gid != NO_GROUP && chown(sa->sun_path, (uid_t)-1, a->gid))
		return -errno;
	if (chmod(sa->sun_path, a->gid != NO_GROUP ? 0660 : 0600))
		return -errno;
	return listen(fd, SOMAXCONN) ? -errno : 0;
}

int control_listen(int *out, const char *path, const struct control_access *a, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	autoclose int fd = -1;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, ENAMETOOLONG,
			       "control socket %s: a unix socket's path has at most %zu bytes; set "
			       "a shorter \"socket\"",
			       path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path));
	r = clear_path(&sa, e);
	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "control socket");
	r = open_path(fd, &sa, a);
	if (r)
		return err_errno(e, -r, "cannot listen on control socket %s", path);
	*out = steal_fd(&fd);
	return 0;
}
