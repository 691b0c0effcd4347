// SPDX-License-Identifier: GPL-2.0-or-later
/* A host that asks etcd: its lease, what it believes and says, what its caller wants. Pure. */
#include "colod/arbiter/etcd-core-priv.h"

#include <stdio.h>
#include <string.h>

#define TRY_MIN_US   (100 * USEC_PER_MSEC)
#define TRY_MAX_US   (2 * USEC_PER_SEC)
#define PAUSE_MIN_US (100 * USEC_PER_MSEC)

/* ---- numbers ---- */

uint64_t etcd_core_try_us(const struct etcd_core *c)
{
	return MAX(MIN(MIN(c->ttl_us / 6, c->timeout_us / 3), TRY_MAX_US), TRY_MIN_US);
}

/* etcd's clock and ours may drift apart, and shutting the guest's ports takes a moment. */
static uint64_t margin_us(const struct etcd_core *c)
{
	return c->ttl_us / 10;
}

static uint64_t pause_us(const struct etcd_core *c, unsigned fails)
{
	unsigned rounds = fails / c->endpoints;

	if (fails % c->endpoints)
		return 1; /* the next one may do better, at once */
	return MIN(PAUSE_MIN_US << MIN(rounds - 1, 8u), etcd_core_try_us(c));
}

/* Leases are at least as long as asked for (etcd rounds up), and count from when etcd got the
 * request, which is not before we sent it. */
uint64_t etcd_sure_until(const struct etcd_core *c, const struct etcd_lane *l,
			 const struct etcd_reply *reply)
{
	uint64_t ttl = MIN(reply->ttl_s * USEC_PER_SEC, c->ttl_us);

	return l->sent_us + ttl - MIN(ttl, margin_us(c));
}

/* ---- lanes ---- */

void etcd_lane_stop(struct etcd_lane *l)
{
	l->busy = false;
	l->due_us = 0;
	l->serial++;
}

struct etcd_request *etcd_lane_send(struct etcd_lane *l, enum etcd_request_kind kind, uint64_t now)
{
	etcd_lane_stop(l);
	l->busy = true;
	l->sent_us = now;
	l->request = (struct etcd_request){.kind = kind};
	return &l->request;
}

void etcd_lane_failed(const struct etcd_core *c, struct etcd_lane *l, uint64_t now)
{
	l->fails++;
	l->due_us = now + pause_us(c, l->fails);
}

/* ---- what the caller hears ---- */

static void tell(struct etcd_core *c, enum arbiter_answer answer, const char *reason)
{
	c->answer = answer;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
}

enum arbiter_answer etcd_core_answer(struct etcd_core *c)
{
	enum arbiter_answer answer = c->answer;

	c->answer = ARBITER_ANSWER_NONE;
	return answer;
}

static void detach(struct etcd_core *c)
{
	c->attached = false;
	etcd_lane_stop(&c->lane[ETCD_LANE_RENEW]);
}

void etcd_forget_lease(struct etcd_core *c)
{
	detach(c);
	c->lease = 0;
	c->sure_until_us = 0;
}

/* The conversation is over, whatever came of it. */
void etcd_finish(struct etcd_core *c)
{
	c->want = ETCD_WANT_NOTHING;
	c->asked = false;
	c->step = ETCD_STEP_IDLE;
	etcd_lane_stop(&c->lane[ETCD_LANE_MOVE]);
	c->lane[ETCD_LANE_MOVE].fails = 0;
}

void etcd_end_without(struct etcd_core *c, enum arbiter_answer answer, const char *reason)
{
	tell(c, answer, reason);
	etcd_finish(c);
	etcd_forget_lease(c);
	c->told = ETCD_TOLD_NOTHING;
}

static void renew_at(struct etcd_core *c, uint64_t when)
{
	c->lane[ETCD_LANE_RENEW].due_us = MAX(when, UINT64_C(1));
}

/*
 * live hangs on our lease. That is worth something only while the lease surely holds; when little
 * is left of it, it is renewed before anybody is told.
 */
