// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's receiving thread: every frame is checked before it touches the replica. */
#include "colod/checkpoint/rx-priv.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/thread.h"
#include "colod/checkpoint/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int rx_read_bytes(struct rx *rx, void *buf, size_t len, struct err *e)
{
	int r = io_read_full(rx->fd, buf, len);

	if (r)
		return err_errno(e, -r, "bulk connection");
	atomic_fetch_add(&rx->stats->bytes_received, len);
	return 0;
}

static int check_epoch(struct rx *rx, uint64_t epoch, const char *what, struct err *e)
{
	if (epoch == rx->epoch)
		return 0;
	return err_set(e, EPROTO,
		       "peer sent %s of epoch %" PRIu64 " while epoch %" PRIu64 " is open", what,
		       epoch, rx->epoch);
}

/* Where the data of @page is received: the stage, or the cache while nothing is committed yet. */
static uint8_t *page_place(struct replica *rep, uint64_t page)
{
	if (rep->direct)
		return rep->cache + (page << PAGE_SHIFT);
	return pagestore_data(&rep->stage, pagestore_slot(&rep->stage, page));
}

/* A page of zeros that never held anything else must not cost memory. */
static void put_zero(struct replica *rep, uint64_t page)
{
	uint8_t *p = page_place(rep, page);

	if (!page_is_zero(p))
		memset(p, 0, PAGE_BYTES);
}

/* While direct, the guest stands still and may as well see the pages at once. */
static void put_direct(struct replica *rep, const struct wire_pages *f)
{
	for (uint32_t i = 0; i < f->count; i++) {
		uint64_t at = (f->entries[i] & ~WIRE_ZERO_PAGE) << PAGE_SHIFT;

		if (memcmp(rep->guest->ram + at, rep->cache + at, PAGE_BYTES))
			memcpy(rep->guest->ram + at, rep->cache + at, PAGE_BYTES);
	}
}

static int receive_page_data(struct rx *rx, struct err *e)
{
	struct iovec iov[WIRE_PAGES_MAX];
	const uint8_t *data[WIRE_PAGES_MAX];
	int n = 0, r;

	for (uint32_t i = 0; i < rx->frame.count; i++) {
		uint64_t entry = rx->frame.entries[i];

		if (entry & WIRE_ZERO_PAGE) {
			put_zero(rx->replica, entry & ~WIRE_ZERO_PAGE);
			continue;
		}
		data[n] = page_place(rx->replica, entry);
		iov[n] = (struct iovec){(void *)(uintptr_t)data[n], PAGE_BYTES};
		n++;
	}
	r = io_readv_full(rx->fd, iov, n);
	if (r)
		return err_errno(e, -r, "bulk connection");
	atomic_fetch_add(&rx->stats->bytes_received, (uint64_t)n * PAGE_BYTES);
	for (int i = 0; i < n; i++)
		XXH3_64bits_update(rx->hash, data[i], PAGE_BYTES);
	return 0;
}

static int receive_pages(struct rx *rx, uint32_t length, struct err *e)
{
	uint8_t head[WIRE_PAGES_HEAD_BYTES];
	struct wire_pages *f = &rx->frame;
	int r = rx_read_bytes(rx, head, sizeof(head), e);

	if (!r)
		r = wire_decode_pages_head(f, head, length, e);
	if (!r)
		r = check_epoch(rx, f->epoch, "PAGES", e);
	if (!r)
		r = rx_read_bytes(rx, rx->entry_buf, 8ul * f->count, e);
	if (!r)
		r = wire_decode_pages_entries(f, rx->entry_buf, length,
					      guest_pages(rx->replica->guest), e);
	if (r)
		return r;
	XXH3_64bits_update(rx->hash, head, sizeof(head));
	XXH3_64bits_update(rx->hash, rx->entry_buf, 8ul * f->count);
	for (uint32_t i = 0; i < f->count; i++)
		bitmap_clear(&rx->received, f->entries[i] & ~WIRE_ZERO_PAGE);
	r = receive_page_data(rx, e);
	if (r)
		return r;
	for (uint32_t i = 0; i < f->count; i++)
		bitmap_set(&rx->received, f->entries[i] & ~WIRE_ZERO_PAGE);
	rx->frames++;
	rx->digest = XXH3_64bits_digest(rx->hash);
	if (rx->replica->direct)
		put_direct(rx->replica, f);
	rx->entries += f->count;
	rx->zero_entries += f->count - f->data_pages;
	return 0;
}

