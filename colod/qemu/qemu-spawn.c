// SPDX-License-Identifier: GPL-2.0-or-later
/* posix_spawn(3) of QEMU with exactly the wanted descriptors and the preload library. */
#include "colod/qemu/qemu-spawn.h"

#include "base/cleanup.h"
#include "colod/core/uffd-msg.h"
#include "colod/core/words.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD_NAME "colod-preload.so"

/* Sources lie above the targets, so that no dup2 overwrites the source of the next one. */
#define FIRST_SOURCE 16

/* Beside colod's own binary (a build folder), else where it is installed. */
static int find_preload(char *path, size_t size, struct err *e)
{
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[MAX(n, 0)] = 0;
	slash = strrchr(self, '/');
	if (slash) {
		snprintf(path, size, "%.*s/" PRELOAD_NAME, (int)(slash - self), self);
		if (!access(path, R_OK))
			return 0;
	}
	snprintf(path, size, "%s/" PRELOAD_NAME, COLOD_LIBDIR);
	if (!access(path, R_OK))
		return 0;
	return err_set(e, ENOENT,
		       PRELOAD_NAME " is neither beside colod nor in " COLOD_LIBDIR
				    "; install it, or set dirty_tracking = soft-dirty");
}

static bool is_variable(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(entry, name, len) && entry[len] == '=';
}

/* colod's environment with the library in front of what LD_PRELOAD held. */
static int build_env(char ***out, bool preload, struct err *e)
{
	_cleanup_(cleanup_strv) char **env = calloc(1, sizeof(*env));
	const char *old = getenv("LD_PRELOAD");
	char path[600], value[2048];
	size_t n = 0;
	int r = env ? 0 : -ENOMEM;

	for (char **v = environ; !r && *v; v++)
		if (!is_variable(*v, PRELOAD_ENV) && !(preload && is_variable(*v, "LD_PRELOAD")))
			r = strv_append(&env, &n, *v);
	if (!r && preload) {
		if (find_preload(path, sizeof(path), e))
			return -e->code;
		snprintf(value, sizeof(value), "LD_PRELOAD=%s%s%s", path, old ? ":" : "",
			 old ?: "");
		r = strv_append(&env, &n, value);
		snprintf(value, sizeof(value), PRELOAD_ENV "=%d", QEMU_FD_UFFD);
		if (!r)
			r = strv_append(&env, &n, value);
	}
	if (r)
		return err_errno(e, -r, "environment of QEMU");
	*out = steal_ptr(&env);
	return 0;
}

struct fd_move {
	int source, target;
};

static int add_files(posix_spawn_file_actions_t *fa, const struct fd_move *moves, size_t n)
{
	int r = posix_spawn_file_actions_addopen(fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (!r)
		r = posix_spawn_file_actions_adddup2(fa, STDERR_FILENO, STDOUT_FILENO);
	for (size_t i = 0; !r && i < n; i++) {
		if (moves[i].source >= 0)
			r = posix_spawn_file_actions_adddup2(fa, moves[i].source, moves[i].target);
		else
			r = posix_spawn_file_actions_addclose(fa, moves[i].target);
	}
	return r ?: posix_spawn_file_actions_addclosefrom_np(fa, QEMU_FD_UFFD + 1);
}

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						   POSIX_SPAWN_SETSIGDEF);
	if (!r)
		r = posix_spawnattr_setsigmask(attr, &none);
	return r ?: posix_spawnattr_setsigdefault(attr, &all);
}

static int run(pid_t *pid, const struct qemu_spawn *s, char *const *env,
	       const struct fd_move *moves, size_t n)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&fa);

	if (r)
		return r;
	r = posix_spawnattr_init(&attr);
	if (!r) {
		r = add_files(&fa, moves, n);
		if (!r)
			r = set_attributes(&attr);
		if (!r)
			r = posix_spawnp(pid, s->argv[0], &fa, &attr, s->argv, env);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&fa);
	return r;
}

int qemu_spawn(pid_t *pid, const struct qemu_spawn *s, struct err *e)
{
	_cleanup_(cleanup_strv) char **env = NULL;
	autoclose int ram = fcntl(s->ram_fd, F_DUPFD_CLOEXEC, FIRST_SOURCE);
	autoclose int qmp = fcntl(s->qmp_fd, F_DUPFD_CLOEXEC, FIRST_SOURCE);
	autoclose int uffd = s->uffd_fd < 0 ? -1 : fcntl(s->uffd_fd, F_DUPFD_CLOEXEC, FIRST_SOURCE);
	struct fd_move moves[] = {{ram, QEMU_FD_RAM}, {qmp, QEMU_FD_QMP}, {uffd, QEMU_FD_UFFD}};
	int r;

	if (ram < 0 || qmp < 0 || (uffd < 0 && s->uffd_fd >= 0))
		return err_errno(e, errno, "cannot duplicate descriptors for QEMU");
	r = build_env(&env, s->uffd_fd >= 0, e);
	if (r)
		return r;
	r = run(pid, s, env, moves, ARRAY_SIZE(moves));
	if (r)
		return err_errno(e, r, "qemu: cannot run \"%s\"", s->argv[0]);
	return 0;
}
