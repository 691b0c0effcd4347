/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model of a daemon: what it does on each action of the tables, as colod/daemon does it. */
#ifndef TESTS_UNIT_FSM_MODEL_HOST_H
#define TESTS_UNIT_FSM_MODEL_HOST_H

#include "tests/unit/fsm-model-arbiter.h"

static inline void m_event(struct m_world *w, struct m_host *h, enum fsm_event ev);

static inline void m_redeliver_term(struct m_world *w, struct m_host *h)
{
	if (h->term)
		m_event(w, h, FSM_EV_TERM);
}

/* ---- engines ---- */

static inline void m_primary_off(struct m_host *h)
{
	h->phase = M_OFF;
	h->announced = h->received = h->synced = h->p_final = h->given = h->wants_final = false;
	h->cut = h->asking = false;
	h->flight_newest = false;
	h->p_seq = 0;
}

/* A guest that stands still for a checkpoint runs again; not one that was given away. */
static inline void m_primary_stop(struct m_host *h)
{
	if (h->phase == M_FLIGHT && h->p_final && !h->given)
		h->runs = true;
	m_primary_off(h);
}

static inline bool m_primary_can_resume(const struct m_host *h)
{
	return h->phase >= M_COPY && !h->wants_final && !(h->phase == M_FLIGHT && h->p_final);
}

static inline void m_secondary_stop(struct m_host *h)
{
	h->holds = M_NOTHING;
	h->loaded = h->s_announced = h->s_final = h->s_cut = h->resuming = false;
	h->goes_live = h->took_over = h->ckpt_newest = false;
	h->s_seq = 0;
}

static inline bool m_secondary_can_resume(const struct m_host *h)
{
	return h->holds != M_NOTHING && !h->goes_live && !h->s_final;
}

static inline void m_primary_start(struct m_host *h, bool full, unsigned seq)
{
	m_primary_off(h);
	h->phase = M_WAIT;
	h->announced = h->synced = !full;
	h->p_seq = seq & 3;
	/* PROXY_ATTACH_PRIMARY: a guest that is heard stays so until the first checkpoint. */
	if (h->proxy != M_FREE)
		h->proxy = M_HELD;
}

static inline void m_secondary_start(struct m_world *w, struct m_host *h, bool full)
{
	if (full) {
		m_secondary_stop(h);
		h->holds = M_PART;
	}
	h->loaded = h->s_announced = !full;
	h->proxy = M_SILENT;
	m_say(w, h, M_READY, h->s_seq);
}

/* ---- session.c ---- */

static inline void m_pause_over(struct m_host *h)
{
	h->by_order = h->timer = false;
}

static inline void m_dial(struct m_host *h)
{
	if (h->link == M_DOWN)
		h->link = M_DIALING;
}

static inline void m_look_for_peer(struct m_host *h)
{
	if (h->role == ROLE_PRIMARY && !h->by_order && h->up)
		m_dial(h);
}

static inline void m_ask(struct m_host *h, enum fsm_action how)
{
	bool alone = h->role == ROLE_PRIMARY && !h->may_hold;
	struct m_claim c = {.session = alone ? 0 : h->session,
			    .primary = h->role == ROLE_PRIMARY,
			    .force = how == FSM_ASK_FORCED,
			    .fresh = how == FSM_ASK_FRESH};

	if (h->role == ROLE_PRIMARY && h->state != FSM_GIVEN)
		c.certain = !h->may_hold;
	if (how == FSM_ASK_CERTAIN)
		c.certain = true;
	if (h->role == ROLE_PRIMARY && h->state == FSM_PAUSED && how == FSM_ASK && !c.certain &&
	    h->proxy != M_SILENT)
		h->proxy = M_SHUT;
	m_claim(h, c);
}

static inline void m_end_session(struct m_world *w, struct m_host *h)
{
	m_primary_stop(h);
	m_secondary_stop(h);
	m_link_down(w, h);
}

