/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model of two hosts: their states, the network between them, and what of the guest is where. */
#ifndef TESTS_UNIT_FSM_MODEL_H
#define TESTS_UNIT_FSM_MODEL_H

#include "tests/unit/unit.h"

#include "colod/core/config.h"
#include "colod/core/fsm.h"

#define HOSTS    2
#define CONNS    2 /* one that one side has given up, one that is being made */
#define QUEUE    8
#define SESSIONS 8 /* numbers that can be in use at a time; 0: none */

/* Where the output of a host's guest goes. */
enum m_proxy {
	M_SILENT, /* nowhere: not in the bridge */
	M_FREE,   /* out */
	M_HELD,   /* waits for a commit */
	M_SHUT,   /* nowhere, ARP neither; what is held stays so */
};

enum m_phase { M_OFF, M_WAIT, M_COPY, M_IDLE, M_FLIGHT };
enum m_holds { M_NOTHING, M_PART, M_WHOLE };
enum m_link { M_DOWN, M_DIALING, M_UP };
enum m_answer { M_NO_ANSWER, M_WON, M_LOST, M_UNKNOWN, M_HOLD, M_OVER };
enum m_want { M_WANT_NOTHING, M_WANT_WIN, M_WANT_SHARE, M_WANT_RESTORE, M_WANT_RESIGN, M_WANT_END };
enum m_told { M_TOLD_NOTHING, M_TOLD_WON, M_TOLD_HOLD };
enum m_owner { M_ABSENT, M_NOBODY, M_ENDED, M_SHARED, M_HOST0, M_HOST1 };

/* What a control connection carries, with the bulk data of a checkpoint in its place. */
enum m_type {
	M_NO_MESSAGE,
	M_READY,
	M_CKPT,
	M_RECEIVED,
	M_LOADED,
	M_HANDOVER,
	M_TAKEN,
	M_BITMAP,
	M_RESUME,
	M_ACK,
	M_GONE,
	M_LEAVE,
	M_STOP,
	M_PAUSE,
	M_FAILED,
	M_SWITCH_REQUEST,
};

struct m_msg {
	uint8_t type : 4;
	uint8_t seq : 2;
	uint8_t final : 1; /* M_CKPT: of a switch-over */
	uint8_t whole : 1; /* M_CKPT: has all that was let out; see struct m_host. M_RECEIVED: its
			      sender has come to life with it since */
};

struct m_claim {
	uint8_t session : 3;
	bool primary : 1, certain : 1, fresh : 1, force : 1;
};

/*
 * A daemon, with the flags that colod/daemon keeps, its engines and the arbiter's part in it.
 * @guest_newest, @ckpt_newest, @flight_newest: the guest here, the checkpoint held here, the one being
 * sent have all that anybody has been let hear (S1). Sequence numbers of checkpoints are modulo 4.
 */
struct m_host {
	uint8_t role : 1, state : 4, proxy : 2;
	bool up : 1, runs : 1, alone : 1, muted : 1, started : 1, by_order : 1, timer : 1, term : 1,
		yields : 1, guest_newest : 1, ckpt_newest : 1, flight_newest : 1;
	uint8_t session : 3;

	uint8_t link : 2, conn : 1;

	/* primary's engine */
	uint8_t phase : 3, p_seq : 2;
	bool may_hold : 1, announced : 1, received : 1, p_final : 1, given : 1, wants_final : 1,
		cut : 1, asking : 1, synced : 1;

	/* secondary's engine */
	uint8_t holds : 2, s_seq : 2;
	bool loaded : 1, s_announced : 1, s_final : 1, s_cut : 1, resuming : 1, goes_live : 1,
		took_over : 1;

	/* arbiter */
	uint8_t answer : 3, want : 3, told : 2, last_session : 3, run_session : 3;
	uint8_t restore_session : 3;
	uint8_t held_session : 3; /* of the last whole checkpoint in this life */
	bool asked : 1, dirty : 1, sole : 1, running : 1, reaches : 1;
	struct m_claim claim;
};

enum m_stage {
	M_CLOSED,
	M_HELLO,    /* to the one that is called */
	M_WELCOME,  /* to the caller */
	M_HELLO2,   /* the data connections' */
	M_WELCOME2, /* the one that was called is up */
	M_REJECT,
	M_ESTABLISHED,
};

