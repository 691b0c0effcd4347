// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's way from a staged epoch to a loaded guest, and to a live one. */
#include "colod/checkpoint/secondary-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define CALL_TIMEOUT_MS 30000

/*
 * A guest that stands still needs its devices only when it goes live, and QEMU takes longer to load
 * them than all the rest of a checkpoint. So a load waits a moment for the next NEW, which makes it
 * needless; but a state that cannot be loaded must not come to light only in a failover.
 */
#define LOAD_LATER_US (10 * USEC_PER_MSEC)
#define LOAD_MAX_US   (1 * USEC_PER_SEC)

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

void secondary_submit(struct secondary *s, enum apply_work work)
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

	if (secondary_reply_is_stale(s) || s->phase != SECONDARY_RUN)
		return;
	s->phase = SECONDARY_OPEN;
	if (r->status) {
		secondary_fail(s, "QEMU could not run the secondary's guest", r->desc);
		return;
	}
	s->running = true;
	secondary_step(s);
}

/* Between checkpoints; not when the next one has begun already. */
static bool is_to_run(const struct secondary *s)
{
	return (s->flags & WIRE_EPOCH_RUN) && !s->go_live && s->new_epoch == s->committed;
}

static void wait_for_new(struct secondary *s)
{
	s->phase = SECONDARY_OPEN;
	loop_timer_arm(s->load_timer, LOAD_LATER_US);
	secondary_step(s);
}

static void after_load(struct secondary *s)
{
	bool announce = !s->announced;

	s->announced = true;
	s->loaded = s->committed;
	s->loaded_at_us = clock_now_us();
	quantile_add(&s->env->stats->load_us, s->loaded_at_us - s->load_at_us);
	ckpt_send(s->env, WIRE_LOADED, s->loaded, 0);
	if (is_to_run(s)) {
		s->phase = SECONDARY_RUN;
		secondary_call(s, "cont", on_run);
	} else {
		s->phase = SECONDARY_OPEN;
	}
	secondary_step(s);
	if (announce)
		ckpt_event(s->env, FSM_EV_SYNCED, NULL);
}

void secondary_after_packets(struct secondary *s)
{
	if (s->load_waits)
		wait_for_new(s);
	else
		after_load(s);
}

static void on_load(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (secondary_reply_is_stale(s) || s->phase != SECONDARY_LOAD)
		return;
	if (r->status) {
		secondary_fail(s, "QEMU could not load the checkpoint", r->desc);
		return;
	}
	s->phase = SECONDARY_PACKETS;
	secondary_packets_loaded(s, is_to_run(s));
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

	s->load_waits = false;
	s->load_at_us = clock_now_us();
	snprintf(job_id, sizeof(job_id), "colod-load-%" PRIu64, ++s->load_count);
	cmd.args = load_args(job_id);
	s->phase = SECONDARY_LOAD;
	s->calls++;
	if (qmp_loop_run_job(s->env->guest->qmp, &cmd))
		on_load(s, &gone);
}

static bool load_can_wait(const struct secondary *s)
{
	return !(s->flags & (WIRE_EPOCH_RUN | WIRE_EPOCH_SWITCH)) && s->announced && !s->go_live &&
	       clock_now_us() - s->loaded_at_us < LOAD_MAX_US;
}

void secondary_on_load_timer(void *arg)
{
	struct secondary *s = arg;

	if (!s->load_waits)
		return;
	if (s->phase == SECONDARY_OPEN && (s->new_epoch == s->committed || s->link_lost))
		start_load(s);
	else
		loop_timer_arm(s->load_timer, LOAD_LATER_US);
}

static void applied(struct secondary *s)
{
	struct apply_job *j = &s->job;

	if (j->verify) {
		s->verified = (struct wire_msg){.type = WIRE_VERIFIED,
						.epoch = s->committed,
						.entries = j->verified.pages,
						.zero_entries = j->verified.differing,
						.checksum = j->verified.first_differing};
		s->env->ops->send(s->env->arg, &s->verified);
	}
	s->replica.direct = false;
	/* The stage is free. After a switch-over's last epoch the connection turns round: rx reads
	 * no further. */
	if (!(s->flags & WIRE_EPOCH_SWITCH))
		rx_continue(&s->rx);
	if (!load_can_wait(s)) {
		start_load(s);
		return;
	}
	s->load_waits = true;
	s->phase = SECONDARY_PACKETS;
	secondary_packets_loaded(s, false);
}

