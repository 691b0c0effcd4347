/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Search through the model: every interleaving, breadth first, each state once. */
#ifndef TESTS_UNIT_FSM_MODEL_SEARCH_H
#define TESTS_UNIT_FSM_MODEL_SEARCH_H

#include "tests/unit/fsm-model-steps.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* States in the order of their discovery, with an index by content. */
struct m_set {
	struct m_world *states;
	uint32_t *parent, *slots;
	uint8_t *step;
	uint32_t count, max, mask;
};

static inline void m_set_init(struct m_set *s, uint32_t bits)
{
	s->mask = (UINT32_C(1) << bits) - 1;
	s->max = s->mask / 2;
	s->count = 0;
	s->states = malloc(sizeof(*s->states) * s->max);
	s->parent = malloc(sizeof(*s->parent) * s->max);
	s->step = malloc(s->max);
	s->slots = calloc(s->mask + 1, sizeof(*s->slots));
	assert_true(s->states && s->parent && s->step && s->slots);
}

static inline void m_set_free(struct m_set *s)
{
	free(s->states);
	free(s->parent);
	free(s->step);
	free(s->slots);
}

static inline void m_set_clear(struct m_set *s)
{
	s->count = 0;
	memset(s->slots, 0, (s->mask + 1) * sizeof(*s->slots));
}

#define M_NONE UINT32_MAX

/* True: it is new. @at: where it is. M_NONE: there is no room. */
static inline bool m_set_add(struct m_set *s, const struct m_world *w, uint32_t parent,
			     unsigned step, uint32_t *at)
{
	uint32_t slot = (uint32_t)XXH3_64bits(w, sizeof(*w)) & s->mask;

	while (s->slots[slot]) {
		*at = s->slots[slot] - 1;
		if (!memcmp(&s->states[*at], w, sizeof(*w)))
			return false;
		slot = (slot + 1) & s->mask;
	}
	*at = M_NONE;
	if (s->count == s->max)
		return false;
	*at = s->count++;
	s->states[*at] = *w;
	s->parent[*at] = parent;
	s->step[*at] = (uint8_t)step;
	s->slots[slot] = *at + 1;
	return true;
}

/* Sequence numbers matter only by how far they are apart. */
static inline void m_normalize(struct m_world *w)
{
	unsigned base = 0;

	for (int i = HOSTS - 1; i >= 0; i--) {
		const struct m_host *h = &w->host[i];

		if (h->holds == M_WHOLE && w->host[1 - i].phase == M_OFF)
			base = h->s_seq;
		if (h->phase != M_OFF)
			base = h->p_seq;
	}
	if (!base)
		return;
	for (int i = 0; i < HOSTS; i++) {
		struct m_host *h = &w->host[i];

		if (h->phase != M_OFF)
			h->p_seq = (h->p_seq - base) & 3;
		if (h->holds != M_NOTHING)
			h->s_seq = (h->s_seq - base) & 3;
	}
	for (int c = 0; c < CONNS; c++)
		for (int to = 0; to < HOSTS; to++)
			for (int i = 0; i < QUEUE; i++) {
				struct m_msg *m = &w->conn[c].queue[to][i];

				if (m->type >= M_READY && m->type <= M_ACK)
					m->seq = (m->seq - base) & 3;
			}
}

/* A greeting, or the answer to it, that is older than the death of who sent it. */
static inline bool m_is_stale(const struct m_world *w, unsigned step)
{
	const struct m_conn *c = &w->conn[step % HOSTS];
	bool died = w->left.crashes != m_rules.budget.crashes;

	if (step / HOSTS == M_DO_GREET && c->stage == M_REJECT)
		return died;
	if (step / HOSTS == M_DO_GREET)
		return !c->open[c->caller];
	return false;
}

/*
 * S4: whatever is not a fault or an order that takes the guest's last life leaves it alive. But who has
 * greeted and died since has a replica given up for its new copy, or another guest for its own.
 */
static inline void m_check_life(const struct m_world *before, const struct m_world *after,
				unsigned step)
{
	static const bool takes[M_KINDS] = {[M_DO_CRASH] = true,
					    [M_DO_QEMU_DEATH] = true,
					    [M_DO_FAILURE] = true,
					    [M_DO_TERM] = true,
					    [M_DO_STOP] = true};
	bool term = before->host[0].term || before->host[1].term;

	if (!takes[step / HOSTS] && !m_is_stale(before, step) && !term && !before->over &&
	    !after->over && m_is_alive(before) && !m_is_alive(after))
		m_break("S4: the guest's last life is given up");
}

