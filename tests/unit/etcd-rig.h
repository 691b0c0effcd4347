/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host that asks etcd, and an etcd that does as it is told. */
#ifndef TESTS_UNIT_ETCD_RIG_H
#define TESTS_UNIT_ETCD_RIG_H

#include "tests/unit/unit.h"

#include "colod/arbiter/etcd-core.h"

#define START_US (1000 * USEC_PER_SEC)

static inline struct etcd_view view_of(const char *owner, const char *live)
{
	struct etcd_view v = {};

	if (owner) {
		v.owner_rev = 3;
		strcpy(v.owner, owner);
	}
	if (live) {
		v.live_rev = 3;
		v.live_lease = 99;
		strcpy(v.live, live);
	}
	return v;
}

struct rig {
	struct etcd_core core;
	struct etcd_view keys;
	uint64_t now;
	bool dead;       /* etcd answers nothing */
	bool lease_gone; /* it does not know the lease */
	unsigned requests[4];
	int won, lost, unknown, hold, ended;
};

static inline void hear(struct rig *r)
{
	switch (etcd_core_answer(&r->core)) {
	case ARBITER_ANSWER_NONE:
		break;
	case ARBITER_ANSWER_WON:
		r->won++;
		break;
	case ARBITER_ANSWER_LOST:
		r->lost++;
		break;
	case ARBITER_ANSWER_UNKNOWN:
		r->unknown++;
		break;
	case ARBITER_ANSWER_HOLD:
		r->hold++;
		break;
	case ARBITER_ANSWER_ENDED:
		r->ended++;
		break;
	}
}

static inline struct etcd_reply answer(struct rig *r, const struct etcd_request *q)
{
	struct etcd_reply reply = {.outcome = r->dead ? ETCD_FAILED : ETCD_DONE, .ttl_s = 5};

	reply.lease = q->kind == ETCD_RENEW ? q->lease : 40 + r->requests[ETCD_GRANT];
	reply.view = r->keys;
	if (r->dead)
		return reply;
	if (r->lease_gone && q->kind == ETCD_RENEW)
		reply.outcome = ETCD_GONE;
	if (q->kind == ETCD_WRITE) {
		r->keys.owner_rev++;
		strcpy(r->keys.owner, q->owner);
		r->keys.live_rev = q->lease ? r->keys.owner_rev : 0;
		r->keys.live_lease = q->lease;
		strcpy(r->keys.live, q->lease ? "a" : "");
	}
	return reply;
}

/* All that is asked now is answered now. */
static inline void serve(struct rig *r)
{
	hear(r);
	for (int lane = 0; lane < ETCD_LANES;) {
		struct etcd_request q = r->core.lane[lane].request;
		struct etcd_reply reply;

		if (!r->core.lane[lane].busy) {
			lane++;
			continue;
		}
		reply = answer(r, &q);
		r->requests[q.kind]++;
		etcd_core_reply(&r->core, r->now, lane, &reply);
		hear(r);
		lane = 0;
	}
}

static inline void pass(struct rig *r, uint64_t us)
{
	uint64_t end = r->now + us;

	for (;;) {
		uint64_t due = etcd_core_due(&r->core);

		if (!due || due > end)
			break;
		r->now = MAX(due, r->now);
		etcd_core_tick(&r->core, r->now);
		serve(r);
	}
	r->now = end;
}

static inline void rig_init(struct rig *r, uint32_t endpoints)
{
	memset(r, 0, sizeof(*r));
	r->now = START_US;
	etcd_core_init(&r->core, "a", 5000, 10000, endpoints);
}

static inline void win(struct rig *r)
{
	etcd_core_claim(&r->core, r->now, &(struct arbiter_claim){.fresh = true});
	serve(r);
	assert_int_equal(r->won, 1);
}

#endif
