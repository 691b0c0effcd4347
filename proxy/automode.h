/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When comparing does not pay: the policy of mode auto between colo and periodic. Pure. */
#ifndef PROXY_AUTOMODE_H
#define PROXY_AUTOMODE_H

#include <stdbool.h>
#include <stdint.h>

/* colod.conf(5) documents these. */
#define AUTO_WINDOW_US  (2 * 1000000ull) /* over which forced checkpoints are counted */
#define AUTO_MIN_FORCED 5                /* fewer say nothing */
#define AUTO_PROBE_MIN_US                                                                          \
	(2 * 1000000ull) /* time in periodic before colo is tried again, doubled each time */
#define AUTO_PROBE_MAX_US (300 * 1000000ull)
#define AUTO_TRIAL_US     (2 * 1000000ull) /* colo for so long without giving up: probing starts anew \
					    */

struct automode {
	bool colo;
	uint64_t since_us, probe_us;
	uint64_t forced_at_us[64]; /* ring */
	uint64_t forced;
	uint64_t switches;
	const char *why; /* of the last switch */
};

void automode_init(struct automode *a, uint64_t now_us);

/** automode_forced() - a mismatch, timeout or full queue forced a checkpoint. */
void automode_forced(struct automode *a, uint64_t now_us);

/**
 * automode_decide() - called at every checkpoint: whether the next epoch runs colo. @period_us is
 * what periodic would do; @hold_p50_us how long held packets waited for their match: a wait longer
 * than periodic's mean (half the period) costs more than it brings.
 */
bool automode_decide(struct automode *a, uint64_t period_us, uint64_t hold_p50_us, uint64_t now_us);

#endif