void etcd_won(struct etcd_core *c, uint64_t now)
{
	struct etcd_lane *renew = &c->lane[ETCD_LANE_RENEW];

	c->attached = true;
	c->step = ETCD_STEP_IDLE;
	if (now + c->ttl_us / 4 > c->sure_until_us) {
		if (!renew->busy && !renew->due_us)
			renew_at(c, now);
		return;
	}
	etcd_finish(c);
	c->dirty = false;
	*c->why = 0;
	if (c->claim.session)
		c->last_session = c->claim.session;
	c->told = ETCD_TOLD_WON;
	tell(c, ARBITER_ANSWER_WON, "");
	if (!renew->busy && !renew->due_us)
		renew_at(c, c->sure_until_us + margin_us(c) - c->ttl_us + c->ttl_us / 3);
}

static void hold(struct etcd_core *c, const char *reason)
{
	if (c->told == ETCD_TOLD_WON)
		tell(c, ARBITER_ANSWER_HOLD, reason);
	c->told = ETCD_TOLD_HOLD;
}

/* ---- the lease ---- */

static void renewed(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	struct etcd_lane *l = &c->lane[ETCD_LANE_RENEW];

	l->fails = 0;
	*c->why = 0;
	c->sure_until_us = etcd_sure_until(c, l, reply);
	renew_at(c, MAX(l->sent_us + c->ttl_us / 3, now + 1));
	if (c->want == ETCD_WANT_WIN || c->told == ETCD_TOLD_HOLD)
		etcd_won(c, now);
}

/* It ran out, or somebody ended it. Whoever has not taken the guest since may not keep us off. */
static void lease_gone(struct etcd_core *c, uint64_t now)
{
	etcd_forget_lease(c);
	hold(c, "etcd has ended this host's lease");
	if (c->want != ETCD_WANT_WIN) {
		c->want = ETCD_WANT_WIN;
		c->claim = (struct arbiter_claim){.primary = true};
	}
	etcd_step(c, EV_WANT, now, NULL);
}

static void renew_reply(struct etcd_core *c, uint64_t now, const struct etcd_reply *reply)
{
	switch (reply->outcome) {
	case ETCD_DONE:
		renewed(c, now, reply);
		break;
	case ETCD_GONE:
		lease_gone(c, now);
		break;
	case ETCD_BEHIND:
	case ETCD_FAILED:
		snprintf(c->why, sizeof(c->why), "%s", reply->why);
		etcd_lane_failed(c, &c->lane[ETCD_LANE_RENEW], now);
		break;
	}
}

void etcd_core_reply(struct etcd_core *c, uint64_t now, enum etcd_lane_id lane,
		     const struct etcd_reply *reply)
{
	static const enum etcd_step_event events[] = {
		[ETCD_DONE] = EV_DONE,
		[ETCD_BEHIND] = EV_BEHIND,
		[ETCD_GONE] = EV_GONE,
		[ETCD_FAILED] = EV_FAILED,
	};

	etcd_core_tick(c, now);
	if (!c->lane[lane].busy)
		return;
	c->lane[lane].busy = false;
	if (lane == ETCD_LANE_RENEW)
		renew_reply(c, now, reply);
	else
		etcd_step(c, events[reply->outcome], now, reply);
}

/* ---- time ---- */

static bool is_due(uint64_t when, uint64_t now)
{
	return when && now >= when;
}

static void hold_when_unsure(struct etcd_core *c, uint64_t now)
{
	char reason[ERR_MSG_MAX];

	if (c->told != ETCD_TOLD_WON || now < c->sure_until_us)
		return;
	snprintf(reason, sizeof(reason),
		 "this host's lease could not be renewed in etcd%s%s; another host could win soon",
		 *c->why ? ": " : "", c->why);
	hold(c, reason);
}

static void give_up_when_late(struct etcd_core *c, uint64_t now)
{
	char reason[ERR_MSG_MAX];

	if (!c->asked || now < c->deadline_us)
		return;
	if (c->lane[ETCD_LANE_MOVE].busy)
		etcd_note_unsure(c);
	snprintf(reason, sizeof(reason), "%s",
		 *c->why ? c->why : "etcd has not answered within arbiter_timeout_ms");
	etcd_end_without(c, ARBITER_ANSWER_UNKNOWN, reason);
}

