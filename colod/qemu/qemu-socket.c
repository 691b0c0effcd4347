// SPDX-License-Identifier: GPL-2.0-or-later
/* The QMP socket that QEMU inherits, made by colod so that connecting never waits. */
#include "colod/qemu/qemu-socket.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char *runtime_path(const struct config *c, const char *suffix)
{
	char *path;

	return asprintf(&path, "%s/%s%s", c->runtime_dir, c->name, suffix) < 0 ? NULL : path;
}

int qemu_files_init(struct qemu_files *f, const struct config *c, struct err *e)
{
	f->qmp = runtime_path(c, ".qmp");
	f->pid = runtime_path(c, ".pid");
	if (f->qmp && f->pid)
		return 0;
	qemu_files_destroy(f);
	return err_errno(e, ENOMEM, "runtime files");
}

void qemu_files_destroy(struct qemu_files *f)
{
	free(f->qmp);
	free(f->pid);
	*f = (struct qemu_files){};
}

void qemu_files_unlink(const struct qemu_files *f)
{
	unlink(f->qmp);
	unlink(f->pid);
}

static int unix_address(struct sockaddr_un *sa, const char *path, struct err *e)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sa->sun_path))
		return err_set(e, ENAMETOOLONG,
			       "%s is longer than the 107 bytes a socket may have; shorten "
			       "runtime_dir",
			       path);
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return 0;
}

/* A connected socket, or -errno of connect(2); @e only speaks of other failures. */
static int try_connect(const char *path, int flags, struct err *e)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	struct sockaddr_un sa;
	int r = unix_address(&sa, path, e);

	if (r)
		return r;
	if (fd < 0)
		return err_errno(e, errno, "cannot create a unix socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return -errno;
	return steal_fd(&fd);
}

/* Make room at f->qmp: only a socket that nobody listens on is removed. */
static int remove_stale(const struct qemu_files *f, const struct config *c, struct err *e)
{
	struct err why = {};
	autofree char *pid = NULL;
	autoclose int fd = try_connect(f->qmp, SOCK_NONBLOCK, &why);

	if (fd == -ENOENT)
		return 0;
	if (fd == -ECONNREFUSED) {
		if (unlink(f->qmp) && errno != ENOENT)
			return err_errno(e, errno, "cannot remove the old socket %s", f->qmp);
		return 0;
	}
	/* EAGAIN: its queue of connections is full, so it lives. */
	if (fd < 0 && fd != -EAGAIN)
		return err_errno(e, -fd, "cannot use %s", f->qmp);
	if (io_read_file(f->pid, &pid, NULL))
		pid = NULL;
	return err_set(e, EADDRINUSE,
		       "a QEMU of guest \"%s\" already runs (pid %.*s, socket %s); end it first",
		       c->name, pid ? (int)strcspn(pid, "\n") : 1, pid ?: "?", f->qmp);
}

int make_runtime_dir(const char *path, struct err *e)
{
	struct stat st;

	if (mkdir(path, 0755) && errno != EEXIST)
		return err_errno(e, errno, "runtime_dir: cannot create %s", path);
	if (stat(path, &st) || !S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "runtime_dir: %s is not a folder", path);
	return 0;
}

int qmp_listen(const struct qemu_files *f, const struct config *c, struct err *e)
{
	autoclose int fd = -1;
	struct sockaddr_un sa;
	int r = unix_address(&sa, f->qmp, e);

	if (!r)
		r = make_runtime_dir(c->runtime_dir, e);
	if (!r)
		r = remove_stale(f, c, e);
	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, errno, "cannot create a unix socket");
	/* Closed to others before anyone can connect. */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(f->qmp, 0600) || listen(fd, 1))
		return err_errno(e, errno, "cannot listen at %s", f->qmp);
	return steal_fd(&fd);
}

int qmp_connect(const struct qemu_files *f, struct err *e)
{
	struct err why = {};
	int fd = try_connect(f->qmp, 0, &why);

	return fd < 0 ? err_errno(e, -fd, "cannot connect to %s", f->qmp) : fd;
}

int write_pid_file(const struct qemu_files *f, pid_t pid, struct err *e)
{
	autoclose int fd =
		open(f->pid, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	char text[16];
	int r;

	if (fd < 0)
		return err_errno(e, errno, "cannot write %s", f->pid);
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	r = io_write_full(fd, text, strlen(text));
	return r ? err_errno(e, -r, "cannot write %s", f->pid) : 0;
}
