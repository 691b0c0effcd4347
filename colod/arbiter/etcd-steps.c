// SPDX-License-Identifier: GPL-2.0-or-later
/* The steps of a move in etcd, lease, look, write, as a table of states and events. Pure. */
#include "colod/arbiter/etcd-core-priv.h"

#include <stdio.h>
#include <string.h>

#define WAIT_US (200 * USEC_PER_MSEC) /* between two looks at another host's lease */

void etcd_note_unsure(struct etcd_core *c)
{
	const struct etcd_lane *l = &c->lane[ETCD_LANE_MOVE];

	if (c->step != ETCD_STEP_WRITE)
		return;
	c->unsure = true;
	c->unsure_owner_rev = l->request.owner_rev;
	c->unsure_live_rev = l->request.live_rev;
}

/* Whether a write of ours whose end is unknown could still be done, on what was read now. */
static bool is_haunted(struct etcd_core *c)
{
	c->unsure = c->unsure && c->unsure_owner_rev == c->view.owner_rev &&
		    c->unsure_live_rev == c->view.live_rev;
	return c->unsure;
}

static void act_begin(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	struct etcd_lane *l = &c->lane[ETCD_LANE_MOVE];

	(void)reply;
	if (l->busy)
		etcd_note_unsure(c);
	if (c->want == ETCD_WANT_NOTHING) {
		etcd_finish(c);
	} else if (c->want == ETCD_WANT_WIN && (!c->lease || now >= c->sure_until_us)) {
		etcd_forget_lease(c);
		c->step = ETCD_STEP_GRANT;
		etcd_lane_send(l, ETCD_GRANT, now)->ttl_s =
			(uint32_t)DIV_ROUND_UP(c->ttl_us, USEC_PER_SEC);
	} else {
		c->step = ETCD_STEP_READ;
		etcd_lane_send(l, ETCD_READ, now);
	}
}

static void pause_until(struct etcd_core *c, uint64_t when)
{
	c->step = ETCD_STEP_PAUSE;
	c->lane[ETCD_LANE_MOVE].due_us = when;
}

static void act_retry(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	struct etcd_lane *l = &c->lane[ETCD_LANE_MOVE];

	etcd_note_unsure(c);
	snprintf(c->why, sizeof(c->why), "%s", reply->why);
	etcd_lane_failed(c, l, now);
	pause_until(c, l->due_us);
}

static void act_granted(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	c->lease = reply->lease;
	c->sure_until_us = etcd_sure_until(c, &c->lane[ETCD_LANE_MOVE], reply);
	c->step = ETCD_STEP_READ;
	etcd_lane_send(&c->lane[ETCD_LANE_MOVE], ETCD_READ, now);
}

static void write_keys(struct etcd_core *c, uint64_t now, const char *owner, int64_t lease)
{
	struct etcd_request *r = etcd_lane_send(&c->lane[ETCD_LANE_MOVE], ETCD_WRITE, now);

	c->step = ETCD_STEP_WRITE;
	r->owner_rev = c->view.owner_rev;
	r->live_rev = c->view.live_rev;
	r->lease = lease;
	snprintf(r->owner, sizeof(r->owner), "%s", owner);
}

static void decide_win(struct etcd_core *c, uint64_t now)
{
	enum etcd_verdict verdict =
		etcd_judge(c, &c->view, c->told == ETCD_TOLD_HOLD, c->why, sizeof(c->why));
	char owner[ETCD_VALUE_MAX];

	switch (verdict) {
	case ETCD_KEEP:
		etcd_won(c, now);
		break;
	case ETCD_TAKE:
		c->dirty = true;
		etcd_owner_host(owner, c->host);
		write_keys(c, now, owner, c->lease);
		break;
	case ETCD_LOSE:
	case ETCD_OVER:
		c->dirty = false;
		etcd_end_without(c,
				 verdict == ETCD_OVER ? ARBITER_ANSWER_ENDED : ARBITER_ANSWER_LOST,
				 c->why);
		break;
	case ETCD_UNDECIDED:
		if (c->asked) {
			etcd_end_without(c, ARBITER_ANSWER_UNKNOWN, c->why);
			break;
		}
		__attribute__((fallthrough)); /* who wins back has time */
	case ETCD_WAIT:
		pause_until(c, now + WAIT_US);
		break;
	}
}

/* Something other than winning is known to have been done. */
static void done(struct etcd_core *c)
{
	c->shared = c->want == ETCD_WANT_SHARE;
	c->sole = c->sole && !c->shared;
	c->dirty = false;
	etcd_finish(c);
}

