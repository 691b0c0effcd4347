// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's half of the checkpoint engine: what comes at a moment that has no use for it yet. */
#include "tests/unit/primary-rig.h"

#include <sys/resource.h>

#define EPOCH 7

/* Checkpoint @epoch up to its commit. */
static void commit(struct rig *r, uint64_t epoch, unsigned news)
{
	turn_until(r->loop, r->news == news);
	assert_int_equal(r->last_new.epoch, epoch);
	secondary_says(r, WIRE_SUSPENDED, epoch);
	turn_until(r->loop, r->saves >= news);
	turn_until(r->loop, atomic_load(&r->stats->bytes_sent));
	secondary_says(r, WIRE_RECEIVED, epoch);
	turn_until(r->loop, primary_epoch(r->p) == epoch);
	secondary_says(r, WIRE_LOADED, epoch);
}

/* Between READY and the first checkpoint the connection is being handed to the worker. */
static void a_trigger_right_after_ready_waits_for_the_worker(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	primary_trigger(r.p, CKPT_BY_MISMATCH);
	primary_expedite(r.p);
	primary_retime(r.p);
	assert_int_equal(r.news, 0);
	commit(&r, EPOCH + 1, 1);
	assert_true(r.guest_runs);
	rig_close(&r);
}

/* Output of the epoch that a checkpoint is about to close needs no second one; what comes later does. */
static void output_waits_for_the_checkpoint_that_closes_its_epoch(void **state)
{
	struct rig r;
	uint64_t sent;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	turn_until(r.loop, r.news == 1);
	primary_expedite(r.p);
	commit(&r, EPOCH + 1, 1);
	while (loop_step(r.loop, 0) > 0)
		;
	assert_int_equal(r.news, 1);
	primary_expedite(r.p);
	turn_until(r.loop, r.news == 2);
	secondary_says(&r, WIRE_SUSPENDED, EPOCH + 2);
	turn_until(r.loop, r.saves == 2);
	primary_expedite(r.p);
	sent = atomic_load(&r.stats->bytes_sent);
	turn_until(r.loop, atomic_load(&r.stats->bytes_sent) > sent);
	secondary_says(&r, WIRE_RECEIVED, EPOCH + 2);
	turn_until(r.loop, r.news == 3);
	rig_close(&r);
}

static void fail_once(struct rig *r, unsigned news)
{
	r->save_fails = true;
	turn_until(r->loop, r->news == news);
	secondary_says(r, WIRE_SUSPENDED, EPOCH + 1);
	turn_until(r->loop, r->stats->failed_checkpoints == news);
}

/* Else waiting output would use up in a moment what a secondary is given up after. */
static void a_checkpoint_that_failed_is_not_tried_again_at_once(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	fail_once(&r, 1);
	primary_expedite(r.p);
	primary_trigger(r.p, CKPT_BY_MISMATCH);
	primary_switch(r.p);
	primary_retime(r.p);
	assert_int_equal(r.news, 1);
	turn_until(r.loop, r.guest_runs);
	r.save_fails = false;
	turn_until(r.loop, r.news == 2);
	assert_true(r.last_new.flags & WIRE_EPOCH_SWITCH);
	rig_close(&r);
}

static void a_checkpoint_that_failed_is_tried_again_though_none_is_due(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	fail_once(&r, 1);
	r.save_fails = false;
	r.config.mode = CKPT_MODE_ON_DEMAND;
	primary_retime(r.p);
	commit(&r, EPOCH + 1, 2);
	assert_int_equal(r.events[FSM_EV_SYNC_FAILED], 0);
	rig_close(&r);
}

static void checkpoints_that_always_fail_end_the_session(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	for (unsigned i = 1; i <= 5; i++) {
		assert_int_equal(r.events[FSM_EV_SYNC_FAILED], 0);
		fail_once(&r, i);
	}
	assert_int_equal(r.events[FSM_EV_SYNC_FAILED], 1);
	primary_stop(r.p);
	turn_until(r.loop, primary_is_idle(r.p));
	assert_true(r.guest_runs);
	rig_close(&r);
}

