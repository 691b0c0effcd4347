/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent threads that share one scan: each run calls a function once for every slice. */
#ifndef TRACKER_SCAN_POOL_H
#define TRACKER_SCAN_POOL_H

#include "base/err.h"

struct scan_pool;

typedef void (*scan_fn)(void *arg, unsigned slice);

/**
 * scan_pool_start() - @slices - 1 threads that wait for scan_pool_run(); the caller is the last
 * one. With one slice there is no thread and a run is a plain call that takes no lock.
 */
int scan_pool_start(struct scan_pool **out, unsigned slices, scan_fn fn, void *arg, struct err *e);

/** scan_pool_run() - call the function for every slice; returns when all calls have. */
void scan_pool_run(struct scan_pool *p);

void scan_pool_stop(struct scan_pool *p);

#endif
