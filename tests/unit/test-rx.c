// SPDX-License-Identifier: GPL-2.0-or-later
/* The receiving thread against frames made by hand: what is damaged never reaches the guest (S2). */
#include "tests/unit/bulk-frames.h"
#include "tests/unit/replica-rig.h"

#include <poll.h>

#define NPAGES        200
#define DEVICES_BYTES 300

#define ZERO(page) ((page) | WIRE_ZERO_PAGE)

/* A whole good epoch. */
static struct frames *good_epoch(uint64_t epoch, uint64_t seed)
{
	struct frames *f = frames_new(epoch);

	put_pages(f, epoch, (uint64_t[]){3, ZERO(7), 199}, 3, seed);
	put_pages(f, epoch, (uint64_t[]){0}, 1, seed + 1);
	put_devices(f, epoch, DEVICES_BYTES, (uint8_t)seed);
	put_send(f);
	return f;
}

/* ---- a secondary that holds epoch 1 ---- */

struct rig {
	struct receiver x;
	uint8_t *ram, *cache; /* as they stood before the epoch under test */
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct frames *f = good_epoch(1, 1000);
	int fd;

	receiver_init(&r->x, NPAGES);
	fd = receiver_start(&r->x, 1);
	assert_int_equal(io_write_full(fd, f->buf, f->len), 0);
	assert_int_equal(receiver_await(&r->x), 0);
	receiver_apply(&r->x);
	rx_stop(&r->x.rx);
	close(fd);
	frames_free(f);
	assert_memory_equal(r->x.side.guest.ram, r->x.rep.cache, NPAGES << PAGE_SHIFT);
	side_write(&r->x.side, 3, 33); /* its guest runs, too */
	r->ram = malloc(NPAGES << PAGE_SHIFT);
	r->cache = malloc(NPAGES << PAGE_SHIFT);
	memcpy(r->ram, r->x.side.guest.ram, NPAGES << PAGE_SHIFT);
	memcpy(r->cache, r->x.rep.cache, NPAGES << PAGE_SHIFT);
	assert_false(page_is_zero(r->ram + (3 << PAGE_SHIFT)));
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	receiver_free(&r->x);
	free(r->ram);
	free(r->cache);
	free(r);
	return 0;
}

static void assert_untouched(struct rig *r)
{
	assert_memory_equal(r->x.side.guest.ram, r->ram, NPAGES << PAGE_SHIFT);
	assert_memory_equal(r->x.rep.cache, r->cache, NPAGES << PAGE_SHIFT);
}

/* What the receiver says of these bytes, as epoch 2, before the connection ends. */
static int receive(struct rig *r, const uint8_t *buf, size_t len)
{
	int fd = receiver_start(&r->x, 2), status;

	/* It may hang up before all is written. */
	if (!io_write_full(fd, buf, len))
		shutdown(fd, SHUT_WR);
	status = receiver_await(&r->x);
	rx_stop(&r->x.rx);
	close(fd);
	return status;
}

static void check_refused(struct rig *r, struct frames *f, int status, const char *why)
{
	assert_int_equal(receive(r, f->buf, f->len), status);
	if (!strstr(err_msg(&r->x.why), why))
		fail_msg("\"%s\" does not say \"%s\"", err_msg(&r->x.why), why);
	assert_untouched(r);
	frames_free(f);
}

/* ---- good epochs ---- */

static void a_good_epoch_waits_in_the_stage(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);

	assert_int_equal(receive(r, f->buf, f->len), 0);
	assert_untouched(r);
	assert_int_equal(r->x.send.epoch, 2);
	assert_int_equal(r->x.rep.stage.used, 4);
	assert_int_equal(r->x.rep.devices_bytes, DEVICES_BYTES);
	receiver_apply(&r->x);
	assert_true(page_is_zero(side_page(&r->x.side, 7)));
	assert_memory_equal(r->x.rep.cache, r->x.side.guest.ram, NPAGES << PAGE_SHIFT);
	assert_memory_not_equal(side_page(&r->x.side, 3), r->ram + (3 << PAGE_SHIFT), PAGE_BYTES);
	frames_free(f);
}

/* So small that every part of a frame is cut somewhere. */
static void an_epoch_may_come_in_pieces(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);
	int fd = receiver_start(&r->x, 2);

	for (size_t at = 0; at < f->len; at += 97)
		assert_int_equal(io_write_full(fd, f->buf + at, MIN(97, f->len - at)), 0);
	assert_int_equal(receiver_await(&r->x), 0);
	rx_stop(&r->x.rx);
	close(fd);
	frames_free(f);
}

