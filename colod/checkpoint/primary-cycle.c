// SPDX-License-Identifier: GPL-2.0-or-later
/* The cycle of checkpoints: triggers, NEW, the commit, and what comes next. */
#include "colod/checkpoint/primary-priv.h"

#include <errno.h>
#include <string.h>

/* Failing checkpoints in a row after which the secondary is given up: the guest matters more. */
#define MAX_FAILURES     5
#define FAILURE_DELAY_US (200 * USEC_PER_MSEC)

void primary_answer(struct list *waiters, const struct ckpt_result *r)
{
	while (!list_empty(waiters)) {
		struct ckpt_waiter *w = list_entry(waiters->next, struct ckpt_waiter, link);

		list_del(&w->link);
		w->fn(w, r);
	}
}

static uint32_t epoch_flags(const struct primary *p)
{
	uint32_t flags = 0;

	if (!p->synced)
		flags |= WIRE_EPOCH_FIRST;
	if (p->current_triggers & BIT(CKPT_BY_VERIFY))
		flags |= WIRE_EPOCH_VERIFY;
	if (p->current_triggers & BIT(CKPT_BY_SWITCH_OVER))
		flags |= WIRE_EPOCH_SWITCH;
	else if (p->env->ops->runs_next && p->env->ops->runs_next(p->env->arg))
		flags |= WIRE_EPOCH_RUN;
	return flags;
}

void primary_begin(struct primary *p)
{
	loop_timer_disarm(p->period_timer);
	loop_timer_disarm(p->round_timer);
	p->current_triggers = p->triggers;
	p->triggers = 0;
	list_splice_tail(&p->serving, &p->waiting);
	p->flags = epoch_flags(p);
	p->begun_at_us = clock_now_us();
	p->waiting_since_us = 0;
	p->phase = PRIMARY_PREPARE;
	p->packets_filtered = false;
	p->suspended = p->prepared = p->sent = p->received = p->verified = p->committed = false;
	atomic_store(&p->tx.hurry, true);
	ckpt_send(p->env, WIRE_NEW, p->epoch + 1, p->flags);
	primary_ask_status(p);
	p->ckpt_job.flags = p->flags;
	primary_submit(p, &p->ckpt_job, TX_PREPARE);
	primary_arm_stall(p);
}

/*
 * A peer whose heartbeats come but whose engine stands still must not hold a checkpoint, and least
 * of all a stopped guest, for ever. Progress is bytes that leave, or a phase that is left.
 */
#define STALL_CHECK_US         (10 * USEC_PER_SEC)
#define STALL_CHECK_STOPPED_US (2 * USEC_PER_SEC)
/* A new secondary has to prepare all of its RAM. */
#define READY_US (60 * USEC_PER_SEC)

void primary_await_ready(struct primary *p)
{
	loop_timer_arm(p->stall_timer, READY_US);
}

/* A resume hears of many pages before it sends the first. */
static uint64_t bytes_moved(const struct primary *p)
{
	const struct ckpt_stats *st = p->env->stats;

	return atomic_load(&st->bytes_sent) + atomic_load(&st->bytes_received);
}

void primary_arm_stall(struct primary *p)
{
	bool guest_waits = p->flags & WIRE_EPOCH_SWITCH;

	p->stall_epoch = p->epoch;
	p->stall_phase = p->phase;
	p->stall_bytes = bytes_moved(p);
	loop_timer_arm(p->stall_timer, guest_waits ? STALL_CHECK_STOPPED_US : STALL_CHECK_US);
}

void primary_on_stall(void *arg)
{
	struct primary *p = arg;

	if (p->phase == PRIMARY_WAIT) {
		ckpt_event(p->env, FSM_EV_SYNC_FAILED, "the secondary does not get ready");
		return;
	}
	if (p->phase < PRIMARY_PREPARE && p->link == PRIMARY_LINKED)
		return;
	if (p->stall_epoch != p->epoch || p->stall_phase != p->phase ||
	    p->stall_bytes != bytes_moved(p)) {
		primary_arm_stall(p);
		return;
	}
	ckpt_event(p->env, FSM_EV_SYNC_FAILED, "the secondary does not go on with %s",
		   p->link == PRIMARY_LINKED ? "the checkpoint" : "the session");
}

