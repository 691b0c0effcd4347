// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's session across the loss of a link: it waits, and goes on over another one. */
#include "colod/checkpoint/primary-priv.h"

#include <sys/socket.h>
#include <unistd.h>

bool primary_can_resume(const struct primary *p)
{
	bool switches = p->phase >= PRIMARY_PREPARE && (p->flags & WIRE_EPOCH_SWITCH);

	return p->phase >= PRIMARY_COPY && !switches && !(p->triggers & BIT(CKPT_BY_SWITCH_OVER));
}

/* NEW is taken back: who asked for the checkpoint waits for the next. */
static void take_back_new(struct primary *p)
{
	p->triggers |= p->current_triggers;
	p->current_triggers = 0;
	list_splice_tail(&p->waiting, &p->serving);
	p->phase = p->synced ? PRIMARY_IDLE : PRIMARY_COPY;
}

static void disarm(struct primary *p)
{
	loop_timer_disarm(p->period_timer);
	loop_timer_disarm(p->round_timer);
	loop_timer_disarm(p->stall_timer);
}

void primary_suspend(struct primary *p)
{
	if (p->phase == PRIMARY_OFF)
		return;
	if (!primary_can_resume(p)) {
		primary_stop(p);
		return;
	}
	disarm(p);
	atomic_store(&p->tx.hurry, true);
	if (p->bulk_fd >= 0)
		shutdown(p->bulk_fd, SHUT_RDWR); /* what the worker waits for ends */
	if (p->link == PRIMARY_OFFERED)
		close(p->bulk_fd);
	p->bulk_fd = -1;
	p->link = PRIMARY_CUT;
	p->acked = 0;
	if (p->phase == PRIMARY_PREPARE)
		take_back_new(p);
}

void primary_resume(struct primary *p, int bulk_fd)
{
	if (!primary_can_resume(p) || p->link != PRIMARY_CUT) {
		close(bulk_fd);
		ckpt_event(p->env, FSM_EV_SYNC_FAILED, "there is no session that could go on");
		return;
	}
	p->bulk_fd = bulk_fd;
	p->link = PRIMARY_OFFERED;
	primary_arm_stall(p);
	primary_resume_step(p);
}

/* Only behind all work of the old link: its results are needed to tell what there is to send. */
void primary_resume_step(struct primary *p)
{
	struct tx_job *j = &p->resume_job;

	if (p->link != PRIMARY_OFFERED || p->phase == PRIMARY_PAUSE || p->round_job.busy ||
	    p->ckpt_job.busy || j->busy)
		return;
	p->link = PRIMARY_ASKING;
	p->acked = 0;
	p->nearly = 0;
	j->fd = p->bulk_fd;
	j->closed = p->phase >= PRIMARY_SEND && !p->committed;
	j->sent = j->closed && p->sent;
	primary_submit(p, j, TX_RESUME);
}

/* The checkpoint under way, by what the secondary has of it. */
static void place_checkpoint(struct primary *p)
{
	const struct tx_resumed *r = &p->resume_job.resumed;

	if (!p->resume_job.closed)
		return;
	if (r->committed) {
		p->received = true; /* that it said so was lost */
	} else if (!r->closed) {
		take_back_new(p);
		primary_set_peer_holds(p, false);
	} else if (!r->complete) {
		p->phase = PRIMARY_SEND;
		p->sent = false;
	}
}

static void go_on(struct primary *p)
{
	unsigned n = p->nearly;
	uint64_t session = p->session;

	if (p->phase >= PRIMARY_PREPARE)
		primary_arm_stall(p);
	switch (p->phase) {
	case PRIMARY_COPY:
		primary_round(p);
		break;
	case PRIMARY_IDLE:
		primary_schedule(p);
		break;
	case PRIMARY_SEND:
		primary_send(p);
		break;
	case PRIMARY_AWAIT:
		primary_maybe_complete(p);
		break;
	default:
		break;
	}
	p->nearly = 0;
	for (unsigned i = 0; i < n && p->session == session && p->link == PRIMARY_LINKED; i++)
		primary_message(p, &p->early[i]);
}

static void maybe_resumed(struct primary *p)
{
	const struct tx_resumed *r = &p->resume_job.resumed;
	struct ckpt_stats *st = p->env->stats;
	uint64_t session = p->session;

	if (p->link != PRIMARY_AGREED || p->acked != r->epoch)
		return;
	p->link = PRIMARY_LINKED;
	p->acked = 0;
	disarm(p);
	place_checkpoint(p);
	st->resumes++;
	st->resume_saved_pages += r->saved_pages;
	st->resume_resent_pages += r->resent_pages;
	/* Frames were lost to the secondary's guest meanwhile. */
	if (p->env->proxy && p->synced)
		p->triggers |= BIT(CKPT_BY_MISMATCH);
	ckpt_event(p->env, p->announced ? FSM_EV_RESUMED : FSM_EV_RESUMED_COPY, NULL);
	if (p->session == session && p->link == PRIMARY_LINKED)
		go_on(p);
}

void primary_resume_done(struct primary *p)
{
	if (p->link != PRIMARY_ASKING)
		return; /* over a link that is lost as well */
	p->link = PRIMARY_AGREED;
	maybe_resumed(p);
}

void primary_early_message(struct primary *p, const struct wire_msg *m)
{
	bool asked = p->link == PRIMARY_ASKING || p->link == PRIMARY_AGREED;

	if (m->type == WIRE_RESUME_ACK && asked) {
		p->acked = m->epoch;
		maybe_resumed(p);
	} else if (p->acked && p->nearly < PRIMARY_EARLY_MAX) {
		p->early[p->nearly++] = *m;
	}
}