static void decide_share(struct etcd_core *c, uint64_t now)
{
	const struct etcd_view *v = &c->view;
	bool theirs = etcd_live_is_theirs(c, v) || etcd_owner_is_ended(v) ||
		      (!strncmp(v->owner, "host ", 5) && !etcd_owner_is_us(c, v));
	char owner[ETCD_VALUE_MAX];

	etcd_owner_shared(owner, c->session);
	if (theirs) {
		pause_until(c, now + etcd_core_try_us(c));
	} else if (!strcmp(v->owner, owner) && !v->live_rev && !is_haunted(c)) {
		done(c);
	} else {
		write_keys(c, now, owner, 0);
	}
}

/* Only what is ours, or could still become ours by a write that is late, is touched. */
static void undo(struct etcd_core *c, uint64_t now, bool ours, const char *owner)
{
	const struct etcd_view *v = &c->view;

	if (etcd_live_is_theirs(c, v) || (!ours && !is_haunted(c)))
		done(c);
	else
		write_keys(c, now, ours || !v->owner_rev ? owner : v->owner, 0);
}

static void decide_restore(struct etcd_core *c, uint64_t now)
{
	char owner[ETCD_VALUE_MAX];

	etcd_owner_shared(owner, c->session);
	undo(c, now, etcd_owner_is_us(c, &c->view), owner);
}

/* Had the other host won the session, the owner would name it, and nothing be ours. */
static void decide_end(struct etcd_core *c, uint64_t now)
{
	char owner[ETCD_VALUE_MAX];

	etcd_owner_ended(owner, c->session);
	undo(c, now, etcd_owner_is_ours(c, &c->view), owner);
}

static void act_decide(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	c->view = reply->view;
	c->lane[ETCD_LANE_MOVE].fails = 0;
	switch (c->want) {
	case ETCD_WANT_NOTHING:
		etcd_finish(c);
		break;
	case ETCD_WANT_WIN:
		decide_win(c, now);
		break;
	case ETCD_WANT_SHARE:
		decide_share(c, now);
		break;
	case ETCD_WANT_RESTORE:
		decide_restore(c, now);
		break;
	case ETCD_WANT_RESIGN:
		undo(c, now, etcd_owner_is_us(c, &c->view), ETCD_OWNER_NOBODY);
		break;
	case ETCD_WANT_END:
		decide_end(c, now);
		break;
	}
}

static void act_written(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	(void)reply;
	c->unsure = false;
	c->lane[ETCD_LANE_MOVE].fails = 0;
	if (c->want == ETCD_WANT_WIN)
		etcd_won(c, now);
	else
		done(c);
}

static void act_lease_gone(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	etcd_forget_lease(c); /* and the write is known not to have been done */
	act_begin(c, now, reply);
}

/* A reply that makes no sense in this step, or a timer of a step that is over. */
static void act_ignore(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	(void)c;
	(void)now;
	(void)reply;
}

typedef void (*step_fn)(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply);

static const step_fn steps[ETCD_STEP_COUNT][EV_COUNT] = {
	[ETCD_STEP_IDLE] =
		{
			[EV_WANT] = act_begin,
			[EV_DONE] = act_ignore,
			[EV_BEHIND] = act_ignore,
			[EV_GONE] = act_ignore,
			[EV_FAILED] = act_ignore,
			[EV_TIMER] = act_ignore,
		},
	[ETCD_STEP_GRANT] =
		{
			[EV_WANT] = act_begin,
			[EV_DONE] = act_granted,
			[EV_BEHIND] = act_retry,
			[EV_GONE] = act_retry,
			[EV_FAILED] = act_retry,
			[EV_TIMER] = act_ignore,
		},
	[ETCD_STEP_READ] =
		{
			[EV_WANT] = act_begin,
			[EV_DONE] = act_decide,
			[EV_BEHIND] = act_retry,
			[EV_GONE] = act_retry,
			[EV_FAILED] = act_retry,
			[EV_TIMER] = act_ignore,
		},
	[ETCD_STEP_WRITE] =
		{
			[EV_WANT] = act_begin,
			[EV_DONE] = act_written,
			[EV_BEHIND] = act_decide,
			[EV_GONE] = act_lease_gone,
			[EV_FAILED] = act_retry,
			[EV_TIMER] = act_ignore,
		},
	[ETCD_STEP_PAUSE] =
		{
			[EV_WANT] = act_begin,
			[EV_DONE] = act_ignore,
			[EV_BEHIND] = act_ignore,
			[EV_GONE] = act_ignore,
			[EV_FAILED] = act_ignore,
			[EV_TIMER] = act_begin,
		},
};

void etcd_step(struct etcd_core *c, enum etcd_step_event ev, uint64_t now,
	       const struct etcd_reply *reply)
{
	steps[c->step][ev](c, now, reply);
}
