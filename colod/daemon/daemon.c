// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's start and end: sets every part up, connects them, runs the loop. */
#include "colod/daemon/daemon.h"

#include "base/cleanup.h"
#include "colod/daemon/daemon-priv.h"
#include "colod/qemu/qemu-socket.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static int engine_send(void *arg, const struct wire_msg *m)
{
	struct daemon *d = arg;

	return link_send(d->link, m);
}

static void engine_event(void *arg, enum fsm_event ev, const char *reason)
{
	struct daemon *d = arg;

	/* What it said last, GONE or STOP, may still wait on the other connection. */
	if (ev == FSM_EV_LINK_LOST)
		link_poll(d->link);
	daemon_event(d, ev, reason);
}

static bool engine_runs_next(void *arg)
{
	return daemon_runs_next(arg);
}

static void engine_standing(void *arg, enum standing s)
{
	daemon_note_standing(arg, s);
}

static const struct ckpt_ops engine_ops = {
	.send = engine_send,
	.event = engine_event,
	.runs_next = engine_runs_next,
	.standing = engine_standing,
};

/* While we scan, QEMU saves the devices: one core is its own. */
static unsigned scan_threads(const struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (c->scan_threads)
		return c->scan_threads;
	return (unsigned)MIN(MAX(cores - 1, 1), 4);
}

static int open_tracker(struct daemon *d, struct err *e)
{
	const struct guest *g = d->guest;
	struct tracker_target t = {.pid = g->pid,
				   .uffd = g->uffd,
				   .va = g->ram_va,
				   .bytes = g->ram_bytes,
				   .host_page_bytes = g->host_page_bytes,
				   .threads = scan_threads(d->config)};
	int r = tracker_open(&d->tracker, d->track_kind, &t, e);

	return r ? r : tracker_arm(d->tracker, e);
}

static int open_engine(struct daemon *d, struct err *e)
{
	int r = open_tracker(d, e);

	if (r)
		return r;
	r = daemon_packets_init(d, e);
	if (r)
		return r;
	d->env = (struct ckpt_env){.loop = d->loop,
				   .config = d->config,
				   .guest = d->guest,
				   .tracker = d->tracker,
				   .proxy = d->proxy,
				   .stats = &d->stats,
				   .ops = &engine_ops,
				   .arg = d};
	r = primary_new(&d->primary, &d->env, e);
	if (!r)
		r = secondary_new(&d->secondary, &d->env, e);
	if (!r)
		r = link_new(&d->link, d->loop, d->config, d->proxy, &daemon_link_handlers, d, e);
	if (!r)
		r = arbiter_new(&d->arbiter, d->loop, d->config, &daemon_arbiter_handlers, d, e);
	return r;
}

/* A guest that was found is left running, and its output waits if it did. */
static void cannot_go_on(struct daemon *d, const struct err *why)
{
	d->state = FSM_COMPLETED;
	if (!d->found) {
		daemon_end(d, -why->code, err_msg(why));
		return;
	}
	d->ending = true;
	daemon_left(d, why);
	if (d->proxy)
		proxy_keep_rules(d->proxy);
	loop_stop(d->loop, 0);
}

static void on_qemu_ready(void *arg)
{
	struct daemon *d = arg;
	struct err e = {};

	d->guest = qemu_guest(d->qemu);
	daemon_hurry(d);
	if (open_engine(d, &e)) {
		cannot_go_on(d, &e);
		return;
	}
	daemon_fds_keep(d);
	daemon_guest_init(d);
	log_notice("qemu", "version=%s machine=%s accel=%s pid=%d tracking=%s", d->guest->version,
		   d->guest->machine, d->guest->accel, (int)d->guest->pid,
		   tracker_name(d->tracker));
	if (d->found)
		daemon_go_on(d);
	else if (d->role == ROLE_PRIMARY)
		daemon_ask(d, ASKS_FRESH); /* may it be heard, or does it live elsewhere? */
	else
		daemon_note_standing(d, STANDING_REPLICA);
	sd_notifyf(0, "READY=1\nSTATUS=%s", role_name(d->role));
	if (d->term_pending)
		daemon_event(d, FSM_EV_TERM, NULL);
}

static void on_qemu_failed(void *arg, const struct err *why)
{
	struct daemon *d = arg;

	if (!d->ending) { /* else it was ended while it started, on request */
		d->ending = true;
		d->result = -why->code;
		d->result_err = *why;
		if (qemu_is_left(d->qemu))
			daemon_left(d, why);
	}
	if (!qemu_is_left(d->qemu))
		daemon_note_end(d);
	loop_stop(d->loop, 0);
}

static void on_qemu_dying(void *arg)
{
	struct daemon *d = arg;

	if (d->ending)
		return;
	d->dying = true;
	daemon_event(d, FSM_EV_QEMU_DEAD, "QEMU is ending");
}