static inline void m_suspend(struct m_world *w, struct m_host *h)
{
	if (h->role == ROLE_PRIMARY && m_primary_can_resume(h)) {
		h->cut = true;
		h->asking = false;
	} else if (h->role == ROLE_SECONDARY) {
		h->s_cut = true;
		h->resuming = false;
	}
	m_link_down(w, h);
}

static inline void m_begin_pause(struct m_host *h)
{
	if (h->role == ROLE_PRIMARY && h->may_hold)
		h->alone = false;
	if (!h->by_order)
		h->timer = true;
}

static inline bool m_can_resume(const struct m_host *h, unsigned session)
{
	if (!session || session != h->session)
		return false;
	if (h->role == ROLE_PRIMARY)
		return h->state == FSM_PAUSED && m_primary_can_resume(h);
	return (h->state == FSM_PAUSED || h->state == FSM_ACTIVE_PAUSED) &&
	       m_secondary_can_resume(h);
}

static inline void m_sync(struct m_world *w, struct m_host *h)
{
	h->session = w->conn[h->conn].session;
	if (h->role == ROLE_SECONDARY) {
		m_arbiter_drop(h);
		m_secondary_start(w, h, true);
	} else {
		m_primary_stop(h);
		h->may_hold = false;
		if (!h->alone)
			m_ask(h, FSM_ASK_CERTAIN);
		m_primary_start(h, true, 0);
	}
	m_pause_over(h);
}

static inline void m_cut(struct m_world *w, struct m_host *h)
{
	if (h->role == ROLE_PRIMARY)
		m_end_session(w, h);
	else
		m_suspend(w, h);
	h->by_order = h->timer = false;
}

static inline bool m_do_session(struct m_world *w, struct m_host *h, enum fsm_action a,
				enum fsm_event ev)
{
	switch (a) {
	case FSM_START_SYNC:
		m_sync(w, h);
		return true;
	case FSM_PAUSE:
		m_suspend(w, h);
		m_begin_pause(h);
		m_look_for_peer(h);
		m_redeliver_term(w, h);
		return true;
	case FSM_PAUSE_BY_ORDER:
		if (ev == FSM_EV_OP_PAUSE)
			m_say(w, h, M_PAUSE, 0);
		m_suspend(w, h);
		h->by_order = true;
		m_arbiter_drop(h);
		h->timer = false;
		m_begin_pause(h);
		return true;
	case FSM_PAUSE_VOID:
	case FSM_ABORT_AND_PAUSE:
		m_end_session(w, h);
		m_begin_pause(h);
		m_look_for_peer(h);
		m_redeliver_term(w, h);
		return true;
	case FSM_DIAL:
		h->by_order = false;
		h->timer = true;
		m_link_down(w, h);
		m_dial(h);
		return true;
	case FSM_RESUME:
		h->by_order = h->timer = false;
		m_arbiter_drop(h);
		if (h->proxy == M_SHUT)
			h->proxy = M_HELD;
		if (h->role == ROLE_PRIMARY) {
			h->asking = true;
		} else {
			h->resuming = true;
			m_say(w, h, M_BITMAP, h->s_seq);
		}
		return true;
	case FSM_RESUMED:
		m_pause_over(h);
		return true;
	case FSM_DROP_PEER:
		m_end_session(w, h);
		h->session = 0;
		m_pause_over(h);
		h->may_hold = false;
		if (h->alone)
			h->proxy = M_FREE;
		else
			m_ask(h, FSM_ASK_CERTAIN);
		m_look_for_peer(h);
		m_redeliver_term(w, h);
		return true;
	case FSM_LOSE_REPLICA:
		m_end_session(w, h);
		m_arbiter_drop(h);
		h->session = 0;
		m_pause_over(h);
		return true;
	default:
		return false;
	}
}

/* ---- alone.c ---- */

