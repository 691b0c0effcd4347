/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames to the primary's guest, kept until no replica can need them again; see replica-net.h. Pure. */
#ifndef PROXY_INBOX_H
#define PROXY_INBOX_H

#include "proxy/framebuf.h"

#define INBOX_MAX_NICS 8

/* One checkpoint is in flight, another may be about to be loaded. */
#define INBOX_MARKS 4

/**
 * struct inbox_nic - numbers of frames
 * @last:      received
 * @base:      mark of the last committed checkpoint: no guest needs frames up to it
 * @injected:  the replica as it stands has been given all up to here
 * @forgotten: the youngest that had to go for want of memory, or never came
 * @counted:   those forgotten up to here have been counted as lost
 * @marked:    the youngest mark, committed or not
 */
struct inbox_nic {
	uint64_t last, base, injected, forgotten, counted, marked;
};

/** struct inbox_marks - of one checkpoint; @nics: bits, whose mark is here */
struct inbox_marks {
	uint64_t epoch;
	uint32_t nics;
	uint64_t mark[INBOX_MAX_NICS];
};

/**
 * struct inbox
 * @settled:  the marks of this checkpoint are all in @base
 * @unmarked: the replica was loaded with a checkpoint whose marks are not all here
 * @losses:   counted since the caller set it to 0
 */
struct inbox {
	struct framebuf frames;
	unsigned nic_count;
	struct inbox_nic nics[INBOX_MAX_NICS];
	struct inbox_marks marks[INBOX_MARKS];
	uint64_t committed, loaded, settled;
	bool unmarked;
	uint64_t losses;
};

/** inbox_init() - 0 or -errno. */
int inbox_init(struct inbox *in, unsigned nic_count, size_t bytes, uint32_t frames);
void inbox_destroy(struct inbox *in);

/** inbox_attach() - empty, for a replica that stands at checkpoint @epoch. */
void inbox_attach(struct inbox *in, uint64_t epoch);

/** inbox_add() - keep frame @number, larger than all before. False: nobody needs it. Numbers that
 * are left out are losses. */
bool inbox_add(struct inbox *in, uint8_t nic, uint64_t number, const void *data, size_t len);

/**
 * inbox_skip() - frames up to @number that are not here will not come, and the primary knows it: no
 * losses, unless a replica is to be loaded that would need them.
 */
void inbox_skip(struct inbox *in, uint8_t nic, uint64_t number);

/** inbox_is_due() - the replica has not been given this frame. */
bool inbox_is_due(const struct inbox *in, uint8_t nic, uint64_t number);

/** inbox_given() - the replica has been given all frames of @nic up to @number. */
void inbox_given(struct inbox *in, uint8_t nic, uint64_t number);

/** inbox_next() - the next kept frame behind @k (NULL: the first) that the replica has not been
 * given. */
struct kept *inbox_next(struct inbox *in, struct kept *k);

/** inbox_count_missed() - add to @losses what is gone that the replica would have to be given. */
void inbox_count_missed(struct inbox *in);

/** inbox_mark() - true when with this the marks of @epoch are all here. The same ones may come again;
 * others only after inbox_unmark(). */
bool inbox_mark(struct inbox *in, uint64_t epoch, uint8_t nic, uint64_t mark);

/** inbox_unmark() - forget the marks of @epoch unless it is committed. */
void inbox_unmark(struct inbox *in, uint64_t epoch);
bool inbox_is_marked(const struct inbox *in, uint64_t epoch);

void inbox_commit(struct inbox *in, uint64_t epoch);
void inbox_load(struct inbox *in, uint64_t epoch);

#endif
