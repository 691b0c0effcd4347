/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model of what passes between the hosts: greetings, and the messages of an established link. */
#ifndef TESTS_UNIT_FSM_MODEL_NET_H
#define TESTS_UNIT_FSM_MODEL_NET_H

#include "tests/unit/fsm-model-host.h"

/* ---- greetings ---- */

static inline void m_drop_conn(struct m_world *w, unsigned conn)
{
	memset(&w->conn[conn], 0, sizeof(w->conn[conn]));
}

static inline bool m_step_dial(struct m_world *w, struct m_host *h)
{
	unsigned us = m_index(w, h);
	unsigned conn = w->conn[0].stage ? 1 : 0;
	struct m_conn *c = &w->conn[conn];

	if (!h->up || h->link != M_DIALING || w->net_is_down || !m_other(w, h)->up || c->stage)
		return false;
	for (unsigned i = 0; i < CONNS; i++)
		if (w->conn[i].stage && w->conn[i].stage != M_ESTABLISHED &&
		    w->conn[i].caller == us && w->conn[i].open[us])
			return false;
	c->stage = M_HELLO;
	c->caller = us;
	c->open[us] = true;
	c->session = m_new_session(w);
	c->heard = h->alone;
	c->given = h->state == FSM_GIVEN;
	c->caller_role = h->role;
	c->caller_session = h->session;
	c->resume = m_can_resume(h, h->session) ? h->session : 0;
	return true;
}

static inline void m_reject(struct m_world *w, unsigned conn, bool live)
{
	struct m_conn *c = &w->conn[conn];

	c->rejects_live = live;
	c->stage = M_REJECT;
	if (!c->open[c->caller])
		m_drop_conn(w, conn);
}

/* on_accept() of peer.c; false: rejected */
static inline bool m_accept(struct m_world *w, unsigned conn, struct m_host *h, bool again)
{
	const struct m_conn *c = &w->conn[conn];
	unsigned ours = m_can_resume(h, c->resume) ? c->resume : 0;

	if (h->role == ROLE_PRIMARY && c->caller_role == ROLE_PRIMARY) {
		bool live = !(h->alone && c->heard) && (h->alone || c->given);

		if (!h->started && c->heard)
			h->yields = true;
		m_reject(w, conn, live);
		return false;
	}
	if (h->role == ROLE_PRIMARY || c->caller_role != ROLE_PRIMARY ||
	    (again && c->welcome_resume != (m_can_resume(h, c->welcome_resume) ? ours : 0)) ||
	    (h->state != FSM_SETUP && h->state != FSM_COLO && h->state != FSM_PAUSED &&
	     h->state != FSM_ACTIVE_PAUSED)) {
		m_reject(w, conn, false);
		return false;
	}
	if (h->state == FSM_PAUSED && !ours && m_arbiter_is_open(h)) {
		m_reject(w, conn, false);
		return false;
	}
	return true;
}

static inline void m_on_hello(struct m_world *w, unsigned conn, struct m_host *h)
{
	struct m_conn *c = &w->conn[conn];

	if (h->link == M_UP && h->role == ROLE_SECONDARY && c->caller_role == ROLE_PRIMARY &&
	    c->resume && c->resume == h->session) {
		m_link_down(w, h);
		m_event(w, h, FSM_EV_LINK_LOST);
	}
	if (h->link == M_UP) {
		m_reject(w, conn, false);
		return;
	}
	if (!m_accept(w, conn, h, false))
		return;
	c->welcome_resume = m_can_resume(h, c->resume) ? c->resume : 0;
	c->called_role = h->role;
	c->held_it = h->held_session && h->held_session == c->caller_session;
	c->stage = M_WELCOME;
	if (!c->open[c->caller])
		m_drop_conn(w, conn);
}

static inline void m_up(struct m_world *w, unsigned conn, struct m_host *h)
{
	struct m_conn *c = &w->conn[conn];

	h->link = M_UP;
	h->conn = conn;
	c->open[m_index(w, h)] = true;
	m_event(w, h, m_can_resume(h, c->welcome_resume) ? FSM_EV_PEER_RESUMES : FSM_EV_PEER_UP);
}

