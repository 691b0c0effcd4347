// SPDX-License-Identifier: GPL-2.0-or-later
/* The arbiter that is a command: exit status 0 is a win, everything else an open question. */
#include "colod/arbiter/arbiter-priv.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "colod/core/words.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define LAST_LINE_MAX 200
#define REAP_MS       1000

/* One run of the command. It outlives its claim until it is reaped. */
struct run {
	struct list link;
	struct exec *owner;
	pid_t pid;
	int pid_fd, err_fd;
	struct loop_src *pid_src, *err_src;
	size_t len; /* of the line that comes in on its standard error */
	char line[LAST_LINE_MAX + 1], last[LAST_LINE_MAX + 1];
};

struct exec {
	struct arbiter *arbiter;
	char **argv;
	struct run *current; /* whose answer is waited for */
	struct list runs;
	struct loop_src *timer;
};

/* ---- what it writes ---- */

static void line_end(struct run *r)
{
	r->line[r->len] = 0;
	if (r->len)
		memcpy(r->last, r->line, r->len + 1);
	r->len = 0;
}

/* What comes from outside goes into log lines and status: printable ASCII only. */
static void take_byte(struct run *r, char c)
{
	if (c == '\n')
		line_end(r);
	else if (r->len < LAST_LINE_MAX)
		r->line[r->len++] = (c >= ' ' && c <= '~') ? c : '?';
}

/* False when there is no more for now, or never will be. */
static bool read_some(struct run *r)
{
	char buf[512];
	ssize_t n = read(r->err_fd, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return true;
	for (ssize_t i = 0; i < n; i++)
		take_byte(r, buf[i]);
	if (!n)
		loop_src_free(&r->err_src);
	return n > 0;
}

static void on_stderr(void *arg, int fd, uint32_t revents)
{
	(void)fd;
	(void)revents;
	read_some(arg);
}

/* ---- its end ---- */

static void run_free(struct run *r)
{
	if (r->owner->current == r)
		r->owner->current = NULL;
	list_del(&r->link);
	loop_src_free(&r->pid_src);
	loop_src_free(&r->err_src);
	close_fd(&r->pid_fd);
	close_fd(&r->err_fd);
	free(r);
}

static void give_up(struct exec *x)
{
	if (x->current)
		kill(-x->current->pid, SIGKILL);
	x->current = NULL;
	loop_timer_disarm(x->timer);
}

static void answer_ended(struct exec *x, const struct run *r, const siginfo_t *si)
{
	const char *said = *r->last ? ": " : "";
	const char *name = x->argv[0];

	if (si->si_code == CLD_EXITED && !si->si_status)
		arbiter_answer(x->arbiter, ARBITER_ANSWER_WON, "%s", "");
	else if (si->si_code == CLD_EXITED)
		arbiter_answer(x->arbiter, ARBITER_ANSWER_UNKNOWN,
			       "arbiter_command %s ended with status %d%s%s", name, si->si_status,
			       said, r->last);
	else
		arbiter_answer(x->arbiter, ARBITER_ANSWER_UNKNOWN,
			       "arbiter_command %s was ended by signal %d%s%s", name, si->si_status,
			       said, r->last);
}

static void on_end(void *arg, int fd, uint32_t revents)
{
	struct run *r = arg;
	struct exec *x = r->owner;
	siginfo_t si = {};

	(void)fd;
	(void)revents;
	if (waitid(P_PIDFD, (id_t)r->pid_fd, &si, WEXITED | WNOHANG) || !si.si_pid)
		return;
	while (read_some(r))
		;
	line_end(r);
	if (x->current == r) {
		loop_timer_disarm(x->timer);
		answer_ended(x, r, &si);
	}
	run_free(r);
}

static void on_timeout(void *arg)
{
	struct exec *x = arg;

	if (!x->current)
		return;
	give_up(x);
	arbiter_answer(x->arbiter, ARBITER_ANSWER_UNKNOWN,
		       "arbiter_command %s took more than arbiter_timeout_ms = %u and was killed",
		       x->argv[0], x->arbiter->config->arbiter_timeout_ms);
}

/* ---- its start ---- */

static const char *reason_word(enum arbiter_reason reason)
{
	switch (reason) {
	case ARBITER_SILENT:
		return "silent";
	case ARBITER_LOST:
		return "lost";
	case ARBITER_START:
		break;
	}
	return "start";
}

static int env_add(char ***env, size_t *n, const char *name, const char *value)
{
	autofree char *text = NULL;

	if (asprintf(&text, "%s=%s", name, value) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return strv_append(env, n, text);
}

static int env_inherit(char ***env, size_t *n)
{
	int r = 0;

	for (char **p = environ; !r && *p; p++)
		if (strncmp(*p, "COLOD_", 6))
			r = strv_append(env, n, *p);
	return r;
}

static int build_env(char ***env, const struct config *c, const struct arbiter_claim *claim)
{
	const struct endpoint *peer = &c->peers[0];
	bool v6 = strchr(peer->host, ':');
	char address[sizeof(*peer) + 4], session[20];
	size_t n = 0;
	int r = env_inherit(env, &n);

	snprintf(session, sizeof(session), "%016llx", (unsigned long long)claim->session);
	snprintf(address, sizeof(address), "%s%s%s:%s", v6 ? "[" : "", peer->host, v6 ? "]" : "",
		 peer->port);
	if (!r)
		r = env_add(env, &n, "COLOD_NAME", c->name);
	if (!r)
		r = env_add(env, &n, "COLOD_ROLE", claim->primary ? "primary" : "secondary");
	if (!r)
		r = env_add(env, &n, "COLOD_PEER", address);
	if (!r)
		r = env_add(env, &n, "COLOD_SESSION", session);
	return r ? r : env_add(env, &n, "COLOD_REASON", reason_word(claim->reason));
}

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						   POSIX_SPAWN_SETSIGDEF);
	if (!r)
		r = posix_spawnattr_setpgroup(attr, 0);
	if (!r)
		r = posix_spawnattr_setsigmask(attr, &none);
	return r ? r : posix_spawnattr_setsigdefault(attr, &all);
}

