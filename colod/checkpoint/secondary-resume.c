// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's session across the loss of a link: it waits, and goes on over another one. */
#include "colod/checkpoint/secondary-priv.h"

#include <unistd.h>

static bool is_receiving(const struct secondary *s)
{
	return s->phase >= SECONDARY_OPEN && s->phase < SECONDARY_HALT && !s->go_live;
}

/* After the last checkpoint of a switch-over nothing is received any more. */
bool secondary_can_resume(const struct secondary *s)
{
	return is_receiving(s) && !(s->flags & WIRE_EPOCH_SWITCH);
}

void secondary_suspend(struct secondary *s)
{
	const struct rx *rx = &s->rx;

	/* It has nothing yet, but for the checkpoint that a switch-over left it at. */
	if (s->phase == SECONDARY_SETUP && s->full)
		secondary_stop(s);
	if (s->phase == SECONDARY_SETUP)
		s->link_lost = true;
	if (!is_receiving(s))
		return;
	s->link_lost = true;
	s->resuming = false;
	rx_suspend(&s->rx);
	/* Its report may have been on its way. */
	if (rx->complete && rx->epoch == s->committed + 1) {
		s->staged = true;
		s->staged_flags = rx->report.send.flags;
	}
}

void secondary_resume(struct secondary *s, int bulk_fd)
{
	struct err e;

	if (!secondary_can_resume(s) || s->rx.running) {
		close(bulk_fd);
		ckpt_event(s->env, FSM_EV_SYNC_FAILED, "there is no session that could go on");
		return;
	}
	s->resuming = true;
	if (rx_resume(&s->rx, bulk_fd, s->committed, &e))
		secondary_fail(s, "receive side", err_msg(&e));
}

/* What we have said already, and may have been lost; of the commit the bitmap has told. */
static void say_again(struct secondary *s)
{
	if (s->verified.type == WIRE_VERIFIED && s->verified.epoch == s->committed)
		s->env->ops->send(s->env->arg, &s->verified);
	ckpt_send(s->env, WIRE_LOADED, s->loaded, 0);
}

void secondary_resumed(struct secondary *s, const struct wire_msg *resume)
{
	bool closed = resume->flags & WIRE_RESUME_CLOSED;
	uint64_t session = s->session;

	if (!s->resuming)
		return;
	if (closed && (s->new_epoch != resume->epoch || !s->suspended)) {
		secondary_fail(s, "protocol error", "RESUME of a NEW that was not answered");
		return;
	}
	s->resuming = s->link_lost = false;
	/* The primary's guest went on instead: another NEW will close the epoch. */
	if (!closed) {
		s->new_epoch = s->committed;
		s->suspended = false;
	}
	s->env->stats->resumes++;
	ckpt_send(s->env, WIRE_RESUME_ACK, resume->epoch, 0);
	say_again(s);
	ckpt_event(s->env, s->announced ? FSM_EV_RESUMED : FSM_EV_RESUMED_COPY, NULL);
	if (s->session == session)
		secondary_step(s);
}
