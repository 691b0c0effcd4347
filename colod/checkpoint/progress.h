/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a first full copy is and how long it will take, from samples of what is left. Pure. */
#ifndef CHECKPOINT_PROGRESS_H
#define CHECKPOINT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_MARKS 16

/**
 * struct progress - one copy's recent course
 * @total: pages of the whole copy
 * @marks: ring of samples, oldest at @first, some time apart
 */
struct progress {
	uint64_t total;
	struct {
		uint64_t at_us, left;
	} marks[PROGRESS_MARKS];
	unsigned first, count;
};

/** progress_begin() - nothing of @total pages is there yet; forgets an earlier copy. */
void progress_begin(struct progress *g, uint64_t total, uint64_t now_us);

/**
 * progress_note() - @left pages are missing at the receiver: not sent yet, or written again since.
 * To be called often; most calls change nothing.
 */
void progress_note(struct progress *g, uint64_t left, uint64_t now_us);

/**
 * progress_seconds_left() - at the rate of the last seconds, in which the guest's writes count
 * against what was sent. False when it cannot be said: too early, or there is no less left than
 * before.
 */
bool progress_seconds_left(const struct progress *g, uint64_t left, uint64_t now_us,
			   uint64_t *seconds);

#endif
