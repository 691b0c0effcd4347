// SPDX-License-Identifier: GPL-2.0-or-later
/* Resumed sessions with a secondary that lies, and with cuts at any place. */
#include "tests/unit/tx-resume-rig.h"

/* ---- a secondary that lies ---- */

/* What the sender says to one RECV_BITMAP frame made by hand. */
static int resume_by(struct rig *r, const uint8_t *frame, size_t len, bool sent, struct err *e)
{
	struct tx_resumed res;
	int pair[2], ret;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(io_write_full(pair[1], frame, len), 0);
	shutdown(pair[1], SHUT_WR);
	ret = tx_resume(&r->tx, pair[0], sent, sent, &res, e);
	close(pair[1]);
	return ret;
}

static size_t telling(const struct wire_bitmap *b, uint8_t *buf)
{
	size_t len = wire_encode_bitmap_head(b, buf);

	memset(buf + len, 0, wire_bitmap_bytes(b));
	return len + wire_bitmap_bytes(b);
}

static void assert_refused(struct rig *r, const struct wire_bitmap *b, const char *why)
{
	uint8_t buf[1024];
	size_t len = telling(b, buf);
	struct err e;

	assert_int_equal(resume_by(r, buf, len, false, &e), -EPROTO);
	assert_false(r->tx.link_failed);
	if (!strstr(err_msg(&e), why))
		fail_msg("\"%s\" does not say \"%s\"", err_msg(&e), why);
}

static void a_session_that_does_not_fit_is_refused(void **state)
{
	static const struct wire_bitmap lies[] = {
		{.committed = 0, .epoch = 1}, /* before ours */
		{.committed = 0, .epoch = 2},
		{.committed = 2, .epoch = 2},
		{.committed = 2, .epoch = 3}, /* we have not sent all of 2 */
		{.committed = 3, .epoch = 4},
		{.committed = UINT64_MAX, .epoch = 0},
		{.committed = 1, .epoch = 2, .flags = WIRE_RECV_COMPLETE},
		{.committed = 1, .epoch = 2, .flags = WIRE_RECV_DIRECT},
	};
	struct rig *r = *state;
	struct relay relay;

	cut_epoch_2(r, &relay, NO_CUT);
	capture(r);
	end(r, &relay);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct wire_bitmap b = lies[i];

		b.count = RIG_PAGES;
		assert_refused(r, &b, "does not fit to our epoch 2");
	}
}

static void a_bitmap_that_lies_is_refused(void **state)
{
	struct rig *r = *state;
	const struct wire_bitmap good = {.committed = 1, .epoch = 2, .count = RIG_PAGES};
	struct wire_bitmap b = good;
	struct relay relay;
	uint8_t buf[1024];
	size_t len;
	struct err e;

	cut_epoch_2(r, &relay, NO_CUT);
	capture(r);
	end(r, &relay);
	b.count = RIG_PAGES + 1;
	assert_refused(r, &b, "of 1101 pages from 0");
	b.count = RIG_PAGES - 8;
	assert_refused(r, &b, "of 1092 pages from 0");
	b = good;
	b.first = 8;
	assert_refused(r, &b, "from 8 on");
	b.first = WIRE_BITMAP_PAGES_MAX;
	assert_refused(r, &b, "of a guest with 1100 pages");
	b = good;
	b.flags = 4;
	assert_refused(r, &b, "unknown flags");
	len = telling(&good, buf);
	buf[len - 1] = 0x10; /* 1100 = 137 * 8 + 4 */
	assert_int_equal(resume_by(r, buf, len, false, &e), -EPROTO);
	put_be32(buf + 8, (uint32_t)len - 12 + 1);
	assert_int_equal(resume_by(r, buf, len, false, &e), -EPROTO);
	put_be32(buf + 8, UINT32_MAX);
	assert_int_equal(resume_by(r, buf, len, false, &e), -EPROTO);
	wire_encode_header(buf, WIRE_PAGES, 100);
	assert_int_equal(resume_by(r, buf, len, false, &e), -EPROTO);
	assert_non_null(strstr(err_msg(&e), "in place of RECV_BITMAP"));
}

static void a_bitmap_that_ends_early_is_a_broken_link(void **state)
{
	const struct wire_bitmap good = {.committed = 1, .epoch = 2, .count = RIG_PAGES};
	struct rig *r = *state;
	struct relay relay;
	uint8_t buf[1024];
	size_t len = telling(&good, buf);
	struct err e;

	cut_epoch_2(r, &relay, NO_CUT);
	capture(r);
	end(r, &relay);
	for (size_t n = 0; n < len; n += 7) {
		assert_int_equal(resume_by(r, buf, n, false, &e), -ECONNRESET);
		assert_true(r->tx.link_failed);
	}
	assert_int_equal(resume_by(r, buf, len, false, &e), 0);
	assert_int_equal(r->tx.unsent_slots, 500);
}