/* @cut: nothing arrives there any more; @open: that side has not closed it. */
struct m_conn {
	uint8_t stage : 3, caller : 1, session : 3;
	bool heard : 1, given : 1, rejects_live : 1; /* the caller's greeting; the answer */
	uint8_t caller_role : 1, called_role : 1, resume : 3, welcome_resume : 3,
		caller_session : 3;
	bool held_it : 1; /* the one that is called has held the caller's guest whole */
	bool open[HOSTS], cut[HOSTS];
	struct m_msg queue[HOSTS][QUEUE]; /* to that host */
};

/* What may yet go wrong, or be ordered. */
struct m_budget {
	uint8_t cuts, crashes, starts, orders, arbiter, failures;
};

struct m_world {
	struct m_host host[HOSTS];
	struct m_conn conn[CONNS];
	bool net_is_down : 1, over : 1; /* over: an operator has ended the guest */
	bool ended : 1;                 /* etcd was told so, and nobody has begun anew */
	uint8_t owner : 3, owner_session : 3, live : 2; /* etcd; live: 0 nobody, else host + 1 */
	uint8_t winner[SESSIONS];                       /* exec; as live */
	struct m_budget left;
};

/* Not part of the state: what is being checked, and what was found. */
struct m_rules {
	enum arbiter_kind arbiter;
	struct m_budget budget;
	struct fsm_cell (*step)(enum role role, enum fsm_state state, enum fsm_event ev);
	const char *broken; /* the rule that the last step broke */
	const char *note;   /* what it did */
};

static struct m_rules m_rules;

static inline void m_break(const char *rule)
{
	if (!m_rules.broken)
		m_rules.broken = rule;
}

#define m_other(w, h) (&(w)->host[1 - m_index(w, h)])

static inline unsigned m_index(const struct m_world *w, const struct m_host *h)
{
	return (unsigned)(h - w->host);
}

/* ---- what of the guest is where ---- */

static inline bool m_is_heard(const struct m_host *h)
{
	return h->up && h->runs && h->proxy == M_FREE;
}

static inline bool m_has_guest(const struct m_host *h)
{
	return h->up && (h->role == ROLE_PRIMARY || h->took_over);
}

static inline bool m_has_replica(const struct m_host *h)
{
	return h->up && h->role == ROLE_SECONDARY && h->holds == M_WHOLE && h->s_announced;
}

/* There is a guest that has begun to live, and nothing that was let out is newer. */
static inline bool m_runs(const struct m_host *h)
{
	return m_has_guest(h) && (h->started || h->took_over) && h->guest_newest &&
	       h->answer != M_LOST && h->answer != M_OVER;
}

/* The replica is protection: where etcd decides, from when it has been told so. */
static inline bool m_protects(const struct m_world *w, const struct m_host *h)
{
	if (!m_has_replica(h) || !h->ckpt_newest || h->answer == M_LOST || h->answer == M_OVER)
		return false;
	return m_rules.arbiter != ARBITER_ETCD || w->owner == M_HOST0 + m_index(w, h) ||
	       (w->owner == M_SHARED && w->owner_session == h->session);
}

/* etcd has given the guest to the other host, which does not mean to give it back. */
static inline bool m_is_lost(const struct m_world *w, const struct m_host *h)
{
	const struct m_host *o = m_other(w, h);
	bool owns = w->owner == M_HOST0 + m_index(w, o) && o->want != M_WANT_RESTORE &&
		    o->want != M_WANT_SHARE;

	return m_rules.arbiter == ARBITER_ETCD &&
	       (w->owner == M_ENDED || ((owns || w->owner == M_NOBODY) && !h->claim.certain));
}

/* The guest can go on from here without anybody noticing a step back. */
static inline bool m_is_alive(const struct m_world *w)
{
	for (int i = 0; i < HOSTS; i++) {
		const struct m_host *h = &w->host[i];

		if ((m_runs(h) && !m_is_lost(w, h)) || m_protects(w, h))
			return true;
	}
	return false;
}

static inline void m_age_messages(struct m_world *w)
{
	for (int c = 0; c < CONNS; c++)
		for (int to = 0; to < HOSTS; to++)
			for (int i = 0; i < QUEUE; i++)
				if (w->conn[c].queue[to][i].type == M_CKPT)
					w->conn[c].queue[to][i].whole = false;
}

/* @h's guest is heard now: all that does not follow it is old. */
static inline void m_hear(struct m_world *w, struct m_host *h)
{
	struct m_host *o = m_other(w, h);

	if (!h->guest_newest)
		m_break("S1: a guest is heard that is older than what was let out");
	if (m_is_heard(o))
		m_break("S3: both guests are heard");
	o->guest_newest = o->ckpt_newest = o->flight_newest = false;
	h->ckpt_newest = h->flight_newest = false;
	m_age_messages(w);
}

