// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's half of the checkpoint engine: NEW to LOADED, and going live from any point
 * between. */
#include "colod/checkpoint/secondary.h"

#include "base/cleanup.h"
#include "base/worker.h"
#include "colod/checkpoint/apply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 30000

enum secondary_phase {
	SECONDARY_OFF,
	SECONDARY_SETUP,    /* the worker prepares cache and tracker */
	SECONDARY_OPEN,     /* receiving; nothing is being applied */
	SECONDARY_STOPPING, /* our guest is being stopped for NEW */
	SECONDARY_APPLY,    /* committed; the worker writes guest RAM */
	SECONDARY_LOAD,     /* QEMU loads the devices */
	SECONDARY_RUN,      /* cont is on its way for a guest that runs between checkpoints */
	SECONDARY_LIVE,     /* cont is on its way to go live */
};

enum apply_work {
	APPLY_SETUP_FULL,
	APPLY_SETUP_SWAPPED,
	APPLY_EPOCH,
	APPLY_RELEASE,
};

struct apply_job {
	struct job job;
	struct secondary *s;
	enum apply_work work;
	uint64_t session;
	bool busy, verify;
	int status;
	struct apply_verify verified;
	struct err err;
};

struct secondary {
	const struct ckpt_env *env;
	struct replica replica;
	struct rx rx;
	struct worker *worker;
	struct apply_job job;
	struct bitmap own; /* scratch of the worker */
	enum secondary_phase phase;
	uint64_t session;
	int bulk_fd; /* until rx takes it */
	bool full;
	bool running;   /* our guest runs between checkpoints */
	bool shut_down; /* it has shut itself down: QEMU wants a reset before it runs again */
	bool go_live;   /* as soon as what is under way has ended */
	bool link_lost;
	uint64_t committed, loaded;
	uint64_t new_epoch; /* of the last NEW; its SUSPENDED is sent when @suspended */
	bool suspended;
	bool staged; /* an epoch stands complete in the stage */
	uint32_t staged_flags;
	uint32_t flags; /* of the committed epoch */
	bool announced; /* SYNCED was raised */
	uint64_t committed_at_us;
	unsigned calls, stale_calls;
	uint64_t load_count;
};

static void next_step(struct secondary *s);

/* A QMP command of the session; replies of earlier sessions never reach a handler. */
static bool reply_is_stale(struct secondary *s)
{
	s->calls--;
	if (!s->stale_calls)
		return false;
	s->stale_calls--;
	return true;
}

static void send_call(struct secondary *s, const char *name, qmp_reply_fn fn)
{
	struct qmp_cmd cmd = {
		.name = name, .fd = -1, .timeout_ms = CALL_TIMEOUT_MS, .fn = fn, .arg = s};
	struct qmp_reply gone = {.status = -ECONNRESET, .desc = "the QMP connection is closed"};
	int r = qmp_loop_send(s->env->guest->qmp, &cmd);

	s->calls++;
	if (r)
		fn(s, &gone);
}

static void fail(struct secondary *s, const char *what, const char *why)
{
	struct wire_msg m = {.type = WIRE_FAILED, .epoch = s->committed};

	snprintf(m.text, sizeof(m.text), "%s: %s", what, why);
	s->env->ops->send(s->env->arg, &m);
	if (s->go_live)
		ckpt_event(s->env, FSM_EV_LIVE_FAILED, "%s", m.text);
	else
		ckpt_event(s->env, FSM_EV_SYNC_FAILED, "%s", m.text);
}

/* ---- worker ---- */

static int setup_full(struct secondary *s, struct apply_job *j)
{
	apply_reset(&s->replica);
	return tracker_arm(s->env->tracker, &j->err);
}

static int do_epoch(struct secondary *s, struct apply_job *j)
{
	int r = apply_epoch(&s->replica, s->env->tracker, &s->own, &j->err);

	/* Before the device load, which may itself write guest RAM (KVM: kvmvapic). */
	if (!r && j->verify)
		apply_verify(&s->replica, &j->verified);
	return r;
}

