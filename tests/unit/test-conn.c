// SPDX-License-Identifier: GPL-2.0-or-later
/* One buffered connection on a socket pair whose far end is the test. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/link/conn.h"

#include <sys/socket.h>

struct fixture {
	struct loop *loop;
	struct conn conn;
	int far;
	uint64_t epochs[256]; /* of the messages, in order */
	unsigned messages, closed;
	unsigned close_after; /* messages; 0: never */
	struct err reason;
};

static void on_message(struct conn *c, const struct wire_msg *m)
{
	struct fixture *f = container_of(c, struct fixture, conn);

	f->epochs[f->messages++ % ARRAY_SIZE(f->epochs)] = m->epoch;
	if (f->messages == f->close_after)
		conn_close(c);
}

static void on_closed(struct conn *c, const struct err *why)
{
	struct fixture *f = container_of(c, struct fixture, conn);

	assert_false(conn_is_open(c));
	f->closed++;
	f->reason = *why;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;
	int p[2];

	assert_ok(loop_new(&f->loop, &e), &e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	f->conn.on_message = on_message;
	f->conn.on_closed = on_closed;
	f->far = p[1];
	assert_ok(conn_open(&f->conn, f->loop, p[0], &e), &e);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	conn_close(&f->conn);
	conn_close(&f->conn);
	close_fd(&f->far);
	loop_free(f->loop);
	free(f);
	return 0;
}

static size_t ready_bytes(uint8_t *buf, uint64_t epoch)
{
	struct wire_msg m = {.type = WIRE_READY, .epoch = epoch};

	return wire_encode(&m, buf);
}

static void say(struct fixture *f, const void *buf, size_t len)
{
	assert_int_equal(io_write_full(f->far, buf, len), 0);
}

static void assert_numbered(const struct fixture *f, unsigned n)
{
	assert_int_equal(f->messages, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(f->epochs[i], i);
}

static void a_message_may_come_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[64];
	size_t n = ready_bytes(buf, 0);

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(f->messages, 0);
		say(f, buf + i, 1);
		turn_until(f->loop, f->conn.in_len == (i + 1) % n);
	}
	assert_numbered(f, 1);
	assert_true(conn_is_open(&f->conn));
}

static void messages_in_one_piece_come_out_one_by_one(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[100 * 20];
	size_t n = 0;

	for (unsigned i = 0; i < 100; i++)
		n += ready_bytes(buf + n, i);
	say(f, buf, n - 3);
	turn_until(f->loop, f->messages == 99);
	say(f, buf + n - 3, 3);
	turn_until(f->loop, f->messages == 100);
	assert_numbered(f, 100);
}

static void the_callee_may_close_between_two_messages(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[3 * 20];
	size_t n = 0;

	f->close_after = 2;
	for (unsigned i = 0; i < 3; i++)
		n += ready_bytes(buf + n, i);
	say(f, buf, n);
	turn_until(f->loop, f->messages == 2);
	assert_false(conn_is_open(&f->conn));
	assert_int_equal(loop_step(f->loop, 0), 0);
	assert_numbered(f, 2);
	assert_int_equal(f->closed, 0);
}

static void the_peers_end_is_told_after_its_last_message(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[64];

	say(f, buf, ready_bytes(buf, 0));
	close_fd(&f->far);
	turn_until(f->loop, f->closed);
	assert_numbered(f, 1);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->reason.code, ECONNRESET);
}

static void garbage_closes_after_what_was_whole(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[64] = {};
	size_t n = ready_bytes(buf, 0);

	memset(buf + n, 'x', WIRE_HEADER_BYTES);
	say(f, buf, n + WIRE_HEADER_BYTES);
	turn_until(f->loop, f->closed);
	assert_numbered(f, 1);
	assert_int_equal(f->reason.code, EPROTO);
	assert_non_null(strstr(err_msg(&f->reason), "does not speak"));
	assert_int_equal(conn_send(&f->conn, &(struct wire_msg){.type = WIRE_READY}), -ENOTCONN);
}

static void check_refused_header(struct fixture *f, enum wire_type type, uint32_t length,
				 const char *why)
{
	uint8_t buf[WIRE_HEADER_BYTES];

	wire_encode_header(buf, type, length);
	say(f, buf, sizeof(buf));
	turn_until(f->loop, f->closed);
	assert_int_equal(f->reason.code, EPROTO);
	assert_non_null(strstr(err_msg(&f->reason), why));
}

static void bulk_frames_have_no_place_here(void **state)
{
	check_refused_header(*state, WIRE_PAGES, 20, "PAGES on the control connection");
}

static void a_length_that_never_fits_is_not_waited_for(void **state)
{
	check_refused_header(*state, WIRE_READY, UINT32_MAX, "impossible length");
}

