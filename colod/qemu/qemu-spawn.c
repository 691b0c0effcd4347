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

/* struct moves - the descriptors of the process; sources are ours to close. */
struct moves {
	struct fd_move list[3 + QEMU_MAX_TAPS];
	unsigned count;
};

static int add_move(struct moves *m, int fd, int target)
{
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_SOURCE);

	if (copy < 0 && fd >= 0)
		return -errno;
	m->list[m->count++] = (struct fd_move){copy, target};
	return 0;
}

static int collect_moves(struct moves *m, const struct qemu_spawn *s)
{
	int r = add_move(m, s->ram_fd, QEMU_FD_RAM);

	if (!r)
		r = add_move(m, s->qmp_fd, QEMU_FD_QMP);
	if (!r)
		r = add_move(m, s->uffd_fd, QEMU_FD_UFFD);
	for (unsigned i = 0; !r && i < s->tap_count; i++)
		r = add_move(m, s->tap_fds[i], QEMU_FD_TAP + (int)i);
	return r;
}

static void close_moves(struct moves *m)
{
	while (m->count)
		close_fd(&m->list[--m->count].source);
}

static int add_files(posix_spawn_file_actions_t *fa, const struct moves *m)
{
	int r = posix_spawn_file_actions_addopen(fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (!r)
		r = posix_spawn_file_actions_adddup2(fa, STDERR_FILENO, STDOUT_FILENO);
	for (unsigned i = 0; !r && i < m->count; i++) {
		const struct fd_move *move = &m->list[i];

		if (move->source >= 0)
			r = posix_spawn_file_actions_adddup2(fa, move->source, move->target);
		else
			r = posix_spawn_file_actions_addclose(fa, move->target);
	}
	return r ?: posix_spawn_file_actions_addclosefrom_np(fa, QEMU_FD_RAM + (int)m->count);
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

static int run(pid_t *pid, const struct qemu_spawn *s, char *const *env, const struct moves *m)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&fa);

	if (r)
		return r;
	r = posix_spawnattr_init(&attr);
	if (!r) {
		r = add_files(&fa, m);
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
	_cleanup_(close_moves) struct moves moves = {};
	int r;

	if (s->tap_count > QEMU_MAX_TAPS)
		return err_set(e, E2BIG, "a guest has at most %d taps", QEMU_MAX_TAPS);
	r = collect_moves(&moves, s);
	if (r)
		return err_errno(e, -r, "cannot duplicate descriptors for QEMU");
	r = build_env(&env, s->uffd_fd >= 0, e);
	if (r)
		return r;
	r = run(pid, s, env, &moves);
	if (r)
		return err_errno(e, r, "qemu: cannot run \"%s\"", s->argv[0]);
	return 0;
}
