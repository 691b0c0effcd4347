/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both halves of the engine in one process, for the tests of resumed sessions. */
#ifndef TESTS_UNIT_RESUME_RIG_H
#define TESTS_UNIT_RESUME_RIG_H

#include "tests/unit/pair-rig.h"

#include <dirent.h>

#define FRAME_BYTES (12 + 12 + WIRE_PAGES_MAX * (8 + PAGE_BYTES))

static inline int setup(void **state)
{
	struct pair *w = malloc(sizeof(*w));

	assert_non_null(w);
	pair_open(w, false);
	*state = w;
	return 0;
}

static inline int setup_with_proxy(void **state)
{
	struct pair *w = malloc(sizeof(*w));

	assert_non_null(w);
	pair_open(w, true);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	pair_close(*state);
	free(*state);
	return 0;
}

/* First copy and first checkpoint; epoch 1. */
static inline void synchronise(struct pair *w)
{
	pair_start(w, NO_CUT);
	pair_until(w, w->a.events[FSM_EV_SYNCED] && w->b.events[FSM_EV_SYNCED]);
	pair_until(w, w->p->phase == PRIMARY_IDLE && !w->p->round_job.busy);
}

/* Another checkpoint, to its end. */
static inline void checkpoint(struct pair *w)
{
	uint64_t epoch = primary_epoch(w->p);
	unsigned loads = w->b.loads;

	pair_until(w, w->p->phase == PRIMARY_IDLE);
	primary_trigger(w->p, CKPT_BY_COMMAND);
	pair_until(w, primary_epoch(w->p) > epoch && w->b.loads > loads);
	assert_int_equal(secondary_epoch(w->s), primary_epoch(w->p));
	assert_true(w->a.runs);
}

static inline void resume_and_commit(struct pair *w, uint64_t epoch)
{
	pair_resume_well(w);
	pair_until(w, primary_epoch(w->p) >= epoch && w->p->phase == PRIMARY_IDLE);
	checkpoint(w);
	checkpoint(w);
}

struct asker {
	struct ckpt_waiter w;
	unsigned answers;
	int status;
	uint64_t epoch, pages, differing;
};

static inline void answered(struct ckpt_waiter *cw, const struct ckpt_result *r)
{
	struct asker *a = container_of(cw, struct asker, w);

	a->answers++;
	a->status = r->status;
	a->epoch = r->epoch;
	a->pages = r->pages;
	a->differing = r->differing_pages;
}

static inline void ask(struct pair *w, struct asker *a, enum ckpt_trigger t)
{
	*a = (struct asker){.w = {.trigger = t, .fn = answered}};
	primary_request(w->p, &a->w);
}

/* The epoch's pages are not final yet: its NEW is forgotten, and who asked waits for the next. */

#endif