static inline void m_on_hello2(struct m_world *w, unsigned conn, struct m_host *h)
{
	if (h->link == M_UP) {
		m_reject(w, conn, false);
		return;
	}
	if (!m_accept(w, conn, h, true))
		return;
	w->conn[conn].stage = M_WELCOME2;
	m_up(w, conn, h);
}

/* may_have_lived() of peer.c */
static inline bool m_may_have_lived(const struct m_conn *c, const struct m_host *h)
{
	return m_rules.arbiter != ARBITER_NONE &&
	       (h->state == FSM_PAUSED || h->state == FSM_GIVEN) && h->may_hold && !c->held_it;
}

static inline void m_on_welcome2(struct m_world *w, unsigned conn, struct m_host *h)
{
	struct m_conn *c = &w->conn[conn];

	bool resumes = m_can_resume(h, c->welcome_resume);
	bool lived = !resumes && h->role == ROLE_PRIMARY && m_may_have_lived(c, h);

	c->stage = M_ESTABLISHED;
	if (c->called_role == h->role || (c->welcome_resume && !resumes) || lived) {
		h->link = M_UP;
		h->conn = conn;
		m_link_down(w, h);
		if (h->role == ROLE_PRIMARY)
			m_dial(h);
		if (lived && !h->by_order)
			m_event(w, h, FSM_EV_RECOVER_TIMEOUT);
		return;
	}
	m_up(w, conn, h);
}

static inline bool m_step_greet(struct m_world *w, unsigned conn)
{
	struct m_conn *c = &w->conn[conn];
	struct m_host *caller = &w->host[c->caller], *called = &w->host[1 - c->caller];
	bool live;

	switch ((enum m_stage)c->stage) {
	case M_HELLO:
	case M_HELLO2:
		if (!called->up)
			m_drop_conn(w, conn);
		else if (c->stage == M_HELLO)
			m_on_hello(w, conn, called);
		else
			m_on_hello2(w, conn, called);
		return true;
	case M_WELCOME:
		c->stage = M_HELLO2;
		return true;
	case M_WELCOME2:
		if (!c->open[c->caller])
			return false;
		m_on_welcome2(w, conn, caller);
		return true;
	case M_REJECT:
		live = c->rejects_live;
		m_drop_conn(w, conn);
		if (live && !caller->alone && !m_arbiter_is_open(caller))
			m_event(w, caller, FSM_EV_PEER_LIVE);
		return true;
	default:
		return false;
	}
}

/* ---- messages ---- */

static inline void m_fail_replica(struct m_world *w, struct m_host *h)
{
	m_say(w, h, M_FAILED, 0);
	m_event(w, h, h->goes_live ? FSM_EV_LIVE_FAILED : FSM_EV_SYNC_FAILED);
}

static inline void m_on_received(struct m_world *w, struct m_host *h, struct m_msg m)
{
	if (h->phase != M_FLIGHT || h->received || m.seq != ((h->p_seq + 1) & 3))
		return;
	h->p_seq = (h->p_seq + 1) & 3;
	h->received = h->synced = true;
	m_release(w, h, m.whole);
	if (!h->p_final)
		h->phase = M_IDLE;
}

static inline void m_on_loaded(struct m_world *w, struct m_host *h, unsigned seq)
{
	if (h->phase < M_COPY || seq != h->p_seq)
		return;
	if (!h->announced && h->received) {
		h->announced = true;
		m_event(w, h, FSM_EV_SYNCED);
	} else if (h->phase == M_FLIGHT && h->received && h->p_final && !h->given) {
		m_say(w, h, M_HANDOVER, h->p_seq);
		h->given = true;
		m_event(w, h, FSM_EV_GIVEN);
	}
}

static inline void m_on_ack(struct m_world *w, struct m_host *h, unsigned seq)
{
	if (!h->asking || !h->cut)
		return;
	h->asking = h->cut = false;
	/* A first copy goes on in guest RAM: its checkpoint is taken anew. */
	if (h->phase == M_FLIGHT && !h->synced && seq == h->p_seq) {
		h->phase = M_COPY;
		h->may_hold = false;
	}
	m_event(w, h, h->announced ? FSM_EV_RESUMED : FSM_EV_RESUMED_COPY);
	if (h->up && h->phase == M_FLIGHT && !h->received && seq == h->p_seq)
		m_send(w, h,
		       (struct m_msg){.type = M_CKPT,
				      .seq = (h->p_seq + 1) & 3,
				      .whole = h->flight_newest});
}