/* A step from @from; false: it cannot happen. m_rules.broken says what it broke. */
static inline bool m_move(const struct m_world *from, unsigned step, struct m_world *to)
{
	memcpy(to, from, sizeof(*to));
	m_rules.broken = m_rules.note = NULL;
	if (!m_do(to, (enum m_kind)(step / HOSTS), step % HOSTS))
		return false;
	m_hear_all(to);
	m_check_life(from, to, step);
	m_normalize(to);
	return true;
}

/* ---- what a state looks like ---- */

static inline void m_print_host(const struct m_world *w, unsigned i)
{
	static const char *const proxies[] = {"silent", "heard", "held", "shut"};
	static const char *const holds[] = {"nothing", "part", "whole"};
	static const char *const owners[] = {"absent", "nobody", "ended",
					     "shared", "host A", "host B"};
	const struct m_host *h = &w->host[i];

	if (!h->up) {
		print_message("      %c: down\n", 'A' + i);
		return;
	}
	print_message("      %c: %s %s, output %s%s%s%s%s, session %u", 'A' + i, role_name(h->role),
		      fsm_state_name(h->state), proxies[h->proxy], h->runs ? ", runs" : "",
		      h->alone ? ", alone" : "", h->muted ? ", muted" : "",
		      h->may_hold ? ", peer may hold" : "", h->session);
	if (h->role == ROLE_SECONDARY)
		print_message(", holds %s%s", holds[h->holds],
			      h->holds == M_WHOLE && !h->ckpt_newest ? " (old)" : "");
	else if (!h->guest_newest)
		print_message(", its guest is old");
	if (m_rules.arbiter == ARBITER_ETCD)
		print_message(", told %u, wants %u; etcd: %s %u, live %u", h->told, h->want,
			      owners[w->owner], w->owner_session, w->live);
	print_message("\n");
}

/* ---- breadth first ---- */

struct m_search {
	struct m_set seen, tried, good;
	uint32_t level_ends[256]; /* states up to that depth */
	unsigned depth;
	bool ended; /* no state is left that leads to another one */
	const char *broken;
	/* After the way to @bad, unless it is that one itself, which bad_step == M_STEPS says. */
	uint32_t bad;
	unsigned bad_step;
	struct m_world bad_world;
};

static inline struct m_world m_first(void)
{
	struct m_world w;

	memset(&w, 0, sizeof(w));
	for (int i = 0; i < HOSTS; i++) {
		w.host[i].up = w.host[i].reaches = true;
		w.host[i].state = FSM_SETUP;
	}
	w.host[0].guest_newest = true;
	w.host[1].role = ROLE_SECONDARY;
	m_ask(&w.host[0], FSM_ASK_FRESH);
	w.left = m_rules.budget;
	return w;
}

/* False: something is broken, or there is no room for more. */
static inline bool m_expand(struct m_search *s, uint32_t i)
{
	struct m_world next;
	uint32_t at;

	for (unsigned step = 0; step < M_STEPS; step++) {
		if (!m_move(&s->seen.states[i], step, &next))
			continue;
		if (m_rules.broken) {
			s->broken = m_rules.broken;
			s->bad = i;
			s->bad_step = step;
			s->bad_world = next;
			return false;
		}
		m_set_add(&s->seen, &next, i, step, &at);
		if (at == M_NONE)
			return false;
	}
	return true;
}

/* Every interleaving of up to @depth steps. */
static inline void m_explore(struct m_search *s, unsigned depth, uint32_t bits)
{
	struct m_world w = m_first();
	uint32_t at, i = 0;

	memset(s, 0, sizeof(*s));
	m_set_init(&s->seen, bits);
	m_set_add(&s->seen, &w, M_NONE, 0, &at);
	for (s->depth = 0; s->depth < depth; s->depth++) {
		uint32_t end = s->seen.count;

		s->level_ends[s->depth] = end;
		s->ended = i == end;
		if (s->ended)
			break;
		for (; i < end; i++)
			if (!m_expand(s, i))
				return;
	}
}

