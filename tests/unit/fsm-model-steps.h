/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model of all that can happen next: what the network brings, work and time, orders, faults. */
#ifndef TESTS_UNIT_FSM_MODEL_STEPS_H
#define TESTS_UNIT_FSM_MODEL_STEPS_H

#include "tests/unit/fsm-model-net.h"

/* ---- work and time ---- */

static inline bool m_step_lost(struct m_world *w, struct m_host *h)
{
	unsigned us = m_index(w, h);
	const struct m_conn *c = &w->conn[h->conn];

	if (!h->up || h->link != M_UP || !(c->cut[us] || (!c->open[1 - us] && !m_queued(c, us))))
		return false;
	m_link_down(w, h);
	m_event(w, h, FSM_EV_LINK_LOST);
	return true;
}

static inline bool m_step_checkpoint(struct m_world *w, struct m_host *h)
{
	const struct m_conn *c = &w->conn[h->conn];

	if (!h->up || (h->phase != M_COPY && h->phase != M_IDLE) || h->cut || h->link != M_UP ||
	    m_queued(c, 1 - m_index(w, h)))
		return false;
	h->p_final = h->wants_final && h->announced;
	if (h->p_final) {
		h->wants_final = false;
		h->runs = false;
	}
	h->phase = M_FLIGHT;
	h->received = false;
	h->may_hold = true;
	h->flight_newest = h->guest_newest;
	if (h->proxy == M_FREE)
		h->proxy = M_HELD;
	m_send(w, h,
	       (struct m_msg){.type = M_CKPT,
			      .seq = (h->p_seq + 1) & 3,
			      .final = h->p_final,
			      .whole = h->flight_newest});
	return true;
}

static inline bool m_step_load(struct m_world *w, struct m_host *h)
{
	if (!h->up || h->holds != M_WHOLE || h->loaded)
		return false;
	h->loaded = true;
	if (!h->s_cut && !h->resuming)
		m_say(w, h, M_LOADED, h->s_seq);
	if (!h->s_announced) {
		h->s_announced = true;
		m_event(w, h, FSM_EV_SYNCED);
	}
	return true;
}

static inline bool m_step_live(struct m_world *w, struct m_host *h)
{
	if (!h->up || !h->goes_live || (!h->loaded && !h->took_over))
		return false;
	if (h->took_over) {
		m_event(w, h, FSM_EV_LIVE);
		return true;
	}
	for (int c = 0; c < CONNS; c++)
		for (int k = 0; k < QUEUE; k++) {
			struct m_msg *m = &w->conn[c].queue[1 - m_index(w, h)][k];

			m->whole |= m->type == M_RECEIVED && m->seq == h->s_seq;
		}
	h->took_over = h->runs = true;
	h->guest_newest = h->ckpt_newest;
	h->proxy = M_FREE;
	return true;
}

/* The engine waits for something that will not come. */
static inline bool m_step_stall(struct m_world *w, struct m_host *h)
{
	const struct m_conn *c = &w->conn[h->conn];
	const struct m_host *o = m_other(w, h);

	if (!h->up || h->link != M_UP || c->stage != M_ESTABLISHED || m_queued(c, 0) ||
	    m_queued(c, 1) || (o->holds == M_WHOLE && !o->loaded))
		return false;
	if (h->phase != M_WAIT && h->phase != M_FLIGHT && !h->asking)
		return false;
	m_event(w, h, FSM_EV_SYNC_FAILED);
	return true;
}

static inline bool m_step_timer(struct m_world *w, struct m_host *h)
{
	if (!h->up || !h->timer)
		return false;
	h->timer = false;
	m_event(w, h, FSM_EV_RECOVER_TIMEOUT);
	return true;
}

static inline bool m_step_yield(struct m_world *w, struct m_host *h)
{
	if (!h->up || !h->yields)
		return false;
	h->yields = false;
	if (!h->alone && !m_arbiter_is_open(h))
		m_event(w, h, FSM_EV_PEER_LIVE);
	return true;
}

static inline bool m_step_answer(struct m_world *w, struct m_host *h)
{
	enum m_answer a = h->answer;

	if (!h->up || !a)
		return false;
	h->answer = M_NO_ANSWER;
	if (a == M_WON && !h->asked)
		h->claim = (struct m_claim){};
	if (a == M_WON)
		m_event(w, h, FSM_EV_WON);
	else if (a == M_LOST)
		m_event(w, h, FSM_EV_LOST);
	else if (a == M_OVER)
		m_event(w, h, FSM_EV_ENDED);
	else if (a == M_HOLD)
		m_event(w, h, FSM_EV_HOLD);
	else
		h->timer = !h->by_order;
	return true;
}

