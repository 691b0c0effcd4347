// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD server on a real socket: requests of well-behaved clients, held-back answers, several disks and connections. */
#include "tests/unit/nbd-rig.h"

#include "colod/disk/nbd-pool.h"

static void each_command_does_what_it_says(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	uint8_t got[12] = {}, *disk = r->bytes[0];

	assert_int_equal(r->n_opened, 1);
	memset(disk, 'x', 16);
	rig_command(r, fd, NBD_CMD_WRITE, 1, 1, 4, 8);
	rig_send(r, fd, "12345678", 8);
	assert_int_equal(rig_reply(r, fd, 1), 0);
	assert_memory_equal(disk, "xxxx12345678xxxx", 16);
	assert_int_equal(r->n_fua, 1);
	rig_command(r, fd, NBD_CMD_READ, 0, 2, 2, 12);
	assert_int_equal(rig_reply(r, fd, 2), 0);
	assert_int_equal(rig_hear(r, fd, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, "xx12345678xx", 12);
	rig_command(r, fd, NBD_CMD_WRITE_ZEROES, 0, 3, 5, 2);
	assert_int_equal(rig_reply(r, fd, 3), 0);
	assert_memory_equal(disk,
			    "xxxx1\0\0"
			    "45678xxxx",
			    16);
	assert_int_equal(r->n_no_unmap, 0);
	rig_command(r, fd, NBD_CMD_WRITE_ZEROES, 2, 4, 8, 1);
	assert_int_equal(rig_reply(r, fd, 4), 0);
	assert_int_equal(r->n_no_unmap, 1);
	rig_command(r, fd, NBD_CMD_TRIM, 0, 5, 0, RIG_DISK_BYTES);
	assert_int_equal(rig_reply(r, fd, 5), 0);
	assert_int_equal(disk[0], 0);
	rig_command(r, fd, NBD_CMD_FLUSH, 0, 6, 0, 0);
	assert_int_equal(rig_reply(r, fd, 6), 0);
	assert_int_equal(r->n_flushes, 1);
	assert_int_equal(r->n_requests, 6);
}

static void an_error_is_told_without_data_and_the_connection_goes_on(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	uint8_t byte;

	r->error = EIO;
	rig_command(r, fd, NBD_CMD_READ, 0, 1, 0, 4096);
	rig_command(r, fd, NBD_CMD_WRITE, 0, 2, 0, 1);
	rig_send(r, fd, "x", 1);
	assert_int_equal(rig_reply(r, fd, 1), 5);
	assert_int_equal(rig_reply(r, fd, 2), 5);
	r->error = -ENOSPC;
	rig_command(r, fd, NBD_CMD_TRIM, 0, 3, 100, 1);
	assert_int_equal(rig_reply(r, fd, 3), 28);
	/* Never seen by the backend. */
	rig_command(r, fd, NBD_CMD_READ, 0, 4, RIG_DISK_BYTES, 1);
	rig_command(r, fd, 77, 0, 5, 0, 0);
	assert_int_equal(rig_reply(r, fd, 4), 22);
	assert_int_equal(rig_reply(r, fd, 5), 22);
	assert_int_equal(r->n_requests, 3);
	r->error = 0;
	rig_command(r, fd, NBD_CMD_READ, 0, 6, 0, 1);
	assert_int_equal(rig_reply(r, fd, 6), 0);
	assert_int_equal(rig_hear(r, fd, &byte, 1), 1);
	assert_int_equal(byte, 'x');
}

/* Write command @cookie: that number at 8 * @cookie. */
static void say_write(struct said *s, uint64_t cookie)
{
	say_command(s, NBD_CMD_WRITE, 0, cookie, 8 * cookie, 8);
	say_be(s, cookie, 8);
}

static void requests_come_in_order_and_are_answered_in_any(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	autofree struct said *s = calloc(1, sizeof(*s));

	r->hold[0] = true;
	for (uint64_t i = 0; i < NBD_IN_FLIGHT_MAX; i++)
		say_write(s, i);
	rig_say(r, fd, s);
	turn_until(r->loop, r->n_held == NBD_IN_FLIGHT_MAX);
	for (unsigned i = 0; i < NBD_IN_FLIGHT_MAX; i++) {
		assert_int_equal(r->held[i]->cmd.cookie, i);
		assert_int_equal(get_be64(r->held[i]->data), i);
	}
	rig_done(r, 7, 0);
	assert_int_equal(rig_reply(r, fd, 7), 0);
	rig_done(r, 3, EIO);
	rig_done(r, 0, 0);
	assert_int_equal(rig_reply(r, fd, 3), 5);
	assert_int_equal(rig_reply(r, fd, 0), 0);
	while (r->n_held)
		rig_done(r, r->n_held - 1, 0);
	for (unsigned i = NBD_IN_FLIGHT_MAX; i-- > 1;)
		if (i != 7 && i != 3)
			assert_int_equal(rig_reply(r, fd, i), 0);
}

static void a_held_back_answer_holds_up_nobody_else(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0"), other = rig_attach(r, "other");
	autoclose int same = rig_attach(r, "disk0");
	autofree struct said *s = calloc(1, sizeof(*s));

	r->hold[0] = true;
	for (uint64_t i = 0; i < 100; i++)
		say_write(s, i);
	rig_say(r, fd, s);
	turn_until(r->loop, r->n_held == NBD_IN_FLIGHT_MAX);
	for (uint64_t i = 0; i < 50; i++) {
		rig_command(r, other, NBD_CMD_FLUSH, 0, i, 0, 0);
		assert_int_equal(rig_reply(r, other, i), 0);
	}
	r->hold[0] = false;
	rig_command(r, same, NBD_CMD_FLUSH, 0, 1, 0, 0);
	assert_int_equal(rig_reply(r, same, 1), 0);
	assert_int_equal(r->n_held, NBD_IN_FLIGHT_MAX);
	assert_int_equal(r->n_requests, NBD_IN_FLIGHT_MAX + 51);
	while (r->n_held)
		rig_done(r, 0, 0);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(rig_reply(r, fd, i), 0);
}

static void at_the_most_requests_in_flight_nothing_is_read_until_one_ends(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	autofree struct said *s = calloc(1, sizeof(*s));

	r->hold[0] = true;
	for (uint64_t i = 0; i < NBD_IN_FLIGHT_MAX + 4; i++)
		say_write(s, i);
	rig_say(r, fd, s);
	rig_turn_all(r);
	assert_int_equal(r->n_requests, NBD_IN_FLIGHT_MAX);
	for (unsigned i = 0; i < 4; i++) {
		rig_done(r, 0, 0);
		rig_turn_all(r);
		assert_int_equal(r->n_requests, NBD_IN_FLIGHT_MAX + i + 1);
		assert_int_equal(r->held[NBD_IN_FLIGHT_MAX - 1]->cmd.cookie, NBD_IN_FLIGHT_MAX + i);
		assert_int_equal(rig_reply(r, fd, i), 0);
	}
}

static void without_memory_for_its_data_a_request_waits_in_its_socket(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0"), other = rig_attach(r, "other");
	const unsigned fit = NBD_POOL_BYTES / NBD_BLOCK_MAX;
	autofree uint8_t *got = malloc(NBD_BLOCK_MAX);

	r->hold[0] = true;
	for (unsigned i = 0; i < fit + 3; i++)
		rig_command(r, fd, NBD_CMD_READ, 0, i, i, NBD_BLOCK_MAX);
	rig_turn_all(r);
	assert_int_equal(r->n_held, fit);
	rig_command(r, other, NBD_CMD_READ, 0, 1, 0, RIG_OTHER_BYTES);
	assert_int_equal(rig_reply(r, other, 1), 0);
	r->bytes[0][fit + 1] = 'y';
	rig_done(r, 0, 0);
	assert_int_equal(rig_reply(r, fd, 0), 0);
	/* Its data hold the memory until they have left. */
	rig_turn_all(r);
	assert_int_equal(r->n_held, fit - 1);
	assert_int_equal(rig_hear(r, fd, got, NBD_BLOCK_MAX), NBD_BLOCK_MAX);
	turn_until(r->loop, r->n_held == fit);
	r->hold[0] = false;
	while (r->n_held)
		rig_done(r, 0, 0);
	for (unsigned i = 1; i < fit + 3; i++) {
		assert_int_equal(rig_reply(r, fd, i), 0);
		assert_int_equal(rig_hear(r, fd, got, NBD_BLOCK_MAX), NBD_BLOCK_MAX);
		assert_int_equal(got[0] == 'y', i == fit + 1);
	}
}

static void pool_runs_do_not_overlap_and_come_back(void **state)
{
	struct nbd_pool p = {};
	struct rng rng = {3};
	struct {
		uint8_t *at;
		uint32_t bytes;
	} live[64] = {};

	(void)state;
	assert_int_equal(nbd_pool_init(&p), 0);
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = rng_below(&rng, ARRAY_SIZE(live));
		uint32_t bytes = 1 + (uint32_t)rng_below(&rng, NBD_BLOCK_MAX);

		if (live[i].at) {
			assert_int_equal(live[i].at[0], i);
			assert_int_equal(live[i].at[live[i].bytes - 1], i);
			nbd_pool_put(&p, live[i].at, live[i].bytes);
			live[i].at = NULL;
			continue;
		}
		live[i].at = nbd_pool_get(&p, bytes);
		live[i].bytes = bytes;
		if (live[i].at)
			live[i].at[0] = live[i].at[bytes - 1] = (uint8_t)i;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i].at)
			nbd_pool_put(&p, live[i].at, live[i].bytes);
	for (unsigned i = 0; i < NBD_POOL_BYTES / NBD_BLOCK_MAX; i++)
		assert_non_null(nbd_pool_get(&p, NBD_BLOCK_MAX));
	assert_null(nbd_pool_get(&p, 1));
	nbd_pool_destroy(&p);
}

