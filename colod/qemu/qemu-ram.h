/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: the memfd that QEMU and colod share, locked into the host's memory. */
#ifndef QEMU_QEMU_RAM_H
#define QEMU_QEMU_RAM_H

#include "base/worker.h"

/**
 * struct qemu_ram - a memfd, sealed at its size, and colod's mapping of it
 * @bytes, @page_bytes: set by the user; pages of 4 KiB, or 2 MiB from the reserved huge pages
 * @locked, @arg: set by the user; called once from the loop when all of it is present and locked,
 *                or with the reason why not
 *
 * A page that is written and then reclaimed would lose its mark in QEMU's page table, so nothing
 * may be reclaimed. It is colod's mapping that is locked: a page that is locked through one mapping
 * is kept for all of them (the kernel's Documentation/mm/unevictable-lru.rst). QEMU's own
 * "-overcommit mem-lock=on" would also fill and lock its translation buffer, 1 GB per guest under
 * TCG. As a side effect colod's first copy of a page does not fault.
 */
struct qemu_ram {
	uint64_t bytes;
	uint32_t page_bytes;
	void (*locked)(void *arg, const struct err *reason);
	void *arg;

	int fd; /* -1 while closed */
	uint8_t *map;
	bool is_locked;
	int lock_errno;
	struct worker *worker; /* locking clears all pages: about 1 s per GB */
	struct job lock_job;
};

/** qemu_ram_open() - make and map it and begin to lock it. On error call qemu_ram_close() too. */
int qemu_ram_open(struct qemu_ram *ram, struct loop *l, struct err *e);

/** qemu_ram_adopt() - the same with the memory of a running QEMU, whose descriptor @fd is taken over,
 * also on error. */
int qemu_ram_adopt(struct qemu_ram *ram, int fd, struct loop *l, struct err *e);

/** qemu_ram_close() - waits for the end of the locking; QEMU keeps the memory. */
void qemu_ram_close(struct qemu_ram *ram);

#endif