static inline void m_primary_message(struct m_world *w, struct m_host *h, struct m_msg m)
{
	switch (m.type) {
	case M_READY:
		if (h->phase != M_WAIT)
			break;
		h->phase = h->announced ? M_IDLE : M_COPY;
		h->may_hold = h->announced;
		break;
	case M_RECEIVED:
		if (!h->cut)
			m_on_received(w, h, m);
		break;
	case M_LOADED:
		if (!h->cut)
			m_on_loaded(w, h, m.seq);
		break;
	case M_TAKEN:
		if (h->given && m.seq == h->p_seq)
			m_event(w, h, FSM_EV_HANDED_OVER);
		break;
	case M_BITMAP:
		if (h->asking)
			m_say(w, h, M_RESUME, h->p_seq);
		break;
	case M_ACK:
		m_on_ack(w, h, m.seq);
		break;
	case M_FAILED:
		if (h->phase)
			m_event(w, h, FSM_EV_PEER_FAILED);
		break;
	default:
		break;
	}
}

static inline void m_commit(struct m_world *w, struct m_host *h, struct m_msg m)
{
	if (h->holds == M_NOTHING || h->goes_live || h->resuming || h->s_final)
		return;
	if (m.seq != ((h->s_seq + 1) & 3)) {
		m_rules.note = "a checkpoint out of order";
		m_fail_replica(w, h);
		return;
	}
	h->holds = M_WHOLE;
	h->held_session = h->session;
	h->s_seq = m.seq;
	h->ckpt_newest = m.whole;
	h->s_final = m.final;
	h->loaded = false;
	m_say(w, h, M_RECEIVED, h->s_seq);
}

static inline void m_secondary_message(struct m_world *w, struct m_host *h, struct m_msg m)
{
	switch (m.type) {
	case M_CKPT:
		m_commit(w, h, m);
		break;
	case M_HANDOVER:
		if (h->goes_live || h->holds == M_NOTHING)
			break;
		if (h->s_final && h->loaded && h->s_seq == m.seq)
			m_event(w, h, FSM_EV_HANDED_OVER);
		else
			m_fail_replica(w, h);
		break;
	case M_RESUME:
		if (!h->resuming)
			break;
		h->resuming = h->s_cut = false;
		m_say(w, h, M_ACK, h->s_seq);
		if (h->holds == M_WHOLE) {
			m_say(w, h, M_RECEIVED, h->s_seq);
			if (h->loaded)
				m_say(w, h, M_LOADED, h->s_seq);
		}
		m_event(w, h, h->s_announced ? FSM_EV_RESUMED : FSM_EV_RESUMED_COPY);
		break;
	default:
		break;
	}
}

static inline bool m_step_message(struct m_world *w, struct m_host *h)
{
	struct m_conn *c = &w->conn[h->conn];
	unsigned us = m_index(w, h);
	struct m_msg m;

	if (!h->up || h->link != M_UP || !m_queued(c, us))
		return false;
	/* The stage is in use until the checkpoint before is loaded. */
	if (c->queue[us][0].type == M_CKPT && h->holds == M_WHOLE && !h->loaded)
		return false;
	m = m_take(c, us);
	switch (m.type) {
	case M_GONE:
		m_event(w, h, FSM_EV_PEER_DEAD);
		break;
	case M_LEAVE:
		m_event(w, h, FSM_EV_PEER_LEFT);
		break;
	case M_STOP:
		m_event(w, h, FSM_EV_PEER_STOPPED);
		break;
	case M_PAUSE:
		m_event(w, h, FSM_EV_PEER_PAUSES);
		break;
	case M_SWITCH_REQUEST:
		m_event(w, h, FSM_EV_PEER_ASKS_SWITCH);
		break;
	default:
		if (h->role == ROLE_PRIMARY)
			m_primary_message(w, h, m);
		else
			m_secondary_message(w, h, m);
	}
	return true;
}

#endif