static int add_files(posix_spawn_file_actions_t *fa, int err_fd)
{
	int r = posix_spawn_file_actions_adddup2(fa, err_fd, STDERR_FILENO);

	if (!r)
		r = posix_spawn_file_actions_addopen(fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_addopen(fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	return r ? r : posix_spawn_file_actions_addclosefrom_np(fa, STDERR_FILENO + 1);
}

static int spawn(pid_t *pid, char **argv, char **env, int err_fd)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&fa);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (!r) {
		r = add_files(&fa, err_fd);
		if (!r)
			r = set_attributes(&attr);
		if (!r)
			r = posix_spawnp(pid, argv[0], &fa, &attr, argv, env);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

static int watch(struct run *r)
{
	struct loop *l = r->owner->arbiter->loop;
	int err;

	r->pid_fd = pidfd_open(r->pid, 0);
	if (r->pid_fd < 0)
		return -errno;
	err = loop_add_io(l, &r->err_src, r->err_fd, EPOLLIN, on_stderr, r);
	return err ? err : loop_add_io(l, &r->pid_src, r->pid_fd, EPOLLIN, on_end, r);
}

static int start(struct exec *x, const struct arbiter_claim *claim)
{
	_cleanup_(cleanup_strv) char **env = NULL;
	struct run *r = calloc(1, sizeof(*r));
	autoclose int their_end = -1;
	int fds[2], err;

	if (!r)
		return -ENOMEM;
	r->owner = x;
	r->pid_fd = r->err_fd = -1;
	list_add_tail(&x->runs, &r->link);
	err = pipe2(fds, O_CLOEXEC) ? -errno : 0;
	if (!err) {
		r->err_fd = fds[0];
		their_end = fds[1];
		err = fcntl(r->err_fd, F_SETFL, O_NONBLOCK) ? -errno : 0;
	}
	if (!err)
		err = build_env(&env, x->arbiter->config, claim);
	if (!err)
		err = spawn(&r->pid, x->argv, env, their_end);
	if (!err) {
		err = watch(r);
		if (err)
			kill(-r->pid, SIGKILL);
	}
	if (err)
		run_free(r);
	else
		x->current = r;
	return err;
}

/* ---- the interface ---- */

static void exec_claim(struct arbiter *a, const struct arbiter_claim *claim)
{
	struct exec *x = a->impl;
	int r;

	if (claim->certain || claim->fresh || claim->force) {
		give_up(x);
		arbiter_answer(a, ARBITER_ANSWER_WON, "%s", "");
		return;
	}
	if (x->current) /* its answer will do; fencing must not be cut short and begun again */
		return;
	r = start(x, claim);
	if (r)
		arbiter_answer(a, ARBITER_ANSWER_UNKNOWN, "cannot run arbiter_command %s: %s",
			       x->argv[0], strerror(-r));
	else
		loop_timer_arm(x->timer, a->config->arbiter_timeout_ms * USEC_PER_MSEC);
}

static void exec_drop(struct arbiter *a, bool untold)
{
	(void)untold;
	give_up(a->impl);
}

static const char *exec_state(const struct arbiter *a)
{
	const struct exec *x = a->impl;

	return x->current ? "asking" : "";
}

static int exec_open(struct arbiter *a, struct err *e)
{
	struct exec *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return err_errno(e, ENOMEM, "arbiter");
	a->impl = x;
	x->arbiter = a;
	list_init(&x->runs);
	r = words_split(&x->argv, a->config->arbiter_command, e);
	if (r)
		return r;
	return loop_add_timer(a->loop, &x->timer, on_timeout, x) ? err_errno(e, ENOMEM, "arbiter")
								 : 0;
}

static void reap(struct run *r)
{
	struct pollfd p = {.fd = r->pid_fd, .events = POLLIN};
	siginfo_t si;

	kill(-r->pid, SIGKILL);
	if (poll(&p, 1, REAP_MS) > 0)
		waitid(P_PIDFD, (id_t)r->pid_fd, &si, WEXITED | WNOHANG);
	run_free(r);
}

static void exec_close(struct arbiter *a)
{
	struct exec *x = a->impl;
	struct list *pos, *tmp;

	if (!x)
		return;
	list_for_each_safe (pos, tmp, &x->runs)
		reap(list_entry(pos, struct run, link));
	loop_src_free(&x->timer);
	strv_free(x->argv);
	free(x);
}

const struct arbiter_ops arbiter_exec_ops = {
	.open = exec_open,
	.close = exec_close,
	.claim = exec_claim,
	.drop = exec_drop,
	.state = exec_state,
};
