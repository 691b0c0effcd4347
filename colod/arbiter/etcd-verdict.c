// SPDX-License-Identifier: GPL-2.0-or-later
/* The rules of the game: who may take the guest, by what etcd says of it. Pure. */
#include "colod/arbiter/etcd-core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum owner {
	OWNER_ABSENT,
	OWNER_NOBODY,
	OWNER_ENDED,
	OWNER_OUR_SESSION,
	OWNER_OTHER_SESSION,
	OWNER_US,
	OWNER_THEM,
	OWNER_STRANGE,
	OWNER_COUNT,
};

enum bid {
	BID_PLAIN,
	BID_CERTAIN,
	BID_FRESH,
	BID_FORCE,
	BID_REGAIN,
	BID_COUNT,
};

/*
 * While the other host's live is there, it may be heard: nobody takes anything. Without it:
 * - A replica wins what it shares. Where the owner names another host, or another session, output
 *   may have been seen that the replica knows nothing of (S1).
 * - Of a peer that is dead for sure, no more will be heard; but whether the replica has all that was
 *   heard, the owner alone says: another one than our session leaves it to the operator.
 * - A guest that two hosts share may live on the other one, whose output needs no lease: a start does not
 *   take its place.
 * - A guest that has ended for good does not come to life with what a replica holds, nor with what runs on
 *   somewhere: what was heard of it is what there is. A start begins another life.
 * - An owner that is absent is one that was lost: only a start, or who won before it was lost, wins.
 */
static const uint8_t verdicts[OWNER_COUNT][BID_COUNT] = {
	[OWNER_ABSENT] = {ETCD_UNDECIDED, ETCD_UNDECIDED, ETCD_TAKE, ETCD_TAKE, ETCD_TAKE},
	[OWNER_NOBODY] = {ETCD_LOSE, ETCD_UNDECIDED, ETCD_TAKE, ETCD_TAKE, ETCD_LOSE},
	[OWNER_ENDED] = {ETCD_OVER, ETCD_OVER, ETCD_TAKE, ETCD_TAKE, ETCD_OVER},
	[OWNER_OUR_SESSION] = {ETCD_TAKE, ETCD_TAKE, ETCD_TAKE, ETCD_TAKE, ETCD_TAKE},
	[OWNER_OTHER_SESSION] = {ETCD_LOSE, ETCD_UNDECIDED, ETCD_UNDECIDED, ETCD_TAKE, ETCD_LOSE},
	[OWNER_US] = {ETCD_TAKE, ETCD_TAKE, ETCD_TAKE, ETCD_TAKE, ETCD_TAKE},
	[OWNER_THEM] = {ETCD_LOSE, ETCD_UNDECIDED, ETCD_LOSE, ETCD_TAKE, ETCD_LOSE},
	[OWNER_STRANGE] = {ETCD_UNDECIDED, ETCD_UNDECIDED, ETCD_UNDECIDED, ETCD_TAKE,
			   ETCD_UNDECIDED},
};

void etcd_owner_shared(char owner[ETCD_VALUE_MAX], uint64_t session)
{
	snprintf(owner, ETCD_VALUE_MAX, "shared %016" PRIx64, session);
}

void etcd_owner_host(char owner[ETCD_VALUE_MAX], const char *host)
{
	snprintf(owner, ETCD_VALUE_MAX, "host %s", host);
}

void etcd_owner_ended(char owner[ETCD_VALUE_MAX], uint64_t session)
{
	if (session)
		snprintf(owner, ETCD_VALUE_MAX, "ended %016" PRIx64, session);
	else
		snprintf(owner, ETCD_VALUE_MAX, "%s", ETCD_OWNER_NOBODY);
}

/* What stands after @word, else 0. */
static uint64_t session_after(const struct etcd_view *v, const char *word)
{
	size_t len = strlen(word);
	const char *digits = v->owner + len;

	if (strncmp(v->owner, word, len) || strlen(digits) != 16 ||
	    strspn(digits, "0123456789abcdef") != 16)
		return 0;
	return strtoull(digits, NULL, 16);
}

uint64_t etcd_owner_session(const struct etcd_view *v)
{
	return session_after(v, "shared ");
}

bool etcd_owner_is_ended(const struct etcd_view *v)
{
	return session_after(v, "ended ");
}

bool etcd_owner_is_us(const struct etcd_core *c, const struct etcd_view *v)
{
	return v->owner_rev && !strncmp(v->owner, "host ", 5) && !strcmp(v->owner + 5, c->host);
}

bool etcd_live_is_theirs(const struct etcd_core *c, const struct etcd_view *v)
{
	return v->live_rev && strcmp(v->live, c->host);
}

/*
 * A primary whose replica is void may still stand in the session before: in one that it has shared itself,
 * and when the other host holds nothing, in any. Had the other host won it, the owner would say so.
 */