/* ---- faults ---- */

static inline bool m_spend(uint8_t *budget)
{
	if (!*budget)
		return false;
	--*budget;
	return true;
}

/* @to: HOSTS for both ways and all connections, @stays: nor can there be another one for now. */
static inline bool m_step_cut(struct m_world *w, unsigned to, bool stays)
{
	bool any = stays && !w->net_is_down;

	for (unsigned i = 0; i < CONNS; i++)
		any |= w->conn[i].stage == M_ESTABLISHED ||
		       (w->conn[i].stage && to == HOSTS && !stays);
	if (!any || w->net_is_down || !m_spend(&w->left.cuts))
		return false;
	w->net_is_down = stays;
	for (unsigned i = 0; i < CONNS; i++) {
		struct m_conn *c = &w->conn[i];

		if (!c->stage || (to < HOSTS && c->stage != M_ESTABLISHED))
			continue;
		if (c->stage == M_WELCOME2) {
			c->open[c->caller] = false;
			c->stage = M_ESTABLISHED;
		}
		if (c->stage != M_ESTABLISHED || !(c->open[0] || c->open[1])) {
			m_drop_conn(w, i);
			continue;
		}
		for (unsigned side = 0; side < HOSTS; side++)
			if (to == HOSTS || to == side) {
				c->cut[side] = true;
				m_forget_queue(c, side);
			}
	}
	return true;
}

static inline bool m_step_heal(struct m_world *w)
{
	if (!w->net_is_down)
		return false;
	w->net_is_down = false;
	return true;
}

static inline bool m_step_crash(struct m_world *w, struct m_host *h, bool qemu)
{
	if (!h->up || !m_spend(&w->left.crashes))
		return false;
	if (qemu)
		m_event(w, h, FSM_EV_QEMU_DEAD);
	else
		m_vanish(w, h);
	return true;
}

/*
 * Where nothing but the operator decides, it is theirs to know that the guest lives nowhere else. etcd knows
 * where it lives alone; of a guest that two hosts share, it lets a start take the place.
 */
static inline bool m_may_start(const struct m_host *o)
{
	if (o->claim.force || o->link == M_UP) /* their word stands; they have not looked */
		return false;
	if (m_rules.arbiter == ARBITER_ETCD && o->alone)
		return true;
	return !m_has_guest(o) && o->holds != M_WHOLE;
}

static inline bool m_step_start(struct m_world *w, struct m_host *h, enum role role)
{
	if (h->up || (role == ROLE_PRIMARY && !m_may_start(m_other(w, h))) ||
	    !m_spend(&w->left.starts))
		return false;
	*h = (struct m_host){.up = true, .role = role, .state = FSM_SETUP, .reaches = h->reaches};
	if (role == ROLE_SECONDARY)
		return true;
	m_ask(h, FSM_ASK_FRESH);
	return true;
}

static inline bool m_step_failure(struct m_world *w, struct m_host *h)
{
	bool primary = h->role == ROLE_PRIMARY;

	if (!h->up || (primary ? h->phase < M_COPY : h->holds == M_NOTHING || h->goes_live) ||
	    !m_spend(&w->left.failures))
		return false;
	if (!primary) {
		m_fail_replica(w, h);
	} else if (h->wants_final) {
		h->wants_final = false;
		m_event(w, h, FSM_EV_SWITCH_FAILED);
	} else {
		m_event(w, h, FSM_EV_SYNC_FAILED);
	}
	return true;
}

static inline bool m_step_reach(struct m_world *w, struct m_host *h)
{
	if (m_rules.arbiter == ARBITER_NONE)
		return false;
	if (h->reaches && !m_spend(&w->left.arbiter))
		return false;
	h->reaches = !h->reaches;
	return true;
}

/* ---- orders ---- */

/* failover --force is the operator's word that the other guest is dead: it is given when it is. */
static inline bool m_may_force(const struct m_world *w, const struct m_host *h)
{
	const struct m_host *o = m_other(w, h);

	if (o->up && (o->role == ROLE_PRIMARY || o->holds != M_NOTHING))
		return false;
	return h->role == ROLE_PRIMARY ? h->guest_newest : h->ckpt_newest;
}

