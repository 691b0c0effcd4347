// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD server on a real socket: how connections end, cutting, bad clients, who may come. */
#include "tests/unit/nbd-rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
	rig_done(r, 0, 0);
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
	autoclose int other = rig_attach(r, "other");
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
	close(rig_attach(r, "disk0"));
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
	rig_done(r, 0, 0);
	rig_done(r, 0, EIO);
	nbd_server_admit(r->server, 0);
	fd[0] = rig_attach(r, "disk0");
	close(fd[0]);
	close(fd[1]);
	for (unsigned i = 0; i < NBD_CONNS_MAX - 2; i++)
		close(fds[i]);
	turn_until(r->loop, r->n_cancelled == 4);
	while (r->n_held)
		rig_done(r, 0, 0);
	rig_turn_all(r);
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
			rig_done(r, r->n_held - 1, 0);
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
	rig_turn_all(r);
	assert_int_equal(r->n_closed, 0);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t got[4096];

		rig_done(r, 0, 0);
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

static void a_peaceful_end_waits_for_a_client_that_reads_slowly(void **state)
{
	struct rig *r = *state;
	autoclose int fd = rig_attach(r, "disk0");
	autofree uint8_t *got = malloc(MIB);

	for (unsigned i = 0; i < 4; i++)
		rig_command(r, fd, NBD_CMD_READ, 0, i, 0, MIB);
	rig_command(r, fd, NBD_CMD_DISC, 0, 0, 0, 0);
	rig_turn_all(r);
	assert_int_equal(r->n_requests, 4);
	assert_int_equal(r->n_closed, 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rig_reply(r, fd, i), 0);
		assert_int_equal(rig_hear(r, fd, got, MIB), MIB);
	}
	rig_hung_up(r, fd);
	assert_true(r->closed_in_peace);
}

static void nothing_of_a_client_is_left_for_the_next(void **state)
{
	struct rig *r = *state;

	for (unsigned n = 0; n < 2 * NBD_CONNS_MAX; n++) {
		autoclose int fd = rig_attach(r, "disk0");
		uint8_t some[1000];

		/* An answer half sent, a write half read. */
		rig_command(r, fd, NBD_CMD_FLUSH, 0, n, 0, 0);
		assert_int_equal(rig_reply(r, fd, n), 0);
		rig_command(r, fd, NBD_CMD_READ, 0, 1, 0, NBD_BLOCK_MAX);
		assert_int_equal(rig_hear(r, fd, some, sizeof(some)), sizeof(some));
		rig_command(r, fd, NBD_CMD_WRITE, 0, 2, 0, NBD_BLOCK_MAX);
		rig_send(r, fd, some, sizeof(some));
		rig_turn_all(r);
		close_fd(&fd);
		turn_until(r->loop, r->n_closed == n + 1);
	}
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

#define t(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(cutting_hangs_up_at_once_and_ends_what_is_in_flight),
		t(a_disk_that_was_cut_off_is_refused_until_it_is_admitted_again),
		t(a_request_may_end_after_its_client_and_holds_its_place_till_then),
		t(the_backend_may_cut_from_within_a_request),
		t(requests_of_a_client_that_is_gone_are_cancelled),
		t(a_client_that_goes_half_way_through_a_write_leaves_nothing),
		t(before_a_peaceful_end_everything_is_answered),
		t(a_peaceful_end_waits_for_a_client_that_reads_slowly),
		t(nothing_of_a_client_is_left_for_the_next),
		t(a_negotiation_can_be_aborted),
		t(garbage_ends_its_own_connection_only),
		t(more_clients_than_places_are_hung_up_on),
		t(other_users_are_hung_up_on),
		t(freeing_ends_everything),
		t(a_path_where_somebody_answers_and_bad_disks_are_refused),
	};

	return cmocka_run_group_tests_name("nbd-clients", tests, NULL, NULL);
}
