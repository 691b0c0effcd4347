/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model of the arbiter in its kinds: none, a command, etcd. */
#ifndef TESTS_UNIT_FSM_MODEL_ARBITER_H
#define TESTS_UNIT_FSM_MODEL_ARBITER_H

#include "tests/unit/fsm-model.h"

/* ---- etcd's keys ---- */

static inline enum m_owner m_us(const struct m_world *w, const struct m_host *h)
{
	return M_HOST0 + m_index(w, h);
}

static inline bool m_live_is_theirs(const struct m_world *w, const struct m_host *h)
{
	return w->live && w->live != m_index(w, h) + 1;
}

static inline void m_write_keys(struct m_world *w, enum m_owner owner, unsigned session,
				unsigned live)
{
	w->owner = owner;
	w->owner_session = owner == M_SHARED || owner == M_ENDED ? session : 0;
	w->live = live;
	w->ended |= owner == M_ENDED;
}

enum m_bid { M_PLAIN, M_CERTAIN, M_FRESH, M_FORCE, M_REGAIN };
enum m_verdict { M_TAKE, M_LOSE, M_ENDS, M_WAIT_FOR_LEASE, M_UNDECIDED };

static inline enum m_bid m_bid(const struct m_host *h)
{
	if (h->claim.force)
		return M_FORCE;
	if (h->told == M_TOLD_HOLD)
		return M_REGAIN;
	if (h->claim.fresh)
		return M_FRESH;
	return h->claim.certain ? M_CERTAIN : M_PLAIN;
}

/* As etcd_judge() does, by what etcd has. */
static inline enum m_verdict m_judge(const struct m_world *w, const struct m_host *h)
{
	enum m_bid bid = m_bid(h);
	enum m_verdict other = bid == M_CERTAIN ? M_UNDECIDED : M_LOSE;
	bool ours = w->owner_session == h->claim.session ||
		    (h->claim.primary &&
		     (h->claim.certain || h->sole || w->owner_session == h->last_session));
	bool theirs = w->owner > M_SHARED && w->owner != m_us(w, h);

	if (m_live_is_theirs(w, h))
		return theirs && bid != M_CERTAIN && bid != M_FORCE ? M_LOSE : M_WAIT_FOR_LEASE;
	if (w->owner == m_us(w, h) || bid == M_FORCE)
		return M_TAKE;
	switch (w->owner) {
	case M_ABSENT:
		return bid == M_FRESH || bid == M_REGAIN ? M_TAKE : M_UNDECIDED;
	case M_NOBODY:
		return bid == M_FRESH ? M_TAKE : other;
	case M_ENDED:
		if (bid == M_FRESH)
			return M_TAKE;
		return w->owner_session == h->claim.session || w->owner_session == h->last_session
			       ? M_ENDS
			       : other;
	case M_SHARED:
		/* A start takes the place of what two hosts share: not done while it lives. */
		if (bid == M_FRESH)
			return m_is_alive(w) ? M_WAIT_FOR_LEASE : M_TAKE;
		return ours ? M_TAKE : other;
	default:
		return other;
	}
}

/* ---- what the daemon asks ---- */

static inline void m_let_go(struct m_host *h, enum m_want want, unsigned session)
{
	h->want = want;
	h->restore_session = session;
	h->told = M_TOLD_NOTHING;
	h->asked = h->dirty = false;
	h->answer = M_NO_ANSWER;
	h->claim = (struct m_claim){};
}

static inline void m_claim(struct m_host *h, struct m_claim c)
{
	bool sure = c.certain || c.fresh || c.force;

	h->answer = M_NO_ANSWER;
	switch (m_rules.arbiter) {
	case ARBITER_NONE:
		h->answer = sure ? M_WON : M_UNKNOWN;
		break;
	case ARBITER_EXEC:
		if (sure) {
			h->running = false;
			h->answer = M_WON;
		} else if (!h->running) {
			h->running = true;
			h->run_session = c.session;
		}
		break;
	case ARBITER_ETCD:
		if (h->told == M_TOLD_WON) {
			h->answer = M_WON;
			break;
		}
		h->dirty |= h->want == M_WANT_SHARE || h->want == M_WANT_RESTORE;
		h->claim = c;
		h->sole = c.primary && ((c.certain && !c.fresh) || h->sole);
		h->want = M_WANT_WIN;
		h->asked = true;
		break;
	}
}

