/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arbiter: decides which host's guest may be heard when the hosts cannot agree themselves. */
#ifndef ARBITER_ARBITER_H
#define ARBITER_ARBITER_H

#include "base/loop.h"
#include "colod/core/config.h"

struct arbiter;

enum arbiter_reason {
	ARBITER_SILENT, /* the peer was not heard for a time */
	ARBITER_LOST,   /* the link broke, or the peer is said to be dead */
	ARBITER_START,  /* this host begins with the guest */
};

/**
 * struct arbiter_claim - a host wants its guest to be heard alone
 * @session: the replication session of which both hosts hold a whole checkpoint; 0: none
 * @primary: this host's guest is the live one, not a replica
 * @certain: the peer's guest is dead for sure, or it holds nothing that could come to life
 * @fresh:   this daemon has just started its guest, or is about to
 * @force:   the operator's word that the other host's guest is dead; it loses what it has
 * @reason:  for the command
 */
struct arbiter_claim {
	uint64_t session;
	bool primary, certain, fresh, force;
	enum arbiter_reason reason;
};

/**
 * struct arbiter_handlers - called from the loop, never from within a call of this file
 * @won:     this host's guest may be heard; also after @hold, when it may be heard again
 * @lost:    the other host has the guest, or this host's is older than what was heard already
 * @ended:   the guest has ended for good, and what this host has of it must not come to life
 * @unknown: could not be decided; nothing is under way any more: claim again later
 * @hold:    after @won: the other host could win from now on; output must be held at once, until
 *           @won, @lost or @ended
 * Reasons are sentences for the operator.
 */
struct arbiter_handlers {
	void (*won)(void *arg);
	void (*lost)(void *arg, const char *reason);
	void (*ended)(void *arg, const char *reason);
	void (*unknown)(void *arg, const char *reason);
	void (*hold)(void *arg, const char *reason);
};

/**
 * arbiter_new() - make the arbiter that @c asks for. @c and @h must outlive it. Certificates that
 * cannot be read fail here; servers that cannot be reached do not. Freed by arbiter_free().
 */
int arbiter_new(struct arbiter **out, struct loop *l, const struct config *c,
		const struct arbiter_handlers *h, void *arg, struct err *e);

/** arbiter_free() - ends a command that still runs; no handler follows. A lease runs out by itself
 * unless arbiter_resign() and arbiter_flush() came before. */
void arbiter_free(struct arbiter *a);

/**
 * arbiter_claim() - ask. One of won, lost, ended and unknown follows, within arbiter_timeout_ms or little
 * more; a claim replaces one that is under way. Who has won already wins at once.
 */
void arbiter_claim(struct arbiter *a, const struct arbiter_claim *claim);

/**
 * arbiter_share() - both hosts hold a whole checkpoint of @session and output is committed before
 * it is let out: either may win from here on. Tried again in the background until it is known to
 * have worked; as long as it has not, the other host cannot win. No handler follows, and no hold.
 * The next claim, share, resign or drop ends the trying.
 */
void arbiter_share(struct arbiter *a, uint64_t session);

/** arbiter_resign() - the guest of this host ends in order and nobody has it: who starts it anew,
 * may. See arbiter_flush(). */
void arbiter_resign(struct arbiter *a);

/**
 * arbiter_end() - the guest has ended for good, by an order or by itself: as arbiter_resign(), and where
 * both hosts hold @session (0: the one before) the other host does not win it any more, but is told so.
 * Nothing is said where the other one has won already, or by a kind of arbiter that keeps no such thing.
 */
void arbiter_end(struct arbiter *a, uint64_t session);

/** arbiter_drop() - no answer to the claim under way is wanted; what it may have moved is moved
 * back in the background: its session is shared again. */
void arbiter_drop(struct arbiter *a);

/** arbiter_flush() - for the last words: wait for at most @timeout_ms until nothing is under way;
 * handlers are not called meanwhile. Whether all is said. */
bool arbiter_flush(struct arbiter *a, unsigned timeout_ms);

/** arbiter_is_open() - a claim of this host is not answered, or what it may have moved is not known or not
 * moved back, or it has won and not lost since: this host may be the one that goes on, and what it
 * holds must not be given up meanwhile. */
bool arbiter_is_open(const struct arbiter *a);

/** arbiter_state() - a word or two for the status: "", "asking", "holds", "held back", "sharing",
 * "shared". */
const char *arbiter_state(const struct arbiter *a);

#endif
