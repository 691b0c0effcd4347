// SPDX-License-Identifier: GPL-2.0-or-later
/* Life of the QEMU process: launch, greeting, set-up, ready, end. */
#include "base/cleanup.h"
#include "colod/qemu/maps.h"
#include "colod/qemu/qemu-check.h"
#include "colod/qemu/qemu-priv.h"

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

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

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

/*
 * Give up: the end of the process brings the reason to the handlers. The first reason counts. The
 * guest of a QEMU that was running before us goes on without us.
 */
static void give_up(struct qemu *q, const struct err *reason)
{
	if (!q->why.code)
		q->why = *reason;
	if (q->adopted && q->state == QEMU_STARTING)
		loop_defer_arm(q->on_refused);
	else
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
	else if (q->adopted)
		qemu_leftover_start(&q->leftover);
	else
		qemu_setup_start(&q->setup, true);
}

static void on_leftover_done(void *arg, const struct err *reason)
{
	struct qemu *q = arg;

	if (!reason)
		qemu_setup_start(&q->setup, false);
	else if (reason->code != ECONNRESET)
		give_up(q, reason);
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

static void on_refused(void *arg)
{
	struct qemu *q = arg;

	if (q->state != QEMU_STARTING)
		return;
	q->state = QEMU_LEFT;
	forget_threads(q);
	loop_src_free(&q->on_pid);
	loop_timer_disarm(q->deadline);
	q->handlers.failed(q->arg, &q->why);
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
	if (!si->si_pid) /* not our child */
		snprintf(how, size, "how is not known, another colod had started it");
	else if (si->si_code == CLD_EXITED)
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
	int r = waitid(P_PIDFD, (id_t)q->pidfd, &si, WEXITED | WNOHANG);

	(void)fd;
	(void)revents;
	if (r ? errno != ECHILD : !si.si_pid)
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

	if (q->state == QEMU_ENDED || q->state == QEMU_LEFT)
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

/* ---- parts of a start ---- */

static int add_sources(struct qemu *q, struct err *e)
{
	int r = loop_add_timer(q->loop, &q->deadline, on_deadline, q);

	if (r >= 0)
		r = loop_add_defer(q->loop, &q->on_ready, on_ready, q);
	if (r >= 0)
		r = loop_add_defer(q->loop, &q->on_refused, on_refused, q);
	return r < 0 ? err_errno(e, -r, "event loop") : 0;
}

int qemu_new(struct qemu **out, struct loop *l, const struct config *c,
	     const struct qemu_handlers *h, void *arg, struct err *e)
{
	struct qemu *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_errno(e, ENOMEM, "qemu");
	q->loop = l;
	q->handlers = *h;
	q->arg = arg;
	q->ram.fd = q->pidfd = -1;
	q->ram.bytes = q->guest.ram_bytes = c->memory_bytes;
	q->ram.page_bytes = q->guest.host_page_bytes = c->memory_page_bytes;
	q->ram.locked = on_ram_locked;
	q->ram.arg = q;
	qemu_uffd_init(&q->uffd, on_uffd_failed, q);
	q->guest.uffd = q->guest.vmstate_fd = -1;
	q->guest.devstate_fd = q->guest.devstate_pos_fd = -1;
	q->setup = (struct qemu_setup){.guest = &q->guest, .done = on_setup_done, .arg = q};
	q->leftover =
		(struct qemu_leftover){.guest = &q->guest, .done = on_leftover_done, .arg = q};
	r = add_sources(q, e);
	if (!r)
		r = qemu_leftover_init(&q->leftover, l, e);
	if (!r)
		r = qemu_files_init(&q->files, c, e);
	if (r) {
		qemu_free(q);
		return r;
	}
	*out = q;
	return 0;
}

int qemu_connect(struct qemu *q, struct err *e)
{
	static const struct qmp_loop_handlers handlers = {on_qmp_ready, on_qmp_closed};
	int fd = qmp_connect(&q->files, e), r;

	r = fd < 0 ? fd : qmp_loop_new(&q->guest.qmp, q->loop, fd, &handlers, q, e);
	/* No colod sends a command every microsecond: the ids of those before are lower. */
	if (!r && q->adopted)
		qmp_client_follow(qmp_loop_client(q->guest.qmp), (int64_t)clock_now_us());
	return r;
}

int qemu_watch(struct qemu *q, struct err *e)
{
	int r;

	if (q->pidfd < 0)
		q->pidfd = pidfd_open(q->guest.pid, 0);
	if (q->pidfd < 0)
		return err_errno(e, errno, "cannot watch the QEMU process");
	r = loop_add_io(q->loop, &q->on_pid, q->pidfd, EPOLLIN, on_pid, q);
	if (r < 0)
		return err_errno(e, -r, "event loop");
	qemu_watch_thread(q, q->guest.pid);
	return q->adopted ? 0 : write_pid_file(&q->files, q->guest.pid, e);
}

void qemu_await(struct qemu *q)
{
	loop_timer_arm(q->deadline, START_BASE_US + q->guest.ram_bytes / GIB * START_PER_GB_US);
}

const struct guest *qemu_guest(const struct qemu *q)
{
	return &q->guest;
}

int qemu_ram_fd(const struct qemu *q)
{
	return q->ram.fd;
}

const char *qemu_runstate(const struct qemu *q)
{
	return q->adopted ? q->leftover.runstate : NULL;
}

bool qemu_is_left(const struct qemu *q)
{
	return q->state == QEMU_LEFT;
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
	loop_src_free(&q->on_refused);
	qemu_leftover_destroy(&q->leftover);
	qemu_ram_close(&q->ram);
	qemu_uffd_close(&q->uffd);
	close_fd(&q->guest.vmstate_fd);
	close_fd(&q->guest.devstate_fd);
	close_fd(&q->guest.devstate_pos_fd);
	qemu_files_destroy(&q->files);
	free(q);
}
