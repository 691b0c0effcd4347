// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD server on a real socket: held-back answers, cutting, several disks and connections, bad clients. */
#include "tests/unit/nbd-rig.h"

#include "base/unix-listen.h"
#include "colod/disk/nbd-pool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DISK_BYTES  (4 * MIB)
#define OTHER_BYTES (64 * KIB)

static int setup(void **state)
{
	struct rig *r = malloc(sizeof(*r));
	struct loop *loop;

	assert_non_null(r);
	assert_int_equal(loop_new(&loop, NULL), 0);
	rig_start(r, loop, DISK_BYTES, OTHER_BYTES);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_stop(r);
	loop_free(r->loop);
	free(r);
	return 0;
}

static void done_held(struct rig *r, unsigned i, int error)
{
	struct nbd_request *rq = r->held[i];

	memmove(r->held + i, r->held + i + 1, (--r->n_held - i) * sizeof(r->held[0]));
	nbd_request_done(rq, error);
}

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
	rig_command(r, fd, NBD_CMD_TRIM, 0, 5, 0, DISK_BYTES);
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
	rig_command(r, fd, NBD_CMD_READ, 0, 4, DISK_BYTES, 1);
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
	done_held(r, 7, 0);
	assert_int_equal(rig_reply(r, fd, 7), 0);
	done_held(r, 3, EIO);
	done_held(r, 0, 0);
	assert_int_equal(rig_reply(r, fd, 3), 5);
	assert_int_equal(rig_reply(r, fd, 0), 0);
	while (r->n_held)
		done_held(r, r->n_held - 1, 0);
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
		done_held(r, 0, 0);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(rig_reply(r, fd, i), 0);
}

