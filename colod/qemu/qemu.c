// SPDX-License-Identifier: GPL-2.0-or-later
/* Life of the QEMU process: launch, greeting, set-up, ready, end. */
#include "colod/qemu/qemu.h"

#include "base/cleanup.h"
#include "colod/core/words.h"
#include "colod/qemu/args.h"
#include "colod/qemu/maps.h"
#include "colod/qemu/qemu-check.h"
#include "colod/qemu/qemu-ram.h"
#include "colod/qemu/qemu-setup.h"
#include "colod/qemu/qemu-socket.h"
#include "colod/qemu/qemu-spawn.h"
#include "colod/qemu/qemu-uffd.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

/* Locking guest RAM clears all of it first. */
#define START_BASE_US   (60 * USEC_PER_SEC)
#define START_PER_GB_US (10 * USEC_PER_SEC)

/* A QEMU that ends closes QMP first: give it time to end before it is ended. */
#define LOST_GRACE_US USEC_PER_SEC

/* The main thread and one that runs the guest: rarely is either the last one of them to end. */
#define WATCHED_THREADS 2

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

enum qemu_state {
	QEMU_STARTING,
	QEMU_READY,
	QEMU_ENDED,
};

struct qemu {
	struct loop *loop;
	struct qemu_handlers handlers;
	void *arg;
	enum qemu_state state;
	struct err why; /* first reason to give up, code 0 while there is none */
	struct guest guest;
	struct qemu_setup setup;
	struct qemu_files files;
	bool wants_uffd;
	bool killed; /* by us */
	struct qemu_ram ram;
	bool is_set_up;
	struct qemu_uffd uffd;
	int pidfd;
	struct loop_src *on_pid, *deadline, *on_ready;
	struct {
		int pidfd;
		struct loop_src *src;
	} threads[WATCHED_THREADS];
	unsigned nthreads;
};

static void forget_threads(struct qemu *q)
{
	for (; q->nthreads; q->nthreads--) {
		loop_src_free(&q->threads[q->nthreads - 1].src);
		close_fd(&q->threads[q->nthreads - 1].pidfd);
	}
}

static void kill_qemu(struct qemu *q)
{
	if (q->pidfd < 0)
		return;
	q->killed = true;
	pidfd_send_signal(q->pidfd, SIGKILL, NULL, 0);
}

/* Give up: the end of the process brings the reason to the handlers. The first reason counts. */
static void give_up(struct qemu *q, const struct err *reason)
{
	if (!q->why.code)
		q->why = *reason;
	kill_qemu(q);
}

/* ---- the way to ready ---- */

static void on_qmp_ready(void *arg)
{
	struct qemu *q = arg;
	struct err e = {};
	int r = check_version(&q->guest, qmp_client_version(qmp_loop_client(q->guest.qmp)), &e);

	if (!r)
		r = qemu_uffd_need(&q->uffd, &e);
	if (r)
		give_up(q, &e);
	else
		qemu_setup_start(&q->setup);
}

/* Two things run side by side: QEMU's set-up and the locking of its memory. */
static void check_ready(struct qemu *q)
{
	struct guest *g = &q->guest;
	struct err e = {};

	if (!q->is_set_up || !q->ram.is_locked)
		return;
	g->uffd = q->uffd.fd;
	if (maps_find_in(g->pid, q->ram.fd, g->ram_bytes, &g->ram_va, &e))
		give_up(q, &e);
	else
		loop_defer_arm(q->on_ready);
}

static void on_setup_done(void *arg, const struct err *reason)
{
	struct qemu *q = arg;

	/* A closed connection tells its own reason, and more of it. */
	if (reason && reason->code == ECONNRESET)
		return;
	q->is_set_up = !reason;
	if (reason)
		give_up(q, reason);
	else
		check_ready(q);
}

static void on_uffd_failed(void *arg, const struct err *reason)
{
	give_up(arg, reason);
}

static void on_ram_locked(void *arg, const struct err *reason)
{
	struct qemu *q = arg;

	if (reason)
		give_up(q, reason);
	else
		check_ready(q);
}

/* Deferred, so that the handler may free the QMP client. */
static void on_ready(void *arg)
{
	struct qemu *q = arg;

	if (q->state != QEMU_STARTING || q->why.code)
		return;
	q->state = QEMU_READY;
	loop_timer_disarm(q->deadline);
	q->handlers.ready(q->arg);
}

static void on_qmp_closed(void *arg, const struct err *reason)
{
	struct qemu *q = arg;

	/* Already on its way to the end. */
	if (q->why.code)
		return;
	/* Most times QEMU is about to end, which says more than a closed connection. */
	err_set(&q->why, ECONNRESET, "lost QMP connection: %s", err_msg(reason));
	loop_timer_arm(q->deadline, LOST_GRACE_US);
}