static void an_epoch_without_pages_is_fine(void **state)
{
	struct rig *r = *state;
	struct frames *f = frames_new(2);

	put_devices(f, 2, 1, 9);
	put_send(f);
	assert_int_equal(receive(r, f->buf, f->len), 0);
	assert_int_equal(r->x.rep.stage.used, 0);
	frames_free(f);
}

static void the_last_content_of_a_page_counts(void **state)
{
	struct rig *r = *state;
	struct frames *f = frames_new(2);

	put_pages(f, 2, (uint64_t[]){50, 51}, 2, 1);
	put_pages(f, 2, (uint64_t[]){50}, 1, 2);
	put_pages(f, 2, (uint64_t[]){ZERO(51)}, 1, 3);
	put_devices(f, 2, 1, 9);
	put_send(f);
	assert_int_equal(receive(r, f->buf, f->len), 0);
	assert_int_equal(r->x.rep.stage.used, 2);
	receiver_apply(&r->x);
	side_write(&r->x.side, 0, 2);
	assert_memory_equal(side_page(&r->x.side, 50), side_page(&r->x.side, 0), PAGE_BYTES);
	assert_true(page_is_zero(side_page(&r->x.side, 51)));
	frames_free(f);
}

/* ---- damage ---- */

static void any_flipped_byte_is_refused(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);
	struct rng rng = {1};

	/* All of the heads and ends, samples of the page data. */
	for (size_t at = 0; at<f->len; at += at> 100 && at < f->len - 500 ? 61 : 1) {
		uint8_t right = f->buf[at];

		f->buf[at] ^= (uint8_t)BIT(rng_below(&rng, 8));
		if (!receive(r, f->buf, f->len))
			fail_msg("a flipped bit at %zu of %zu was taken", at, f->len);
		assert_true(r->x.why.code && r->x.why.msg[0]);
		assert_untouched(r);
		f->buf[at] = right;
	}
	assert_int_equal(receive(r, f->buf, f->len), 0);
	frames_free(f);
}

static void an_end_anywhere_is_a_broken_link_and_not_an_epoch(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);

	for (size_t len = 0; len<f->len; len += len> 100 && len < f->len - 100 ? 211 : 1) {
		assert_int_equal(receive(r, f->buf, len), -ECONNRESET);
		assert_untouched(r);
	}
	frames_free(f);
}

static struct frames *without(struct frames *f, size_t from, size_t to)
{
	memmove(f->buf + from, f->buf + to, f->len - to);
	f->len -= to - from;
	return f;
}

static void a_dropped_or_doubled_frame_is_refused(void **state)
{
	struct rig *r = *state;
	const size_t first = 12 + 12 + 3 * 8 + 2 * PAGE_BYTES, second = 12 + 12 + 8 + PAGE_BYTES;
	const size_t devices = 12 + 8 + DEVICES_BYTES;
	struct frames *f = good_epoch(2, 5);

	check_refused(r, without(f, 0, first), -EBADMSG, "came in part: 1 of 4 pages");
	f = good_epoch(2, 5);
	check_refused(r, without(f, first, first + second), -EBADMSG, "3 of 4 pages");
	f = good_epoch(2, 5);
	check_refused(r, without(f, first + second, first + second + devices), -EBADMSG,
		      "0 of 300 bytes of device state");
	f = good_epoch(2, 5);
	memmove(f->buf + first + second, f->buf + first, f->len - first);
	f->len += second;
	check_refused(r, f, -EBADMSG, "came in part: 5 of 4 pages");
}

static void frames_in_another_order_are_refused(void **state)
{
	struct rig *r = *state;
	struct frames *f = frames_new(2);
	const size_t frame = 12 + 12 + 8 + PAGE_BYTES;
	uint8_t first[12 + 12 + 8 + PAGE_BYTES];

	put_pages(f, 2, (uint64_t[]){50}, 1, 1);
	put_pages(f, 2, (uint64_t[]){50}, 1, 2);
	put_devices(f, 2, 1, 9);
	put_send(f);
	memcpy(first, f->buf, frame);
	memmove(f->buf, f->buf + frame, frame);
	memcpy(f->buf + frame, first, frame);
	check_refused(r, f, -EBADMSG, "arrived damaged");
}

