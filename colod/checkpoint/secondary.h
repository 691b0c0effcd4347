/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The secondary's half of the checkpoint engine: stage, commit, apply, load, go live. */
#ifndef CHECKPOINT_SECONDARY_H
#define CHECKPOINT_SECONDARY_H

#include "colod/checkpoint/ckpt.h"

struct secondary;

/** secondary_new() - set up everything that a replica needs; no session yet. */
int secondary_new(struct secondary **out, const struct ckpt_env *env, struct err *e);
void secondary_free(struct secondary *s);

/**
 * secondary_start() - begin a session over @bulk_fd (blocking, taken over).
 * @full: the primary copies all RAM first; else this side's guest stands at @epoch exactly (roles
 * were swapped). Sends READY when it can receive. Events that follow: SYNCED, LINK_LOST,
 * SYNC_FAILED, HANDED_OVER. Call only when secondary_is_idle().
 */
void secondary_start(struct secondary *s, int bulk_fd, uint64_t epoch, bool full);

/** secondary_stop() - end the session; what was received is void. A running guest is stopped. */
void secondary_stop(struct secondary *s);
bool secondary_is_idle(const struct secondary *s);

/**
 * secondary_detach() - end the session after HANDED_OVER; the guest stands at the final checkpoint,
 * ours to run. Returns the bulk connection's descriptor, the caller's from here on.
 */
int secondary_detach(struct secondary *s);

/** secondary_message() - a message of the primary: NEW, HANDOVER, FAILED. */
void secondary_message(struct secondary *s, const struct wire_msg *m);

/**
 * secondary_suspend() - the link is lost, but may come back: nothing is received any more, what is
 * committed is loaded to its end, what was received in part is kept. A session that has not begun to
 * receive ends. Any number of times, also while
 * the session is being resumed. After it no LINK_LOST comes before secondary_resume().
 */
void secondary_suspend(struct secondary *s);

/** secondary_can_resume() - there is a session that can go on over another link. */
bool secondary_can_resume(const struct secondary *s);

/**
 * secondary_resume() - go on over @bulk_fd (blocking, taken over) after secondary_suspend(). RESUMED
 * or RESUMED_COPY, LINK_LOST or SYNC_FAILED follows.
 */
void secondary_resume(struct secondary *s, int bulk_fd);

/**
 * secondary_go_live() - promote: a committed checkpoint is loaded to its end first, a stage
 * received in part is dropped, then the guest runs. LIVE or LIVE_FAILED follows; the session is
 * over.
 */
void secondary_go_live(struct secondary *s);

/** secondary_guest_was_shut_down() - our own running guest shut down; it is reset before the next
 * load. */
void secondary_guest_was_shut_down(struct secondary *s);

/**
 * secondary_reset_was_a_shutdown() - instead of being reset for secondary_guest_was_shut_down(), it
 * shut down again, as -no-reboot asks for: reset it all the same.
 */
void secondary_reset_was_a_shutdown(struct secondary *s);

/** secondary_guest_was_reset() - QEMU has reset our guest. */
void secondary_guest_was_reset(struct secondary *s);

/** secondary_packets_marked() - the proxy knows all packets that belong to checkpoint @epoch. */
void secondary_packets_marked(struct secondary *s, uint64_t epoch);

uint64_t secondary_epoch(const struct secondary *s);

#endif