static void on_deadline(void *arg)
{
	struct qemu *q = arg;
	struct err e = {};

	err_set(&e, ETIMEDOUT, "QEMU did not answer in time");
	give_up(q, &e);
}

/* ---- the end ---- */

static void describe_end(const siginfo_t *si, char *how, size_t size)
{
	if (si->si_code == CLD_EXITED)
		snprintf(how, size, "exit status %d", si->si_status);
	else
		snprintf(how, size, "killed by signal %d (%s)", si->si_status,
			 sigabbrev_np(si->si_status) ?: "?");
}

static void report_failed(struct qemu *q, const char *how)
{
	/* A connection that closed because QEMU ended by itself is not the reason. */
	if (!q->why.code || (q->why.code == ECONNRESET && !q->killed))
		err_set(&q->why, EIO,
			"QEMU ended before it was ready (%s); see its own message above", how);
	q->handlers.failed(q->arg, &q->why);
}

static void report_exited(struct qemu *q, const char *how)
{
	char text[ERR_MSG_MAX + 64];

	snprintf(text, sizeof(text), "%s", how);
	if (q->killed)
		snprintf(text, sizeof(text), "%s: %s", how, err_msg(&q->why));
	q->handlers.exited(q->arg, text);
}

/* The end of one thread says it all. */
static void on_thread(void *arg, int fd, uint32_t revents)
{
	struct qemu *q = arg;

	(void)fd;
	(void)revents;
	forget_threads(q);
	if (q->state == QEMU_READY && q->handlers.dying)
		q->handlers.dying(q->arg);
}

void qemu_watch_thread(struct qemu *q, pid_t tid)
{
	unsigned i = q->nthreads;

	if (i == WATCHED_THREADS)
		return;
	q->threads[i].pidfd = pidfd_open(tid, PIDFD_THREAD);
	if (q->threads[i].pidfd < 0)
		return;
	q->nthreads++;
	if (loop_add_io(q->loop, &q->threads[i].src, q->threads[i].pidfd, EPOLLIN, on_thread, q))
		close_fd(&q->threads[--q->nthreads].pidfd);
}

/* The handler is called last: it may free @q. */
static void on_pid(void *arg, int fd, uint32_t revents)
{
	struct qemu *q = arg;
	enum qemu_state was = q->state;
	siginfo_t si = {};
	char how[64];

	(void)fd;
	(void)revents;
	if (waitid(P_PIDFD, (id_t)q->pidfd, &si, WEXITED | WNOHANG) || !si.si_pid)
		return;
	q->state = QEMU_ENDED;
	forget_threads(q);
	loop_src_free(&q->on_pid);
	loop_timer_disarm(q->deadline);
	close_fd(&q->pidfd);
	qemu_files_unlink(&q->files);
	describe_end(&si, how, sizeof(how));
	if (was == QEMU_STARTING)
		report_failed(q, how);
	else
		report_exited(q, how);
}

static void on_quit_reply(void *arg, const struct qmp_reply *reply)
{
	(void)arg;
	(void)reply;
}

void qemu_quit(struct qemu *q, uint32_t grace_ms)
{
	struct qmp_cmd cmd = {.name = "quit", .fd = -1, .fn = on_quit_reply};
	struct err e = {};

	if (q->state == QEMU_ENDED)
		return;
	err_set(&e, ECANCELED, "ended on request");
	if (q->state == QEMU_STARTING || qmp_loop_send(q->guest.qmp, &cmd)) {
		give_up(q, &e);
		return;
	}
	if (!q->why.code)
		err_set(&q->why, ETIMEDOUT, "did not follow QMP quit within %u ms", grace_ms);
	loop_timer_arm(q->deadline, grace_ms * USEC_PER_MSEC);
}

/* ---- starting ---- */

static int make_ram(struct qemu *q, const struct config *c, struct err *e)
{
	struct guest *g = &q->guest;
	int r;

	q->ram.bytes = g->ram_bytes = c->memory_bytes;
	q->ram.page_bytes = g->host_page_bytes = c->memory_page_bytes;
	q->ram.locked = on_ram_locked;
	q->ram.arg = q;
	r = qemu_ram_open(&q->ram, q->loop, e);
	g->ram = q->ram.map;
	return r;
}

static int make_sources(struct qemu *q, struct err *e)
{
	int r = loop_add_timer(q->loop, &q->deadline, on_deadline, q);

	if (r >= 0)
		r = loop_add_defer(q->loop, &q->on_ready, on_ready, q);
	return r < 0 ? err_errno(e, -r, "event loop") : 0;
}

static int connect_qmp(struct qemu *q, struct err *e)
{
	static const struct qmp_loop_handlers handlers = {on_qmp_ready, on_qmp_closed};
	int fd = qmp_connect(&q->files, e);

	return fd < 0 ? fd : qmp_loop_new(&q->guest.qmp, q->loop, fd, &handlers, q, e);
}