/* The trigger that a checkpoint is counted under: the rarest of those it served. */
static enum ckpt_trigger main_trigger(uint32_t triggers)
{
	return triggers ? 31 - (unsigned)__builtin_clz(triggers) : CKPT_BY_PERIOD;
}

static void account_sample(struct ckpt_stats *st, const struct ckpt_sample *s)
{
	st->samples[st->nsamples++ % CKPT_SAMPLES] = *s;
	quantile_add(&st->stop_us, s->stop_us);
	quantile_add(&st->scan_us, s->scan_us);
	quantile_add(&st->copy_us, s->copy_us);
	quantile_add(&st->save_us, s->save_us);
	if (s->pause_us) { /* a switch-over's last checkpoint has none */
		quantile_add(&st->cont_us, s->cont_us);
		quantile_add(&st->pause_us, s->pause_us);
	}
	quantile_add(&st->commit_us, s->commit_us);
	quantile_add(&st->dirty_pages, s->dirty_pages);
	quantile_add(&st->last_pages, s->last_pages);
}

/* A mean that forgets what was long ago. */
static uint64_t usual(uint64_t before, uint64_t now)
{
	return before ? (7 * before + now) / 8 : now;
}

/*
 * What a checkpoint of periodic takes, for primary_output_period_us(). One that closes a long epoch of
 * colo copies more: it can only tell that periodic would not take longer.
 */
static void learn_usual(struct primary *p, uint64_t epoch_us)
{
	uint64_t commit_us = p->sample.commit_us;

	if (p->usual_commit_us && epoch_us > p->env->config->period_ms * USEC_PER_MSEC)
		commit_us = MIN(commit_us, p->usual_commit_us);
	p->usual_commit_us = usual(p->usual_commit_us, commit_us);
	if (p->sample.pause_us)
		p->usual_pause_us = usual(p->usual_pause_us, p->sample.pause_us);
}

static void account_commit(struct primary *p)
{
	struct ckpt_stats *st = p->env->stats;
	uint64_t now = clock_now_us();

	p->committed = true;
	p->synced = true;
	p->epoch++;
	p->outbox_done = true;
	p->failures_in_a_row = 0;
	p->sample.epoch = p->epoch;
	p->sample.committed_at_us = now;
	p->sample.commit_us = (uint32_t)(now - p->begun_at_us);
	p->sample.dirty_pages = (uint32_t)p->ckpt_job.used;
	account_sample(st, &p->sample);
	learn_usual(p, now - st->last_commit_at_us);
	st->last_commit_at_us = now;
	st->checkpoints[main_trigger(p->current_triggers)]++;
	quantile_add(&st->devices_bytes, p->devices_bytes);
	primary_packets_commit(p);
}

static void hand_over(struct primary *p)
{
	ckpt_standing(p->env, STANDING_YIELDED);
	ckpt_send(p->env, WIRE_HANDOVER, p->epoch, 0);
	p->holding = false; /* from here on the guest is the peer's (S3) */
	p->given = true;
	primary_arm_stall(p);
	ckpt_event(p->env, FSM_EV_GIVEN, NULL);
}

void primary_maybe_complete(struct primary *p)
{
	struct ckpt_result res = {};
	bool announce;

	if (p->phase != PRIMARY_SEND && p->phase != PRIMARY_AWAIT)
		return;
	if (!p->sent || !p->received || !p->resumed || p->given)
		return;
	if (!p->committed)
		account_commit(p);
	if ((p->flags & WIRE_EPOCH_VERIFY) && !p->verified)
		return;
	if ((p->flags & WIRE_EPOCH_SWITCH) && p->loaded != p->epoch)
		return;
	if ((p->flags & WIRE_EPOCH_SWITCH) && !p->packets_left) {
		primary_packets_leave(p);
		return;
	}
	res.epoch = p->epoch;
	res.pause_us = p->sample.pause_us;
	res.commit_us = p->sample.commit_us;
	res.pages = p->verify_result.entries;
	res.differing_pages = p->verify_result.zero_entries;
	res.first_differing_page = p->verify_result.checksum;
	primary_answer(&p->serving, &res);
	if (p->flags & WIRE_EPOCH_SWITCH) {
		hand_over(p);
		return;
	}
	announce = !p->announced && p->loaded == p->epoch;
	p->announced |= announce;
	p->phase = PRIMARY_IDLE;
	primary_schedule(p);
	if (announce)
		ckpt_event(p->env, FSM_EV_SYNCED, NULL);
}

