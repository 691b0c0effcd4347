// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's half of the checkpoint engine: sessions, messages, timers. */
#include "colod/checkpoint/primary.h"

#include "base/cleanup.h"
#include "colod/checkpoint/primary-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The first checkpoint is taken when so little is left, or after so many rounds that it will not
 * get less. */
#define FIRST_GOOD_PAGES      1024
#define FIRST_MAX_LATE_ROUNDS 30

/* Time between pre-copy rounds: four in a period, with bounds on both sides. */
#define MIN_ROUND_GAP_US (5 * USEC_PER_MSEC)
#define MAX_ROUND_GAP_US (100 * USEC_PER_MSEC)

static uint64_t round_gap_us(const struct primary *p)
{
	const struct config *c = p->env->config;
	uint64_t gap = MAX_ROUND_GAP_US;

	if (c->mode != CKPT_MODE_ON_DEMAND)
		gap = c->period_ms * USEC_PER_MSEC / 4;
	return MIN(MAX(gap, MIN_ROUND_GAP_US), MAX_ROUND_GAP_US);
}

static void on_period(void *arg)
{
	struct primary *p = arg;

	primary_trigger(p, p->synced ? CKPT_BY_PERIOD : CKPT_BY_FIRST);
}

static void on_round(void *arg)
{
	struct primary *p = arg;

	if (p->phase == PRIMARY_COPY || p->phase == PRIMARY_IDLE)
		primary_round(p);
}

int primary_new(struct primary **out, const struct ckpt_env *env, struct err *e)
{
	struct primary *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_errno(e, ENOMEM, "checkpoint engine");
	p->env = env;
	p->bulk_fd = -1;
	p->was_running = true;
	list_init(&p->waiting);
	list_init(&p->serving);
	primary_work_init(p);
	primary_packets_init(p);
	r = tx_init(&p->tx, env->guest, env->tracker, env->stats, e);
	if (!r)
		r = worker_start(&p->worker, env->loop, "colod-tx", e);
	if (!r)
		r = loop_add_timer(env->loop, &p->period_timer, on_period, p);
	if (!r)
		r = loop_add_timer(env->loop, &p->round_timer, on_round, p);
	if (!r)
		r = loop_add_timer(env->loop, &p->stall_timer, primary_on_stall, p);
	if (r) {
		primary_free(p);
		return r;
	}
	*out = p;
	return 0;
}

void primary_free(struct primary *p)
{
	if (!p)
		return;
	p->holding = false;
	primary_stop(p);
	worker_stop(p->worker);
	loop_src_free(&p->period_timer);
	loop_src_free(&p->round_timer);
	loop_src_free(&p->stall_timer);
	tx_destroy(&p->tx);
	free(p);
}

void primary_start(struct primary *p, int bulk_fd, uint64_t epoch, bool full)
{
	p->session++;
	p->phase = PRIMARY_WAIT;
	p->link = PRIMARY_LINKED;
	p->bulk_fd = bulk_fd;
	p->full = full;
	p->epoch = p->loaded = epoch;
	p->synced = p->announced = !full;
	p->late_rounds = 0;
	p->outbox_done = p->given = false;
	p->flags = 0;
	p->failures_in_a_row = 0;
	p->not_before_us = p->waiting_since_us = 0;
	p->budget_at_us = clock_now_us();
	/* After a switch-over output waits for the first checkpoint: at once. */
	p->begun_at_us = full ? p->budget_at_us : 0;
	progress_begin(&p->progress, guest_pages(p->env->guest), p->budget_at_us);
	atomic_store(&p->tx.left, p->progress.total);
	p->last_err.code = 0;
	primary_await_ready(p);
}

static void answer_all(struct primary *p)
{
	struct ckpt_result res = {.status = -ECANCELED, .reason = "replication ended"};

	p->triggers = 0;
	primary_answer(&p->serving, &res);
	primary_answer(&p->waiting, &res);
}

/* Common end of a session; results and replies that are still on their way are ignored when they
 * come. */
static void end_session(struct primary *p)
{
	p->holding = false;
	p->stale_calls = p->calls;
	loop_timer_disarm(p->period_timer);
	loop_timer_disarm(p->round_timer);
	loop_timer_disarm(p->stall_timer);
	atomic_store(&p->tx.hurry, true);
	if (p->phase == PRIMARY_WAIT || p->link == PRIMARY_OFFERED) /* not yet the worker's */
		close(p->bulk_fd);
	p->bulk_fd = -1;
	p->phase = PRIMARY_OFF;
	p->link = PRIMARY_LINKED;
	p->session++;
	primary_submit(p, &p->close_job, TX_CLOSE);
	answer_all(p);
}

