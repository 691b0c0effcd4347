// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's data side after a reconnect: of what was sent, what has not arrived is sent again. */
#include "colod/checkpoint/tx-resume.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/checkpoint/chain.h"
#include "colod/checkpoint/tx-send.h"

#include <errno.h>
#include <inttypes.h>

static int read_bytes(struct tx *tx, void *buf, size_t len, struct err *e)
{
	int r = io_read_full(tx->fd, buf, len);

	if (r) {
		tx->link_failed = true;
		return err_errno(e, -r, "hearing from the secondary what it has received");
	}
	atomic_fetch_add(&tx->stats->bytes_received, len);
	return 0;
}

/* One RECV_BITMAP frame; its bits go into tx->written, which is free between two rounds. */
static int read_frame(struct tx *tx, struct wire_bitmap *b, struct err *e)
{
	uint8_t head[WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES];
	struct wire_header h;
	int r = read_bytes(tx, head, WIRE_HEADER_BYTES, e);

	if (!r)
		r = wire_decode_header(&h, head, e);
	if (!r && h.type != WIRE_RECV_BITMAP)
		r = err_set(e, EPROTO, "peer sent %s in place of RECV_BITMAP",
			    wire_type_name(h.type));
	if (!r)
		r = read_bytes(tx, head, WIRE_BITMAP_HEAD_BYTES, e);
	if (!r)
		r = wire_decode_bitmap_head(b, head, h.length, guest_pages(tx->guest), e);
	if (!r)
		r = read_bytes(tx, tx->bounce, wire_bitmap_bytes(b), e);
	if (!r)
		r = wire_decode_bitmap_bits(b, tx->bounce, &tx->written, e);
	return r;
}

_Static_assert(WIRE_BITMAP_PAGES_MAX / 8 <= WIRE_PAGES_MAX * PAGE_BYTES, "bounce is too small");

static int read_telling(struct tx *tx, struct wire_bitmap *b, struct err *e)
{
	uint64_t at = 0, npages = guest_pages(tx->guest);

	while (at < npages) {
		struct wire_bitmap part;
		int r = read_frame(tx, &part, e);

		if (r)
			return r;
		if (part.first != at || (at && !wire_bitmap_same_telling(b, &part)))
			return err_set(e, EPROTO, "peer sent RECV_BITMAP frames that do not fit");
		*b = part;
		at += part.count;
	}
	return 0;
}

static bool digest_is_known(const struct tx *tx, const struct wire_bitmap *b)
{
	if (!b->frames)
		return true;
	return b->frames <= tx->frames && tx->frames - b->frames < TX_DIGESTS &&
	       tx->digests[b->frames % TX_DIGESTS] == b->digest;
}

static bool has_arrived(const struct tx *tx, uint64_t page, uint64_t frames)
{
	return bitmap_test(&tx->written, page) && tx->sent_in[page] <= frames &&
	       tx->sent_in[page] != UINT32_MAX;
}

static void check_slots(struct tx *tx, uint64_t frames, struct tx_resumed *r)
{
	for (uint32_t slot = 0; slot < tx->outbox.used; slot++) {
		if (bitmap_test(&tx->unsent, slot))
			continue;
		if (has_arrived(tx, tx->outbox.page_of[slot], frames)) {
			r->saved_pages++;
			continue;
		}
		tx_mark_unsent(tx, slot);
		r->resent_pages++;
	}
}

/* What the first full copy has passed, and nobody has written since: it is in guest RAM only. */
static void check_copied(struct tx *tx, uint64_t frames, struct tx_resumed *r)
{
	for (uint64_t page = 0; page < tx->full_cursor; page++) {
		if (pagestore_find(&tx->outbox, page) != PAGESTORE_NONE ||
		    bitmap_test(&tx->missing, page))
			continue;
		if (has_arrived(tx, page, frames)) {
			r->saved_pages++;
			continue;
		}
		bitmap_set(&tx->missing, page);
		tx->missing_pages++;
		r->resent_pages++;
	}
}

/* All comes again. Within the first full copy from RAM: copies of what was written once would hide
 * that a page has changed back to them since. */
static void start_over(struct tx *tx, struct tx_resumed *r)
{
	if (tx->first) {
		r->resent_pages += tx->full_cursor;
		pagestore_reset(&tx->outbox);
		bitmap_zero(&tx->unsent);
		bitmap_zero(&tx->missing);
		tx->unsent_slots = tx->missing_pages = tx->full_cursor = 0;
		return;
	}
	r->resent_pages += tx->outbox.used - tx->unsent_slots;
	for (uint32_t slot = 0; slot < tx->outbox.used; slot++)
		tx_mark_unsent(tx, slot);
}

static void rebuild(struct tx *tx, const struct wire_bitmap *b, bool restart, struct tx_resumed *r)
{
	if (restart) {
		start_over(tx, r);
	} else {
		check_slots(tx, b->frames, r);
		if (tx->first)
			check_copied(tx, b->frames, r);
	}
	tx->frames = restart ? 0 : b->frames;
	tx->entries = tx->zero_entries = 0;
	tx->digests[tx->frames % TX_DIGESTS] = chain_begin(tx->hash, tx->frames, b->digest);
	atomic_store(&tx->left, tx_pages_left(tx));
}

static int send_resume(struct tx *tx, const struct tx_resumed *r, bool restart, struct err *e)
{
	struct wire_msg m = {.type = WIRE_RESUME, .epoch = r->epoch};
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];
	struct iovec iov = {.iov_base = buf};

	if (r->closed)
		m.flags |= WIRE_RESUME_CLOSED;
	if (restart)
		m.flags |= WIRE_RESUME_RESTART;
	iov.iov_len = wire_encode(&m, buf);
	return tx_write_iov(tx, &iov, 1, e);
}

static int refuse(const struct tx *tx, const struct wire_bitmap *b, struct err *e)
{
	return err_set(e, EPROTO,
		       "the secondary has committed epoch %" PRIu64 " and received %" PRIu64
		       " frames of epoch %" PRIu64
		       " (flags %u), which does not fit to our epoch %" PRIu64,
		       b->committed, b->frames, b->epoch, b->flags, tx->epoch);
}

int tx_resume(struct tx *tx, int fd, bool closed, bool sent, struct tx_resumed *r, struct err *e)
{
	bool restart = false, complete;
	struct wire_bitmap b = {};
	int ret;

	close_fd(&tx->fd);
	tx->fd = fd;
	tx->link_failed = false;
	*r = (struct tx_resumed){.epoch = tx->epoch};
	ret = read_telling(tx, &b, e);
	if (ret)
		return ret;
	complete = b.flags & WIRE_RECV_COMPLETE;
	if (b.committed == tx->epoch && b.epoch == tx->epoch + 1) {
		if (!sent || b.flags || b.frames)
			return refuse(tx, &b, e);
		r->epoch++;
		r->committed = true;
	} else if (b.committed + 1 == tx->epoch && b.epoch == tx->epoch) {
		if (!(b.flags & WIRE_RECV_DIRECT) != !tx->first || (complete && !sent))
			return refuse(tx, &b, e);
		restart = !complete && !digest_is_known(tx, &b);
		if (!complete)
			rebuild(tx, &b, restart, r);
		r->complete = complete;
		r->closed = closed && tx_full_copy_done(tx);
	} else {
		return refuse(tx, &b, e);
	}
	if (r->committed || r->complete)
		r->saved_pages = tx->outbox.used;
	return send_resume(tx, r, restart, e);
}