static void a_client_that_does_not_read_its_answers_is_not_read_from(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	autofree uint8_t *got = malloc(RIG_DISK_BYTES);
	const unsigned n = 40;

	for (unsigned i = 0; i < n; i++)
		rig_command(r, fd, NBD_CMD_READ, 0, i, 0, MIB);
	rig_turn_all(r);
	assert_true(r->n_requests < n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(rig_reply(r, fd, i), 0);
		assert_int_equal(rig_hear(r, fd, got, MIB), MIB);
	}
	assert_int_equal(r->n_requests, n);
}

static void many_small_commands_at_once_are_all_answered(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	autofree struct said *s = calloc(1, sizeof(*s));
	const unsigned n = 2000;

	for (unsigned i = 0; i < n; i++)
		say_command(s, i % 3 ? NBD_CMD_FLUSH : 9999, 0, i, 0, 0);
	rig_say(r, fd, s);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(rig_reply(r, fd, i), i % 3 ? 0 : 22);
}

#define t(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(each_command_does_what_it_says),
		t(an_error_is_told_without_data_and_the_connection_goes_on),
		t(requests_come_in_order_and_are_answered_in_any),
		t(a_held_back_answer_holds_up_nobody_else),
		t(at_the_most_requests_in_flight_nothing_is_read_until_one_ends),
		t(without_memory_for_its_data_a_request_waits_in_its_socket),
		t(pool_runs_do_not_overlap_and_come_back),
		t(a_client_that_does_not_read_its_answers_is_not_read_from),
		t(many_small_commands_at_once_are_all_answered),
	};

	return cmocka_run_group_tests_name("nbd-server", tests, NULL, NULL);
}
