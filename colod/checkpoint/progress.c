// SPDX-License-Identifier: GPL-2.0-or-later
/* Progress of a first full copy: what is left now against what was left some seconds ago. */
#include "colod/checkpoint/progress.h"

#include "base/util.h"

/* The ring of marks covers the window. */
#define MARK_GAP_US (500 * USEC_PER_MSEC)
#define WINDOW_US   (PROGRESS_MARKS * MARK_GAP_US)
/* A shorter time is one round's luck. */
#define MIN_SPAN_US (250 * USEC_PER_MSEC)

static unsigned nth(const struct progress *g, unsigned n)
{
	return (g->first + n) % PROGRESS_MARKS;
}

static void add_mark(struct progress *g, uint64_t left, uint64_t now_us)
{
	unsigned at;

	if (g->count == PROGRESS_MARKS) {
		g->first = nth(g, 1);
		g->count--;
	}
	at = nth(g, g->count++);
	g->marks[at].at_us = now_us;
	g->marks[at].left = left;
}

void progress_begin(struct progress *g, uint64_t total, uint64_t now_us)
{
	*g = (struct progress){.total = total};
	add_mark(g, total, now_us);
}

void progress_note(struct progress *g, uint64_t left, uint64_t now_us)
{
	if (!g->count || now_us - g->marks[nth(g, g->count - 1)].at_us >= MARK_GAP_US)
		add_mark(g, left, now_us);
}

/* The oldest mark of the window; when all are older, nothing has happened since the newest. */
static unsigned base_mark(const struct progress *g, uint64_t now_us)
{
	unsigned n = 0;

	while (n + 1 < g->count && now_us - g->marks[nth(g, n)].at_us > WINDOW_US)
		n++;
	return nth(g, n);
}

bool progress_seconds_left(const struct progress *g, uint64_t left, uint64_t now_us,
			   uint64_t *seconds)
{
	unsigned base = base_mark(g, now_us);
	uint64_t span_us, gained;

	*seconds = 0;
	if (!left)
		return true;
	if (!g->count || g->marks[base].left <= left)
		return false;
	span_us = now_us - g->marks[base].at_us;
	gained = g->marks[base].left - left;
	if (span_us < MIN_SPAN_US)
		return false;
	*seconds = (uint64_t)((double)left / (double)gained * (double)span_us / USEC_PER_SEC) + 1;
	return true;
}