/* More pages than one RECV_BITMAP frame tells of; none of its RAM is touched. */
static void a_large_guest_needs_several_frames(void **state)
{
	const uint64_t n = WIRE_BITMAP_PAGES_MAX + 100;
	struct rig *r = malloc(sizeof(*r));
	struct tx_resumed res;
	struct relay relay;

	rig_init(r, n, PAGE_BYTES);
	begin_copy(r, &relay, NO_CUT);
	relay_close(&relay);
	receiver_await(&r->secondary);
	rx_suspend(&r->secondary.rx);
	r->tx.full_cursor = n;
	r->tx.frames = r->secondary.rx.frames = 1;
	r->tx.digests[1] = r->secondary.rx.digest = 7;
	for (uint64_t page = 0; page < n; page++)
		r->tx.sent_in[page] = 1;
	bitmap_set_range(&r->secondary.rx.received, 0, n);
	bitmap_clear(&r->secondary.rx.received, 5);
	bitmap_clear(&r->secondary.rx.received, n - 1);
	resume_well(r, &relay, NO_CUT, 0, false, &res);
	assert_int_equal(res.saved_pages, n - 2);
	assert_int_equal(r->tx.missing_pages, 2);
	assert_true(bitmap_test(&r->tx.missing, 5) && bitmap_test(&r->tx.missing, n - 1));
	end(r, &relay);
	*state = r;
	teardown(state);
	*state = NULL;
}

/* ---- RESUME as the receiver takes it ---- */

static int answer(struct rig *r, const struct wire_msg *m)
{
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES], bits[1024];
	int pair[2], status;
	struct err e;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_ok(rx_resume(&r->secondary.rx, pair[0], 1, &e), &e);
	assert_int_equal(io_read_full(pair[1], bits, 12 + 48 + (RIG_PAGES + 7) / 8), 0);
	assert_int_equal(io_write_full(pair[1], buf, wire_encode(m, buf)), 0);
	status = receiver_await(&r->secondary);
	rx_suspend(&r->secondary.rx);
	close(pair[1]);
	return status;
}

static void another_answer_than_resume_is_refused(void **state)
{
	struct wire_msg m = {.type = WIRE_RESUME, .epoch = 3};
	struct rig *r = *state;
	struct relay relay;

	cut_epoch_2(r, &relay, NO_CUT);
	capture(r);
	finish(r, 0, 1);
	rx_suspend(&r->secondary.rx);
	relay_close(&relay);
	assert_int_equal(answer(r, &m), -EPROTO);
	m.epoch = 2; /* complete: it cannot be taken back */
	assert_int_equal(answer(r, &m), -EPROTO);
	m.flags = WIRE_RESUME_CLOSED | WIRE_RESUME_RESTART;
	assert_int_equal(answer(r, &m), -EPROTO);
	m.type = WIRE_NEW;
	assert_int_equal(answer(r, &m), -EPROTO);
	assert_int_equal(r->secondary.resumes, 1);
	assert_true(r->secondary.rx.complete);
}

/* ---- any place ---- */

/* A guest that writes all the time, over links that break after a random number of bytes. */
struct walk {
	struct rig *r;
	struct relay relay;
	struct tx_resumed res; /* of the last link */
	uint64_t mean_bytes, committed;
	bool closed, sent;
	unsigned links;
	uint8_t *ram; /* of the primary's guest when it stood still */
};

/* Pages that were sent and have not arrived as they are now. */
static uint64_t not_arrived(const struct walk *w)
{
	const struct tx *tx = &w->r->tx;
	const struct receiver *x = &w->r->secondary;
	uint64_t n = 0;

	if (x->rx.epoch != tx->epoch)
		return tx->outbox.used;
	for (uint32_t slot = 0; slot < tx->outbox.used; slot++) {
		uint64_t page = tx->outbox.page_of[slot];
		uint32_t there = pagestore_find(&x->rep.stage, page);
		const uint8_t *data = x->rep.cache + (page << PAGE_SHIFT);

		if (there != PAGESTORE_NONE)
			data = pagestore_data(&x->rep.stage, there);
		/* One that was zero, something else and zero again differs from what came in its
		 * number only. */
		n += !bitmap_test(&tx->unsent, slot) &&
		     (!bitmap_test(&x->rx.received, page) || page_is_zero(data) ||
		      memcmp(data, pagestore_data(&tx->outbox, slot), PAGE_BYTES) != 0);
	}
	for (uint64_t page = 0; tx->first && page < tx->full_cursor; page++)
		n += pagestore_find(&tx->outbox, page) == PAGESTORE_NONE &&
		     !bitmap_test(&x->rx.received, page);
	return n;
}

