// SPDX-License-Identifier: GPL-2.0-or-later
/* The listening unix socket, and peers judged by SO_PEERCRED. */
#include "colod/control/control-socket.h"

#include "base/unix-listen.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

int control_listen(int *out, const char *path, const struct control_access *a, struct err *e)
{
	int r = unix_listen(out, path, a->gid, e);

	if (r)
		err_prefix(e, "control socket");
	return r;
}