static inline bool m_step_order(struct m_world *w, struct m_host *h, enum fsm_event ev)
{
	bool busy = h->answer || m_other(w, h)->answer; /* orders take a human's time */
	struct fsm_cell c;

	if (!h->up || busy || (ev == FSM_EV_OP_FORCE && !m_may_force(w, h)))
		return false;
	c = m_rules.step(h->role, h->state, ev);
	/* While etcd does not know of the replica it cannot take part. */
	if (m_rules.arbiter == ARBITER_ETCD &&
	    (c.action == FSM_BEGIN_SWITCH || c.action == FSM_ASK_PEER) && w->owner != M_SHARED)
		return false;
	if (c.action == FSM_REFUSE || (ev == FSM_EV_TERM && h->term) || !m_spend(&w->left.orders))
		return false;
	/* A guest that is ended by order is not missed. */
	if (ev == FSM_EV_TERM || ev == FSM_EV_OP_STOP)
		w->over |= c.next == FSM_COMPLETED &&
			   (h->role == ROLE_PRIMARY || !m_has_guest(m_other(w, h)));
	m_event(w, h, ev);
	if (ev == FSM_EV_OP_FORCE) /* while it is true */
		m_step_answer(w, h);
	return true;
}

/* ---- all of them ---- */

enum m_kind {
	M_DO_GREET,
	M_DO_MESSAGE,
	M_DO_LOST,
	M_DO_DIAL,
	M_DO_CHECKPOINT,
	M_DO_LOAD,
	M_DO_LIVE,
	M_DO_STALL,
	M_DO_TIMER,
	M_DO_YIELD,
	M_DO_ANSWER,
	M_DO_SERVE,
	M_DO_TIMEOUT,
	M_DO_TIMEOUT_HEARD,
	M_DO_HOLD,
	M_DO_EXPIRE,
	M_DO_HEAL,
	M_DO_REACH_AGAIN,
	M_DO_FORCE,
	M_DO_RECOVER,
	M_HEALING, /* up to here things get better, or go their way */
	M_DO_START_SECONDARY = M_HEALING,
	M_DO_START_PRIMARY,
	M_DO_CUT_ONE_WAY,
	M_DO_CUT,
	M_DO_PARTITION,
	M_DO_CRASH,
	M_DO_QEMU_DEATH,
	M_DO_FAILURE,
	M_DO_UNREACH,
	M_DO_SWITCH,
	M_DO_PAUSE,
	M_DO_TERM,
	M_DO_STOP,
	M_KINDS,
};

#define M_STEPS (M_KINDS * HOSTS)

static const char *const m_kind_names[M_KINDS] = {
	[M_DO_GREET] = "greeting goes on, connection",
	[M_DO_MESSAGE] = "message comes to",
	[M_DO_LOST] = "loss is noticed by",
	[M_DO_DIAL] = "dialing by",
	[M_DO_CHECKPOINT] = "checkpoint of",
	[M_DO_LOAD] = "checkpoint is loaded by",
	[M_DO_LIVE] = "going live goes on at",
	[M_DO_STALL] = "engine stalls at",
	[M_DO_TIMER] = "recover timer at",
	[M_DO_YIELD] = "yield timer at",
	[M_DO_ANSWER] = "arbiter answers",
	[M_DO_SERVE] = "arbiter serves",
	[M_DO_TIMEOUT] = "arbiter is too late for",
	[M_DO_TIMEOUT_HEARD] = "arbiter has heard, and its answer is lost to",
	[M_DO_HOLD] = "lease not renewed by",
	[M_DO_EXPIRE] = "lease runs out",
	[M_DO_HEAL] = "network is back",
	[M_DO_REACH_AGAIN] = "arbiter is reached again by",
	[M_DO_FORCE] = "failover --force on",
	[M_DO_RECOVER] = "recover on",
	[M_DO_START_SECONDARY] = "colod --secondary starts on",
	[M_DO_START_PRIMARY] = "colod --primary starts on",
	[M_DO_CUT_ONE_WAY] = "connection cut one way, to",
	[M_DO_CUT] = "connections cut",
	[M_DO_PARTITION] = "network breaks",
	[M_DO_CRASH] = "crash of",
	[M_DO_QEMU_DEATH] = "QEMU dies on",
	[M_DO_FAILURE] = "session fails on",
	[M_DO_UNREACH] = "arbiter out of reach of",
	[M_DO_SWITCH] = "failover on",
	[M_DO_PAUSE] = "pause on",
	[M_DO_TERM] = "SIGTERM to",
	[M_DO_STOP] = "stop on",
};