static int watch_process(struct qemu *q, struct err *e)
{
	int r;

	q->pidfd = pidfd_open(q->guest.pid, 0);
	if (q->pidfd < 0)
		return err_errno(e, errno, "cannot watch the QEMU process");
	r = loop_add_io(q->loop, &q->on_pid, q->pidfd, EPOLLIN, on_pid, q);
	if (r < 0)
		return err_errno(e, -r, "event loop");
	qemu_watch_thread(q, q->guest.pid);
	return write_pid_file(&q->files, q->guest.pid, e);
}

static int build_args(char ***argv, const struct config *c, char *const *user, struct err *e)
{
	struct qemu_fds fds = {.ram = QEMU_FD_RAM, .qmp = QEMU_FD_QMP};

	for (unsigned i = 0; i < c->nic_count; i++)
		fds.taps[i] = QEMU_FD_TAP + (int)i;
	return qemu_args_build(argv, c, user, &fds, e);
}

static int launch(struct qemu *q, const struct config *c, char *const *user, const int *tap_fds,
		  struct err *e)
{
	_cleanup_(cleanup_strv) char **argv = NULL;
	autoclose int listener = -1, uffd_end = -1;
	struct qemu_spawn s;
	int r = build_args(&argv, c, user, e);

	if (!r && q->wants_uffd)
		r = qemu_uffd_await(&q->uffd, q->loop, &uffd_end, e);
	if (r)
		return r;
	listener = qmp_listen(&q->files, c, e);
	if (listener < 0)
		return listener;
	s = (struct qemu_spawn){argv, q->ram.fd, listener, uffd_end, tap_fds, c->nic_count};
	r = connect_qmp(q, e);
	if (!r)
		r = qemu_spawn(&q->guest.pid, &s, e);
	if (!r)
		r = watch_process(q, e);
	if (r)
		qemu_files_unlink(&q->files);
	return r;
}

/* Undo a start that failed half way: nobody will hear of this process, so wait for its end here. */
static void discard(struct qemu *q)
{
	if (q->guest.pid > 0) {
		kill(q->guest.pid, SIGKILL);
		waitpid(q->guest.pid, NULL, 0);
	}
	qemu_free(q);
}

static int start(struct qemu *q, const struct config *c, const int *tap_fds, struct err *e)
{
	_cleanup_(cleanup_strv) char **user = NULL;
	int r = words_split(&user, c->qemu_args, e);

	if (r)
		return err_prefix(e, "qemu_args");
	if (c->nic_count && !tap_fds)
		return err_set(e, EINVAL, "nic: the tap \"%s\" is not open", c->nics[0].tap);
	r = qemu_args_check(user, e);
	if (!r)
		r = qemu_files_init(&q->files, c, e);
	if (!r)
		r = make_ram(q, c, e);
	if (!r)
		r = qemu_setup_files(&q->guest, e);
	if (!r)
		r = make_sources(q, e);
	return r ? r : launch(q, c, user, tap_fds, e);
}

int qemu_start(struct qemu **out, struct loop *l, const struct config *c, enum track_kind kind,
	       const int *tap_fds, const struct qemu_handlers *h, void *arg, struct err *e)
{
	struct qemu *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_errno(e, ENOMEM, "qemu");
	q->loop = l;
	q->handlers = *h;
	q->arg = arg;
	q->wants_uffd = kind == TRACK_PAGEMAP_SCAN;
	q->ram.fd = q->pidfd = -1;
	qemu_uffd_init(&q->uffd, on_uffd_failed, q);
	q->guest.uffd = q->guest.vmstate_fd = -1;
	q->guest.devstate_fd = q->guest.devstate_pos_fd = -1;
	q->setup = (struct qemu_setup){.guest = &q->guest, .done = on_setup_done, .arg = q};
	r = start(q, c, tap_fds, e);
	if (r) {
		discard(q);
		return r;
	}
	loop_timer_arm(q->deadline, START_BASE_US + c->memory_bytes / GIB * START_PER_GB_US);
	*out = q;
	return 0;
}

const struct guest *qemu_guest(const struct qemu *q)
{
	return &q->guest;
}

void qemu_hang_up(struct qemu *q)
{
	qmp_loop_free(q->guest.qmp);
	q->guest.qmp = NULL;
}

void qemu_free(struct qemu *q)
{
	if (!q)
		return;
	forget_threads(q);
	/* First, so that nothing below can end the process. */
	loop_src_free(&q->on_pid);
	close_fd(&q->pidfd);
	/* May call back, which needs the timer. */
	qmp_loop_free(q->guest.qmp);
	loop_src_free(&q->deadline);
	loop_src_free(&q->on_ready);
	qemu_ram_close(&q->ram);
	qemu_uffd_close(&q->uffd);
	close_fd(&q->guest.vmstate_fd);
	close_fd(&q->guest.devstate_fd);
	close_fd(&q->guest.devstate_pos_fd);
	qemu_files_destroy(&q->files);
	free(q);
}