static void job_run(struct job *job)
{
	struct apply_job *j = container_of(job, struct apply_job, job);
	struct secondary *s = j->s;

	j->status = 0;
	switch (j->work) {
	case APPLY_SETUP_FULL:
		j->status = setup_full(s, j);
		break;
	case APPLY_SETUP_SWAPPED:
		apply_adopt(&s->replica);
		break;
	case APPLY_EPOCH:
		j->status = do_epoch(s, j);
		break;
	case APPLY_RELEASE:
		apply_reset(&s->replica);
		break;
	}
}

static void submit(struct secondary *s, enum apply_work work)
{
	s->job.work = work;
	s->job.busy = true;
	s->job.session = s->session;
	worker_submit(s->worker, &s->job.job);
}

/* ---- loading and running ---- */

static void on_run(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (reply_is_stale(s) || s->phase != SECONDARY_RUN)
		return;
	s->phase = SECONDARY_OPEN;
	if (r->status) {
		fail(s, "QEMU could not run the secondary's guest", r->desc);
		return;
	}
	s->running = true;
	next_step(s);
}

static void after_load(struct secondary *s)
{
	bool announce = !s->announced;

	s->announced = true;
	s->loaded = s->committed;
	quantile_add(&s->env->stats->load_us, clock_now_us() - s->committed_at_us);
	ckpt_send(s->env, WIRE_LOADED, s->loaded, 0);
	if ((s->flags & WIRE_EPOCH_RUN) && !s->go_live && s->new_epoch == s->loaded) {
		s->phase = SECONDARY_RUN;
		send_call(s, "cont", on_run);
	} else {
		s->phase = SECONDARY_OPEN;
	}
	next_step(s);
	if (announce)
		ckpt_event(s->env, FSM_EV_SYNCED, NULL);
}

static void on_load(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (reply_is_stale(s) || s->phase != SECONDARY_LOAD)
		return;
	if (r->status) {
		fail(s, "QEMU could not load the checkpoint", r->desc);
		return;
	}
	after_load(s);
}

static struct json_object *load_args(const char *job_id)
{
	struct json_object *args = json_object_new_object(), *nodes = json_object_new_array();

	json_object_array_add(nodes, json_object_new_string(GUEST_VMSTATE_NODE));
	json_object_object_add(args, "job-id", json_object_new_string(job_id));
	json_object_object_add(args, "tag", json_object_new_string(GUEST_VMSTATE_TAG));
	json_object_object_add(args, "vmstate", json_object_new_string(GUEST_VMSTATE_NODE));
	json_object_object_add(args, "devices", nodes);
	return args;
}

static void start_load(struct secondary *s)
{
	struct qmp_reply gone = {.status = -ECONNRESET, .desc = "the QMP connection is closed"};
	struct qmp_cmd cmd = {.name = "snapshot-load",
			      .fd = -1,
			      .timeout_ms = CALL_TIMEOUT_MS,
			      .fn = on_load,
			      .arg = s};
	char job_id[32];

	snprintf(job_id, sizeof(job_id), "colod-load-%" PRIu64, ++s->load_count);
	cmd.args = load_args(job_id);
	s->phase = SECONDARY_LOAD;
	s->calls++;
	if (qmp_loop_run_job(s->env->guest->qmp, &cmd))
		on_load(s, &gone);
}

static void applied(struct secondary *s)
{
	struct apply_job *j = &s->job;
	struct wire_msg m = {.type = WIRE_VERIFIED,
			     .epoch = s->committed,
			     .entries = j->verified.pages,
			     .zero_entries = j->verified.differing,
			     .checksum = j->verified.first_differing};

	if (j->verify)
		s->env->ops->send(s->env->arg, &m);
	s->replica.direct = false;
	/* The stage is free. After a switch-over's last epoch the connection turns round: rx reads
	 * no further. */
	if (!(s->flags & WIRE_EPOCH_SWITCH) && s->rx.running)
		rx_continue(&s->rx);
	start_load(s);
}