static void set_up(struct secondary *s)
{
	struct err e;

	s->phase = SECONDARY_OPEN;
	s->replica.direct = s->full;
	if (s->go_live || s->link_lost) {
		secondary_step(s);
		return;
	}
	if (rx_start(&s->rx, steal_fd(&s->bulk_fd), s->committed + 1, &e)) {
		secondary_fail(s, "receive side", err_msg(&e));
		return;
	}
	ckpt_send(s->env, WIRE_READY, s->committed, 0);
	secondary_step(s);
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
		secondary_fail(s, "the replica is lost", err_msg(&j->err));
		return;
	}
	if (j->work == APPLY_EPOCH)
		applied(s);
	else if (j->work != APPLY_RELEASE)
		set_up(s);
}

void secondary_work_init(struct secondary *s)
{
	s->job.s = s;
	s->job.job.run = job_run;
	s->job.job.done = job_done;
	list_init(&s->job.job.mail.link);
}

/* ---- commit and going live ---- */

static void commit(struct secondary *s)
{
	s->staged = false;
	s->committed = s->new_epoch;
	s->env->stats->last_commit_at_us = clock_now_us();
	quantile_add(&s->env->stats->dirty_pages, s->replica.stage.used);
	ckpt_send(s->env, WIRE_RECEIVED, s->committed, 0);
	s->phase = SECONDARY_APPLY;
	s->flags = s->staged_flags;
	s->job.verify = (s->flags & WIRE_EPOCH_VERIFY) && s->replica.page_hashes;
	secondary_packets_committed(s);
	secondary_submit(s, APPLY_EPOCH);
}

static void on_live(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (secondary_reply_is_stale(s) || s->phase != SECONDARY_LIVE)
		return;
	s->phase = SECONDARY_OFF;
	s->session++;
	s->go_live = false;
	close_fd(&s->bulk_fd); /* of a session that never began to receive */
	secondary_submit(s, APPLY_RELEASE);
	if (r->status)
		ckpt_event(s->env, FSM_EV_LIVE_FAILED, "QEMU could not run the guest: %s", r->desc);
	else
		ckpt_event(s->env, FSM_EV_LIVE, NULL);
}

void secondary_run_live(struct secondary *s)
{
	s->phase = SECONDARY_LIVE;
	secondary_call(s, "cont", on_live);
}

static void join(struct secondary *s)
{
	s->phase = SECONDARY_JOIN;
	ckpt_standing(s->env, STANDING_ALONE); /* it is whole */
	secondary_packets_take_over(s);
}

/* One that cannot be stopped is the better guest still: what it says meanwhile may come twice. */
static void on_halted(void *arg, const struct qmp_reply *r)
{
	struct secondary *s = arg;

	if (secondary_reply_is_stale(s) || s->phase != SECONDARY_HALT)
		return;
	if (!r->status)
		s->running = false;
	join(s);
}

/*
 * While its tap joins the network both the proxy and the network would hear a guest that runs, and
 * what it says then would overtake what it said before (S5).
 */
static void take_over(struct secondary *s)
{
	rx_stop(&s->rx);
	s->staged = false;
	if (!s->running || !s->env->proxy) {
		join(s);
		return;
	}
	s->phase = SECONDARY_HALT;
	secondary_call(s, "stop", on_halted);
}

void secondary_step(struct secondary *s)
{
	if (s->phase != SECONDARY_OPEN)
		return;
	if (s->go_live && !s->shut_down) {
		if (s->load_waits)
			start_load(s);
		else
			take_over(s);
		return;
	}
	if (s->staged && s->suspended && s->new_epoch == s->committed + 1 && !s->link_lost &&
	    !s->shut_down && secondary_packets_known(s, s->new_epoch))
		commit(s);
}

void secondary_go_live(struct secondary *s)
{
	s->go_live = true;
	s->suspended = false;
	secondary_step(s);
}
