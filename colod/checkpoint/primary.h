/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's half of the checkpoint engine: sequences NEW .. LOADED and the guest's pause. */
#ifndef CHECKPOINT_PRIMARY_H
#define CHECKPOINT_PRIMARY_H

#include "base/list.h"
#include "base/worker.h"
#include "colod/checkpoint/tx.h"

struct primary;

/** struct ckpt_result - what a requested checkpoint came to; @status 0 or -errno with @reason. */
struct ckpt_result {
	int status;
	const char *reason;
	uint64_t epoch, pause_us, commit_us;
	uint64_t pages, differing_pages, first_differing_page; /* CKPT_BY_VERIFY */
};

/**
 * struct ckpt_waiter - somebody who asked for a checkpoint; intrusive, owned by the asker until @fn
 * is called, which happens exactly once
 */
struct ckpt_waiter {
	struct list link;
	enum ckpt_trigger trigger;
	void (*fn)(struct ckpt_waiter *w, const struct ckpt_result *r);
};

/** primary_new() - set up everything that checkpoints need; no session yet. */
int primary_new(struct primary **out, const struct ckpt_env *env, struct err *e);
void primary_free(struct primary *p);

/**
 * primary_start() - begin a session over @bulk_fd (blocking, taken over) with epochs after @epoch.
 * @full: copy all guest RAM first; else the peer holds exactly what @epoch committed. Events that
 * follow: SYNCED, LINK_LOST, SYNC_FAILED. Call only when primary_is_idle().
 */
void primary_start(struct primary *p, int bulk_fd, uint64_t epoch, bool full);

/** primary_stop() - end the session; a guest that stands still for a checkpoint runs again. */
void primary_stop(struct primary *p);

/**
 * primary_detach() - end the session after HANDED_OVER: the guest stays stopped and the bulk
 * connection open. Returns its descriptor, the caller's from here on, or -errno.
 */
int primary_detach(struct primary *p);

/**
 * primary_suspend() - the link is lost: nothing is sent any more; a pause of the guest under way runs
 * to its end. The session stays, unless it cannot be resumed: then it ends. Any number of times, also while it is being resumed. After it no
 * LINK_LOST comes before primary_resume().
 */
void primary_suspend(struct primary *p);

/** primary_can_resume() - there is a session that can go on over another link: the peer has begun to
 * receive, and no switch-over is under way. */
bool primary_can_resume(const struct primary *p);

/**
 * primary_resume() - go on over @bulk_fd (blocking, taken over) after primary_suspend(). RESUMED or
 * RESUMED_COPY, LINK_LOST or SYNC_FAILED (it cannot be resumed after all) follows.
 */
void primary_resume(struct primary *p, int bulk_fd);

/** primary_is_idle() - no session, and nothing of an old one left on its way. */
bool primary_is_idle(const struct primary *p);

/** primary_message() - a message of the secondary: READY, SUSPENDED, RECEIVED, LOADED, FAILED,
 * VERIFIED, RESUME_ACK. */
void primary_message(struct primary *p, const struct wire_msg *m);

/** primary_trigger() - checkpoint as soon as possible, merged with others that wait; without a
 * session, in the next. */
void primary_trigger(struct primary *p, enum ckpt_trigger t);

/** primary_differed() - the guests' output differs, or (@lost) some is not known: primary_trigger(),
 * unless the checkpoint under way puts it right. */
void primary_differed(struct primary *p, bool lost);

/** primary_request() - like primary_trigger(@w->trigger); @w->fn tells the end, which may be
 * primary_stop(). */
void primary_request(struct primary *p, struct ckpt_waiter *w);

/** primary_switch() - final checkpoint; the guest stays stopped. HANDED_OVER or SWITCH_FAILED
 * follows. */
void primary_switch(struct primary *p);

/**
 * primary_expedite() - output waits for the next checkpoint: begin it at once, or as soon as
 * pauses take no more than pause_percent of the guest's time, at the latest in hold_ms.
 */
void primary_expedite(struct primary *p);

/** primary_output_period_us() - how often periodic makes checkpoints of a guest that always has
 * output waiting. */
uint64_t primary_output_period_us(const struct primary *p);

/** primary_retime() - mode, period or bandwidth of the configuration have changed. */
void primary_retime(struct primary *p);

uint64_t primary_epoch(const struct primary *p);

/**
 * struct ckpt_progress - how far the first full copy is
 * @pages_left: not sent yet, or written by the guest since
 * @known: whether @seconds_left can be said: the guest may write faster than is sent
 */
struct ckpt_progress {
	uint64_t pages_total, pages_left, seconds_left;
	bool known;
};

/** primary_copy_progress() - false unless a first full copy, its checkpoint included, is under way. */
bool primary_copy_progress(const struct primary *p, struct ckpt_progress *out);

/**
 * primary_peer_may_hold() - the peer may hold a whole checkpoint, with which it can come to life:
 * from the sending of a first one on, or since it gave its guest to us, until it has said that it
 * begins with a new full copy.
 */
bool primary_peer_may_hold(const struct primary *p);

/** primary_set_peer_holds() - what the caller knows of it: the roles were swapped, the peer ended. */
void primary_set_peer_holds(struct primary *p, bool holds);

/** primary_holds_guest() - the guest stands still only because a checkpoint is being taken. */
bool primary_holds_guest(const struct primary *p);

#endif
