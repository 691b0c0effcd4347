/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A model of etcd, two hosts that ask it, the messages between them, and all that can happen next. */
#ifndef TESTS_UNIT_ETCD_MODEL_H
#define TESTS_UNIT_ETCD_MODEL_H

#include "tests/unit/unit.h"

#include "colod/arbiter/etcd-core.h"

#define MESSAGES 6
#define LEASES   8
#define NOBODY   (-1)

static const char *const names[2] = {"a", "b"};

/* A request on its way, or its reply; one that nobody waits for any more may still arrive. */
struct message {
	bool used, awaited, executed;
	bool anew; /* of a start, or by force: what was ended begins again */
	enum etcd_lane_id lane;
	struct etcd_request request;
	struct etcd_reply reply;
};

struct lease {
	int64_t id;
	uint64_t ends_us;
};

struct host {
	struct etcd_core core;
	uint32_t serial[ETCD_LANES];
	struct message messages[MESSAGES];
	bool up, asks, believes, ended; /* ended: in order, with last words on their way */
	bool newest;                    /* it has the guest as it was when last heard */
	bool fresh;                     /* what it asks for is a guest that it starts */
	bool forced;      /* it was, once: a write of it may come late, and be as good */
	uint64_t session; /* of which it has a whole copy, old or new */
};

struct world {
	uint64_t now_us;
	struct host hosts[2];
	struct etcd_view keys;
	int64_t revision, last_lease;
	struct lease leases[LEASES];
	uint64_t session;
	int alone; /* who was heard alone last, with no copy since */
	unsigned wishes;
};

/* ---- etcd ---- */

static inline struct lease *lease_find(struct world *w, int64_t id)
{
	for (int i = 0; id && i < LEASES; i++)
		if (w->leases[i].id == id)
			return &w->leases[i];
	return NULL;
}

static inline void lease_end(struct world *w, struct lease *l)
{
	if (w->keys.live_lease == l->id) {
		w->keys.live_rev = w->keys.live_lease = 0;
		memset(w->keys.live, 0, sizeof(w->keys.live));
	}
	*l = (struct lease){};
}

static inline void execute_grant(struct world *w, const struct etcd_request *q,
				 struct etcd_reply *r)
{
	struct lease *free_one = NULL;

	for (int i = 0; i < LEASES && !free_one; i++)
		if (!w->leases[i].id)
			free_one = &w->leases[i];
	if (!free_one) {
		r->outcome = ETCD_FAILED;
		return;
	}
	*free_one = (struct lease){++w->last_lease, w->now_us + q->ttl_s * USEC_PER_SEC};
	r->lease = free_one->id;
	r->ttl_s = q->ttl_s;
}

static const char *broken; /* what a world has shown that must not be */

static inline void execute_write(struct world *w, const char *host, const struct message *m,
				 struct etcd_reply *r)
{
	const struct etcd_request *q = &m->request;
	struct etcd_view *k = &w->keys;

	r->view = *k;
	if (q->owner_rev != k->owner_rev || q->live_rev != k->live_rev) {
		r->outcome = ETCD_BEHIND;
		return;
	}
	if (q->lease && !lease_find(w, q->lease)) {
		r->outcome = ETCD_GONE;
		return;
	}
	if (etcd_owner_is_ended(k) && strcmp(k->owner, q->owner) != 0 && !m->anew)
		broken = "a guest that was ended comes to life";
	memset(k, 0, sizeof(*k));
	k->owner_rev = ++w->revision;
	strcpy(k->owner, q->owner);
	if (q->lease) {
		k->live_rev = w->revision;
		k->live_lease = q->lease;
		strcpy(k->live, host);
	}
}

static inline void execute(struct world *w, const char *host, struct message *m)
{
	struct etcd_reply *r = &m->reply;
	struct lease *l = lease_find(w, m->request.lease);

	*r = (struct etcd_reply){.outcome = ETCD_DONE};
	m->executed = true;
	switch (m->request.kind) {
	case ETCD_GRANT:
		execute_grant(w, &m->request, r);
		break;
	case ETCD_RENEW:
		if (!l) {
			r->outcome = ETCD_GONE;
			break;
		}
		l->ends_us = w->now_us + 6 * USEC_PER_SEC;
		r->lease = l->id;
		r->ttl_s = 6;
		break;
	case ETCD_READ:
		r->view = w->keys;
		break;
	case ETCD_WRITE:
		execute_write(w, host, m, r);
		break;
	}
}

/* ---- hosts ---- */

static inline void note_won(struct world *w, int i)
{
	struct host *h = &w->hosts[i], *other = &w->hosts[!i];

	if (other->believes)
		broken = "two hosts believe";
	if (!h->forced && (h->fresh ? w->alone == !i : !h->newest))
		broken = "an old guest is heard";
	h->asks = h->fresh = h->forced = false;
	h->believes = h->newest = true;
	other->newest = false;
	w->alone = i;
}

