// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's half of the checkpoint engine: sessions and the primary's messages. */
#include "colod/checkpoint/secondary-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 30000

/* A QMP command of the session; replies of earlier sessions never reach a handler. */
bool secondary_reply_is_stale(struct secondary *s)
{
	s->calls--;
	if (!s->stale_calls)
		return false;
	s->stale_calls--;
	return true;
}

void secondary_call(struct secondary *s, const char *name, qmp_reply_fn fn)
{
	struct qmp_cmd cmd = {
		.name = name, .fd = -1, .timeout_ms = CALL_TIMEOUT_MS, .fn = fn, .arg = s};
	struct qmp_reply gone = {.status = -ECONNRESET, .desc = "the QMP connection is closed"};
	int r = qmp_loop_send(s->env->guest->qmp, &cmd);

	s->calls++;
	if (r)
		fn(s, &gone);
}

void secondary_fail(struct secondary *s, const char *what, const char *why)
{
	struct wire_msg m = {.type = WIRE_FAILED, .epoch = s->committed};

	snprintf(m.text, sizeof(m.text), "%s: %s", what, why);
	s->env->ops->send(s->env->arg, &m);
	if (s->go_live)
		ckpt_event(s->env, FSM_EV_LIVE_FAILED, "%s", m.text);
	else
		ckpt_event(s->env, FSM_EV_SYNC_FAILED, "%s", m.text);
}

/* ---- the primary's messages and pages ---- */

void secondary_maybe_suspended(struct secondary *s)
{
	bool due = s->new_epoch == s->committed + 1 && !s->suspended && !s->go_live;

	if (due && s->packets_stopped && s->phase != SECONDARY_STOPPING) {
		s->suspended = true;
		ckpt_send(s->env, WIRE_SUSPENDED, s->new_epoch, 0);
	}
	secondary_step(s);
}

static void on_stopped(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (secondary_reply_is_stale(s) || s->phase != SECONDARY_STOPPING)
		return;
	if (r->status) {
		s->phase = SECONDARY_OPEN;
		secondary_fail(s, "QEMU could not stop the secondary's guest", r->desc);
		return;
	}
	s->running = false;
	s->phase = SECONDARY_OPEN;
	secondary_maybe_suspended(s);
}

void secondary_packets_are_stopped(struct secondary *s)
{
	if (s->phase == SECONDARY_STOPPING)
		secondary_call(s, "stop", on_stopped);
	else
		secondary_maybe_suspended(s);
}

static void on_new(struct secondary *s, const struct wire_msg *m)
{
	/* Applying and loading the epoch before may still be under way: the guest stands still
	 * then. */
	bool again = m->epoch == s->new_epoch;

	if (m->epoch != s->committed + 1 || (again && !s->suspended)) {
		secondary_fail(s, "protocol error", "NEW of an unexpected epoch");
		return;
	}
	s->new_epoch = m->epoch;
	s->suspended = false;
	/* What an earlier NEW of this epoch has begun goes on: that one was lost with its link. */
	if (s->phase == SECONDARY_STOPPING || s->stopped_call.busy)
		return;
	if (s->running || s->phase == SECONDARY_RUN)
		s->phase = SECONDARY_STOPPING;
	/* Before QEMU stops, so that it finds its taps empty then; and if it stands still: a load
	 * under way may have said that it runs. */
	secondary_packets_stopped(s);
	if (s->packets_stopped)
		secondary_packets_are_stopped(s);
}

static void on_handover(struct secondary *s, const struct wire_msg *m)
{
	if (m->epoch != s->loaded || s->loaded != s->committed || !(s->flags & WIRE_EPOCH_SWITCH) ||
	    s->phase != SECONDARY_OPEN) {
		secondary_fail(s, "protocol error", "HANDOVER without a loaded final checkpoint");
		return;
	}
	ckpt_event(s->env, FSM_EV_HANDED_OVER, NULL);
}

void secondary_message(struct secondary *s, const struct wire_msg *m)
{
	if (s->phase == SECONDARY_OFF || s->go_live)
		return;
	switch (m->type) {
	case WIRE_NEW:
		on_new(s, m);
		break;
	case WIRE_HANDOVER:
		on_handover(s, m);
		break;
	case WIRE_FAILED:
		ckpt_event(s->env, FSM_EV_SYNC_FAILED, "the primary cannot go on: %s", m->text);
		break;
	default:
		break;
	}
}

