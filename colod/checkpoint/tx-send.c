// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames onto the bulk channel: page data goes from the outbox to the socket without another copy.
 */
#include "colod/checkpoint/tx-send.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "colod/checkpoint/fingerprint.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int tx_write_iov(struct tx *tx, struct iovec *iov, int n, struct err *e)
{
	uint64_t bytes = 0;
	int r;

	for (int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	r = io_writev_full(tx->fd, iov, n);
	if (r) {
		tx->link_failed = true;
		return err_errno(e, -r, "sending to the secondary");
	}
	atomic_fetch_add(&tx->stats->bytes_sent, bytes);
	return 0;
}

/* Noted before it leaves: what leaves in part has to be sent again. */
static void note_frame(struct tx *tx)
{
	uint32_t number;

	tx->frames++;
	number = (uint32_t)MIN(tx->frames, UINT32_MAX);
	for (uint32_t i = 0; i < tx->frame.count; i++)
		tx->sent_in[tx->frame.entries[i] & ~WIRE_ZERO_PAGE] = number;
	tx->digests[tx->frames % TX_DIGESTS] = XXH3_64bits_digest(tx->hash);
}

static int flush_frame(struct tx *tx, struct err *e)
{
	struct iovec iov[1 + WIRE_PAGES_MAX];
	struct wire_pages *f = &tx->frame;
	size_t head;
	int n = 1;

	if (!f->count)
		return 0;
	f->epoch = tx->epoch;
	head = wire_encode_pages(f, tx->frame_head);
	XXH3_64bits_update(tx->hash, tx->frame_head + WIRE_HEADER_BYTES, head - WIRE_HEADER_BYTES);
	iov[0] = (struct iovec){tx->frame_head, head};
	for (uint32_t i = 0; i < f->data_pages; i++) {
		XXH3_64bits_update(tx->hash, tx->frame_data[i], PAGE_BYTES);
		iov[n++] = (struct iovec){(void *)(uintptr_t)tx->frame_data[i], PAGE_BYTES};
	}
	note_frame(tx);
	tx->entries += f->count;
	tx->zero_entries += f->count - f->data_pages;
	atomic_fetch_add(&tx->stats->zero_pages, f->count - f->data_pages);
	f->count = f->data_pages = 0;
	atomic_store(&tx->left, tx_pages_left(tx));
	return tx_write_iov(tx, iov, n, e);
}

/* Returns the bytes that the page adds to the frame. */
static uint64_t add_page(struct tx *tx, uint64_t page, const uint8_t *data)
{
	struct wire_pages *f = &tx->frame;
	bool zero = page_is_zero(data);

	f->entries[f->count++] = page | (zero ? WIRE_ZERO_PAGE : 0);
	if (zero)
		return 8;
	tx->frame_data[f->data_pages++] = data;
	return 8 + PAGE_BYTES;
}

static void spend(uint64_t *budget, uint64_t bytes)
{
	*budget -= MIN(*budget, bytes);
}

int tx_send_unsent(struct tx *tx, uint64_t *budget, bool may_hurry, struct err *e)
{
	uint32_t slot = 0;

	tx->frame.count = tx->frame.data_pages = 0;
	while (tx->unsent_slots && *budget) {
		slot = (uint32_t)bitmap_next(&tx->unsent, slot);
		spend(budget,
		      add_page(tx, tx->outbox.page_of[slot], pagestore_data(&tx->outbox, slot)));
		bitmap_clear(&tx->unsent, slot);
		tx->unsent_slots--;
		if (tx->frame.count == WIRE_PAGES_MAX) {
			int r = flush_frame(tx, e);

			if (r)
				return r;
			if (may_hurry && atomic_load(&tx->hurry))
				return 0;
		}
	}
	return flush_frame(tx, e);
}

static uint64_t add_from_ram(struct tx *tx, uint64_t page)
{
	uint8_t *data = tx->bounce + ((uint64_t)tx->frame.count << PAGE_SHIFT);

	memcpy(data, tx->guest->ram + (page << PAGE_SHIFT), PAGE_BYTES);
	if (tx->fingerprints)
		fingerprints_update(tx->fingerprints, page, data);
	return add_page(tx, page, data);
}

/* Lost on its way within the first full copy. */
static int send_missing(struct tx *tx, uint64_t *budget, struct err *e)
{
	uint64_t page = 0;

	while (tx->missing_pages && *budget) {
		page = bitmap_next(&tx->missing, page);
		spend(budget, add_from_ram(tx, page));
		bitmap_clear(&tx->missing, page);
		tx->missing_pages--;
		if (tx->frame.count == WIRE_PAGES_MAX) {
			int r = flush_frame(tx, e);

			if (r)
				return r;
		}
	}
	return flush_frame(tx, e);
}

int tx_send_full(struct tx *tx, uint64_t *budget, struct err *e)
{
	uint64_t npages = guest_pages(tx->guest);
	int r;

	tx->frame.count = tx->frame.data_pages = 0;
	r = send_missing(tx, budget, e);
	if (r)
		return r;
	while (tx->full_cursor < npages && *budget) {
		uint64_t n = MIN(npages - tx->full_cursor, WIRE_PAGES_MAX);

		for (uint64_t i = 0; i < n; i++)
			spend(budget, add_from_ram(tx, tx->full_cursor + i));
		tx->full_cursor += n;
		r = flush_frame(tx, e);
		if (r)
			return r;
	}
	return 0;
}

static int send_hashes(struct tx *tx, struct err *e)
{
	uint8_t head[WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES];
	uint64_t npages = guest_pages(tx->guest);
	struct wire_hashes h = {.epoch = tx->epoch};
	autofree uint8_t *body = malloc(WIRE_HASHES_MAX * 8);

	if (!body)
		return err_errno(e, ENOMEM, "verify");
	for (; h.first < npages; h.first += h.count) {
		struct iovec iov[2];
		int r;

		h.count = (uint32_t)MIN(npages - h.first, WIRE_HASHES_MAX);
		for (uint32_t i = 0; i < h.count; i++)
			put_be64(body + 8 * i, tx->page_hashes[h.first + i]);
		iov[0] = (struct iovec){head, wire_encode_hashes_head(&h, head)};
		iov[1] = (struct iovec){body, 8ull * h.count};
		r = tx_write_iov(tx, iov, 2, e);
		if (r)
			return r;
	}
	return 0;
}

/* The device state is read from its file, which the guest's next save overwrites only after
 * RECEIVED. */
static int send_devices(struct tx *tx, uint64_t bytes, struct err *e)
{
	uint8_t head[WIRE_HEADER_BYTES + WIRE_DEVICES_HEAD_BYTES];
	struct iovec iov[2] = {{head, sizeof(head)}, {NULL, bytes}};
	void *map;
	int r;

	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, tx->guest->devstate_fd, 0);
	if (map == MAP_FAILED)
		return err_errno(e, errno, "cannot map the device state");
	wire_encode_header(head, WIRE_DEVICES, (uint32_t)(WIRE_DEVICES_HEAD_BYTES + bytes));
	put_be64(head + WIRE_HEADER_BYTES, tx->epoch);
	XXH3_64bits_update(tx->hash, map, bytes);
	iov[1].iov_base = map;
	r = tx_write_iov(tx, iov, 2, e);
	munmap(map, bytes);
	return r;
}

int tx_finish(struct tx *tx, uint32_t flags, uint64_t devices_bytes, struct err *e)
{
	struct wire_msg m = {.type = WIRE_SEND, .epoch = tx->epoch, .flags = flags};
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];
	uint64_t no_bound = UINT64_MAX;
	uint8_t seal[WIRE_SEAL_BYTES];
	struct iovec iov = {.iov_base = buf};
	int r = tx_send_unsent(tx, &no_bound, false, e);

	if (!r && (flags & WIRE_EPOCH_VERIFY))
		r = send_hashes(tx, e);
	if (!r)
		r = send_devices(tx, devices_bytes, e);
	if (r)
		return r;
	m.entries = tx->entries;
	m.zero_entries = tx->zero_entries;
	m.devices_bytes = devices_bytes;
	wire_encode_seal(&m, seal);
	XXH3_64bits_update(tx->hash, seal, sizeof(seal));
	m.checksum = XXH3_64bits_digest(tx->hash);
	iov.iov_len = wire_encode(&m, buf);
	return tx_write_iov(tx, &iov, 1, e);
}