/*
 * A checkpoint of @h is committed: what was said until then goes out. @lives: who said so has come to
 * life with it since; what goes out late is what its guest has said, too, as if the network was slow.
 */
static inline void m_release(struct m_world *w, struct m_host *h, bool lives)
{
	struct m_host *o = m_other(w, h);

	if (h->proxy != M_HELD || lives)
		return;
	if (!h->guest_newest)
		m_break("S1: output of a guest is let out that is older than what was let out");
	if (m_is_heard(o))
		m_break("S3: output is let out while the other guest is heard");
	o->guest_newest = false;
	if (o->holds != M_WHOLE || o->s_seq != h->p_seq || o->session != h->session)
		o->ckpt_newest = false;
}

static inline void m_hear_all(struct m_world *w)
{
	for (int i = 0; i < HOSTS; i++) {
		if (!m_is_heard(&w->host[i]))
			continue;
		if (w->ended)
			m_break("a guest is heard that etcd knows to have ended for good");
		m_hear(w, &w->host[i]);
	}
}

/* ---- connections ---- */

static inline unsigned m_queued(const struct m_conn *c, unsigned to)
{
	unsigned n = 0;

	while (n < QUEUE && c->queue[to][n].type)
		n++;
	return n;
}

static inline struct m_msg m_take(struct m_conn *c, unsigned to)
{
	struct m_msg m = c->queue[to][0];

	memmove(&c->queue[to][0], &c->queue[to][1], sizeof(m) * (QUEUE - 1));
	memset(&c->queue[to][QUEUE - 1], 0, sizeof(m));
	return m;
}

static inline void m_forget_queue(struct m_conn *c, unsigned to)
{
	memset(c->queue[to], 0, sizeof(c->queue[to]));
}

/* @side closes its end; what it has sent may still arrive. */
static inline void m_close(struct m_world *w, unsigned conn, unsigned side)
{
	struct m_conn *c = &w->conn[conn];
	bool speaks = c->stage == M_HELLO || c->stage == M_HELLO2; /* arrives as well */

	c->open[side] = false;
	m_forget_queue(c, side);
	if (c->open[1 - side] || (speaks && side == c->caller && !c->cut[1 - side]))
		return;
	memset(c, 0, sizeof(*c));
}

static inline void m_link_down(struct m_world *w, struct m_host *h)
{
	if (h->link == M_UP)
		m_close(w, h->conn, m_index(w, h));
	else if (h->link == M_DIALING)
		for (unsigned i = 0; i < CONNS; i++)
			if (w->conn[i].stage && w->conn[i].stage != M_ESTABLISHED &&
			    w->conn[i].caller == m_index(w, h) && w->conn[i].open[m_index(w, h)])
				m_close(w, i, m_index(w, h));
	h->link = M_DOWN;
	h->conn = 0;
}

static inline bool m_send(struct m_world *w, struct m_host *h, struct m_msg m)
{
	unsigned to = 1 - m_index(w, h), n;
	struct m_conn *c = &w->conn[h->conn];

	if (h->link != M_UP)
		return false;
	if (!c->open[to] || c->cut[to])
		return true; /* it does not know */
	n = m_queued(c, to);
	if (n == QUEUE)
		fail_msg("a queue of the model is too short");
	c->queue[to][n] = m;
	return true;
}

static inline bool m_say(struct m_world *w, struct m_host *h, enum m_type type, unsigned seq)
{
	return m_send(w, h, (struct m_msg){.type = type, .seq = seq & 3});
}

/* ---- sessions' numbers ---- */

static inline unsigned m_new_session(struct m_world *w)
{
	bool used[SESSIONS] = {true};

	for (int i = 0; i < HOSTS; i++) {
		const struct m_host *h = &w->host[i];

		used[h->session] = used[h->last_session] = used[h->run_session] = true;
		used[h->held_session] = used[h->claim.session] = used[h->restore_session] = true;
	}
	for (int i = 0; i < CONNS; i++)
		used[w->conn[i].session] = used[w->conn[i].resume] =
			used[w->conn[i].caller_session] = true;
	used[w->owner_session] = true;
	for (unsigned i = 1; i < SESSIONS; i++)
		if (!used[i]) {
			w->winner[i] = 0;
			return i;
		}
	fail_msg("the model has too few numbers for sessions");
	return 0;
}

#endif
