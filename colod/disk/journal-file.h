/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The secondary's journal as a file, and how an epoch gets through it onto the disks: all of it or nothing. */
#ifndef DISK_JOURNAL_FILE_H
#define DISK_JOURNAL_FILE_H

#include "colod/disk/disk-writer.h"
#include "colod/disk/journal.h"

/** enum journal_sync - what an epoch survives while it is applied. */
enum journal_sync {
	JOURNAL_SYNC_ALWAYS, /* a loss of power: journal and disks are synced in their order */
	JOURNAL_SYNC_NEVER,  /* the death of any process, while the kernel lives */
};

/** struct journal_target - a disk to write to; @fd stays the caller's, writable, not O_DIRECT. */
struct journal_target {
	struct journal_disk id;
	int fd;
};

enum journal_state {
	JOURNAL_OPENED,  /* what is in it is not known yet */
	JOURNAL_IDLE,    /* no record, or it is done */
	JOURNAL_WRITTEN, /* there is a record that is not done */
};

/**
 * struct journal_file - for each epoch: journal_write(), journal_apply()
 *
 * Who dies anywhere in between finds with journal_recover() at the next start that the disks hold
 * the old epoch or the new one, the new one exactly if its record was whole.
 *
 * Nobody else may write to the disks while there is a record that is not known to be done: before a
 * guest gets them, before a first copy that goes past the journal, call journal_clear().
 * Otherwise a later start might put an old epoch over what was written since.
 *
 * Not for use by several threads; allocates at journal_open() and journal_recover() only.
 */
struct journal_file {
	int fd;
	enum journal_sync sync;
	enum journal_state state;
	uint32_t ndisks;
	struct journal_target disks[DISKS_MAX];
	struct write_hook hook;
	struct journal_mark record; /* the one in the file, and the last epoch */
	bool empty;                 /* that one writes nothing, and has no record */
	uint8_t *buf;
	struct XXH3_state_s *hash;
};

/** struct journal_found - what journal_recover() did. */
struct journal_found {
	enum journal_outcome {
		JOURNAL_NOTHING, /* no record: nothing was ever written, or it was cleared */
		JOURNAL_TORN, /* one that was not written to its end: nothing of it was applied */
		JOURNAL_DONE, /* one that had been applied */
		JOURNAL_REAPPLIED, /* one that was applied now */
	} outcome;
	uint64_t session, epoch; /* where the disks stand; 0 when that is not known */
};

/**
 * journal_open() - open or create the journal at @path and lock it. -EBUSY when another process has
 * it, -EINVAL when a disk has not the size that its @id says; a reason with each.
 */
int journal_open(struct journal_file *j, const char *path, enum journal_sync sync,
		 const struct journal_target *disks, uint32_t ndisks, struct err *e);
void journal_close(struct journal_file *j);

/**
 * journal_recover() - finish what was begun, once after journal_open(). O(size of the record), in
 * memory of that size. Fails with nothing changed when a whole record is of other disks or of another
 * version, and with a record to be tried again when a disk cannot be written.
 */
int journal_recover(struct journal_file *j, struct journal_found *found, struct err *e);

/**
 * journal_write() - make a record of what the epoch writes: @maps, one for each disk, which must not
 * change before journal_apply(). The one before is done. Of an epoch that writes nothing there is
 * no record, and nothing is synced. With a failure, as -ENOSPC, no disk has
 * changed, and the epoch can be tried again.
 */
int journal_write(struct journal_file *j, uint64_t session, uint64_t epoch,
		  const struct extents *maps, struct err *e);

/**
 * journal_apply() - write @maps to the disks and mark the record done. After a failure the disks are
 * neither old nor new: try again with this or journal_recover(), or copy all anew.
 */
int journal_apply(struct journal_file *j, const struct extents *maps, struct err *e);

/** journal_clear() - forget the record for good (synced with JOURNAL_SYNC_ALWAYS), done or not. */
int journal_clear(struct journal_file *j, struct err *e);

#endif