static inline void m_arbiter_drop(struct m_host *h)
{
	bool moved = h->dirty || h->answer == M_WON;
	unsigned session = h->claim.session;

	h->running = false;
	if (m_rules.arbiter != ARBITER_ETCD) {
		h->answer = M_NO_ANSWER;
		return;
	}
	h->answer = M_NO_ANSWER;
	if (!h->asked && !moved)
		return;
	if (h->told == M_TOLD_HOLD) {
		h->asked = false;
		h->claim = (struct m_claim){.primary = true};
		return;
	}
	if (moved && session)
		m_let_go(h, M_WANT_RESTORE, session);
	else
		m_let_go(h, M_WANT_NOTHING, 0);
}

/* arbiter_is_open() */
static inline bool m_arbiter_is_open(const struct m_host *h)
{
	return h->running || h->answer == M_WON || h->answer == M_LOST || h->answer == M_UNKNOWN ||
	       h->answer == M_OVER || h->asked || h->dirty || h->want == M_WANT_RESTORE || h->told;
}

static inline void m_arbiter_share(struct m_host *h)
{
	h->answer = M_NO_ANSWER;
	if (m_rules.arbiter != ARBITER_ETCD)
		return;
	h->last_session = h->session;
	m_let_go(h, M_WANT_SHARE, h->session);
}

/* ---- what etcd does with it ---- */

static inline void m_finish(struct m_host *h, enum m_answer answer, enum m_told told)
{
	h->answer = answer;
	h->told = told;
	h->want = M_WANT_NOTHING;
	h->asked = false;
	if (answer == M_WON || answer == M_LOST || answer == M_OVER)
		h->dirty = false;
	if (answer == M_WON && h->claim.session)
		h->last_session = h->claim.session;
	/* Else what was or may have been moved is remembered. */
	if (answer == M_LOST || answer == M_OVER)
		h->claim = (struct m_claim){};
	h->restore_session = 0;
}

/* A start gives up what there was only where that cannot be known to live. */
static inline void m_check_start(const struct m_world *w, const struct m_host *h)
{
	if (m_bid(h) == M_FRESH && w->owner > M_SHARED && w->owner != m_us(w, h) && m_is_alive(w))
		m_break("S4: a guest is started anew that lives");
}

static inline void m_take_keys(struct m_world *w, struct m_host *h)
{
	m_write_keys(w, m_us(w, h), 0, m_index(w, h) + 1);
	w->ended = w->ended && m_bid(h) != M_FRESH && m_bid(h) != M_FORCE;
}

/* False: nothing is to be done, or nothing can be yet. */
static inline bool m_etcd_serve(struct m_world *w, struct m_host *h)
{
	bool theirs = m_live_is_theirs(w, h), us = w->owner == m_us(w, h);
	unsigned s = h->restore_session;

	switch ((enum m_want)h->want) {
	case M_WANT_NOTHING:
		return false;
	case M_WANT_WIN:
		switch (m_judge(w, h)) {
		case M_TAKE:
			m_check_start(w, h);
			m_take_keys(w, h);
			m_finish(h, M_WON, M_TOLD_WON);
			return true;
		case M_LOSE:
			m_finish(h, M_LOST, M_TOLD_NOTHING);
			return true;
		case M_ENDS:
			m_finish(h, M_OVER, M_TOLD_NOTHING);
			return true;
		case M_UNDECIDED:
			if (h->asked)
				m_finish(h, M_UNKNOWN, M_TOLD_NOTHING);
			return h->answer == M_UNKNOWN;
		case M_WAIT_FOR_LEASE:
			return false;
		}
		return false;
	case M_WANT_SHARE:
		if (theirs || w->owner == M_ENDED || (w->owner > M_SHARED && !us))
			return false;
		m_write_keys(w, M_SHARED, s, 0);
		h->sole = false;
		break;
	case M_WANT_RESTORE:
		if (!theirs && us)
			m_write_keys(w, M_SHARED, s, 0);
		break;
	case M_WANT_RESIGN:
		if (!theirs && us)
			m_write_keys(w, M_NOBODY, 0, 0);
		break;
	case M_WANT_END:
		us |= w->owner == M_SHARED &&
		      (w->owner_session == s || h->sole || w->owner_session == h->last_session);
		if (!theirs && us)
			m_write_keys(w, s ? M_ENDED : M_NOBODY, s, 0);
		break;
	}
	m_let_go(h, M_WANT_NOTHING, 0);
	return true;
}