/* Numbers that are wrong under a checksum that is right. */
static void wrong_counts_are_refused(void **state)
{
	struct rig *r = *state;

	for (int which = 0; which < 6; which++) {
		struct frames *f = frames_new(2);

		put_pages(f, 2, (uint64_t[]){3, ZERO(7)}, 2, 5);
		put_devices(f, 2, DEVICES_BYTES, 1);
		f->send.entries += (which == 0) - (which == 1);
		f->send.zero_entries += (which == 2) - (which == 3);
		f->send.devices_bytes += (which == 4) - (which == 5);
		put_send(f);
		check_refused(r, f, -EBADMSG, "came in part");
	}
}

static void another_epoch_is_refused(void **state)
{
	static const uint64_t others[] = {0, 1, 3, UINT64_MAX};
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct wire_hashes h = {.epoch = others[i], .count = 1};
		uint8_t head[WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES];
		struct frames *f = frames_new(2);

		put_pages(f, others[i], (uint64_t[]){3}, 1, 5);
		put_send(f);
		check_refused(r, f, -EPROTO, "PAGES of epoch");
		f = frames_new(2);
		put_devices(f, others[i], 1, 1);
		put_send(f);
		check_refused(r, f, -EPROTO, "DEVICES of epoch");
		f = frames_new(2);
		put(f, head, wire_encode_hashes_head(&h, head));
		put_u64(f, 1);
		put_send(f);
		check_refused(r, f, -EPROTO, "HASHES of epoch");
		f = frames_new(others[i]);
		put_devices(f, 2, 1, 1);
		put_send(f);
		check_refused(r, f, -EPROTO, "SEND of epoch");
	}
}

static void pages_beyond_the_guest_are_refused(void **state)
{
	struct rig *r = *state;
	struct frames *f = frames_new(2);
	uint8_t head[WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES];
	struct wire_hashes h = {.epoch = 2, .first = NPAGES - 1, .count = 2};

	put_pages(f, 2, (uint64_t[]){3, NPAGES}, 2, 5);
	put_send(f);
	check_refused(r, f, -EPROTO, "page 200 of a guest with 200 pages");
	f = frames_new(2);
	put_pages(f, 2, (uint64_t[]){ZERO(NPAGES)}, 1, 5);
	put_send(f);
	check_refused(r, f, -EPROTO, "page 200");
	f = frames_new(2);
	put(f, head, wire_encode_hashes_head(&h, head));
	put_u64(f, 1);
	put_u64(f, 1);
	check_refused(r, f, -EPROTO, "beyond the guest's 200");
}

static void device_state_that_does_not_fit_is_refused(void **state)
{
	struct rig *r = *state;
	struct frames *f = frames_new(2);

	put_devices(f, 2, RIG_DEVICES_BYTES, 1);
	put_send(f);
	assert_int_equal(receive(r, f->buf, f->len), 0);
	frames_free(f);
	f = frames_new(2);
	put_devices(f, 2, RIG_DEVICES_BYTES + 1, 1);
	put_send(f);
	check_refused(r, f, -EPROTO, "at most 65536 fit");
}

static void control_messages_have_no_place_here(void **state)
{
	struct rig *r = *state;

	for (unsigned type = WIRE_HELLO; type < WIRE_SEND; type++) {
		struct frames *f = frames_new(2);
		struct wire_msg m = {.type = type, .epoch = 2};

		put_message(f, &m);
		check_refused(r, f, -EPROTO, "on the bulk connection");
	}
}

/* ---- the first full copy ---- */

static void a_full_copy_is_seen_by_guest_and_cache_at_once(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);

	side_write(&r->x.side, 7, 99); /* of an earlier life */
	r->x.rep.direct = true;
	assert_int_equal(receive(r, f->buf, f->len), 0);
	assert_int_equal(r->x.rep.stage.used, 0);
	assert_true(page_is_zero(side_page(&r->x.side, 7)));
	assert_memory_equal(r->x.side.guest.ram, r->x.rep.cache, NPAGES << PAGE_SHIFT);
	assert_memory_not_equal(r->x.rep.cache, r->cache, NPAGES << PAGE_SHIFT);
	frames_free(f);
}

/* ---- verify ---- */

