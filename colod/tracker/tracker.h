/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty tracking of a running QEMU's guest RAM: one interface, two kernel mechanisms. */
#ifndef TRACKER_TRACKER_H
#define TRACKER_TRACKER_H

#include "base/bitmap.h"
#include "base/err.h"
#include "colod/core/config.h"

#include <stdbool.h>
#include <sys/types.h>

struct tracker;

/**
 * struct tracker_target - what is tracked
 * @pid:        the QEMU process (alive; its number cannot be reused while colod holds its pidfd)
 * @uffd:       userfaultfd made inside QEMU by the preload library; -1 for soft-dirty. Borrowed.
 * @va, @bytes: guest RAM in QEMU's address space
 * @host_page_bytes: 4096, or 2 MiB for RAM on huge pages
 * @threads:    how many threads a scan may use
 */
struct tracker_target {
	pid_t pid;
	int uffd;
	uint64_t va, bytes;
	uint32_t host_page_bytes;
	unsigned threads;
};

/**
 * tracker_probe() - which mechanism this kernel and our permissions allow; @want TRACK_AUTO takes
 * the best. Errors say what is missing and what to change.
 */
int tracker_probe(enum track_kind want, uint32_t host_page_bytes, enum track_kind *chosen,
		  struct err *e);

int tracker_open(struct tracker **out, enum track_kind kind, const struct tracker_target *target,
		 struct err *e);
void tracker_close(struct tracker *t);

/**
 * tracker_arm() - forget what was written so far. Every write that begins after the return is seen
 * by a later tracker_collect(); the caller copies all RAM after this, or the guest stands still.
 */
int tracker_arm(struct tracker *t, struct err *e);

/**
 * tracker_collect() - set the bits of written 4 KB pages in @written (bits already set stay).
 * @stopped: the guest and all of QEMU's I/O stand still.
 *
 * Every page written since the previous collect with @stopped (or tracker_arm()) and not yet
 * reported is reported. A mechanism that cannot fetch and clear in one step
 * (tracker_is_cumulative()) reports while the guest runs all pages since the last stopped collect,
 * again and again; the caller compares content. Never loses a page. Called from one thread at a
 * time.
 */
int tracker_collect(struct tracker *t, bool stopped, struct bitmap *written, struct err *e);

bool tracker_is_cumulative(const struct tracker *t);
const char *tracker_name(const struct tracker *t);

#endif