/* The last words of a daemon that ends. */
static inline void m_resign(struct m_world *w, struct m_host *h, enum m_want last)
{
	if (m_rules.arbiter != ARBITER_ETCD || !h->reaches)
		return;
	if (last == M_WANT_END)
		m_let_go(h, last, h->session ? h->session : h->last_session);
	else if (last == M_WANT_RESIGN)
		m_let_go(h, last, 0);
	if (h->want != M_WANT_WIN)
		m_etcd_serve(w, h);
}

/* ---- steps ---- */

/* The command is run, or etcd hears of the claim. */
static inline bool m_step_serve(struct m_world *w, struct m_host *h)
{
	unsigned us = m_index(w, h) + 1;

	if (!h->up || !h->reaches)
		return false;
	/* Who lost hears of it before what it lost to is given back. */
	if (h->want == M_WANT_RESTORE && m_other(w, h)->answer == M_LOST)
		return false;
	if (m_rules.arbiter == ARBITER_ETCD)
		return !h->answer && m_etcd_serve(w, h);
	if (m_rules.arbiter != ARBITER_EXEC || !h->running)
		return false;
	if (!w->winner[h->run_session])
		w->winner[h->run_session] = us;
	h->running = false;
	h->answer = w->winner[h->run_session] == us ? M_WON : M_UNKNOWN;
	return true;
}

/* It takes too long. The claim may have been heard all the same. */
static inline bool m_step_timeout(struct m_world *w, struct m_host *h, bool heard)
{
	if (!h->up || h->reaches || h->answer)
		return false;
	if (m_rules.arbiter == ARBITER_EXEC && h->running) {
		if (heard && w->winner[h->run_session])
			return false;
		if (heard)
			w->winner[h->run_session] = m_index(w, h) + 1;
		h->running = false;
	} else if (m_rules.arbiter == ARBITER_ETCD && h->want == M_WANT_WIN && h->asked) {
		if (heard && m_judge(w, h) != M_TAKE)
			return false;
		if (heard) {
			m_take_keys(w, h);
			h->dirty = true;
		}
		m_finish(h, M_UNKNOWN, M_TOLD_NOTHING);
		return true;
	} else {
		return false;
	}
	h->answer = M_UNKNOWN;
	return true;
}

/* The lease cannot be renewed: told before it can run out. */
static inline bool m_step_hold(struct m_world *w, struct m_host *h)
{
	(void)w;
	if (!h->up || h->reaches || h->told != M_TOLD_WON || h->answer)
		return false;
	h->told = M_TOLD_HOLD;
	h->answer = M_HOLD;
	h->want = M_WANT_WIN;
	h->asked = false;
	h->claim = (struct m_claim){.primary = true};
	return true;
}

static inline bool m_step_expire(struct m_world *w)
{
	const struct m_host *h;

	if (!w->live)
		return false;
	h = &w->host[w->live - 1];
	if (h->up && (h->told == M_TOLD_WON || h->answer == M_HOLD))
		return false;
	if (h->up && h->told == M_TOLD_HOLD && h->reaches)
		return false; /* it renews it before */
	w->live = 0;
	return true;
}

#endif
