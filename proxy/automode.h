/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When comparing does not pay: the policy of mode auto between colo and periodic. Pure. */
#ifndef PROXY_AUTOMODE_H
#define PROXY_AUTOMODE_H

#include <stdbool.h>
#include <stdint.h>

/* colod.conf(5) documents these. */
#define AUTO_WINDOW_US    (2 * 1000000ull)   /* over which forced checkpoints are counted */
#define AUTO_MIN_FORCED   5                  /* fewer say nothing */
#define AUTO_SETTLE_US    (1 * 1000000ull)   /* colo for so long before waits are looked at */
#define AUTO_PROBE_MIN_US (2 * 1000000ull)   /* in periodic before colo is tried again; doubled */
#define AUTO_PROBE_MAX_US (300 * 1000000ull) /* each time that trial fails, up to this */
#define AUTO_TRIAL_US     (2 * 1000000ull)   /* colo for so long: the trial has not failed */

/* Forced checkpoints that are remembered: enough for the shortest period, 1 ms, over the window. */
#define AUTO_RING 2048

/**
 * struct automode - @colo until something speaks against it, then periodic for @probe_us, then
 * again
 * @since_us: when the present mode began
 * @forced:   how often a checkpoint was forced, ever
 * @why:      of the last switch; "" before the first one
 */
struct automode {
	bool colo;
	uint64_t since_us, probe_us;
	uint64_t forced_at_us[AUTO_RING];
	uint64_t forced;
	uint64_t matched, committed; /* packets released so far, see automode_released() */
	uint64_t window_at_us, window_matched, window_committed; /* at the window's beginning */
	uint64_t switches;
	const char *why;
};

void automode_init(struct automode *a, uint64_t now_us);

/** automode_forced() - a mismatch, timeout or full queue forced a checkpoint. */
void automode_forced(struct automode *a, uint64_t now_us);

/** automode_released() - packets released so far because both guests agreed, and by commits. */
void automode_released(struct automode *a, uint64_t matched, uint64_t committed);

/**
 * automode_decide() - called at every checkpoint: whether the next epoch runs colo. Times are of
 * one clock that does not go back.
 *
 * colo ends when more than AUTO_MIN_FORCED checkpoints were forced within AUTO_WINDOW_US and more
 * than periodic would have made in it, or when the wait is longer than periodic's mean, half the
 * period, or when in an AUTO_WINDOW_US with AUTO_MIN_FORCED forced ones no more packets were
 * released by agreement than by commits: then comparing brings nothing. @period_us is what periodic
 * would do; 0, as fast as possible, has nothing to hold colo against, which then stays.
 * @hold_p50_us is how long packets waited to be released in colo: without what waited in periodic,
 * which says nothing about colo and would end each trial.
 */
bool automode_decide(struct automode *a, uint64_t period_us, uint64_t hold_p50_us, uint64_t now_us);

#endif