void primary_stop(struct primary *p)
{
	if (p->phase == PRIMARY_OFF) {
		answer_all(p); /* who asked between two sessions */
		return;
	}
	primary_run_guest(p);
	shutdown(p->bulk_fd, SHUT_RDWR); /* a blocked send returns */
	end_session(p);
}

/* Between two jobs the worker's side is ours. A copy would want a descriptor when none may be left, and
 * after HANDED_OVER there is no way back. */
static int take_bulk_fd(struct primary *p)
{
	int fd;

	if (p->tx.fd >= 0 && !p->round_job.busy && !p->ckpt_job.busy && !p->close_job.busy)
		return steal_fd(&p->tx.fd);
	fd = fcntl(p->bulk_fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int primary_detach(struct primary *p)
{
	int fd = take_bulk_fd(p);

	end_session(p);
	return fd;
}

bool primary_is_idle(const struct primary *p)
{
	return p->phase == PRIMARY_OFF && !p->round_job.busy && !p->ckpt_job.busy &&
	       !p->resume_job.busy && !p->close_job.busy && !p->calls && primary_packets_idle(p);
}

uint64_t primary_epoch(const struct primary *p)
{
	return p->epoch;
}

bool primary_copy_progress(const struct primary *p, struct ckpt_progress *out)
{
	if (p->phase == PRIMARY_OFF || p->announced)
		return false;
	out->pages_total = p->progress.total;
	out->pages_left = MIN(atomic_load(&p->tx.left), out->pages_total);
	out->known = progress_seconds_left(&p->progress, out->pages_left, clock_now_us(),
					   &out->seconds_left);
	return true;
}

bool primary_peer_may_hold(const struct primary *p)
{
	return p->peer_may_hold;
}

void primary_set_peer_holds(struct primary *p, bool holds)
{
	p->peer_may_hold = holds;
	ckpt_standing(p->env, holds ? STANDING_PROTECTED : STANDING_ALONE);
}

bool primary_holds_guest(const struct primary *p)
{
	return p->phase == PRIMARY_PAUSE && p->was_running;
}

void primary_trigger(struct primary *p, enum ckpt_trigger t)
{
	p->triggers |= BIT(t);
	if (p->link != PRIMARY_LINKED)
		return;
	if (p->phase == PRIMARY_COPY && t == CKPT_BY_FIRST)
		primary_begin(p);
	else
		primary_schedule(p);
}

/* What was lost may be missing behind the checkpoint under way, too. */
void primary_differed(struct primary *p, bool lost)
{
	if (lost || p->phase != PRIMARY_PREPARE)
		primary_trigger(p, CKPT_BY_MISMATCH);
}

void primary_request(struct primary *p, struct ckpt_waiter *w)
{
	list_add_tail(&p->waiting, &w->link);
	primary_trigger(p, w->trigger);
}

void primary_switch(struct primary *p)
{
	primary_trigger(p, CKPT_BY_SWITCH_OVER);
}

void primary_retime(struct primary *p)
{
	primary_schedule(p);
}

static void on_ready(struct primary *p, const struct wire_msg *m)
{
	struct tx_job *j = &p->ckpt_job;

	if (p->phase != PRIMARY_WAIT)
		return;
	if (m->epoch != p->epoch) {
		ckpt_event(p->env, FSM_EV_SYNC_FAILED,
			   "the secondary is at epoch %" PRIu64 ", not %" PRIu64, m->epoch,
			   p->epoch);
		return;
	}
	p->phase = PRIMARY_OPEN;
	primary_set_peer_holds(p, !p->full);
	j->fd = p->bulk_fd;
	j->full = p->full;
	j->epoch = p->epoch + 1;
	primary_submit(p, j, TX_OPEN);
}

void primary_maybe_pause(struct primary *p)
{
	if (p->phase == PRIMARY_PREPARE && p->suspended && p->prepared && primary_packets_filter(p))
		primary_pause(p);
}

static void on_loaded(struct primary *p, uint64_t epoch)
{
	p->loaded = epoch;
	if (!p->announced && p->synced && epoch == p->epoch) {
		p->announced = true;
		ckpt_event(p->env, FSM_EV_SYNCED, NULL);
		return;
	}
	primary_maybe_complete(p);
}

void primary_message(struct primary *p, const struct wire_msg *m)
{
	bool next = m->epoch == p->epoch + 1 && !p->committed;
	bool sending = p->phase == PRIMARY_SEND || p->phase == PRIMARY_AWAIT;

	if (p->phase == PRIMARY_OFF)
		return;
	if (p->link != PRIMARY_LINKED && m->type != WIRE_FAILED) {
		primary_early_message(p, m);
		return;
	}
	switch (m->type) {
	case WIRE_READY:
		on_ready(p, m);
		break;
	case WIRE_SUSPENDED:
		p->suspended |= p->phase == PRIMARY_PREPARE && next;
		primary_maybe_pause(p);
		break;
	case WIRE_RECEIVED:
		p->received |= sending && next;
		primary_maybe_complete(p);
		break;
	case WIRE_VERIFIED:
		if (!sending || m->epoch != p->epoch + !p->committed)
			break; /* of an epoch before, said again after a resume */
		p->verified = true;
		p->verify_result = *m;
		primary_maybe_complete(p);
		break;
	case WIRE_LOADED:
		on_loaded(p, m->epoch);
		break;
	case WIRE_TAKEN:
		if (p->given && m->epoch == p->epoch)
			ckpt_event(p->env, FSM_EV_HANDED_OVER, NULL);
		break;
	case WIRE_FAILED:
		ckpt_event(p->env, FSM_EV_PEER_FAILED, "the secondary cannot go on: %s", m->text);
		break;
	default:
		break;
	}
}

/* The first full copy: on with it, or close it by the first checkpoint. */
static void copy_goes_on(struct primary *p, struct tx_job *j)
{
	if (j->full_done && j->work == TX_ROUND &&
	    (j->unsent <= FIRST_GOOD_PAGES || ++p->late_rounds > FIRST_MAX_LATE_ROUNDS)) {
		primary_trigger(p, CKPT_BY_FIRST);
		return;
	}
	if (p->env->config->bandwidth_Bps)
		loop_timer_arm(p->round_timer, MIN_ROUND_GAP_US);
	else
		primary_round(p);
}

static void job_failed(struct primary *p, struct tx_job *j)
{
	struct err why = j->err;

	if (j->status == -ESRCH) {
		/* The tracker may see it before the loop does. Calling for a new secondary now
		 * would cost the replica that is needed in a moment. */
		ckpt_event(p->env, FSM_EV_QEMU_DEAD, "%s", err_msg(&why));
		return;
	}
	if (j->work == TX_CAPTURE || j->work == TX_HASH) {
		/* The guest stands still: it comes first. */
		p->captured = p->hashed = true;
		if (!p->pause_failed)
			p->last_err = why;
		p->pause_failed = true;
		primary_pause_step(p);
		return;
	}
	if (p->link == PRIMARY_CUT || p->link == PRIMARY_OFFERED)
		return; /* of the link that is lost */
	if (p->tx.link_failed)
		ckpt_event(p->env, FSM_EV_LINK_LOST, "%s", err_msg(&why));
	else
		ckpt_event(p->env, FSM_EV_SYNC_FAILED, "%s", err_msg(&why));
}

static void captured(struct primary *p, const struct tx_job *j)
{
	p->sample.scan_us = (uint32_t)j->round.scan_us;
	p->sample.copy_us = (uint32_t)j->round.copy_us;
	p->sample.last_pages = (uint32_t)j->round.taken;
	p->captured = true;
}

void primary_work_done(struct primary *p, struct tx_job *j)
{
	if (j->status) {
		job_failed(p, j);
		return;
	}
	switch (j->work) {
	case TX_OPEN:
		p->phase = p->full ? PRIMARY_COPY : PRIMARY_IDLE;
		if (p->full)
			copy_goes_on(p, j);
		else
			primary_schedule(p);
		break;
	case TX_ROUND:
		if (p->phase == PRIMARY_COPY)
			copy_goes_on(p, j);
		else if (p->phase == PRIMARY_IDLE)
			loop_timer_arm(p->round_timer, round_gap_us(p));
		break;
	case TX_PREPARE:
		p->prepared = true;
		primary_maybe_pause(p);
		break;
	case TX_CAPTURE:
		captured(p, j);
		primary_pause_step(p);
		break;
	case TX_HASH:
		primary_pause_step(p);
		break;
	case TX_FINISH:
		p->sent = true;
		p->phase = PRIMARY_AWAIT;
		primary_maybe_complete(p);
		break;
	case TX_RESUME:
		primary_resume_done(p);
		break;
	case TX_CLOSE:
		break;
	}
}