static inline void m_let_out(struct m_world *w, struct m_host *h)
{
	h->timer = false;
	if (h->state == FSM_ACTIVE && h->may_hold)
		return;
	h->alone = true;
	h->muted = false;
	if (h->state == FSM_FAILOVER)
		return;
	h->proxy = M_FREE;
	if (!h->started) {
		h->started = h->runs = true;
		h->guest_newest = !m_is_heard(m_other(w, h)); /* a new life */
		m_dial(h);
	}
}

static inline void m_mute(struct m_host *h)
{
	h->alone = false;
	h->muted = true;
	if (h->state != FSM_FAILOVER && h->proxy != M_SILENT)
		h->proxy = M_SHUT;
}

static inline void m_share(struct m_host *h)
{
	if (h->muted && h->proxy == M_SHUT)
		h->proxy = M_HELD;
	h->alone = h->muted = false;
	m_arbiter_share(h);
	m_pause_over(h);
}

static inline void m_go_solo(struct m_world *w, struct m_host *h)
{
	m_primary_stop(h);
	h->may_hold = h->muted = false;
	h->session = 0;
	h->alone = true;
	m_pause_over(h);
	h->proxy = M_FREE;
	m_dial(h);
	m_redeliver_term(w, h);
}

static inline void m_yield(struct m_world *w, struct m_host *h)
{
	h->proxy = M_SILENT;
	m_end_session(w, h);
	m_arbiter_drop(h);
	h->role = ROLE_SECONDARY;
	h->started = true;
	h->session = 0;
	h->alone = h->muted = h->runs = h->may_hold = h->guest_newest = false;
	m_pause_over(h);
	m_redeliver_term(w, h);
}

static inline void m_take_back(struct m_world *w, struct m_host *h)
{
	m_primary_stop(h);
	h->proxy = M_FREE;
	m_hear(w, h); /* what was held goes out at once */
	if (!h->alone && h->state == FSM_ACTIVE)
		h->proxy = M_SHUT;
	h->runs = true;
}

static inline void m_become_solo(struct m_world *w, struct m_host *h)
{
	m_secondary_stop(h);
	h->role = ROLE_PRIMARY;
	h->may_hold = false;
	h->started = true;
	h->session = 0;
	h->alone = !h->muted;
	m_pause_over(h);
	if (h->muted) {
		h->proxy = M_SHUT;
		m_ask(h, FSM_ASK);
	}
	m_dial(h);
	m_redeliver_term(w, h);
}

static inline bool m_do_alone(struct m_world *w, struct m_host *h, enum fsm_action a)
{
	switch (a) {
	case FSM_ASK:
	case FSM_ASK_FRESH:
		m_ask(h, a);
		return true;
	case FSM_ASK_CERTAIN:
	case FSM_ABORT_AND_ASK:
		m_cut(w, h);
		if (h->role == ROLE_PRIMARY)
			h->may_hold = false;
		m_ask(h, FSM_ASK_CERTAIN);
		if (h->role == ROLE_PRIMARY)
			m_dial(h);
		return true;
	case FSM_ASK_FORCED:
		if (h->role == ROLE_SECONDARY) {
			m_say(w, h, M_STOP, 0);
			m_cut(w, h);
		}
		m_ask(h, a);
		return true;
	case FSM_LET_OUT:
		m_let_out(w, h);
		return true;
	case FSM_MUTE:
		m_mute(h);
		return true;
	case FSM_SHARE:
		m_share(h);
		return true;
	case FSM_GO_SOLO:
		m_go_solo(w, h);
		return true;
	case FSM_YIELD:
		m_yield(w, h);
		return true;
	case FSM_GO_LIVE:
		h->timer = false;
		m_link_down(w, h);
		h->goes_live = true;
		return true;
	case FSM_BECOME_SOLO:
		m_become_solo(w, h);
		return true;
	default:
		return false;
	}
}

/* ---- actions.c ---- */