static void a_session_that_ends_in_the_pause_lets_the_guest_go_on(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	turn_until(r.loop, r.news);
	secondary_says(&r, WIRE_SUSPENDED, EPOCH + 1);
	turn_until(r.loop, !r.guest_runs);
	primary_stop(r.p);
	turn_until(r.loop, primary_is_idle(r.p));
	assert_true(r.guest_runs);
	assert_int_equal(r.events[FSM_EV_QEMU_DEAD], 0);
	rig_close(&r);
}

static void a_guest_that_cannot_go_on_is_told_of_though_its_session_is_over(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r);
	r.cont_fails = true;
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	turn_until(r.loop, r.news);
	secondary_says(&r, WIRE_SUSPENDED, EPOCH + 1);
	turn_until(r.loop, !r.guest_runs);
	primary_stop(r.p);
	turn_until(r.loop, primary_is_idle(r.p));
	assert_int_equal(r.conts, 1);
	assert_int_equal(r.events[FSM_EV_QEMU_DEAD], 1);
	rig_close(&r);
}

/* The socket takes less than guest RAM: the copy stands until the secondary reads. */
static void a_first_copy_tells_what_is_left_of_it(void **state)
{
	struct ckpt_progress g;
	uint8_t buf[4096];
	struct rig r;
	int pair[2];

	(void)state;
	rig_open(&r);
	memset(r.side.guest.ram, 1, r.side.guest.ram_bytes);
	assert_false(primary_copy_progress(r.p, &g));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r.bulk_fd = pair[1];
	primary_start(r.p, pair[0], EPOCH, true);
	assert_true(primary_copy_progress(r.p, &g));
	assert_int_equal(g.pages_total, RIG_PAGES);
	assert_int_equal(g.pages_left, RIG_PAGES);
	secondary_says(&r, WIRE_READY, EPOCH);
	while (primary_copy_progress(r.p, &g) && g.pages_left) {
		assert_true(g.pages_left <= RIG_PAGES);
		(void)!recv(r.bulk_fd, buf, sizeof(buf), MSG_DONTWAIT);
		assert_true(loop_step(r.loop, 0) >= 0);
	}
	assert_true(g.known);
	assert_int_equal(g.seconds_left, 0);
	primary_stop(r.p);
	assert_false(primary_copy_progress(r.p, &g));
	rig_close(&r);
}

static void a_handed_over_connection_needs_no_further_descriptor(void **state)
{
	struct rlimit old, none;
	char c = 0;
	struct rig r;
	int fd;

	(void)state;
	rig_open(&r);
	rig_start(&r, EPOCH);
	secondary_says(&r, WIRE_READY, EPOCH);
	primary_switch(r.p);
	commit(&r, EPOCH + 1, 1);
	turn_until(r.loop, r.events[FSM_EV_GIVEN]);
	secondary_says(&r, WIRE_TAKEN, EPOCH + 1);
	assert_int_equal(r.events[FSM_EV_HANDED_OVER], 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	fd = primary_detach(r.p);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(fd >= 0);
	turn_until(r.loop, primary_is_idle(r.p));
	assert_int_equal(send(r.bulk_fd, "x", 1, 0), 1);
	assert_int_equal(recv(fd, &c, 1, 0), 1);
	assert_int_equal(c, 'x');
	close(fd);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handed_over_connection_needs_no_further_descriptor),
		cmocka_unit_test(a_first_copy_tells_what_is_left_of_it),
		cmocka_unit_test(a_trigger_right_after_ready_waits_for_the_worker),
		cmocka_unit_test(output_waits_for_the_checkpoint_that_closes_its_epoch),
		cmocka_unit_test(a_checkpoint_that_failed_is_not_tried_again_at_once),
		cmocka_unit_test(a_checkpoint_that_failed_is_tried_again_though_none_is_due),
		cmocka_unit_test(checkpoints_that_always_fail_end_the_session),
		cmocka_unit_test(a_session_that_ends_in_the_pause_lets_the_guest_go_on),
		cmocka_unit_test(a_guest_that_cannot_go_on_is_told_of_though_its_session_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