static inline void hear(struct world *w, int i)
{
	struct host *h = &w->hosts[i];

	switch (etcd_core_answer(&h->core)) {
	case ARBITER_ANSWER_NONE:
		break;
	case ARBITER_ANSWER_WON:
		note_won(w, i);
		break;
	case ARBITER_ANSWER_HOLD:
		h->believes = false;
		break;
	case ARBITER_ANSWER_LOST:
	case ARBITER_ANSWER_UNKNOWN:
		h->asks = h->believes = false;
		break;
	case ARBITER_ANSWER_ENDED:
		h->asks = h->believes = h->newest = false;
		h->ended = true;
		break;
	}
	memset(h->core.reason, 0, sizeof(h->core.reason));
	memset(h->core.why, 0, sizeof(h->core.why));
}

static inline void add_message(struct host *h, enum etcd_lane_id lane)
{
	int at = MESSAGES - 1;

	for (int i = MESSAGES - 1; i >= 0; i--)
		if (!h->messages[i].used)
			at = i;
	h->messages[at] = (struct message){.used = true,
					   .awaited = true,
					   .anew = h->fresh || h->forced,
					   .lane = lane,
					   .request = h->core.lane[lane].request};
}

static inline void forget_messages(struct host *h, enum etcd_lane_id lane)
{
	for (int i = 0; i < MESSAGES; i++) {
		struct message *m = &h->messages[i];

		if (!m->used || m->lane != lane || !m->awaited)
			continue;
		m->awaited = false;
		if (m->executed || m->request.kind == ETCD_READ)
			*m = (struct message){};
	}
}

/* What the shell does after each call: requests begun or given up, answers told. */
static inline void settle(struct world *w, int i)
{
	struct host *h = &w->hosts[i];

	hear(w, i);
	for (int lane = 0; lane < ETCD_LANES; lane++) {
		struct etcd_lane *l = &h->core.lane[lane];

		if (l->serial) {
			forget_messages(h, lane);
			if (l->busy)
				add_message(h, lane);
		}
		l->serial = 0;
	}
	if (h->believes && w->now_us >= h->core.sure_until_us)
		broken = "a host believes longer than it may";
}

static inline void deliver(struct world *w, int i, struct message *m, bool failed)
{
	struct etcd_reply reply = m->reply;
	enum etcd_lane_id lane = m->lane;

	if (failed) {
		reply = (struct etcd_reply){.outcome = ETCD_FAILED};
		m->awaited = false;
		if (m->executed || m->request.kind == ETCD_READ)
			*m = (struct message){};
	} else {
		*m = (struct message){};
	}
	etcd_core_reply(&w->hosts[i].core, w->now_us, lane, &reply);
	settle(w, i);
}

static inline void pass_time(struct world *w)
{
	uint64_t next = 0;

	for (int i = 0; i < 2; i++) {
		uint64_t due = w->hosts[i].up ? etcd_core_due(&w->hosts[i].core) : 0;

		if (due && (!next || due < next))
			next = due;
	}
	for (int i = 0; i < LEASES; i++)
		if (w->leases[i].ends_us > w->now_us && (!next || w->leases[i].ends_us < next))
			next = w->leases[i].ends_us;
	w->now_us = MAX(next, w->now_us);
	for (int i = 0; i < 2; i++)
		if (w->hosts[i].up) {
			etcd_core_tick(&w->hosts[i].core, w->now_us);
			settle(w, i);
		}
}

/* ---- callers ---- */

static inline void claim(struct world *w, int i, struct arbiter_claim claim)
{
	struct host *h = &w->hosts[i];

	h->asks = true;
	claim.fresh = h->fresh;
	claim.session = h->session;
	etcd_core_claim(&h->core, w->now_us, &claim);
	settle(w, i);
}

static inline void drop(struct world *w, int i)
{
	struct host *h = &w->hosts[i];

	h->asks = false;
	etcd_core_drop(&h->core, w->now_us, false);
	settle(w, i);
}

/* The other one has got a whole copy; or both go on where the link broke. */
static inline void share(struct world *w, int i)
{
	struct host *h = &w->hosts[i];

	h->believes = false;
	h->newest = w->hosts[!i].newest = true;
	h->fresh = w->hosts[!i].fresh = false; /* what it started it has given up for this one */
	h->session = w->hosts[!i].session = w->session;
	w->alone = NOBODY;
	etcd_core_share(&h->core, w->now_us, w->session);
	settle(w, i);
}