/* ---- S4: some way leads to a guest that is heard ---- */

/* Faults are over, what was broken is mended, and there is an operator. */
static inline void m_mend(struct m_world *w)
{
	w->left = (struct m_budget){.orders = 3};
	w->net_is_down = false;
	for (int i = 0; i < HOSTS; i++)
		w->host[i].reaches = true;
}

static inline bool m_anybody_heard(const struct m_world *w)
{
	for (int i = 0; i < HOSTS; i++) {
		const struct m_host *h = &w->host[i];

		/* Held output goes out by commits, in sessions that last. */
		if (m_is_heard(h) || (h->up && h->role == ROLE_PRIMARY && h->state == FSM_COLO &&
				      h->proxy == M_HELD && h->runs && h->link == M_UP))
			return true;
	}
	return false;
}

static inline void m_note_way(struct m_search *s, uint32_t i)
{
	uint32_t at;

	for (; i != M_NONE; i = s->tried.parent[i])
		m_set_add(&s->good, &s->tried.states[i], M_NONE, 0, &at);
}

static inline bool m_is_known_good(struct m_search *s, const struct m_world *w)
{
	uint32_t slot = (uint32_t)XXH3_64bits(w, sizeof(*w)) & s->good.mask;

	for (; s->good.slots[slot]; slot = (slot + 1) & s->good.mask)
		if (!memcmp(&s->good.states[s->good.slots[slot] - 1], w, sizeof(*w)))
			return true;
	return false;
}

static inline bool m_leads_to_life(struct m_search *s, const struct m_world *from)
{
	struct m_world w = *from, next;
	uint32_t at;

	m_mend(&w);
	if (m_anybody_heard(&w) || m_is_known_good(s, &w))
		return true;
	m_set_clear(&s->tried);
	m_set_add(&s->tried, &w, M_NONE, 0, &at);
	for (uint32_t i = 0; i < s->tried.count; i++)
		for (unsigned step = 0; step < M_HEALING * HOSTS; step++) {
			if (!m_move(&s->tried.states[i], step, &next) || m_rules.broken)
				continue;
			if (m_anybody_heard(&next) || m_is_known_good(s, &next)) {
				m_note_way(s, i);
				return true;
			}
			m_set_add(&s->tried, &next, i, step, &at);
		}
	return false;
}

/* All states of up to @depth steps. */
static inline void m_check_ways(struct m_search *s, unsigned depth, uint32_t bits)
{
	uint32_t end = depth < s->depth ? s->level_ends[depth] : s->seen.count;

	m_set_init(&s->tried, 16);
	m_set_init(&s->good, bits);
	for (uint32_t i = 0; i < end && !s->broken; i++) {
		const struct m_world *w = &s->seen.states[i];

		if (w->over || w->host[0].term || w->host[1].term || !m_is_alive(w) ||
		    m_leads_to_life(s, w))
			continue;
		s->broken = "S4: no way leads to a guest that is heard";
		s->bad = i;
		s->bad_step = M_STEPS;
	}
	m_set_free(&s->tried);
	m_set_free(&s->good);
}

/* ---- what was found ---- */

static inline void m_print_step(unsigned step, const struct m_world *w)
{
	print_message("  %s %c\n", m_kind_names[step / HOSTS], 'A' + step % HOSTS);
	for (unsigned i = 0; i < HOSTS; i++)
		m_print_host(w, i);
}

static inline void m_print_path(const struct m_search *s)
{
	uint32_t path[256];
	unsigned n = 0;

	for (uint32_t i = s->bad; s->seen.parent[i] != M_NONE; i = s->seen.parent[i])
		path[n++] = i;
	while (n--)
		m_print_step(s->seen.step[path[n]], &s->seen.states[path[n]]);
	if (s->bad_step < M_STEPS)
		m_print_step(s->bad_step, &s->bad_world);
}

static inline unsigned m_way_length(const struct m_search *s)
{
	unsigned n = s->bad_step < M_STEPS;

	for (uint32_t i = s->bad; s->seen.parent[i] != M_NONE; i = s->seen.parent[i])
		n++;
	return n;
}

static inline void m_search_free(struct m_search *s)
{
	m_set_free(&s->seen);
}

#endif
