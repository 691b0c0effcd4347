/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's log of what the running epoch writes to its disks, until the epoch is committed. Pure. */
#ifndef DISK_EPOCHLOG_H
#define DISK_EPOCHLOG_H

#include "colod/disk/disk-wire.h"

/**
 * struct epochlog - the open epoch, and while a checkpoint is under way the closing one before it
 *
 *	open N --cut--> closing N, open N+1 --commit--> open N+1
 *	                                    --abort---> open N, which holds both
 *
 * One budget of bytes and extents is shared by both epochs and all disks. What was written is sent
 * at any time, each extent once unless it is written again, in the order of the writes: so most
 * of an epoch has travelled before it is cut. No frame of N+1 is sent before N is committed, as the
 * receiver takes one epoch at a time. Everything is kept until its commit, to be sent again.
 *
 * All functions are O(log n) for each extent touched, but for those that say O(n). Threads take
 * turns by a lock of the caller's; data is copied both ways, so nothing points into the log.
 */
struct epochlog {
	struct extent_store store;
	struct extents gen[2][DISKS_MAX];
	uint64_t frames[2]; /* sent of each, since its beginning or resend */
	uint32_t ndisks;
	unsigned open;  /* index into gen */
	bool closing;   /* gen[!open] is closing */
	uint64_t epoch; /* of the open one */
	uint64_t high_water_bytes;
	uint32_t high_water_extents;
	uint64_t sent_bytes;
};

/* For each disk: a chunk for both epochs, and some to go on with. */
#define EPOCHLOG_MIN_BYTES (8 * (uint64_t)ARENA_CHUNK)

/** struct epochlog_limits - @high_water_percent of either limit: time to close the epoch. */
struct epochlog_limits {
	uint64_t bytes; /* disk_log_bytes; in whole chunks of the arena, ARENA_CHUNK each */
	uint32_t extents;
	unsigned high_water_percent;
};

/** struct epochlog_report - the figures of a moment. */
struct epochlog_report {
	uint64_t held_bytes;   /* data in the log */
	uint64_t used_bytes;   /* memory that it takes of the limit */
	uint64_t unsent_bytes; /* of held_bytes */
	uint64_t extents;
	uint64_t sent_bytes; /* data sent, since the beginning */
	uint64_t
		saved_bytes; /* data that need not be sent as newer came over it, since the beginning */
	bool high;           /* above the high-water mark */
};

/** epochlog_init() - @epoch is the first open one. 0 or -errno with a reason. */
int epochlog_init(struct epochlog *l, uint32_t ndisks, uint64_t epoch,
		  const struct epochlog_limits *limits, struct err *e);
void epochlog_destroy(struct epochlog *l);

/**
 * epochlog_write(), epochlog_zero() - what the guest does to disk @disk; trimmed if @may_unmap, see
 * extents.h. 0, -ENOSPC with nothing changed: close the epoch, and do it again when one was committed;
 * -EINVAL for an empty range, one beyond 2^64 - 1, or no such disk.
 */
int epochlog_write(struct epochlog *l, uint32_t disk, uint64_t offset, uint64_t len,
		   const void *data);
int epochlog_zero(struct epochlog *l, uint32_t disk, uint64_t offset, uint64_t len, bool may_unmap);

/**
 * epochlog_next() - the next frame to be sent: of the closing epoch if there is one, else of the open
 * one. At most @max_bytes of data, ARENA_CHUNK to DISK_WIRE_DATA_MAX, are copied into @data. They
 * count as sent from here on. Frames of an epoch count from 1. False: nothing is left.
 */
bool epochlog_next(struct epochlog *l, struct disk_frame *f, uint8_t *data, uint32_t max_bytes);

/** epochlog_cut() - close the open epoch; there is no closing one. What is written now is the next's. */
void epochlog_cut(struct epochlog *l);

/** epochlog_commit() - the closing epoch is safe, and forgotten. O(n). */
void epochlog_commit(struct epochlog *l);

/** epochlog_abort() - the closing epoch was not closed: it goes on, with what was written since. O(n). */
void epochlog_abort(struct epochlog *l);

/**
 * epochlog_resend() - the connection broke, and of the closing epoch, or else the open one, only the
 * first @frames frames have arrived; 0: all is sent again. Frames count on from there. O(n).
 */
void epochlog_resend(struct epochlog *l, uint64_t frames);

/**
 * epochlog_forget() - the peer has the first @frames frames of the epoch that is being sent for good,
 * and they need not be kept: for a first full copy, which goes straight to its disks and may be
 * larger than the log. They cannot be sent again. O(n).
 */
void epochlog_forget(struct epochlog *l, uint64_t frames);

/** epochlog_clear() - forget all, closing or not: @epoch is open, empty. O(n). */
void epochlog_clear(struct epochlog *l, uint64_t epoch);

void epochlog_report(const struct epochlog *l, struct epochlog_report *r);

/** epochlog_is_high() - above the high-water mark. O(1). */
bool epochlog_is_high(const struct epochlog *l);

/** epochlog_sending() - the epoch that epochlog_next() is at, and how many frames of it there were. */
static inline uint64_t epochlog_sending(const struct epochlog *l, uint64_t *frames)
{
	*frames = l->frames[l->closing ? !l->open : l->open];
	return l->epoch - l->closing;
}

#endif