static void next_link(struct walk *w)
{
	uint64_t most;
	int ret;

	do {
		relay_close(&w->relay);
		rx_suspend(&w->r->secondary.rx);
		most = not_arrived(w);
		w->links++;
		ret = resume(w->r, &w->relay, rng_below(&w->r->rng, 2 * w->mean_bytes),
			     w->committed, w->closed, w->sent, &w->res);
	} while (ret);
	assert_in_range(w->res.resent_pages, 0, most);
	assert_int_equal(w->res.committed, w->committed == w->r->tx.epoch);
	w->closed &= w->res.closed;
	w->sent &= w->res.complete || w->res.committed;
}

/* Pre-copy rounds while the guest runs, until a checkpoint can be taken. */
static void walk_rounds(struct walk *w)
{
	unsigned rounds = (unsigned)rng_below(&w->r->rng, 4);
	struct err e;

	while (rounds || !tx_full_copy_done(&w->r->tx)) {
		struct tx_round round = {};

		write_some(w->r, &w->r->primary, 20);
		if (tx_round(&w->r->tx, rng_below(&w->r->rng, 300) * PAGE_BYTES, &round, &e))
			next_link(w);
		rounds -= rounds > 0;
	}
}

/* From the stop of the guest until all has arrived; false: its first copy has holes. */
static bool walk_finish(struct walk *w, uint64_t devices_bytes)
{
	struct err e;

	capture(w->r);
	memcpy(w->ram, w->r->primary.guest.ram, npages(w->r) << PAGE_SHIFT);
	w->closed = true;
	write_some(w->r, &w->r->primary, 20); /* of the next epoch */
	while (!w->sent) {
		w->sent = !tx_finish(&w->r->tx, 0, devices_bytes, &e);
		if (!w->sent || receiver_await(&w->r->secondary))
			next_link(w);
		if (!w->closed)
			return false;
	}
	return true;
}

static void walk_epoch(struct walk *w)
{
	struct receiver *x = &w->r->secondary;
	uint8_t devices[3000], loaded[3000];
	size_t bytes = 1 + rng_below(&w->r->rng, sizeof(devices));

	save_devices(w->r, devices, bytes);
	w->closed = w->sent = false;
	do {
		walk_rounds(w);
	} while (!walk_finish(w, bytes));
	if (!rng_below(&w->r->rng, 4))
		next_link(w);
	receiver_apply(x);
	w->committed++;
	assert_memory_equal(w->ram, x->side.guest.ram, npages(w->r) << PAGE_SHIFT);
	assert_memory_equal(w->ram, x->rep.cache, npages(w->r) << PAGE_SHIFT);
	assert_int_equal(pread(x->side.guest.vmstate_fd, loaded, bytes, RIG_VMSTATE_AT), bytes);
	assert_memory_equal(loaded, devices, bytes);
	if (!rng_below(&w->r->rng, 4))
		next_link(w);
	rx_continue(&x->rx);
	if (!rng_below(&w->r->rng, 4))
		next_link(w);
	tx_committed(&w->r->tx);
	write_some(w->r, &x->side, 25); /* its guest runs, too */
}

static void walk(struct rig *r, uint64_t seed, uint64_t mean_bytes, unsigned epochs)
{
	struct walk w = {.r = r, .mean_bytes = mean_bytes};

	r->rng.state = seed;
	w.ram = malloc(npages(r) << PAGE_SHIFT);
	assert_non_null(w.ram);
	write_some(r, &r->primary, (unsigned)npages(r));
	begin_copy(r, &w.relay, rng_below(&r->rng, 2 * mean_bytes));
	while (w.committed < epochs)
		walk_epoch(&w);
	assert_in_range(w.links, epochs / 2, UINT32_MAX);
	end(r, &w.relay);
	free(w.ram);
}

static void no_cut_at_any_place_loses_a_page(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct rig *r = *state;

		walk(r, seed, (seed % 4 + 1) * 400 * KIB, 15);
		teardown(state);
		setup(state);
	}
}

static void no_cut_loses_a_part_of_a_huge_page(void **state)
{
	for (uint64_t seed = 20; seed <= 24; seed++) {
		struct rig *r = malloc(sizeof(*r));

		rig_init(r, 1024, 2 * MIB);
		walk(r, seed, 900 * KIB, 12);
		*state = r;
		teardown(state);
	}
	*state = NULL;
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_session_that_does_not_fit_is_refused),
		test(a_bitmap_that_lies_is_refused),
		test(a_bitmap_that_ends_early_is_a_broken_link),
		cmocka_unit_test(a_large_guest_needs_several_frames),
		test(another_answer_than_resume_is_refused),
		test(no_cut_at_any_place_loses_a_page),
		cmocka_unit_test(no_cut_loses_a_part_of_a_huge_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
