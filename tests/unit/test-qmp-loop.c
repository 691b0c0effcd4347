// SPDX-License-Identifier: GPL-2.0-or-later
/* The QMP adapter on a socket pair whose far end is the test: what is written when, and the end. */
#include "tests/unit/qmp-socket.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define GREETING                                                                                   \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "         \
	"\"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->far, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next packet must be @want and be there already. */
static void hear(struct fixture *f, const char *want)
{
	char buf[1024];
	ssize_t n = recv(f->far, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	buf[n] = 0;
	assert_string_equal(buf, want);
}

/* A client that is through the negotiation, which took id 1. */
static void connected(struct fixture *f, int type)
{
	char buf[256];

	open_pair(f, type);
	say(f, GREETING);
	say(f, "{\"return\": {}, \"id\": 1}");
	run_until(f, f->ready);
	assert_true(recv(f->far, buf, sizeof(buf), 0) > 0);
}

static void commands_leave_within_the_call(void **state)
{
	struct fixture f;

	(void)state;
	connected(&f, SOCK_SEQPACKET);
	assert_int_equal(send_cmd(&f, "stop", NULL), 0);
	hear(&f, "{\"id\":2,\"execute\":\"stop\"}\n");
	close_pair(&f);
}

static void corked_commands_leave_in_one_write(void **state)
{
	struct fixture f;
	char c;

	(void)state;
	connected(&f, SOCK_SEQPACKET);
	qmp_loop_cork(f.q);
	assert_int_equal(send_cmd(&f, "stop", NULL), 0);
	assert_int_equal(send_cmd(&f, "cont", NULL), 0);
	assert_int_equal(recv(f.far, &c, 1, MSG_DONTWAIT), -1);
	qmp_loop_uncork(f.q);
	hear(&f, "{\"id\":2,\"execute\":\"stop\"}\n{\"id\":3,\"execute\":\"cont\"}\n");
	close_pair(&f);
}

static void a_corked_descriptor_leaves_with_its_own_command(void **state)
{
	struct fixture f;
	char buf[256];
	ssize_t n;
	int fd;

	(void)state;
	connected(&f, SOCK_SEQPACKET);
	qmp_loop_cork(f.q);
	assert_int_equal(send_cmd(&f, "stop", NULL), 0);
	assert_int_equal(send_with(&f, "add-fd", NULL, f.far, NULL), 0);
	assert_int_equal(send_cmd(&f, "cont", NULL), 0);
	qmp_loop_uncork(f.q);
	hear(&f, "{\"id\":2,\"execute\":\"stop\"}\n");
	n = io_recv_fd(f.far, buf, sizeof(buf) - 1, &fd);
	assert_true(n > 0);
	buf[n] = 0;
	assert_string_equal(buf, "{\"id\":3,\"execute\":\"add-fd\"}\n"
				 "{\"id\":4,\"execute\":\"cont\"}\n");
	assert_true(fd >= 0);
	close_fd(&fd);
	close_pair(&f);
}

static void a_primed_command_leaves_in_two_writes_corked_or_not(void **state)
{
	struct fixture f;
	char buf[256];
	ssize_t n;
	int fd;

	(void)state;
	connected(&f, SOCK_SEQPACKET);
	assert_int_equal(qmp_loop_prime(f.q), 0);
	hear(&f, "{\"id\":2,\"execute\":\"");
	assert_int_equal(send_cmd(&f, "stop", NULL), 0);
	hear(&f, "stop\"}\n");
	qmp_loop_cork(f.q);
	assert_int_equal(qmp_loop_prime(f.q), 0);
	assert_int_equal(send_with(&f, "add-fd", NULL, f.far, NULL), 0);
	qmp_loop_uncork(f.q);
	/* The descriptor is on the first byte of its own command's rest. */
	hear(&f, "{\"id\":3,\"execute\":\"");
	n = io_recv_fd(f.far, buf, sizeof(buf) - 1, &fd);
	assert_true(n > 0);
	buf[n] = 0;
	assert_string_equal(buf, "add-fd\"}\n");
	assert_true(fd >= 0);
	close_fd(&fd);
	close_pair(&f);
}

/* Everything that @f writes from here on, until "cont" came; where the descriptor was. */
static size_t drain(struct fixture *f, char *out, size_t size, size_t *fd_from, size_t *fd_to,
		    int *fd)
{
	size_t len = 0;

	*fd = -1;
	while (!len || !memmem(out, len, "\"cont\"", 6)) {
		int got = -1;
		ssize_t n = io_recv_fd(f->far, out + len, size - len, &got);

		if (n == -EAGAIN) {
			assert_int_equal(loop_step(f->loop, GIVE_UP_US), 1);
			continue;
		}
		assert_true(n > 0);
		if (got >= 0) {
			assert_int_equal(*fd, -1);
			*fd = got;
			*fd_from = len;
			*fd_to = len + (size_t)n;
		}
		len += (size_t)n;
	}
	return len;
}

static struct json_object *big_args(size_t bytes)
{
	struct json_object *args = json_object_new_object();
	autofree char *text = malloc(bytes);

	assert_non_null(text);
	memset(text, 'x', bytes);
	json_object_object_add(args, "text", json_object_new_string_len(text, (int)bytes));
	return args;
}

/* A descriptor behind @before bytes, on a command of @with bytes: each more than the socket takes.
 */
static void pass_through_full_socket(size_t before, size_t with)
{
	const size_t size = before + with + 4096;
	autofree char *out = malloc(size);
	autoclose int mem = memfd_create("passed", MFD_CLOEXEC), fd = -1;
	size_t len, fd_from = 0, fd_to = 0, at;
	struct stat a, b;
	struct fixture f;

	connected(&f, SOCK_STREAM);
	assert_int_equal(fcntl(f.far, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(send_with(&f, "big", big_args(before), -1, NULL), 0);
	assert_int_equal(send_with(&f, "add-fd", big_args(with), mem, NULL), 0);
	assert_int_equal(send_cmd(&f, "cont", NULL), 0);

	len = drain(&f, out, size, &fd_from, &fd_to, &fd);
	assert_int_equal(len, before + with +
				      strlen("{'id':2,'execute':'big','arguments':{'text':''}}\n"
					     "{'id':3,'execute':'add-fd','arguments':{'text':''}}\n"
					     "{'id':4,'execute':'cont'}\n"));
	at = (size_t)((char *)memmem(out, len, "{\"id\":3,\"execute\":\"add-fd\"", 26) - out);
	assert_in_range(at, fd_from, fd_to - 1);
	assert_int_equal(fstat(mem, &a) | fstat(fd, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close_pair(&f);
}

static void full_socket_delays_in_order_and_keeps_descriptors_in_place(void **state)
{
	(void)state;
	pass_through_full_socket(700 * KIB, 1);
	pass_through_full_socket(700 * KIB, 700 * KIB);
	pass_through_full_socket(1, 700 * KIB);
}

static void a_bad_descriptor_is_refused_and_nothing_else_lost(void **state)
{
	struct fixture f;
	struct end e = {}, ok = {};

	(void)state;
	connected(&f, SOCK_SEQPACKET);
	assert_int_equal(send_with(&f, "add-fd", NULL, 999999, &e), -EBADF);
	qmp_loop_cork(f.q);
	assert_int_equal(send_with(&f, "add-fd", NULL, 999999, &e), -EBADF);
	assert_int_equal(send_cmd(&f, "stop", &ok), 0);
	qmp_loop_uncork(f.q);
	hear(&f, "{\"id\":2,\"execute\":\"stop\"}\n");
	say(&f, "{\"return\": {}, \"id\": 2}");
	run_until(&f, ok.calls);
	assert_int_equal(ok.status, 0);
	assert_int_equal(e.calls, 0);
	close_pair(&f);
}

static void deadlines_are_watched_by_the_loop(void **state)
{
	struct fixture f;
	struct end e = {.f = &f};
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .timeout_ms = 20, .fn = on_end, .arg = &e};

	(void)state;
	connected(&f, SOCK_STREAM);
	assert_int_equal(send_cmd(&f, "slow", NULL), 0);
	assert_int_equal(qmp_loop_send(f.q, &cmd), 0);
	run_until(&f, e.calls);
	assert_int_equal(e.status, -ETIMEDOUT);
	assert_int_equal(f.closed, 0);
	close_pair(&f);
}

static void end_of_file_closes_after_what_was_read(void **state)
{
	struct fixture f;
	struct end a = {}, b = {};

	(void)state;
	connected(&f, SOCK_STREAM);
	assert_int_equal(send_cmd(&f, "a", &a), 0);
	assert_int_equal(send_cmd(&f, "b", &b), 0);
	say(&f, "{\"return\": {}, \"id\": 2}{\"ret");
	close_fd(&f.far);
	run_until(&f, f.closed);
	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, -ECONNRESET);
	assert_int_equal(f.reason.code, ECONNRESET);
	assert_int_equal(send_cmd(&f, "c", &a), -ECONNRESET);
	assert_int_equal(a.calls, 0);
	close_pair(&f);
}

static void sending_to_a_dead_peer_fails_without_a_signal(void **state)
{
	struct fixture f;
	struct end a = {};

	(void)state;
	connected(&f, SOCK_STREAM);
	close_fd(&f.far);
	assert_int_equal(send_cmd(&f, "a", &a), -EPIPE);
	run_until(&f, f.closed);
	assert_int_equal(a.calls, 0);
	close_pair(&f);
}

static void closed_handler_may_free(void **state)
{
	struct fixture f;
	struct end a = {};

	(void)state;
	connected(&f, SOCK_STREAM);
	f.free_when_closed = true;
	assert_int_equal(send_cmd(&f, "a", &a), 0);
	say(&f, "garbage");
	run_until(&f, f.closed);
	assert_int_equal(a.status, -EPROTO);
	assert_int_equal(f.closed, 1);
	assert_null(f.q);
	close_pair(&f);
}

static void reply_callback_may_free(void **state)
{
	struct fixture f;
	struct end a = {.free_client = true}, b = {};

	(void)state;
	connected(&f, SOCK_STREAM);
	assert_int_equal(send_cmd(&f, "a", &a), 0);
	assert_int_equal(send_cmd(&f, "b", &b), 0);
	say(&f, "{\"return\": {}, \"id\": 2}{\"return\": {}, \"id\": 3}");
	run_until(&f, b.calls);
	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, -ECANCELED);
	assert_int_equal(f.closed, 0);
	close_pair(&f);
}

static void timeout_callback_may_free(void **state)
{
	struct fixture f;
	struct end a = {.f = &f, .free_client = true};
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .timeout_ms = 1, .fn = on_end, .arg = &a};

	(void)state;
	connected(&f, SOCK_STREAM);
	assert_int_equal(qmp_loop_send(f.q, &cmd), 0);
	run_until(&f, a.calls);
	assert_int_equal(a.status, -ETIMEDOUT);
	close_pair(&f);
}

static void an_unusable_socket_is_refused(void **state)
{
	struct loop *l;
	struct qmp_loop *q = NULL;
	struct err e = {};

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(qmp_loop_new(&q, l, -1, NULL, NULL, &e), -EBADF);
	assert_int_equal(e.code, EBADF);
	assert_null(q);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_leave_within_the_call),
		cmocka_unit_test(corked_commands_leave_in_one_write),
		cmocka_unit_test(a_corked_descriptor_leaves_with_its_own_command),
		cmocka_unit_test(a_primed_command_leaves_in_two_writes_corked_or_not),
		cmocka_unit_test(full_socket_delays_in_order_and_keeps_descriptors_in_place),
		cmocka_unit_test(a_bad_descriptor_is_refused_and_nothing_else_lost),
		cmocka_unit_test(deadlines_are_watched_by_the_loop),
		cmocka_unit_test(end_of_file_closes_after_what_was_read),
		cmocka_unit_test(sending_to_a_dead_peer_fails_without_a_signal),
		cmocka_unit_test(closed_handler_may_free),
		cmocka_unit_test(reply_callback_may_free),
		cmocka_unit_test(timeout_callback_may_free),
		cmocka_unit_test(an_unusable_socket_is_refused),
	};

	return cmocka_run_group_tests_name("qmp-loop", tests, NULL, NULL);
}
