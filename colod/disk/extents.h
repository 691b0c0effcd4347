/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A map of what was written to a disk: extents that do not overlap, in order of their offset. Pure. */
#ifndef DISK_EXTENTS_H
#define DISK_EXTENTS_H

#include "base/list.h"
#include "base/pool.h"
#include "base/tree.h"
#include "colod/disk/arena.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * enum extent_kind - ZERO reads as zeroes and keeps its space; TRIM may be unmapped. What is read
 * from a trimmed place nobody may rely on; here it always becomes zeroes, so that two disks to which
 * the same was done are the same.
 */
enum extent_kind {
	EXTENT_DATA,
	EXTENT_ZERO,
	EXTENT_TRIM,
	EXTENT_KINDS,
};

/** struct extent - bytes from @offset on; to be read only, and until the map is changed. */
struct extent {
	struct tree_node node;
	struct list unsent; /* linked while @sent is 0 */
	uint64_t offset, len;
	uint8_t *data; /* of EXTENT_DATA: @len bytes, at most ARENA_CHUNK */
	uint64_t sent; /* number of the frame it was sent in, from 1; 0: not since it was written */
	enum extent_kind kind;
};

/** struct extent_store - records and bytes that several maps share. */
struct extent_store {
	struct pool records;
	struct arena arena;
	uint64_t saved; /* bytes of data that need not be sent, as newer came over them before */
};

/** extent_store_init() - of fixed size from now on; what is not used costs nothing. 0 or -ENOMEM. */
int extent_store_init(struct extent_store *s, uint64_t max_bytes, uint32_t max_extents);
void extent_store_destroy(struct extent_store *s);

/**
 * struct extents - one disk's map
 *
 * Every operation is O(log n) for each extent it touches. Data is copied in. Extents are
 * byte-exact; writes in sequence and neighbours of one kind become one extent where that costs
 * nothing.
 */
struct extents {
	struct extent_store *store;
	struct tree tree;
	struct list unsent; /* in the order in which they were written */
	struct arena_fill fill;
	uint64_t count, unsent_bytes; /* extents; data not sent */
};

/** extents_init() - an empty map on @store, which outlives it. Not to be moved. */
void extents_init(struct extents *m, struct extent_store *store);

/** extents_clear() - empty the map: all is given back to the store. O(n). */
void extents_clear(struct extents *m);

/**
 * extents_put() - what is at @offset is now this; whatever older it overlaps is cut, split or
 * replaced. @data: @len bytes for EXTENT_DATA. All of it is unsent then, unless it was zero, or
 * trimmed, before.
 *
 * -ENOSPC with nothing changed when records or bytes might not suffice, -EINVAL for an empty
 * extent or one that ends beyond 2^64 - 1.
 */
int extents_put(struct extents *m, enum extent_kind kind, uint64_t offset, uint64_t len,
		const void *data);

/** extents_put_records() - how many records extents_put() asks the store for. */
uint64_t extents_put_records(const struct extents *m, enum extent_kind kind, uint64_t offset,
			     uint64_t len);

/** extents_merge() - put all of @newer, on the same store, over @m; @newer is empty then. Cannot fail
 * when the store has extents_merge_records() left. */
void extents_merge(struct extents *m, struct extents *newer);
static inline uint64_t extents_merge_records(const struct extents *newer)
{
	return newer->count + 2;
}

/** extents_at() - first extent that ends behind @offset; extents_next() - the one behind. NULL: none. */
struct extent *extents_at(const struct extents *m, uint64_t offset);
struct extent *extents_next(const struct extent *e);

/** extents_unsent() - the one that has waited longest to be sent, NULL: none. */
struct extent *extents_unsent(const struct extents *m);

/** extents_sent() - @e was sent in frame @frame, above 0; it may be joined with a neighbour and be no
 * more. */
void extents_sent(struct extents *m, struct extent *e, uint64_t frame);

/** extents_resend() - what was sent in frames behind @frame was not; 0: nothing was. O(n). */
void extents_resend(struct extents *m, uint64_t frame);

/** extents_forget() - drop what was sent in frames up to @frame and not written since. O(n). */
void extents_forget(struct extents *m, uint64_t frame);

static inline uint64_t extent_end(const struct extent *e)
{
	return e->offset + e->len;
}

#endif
