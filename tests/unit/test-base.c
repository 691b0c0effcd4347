// SPDX-License-Identifier: GPL-2.0-or-later
/* Error reasons, whole reads and writes, descriptors over sockets, lists, cleanup, log lines. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/list.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* ---- err ---- */

static void a_reason_returns_its_negative_code(void **state)
{
	struct err e = {};

	(void)state;
	assert_string_equal(err_msg(&e), "no error");
	assert_string_equal(err_msg(NULL), "no error");
	assert_int_equal(err_set(&e, EPROTO, "page %d", 7), -EPROTO);
	assert_int_equal(e.code, EPROTO);
	assert_string_equal(err_msg(&e), "page 7");
	assert_int_equal(err_errno(&e, ENOENT, "cannot open %s", "x"), -ENOENT);
	assert_string_equal(err_msg(&e), "cannot open x: No such file or directory");
	assert_int_equal(err_prefix(&e, "guest %s", "web"), -ENOENT);
	assert_string_equal(err_msg(&e), "guest web: cannot open x: No such file or directory");
}

static void a_reason_may_be_nobodys(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, EPERM, "x"), -EPERM);
	assert_int_equal(err_errno(NULL, EPERM, "x"), -EPERM);
	assert_true(err_prefix(NULL, "x") < 0);
}

static void an_unknown_code_still_has_words(void **state)
{
	struct err e;

	(void)state;
	err_errno(&e, 4095, "x");
	assert_string_equal(err_msg(&e), "x: unknown error");
}

