/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's data side: collect dirty pages, copy them, send them. Runs on the worker thread. */
#ifndef CHECKPOINT_TX_H
#define CHECKPOINT_TX_H

#include "base/bitmap.h"
#include "colod/checkpoint/ckpt.h"
#include "colod/core/pagestore.h"
#include "colod/core/wire-bulk.h"

#include <stdatomic.h>
#include <xxhash.h>

struct fingerprints;

/**
 * struct tx - everything that leaves for the secondary goes through here
 * @outbox: copies of the pages that the epoch in progress has written; kept until RECEIVED
 * @unsent: slots of @outbox whose present content has not left yet
 * @full_cursor: next page of the first full copy; npages when it is done. These pages are sent
 * straight from a bounce buffer: the outbox holds what was written since, never all RAM
 * @missing: pages before @full_cursor, not in @outbox, that were sent and have not arrived
 * @sent_in: page -> the frame, counted from the epoch's start, that its present content left in;
 * UINT32_MAX: one that cannot be told. Means nothing for a page that was not sent in this epoch
 * @digests: ring, by number of frames: XXH3 after that frame, as the receiver computes it
 * @first: the epoch is the first full copy
 * @hurry:  set by the loop: a round in progress ends at the next frame
 * @left:   tx_pages_left(), for the loop
 */
struct tx {
	const struct guest *guest;
	struct tracker *tracker;
	struct ckpt_stats *stats;
	struct pagestore outbox;
	struct bitmap unsent;
	struct bitmap written; /* scratch: what the tracker reported */
	uint64_t unsent_slots;
	uint64_t full_cursor;
	struct bitmap missing;
	uint64_t missing_pages;
	struct fingerprints *fingerprints; /* NULL unless host pages are larger than 4 KB */
	uint8_t *bounce;
	int fd; /* bulk channel, blocking; owned */
	uint64_t epoch;
	struct wire_pages frame;
	const uint8_t *frame_data[WIRE_PAGES_MAX];
	uint8_t frame_head[WIRE_PAGES_FRAME_HEAD_MAX];
	XXH3_state_t *hash;
	uint64_t entries, zero_entries; /* since the last SEND or RESUME */
	uint64_t frames;                /* PAGES frames since the epoch's start */
	uint32_t *sent_in;
	uint64_t *digests;
	bool first;
	uint64_t *page_hashes; /* of all RAM, for a verify; until it is committed */
	bool link_failed;      /* the last error came from the socket */
	atomic_bool hurry;
	atomic_uint_fast64_t left;
};

#define TX_DIGESTS 65536

/** struct tx_round - what a round or a capture did. */
struct tx_round {
	uint64_t taken; /* pages that were new or changed */
	uint64_t scan_us, copy_us;
};

int tx_init(struct tx *tx, const struct guest *g, struct tracker *t, struct ckpt_stats *stats,
	    struct err *e);
void tx_destroy(struct tx *tx);

/** tx_open() - begin a session on @fd (taken over). @full: all RAM has to be copied first. */
int tx_open(struct tx *tx, int fd, uint64_t epoch, bool full, struct err *e);

/** tx_close() - end the session and give the outbox's memory back. */
void tx_close(struct tx *tx);

/** tx_round() - one pre-copy round: collect, copy, and send up to @budget_bytes while the guest
 * runs. */
int tx_round(struct tx *tx, uint64_t budget_bytes, struct tx_round *r, struct err *e);

/** tx_prepare() - repeat local copies while the guest runs until little is left to copy after the
 * stop. */
int tx_prepare(struct tx *tx, struct err *e);

/** tx_drain() - send while the guest runs until little is left to send: before a stop that lasts
 * until all has arrived. */
int tx_drain(struct tx *tx, struct err *e);

/** tx_capture() - the guest stands still: copy the last written pages. */
int tx_capture(struct tx *tx, struct tx_round *r, struct err *e);

/** tx_hash_ram() - the guest stands still: hash every page, for tx_finish() to send. */
int tx_hash_ram(struct tx *tx, struct err *e);

/** tx_finish() - send what is unsent, @devices_bytes of the guest's device state file, and SEND. */
int tx_finish(struct tx *tx, uint32_t flags, uint64_t devices_bytes, struct err *e);

/** tx_committed() - RECEIVED came: the outbox is empty, the next epoch begins. */
void tx_committed(struct tx *tx);

static inline bool tx_full_copy_done(const struct tx *tx)
{
	return tx->full_cursor >= guest_pages(tx->guest) && !tx->missing_pages;
}

/** tx_pages_left() - pages whose present content has not left yet, as far as is known. */
static inline uint64_t tx_pages_left(const struct tx *tx)
{
	return guest_pages(tx->guest) - MIN(tx->full_cursor, guest_pages(tx->guest)) +
	       tx->missing_pages + tx->unsent_slots;
}

#endif
