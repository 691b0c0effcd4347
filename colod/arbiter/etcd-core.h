/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a host asks of etcd, when, and what it may believe then. Pure: no I/O, no clock. */
#ifndef ARBITER_ETCD_CORE_H
#define ARBITER_ETCD_CORE_H

#include "colod/arbiter/arbiter-priv.h"

/*
 * Two keys say where the guest is. `owner`, persistent, names who has its newest state: "host NAME"
 * (that host alone), "shared SESSION" (both have a whole checkpoint of that replication session),
 * "ended SESSION" (it ended for good, and nothing that replication has left of it may come to life),
 * "nobody" (it ended in order). `live`, with the value NAME, exists under a lease while a host lets
 * its guest be heard alone. Both are read together and written together, in one transaction that
 * fails when either has changed since it was read (mod_revision, etcd API reference, "Txn"); so a
 * transaction that arrives late does nothing unless it still is what was decided.
 */

#define ETCD_VALUE_MAX 80

/* The keys at one instant; a revision of 0: there is none. */
struct etcd_view {
	int64_t owner_rev, live_rev, live_lease;
	char owner[ETCD_VALUE_MAX], live[ETCD_VALUE_MAX];
};

enum etcd_request_kind {
	ETCD_GRANT, /* a new lease of ttl_s */
	ETCD_RENEW, /* lease */
	ETCD_READ,
	ETCD_WRITE, /* owner, and live under lease, or no live when lease is 0 */
};

struct etcd_request {
	enum etcd_request_kind kind;
	uint32_t ttl_s;
	int64_t lease;
	int64_t owner_rev, live_rev; /* ETCD_WRITE: what they must still be */
	char owner[ETCD_VALUE_MAX];
};

enum etcd_outcome {
	ETCD_DONE,
	ETCD_BEHIND, /* ETCD_WRITE: nothing written, the keys are as in view */
	ETCD_GONE,   /* the lease does not exist */
	ETCD_FAILED, /* no answer, or none that makes sense; it may have been done */
};

/* ETCD_GRANT and ETCD_RENEW: lease, ttl_s; ETCD_READ and ETCD_BEHIND: view; ETCD_FAILED: why */
struct etcd_reply {
	enum etcd_outcome outcome;
	int64_t lease;
	uint32_t ttl_s;
	struct etcd_view view;
	char why[160];
};

/* Two conversations, so that a renewal never waits behind something that hangs. */
enum etcd_lane_id {
	ETCD_LANE_MOVE,
	ETCD_LANE_RENEW,
	ETCD_LANES,
};

/**
 * struct etcd_lane - a conversation with etcd, one request at a time
 * @busy:    @request is to be under way; it is another one when @serial has changed, and the one
 *           before is of no interest any more
 * @sent_us: not later than it can have been sent
 */
struct etcd_lane {
	bool busy;
	uint32_t serial;
	struct etcd_request request;
	uint64_t sent_us;
	uint64_t due_us; /* something is to be done then; 0: never */
	unsigned fails;  /* in a row */
};

enum etcd_step {
	ETCD_STEP_IDLE,
	ETCD_STEP_GRANT,
	ETCD_STEP_READ,
	ETCD_STEP_WRITE,
	ETCD_STEP_PAUSE,
	ETCD_STEP_COUNT,
};

enum etcd_want {
	ETCD_WANT_NOTHING,
	ETCD_WANT_WIN,
	ETCD_WANT_SHARE,
	ETCD_WANT_RESTORE, /* the session that a claim may have moved is to be shared again */
	ETCD_WANT_RESIGN,
	ETCD_WANT_END,
};

/* What the caller was told last. */
enum etcd_told {
	ETCD_TOLD_NOTHING,
	ETCD_TOLD_WON,
	ETCD_TOLD_HOLD,
};

struct etcd_core {
	char host[CONFIG_HOST_MAX + 1];
	uint64_t ttl_us, timeout_us;
	uint32_t endpoints; /* how many there are to be tried in turn */