static void set_up(struct secondary *s)
{
	struct err e;

	s->phase = SECONDARY_OPEN;
	s->replica.direct = s->full;
	if (s->go_live) {
		next_step(s);
		return;
	}
	if (rx_start(&s->rx, steal_fd(&s->bulk_fd), s->committed + 1, &e)) {
		fail(s, "receive side", err_msg(&e));
		return;
	}
	ckpt_send(s->env, WIRE_READY, s->committed, 0);
	next_step(s);
}

static void job_done(struct job *job)
{
	struct apply_job *j = container_of(job, struct apply_job, job);
	struct secondary *s = j->s;

	j->busy = false;
	if (j->session != s->session)
		return;
	if (j->status == -ESRCH) {
		ckpt_event(s->env, FSM_EV_QEMU_DEAD, "%s", err_msg(&j->err));
		return;
	}
	if (j->status) {
		fail(s, "the replica is lost", err_msg(&j->err));
		return;
	}
	if (j->work == APPLY_EPOCH)
		applied(s);
	else if (j->work != APPLY_RELEASE)
		set_up(s);
}

/* ---- commit and going live ---- */

static void commit(struct secondary *s)
{
	s->staged = false;
	s->committed = s->new_epoch;
	s->committed_at_us = clock_now_us();
	s->env->stats->last_commit_at_us = s->committed_at_us;
	quantile_add(&s->env->stats->dirty_pages, s->replica.stage.used);
	ckpt_send(s->env, WIRE_RECEIVED, s->committed, 0);
	s->phase = SECONDARY_APPLY;
	s->flags = s->staged_flags;
	s->job.verify = (s->flags & WIRE_EPOCH_VERIFY) && s->replica.page_hashes;
	submit(s, APPLY_EPOCH);
}

static void on_live(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (reply_is_stale(s) || s->phase != SECONDARY_LIVE)
		return;
	s->phase = SECONDARY_OFF;
	s->session++;
	s->go_live = false;
	submit(s, APPLY_RELEASE);
	if (r->status)
		ckpt_event(s->env, FSM_EV_LIVE_FAILED, "QEMU could not run the guest: %s", r->desc);
	else
		ckpt_event(s->env, FSM_EV_LIVE, NULL);
}

/* The one place that decides what to do when nothing is under way. */
static void next_step(struct secondary *s)
{
	if (s->phase != SECONDARY_OPEN)
		return;
	if (s->go_live && !s->shut_down) {
		rx_stop(&s->rx);
		s->staged = false;
		s->phase = SECONDARY_LIVE;
		send_call(s, "cont", on_live);
		return;
	}
	if (s->staged && s->suspended && s->new_epoch == s->committed + 1 && !s->link_lost &&
	    !s->shut_down)
		commit(s);
}

void secondary_go_live(struct secondary *s)
{
	s->go_live = true;
	s->suspended = false;
	next_step(s);
}

/* ---- the primary's messages and pages ---- */

static void suspended(struct secondary *s)
{
	s->running = false;
	s->suspended = true;
	s->phase = SECONDARY_OPEN;
	ckpt_send(s->env, WIRE_SUSPENDED, s->new_epoch, 0);
	next_step(s);
}

static void on_stopped(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (reply_is_stale(s) || s->phase != SECONDARY_STOPPING)
		return;
	if (r->status) {
		s->phase = SECONDARY_OPEN;
		fail(s, "QEMU could not stop the secondary's guest", r->desc);
		return;
	}
	suspended(s);
}