static int receive_hashes(struct rx *rx, uint32_t length, struct err *e)
{
	uint64_t npages = guest_pages(rx->replica->guest);
	uint8_t head[WIRE_HASHES_HEAD_BYTES];
	struct wire_hashes h;
	int r = rx_read_bytes(rx, head, sizeof(head), e);

	if (!r)
		r = wire_decode_hashes_head(&h, head, length, npages, e);
	if (!r)
		r = check_epoch(rx, h.epoch, "HASHES", e);
	if (r)
		return r;
	if (!rx->replica->page_hashes)
		rx->replica->page_hashes = calloc(npages, 8);
	if (!rx->replica->page_hashes)
		return err_errno(e, ENOMEM, "verify");
	r = rx_read_bytes(rx, rx->replica->page_hashes + h.first, 8ul * h.count, e);
	for (uint64_t i = h.first; !r && i < h.first + h.count; i++)
		rx->replica->page_hashes[i] = get_be64((uint8_t *)&rx->replica->page_hashes[i]);
	return r;
}

static int receive_devices(struct rx *rx, uint32_t length, struct err *e)
{
	uint64_t bytes = length - WIRE_DEVICES_HEAD_BYTES;
	uint8_t head[WIRE_DEVICES_HEAD_BYTES];
	int r = rx_read_bytes(rx, head, sizeof(head), e);

	if (!r)
		r = check_epoch(rx, get_be64(head), "DEVICES", e);
	if (r)
		return r;
	if (bytes > rx->replica->guest->vmstate_max_bytes)
		return err_set(e, EPROTO,
			       "peer sent %" PRIu64 " bytes of device state, at most %" PRIu64
			       " fit",
			       bytes, rx->replica->guest->vmstate_max_bytes);
	r = rx_read_bytes(rx, rx->replica->devices, bytes, e);
	if (r)
		return r;
	XXH3_64bits_update(rx->hash, rx->replica->devices, bytes);
	rx->replica->devices_bytes = bytes;
	return 0;
}

/* The commit stands on this: everything that was sent has come, once, unaltered. */
static int check_send(struct rx *rx, const struct wire_msg *m, struct err *e)
{
	uint8_t seal[WIRE_SEAL_BYTES];
	uint64_t checksum;
	int r = check_epoch(rx, m->epoch, "SEND", e);

	if (r)
		return r;
	if (m->entries != rx->entries || m->zero_entries != rx->zero_entries ||
	    m->devices_bytes != rx->replica->devices_bytes)
		return err_set(e, EBADMSG,
			       "epoch %" PRIu64 " came in part: %" PRIu64 " of %" PRIu64
			       " pages, %" PRIu64 " of %" PRIu64 " bytes of device state",
			       m->epoch, rx->entries, m->entries, rx->replica->devices_bytes,
			       m->devices_bytes);
	wire_encode_seal(m, seal);
	XXH3_64bits_update(rx->hash, seal, sizeof(seal));
	checksum = XXH3_64bits_digest(rx->hash);
	if (m->checksum != checksum)
		return err_set(e, EBADMSG,
			       "epoch %" PRIu64 " arrived damaged: checksum %016" PRIx64
			       ", expected %016" PRIx64,
			       m->epoch, checksum, m->checksum);
	return rx_check_whole(rx, e);
}

/* 1: an epoch is complete and in the report, 0: go on. */
static int receive_frame(struct rx *rx, struct err *e)
{
	uint8_t buf[WIRE_MSG_MAX_BYTES];
	struct wire_header h;
	int r = rx_read_bytes(rx, buf, WIRE_HEADER_BYTES, e);

	if (!r)
		r = wire_decode_header(&h, buf, e);
	if (r)
		return r;
	switch (h.type) {
	case WIRE_PAGES:
		return receive_pages(rx, h.length, e);
	case WIRE_HASHES:
		return receive_hashes(rx, h.length, e);
	case WIRE_DEVICES:
		return receive_devices(rx, h.length, e);
	case WIRE_SEND:
		r = rx_read_bytes(rx, buf, h.length, e);
		if (!r)
			r = wire_decode(&rx->report.send, &h, buf, e);
		if (!r)
			r = check_send(rx, &rx->report.send, e);
		return r ? r : 1;
	default:
		return err_set(e, EPROTO, "peer sent %s on the bulk connection",
			       wire_type_name(h.type));
	}
}

void rx_begin_epoch(struct rx *rx, uint64_t epoch)
{
	pagestore_reset(&rx->replica->stage);
	rx->epoch = epoch;
	rx->entries = rx->zero_entries = 0;
	rx->frames = 0;
	rx->complete = rx->was_resumed = false;
	bitmap_zero(&rx->received);
	rx->replica->devices_bytes = 0;
	rx->digest = chain_begin(rx->hash, 0, 0);
}