	enum etcd_want want;
	struct arbiter_claim claim; /* the last one; ETCD_WANT_WIN without asked: to win back */
	bool asked;                 /* an answer is waited for until deadline_us */
	uint64_t deadline_us;
	uint64_t session;      /* of ETCD_WANT_SHARE, _RESTORE and _END */
	uint64_t last_session; /* that this host has asked to share, or has won in */
	bool shared;           /* and it is known to be */
	bool sole;  /* a primary whose peer held nothing since when it was known to be shared */
	bool dirty; /* a claim that was not won, as far as the caller knows, may have written */

	enum etcd_step step;
	struct etcd_lane lane[ETCD_LANES];
	struct etcd_view view; /* as last read */
	/* A write whose end is not known could still come while the keys have these revisions. */
	bool unsure;
	int64_t unsure_owner_rev, unsure_live_rev;

	int64_t lease; /* 0: none */
	uint64_t sure_until_us;
	bool attached; /* live is known to hang on the lease */
	enum etcd_told told;

	enum arbiter_answer answer; /* to be taken by etcd_core_answer() */
	char reason[ERR_MSG_MAX], why[320];
};

/** etcd_core_init() - @endpoints: how many URLs there are. */
void etcd_core_init(struct etcd_core *c, const char *host, uint32_t ttl_ms, uint32_t timeout_ms,
		    uint32_t endpoints);

void etcd_core_claim(struct etcd_core *c, uint64_t now_us, const struct arbiter_claim *claim);
void etcd_core_share(struct etcd_core *c, uint64_t now_us, uint64_t session);
void etcd_core_resign(struct etcd_core *c, uint64_t now_us);
void etcd_core_end(struct etcd_core *c, uint64_t now_us, uint64_t session);

/** etcd_core_drop() - @untold: an answer that was taken has not reached the caller and will not. */
void etcd_core_drop(struct etcd_core *c, uint64_t now_us, bool untold);

/** etcd_core_reply() - the end of the request under way in @lane. */
void etcd_core_reply(struct etcd_core *c, uint64_t now_us, enum etcd_lane_id lane,
		     const struct etcd_reply *reply);

/** etcd_core_tick() - time has passed; to be called at etcd_core_due() at the latest. */
void etcd_core_tick(struct etcd_core *c, uint64_t now_us);
uint64_t etcd_core_due(const struct etcd_core *c);

/** etcd_core_answer() - what the caller is to be told, at most once; c->reason says why. */
enum arbiter_answer etcd_core_answer(struct etcd_core *c);

/** etcd_core_try_us() - how long one request may take at one endpoint. */
uint64_t etcd_core_try_us(const struct etcd_core *c);

/** etcd_core_idle() - nothing is wanted that is not known to be done. */
static inline bool etcd_core_idle(const struct etcd_core *c)
{
	return c->want == ETCD_WANT_NOTHING;
}

/* ---- etcd-verdict.c ---- */

enum etcd_verdict {
	ETCD_TAKE, /* write ourselves into both keys */
	ETCD_KEEP, /* we are there already */
	ETCD_LOSE,
	ETCD_OVER,      /* so is the guest, for good */
	ETCD_WAIT,      /* for the other host's lease to run out */
	ETCD_UNDECIDED, /* only a human knows */
};

/**
 * etcd_judge() - may the host that claims take the guest, from what it has read? @regain: it had won
 * and has not lost since. @why gets a sentence unless it may.
 */
enum etcd_verdict etcd_judge(const struct etcd_core *c, const struct etcd_view *v, bool regain,
			     char *why, size_t size);

bool etcd_owner_is_us(const struct etcd_core *c, const struct etcd_view *v);
bool etcd_live_is_theirs(const struct etcd_core *c, const struct etcd_view *v);

/** etcd_owner_session() - of an owner "shared SESSION", else 0. */
uint64_t etcd_owner_session(const struct etcd_view *v);
void etcd_owner_shared(char owner[ETCD_VALUE_MAX], uint64_t session);

/** etcd_owner_ended() - @session 0: "nobody" */
void etcd_owner_ended(char owner[ETCD_VALUE_MAX], uint64_t session);
bool etcd_owner_is_ended(const struct etcd_view *v);

/** etcd_owner_is_ours() - it names us, or a session that this host has its guest or replica of. */
bool etcd_owner_is_ours(const struct etcd_core *c, const struct etcd_view *v);
void etcd_owner_host(char owner[ETCD_VALUE_MAX], const char *host);

#define ETCD_OWNER_NOBODY "nobody"

#endif
