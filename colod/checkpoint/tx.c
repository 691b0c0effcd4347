// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's data side: which pages changed, and local copies of them. Sending is in tx-send.c.
 */
#include "colod/checkpoint/tx.h"

#include "base/cleanup.h"
#include "colod/checkpoint/chain.h"
#include "colod/checkpoint/fingerprint.h"
#include "colod/checkpoint/tx-send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The guest is stopped when a local round found no more than this: 1 MB copies in about 0.2 ms. */
#define PREPARE_GOOD_PAGES 256
#define PREPARE_MAX_ROUNDS 8

int tx_init(struct tx *tx, const struct guest *g, struct tracker *t, struct ckpt_stats *stats,
	    struct err *e)
{
	uint64_t npages = guest_pages(g);
	int r;

	memset(tx, 0, sizeof(*tx));
	tx->fd = -1;
	tx->guest = g;
	tx->tracker = t;
	tx->stats = stats;
	r = pagestore_init(&tx->outbox, npages, e);
	if (!r && g->host_page_bytes > PAGE_BYTES)
		r = fingerprints_new(&tx->fingerprints, npages, e);
	if (r)
		goto fail;
	tx->bounce = malloc(WIRE_PAGES_MAX * PAGE_BYTES);
	tx->hash = XXH3_createState();
	tx->sent_in = calloc(npages, sizeof(tx->sent_in[0]));
	tx->digests = calloc(TX_DIGESTS, sizeof(tx->digests[0]));
	if (!tx->bounce || !tx->hash || !tx->sent_in || !tx->digests ||
	    bitmap_init(&tx->unsent, npages) || bitmap_init(&tx->written, npages) ||
	    bitmap_init(&tx->missing, npages)) {
		r = err_errno(e, ENOMEM, "send side of the checkpoint engine");
		goto fail;
	}
	return 0;
fail:
	tx_destroy(tx);
	return r;
}

void tx_destroy(struct tx *tx)
{
	close_fd(&tx->fd);
	pagestore_destroy(&tx->outbox);
	bitmap_destroy(&tx->unsent);
	bitmap_destroy(&tx->written);
	bitmap_destroy(&tx->missing);
	fingerprints_free(tx->fingerprints);
	free(tx->bounce);
	free(tx->sent_in);
	free(tx->digests);
	free(tx->page_hashes);
	XXH3_freeState(tx->hash);
	memset(tx, 0, sizeof(*tx));
	tx->fd = -1;
}

static void start_epoch(struct tx *tx, uint64_t epoch)
{
	tx->epoch = epoch;
	tx->entries = tx->zero_entries = 0;
	tx->unsent_slots = 0;
	tx->frames = 0;
	tx->digests[0] = chain_begin(tx->hash, 0, 0);
}

int tx_open(struct tx *tx, int fd, uint64_t epoch, bool full, struct err *e)
{
	tx->fd = fd;
	tx->link_failed = false;
	tx->full_cursor = full ? 0 : guest_pages(tx->guest);
	pagestore_reset(&tx->outbox);
	bitmap_zero(&tx->unsent);
	bitmap_zero(&tx->written);
	bitmap_zero(&tx->missing);
	tx->missing_pages = 0;
	tx->first = full;
	start_epoch(tx, epoch);
	/* After a switch-over the tracker goes on: what the load itself wrote belongs to the first
	 * epoch. */
	return full ? tracker_arm(tx->tracker, e) : 0;
}

void tx_close(struct tx *tx)
{
	close_fd(&tx->fd);
	pagestore_release(&tx->outbox);
	free(steal_ptr(&tx->page_hashes));
}

void tx_committed(struct tx *tx)
{
	pagestore_reset(&tx->outbox);
	bitmap_zero(&tx->unsent);
	free(steal_ptr(&tx->page_hashes));
	tx->first = false;
	start_epoch(tx, tx->epoch + 1);
}

void tx_mark_unsent(struct tx *tx, uint32_t slot)
{
	if (bitmap_test(&tx->unsent, slot))
		return;
	bitmap_set(&tx->unsent, slot);
	tx->unsent_slots++;
}

/*
 * Copy one page that the tracker reported, unless it is what was copied or sent already. The guest
 * may write while we copy: a torn page is reported again, and the copy that counts is made while
 * the guest stands still. Returns whether the page was taken.
 */