static inline void m_swap_roles(struct m_world *w, struct m_host *h)
{
	unsigned seq = h->role == ROLE_PRIMARY ? h->p_seq : h->s_seq;
	bool newest = h->role == ROLE_PRIMARY ? h->guest_newest : h->ckpt_newest;

	h->started = true;
	if (h->role == ROLE_PRIMARY) {
		m_primary_off(h);
		h->runs = h->guest_newest = false;
		h->role = ROLE_SECONDARY;
		h->holds = M_WHOLE;
		h->held_session = h->session;
		h->s_seq = seq;
		h->ckpt_newest = newest;
		m_secondary_start(w, h, false);
	} else {
		m_say(w, h, M_TAKEN, seq);
		m_secondary_stop(h);
		h->role = ROLE_PRIMARY;
		h->may_hold = h->runs = true;
		h->guest_newest = newest;
		h->proxy = M_HELD;
		m_primary_start(h, false, seq);
	}
	m_pause_over(h);
	m_redeliver_term(w, h);
}

/* Its QEMU, too, and what etcd believes of it stays until the lease has run out. */
static inline void m_vanish(struct m_world *w, struct m_host *h)
{
	m_link_down(w, h);
	for (unsigned i = 0; i < CONNS; i++) /* greetings to it end with it */
		if (w->conn[i].stage && w->conn[i].stage < M_WELCOME2 &&
		    w->conn[i].caller != m_index(w, h))
			memset(&w->conn[i], 0, sizeof(w->conn[i]));
	*h = (struct m_host){.reaches = h->reaches, .state = FSM_COMPLETED};
}

static inline void m_end(struct m_world *w, struct m_host *h, enum m_want last, enum m_type word)
{
	h->proxy = M_SILENT;
	m_resign(w, h, last);
	m_say(w, h, word, 0);
	m_vanish(w, h);
}

static inline enum m_want m_leave_it(const struct m_host *h)
{
	return h->alone ? M_WANT_RESIGN : M_WANT_NOTHING;
}

static inline void m_perform(struct m_world *w, struct m_host *h, enum fsm_action a,
			     enum fsm_event ev)
{
	if (m_do_session(w, h, a, ev) || m_do_alone(w, h, a))
		return;
	switch (a) {
	case FSM_BEGIN_SWITCH:
		h->wants_final = true;
		break;
	case FSM_ABORT_SWITCH:
		m_redeliver_term(w, h);
		break;
	case FSM_TAKE_BACK:
		m_take_back(w, h);
		m_go_solo(w, h);
		break;
	case FSM_TAKE_BACK_AND_SYNC:
		m_take_back(w, h);
		m_sync(w, h);
		break;
	case FSM_SWAP_ROLES:
		m_swap_roles(w, h);
		break;
	case FSM_ASK_PEER:
		m_say(w, h, M_SWITCH_REQUEST, 0);
		break;
	case FSM_TELL_DEAD_AND_FAIL:
		m_end(w, h, m_leave_it(h), M_GONE);
		break;
	case FSM_END_BOTH:
		w->over = true;
		m_end(w, h,
		      ev == FSM_EV_PEER_STOPPED || ev == FSM_EV_ENDED ? M_WANT_RESIGN : M_WANT_END,
		      M_STOP);
		break;
	case FSM_END_HERE:
		m_end(w, h, m_leave_it(h), M_LEAVE);
		break;
	default:
		break;
	}
}

static inline void m_event(struct m_world *w, struct m_host *h, enum fsm_event ev)
{
	struct fsm_cell c;

	if (!h->up)
		return;
	if (ev == FSM_EV_TERM)
		h->term = true;
	c = m_rules.step(h->role, h->state, ev);
	if (c.action == FSM_ILLEGAL)
		m_rules.note = "an event that makes no sense";
	if (c.action == FSM_GO_LIVE && h->holds != M_WHOLE)
		m_break("S2: a part of a checkpoint is to come to life");
	if (c.action != FSM_REFUSE)
		h->state = c.next;
	m_perform(w, h, c.action, ev);
}

#endif