static void *rx_main(void *arg)
{
	struct rx *rx = arg;
	int r;

	r = rx->resuming ? rx_shake_hands(rx, &rx->report.err) : 0;
	for (;;) {
		while (!r && !rx->complete)
			r = receive_frame(rx, &rx->report.err);
		/* Of an epoch that was complete before the link broke the loop has heard. */
		if (r) {
			rx->complete |= r > 0;
			rx->report.status = MIN(r, 0);
			mailbox_post(&rx->to_loop, &rx->report.mail);
		}
		if (mailbox_wait(&rx->to_thread) == &rx->stop || r < 0)
			return NULL;
		rx->gos_taken++;
		rx_begin_epoch(rx, rx->epoch + 1);
		r = 0;
	}
}

static void on_mail(void *arg, int fd, uint32_t revents)
{
	struct rx *rx = arg;
	struct mail *m = mailbox_take(&rx->to_loop);

	(void)fd;
	(void)revents;
	if (m)
		rx->on_report(rx->arg, container_of(m, struct rx_report, mail));
}

int rx_init(struct rx *rx, const struct ckpt_env *env, struct replica *replica,
	    void (*on_report)(void *arg, struct rx_report *r), void *arg, struct err *e)
{
	int r;

	memset(rx, 0, sizeof(*rx));
	rx->fd = rx->to_loop.event_fd = rx->to_thread.event_fd = -1;
	rx->replica = replica;
	rx->stats = env->stats;
	rx->on_report = on_report;
	rx->arg = arg;
	rx->resumed.resumed = true;
	rx->hash = XXH3_createState();
	rx->bits = malloc(WIRE_BITMAP_PAGES_MAX / 8);
	if (!rx->hash || !rx->bits || bitmap_init(&rx->received, guest_pages(replica->guest)))
		return err_errno(e, ENOMEM, "receive side of the checkpoint engine");
	r = mailbox_init(&rx->to_loop, e);
	if (!r)
		r = mailbox_init(&rx->to_thread, e);
	if (!r)
		r = loop_add_io(env->loop, &rx->src, rx->to_loop.event_fd, EPOLLIN, on_mail, rx);
	return r;
}

void rx_destroy(struct rx *rx)
{
	rx_stop(rx);
	loop_src_free(&rx->src);
	mailbox_destroy(&rx->to_loop);
	mailbox_destroy(&rx->to_thread);
	XXH3_freeState(rx->hash);
	bitmap_destroy(&rx->received);
	free(rx->bits);
	rx->hash = NULL;
}

int rx_run(struct rx *rx, int fd, struct err *e)
{
	int r;

	rx->fd = fd;
	r = thread_start(&rx->thread, "colod-rx", rx_main, rx);
	if (r) {
		close_fd(&rx->fd);
		return err_errno(e, -r, "cannot start the receiving thread");
	}
	rx->running = true;
	return 0;
}

int rx_start(struct rx *rx, int fd, uint64_t epoch, struct err *e)
{
	rx->resuming = false;
	rx->gos = rx->gos_taken = 0;
	rx_begin_epoch(rx, epoch);
	return rx_run(rx, fd, e);
}

/* What the loop has said to a thread that did not come to it, or to none. */
static void catch_up(struct rx *rx)
{
	if (rx->gos == rx->gos_taken)
		return;
	rx->gos_taken = rx->gos;
	rx_begin_epoch(rx, rx->epoch + 1);
}

void rx_continue(struct rx *rx)
{
	rx->gos++;
	if (rx->running)
		mailbox_post(&rx->to_thread, &rx->go);
	else
		catch_up(rx);
}

static void join(struct rx *rx)
{
	mailbox_post(&rx->to_thread, &rx->stop);
	pthread_join(rx->thread, NULL);
	rx->running = false;
	/* What was posted but not taken belongs to a session that is over. */
	while (mailbox_take(&rx->to_loop) || mailbox_take(&rx->to_thread))
		;
}

void rx_stop(struct rx *rx)
{
	if (!rx->running)
		return;
	shutdown(rx->fd, SHUT_RDWR);
	join(rx);
	close_fd(&rx->fd);
}

void rx_suspend(struct rx *rx)
{
	if (!rx->running)
		return;
	rx_stop(rx);
	catch_up(rx);
}

int rx_detach(struct rx *rx)
{
	join(rx);
	return steal_fd(&rx->fd);
}