static void on_new(struct secondary *s, const struct wire_msg *m)
{
	/* Applying and loading the epoch before may still be under way: the guest stands still
	 * then. */
	if (m->epoch != s->committed + 1) {
		fail(s, "protocol error", "NEW of an unexpected epoch");
		return;
	}
	s->new_epoch = m->epoch;
	if (s->running || s->phase == SECONDARY_RUN) {
		s->suspended = false;
		s->phase = SECONDARY_STOPPING;
		send_call(s, "stop", on_stopped);
		return;
	}
	s->suspended = true;
	ckpt_send(s->env, WIRE_SUSPENDED, m->epoch, 0);
	next_step(s);
}

static void on_handover(struct secondary *s, const struct wire_msg *m)
{
	if (m->epoch != s->loaded || s->loaded != s->committed || !(s->flags & WIRE_EPOCH_SWITCH) ||
	    s->phase != SECONDARY_OPEN) {
		fail(s, "protocol error", "HANDOVER without a loaded final checkpoint");
		return;
	}
	ckpt_event(s->env, FSM_EV_HANDED_OVER, NULL);
}

void secondary_message(struct secondary *s, const struct wire_msg *m)
{
	if (s->phase == SECONDARY_OFF || s->phase == SECONDARY_LIVE || s->go_live)
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
		fail(s, "the epoch was refused", err_msg(&r->err));
		return;
	}
	if (r->status) {
		ckpt_event(s->env, FSM_EV_LINK_LOST, "%s", err_msg(&r->err));
		return;
	}
	s->staged = true;
	s->staged_flags = r->send.flags;
	next_step(s);
}

void secondary_link_lost(struct secondary *s)
{
	s->link_lost = true;
}

/*
 * From run state "shutdown" QEMU runs no guest again before a reset. The reset writes guest RAM, so
 * it has to be over before an epoch is applied.
 */
void secondary_guest_was_shut_down(struct secondary *s)
{
	struct qmp_cmd reset = {.name = "system_reset", .fd = -1};

	if (s->phase == SECONDARY_OFF || qmp_loop_send(s->env->guest->qmp, &reset))
		return;
	s->shut_down = true;
}

void secondary_guest_was_reset(struct secondary *s)
{
	s->shut_down = false;
	next_step(s);
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
	s->job.s = s;
	s->job.job.run = job_run;
	s->job.job.done = job_done;
	list_init(&s->job.job.mail.link);
	r = bitmap_init(&s->own, guest_pages(env->guest));
	if (r)
		err_errno(e, -r, "checkpoint engine");
	if (!r)
		r = apply_init(&s->replica, env->guest, e);
	if (!r)
		r = rx_init(&s->rx, env, &s->replica, on_report, s, e);
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
	s->loaded = epoch;
	s->announced = !full;
	s->flags = s->staged_flags = 0;
	s->running = s->go_live = s->link_lost = s->suspended = s->staged = s->shut_down = false;
	submit(s, full ? APPLY_SETUP_FULL : APPLY_SETUP_SWAPPED);
}

bool secondary_is_idle(const struct secondary *s)
{
	return s->phase == SECONDARY_OFF && !s->job.busy && !s->calls;
}

static void end_session(struct secondary *s)
{
	s->stale_calls = s->calls;
	s->session++;
	s->phase = SECONDARY_OFF;
	close_fd(&s->bulk_fd);
	s->go_live = s->staged = false;
}

static void on_stopped_for_good(void *arg, const struct qmp_reply *r)
{
	(void)r;
	reply_is_stale(arg);
}

void secondary_stop(struct secondary *s)
{
	if (s->phase == SECONDARY_OFF)
		return;
	rx_stop(&s->rx);
	if (s->running || s->phase == SECONDARY_RUN)
		send_call(s, "stop", on_stopped_for_good);
	s->running = false;
	end_session(s);
}

int secondary_detach(struct secondary *s)
{
	int fd = rx_detach(&s->rx);

	end_session(s);
	submit(s, APPLY_RELEASE);
	return fd;
}

uint64_t secondary_epoch(const struct secondary *s)
{
	return s->committed;
}