static void a_malformed_message_closes(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[64] = {};

	wire_encode_header(buf, WIRE_READY, 9);
	say(f, buf, WIRE_HEADER_BYTES + 9);
	turn_until(f->loop, f->closed);
	assert_int_equal(f->messages, 0);
	assert_non_null(strstr(err_msg(&f->reason), "malformed READY"));
}

static void hear(struct fixture *f, uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = recv(f->far, buf, len, MSG_DONTWAIT);

		if (n < 0)
			assert_int_equal(loop_step(f->loop, GIVE_UP_US), 1);
		buf += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
}

/* Read what was sent and check that it is @n whole messages in order. */
static void assert_sent(struct fixture *f, uint64_t n)
{
	uint8_t buf[64], want[64];

	for (uint64_t i = 0; i < n; i++) {
		size_t len = ready_bytes(want, i);

		hear(f, buf, len);
		assert_memory_equal(buf, want, len);
	}
	while (loop_step(f->loop, 0) > 0)
		;
}

static void sending_never_blocks_and_loses_nothing_it_took(void **state)
{
	struct fixture *f = *state;
	struct wire_msg m = {.type = WIRE_READY};
	int r, small = 8 * KIB; /* so that what waits leaves in parts */
	uint64_t sent = 0;

	assert_int_equal(setsockopt(f->conn.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	while (!(r = conn_send(&f->conn, &m)))
		m.epoch = ++sent;
	assert_int_equal(r, -ENOBUFS);
	assert_true(conn_is_open(&f->conn));
	assert_sent(f, sent);
	assert_int_equal(f->conn.out_len, 0);
	assert_int_equal(conn_send(&f->conn, &m), 0);
}

/* The loop must not spin on a writable socket when nothing waits to be sent. */
static void an_idle_connection_leaves_the_loop_asleep(void **state)
{
	struct fixture *f = *state;
	struct wire_msg m = {.type = WIRE_READY};

	while (!conn_send(&f->conn, &m))
		m.epoch++;
	assert_int_equal(loop_step(f->loop, 0), 0);
	assert_sent(f, m.epoch);
	assert_int_equal(loop_step(f->loop, 0), 0);
}

static void sending_to_a_peer_that_is_gone_is_told_once(void **state)
{
	struct fixture *f = *state;
	struct wire_msg m = {.type = WIRE_READY};

	close_fd(&f->far);
	assert_int_equal(conn_send(&f->conn, &m), 0);
	turn_until(f->loop, f->closed);
	assert_int_equal(f->closed, 1);
	assert_int_equal(loop_step(f->loop, 0), 0);
}

static void polling_takes_in_what_waits(void **state)
{
	struct fixture *f = *state;
	uint64_t before = f->conn.last_heard_us;
	uint8_t buf[64];

	conn_poll(&f->conn);
	assert_int_equal(f->conn.last_heard_us, before);
	say(f, buf, ready_bytes(buf, 0));
	conn_poll(&f->conn);
	assert_numbered(f, 1);
	assert_true(f->conn.last_heard_us >= before && f->conn.last_heard_us <= clock_now_us());
	close_fd(&f->far);
	conn_poll(&f->conn);
	assert_int_equal(f->closed, 1);
	conn_poll(&f->conn);
	assert_int_equal(f->closed, 1);
}

static void a_socket_is_handed_on_only_between_messages(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[64];
	int fd;

	say(f, buf, ready_bytes(buf, 0) - 1);
	conn_poll(&f->conn);
	assert_int_equal(conn_steal(&f->conn), -EPROTO);
	assert_true(conn_is_open(&f->conn));
	say(f, buf + ready_bytes(buf, 0) - 1, 1);
	conn_poll(&f->conn);
	fd = conn_steal(&f->conn);
	assert_true(fd >= 0);
	assert_false(conn_is_open(&f->conn));
	say(f, "x", 1);
	assert_int_equal(io_read_full(fd, buf, 1), 0);
	assert_int_equal(f->closed, 0);
	close(fd);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_message_may_come_byte_by_byte),
		test(messages_in_one_piece_come_out_one_by_one),
		test(the_callee_may_close_between_two_messages),
		test(the_peers_end_is_told_after_its_last_message),
		test(garbage_closes_after_what_was_whole),
		test(bulk_frames_have_no_place_here),
		test(a_length_that_never_fits_is_not_waited_for),
		test(a_malformed_message_closes),
		test(sending_never_blocks_and_loses_nothing_it_took),
		test(an_idle_connection_leaves_the_loop_asleep),
		test(sending_to_a_peer_that_is_gone_is_told_once),
		test(polling_takes_in_what_waits),
		test(a_socket_is_handed_on_only_between_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