static void a_reason_too_long_is_cut_and_terminated(void **state)
{
	char text[2 * ERR_MSG_MAX];
	struct err e;

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	err_set(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	err_errno(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	err_prefix(&e, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	err_set(&e, EIO, "%s", text);
	err_prefix(&e, "p");
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	assert_memory_equal(e.msg, "p: aaaa", 7);
}

/* ---- io ---- */

#define BULK_BYTES (1 << 20)

struct transfer {
	int fd;
	uint8_t *data;
};

static void *send_in_pieces(void *arg)
{
	struct transfer *t = arg;
	struct rng rng = {1};
	size_t at = 0;

	while (at < BULK_BYTES) {
		size_t n = 1 + rng_below(&rng, 9000);

		n = MIN(n, BULK_BYTES - at);
		if (write(t->fd, t->data + at, n) != (ssize_t)n)
			break;
		at += n;
	}
	close(t->fd);
	return NULL;
}

static void reads_are_whole_whatever_the_pieces(void **state)
{
	autofree uint8_t *data = malloc(BULK_BYTES), *got = calloc(1, BULK_BYTES);
	struct iovec iov[4];
	struct rng rng = {2};
	struct transfer t;
	pthread_t thread;
	int p[2];

	(void)state;
	rng_fill(&rng, data, BULK_BYTES);
	assert_int_equal(pipe(p), 0);
	t = (struct transfer){p[1], data};
	assert_int_equal(pthread_create(&thread, NULL, send_in_pieces, &t), 0);
	assert_int_equal(io_read_full(p[0], got, 1000), 0);
	iov[0] = (struct iovec){got + 1000, 1};
	iov[1] = (struct iovec){got + 1001, 0};
	iov[2] = (struct iovec){got + 1001, 500000};
	iov[3] = (struct iovec){got + 501001, BULK_BYTES - 501001};
	assert_int_equal(io_readv_full(p[0], iov, 4), 0);
	assert_memory_equal(got, data, BULK_BYTES);
	assert_int_equal(io_read_full(p[0], got, 1), -ECONNRESET);
	assert_int_equal(io_read_full(p[0], got, 0), 0);
	pthread_join(thread, NULL);
	close(p[0]);
}

static void *read_all(void *arg)
{
	struct transfer *t = arg;

	if (io_read_full(t->fd, t->data, BULK_BYTES))
		memset(t->data, 0, BULK_BYTES);
	return NULL;
}

/* On a socket and on a pipe, which takes no sendmsg(2); more than either buffers at once. */
static void check_whole_write(int from, int to)
{
	autofree uint8_t *data = malloc(BULK_BYTES), *got = calloc(1, BULK_BYTES);
	struct iovec iov[3] = {{data, 3}, {data + 3, 0}, {data + 3, 700000}};
	struct transfer t = {from, got};
	struct rng rng = {3};
	pthread_t thread;

	rng_fill(&rng, data, BULK_BYTES);
	assert_int_equal(pthread_create(&thread, NULL, read_all, &t), 0);
	assert_int_equal(io_writev_full(to, iov, 3), 0);
	assert_int_equal(io_write_full(to, data + 700003, BULK_BYTES - 700003), 0);
	pthread_join(thread, NULL);
	assert_memory_equal(got, data, BULK_BYTES);
	close(from);
	close(to);
}

static void writes_are_whole(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	check_whole_write(p[0], p[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	check_whole_write(p[0], p[1]);
}

static void writing_to_a_closed_socket_is_an_error_and_no_signal(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	close(p[1]);
	assert_int_equal(io_write_full(p[0], "x", 1), -EPIPE);
	close(p[0]);
}

static void a_descriptor_travels_with_its_bytes(void **state)
{
	int p[2], fd, memfd = memfd_create("test", MFD_CLOEXEC);
	char buf[8] = {};

	(void)state;
	assert_int_equal(write(memfd, "hello", 5), 5);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	assert_int_equal(io_send_fd(p[0], "ab", 2, memfd), 2);
	assert_int_equal(io_recv_fd(p[1], buf, sizeof(buf), &fd), 2);
	assert_memory_equal(buf, "ab", 2);
	assert_true(fd >= 0 && fd != memfd);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "hello", 5);
	close(fd);
	assert_int_equal(io_write_full(p[0], "c", 1), 0);
	assert_int_equal(io_recv_fd(p[1], buf, sizeof(buf), &fd), 1);
	assert_int_equal(fd, -1);
	close(memfd);
	close(p[0]);
	close(p[1]);
}

static void a_file_is_read_whole_and_terminated(void **state)
{
	char path[64], *text = NULL;
	int fd = memfd_create("test", MFD_CLOEXEC);
	char data[10000];
	struct err e;

	(void)state;
	memset(data, 'q', sizeof(data));
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_ok(io_read_file(path, &text, &e), &e);
	assert_int_equal(strlen(text), sizeof(data));
	assert_memory_equal(text, data, sizeof(data));
	free(text);
	close(fd);
	assert_int_equal(io_read_file("/nowhere/x", &text, &e), -ENOENT);
	assert_non_null(strstr(err_msg(&e), "/nowhere/x"));
	assert_int_equal(io_read_file("/proc/self", &text, &e), -EISDIR);
}

/* ---- list, cleanup ---- */

struct item {
	int n;
	struct list link;
};

static void a_list_keeps_order_and_survives_deletion_while_walked(void **state)
{
	struct item items[4] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}};
	struct list head, *pos, *tmp;
	int seen = 0;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		list_add_tail(&head, &items[i].link);
	list_for_each_safe (pos, tmp, &head) {
		assert_int_equal(list_entry(pos, struct item, link)->n, seen++);
		list_del(pos);
		list_del(pos);
	}
	assert_int_equal(seen, 4);
	assert_true(list_empty(&head));
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int leave_scope(int p[2], bool steal)
{
	autoclose int a = p[0], b = p[1], none = -1;

	(void)b;
	(void)none;
	return steal ? steal_fd(&a) : -1;
}

static void scope_end_closes_what_was_not_stolen(void **state)
{
	char *s = strdup("x"), *mine;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(leave_scope(p, true), p[0]);
	assert_true(is_open(p[0]));
	assert_false(is_open(p[1]));
	close_fd(&p[0]);
	assert_int_equal(p[0], -1);
	close_fd(&p[0]);
	mine = steal_ptr(&s);
	assert_null(s);
	assert_string_equal(mine, "x");
	free(mine);
}

/* ---- log ---- */

/* What @statement writes to stderr, in one read. */
#define LOGGED(buf, statement)                                                                     \
	do {                                                                                       \
		int pipe_[2], old_ = dup(STDERR_FILENO);                                           \
		ssize_t n_;                                                                        \
                                                                                                   \
		assert_int_equal(pipe2(pipe_, O_NONBLOCK), 0);                                     \
		dup2(pipe_[1], STDERR_FILENO);                                                     \
		statement;                                                                         \
		dup2(old_, STDERR_FILENO);                                                         \
		close(old_);                                                                       \
		n_ = read(pipe_[0], buf, sizeof(buf) - 1);                                         \
		(buf)[MAX(n_, 0)] = 0;                                                             \
		close(pipe_[0]);                                                                   \
		close(pipe_[1]);                                                                   \
	} while (0)

static void a_log_line_has_priority_guest_and_topic(void **state)
{
	char buf[4096];

	(void)state;
	log_setup("web", LOG_PRIO_INFO);
	LOGGED(buf, log_warn("link", "lost %d", 3));
	assert_string_equal(buf, "<4>colod web: link: lost 3\n");
	LOGGED(buf, log_debug("link", "unwanted"));
	assert_string_equal(buf, "");
	log_setup("web", LOG_PRIO_DEBUG);
	LOGGED(buf, log_debug("link", "wanted"));
	assert_string_equal(buf, "<7>colod web: link: wanted\n");
	log_setup("", LOG_PRIO_INFO);
	LOGGED(buf, log_err("x", "y"));
	assert_string_equal(buf, "<3>colod: x: y\n");
}

static void foreign_text_starts_no_line_of_its_own(void **state)
{
	char buf[4096], text[3000];

	(void)state;
	log_setup("web", LOG_PRIO_INFO);
	LOGGED(buf, log_warn("link", "%s", "a\n<0>colod web: b\r\x1b[2J\x7f"));
	assert_string_equal(buf, "<4>colod web: link: a <0>colod web: b  [2J \n");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	LOGGED(buf, log_warn("link", "%s", text));
	assert_in_range(strlen(buf), 1000, 1024);
	assert_ptr_equal(strchr(buf, '\n'), buf + strlen(buf) - 1);
}

static void the_state_line_keeps_its_grammar(void **state)
{
	char buf[4096];

	(void)state;
	log_setup("web", LOG_PRIO_INFO);
	LOGGED(buf, log_state("colo", "failover", "peer_dead", "secondary", 17, "QEMU ended"));
	assert_string_equal(buf, "<5>colod web: state: from=colo to=failover event=peer_dead "
				 "role=secondary epoch=17 reason=\"QEMU ended\"\n");
	LOGGED(buf, log_state("setup", "active", "peer_up", "primary", 0, NULL));
	assert_string_equal(buf, "<5>colod web: state: from=setup to=active event=peer_up "
				 "role=primary epoch=0\n");
	LOGGED(buf, log_state("a", "b", "c", "d", 1, ""));
	assert_null(strstr(buf, "reason"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reason_returns_its_negative_code),
		cmocka_unit_test(a_reason_may_be_nobodys),
		cmocka_unit_test(an_unknown_code_still_has_words),
		cmocka_unit_test(a_reason_too_long_is_cut_and_terminated),
		cmocka_unit_test(reads_are_whole_whatever_the_pieces),
		cmocka_unit_test(writes_are_whole),
		cmocka_unit_test(writing_to_a_closed_socket_is_an_error_and_no_signal),
		cmocka_unit_test(a_descriptor_travels_with_its_bytes),
		cmocka_unit_test(a_file_is_read_whole_and_terminated),
		cmocka_unit_test(a_list_keeps_order_and_survives_deletion_while_walked),
		cmocka_unit_test(scope_end_closes_what_was_not_stolen),
		cmocka_unit_test(a_log_line_has_priority_guest_and_topic),
		cmocka_unit_test(foreign_text_starts_no_line_of_its_own),
		cmocka_unit_test(the_state_line_keeps_its_grammar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