static bool is_our_session(const struct etcd_core *c, uint64_t session)
{
	const struct arbiter_claim *claim = &c->claim;

	if (claim->fresh)
		return false; /* it was in none */
	return session == claim->session ||
	       (claim->primary && (claim->certain || c->sole || session == c->last_session));
}

bool etcd_owner_is_ours(const struct etcd_core *c, const struct etcd_view *v)
{
	uint64_t session = etcd_owner_session(v);

	return etcd_owner_is_us(c, v) ||
	       (session && (session == c->session || session == c->last_session || c->sole));
}

/* Whether it is what this host has; else it ended as "nobody" says. */
static bool is_what_ended(const struct etcd_core *c, uint64_t session)
{
	return session == c->claim.session || session == c->last_session;
}

static enum owner owner_of(const struct etcd_core *c, const struct etcd_view *v)
{
	uint64_t session = etcd_owner_session(v), ended = session_after(v, "ended ");

	if (!v->owner_rev)
		return OWNER_ABSENT;
	if (ended)
		return is_what_ended(c, ended) ? OWNER_ENDED : OWNER_NOBODY;
	if (!strcmp(v->owner, ETCD_OWNER_NOBODY))
		return OWNER_NOBODY;
	if (session)
		return is_our_session(c, session) ? OWNER_OUR_SESSION : OWNER_OTHER_SESSION;
	if (etcd_owner_is_us(c, v))
		return OWNER_US;
	return strncmp(v->owner, "host ", 5) ? OWNER_STRANGE : OWNER_THEM;
}

static enum bid bid_of(const struct arbiter_claim *claim, bool regain)
{
	if (claim->force)
		return BID_FORCE;
	if (regain)
		return BID_REGAIN;
	if (claim->fresh)
		return BID_FRESH;
	return claim->certain ? BID_CERTAIN : BID_PLAIN;
}

static enum etcd_verdict judge_live(const struct etcd_view *v, enum owner owner, enum bid bid,
				    char *why, size_t size)
{
	if (owner == OWNER_THEM && bid != BID_CERTAIN && bid != BID_FORCE) {
		snprintf(why, size,
			 "host %s has the guest, says etcd; end colod there in order, or have it "
			 "replicate to this host",
			 v->live);
		return ETCD_LOSE;
	}
	snprintf(why, size,
		 "the lease of host %s on the guest has not run out; it does when colod there has "
		 "ended or cannot reach etcd",
		 v->live);
	return ETCD_WAIT;
}

static void explain(const struct etcd_view *v, enum owner owner, enum bid bid, char *why,
		    size_t size)
{
	if (owner == OWNER_ENDED)
		snprintf(why, size,
			 "the guest was ended for good, says etcd: what this host has of it stays "
			 "down; start it anew");
	else if (owner == OWNER_THEM && bid == BID_FRESH)
		snprintf(why, size,
			 "%s has a newer guest than this one, says etcd; start it there, or with "
			 "colo-ctl failover --force here if what that host has may be lost",
			 v->owner);
	else if (owner == OWNER_OTHER_SESSION && bid == BID_FRESH)
		snprintf(why, size,
			 "two hosts had this guest when they were last heard, says etcd, and the "
			 "other one may have it still: start this one with --secondary, or with "
			 "colo-ctl failover --force if it lives nowhere");
	else if (bid == BID_CERTAIN && owner != OWNER_ABSENT && owner != OWNER_STRANGE)
		snprintf(why, size,
			 "etcd does not say that this host's replica is as new as the guest that "
			 "died: "
			 "it has \"%s\"; colo-ctl failover --force decides",
			 v->owner);
	else if (owner == OWNER_THEM)
		snprintf(why, size, "%s has won the guest, says etcd", v->owner);
	else if (owner == OWNER_OTHER_SESSION)
		snprintf(why, size,
			 "this host's replica is older than the guest that clients have seen: etcd "
			 "has \"%s\"",
			 v->owner);
	else if (owner == OWNER_NOBODY)
		snprintf(why, size, "the guest was ended in order, says etcd; start it anew");
	else if (owner == OWNER_ABSENT)
		snprintf(why, size,
			 "etcd knows nothing of the guest: its data was lost; colo-ctl failover "
			 "--force decides");
	else
		snprintf(why, size,
			 "etcd has an owner of the guest that makes no sense: \"%s\"; colo-ctl "
			 "failover --force overwrites it",
			 v->owner);
}

enum etcd_verdict etcd_judge(const struct etcd_core *c, const struct etcd_view *v, bool regain,
			     char *why, size_t size)
{
	enum owner owner = owner_of(c, v);
	enum bid bid = bid_of(&c->claim, regain);
	enum etcd_verdict verdict = verdicts[owner][bid];

	if (etcd_live_is_theirs(c, v))
		return judge_live(v, owner, bid, why, size);
	if (owner == OWNER_US && v->live_rev && c->lease && v->live_lease == c->lease)
		return ETCD_KEEP;
	if (verdict != ETCD_TAKE)
		explain(v, owner, bid, why, size);
	return verdict;
}