static bool take_page(struct tx *tx, uint64_t page)
{
	const uint8_t *src = tx->guest->ram + (page << PAGE_SHIFT);
	uint32_t slot = pagestore_find(&tx->outbox, page);
	bool fresh = slot == PAGESTORE_NONE;

	if (!fresh && !memcmp(pagestore_data(&tx->outbox, slot), src, PAGE_BYTES))
		return false;
	slot = pagestore_slot(&tx->outbox, page);
	memcpy(pagestore_data(&tx->outbox, slot), src, PAGE_BYTES);
	if (tx->fingerprints &&
	    !fingerprints_update(tx->fingerprints, page, pagestore_data(&tx->outbox, slot)) &&
	    fresh) {
		pagestore_unslot(&tx->outbox, page);
		return false;
	}
	tx_mark_unsent(tx, slot);
	if (tx->missing_pages && bitmap_test(&tx->missing, page)) {
		bitmap_clear(&tx->missing, page);
		tx->missing_pages--;
	}
	return true;
}

/* Pages beyond the cursor of the first full copy are still to come anyway. */
static uint64_t take_written(struct tx *tx)
{
	uint64_t taken = 0;

	for (uint64_t p = bitmap_next(&tx->written, 0); p < tx->full_cursor;
	     p = bitmap_next(&tx->written, p + 1))
		taken += take_page(tx, p);
	return taken;
}

static int collect_and_take(struct tx *tx, bool stopped, struct tx_round *r, struct err *e)
{
	uint64_t t0 = clock_now_us(), t1;
	int ret;

	bitmap_zero(&tx->written);
	ret = tracker_collect(tx->tracker, stopped, &tx->written, e);
	if (ret)
		return ret;
	t1 = clock_now_us();
	r->taken = take_written(tx);
	atomic_store(&tx->left, tx_pages_left(tx));
	r->scan_us = t1 - t0;
	r->copy_us = clock_now_us() - t1;
	return 0;
}

/* Half of a bounded round is the first full copy's, so that it ends however fast the guest writes. */
int tx_round(struct tx *tx, uint64_t budget_bytes, struct tx_round *r, struct err *e)
{
	uint64_t written_bytes = tx_full_copy_done(tx) ? budget_bytes : budget_bytes / 2;
	uint64_t rest_bytes = budget_bytes - written_bytes;
	int ret = collect_and_take(tx, false, r, e);

	atomic_fetch_add(&tx->stats->precopy_rounds, 1);
	if (!ret)
		ret = tx_send_unsent(tx, &written_bytes, true, e);
	rest_bytes += written_bytes;
	if (!ret)
		ret = tx_send_full(tx, &rest_bytes, e);
	return ret;
}

int tx_drain(struct tx *tx, struct err *e)
{
	for (int i = 0; i < PREPARE_MAX_ROUNDS; i++) {
		uint64_t no_bound = UINT64_MAX;
		struct tx_round r = {};
		int ret = collect_and_take(tx, false, &r, e);

		if (!ret)
			ret = tx_send_unsent(tx, &no_bound, false, e);
		if (ret)
			return ret;
		if (r.taken <= PREPARE_GOOD_PAGES)
			break;
	}
	return 0;
}

int tx_prepare(struct tx *tx, struct err *e)
{
	uint64_t before = UINT64_MAX;

	for (int i = 0; i < PREPARE_MAX_ROUNDS; i++) {
		struct tx_round r = {};
		int ret = collect_and_take(tx, false, &r, e);

		if (ret)
			return ret;
		if (r.taken <= PREPARE_GOOD_PAGES || r.taken > before / 4 * 3)
			break;
		before = r.taken;
	}
	return 0;
}

int tx_capture(struct tx *tx, struct tx_round *r, struct err *e)
{
	return collect_and_take(tx, true, r, e);
}

int tx_hash_ram(struct tx *tx, struct err *e)
{
	uint64_t npages = guest_pages(tx->guest);

	if (!tx->page_hashes)
		tx->page_hashes = calloc(npages, sizeof(tx->page_hashes[0]));
	if (!tx->page_hashes)
		return err_errno(e, ENOMEM, "verify");
	for (uint64_t p = 0; p < npages; p++)
		tx->page_hashes[p] = XXH3_64bits(tx->guest->ram + (p << PAGE_SHIFT), PAGE_BYTES);
	return 0;
}