void etcd_core_tick(struct etcd_core *c, uint64_t now)
{
	struct etcd_lane *renew = &c->lane[ETCD_LANE_RENEW];

	hold_when_unsure(c, now);
	give_up_when_late(c, now);
	if (is_due(c->lane[ETCD_LANE_MOVE].due_us, now)) {
		c->lane[ETCD_LANE_MOVE].due_us = 0;
		etcd_step(c, EV_TIMER, now, NULL);
	}
	if (is_due(renew->due_us, now))
		etcd_lane_send(renew, ETCD_RENEW, now)->lease = c->lease;
}

static void sooner(uint64_t *due, uint64_t when)
{
	if (when && (!*due || when < *due))
		*due = when;
}

uint64_t etcd_core_due(const struct etcd_core *c)
{
	uint64_t due = 0;

	for (int i = 0; i < ETCD_LANES; i++)
		sooner(&due, c->lane[i].due_us);
	if (c->told == ETCD_TOLD_WON)
		sooner(&due, c->sure_until_us);
	if (c->asked)
		sooner(&due, c->deadline_us);
	return due;
}

/* ---- what the caller wants ---- */

void etcd_core_init(struct etcd_core *c, const char *host, uint32_t ttl_ms, uint32_t timeout_ms,
		    uint32_t endpoints)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->host, sizeof(c->host), "%s", host);
	c->ttl_us = DIV_ROUND_UP(ttl_ms, 1000u) * USEC_PER_SEC;
	c->timeout_us = timeout_ms * USEC_PER_MSEC;
	c->endpoints = endpoints;
}

void etcd_core_claim(struct etcd_core *c, uint64_t now, const struct arbiter_claim *claim)
{
	etcd_core_tick(c, now);
	if (c->told == ETCD_TOLD_WON) {
		tell(c, ARBITER_ANSWER_WON, "");
		return;
	}
	/* What was to be shared is, if this claim is dropped. */
	c->dirty = c->dirty || c->want == ETCD_WANT_SHARE || c->want == ETCD_WANT_RESTORE;
	c->sole = claim->primary && ((claim->certain && !claim->fresh) || c->sole);
	c->claim = *claim;
	c->want = ETCD_WANT_WIN;
	c->asked = true;
	c->deadline_us = now + c->timeout_us;
	c->shared = false;
	*c->why = 0;
	etcd_step(c, EV_WANT, now, NULL);
}

static void let_go(struct etcd_core *c, enum etcd_want want, uint64_t session, uint64_t now)
{
	if (c->lane[ETCD_LANE_MOVE].busy)
		etcd_note_unsure(c);
	etcd_finish(c);
	etcd_forget_lease(c);
	c->answer = ARBITER_ANSWER_NONE;
	c->told = ETCD_TOLD_NOTHING;
	c->shared = c->dirty = false;
	c->want = want;
	c->session = session;
	etcd_step(c, EV_WANT, now, NULL);
}

void etcd_core_share(struct etcd_core *c, uint64_t now, uint64_t session)
{
	c->last_session = session;
	let_go(c, ETCD_WANT_SHARE, session, now);
}

void etcd_core_resign(struct etcd_core *c, uint64_t now)
{
	let_go(c, ETCD_WANT_RESIGN, 0, now);
}

void etcd_core_end(struct etcd_core *c, uint64_t now, uint64_t session)
{
	let_go(c, ETCD_WANT_END, session ? session : c->last_session, now);
}

void etcd_core_drop(struct etcd_core *c, uint64_t now, bool untold)
{
	bool moved = c->dirty || untold;

	if (!c->asked && !moved)
		return;
	if (c->told == ETCD_TOLD_HOLD) { /* to win back is not what is dropped */
		c->asked = false;
		c->claim = (struct arbiter_claim){.primary = true};
		return;
	}
	let_go(c, moved && c->claim.session ? ETCD_WANT_RESTORE : ETCD_WANT_NOTHING,
	       c->claim.session, now);
}