static void on_report(void *arg, struct rx_report *r)
{
	struct secondary *s = arg;

	if (s->phase == SECONDARY_OFF || s->go_live)
		return;
	if (r->status == -EPROTO || r->status == -EBADMSG || r->status == -ENOMEM) {
		secondary_fail(s, "the epoch was refused", err_msg(&r->err));
		return;
	}
	if (r->status) {
		ckpt_event(s->env, FSM_EV_LINK_LOST, "%s", err_msg(&r->err));
		return;
	}
	if (r->resumed) {
		secondary_resumed(s, &r->send);
		return;
	}
	s->staged = true;
	s->staged_flags = r->send.flags;
	secondary_step(s);
}

/*
 * From run state "shutdown" QEMU runs no guest again before a reset. The reset writes guest RAM, so
 * it has to be over before an epoch is applied.
 */
void secondary_guest_was_shut_down(struct secondary *s)
{
	struct qmp_cmd reset = {.name = "system_reset", .fd = -1};

	/* Without a session, too: the next one's checkpoints could not be run. */
	if (!qmp_loop_send(s->env->guest->qmp, &reset))
		s->shut_down = true;
}

static void set_reboot(struct secondary *s, const char *action)
{
	struct qmp_cmd cmd = {.name = "set-action", .args = json_object_new_object(), .fd = -1};

	json_object_object_add(cmd.args, "reboot", json_object_new_string(action));
	qmp_loop_send(s->env->guest->qmp, &cmd);
}

void secondary_reset_was_a_shutdown(struct secondary *s)
{
	s->reset_allowed = true;
	set_reboot(s, "reset");
	secondary_guest_was_shut_down(s);
}

void secondary_guest_was_reset(struct secondary *s)
{
	s->shut_down = false;
	if (s->reset_allowed)
		set_reboot(s, "shutdown");
	s->reset_allowed = false;
	secondary_step(s);
}

/* ---- sessions ---- */

int secondary_new(struct secondary **out, const struct ckpt_env *env, struct err *e)
{
	struct secondary *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "checkpoint engine");
	s->env = env;
	s->bulk_fd = -1;
	secondary_work_init(s);
	secondary_packets_init(s);
	r = bitmap_init(&s->own, guest_pages(env->guest));
	if (r)
		err_errno(e, -r, "checkpoint engine");
	if (!r)
		r = apply_init(&s->replica, env->guest, e);
	if (!r)
		r = rx_init(&s->rx, env, &s->replica, on_report, s, e);
	if (!r)
		r = loop_add_timer(env->loop, &s->load_timer, secondary_on_load_timer, s);
	if (!r)
		r = worker_start(&s->worker, env->loop, "colod-apply", e);
	if (r) {
		secondary_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void secondary_free(struct secondary *s)
{
	if (!s)
		return;
	if (s->rx.hash)
		rx_destroy(&s->rx);
	worker_stop(s->worker);
	loop_src_free(&s->load_timer);
	close_fd(&s->bulk_fd);
	apply_destroy(&s->replica);
	bitmap_destroy(&s->own);
	free(s);
}

void secondary_start(struct secondary *s, int bulk_fd, uint64_t epoch, bool full)
{
	s->session++;
	s->phase = SECONDARY_SETUP;
	s->bulk_fd = bulk_fd;
	s->full = full;
	s->committed = s->new_epoch = epoch;
	s->loaded = s->marked = epoch;
	s->announced = !full;
	s->flags = s->staged_flags = 0;
	s->resuming = false;
	s->verified.epoch = 0;
	s->running = s->go_live = s->link_lost = s->suspended = s->staged = s->shut_down = false;
	secondary_submit(s, full ? APPLY_SETUP_FULL : APPLY_SETUP_SWAPPED);
}

bool secondary_is_idle(const struct secondary *s)
{
	return s->phase == SECONDARY_OFF && !s->job.busy && !s->calls && secondary_packets_idle(s);
}

static void end_session(struct secondary *s)
{
	s->stale_calls = s->calls;
	s->session++;
	s->phase = SECONDARY_OFF;
	close_fd(&s->bulk_fd);
	s->go_live = s->staged = s->load_waits = false;
}

static void on_stopped_for_good(void *arg, const struct qmp_reply *r)
{
	(void)r;
	secondary_reply_is_stale(arg);
}

void secondary_stop(struct secondary *s)
{
	if (s->phase == SECONDARY_OFF)
		return;
	rx_stop(&s->rx);
	if (s->running || s->phase == SECONDARY_RUN || s->phase == SECONDARY_STOPPING)
		secondary_call(s, "stop", on_stopped_for_good);
	s->running = false;
	end_session(s);
}

int secondary_detach(struct secondary *s)
{
	int fd = rx_detach(&s->rx);

	end_session(s);
	secondary_submit(s, APPLY_RELEASE);
	return fd;
}

uint64_t secondary_epoch(const struct secondary *s)
{
	return s->committed;
}