static inline void start_core(struct world *w, int i)
{
	struct host *h = &w->hosts[i];

	etcd_core_init(&h->core, names[i], 6000, 10000, 1);
	for (int lane = 0; lane < ETCD_LANES; lane++)
		forget_messages(h, lane);
	h->up = true;
	h->asks = h->believes = h->fresh = h->ended = false;
}

static inline void die(struct world *w, int i)
{
	start_core(w, i);
	w->hosts[i].up = w->hosts[i].newest = false;
	w->hosts[i].session = 0;
}

enum wish {
	WISH_CLAIM,   /* the link is broken */
	WISH_SHARE,   /* after a whole copy */
	WISH_RESUME,  /* the link is back before anybody won: go on in the session */
	WISH_RESIGN,  /* the guest ends */
	WISH_END,     /* for good: the other host's replica must not come to life */
	WISH_DIE,     /* without a word */
	WISH_CERTAIN, /* the other one dies, and this one knows */
	WISH_START,   /* a guest is started after this host had died */
	WISH_FORCE,   /* the operator says that the other one's guest is dead, and may be wrong */
	WISH_COUNT,
};

static inline bool may_wish(const struct world *w, int i, enum wish wish)
{
	const struct host *h = &w->hosts[i], *o = &w->hosts[!i];
	bool quiet = !h->asks && !o->asks;
	bool together = h->up && o->up && !h->ended && !o->ended && w->alone == NOBODY &&
			h->newest && o->newest;

	switch (wish) {
	case WISH_CLAIM:
	case WISH_FORCE:
		return h->up && !h->ended && !h->asks && !h->believes;
	case WISH_SHARE:
		return h->up && o->up && !o->ended && quiet && h->believes;
	case WISH_RESUME:
		return together;
	case WISH_RESIGN:
		return h->up && h->believes;
	case WISH_END:
		return h->up && (h->believes || together);
	case WISH_DIE:
		return h->up;
	case WISH_CERTAIN:
		return together && quiet;
	case WISH_START:
		return !h->up || h->ended;
	case WISH_COUNT:
		break;
	}
	return false;
}

static inline void do_wish(struct world *w, int i, enum wish wish)
{
	struct host *h = &w->hosts[i];

	switch (wish) {
	case WISH_CLAIM:
		claim(w, i, (struct arbiter_claim){.primary = i == 0});
		break;
	case WISH_SHARE:
		w->session++;
		share(w, i);
		break;
	case WISH_RESUME:
		drop(w, i);
		drop(w, !i);
		share(w, 0);
		break;
	case WISH_RESIGN:
		h->ended = true;
		h->believes = h->newest = false;
		w->alone = NOBODY;
		etcd_core_resign(&h->core, w->now_us);
		settle(w, i);
		break;
	case WISH_END:
		h->ended = true;
		h->asks = h->believes = h->newest = false;
		etcd_core_end(&h->core, w->now_us, w->alone == i ? 0 : h->session);
		w->alone = NOBODY;
		settle(w, i);
		break;
	case WISH_DIE:
		die(w, i);
		break;
	case WISH_CERTAIN:
		die(w, !i);
		claim(w, i, (struct arbiter_claim){.certain = true, .primary = i == 0});
		break;
	case WISH_START:
		start_core(w, i);
		h->fresh = true;
		h->session = 0;
		claim(w, i, (struct arbiter_claim){.primary = true});
		break;
	case WISH_FORCE:
		h->forced = true;
		claim(w, i, (struct arbiter_claim){.force = true, .primary = i == 0});
		break;
	case WISH_COUNT:
		break;
	}
}

/* ---- all that can happen next ---- */

/* Do the @n-th of the things that can happen; false when there are not so many. */
static inline bool happen_message(struct world *w, unsigned *n)
{
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < MESSAGES; k++) {
			struct message *m = &w->hosts[i].messages[k];

			if (m->used && !m->executed && !(*n)--) {
				execute(w, names[i], m);
				if (!m->awaited)
					*m = (struct message){};
				return true;
			}
			if (m->used && m->executed && m->awaited && !(*n)--) {
				deliver(w, i, m, false);
				return true;
			}
			if (m->used && m->awaited && !(*n)--) {
				deliver(w, i, m, true);
				return true;
			}
		}
	return false;
}

static inline bool happen(struct world *w, unsigned n)
{
	if (happen_message(w, &n))
		return true;
	for (int i = 0; i < LEASES; i++)
		if (w->leases[i].id && w->now_us >= w->leases[i].ends_us && !n--) {
			lease_end(w, &w->leases[i]);
			return true;
		}
	if (!n--) {
		pass_time(w);
		return true;
	}
	for (int i = 0; w->wishes && i < 2; i++)
		for (int wish = 0; wish < WISH_COUNT; wish++)
			if (may_wish(w, i, wish) && !n--) {
				w->wishes--;
				do_wish(w, i, wish);
				return true;
			}
	return false;
}

#endif
