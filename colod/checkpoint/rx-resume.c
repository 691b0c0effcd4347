// SPDX-License-Identifier: GPL-2.0-or-later
/* The receiving thread over a new connection: it tells what has come, and hears how the session goes on. */
#include "colod/checkpoint/rx-priv.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/checkpoint/chain.h"

#include <errno.h>
#include <inttypes.h>

static int write_bytes(struct rx *rx, const void *buf, size_t len, struct err *e)
{
	int r = io_write_full(rx->fd, buf, len);

	if (r)
		return err_errno(e, -r, "bulk connection");
	atomic_fetch_add(&rx->stats->bytes_sent, len);
	return 0;
}

/* While a committed epoch is being applied, nothing has come of the next one. */
static struct wire_bitmap describe(const struct rx *rx)
{
	struct wire_bitmap b = {.committed = rx->epoch, .epoch = rx->epoch + 1};

	if (rx->waits)
		return b;
	b = (struct wire_bitmap){.committed = rx->epoch - 1,
				 .epoch = rx->epoch,
				 .frames = rx->frames,
				 .digest = rx->digest};
	if (rx->complete)
		b.flags |= WIRE_RECV_COMPLETE;
	if (rx->replica->direct)
		b.flags |= WIRE_RECV_DIRECT;
	return b;
}

static int tell(struct rx *rx, struct wire_bitmap *b, struct err *e)
{
	uint64_t npages = guest_pages(rx->replica->guest);
	uint8_t head[WIRE_HEADER_BYTES + WIRE_BITMAP_HEAD_BYTES];
	int r = 0;

	for (b->first = 0; !r && wire_bitmap_cut(b, npages); b->first += b->count) {
		r = write_bytes(rx, head, wire_encode_bitmap_head(b, head), e);
		wire_encode_bitmap_bits(b, rx->waits ? NULL : &rx->received, rx->bits);
		if (!r)
			r = write_bytes(rx, rx->bits, wire_bitmap_bytes(b), e);
	}
	return r;
}

static int hear(struct rx *rx, const struct wire_bitmap *told, struct wire_msg *m, struct err *e)
{
	uint8_t buf[WIRE_MSG_MAX_BYTES];
	struct wire_header h;
	int r = rx_read_bytes(rx, buf, WIRE_HEADER_BYTES, e);

	if (!r)
		r = wire_decode_header(&h, buf, e);
	if (!r && h.type != WIRE_RESUME)
		r = err_set(e, EPROTO, "peer sent %s in place of RESUME", wire_type_name(h.type));
	if (!r)
		r = rx_read_bytes(rx, buf, h.length, e);
	if (!r)
		r = wire_decode(m, &h, buf, e);
	if (r)
		return r;
	if (m->epoch != told->epoch)
		return err_set(e, EPROTO,
			       "peer resumes epoch %" PRIu64 " while epoch %" PRIu64 " is open",
			       m->epoch, told->epoch);
	if ((told->flags & WIRE_RECV_COMPLETE) &&
	    (m->flags & (WIRE_RESUME_CLOSED | WIRE_RESUME_RESTART)) != WIRE_RESUME_CLOSED)
		return err_set(e, EPROTO, "peer takes epoch %" PRIu64 " back, which it has closed",
			       m->epoch);
	return 0;
}

/* What a frame brought in part stays where it is: the page is not marked, so it comes again. */
static void go_on(struct rx *rx, bool restart)
{
	if (restart) {
		rx_begin_epoch(rx, rx->epoch);
	} else {
		rx->digest = chain_begin(rx->hash, rx->frames, rx->digest);
		rx->entries = rx->zero_entries = 0;
		rx->replica->devices_bytes = 0;
	}
	rx->was_resumed = true;
}

int rx_shake_hands(struct rx *rx, struct err *e)
{
	struct wire_bitmap b = describe(rx);
	int r = tell(rx, &b, e);

	if (!r)
		r = hear(rx, &b, &rx->resumed.send, e);
	if (r)
		return r;
	if (!rx->complete)
		go_on(rx, rx->resumed.send.flags & WIRE_RESUME_RESTART);
	mailbox_post(&rx->to_loop, &rx->resumed.mail);
	return 0;
}

int rx_check_whole(struct rx *rx, struct err *e)
{
	const struct replica *rep = rx->replica;
	uint64_t torn = 0;

	if (!rx->was_resumed)
		return 0;
	if (rep->direct)
		torn = guest_pages(rep->guest) - bitmap_count(&rx->received);
	for (uint32_t slot = 0; slot < rep->stage.used; slot++)
		torn += !bitmap_test(&rx->received, rep->stage.page_of[slot]);
	if (torn)
		return err_set(e, EBADMSG,
			       "epoch %" PRIu64 " came in part: %" PRIu64 " pages are missing",
			       rx->epoch, torn);
	return 0;
}

int rx_resume(struct rx *rx, int fd, uint64_t committed, struct err *e)
{
	rx->resuming = true;
	rx->waits = rx->complete && rx->epoch == committed;
	return rx_run(rx, fd, e);
}
