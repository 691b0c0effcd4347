/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When comparing does not pay: the policy of mode auto between colo and periodic. Pure. */
#ifndef PROXY_AUTOMODE_H
#define PROXY_AUTOMODE_H

#include <stdbool.h>
#include <stdint.h>

/* colod(8) documents these. */
#define AUTO_WINDOW_US    (2 * 1000000ull)   /* over which checkpoints and waits are counted */
#define AUTO_MIN_FORCED   5                  /* checkpoints or */
#define AUTO_MIN_PACKETS  50                 /* packets: fewer say nothing */
#define AUTO_PROBE_MIN_US (2 * 1000000ull)   /* in periodic before colo is tried again; doubled */
#define AUTO_PROBE_MAX_US (300 * 1000000ull) /* each time that trial fails, up to this */
#define AUTO_TRIAL_US     (4 * 1000000ull)   /* colo for so long: the trial has not failed */

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
	uint64_t packets, waited_us; /* released so far, see automode_released() */
	uint64_t window_at_us, window_packets, window_waited_us; /* at the window's beginning */
	uint64_t switches;
	const char *why;
};

void automode_init(struct automode *a, uint64_t now_us);

/** automode_forced() - a mismatch, timeout or full queue forced a checkpoint. */
void automode_forced(struct automode *a, uint64_t now_us);

/** automode_released() - packets released so far because both guests agreed or by a checkpoint, and
 * how long they waited, all together. */
void automode_released(struct automode *a, uint64_t packets, uint64_t waited_us);

/**
 * automode_decide() - called at every checkpoint: whether the next epoch runs colo. Times are of
 * one clock that does not go back.
 *
 * colo ends when more than AUTO_MIN_FORCED checkpoints were forced within AUTO_WINDOW_US and more
 * than periodic would have made in it; or when packets waited longer on average than they would in
 * periodic. The average is that of AUTO_WINDOW_US with AUTO_MIN_PACKETS, or of the time until
 * AUTO_MIN_FORCED checkpoints were forced. @period_us is how long periodic takes from one checkpoint
 * to the next for a guest that has output; 0: not known yet, colo stays.
 */
bool automode_decide(struct automode *a, uint64_t period_us, uint64_t now_us);

#endif