static void on_qemu_exited(void *arg, const char *how)
{
	struct daemon *d = arg;
	char reason[128];

	snprintf(reason, sizeof(reason), "QEMU ended: %s", how);
	if (!d->ending)
		daemon_event(d, FSM_EV_QEMU_DEAD, reason);
	else if (d->dying)
		err_set(&d->result_err, EIO, "%s", reason);
	daemon_note_end(d);
	loop_stop(d->loop, 0);
}

static const struct qemu_handlers qemu_handlers = {
	.ready = on_qemu_ready,
	.failed = on_qemu_failed,
	.dying = on_qemu_dying,
	.exited = on_qemu_exited,
};

static void on_signal(void *arg, int signo)
{
	struct daemon *d = arg;

	(void)signo;
	if (!d->primary) { /* QEMU is still starting */
		d->term_pending = true;
		if (!d->found)
			daemon_end(d, 0, NULL);
		return;
	}
	daemon_event(d, FSM_EV_TERM, signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

static int start_qemu(struct daemon *d, struct err *e)
{
	int r;

	daemon_fds_drop(d);
	r = daemon_taps_open(d, e);
	if (!r)
		r = qemu_start(&d->qemu, d->loop, d->config, d->track_kind, d->tap_fds,
			       &qemu_handlers, d, e);
	if (!r)
		daemon_note_start(d);
	return r;
}

static int set_up(struct daemon *d, struct err *e)
{
	static const int signals[DAEMON_SIGNALS] = {SIGTERM, SIGINT};
	const struct config *c = d->config;
	int r = loop_new(&d->loop, e);

	if (r)
		return r;
	loop_watchdog(d->loop);
	for (int i = 0; !r && i < DAEMON_SIGNALS; i++)
		r = loop_add_signal(d->loop, &d->signals[i], signals[i], on_signal, d);
	if (!r)
		r = daemon_session_init(d);
	if (!r)
		r = daemon_alone_init(d);
	if (!r)
		r = daemon_peer_init(d);
	if (!r)
		r = daemon_upgrade_init(d);
	if (r)
		return err_errno(e, -r, "event loop");
	r = daemon_standing_init(d, e);
	if (!r)
		r = link_check_config(c, e); /* before there is a guest */
	if (!r)
		r = tracker_probe(c->tracking, c->memory_page_bytes, &d->track_kind, e);
	if (!r)
		r = make_runtime_dir(c->runtime_dir, e);
	if (!r)
		r = control_open(&d->control, d->loop, c->socket_path, c->control_group,
				 daemon_on_control, d, e);
	if (!r)
		r = daemon_uplinks_open(d, e);
	if (!r)
		r = daemon_find(d, e);
	return r > 0 ? daemon_adopt(d, &qemu_handlers, e) : r ?: start_qemu(d, e);
}

static void tear_down(struct daemon *d)
{
	control_close(d->control);
	if (d->guest)
		for (int i = 0; i < DAEMON_QMP_EVENTS; i++)
			qmp_client_unsubscribe(&d->subs[i]);
	if (d->secondary) {
		primary_stop(d->primary);
		secondary_stop(d->secondary);
	}
	/* The engine's callbacks come before the engine goes. */
	if (d->qemu)
		qemu_hang_up(d->qemu);
	arbiter_free(d->arbiter);
	link_free(d->link);
	/* Its thread goes on with the orders that are part of the engine until it has ended. */
	proxy_free(d->proxy);
	d->proxy = d->env.proxy = NULL;
	primary_free(d->primary);
	secondary_free(d->secondary);
	close_fd(&d->start_packet_fd);
	close_fd(&d->start_fd);
	tracker_close(d->tracker);
	qemu_free(d->qemu);
	daemon_uplinks_close(d);
	daemon_taps_close(d);
	loop_src_free(&d->start_timer);
	loop_src_free(&d->recover_timer);
	loop_src_free(&d->shut_timer);
	loop_src_free(&d->yield_timer);
	loop_src_free(&d->upgrade_timer);
	close_fd(&d->found_pidfd);
	free(d->state_path);
	free(d->flows_path);
	for (int i = 0; i < DAEMON_SIGNALS; i++)
		loop_src_free(&d->signals[i]);
	loop_free(d->loop);
}

int daemon_run(struct config *c, enum role role, const struct daemon_program *program,
	       struct err *e)
{
	autofree struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_errno(e, ENOMEM, "colod");
	d->config = c;
	d->role = role;
	d->program = program;
	d->found_pidfd = -1;
	d->start_fd = d->start_packet_fd = -1;
	memset(d->tap_fds, -1, sizeof(d->tap_fds));
	log_setup(c->name, c->log_level);
	r = set_up(d, e);
	if (!r)
		r = loop_run(d->loop);
	if (!r && d->result) {
		r = d->result;
		*e = d->result_err;
	}
	tear_down(d);
	return r;
}
