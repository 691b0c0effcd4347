/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Worker thread: runs jobs in order and reports each one's end back on a loop. */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include "base/loop.h"
#include "base/mailbox.h"

/**
 * struct job - one piece of work, embedded in the submitter's own state
 * @run:  called on the worker's thread
 * @done: called on the loop's thread after @run has returned; may submit the job again
 *
 * Between worker_submit() and @done the job belongs to the worker.
 */
struct job {
	struct mail mail;
	void (*run)(struct job *j);
	void (*done)(struct job *j);
};

struct worker;

/** worker_start() - @name is the thread's name, at most 15 characters. */
int worker_start(struct worker **out, struct loop *l, const char *name, struct err *e);
void worker_submit(struct worker *w, struct job *j);

/** worker_stop() - wait until the queued jobs have run, end the thread; their @done is not called.
 */
void worker_stop(struct worker *w);

#endif