static void turn_all(struct rig *r)
{
	while (loop_step(r->loop, 0) == 1)
		;
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
	turn_all(r);
	assert_int_equal(r->n_requests, NBD_IN_FLIGHT_MAX);
	for (unsigned i = 0; i < 4; i++) {
		done_held(r, 0, 0);
		turn_all(r);
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
	turn_all(r);
	assert_int_equal(r->n_held, fit);
	rig_command(r, other, NBD_CMD_READ, 0, 1, 0, OTHER_BYTES);
	assert_int_equal(rig_reply(r, other, 1), 0);
	r->bytes[0][fit + 1] = 'y';
	done_held(r, 0, 0);
	assert_int_equal(rig_reply(r, fd, 0), 0);
	/* Its data hold the memory until they have left. */
	turn_all(r);
	assert_int_equal(r->n_held, fit - 1);
	assert_int_equal(rig_hear(r, fd, got, NBD_BLOCK_MAX), NBD_BLOCK_MAX);
	turn_until(r->loop, r->n_held == fit);
	r->hold[0] = false;
	while (r->n_held)
		done_held(r, 0, 0);
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
	autofree uint8_t *got = malloc(DISK_BYTES);
	const unsigned n = 40;

	for (unsigned i = 0; i < n; i++)
		rig_command(r, fd, NBD_CMD_READ, 0, i, 0, MIB);
	turn_all(r);
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

/* Two held requests on a connection to each disk. */
static void hold_two_each(struct rig *r, int fd[2])
{
	fd[0] = rig_attach(r, "disk0");
	fd[1] = rig_attach(r, "other");
	r->hold[0] = r->hold[1] = true;
	for (unsigned i = 0; i < 4; i++) {
		rig_command(r, fd[i / 2], NBD_CMD_READ, 0, i, 0, 4096);
		turn_until(r->loop, r->n_held == i + 1);
	}
}

static void cutting_hangs_up_at_once_and_ends_what_is_in_flight(void **state)
{
	struct rig *r = *state;
	int fd[2];

	hold_two_each(r, fd);
	assert_int_equal(nbd_server_clients(r->server, 0), 1);
	nbd_server_cut(r->server, 0, "the guest's stop takes too long");
	rig_hung_up(r, fd[0]);
	assert_int_equal(r->n_cancelled, 2);
	assert_int_equal(r->n_held, 2);
	assert_int_equal(r->n_closed, 1);
	assert_int_equal(r->closed_export, 0);
	assert_int_equal(r->why.code, ECANCELED);
	assert_string_equal(r->why.msg, "the guest's stop takes too long");
	assert_int_equal(nbd_server_clients(r->server, 0), 0);
	assert_int_equal(nbd_server_clients(r->server, 1), 1);
	done_held(r, 0, 0);
	assert_int_equal(rig_reply(r, fd[1], r->held[0]->cmd.cookie == 2 ? 3 : 2), 0);
	close(fd[0]);
	close(fd[1]);
	turn_until(r->loop, r->n_closed == 2);
	nbd_server_admit(r->server, 0);
	fd[0] = rig_attach(r, "disk0");
	assert_int_equal(nbd_server_clients(r->server, 0), 1);
	nbd_server_cut(r->server, 1, "nobody is there");
	assert_int_equal(r->n_closed, 2);
	close(fd[0]);
}

static void a_disk_that_was_cut_off_is_refused_until_it_is_admitted_again(void **state)
{
	struct rig *r = *state;
	autoclose int other = rig_attach(r, "other"), fd = -1;
	autofree struct said *s = calloc(1, sizeof(*s));
	uint8_t hello[18];

	nbd_server_cut(r->server, 0, "cut");
	for (unsigned i = 0; i < 3; i++) {
		autoclose int refused = rig_connect(r->path);

		say_be(s, 3, 4);
		say_option(s, NBD_OPT_EXPORT_NAME, 5);
		say(s, "disk0", 5);
		rig_say(r, refused, s);
		assert_int_equal(rig_hear(r, refused, hello, sizeof(hello)), sizeof(hello));
		rig_hung_up(r, refused);
	}
	rig_command(r, other, NBD_CMD_FLUSH, 0, 1, 0, 0);
	assert_int_equal(rig_reply(r, other, 1), 0);
	nbd_server_admit(r->server, 0);
	fd = rig_attach(r, "disk0");
	assert_int_equal(r->n_opened, 2);
}

static void a_request_may_end_after_its_client_and_holds_its_place_till_then(void **state)
{
	struct rig *r = *state;
	int fds[NBD_CONNS_MAX];
	int fd[2];

	hold_two_each(r, fd);
	r->late = true;
	nbd_server_cut(r->server, 0, "cut");
	rig_hung_up(r, fd[0]);
	close(fd[0]);
	assert_int_equal(r->n_cancelled, 2);
	assert_int_equal(r->n_held, 4);
	/* The backend may still write there. */
	memset(r->held[0]->data, 1, 4096);
	for (unsigned i = 0; i < NBD_CONNS_MAX - 2; i++)
		fds[i] = rig_attach(r, "other");
	fd[0] = rig_connect(r->path);
	rig_hung_up(r, fd[0]);
	close(fd[0]);
	done_held(r, 0, 0);
	done_held(r, 0, EIO);
	nbd_server_admit(r->server, 0);
	fd[0] = rig_attach(r, "disk0");
	close(fd[0]);
	close(fd[1]);
	for (unsigned i = 0; i < NBD_CONNS_MAX - 2; i++)
		close(fds[i]);
	turn_until(r->loop, r->n_cancelled == 4);
	while (r->n_held)
		done_held(r, 0, 0);
	turn_all(r);
}

static void the_backend_may_cut_from_within_a_request(void **state)
{
	for (unsigned n = 0; n < 4; n++) {
		struct rig *r = *state;
		autofree struct said *s = calloc(1, sizeof(*s));
		autoclose int fd = -1;

		nbd_server_admit(r->server, 0);
		fd = rig_attach(r, "disk0");
		r->n_requests = r->n_closed = 0;
		r->hold[0] = n % 2;
		r->cut_at = 1 + n / 2 * 5;
		for (unsigned i = 0; i < 12; i++)
			say_command(s, NBD_CMD_TRIM, 0, i, i, 1);
		rig_say(r, fd, s);
		turn_until(r->loop, r->n_closed);
		assert_int_equal(r->n_requests, r->cut_at);
		assert_non_null(strstr(r->why.msg, "by the backend"));
		if (n % 2) /* it kept the one that was cut at */
			done_held(r, r->n_held - 1, 0);
		assert_int_equal(r->n_held, 0);
		while (recv(fd, s->bytes, sizeof(s->bytes), MSG_DONTWAIT) > 0)
			;
		rig_hung_up(r, fd);
	}
}

static void requests_of_a_client_that_is_gone_are_cancelled(void **state)
{
	struct rig *r = *state;
	int fd[2];

	hold_two_each(r, fd);
	close(fd[1]);
	turn_until(r->loop, r->n_closed);
	assert_int_equal(r->n_cancelled, 2);
	assert_int_equal(r->closed_export, 1);
	assert_false(r->closed_in_peace);
	assert_non_null(strstr(r->why.msg, "hung up"));
	assert_int_equal(r->n_held, 2);
	close(fd[0]);
	turn_until(r->loop, r->n_closed == 2);
}

static void a_client_that_goes_half_way_through_a_write_leaves_nothing(void **state)
{
	struct rig *r = *state;
	int fd = rig_attach(r, "disk0");

	rig_command(r, fd, NBD_CMD_WRITE, 0, 1, 0, 1000);
	rig_send(r, fd, "half", 4);
	close(fd);
	turn_until(r->loop, r->n_closed);
	assert_int_equal(r->n_requests, 0);
	assert_int_equal(r->n_cancelled, 0);
	assert_int_equal(r->bytes[0][0], 0);
}

static void before_a_peaceful_end_everything_is_answered(void **state)
{
	struct rig *r = *state;
	int fd[2];

	hold_two_each(r, fd);
	rig_command(r, fd[0], NBD_CMD_DISC, 0, 0, 0, 0);
	turn_all(r);
	assert_int_equal(r->n_closed, 0);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t got[4096];

		done_held(r, 0, 0);
		assert_int_equal(rig_reply(r, fd[0], i), 0);
		assert_int_equal(rig_hear(r, fd[0], got, sizeof(got)), sizeof(got));
	}
	rig_hung_up(r, fd[0]);
	assert_int_equal(r->n_closed, 1);
	assert_true(r->closed_in_peace);
	assert_int_equal(r->n_cancelled, 0);
	close(fd[0]);
	close(fd[1]);
	turn_until(r->loop, r->n_closed == 2);
}

static void a_negotiation_can_be_aborted(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_connect(r->path);
	autofree struct said *s = calloc(1, sizeof(*s));
	uint8_t got[18 + 20];

	say_be(s, 3, 4);
	say_option(s, NBD_OPT_ABORT, 0);
	rig_say(r, fd, s);
	assert_int_equal(rig_hear(r, fd, got, sizeof(got)), sizeof(got));
	rig_hung_up(r, fd);
	assert_true(r->closed_in_peace);
	assert_int_equal(r->closed_export, NBD_EXPORT_UNKNOWN);
	assert_int_equal(r->n_opened, 0);
}

static void garbage_ends_its_own_connection_only(void **state)
{
	struct rig *r = *state;
	autoclose int good = rig_attach(r, "disk0");
	struct rng rng = {1};

	for (unsigned i = 0; i < 50; i++) {
		autoclose int fd = i % 2 ? rig_attach(r, "disk0") : rig_connect(r->path);
		uint8_t bytes[64];

		rng_fill(&rng, bytes, sizeof(bytes));
		rig_send(r, fd, bytes, sizeof(bytes));
		turn_until(r->loop, r->n_closed == i + 1);
		assert_int_equal(r->why.code, EPROTO);
		rig_command(r, good, NBD_CMD_FLUSH, 0, i, 0, 0);
		assert_int_equal(rig_reply(r, good, i), 0);
	}
}

static void more_clients_than_places_are_hung_up_on(void **state)
{
	struct rig *r = *state;
	int fd[NBD_CONNS_MAX], more;

	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		fd[i] = rig_attach(r, i % 2 ? "disk0" : "other");
	assert_int_equal(nbd_server_clients(r->server, 0), NBD_CONNS_MAX / 2);
	for (unsigned i = 0; i < 3; i++) {
		more = rig_connect(r->path);
		rig_hung_up(r, more);
		close(more);
		assert_int_equal(r->why.code, EBUSY);
		assert_int_equal(r->closed_export, NBD_EXPORT_UNKNOWN);
	}
	close(fd[5]);
	turn_until(r->loop, r->n_closed == 4);
	fd[5] = rig_attach(r, "disk0");
	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		close(fd[i]);
	turn_until(r->loop, r->n_closed == 4 + NBD_CONNS_MAX);
}

static void other_users_are_hung_up_on(void **state)
{
	struct rig *r = *state;
	struct stat st;
	pid_t child;
	int status;

	assert_int_equal(stat(r->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	if (geteuid())
		skip();
	/* As if somebody had opened the file's mode: the peer's user is judged too. */
	assert_int_equal(chmod(r->path, 0666), 0);
	assert_int_equal(chmod(r->dir, 0755), 0);
	child = fork();
	if (!child) {
		uint8_t byte;
		int fd;

		if (setgid(65534) || setuid(65534))
			_exit(1);
		fd = rig_connect(r->path);
		if (fd < 0 || fcntl(fd, F_SETFL, 0))
			_exit(2);
		_exit(recv(fd, &byte, 1, 0) == 0 ? 0 : 3);
	}
	turn_until(r->loop, r->n_closed);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(r->why.code, EACCES);
	assert_non_null(strstr(r->why.msg, "65534"));
}

static void freeing_ends_everything(void **state)
{
	struct rig *r = *state;
	int fd[2];

	hold_two_each(r, fd);
	nbd_server_free(r->server);
	assert_int_equal(r->n_cancelled, 4);
	assert_int_equal(r->n_closed, 2);
	assert_int_equal(access(r->path, F_OK), -1);
	r->server = NULL;
	rig_hung_up(r, fd[0]);
	rig_hung_up(r, fd[1]);
	close(fd[0]);
	close(fd[1]);
}

static void a_path_where_somebody_answers_and_bad_disks_are_refused(void **state)
{
	struct rig *r = *state;
	struct nbd_server *s = NULL;
	char path[80];
	struct nbd_export many[NBD_EXPORTS_MAX + 1];
	struct nbd_export bad = {"", 512};
	struct err e = {};

	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct nbd_export){"x", 512};
	snprintf(path, sizeof(path), "%s-2", r->path);
	assert_int_equal(nbd_server_start(&s, r->loop, r->path, r->exports, 1, &rig_backend, r, &e),
			 -EADDRINUSE);
	assert_non_null(strstr(e.msg, r->path));
	assert_int_equal(nbd_server_start(&s, r->loop, path, many, 0, &rig_backend, r, &e),
			 -EINVAL);
	assert_int_equal(
		nbd_server_start(&s, r->loop, path, many, ARRAY_SIZE(many), &rig_backend, r, &e),
		-EINVAL);
	assert_int_equal(nbd_server_start(&s, r->loop, path, &bad, 1, &rig_backend, r, &e),
			 -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(nbd_server_start(&s, r->loop, "/nonexistent/socket", r->exports, 1,
					  &rig_backend, r, &e),
			 -ENOENT);
	assert_null(s);
	/* The one that answers is as it was. */
	close(rig_attach(r, "disk0"));
	turn_until(r->loop, r->n_closed);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
		t(cutting_hangs_up_at_once_and_ends_what_is_in_flight),
		t(a_disk_that_was_cut_off_is_refused_until_it_is_admitted_again),
		t(a_request_may_end_after_its_client_and_holds_its_place_till_then),
		t(the_backend_may_cut_from_within_a_request),
		t(requests_of_a_client_that_is_gone_are_cancelled),
		t(a_client_that_goes_half_way_through_a_write_leaves_nothing),
		t(before_a_peaceful_end_everything_is_answered),
		t(a_negotiation_can_be_aborted),
		t(garbage_ends_its_own_connection_only),
		t(more_clients_than_places_are_hung_up_on),
		t(other_users_are_hung_up_on),
		t(freeing_ends_everything),
		t(a_path_where_somebody_answers_and_bad_disks_are_refused),
	};

	return cmocka_run_group_tests_name("nbd-server", tests, NULL, NULL);
}
