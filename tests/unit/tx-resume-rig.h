/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sender and receiver whose links are cut by a relay, for the tests of resumed sessions. */
#ifndef TESTS_UNIT_TX_RESUME_RIG_H
#define TESTS_UNIT_TX_RESUME_RIG_H

#include "tests/unit/cut-relay.h"
#include "tests/unit/tx-rig.h"

#include "base/bytes.h"
#include "colod/checkpoint/tx-resume.h"

#define FRAME_BYTES (12 + 12 + WIRE_PAGES_MAX * (8 + PAGE_BYTES)) /* a full one */

/* ---- links ---- */

/* The first full copy begins over @relay, which breaks after @limit bytes. */
static inline void begin_copy(struct rig *r, struct relay *relay, uint64_t limit)
{
	struct err e;

	relay_open(relay, limit);
	r->secondary.rep.direct = true;
	assert_ok(rx_start(&r->secondary.rx, relay->far, 1, &e), &e);
	assert_ok(tx_open(&r->tx, relay->near, 1, true, &e), &e);
}

/* All that passed the cut has been read when the receiver says that no more comes. */
static inline void await_cut(struct rig *r, struct relay *relay)
{
	assert_int_equal(receiver_await(&r->secondary), -ECONNRESET);
	rx_suspend(&r->secondary.rx);
	relay_close(relay);
}

static inline int resume(struct rig *r, struct relay *relay, uint64_t limit, uint64_t committed,
			 bool closed, bool sent, struct tx_resumed *res)
{
	struct err e;

	int ret;

	relay_open(relay, limit);
	assert_ok(rx_resume(&r->secondary.rx, relay->far, committed, &e), &e);
	ret = tx_resume(&r->tx, relay->near, closed, sent, res, &e);
	if (ret && !r->tx.link_failed)
		fail_msg("%s", err_msg(&e));
	return ret;
}

static inline void resume_well(struct rig *r, struct relay *relay, uint64_t limit,
			       uint64_t committed, bool closed, struct tx_resumed *res)
{
	unsigned before = r->secondary.resumes;

	assert_int_equal(resume(r, relay, limit, committed, closed, false, res), 0);
	turn_until(r->secondary.loop, r->secondary.resumes > before);
	assert_int_equal(r->secondary.resume.epoch, res->epoch);
	assert_int_equal(!!(r->secondary.resume.flags & WIRE_RESUME_CLOSED), res->closed);
}

/* Whatever it comes to: the link may break within. */
static inline void round_or_cut(struct rig *r, uint64_t budget)
{
	struct tx_round round = {};
	struct err e;

	if (tx_round(&r->tx, budget, &round, &e))
		assert_true(r->tx.link_failed);
}

static inline bool finish_or_cut(struct rig *r, uint64_t devices_bytes)
{
	struct err e;

	if (!tx_finish(&r->tx, 0, devices_bytes, &e))
		return true;
	assert_true(r->tx.link_failed);
	return false;
}

static inline void end(struct rig *r, struct relay *relay)
{
	rx_stop(&r->secondary.rx);
	relay_close(relay);
}

/* After epoch 1: 500 written pages are cut after @limit bytes. */
static inline void cut_epoch_2(struct rig *r, struct relay *relay, uint64_t limit)
{
	struct tx_resumed res;

	begin_copy(r, relay, NO_CUT);
	write_some(r, &r->primary, RIG_PAGES / 2);
	while (!tx_full_copy_done(&r->tx))
		round_trip(r, NO_BOUND);
	checkpoint(r);
	relay_close(relay);
	receiver_await(&r->secondary);
	rx_suspend(&r->secondary.rx);
	resume_well(r, relay, limit, 1, false, &res);
	for (uint64_t p = 0; p < 500; p++)
		side_write(&r->primary, p, p + 1000);
}

#define RESUME_BYTES (12 + 12)

#endif