static void hashes_land_at_their_pages(void **state)
{
	struct rig *r = *state;
	uint8_t head[WIRE_HEADER_BYTES + WIRE_HASHES_HEAD_BYTES];
	struct wire_hashes h = {.epoch = 2, .first = 10, .count = 2};
	struct frames *f = frames_new(2);

	put(f, head, wire_encode_hashes_head(&h, head));
	put_u64(f, 0x1122334455667788);
	put_u64(f, 7);
	put_devices(f, 2, 1, 1);
	put_send(f);
	assert_int_equal(receive(r, f->buf, f->len), 0);
	assert_non_null(r->x.rep.page_hashes);
	assert_true(r->x.rep.page_hashes[10] == 0x1122334455667788);
	assert_true(r->x.rep.page_hashes[11] == 7);
	assert_true(!r->x.rep.page_hashes[9] && !r->x.rep.page_hashes[12]);
	frames_free(f);
}

/* ---- the thread ---- */

static void the_thread_reads_nothing_between_report_and_continue(void **state)
{
	struct rig *r = *state;
	struct frames *a = good_epoch(2, 5), *b = frames_new(3);
	int fd = receiver_start(&r->x, 2);

	put_pages(b, 3, (uint64_t[]){50}, 1, 1);
	put_devices(b, 3, 1, 1);
	put_send(b);
	assert_int_equal(io_write_full(fd, a->buf, a->len), 0);
	assert_int_equal(io_write_full(fd, b->buf, b->len), 0);
	assert_int_equal(receiver_await(&r->x), 0);
	assert_int_equal(r->x.send.epoch, 2);
	receiver_apply(&r->x);
	rx_continue(&r->x.rx);
	assert_int_equal(receiver_await(&r->x), 0);
	assert_int_equal(r->x.send.epoch, 3);
	assert_int_equal(r->x.rep.stage.used, 1);
	receiver_apply(&r->x);
	rx_stop(&r->x.rx);
	close(fd);
	frames_free(a);
	frames_free(b);
}

static void detaching_leaves_the_next_bytes_in_the_socket(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);
	int fd = receiver_start(&r->x, 2), near;
	char buf[5] = {};

	assert_int_equal(io_write_full(fd, f->buf, f->len), 0);
	assert_int_equal(io_write_full(fd, "next", 5), 0);
	assert_int_equal(receiver_await(&r->x), 0);
	near = rx_detach(&r->x.rx);
	assert_int_equal(io_read_full(near, buf, 5), 0);
	assert_string_equal(buf, "next");
	assert_int_equal(io_write_full(near, "back", 5), 0);
	assert_int_equal(io_read_full(fd, buf, 5), 0);
	assert_string_equal(buf, "back");
	close(near);
	close(fd);
	frames_free(f);
}

/* At any moment: reading, with a report that nobody took, after an error. */
static void stopping_is_prompt_and_silent(void **state)
{
	struct rig *r = *state;
	struct frames *f = good_epoch(2, 5);
	const size_t lengths[] = {0, 5, 1000, f->len - 1, f->len, f->len + 1};

	for (size_t i = 0; i < ARRAY_SIZE(lengths) * 4; i++) {
		size_t len = lengths[i % ARRAY_SIZE(lengths)];
		int fd = receiver_start(&r->x, 2);
		unsigned reports = r->x.reports;

		if (io_write_full(fd, f->buf, MIN(len, f->len)) || len > f->len)
			close_fd(&fd);
		if (i % 2 && len >= f->len)
			poll(&(struct pollfd){.fd = r->x.rx.to_loop.event_fd, .events = POLLIN}, 1,
			     -1);
		rx_stop(&r->x.rx);
		rx_stop(&r->x.rx);
		assert_int_equal(loop_step(r->x.loop, 0), 0);
		assert_int_equal(r->x.reports, reports);
		close_fd(&fd);
	}
	assert_untouched(r);
	frames_free(f);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_good_epoch_waits_in_the_stage),
		test(an_epoch_may_come_in_pieces),
		test(an_epoch_without_pages_is_fine),
		test(the_last_content_of_a_page_counts),
		test(any_flipped_byte_is_refused),
		test(an_end_anywhere_is_a_broken_link_and_not_an_epoch),
		test(a_dropped_or_doubled_frame_is_refused),
		test(frames_in_another_order_are_refused),
		test(wrong_counts_are_refused),
		test(another_epoch_is_refused),
		test(pages_beyond_the_guest_are_refused),
		test(device_state_that_does_not_fit_is_refused),
		test(control_messages_have_no_place_here),
		test(a_full_copy_is_seen_by_guest_and_cache_at_once),
		test(hashes_land_at_their_pages),
		test(the_thread_reads_nothing_between_report_and_continue),
		test(detaching_leaves_the_next_bytes_in_the_socket),
		test(stopping_is_prompt_and_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
