/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's list of RAM blocks (HMP "info ramblock"): parsed, and judged for replication. Pure. */
#ifndef QEMU_RAMBLOCK_H
#define QEMU_RAMBLOCK_H

#include "base/err.h"

#define RAMBLOCK_MAIN "colod-ram" /* id of the memory backend that is the guest's RAM */

enum ramblock_access {
	RAMBLOCK_UNSAID, /* QEMU 7.2 has no such column */
	RAMBLOCK_READ_ONLY,
	RAMBLOCK_WRITABLE,
};

struct ramblock {
	char name[256];
	uint64_t used_bytes, total_bytes;
	enum ramblock_access access;
};

/**
 * ramblock_parse_line() - one line of the list. 0 with @b filled, -ENOENT for the heading or an
 * empty line, -EPROTO with a reason for anything else.
 *
 * Columns: name, page size, offset, used, total (QEMU 7.2); then host address and ro/rw (QEMU 10.0,
 * softmmu/memory or system/physmem.c: ram_block_format()). Further columns are ignored.
 */
int ramblock_parse_line(struct ramblock *b, const char *line, size_t len, struct err *e);

/**
 * ramblock_check() - main memory is there with @ram_bytes and every other block is one that the
 * guest cannot write. The reason names the block, what has it and what to change. -EPROTO for a
 * list of unknown form.
 */
int ramblock_check(const char *list, uint64_t ram_bytes, struct err *e);

#endif
