/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty tracking of a running QEMU's guest RAM: one interface, two kernel mechanisms. */
#ifndef TRACKER_TRACKER_H
#define TRACKER_TRACKER_H

#include "base/bitmap.h"
#include "base/err.h"
#include "colod/core/config.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * How a written page could be lost, and what keeps it from happening (pm: pagemap-scan, sd:
 * soft-dirty). tests/unit/test-tracker.c holds what can be tested, tests/kernel.mk runs it on Linux
 * 6.1 and 6.12.
 *
 * - Write between reading and clearing: pm does both under the page table lock; sd clears only
 *   while the guest and QEMU's I/O stand still.
 * - Store in progress while its page is protected: it ends before that call's TLB flush, so a copy
 *   made afterwards has it, or it faults and is marked. An MMU notifier takes KVM's mapping along.
 * - Reclaim drops the entry and its mark: the caller keeps RAM locked, through whichever mapping
 *   (seen: a lock in another process is enough, without one sd loses pages). Huge pages stay.
 * - Page without an entry: arming leaves a marker (pm); an entry that a write makes is marked.
 * - Compaction and migration move locked pages: sd's mark moves along; pm's protection may get lost,
 *   and the page counts as written (seen on 6.12 and 6.18).
 * - khugepaged collapses locked shared memory: sd loses all marks (seen on 6.1), so tracker_open()
 *   refuses unless shared memory has no transparent huge pages. pm keeps them, but for one page that
 *   was lost once in many runs (6.12, never touched before): the caller switches transparent huge
 *   pages off for itself and the target (PR_SET_THP_DISABLE), so that nothing is collapsed.
 * - fork() by QEMU: the parent's marks stay. A child's writes to RAM are not seen; QEMU's children
 *   exec.
 * - New mapping by QEMU (memory error): pm fails and says so; sd sees it all as written.
 * - A dead QEMU looks like one that writes nothing: every collect checks that its memory is still
 *   there.
 * - A collect that fails marks every page.
 *
 * Not seen, and refused elsewhere: DMA into pages pinned before the protection (O_DIRECT, VFIO);
 * writes through another mapping of the same memory (vhost-user, virtiofsd); discards (balloon,
 * free page reporting): a punched hole turns pages zero without a write, MADV_DONTNEED drops marks.
 * Writes that come after a discard are seen.
 */

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

/**
 * tracker_open() - prepare tracking of @target (copied) with the mechanism that tracker_probe()
 * chose; tracker_arm() starts it. -EPERM: soft-dirty, and RAM may be collapsed into huge pages.
 */
int tracker_open(struct tracker **out, enum track_kind kind, const struct tracker_target *target,
		 struct err *e);

/** tracker_close() - stop tracking; the target may have ended, or be opened again. NULL is fine. */
void tracker_close(struct tracker *t);

/**
 * tracker_arm() - forget what was written so far. Every write that begins after the return is seen
 * by a later tracker_collect(); the caller copies all RAM after this, or the guest stands still.
 * Walks all RAM: too slow for every checkpoint.
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
 * time; allocates nothing. On an error all bits are set: what the broken scan forgot is unknown.
 * -ESRCH: QEMU has ended.
 */
int tracker_collect(struct tracker *t, bool stopped, struct bitmap *written, struct err *e);

bool tracker_is_cumulative(const struct tracker *t);
const char *tracker_name(const struct tracker *t);

#endif