/* What waits for the next turn of the loop comes before what takes longer than a turn. */
static inline bool m_is_in_time(const struct m_host *h, enum m_kind kind)
{
	static const bool may_come_before[M_KINDS] = {
		[M_DO_GREET] = true,      [M_DO_MESSAGE] = true,    [M_DO_LOST] = true,
		[M_DO_LOAD] = true,       [M_DO_LIVE] = true,       [M_DO_YIELD] = true,
		[M_DO_ANSWER] = true,     [M_DO_EXPIRE] = true,     [M_DO_HEAL] = true,
		[M_DO_CRASH] = true,      [M_DO_QEMU_DEATH] = true, [M_DO_CUT_ONE_WAY] = true,
		[M_DO_CUT] = true,        [M_DO_PARTITION] = true,  [M_DO_UNREACH] = true,
		[M_DO_REACH_AGAIN] = true};

	return may_come_before[kind] || (!h->yields && !h->answer);
}

/* False: it cannot happen. */
static inline bool m_do(struct m_world *w, enum m_kind kind, unsigned i)
{
	struct m_host *h = &w->host[i];

	if (!m_is_in_time(h, kind))
		return false;
	switch (kind) {
	case M_DO_GREET:
		return m_step_greet(w, i);
	case M_DO_MESSAGE:
		return m_step_message(w, h);
	case M_DO_LOST:
		return m_step_lost(w, h);
	case M_DO_DIAL:
		return m_step_dial(w, h);
	case M_DO_CHECKPOINT:
		return m_step_checkpoint(w, h);
	case M_DO_LOAD:
		return m_step_load(w, h);
	case M_DO_LIVE:
		return m_step_live(w, h);
	case M_DO_STALL:
		return m_step_stall(w, h);
	case M_DO_TIMER:
		return m_step_timer(w, h);
	case M_DO_YIELD:
		return m_step_yield(w, h);
	case M_DO_ANSWER:
		return m_step_answer(w, h);
	case M_DO_SERVE:
		return m_step_serve(w, h);
	case M_DO_TIMEOUT:
		return m_step_timeout(w, h, false);
	case M_DO_TIMEOUT_HEARD:
		return m_step_timeout(w, h, true);
	case M_DO_HOLD:
		return m_step_hold(w, h);
	case M_DO_EXPIRE:
		return !i && m_step_expire(w);
	case M_DO_HEAL:
		return !i && m_step_heal(w);
	case M_DO_REACH_AGAIN:
		return !h->reaches && m_step_reach(w, h);
	case M_DO_UNREACH:
		return h->reaches && m_step_reach(w, h);
	case M_DO_FORCE:
		return m_step_order(w, h, FSM_EV_OP_FORCE);
	case M_DO_RECOVER:
		return m_step_order(w, h, FSM_EV_OP_RECOVER);
	case M_DO_START_SECONDARY:
		return m_step_start(w, h, ROLE_SECONDARY);
	case M_DO_START_PRIMARY:
		return m_step_start(w, h, ROLE_PRIMARY);
	case M_DO_CUT_ONE_WAY:
		return m_step_cut(w, i, false);
	case M_DO_CUT:
		return !i && m_step_cut(w, HOSTS, false);
	case M_DO_PARTITION:
		return !i && m_step_cut(w, HOSTS, true);
	case M_DO_CRASH:
		return m_step_crash(w, h, false);
	case M_DO_QEMU_DEATH:
		return m_step_crash(w, h, true);
	case M_DO_FAILURE:
		return m_step_failure(w, h);
	case M_DO_SWITCH:
		return m_step_order(w, h, FSM_EV_OP_SWITCH);
	case M_DO_PAUSE:
		return m_step_order(w, h, FSM_EV_OP_PAUSE);
	case M_DO_TERM:
		return m_step_order(w, h, FSM_EV_TERM);
	case M_DO_STOP:
		return m_step_order(w, h, FSM_EV_OP_STOP);
	case M_KINDS:
		break;
	}
	return false;
}

#endif
