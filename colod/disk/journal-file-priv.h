/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal from inside: what applying and recovery share. */
#ifndef DISK_JOURNAL_FILE_PRIV_H
#define DISK_JOURNAL_FILE_PRIV_H

#include "colod/disk/journal-file.h"

/** journal_finish_disk() - write what @w has gathered, and sync the disk if that is wished. */
int journal_finish_disk(struct journal_file *j, struct disk_writer *w);

/** journal_set_done() - j->record is on the disks. */
int journal_set_done(struct journal_file *j, struct err *e);

#endif