void primary_abort(struct primary *p, const char *what, const struct err *why)
{
	bool was_switch = p->flags & WIRE_EPOCH_SWITCH;
	struct ckpt_result res = {.status = -EIO, .reason = err_msg(why)};

	p->env->stats->failed_checkpoints++;
	p->failures_in_a_row++;
	p->phase = p->synced ? PRIMARY_IDLE : PRIMARY_COPY;
	primary_answer(&p->serving, &res);
	if (was_switch)
		primary_packets_unfilter(p);
	if (p->failures_in_a_row >= MAX_FAILURES) {
		ckpt_event(p->env, FSM_EV_SYNC_FAILED, "%s %u times in a row: %s", what,
			   p->failures_in_a_row, err_msg(why));
		return;
	}
	/* Not at once, whoever asks: what failed now would fail again. */
	p->not_before_us = clock_now_us() + FAILURE_DELAY_US;
	loop_timer_arm(p->period_timer, FAILURE_DELAY_US);
	if (was_switch)
		ckpt_event(p->env, FSM_EV_SWITCH_FAILED, "%s", err_msg(why));
}

/* While outputs agree there is no hurry; but what is not compared waits for a checkpoint, too. */
static uint64_t period_us(const struct primary *p)
{
	const struct config *c = p->env->config;
	bool compares = p->env->proxy && (p->flags & WIRE_EPOCH_RUN) &&
			(c->mode == CKPT_MODE_COLO || c->mode == CKPT_MODE_AUTO);

	return (compares ? c->colo_period_ms : c->period_ms) * USEC_PER_MSEC;
}

void primary_expedite(struct primary *p)
{
	if (p->phase == PRIMARY_PREPARE)
		return; /* its epoch is not closed yet, so this is the checkpoint that it waits for */
	p->waiting_since_us = clock_now_us();
	primary_schedule(p);
}

/* For how long the guest runs between two checkpoints for waiting output. */
static uint64_t rest_us(const struct primary *p)
{
	const struct config *c = p->env->config;
	uint64_t rest = p->usual_pause_us * (100 - c->pause_percent) / c->pause_percent;

	return MIN(rest, c->hold_ms * USEC_PER_MSEC);
}

static uint64_t output_due_us(const struct primary *p)
{
	return MAX(p->waiting_since_us, p->resumed_at_us + rest_us(p));
}

uint64_t primary_output_period_us(const struct primary *p)
{
	const struct config *c = p->env->config;

	/* However short the period is, checkpoints do not overlap. */
	return MAX(MIN(c->period_ms * USEC_PER_MSEC, rest_us(p) + p->usual_commit_us),
		   p->usual_commit_us);
}

/* When the next checkpoint has to begin. */
static uint64_t due_us(const struct primary *p)
{
	uint64_t due = p->begun_at_us + period_us(p);

	return p->waiting_since_us ? MIN(due, output_due_us(p)) : due;
}

void primary_schedule(struct primary *p)
{
	uint64_t now = clock_now_us(), due = due_us(p);

	if (p->phase != PRIMARY_IDLE || p->link != PRIMARY_LINKED)
		return;
	if (now < p->not_before_us) {
		loop_timer_arm(p->period_timer, p->not_before_us - now);
		return;
	}
	if (p->triggers) {
		primary_begin(p);
		return;
	}
	if (p->env->config->mode != CKPT_MODE_ON_DEMAND) {
		if (due <= now) {
			p->triggers = BIT(CKPT_BY_PERIOD);
			primary_begin(p);
			return;
		}
		loop_timer_arm(p->period_timer, due - now);
	} else {
		loop_timer_disarm(p->period_timer);
	}
	loop_timer_arm(p->round_timer, 0);
}
