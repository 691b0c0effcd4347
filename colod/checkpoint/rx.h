/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The secondary's receiving side: a thread that fills the stage from the bulk channel. */
#ifndef CHECKPOINT_RX_H
#define CHECKPOINT_RX_H

#include "base/bitmap.h"
#include "base/mailbox.h"
#include "colod/checkpoint/ckpt.h"
#include "colod/core/pagestore.h"
#include "colod/core/wire-bulk.h"

#include <pthread.h>
#include <xxhash.h>

/**
 * struct replica - the memory side of a secondary
 * @stage: pages of the epoch being received; invisible to the guest until it is committed (S2)
 * @cache: the last committed checkpoint of all RAM, from which the guest's own writes are reverted
 * @devices, @devices_bytes: device state of the epoch in the stage
 * @direct: first full copy: nothing is committed yet, pages go straight into cache and guest RAM
 * @page_hashes: of all RAM as the primary saw it; NULL unless the epoch is to be verified
 */
struct replica {
	const struct guest *guest;
	struct pagestore stage;
	uint8_t *cache;
	uint8_t *devices;
	uint64_t devices_bytes;
	bool direct;
	uint64_t *page_hashes;
};

/** struct rx_report - the thread's word to the loop: an epoch stands complete in the stage, the
 * session has been resumed, or an error. */
struct rx_report {
	struct mail mail;
	bool resumed; /* @send is RESUME */
	int status; /* 0, or -errno: -EPROTO and -EBADMSG are the peer's fault, others a broken link
		     */
	struct wire_msg send;
	struct err err;
};

/**
 * struct rx - the thread; between reporting an epoch and rx_continue() it does not touch the
 * replica, so that the loop's side can apply it.
 * @received: pages of the epoch that came whole
 * @frames, @digest: PAGES frames of it that came whole, XXH3 after the last one
 * @complete: SEND has come and passed; the thread waits for rx_continue()
 * @gos, @gos_taken: the loop's calls of rx_continue(), those that were carried out
 */
struct rx {
	struct replica *replica;
	struct ckpt_stats *stats;
	struct mailbox to_loop, to_thread;
	struct loop_src *src;
	struct rx_report report, resumed;
	struct mail go, stop;
	void (*on_report)(void *arg, struct rx_report *r);
	void *arg;
	pthread_t thread;
	bool running;
	int fd;
	uint64_t epoch;                 /* being received */
	uint64_t entries, zero_entries; /* since its start or the last RESUME */
	uint64_t frames, digest;
	struct bitmap received;
	bool complete;
	uint64_t gos, gos_taken;
	XXH3_state_t *hash;
	struct wire_pages frame;
	uint8_t entry_buf[8 * WIRE_PAGES_MAX];
	/* A run that begins with a resume, see rx-resume.c. */
	bool resuming, was_resumed; /* @was_resumed: since the epoch's start */
	bool waits;                 /* the epoch in the stage is committed, and being applied */
	uint8_t *bits;
};

/** rx_init() - @on_report is called on the loop of @env. */
int rx_init(struct rx *rx, const struct ckpt_env *env, struct replica *replica,
	    void (*on_report)(void *arg, struct rx_report *r), void *arg, struct err *e);
void rx_destroy(struct rx *rx);

/** rx_start() - receive epochs from @epoch on from @fd (blocking, taken over also on error). */
int rx_start(struct rx *rx, int fd, uint64_t epoch, struct err *e);

/** rx_continue() - the reported epoch is applied: empty the stage and receive the next. */
void rx_continue(struct rx *rx);

/**
 * rx_suspend() - the connection is lost: end the thread, which takes no time, and close the
 * connection. What was received stays; no report comes afterwards.
 */
void rx_suspend(struct rx *rx);

/**
 * rx_resume() - go on over @fd (blocking, taken over also on error) after rx_suspend(): tell the
 * primary what has come, wait for its RESUME, report that, and receive as before. @committed: the last
 * epoch committed.
 */
int rx_resume(struct rx *rx, int fd, uint64_t committed, struct err *e);

/** rx_stop() - end the thread; at once, the socket is shut down. No report comes afterwards. */
void rx_stop(struct rx *rx);

/** rx_detach() - end the thread between rx_report and rx_continue(), leaving the socket open; its
 * descriptor. */
int rx_detach(struct rx *rx);

#endif
