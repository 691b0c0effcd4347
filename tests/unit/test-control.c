// SPDX-License-Identifier: GPL-2.0-or-later
/* Control socket end to end: a server in a thread with its own loop, clients that block. */
#include "base/cleanup.h"
#include "base/io.h"
#include "colod/control/control-parse.h"
#include "colod/control/control-socket.h"
#include "colod/control/control.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#define HELD_MAX   64
#define BIG_BYTES  100000
#define CLIENT_CAP 32 /* what control.h promises */

/* Touched by the server's thread only. */
struct server {
	char dir[64], path[96];
	pthread_t thread;
	int started[2]; /* pipe: one byte once the socket listens */
	struct control_request *held[HELD_MAX];
	int n_held;
	int n_handled;
	struct loop *loop;
};

static void reply_int(struct control_request *rq, const char *key, int value)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, key, json_object_new_int(value));
	control_reply(rq, o);
}

static void reply_big(struct control_request *rq)
{
	struct json_object *o = json_object_new_object();
	char *text = malloc(BIG_BYTES + 1);

	memset(text, 'x', BIG_BYTES);
	text[BIG_BYTES] = 0;
	json_object_object_add(o, "text", json_object_new_string(text));
	free(text);
	control_reply(rq, o);
}

static void on_request(void *arg, struct control_request *rq, const char *cmd,
		       struct json_object *args)
{
	struct server *s = arg;

	s->n_handled++;
	if (!strcmp(cmd, "echo")) {
		control_reply(rq, json_object_get(args));
	} else if (!strcmp(cmd, "hold") && s->n_held < HELD_MAX) {
		s->held[s->n_held++] = rq;
	} else if (!strcmp(cmd, "release")) { /* newest first: the worst order */
		while (s->n_held) {
			int last = --s->n_held;

			reply_int(s->held[last], "order", last);
		}
		control_reply(rq, NULL);
	} else if (!strcmp(cmd, "count")) {
		reply_int(rq, "handled", s->n_handled);
	} else if (!strcmp(cmd, "held")) {
		reply_int(rq, "held", s->n_held);
	} else if (!strcmp(cmd, "big")) {
		reply_big(rq);
	} else if (!strcmp(cmd, "quit")) {
		control_reply(rq, NULL);
		loop_stop(s->loop, 0);
	} else {
		control_fail(rq, "unknown command \"%s\"", cmd);
	}
}

static void *server_main(void *arg)
{
	struct server *s = arg;
	struct control *c = NULL;
	struct err e = {};

	if (loop_new(&s->loop, &e) || control_open(&c, s->loop, s->path, NULL, on_request, s, &e))
		fprintf(stderr, "server: %s\n", err_msg(&e));
	else if (write(s->started[1], "", 1) == 1)
		loop_run(s->loop);
	close(s->started[1]);
	control_close(c);
	/* Requests still held outlive the socket; answering them must be harmless. */
	while (s->n_held)
		control_reply(s->held[--s->n_held], NULL);
	loop_free(s->loop);
	return NULL;
}

static int setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));
	char byte;

	snprintf(s->dir, sizeof(s->dir), "/tmp/test-control-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/sock", s->dir);
	assert_int_equal(pipe(s->started), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
	assert_int_equal(read(s->started[0], &byte, 1), 1);
	*state = s;
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
}

/* One line without its newline; the caller frees it. NULL at end of file. */
static char *read_line(int fd)
{
	char *line = NULL, *end;
	size_t cap = 0, len = 0;

	for (;;) {
		ssize_t n;

		if (len == cap)
			line = realloc(line, cap = cap ? cap * 2 : 256);
		n = recv(fd, line + len, cap - len, MSG_PEEK);
		end = n > 0 ? memchr(line + len, '\n', (size_t)n) : NULL;
		if (end)
			n = end + 1 - (line + len);
		if (n <= 0 || io_read_full(fd, line + len, (size_t)n)) {
			free(line);
			return NULL;
		}
		if (end) {
			*end = 0;
			return line;
		}
		len += (size_t)n;
	}
}

static void expect_answer(int fd, const char *want)
{
	autofree char *line = read_line(fd);

	assert_non_null(line);
	assert_string_equal(line, want);
}

static void expect_refusal(int fd, const char *reason)
{
	autofree char *line = read_line(fd);

	assert_non_null(line);
	assert_int_equal(strncmp(line, "{\"ok\":false,\"error\":\"", 21), 0);
	assert_non_null(strstr(line, reason));
}

static int ask_int(int fd, const char *request, const char *key)
{
	autofree char *line = NULL;
	struct json_object *o;
	int value;

	send_text(fd, request);
	line = read_line(fd);
	assert_non_null(line);
	o = json_tokener_parse(line);
	value = json_object_get_int(json_object_object_get(o, key));
	json_object_put(o);
	return value;
}

static int teardown(void **state)
{
	struct server *s = *state;
	autoclose int fd = connect_to(s->path);

	send_text(fd, "{\"cmd\":\"quit\"}\n");
	expect_answer(fd, "{\"ok\":true}");
	pthread_join(s->thread, NULL);
	assert_int_equal(access(s->path, F_OK), -1);
	assert_int_equal(rmdir(s->dir), 0);
	close(s->started[0]);
	free(s);
	return 0;
}

static void an_answer_is_ok_with_the_members_of_the_body(void **state)
{
	struct server *s = *state;
	autoclose int fd = connect_to(s->path);

	send_text(fd, "{\"cmd\":\"echo\",\"path\":\"a/b\",\"n\":[1,2]}\n");
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\",\"path\":\"a/b\",\"n\":[1,2]}");
}

static void garbage_is_answered_and_the_connection_lives_on(void **state)
{
	struct server *s = *state;
	autoclose int fd = connect_to(s->path);

	send_text(fd, "hello\n{}\n[]\n{\"cmd\":\"nonsense\"}\n{\"cmd\":\"echo\"}\n");
	expect_refusal(fd, "not JSON");
	expect_refusal(fd, "no string member");
	expect_refusal(fd, "not a JSON object");
	expect_refusal(fd, "unknown command \\\"nonsense\\\"");
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\"}");
}

static void an_overlong_request_is_refused_and_the_next_one_served(void **state)
{
	struct server *s = *state;
	autoclose int fd = connect_to(s->path);
	autofree char *text = malloc(3 * CONTROL_LINE_MAX);

	memset(text, ' ', 3 * CONTROL_LINE_MAX);
	assert_int_equal(io_write_full(fd, text, 3 * CONTROL_LINE_MAX), 0);
	send_text(fd, "\n{\"cmd\":\"echo\"}\n");
	expect_refusal(fd, "longer than 65536 bytes");
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\"}");
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct server *s = *state;
	autoclose int fd = connect_to(s->path);
	autoclose int other = connect_to(s->path);

	send_text(fd, "{\"cmd\":\"hold\"}\n{\"cmd\":\"hold\"}\n{\"cmd\":\"echo\"}\n"
		      "{\"cmd\":\"hold\"}\nnonsense\n");
	while (ask_int(other, "{\"cmd\":\"held\"}\n", "held") < 3)
		;
	send_text(other, "{\"cmd\":\"release\"}\n");
	expect_answer(other, "{\"ok\":true}");
	expect_answer(fd, "{\"ok\":true,\"order\":0}");
	expect_answer(fd, "{\"ok\":true,\"order\":1}");
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\"}");
	expect_answer(fd, "{\"ok\":true,\"order\":2}");
	expect_refusal(fd, "not JSON");
}

static void the_answer_to_a_client_that_went_away_is_dropped(void **state)
{
	struct server *s = *state;
	int gone = connect_to(s->path);
	autoclose int fd = connect_to(s->path);

	send_text(gone, "{\"cmd\":\"hold\"}\n");
	while (ask_int(fd, "{\"cmd\":\"held\"}\n", "held") < 1)
		;
	close(gone);
	send_text(fd, "{\"cmd\":\"release\"}\n");
	expect_answer(fd, "{\"ok\":true}");
}

static void a_client_may_close_its_sending_side_and_still_gets_its_answers(void **state)
{
	struct server *s = *state;
	autoclose int fd = connect_to(s->path);

	send_text(fd, "{\"cmd\":\"echo\"}\n{\"cmd\":\"big\"}\n{\"cmd\":\"echo\"}\n");
	shutdown(fd, SHUT_WR);
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\"}");
	free(read_line(fd));
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\"}");
	assert_null(read_line(fd));
}

static void a_command_sent_without_waiting_for_its_answer_is_carried_out(void **state)
{
	struct server *s = *state;
	int gone = connect_to(s->path);
	autoclose int fd = connect_to(s->path);

	send_text(gone, "{\"cmd\":\"hold\"}\n");
	close(gone);
	while (ask_int(fd, "{\"cmd\":\"held\"}\n", "held") < 1)
		;
}

/* 200 answers of 100 KB fit neither the socket buffer nor the bound on pending requests. */
static void a_client_that_does_not_read_is_bounded_and_loses_nothing(void **state)
{
	struct server *s = *state;
	autoclose int slow = connect_to(s->path);
	autoclose int fd = connect_to(s->path);
	int before = ask_int(fd, "{\"cmd\":\"count\"}\n", "handled"), handled, last = -1;

	for (int i = 0; i < 200; i++)
		send_text(slow, "{\"cmd\":\"big\"}\n");
	/* The count settles while the other client is served all the time. */
	for (int asked = 1, same = 0; same < 50; asked++) {
		handled = ask_int(fd, "{\"cmd\":\"count\"}\n", "handled") - before - asked;
		same = handled == last ? same + 1 : 0;
		last = handled;
	}
	assert_in_range(handled, 16, 60);
	for (int i = 0; i < 200; i++) {
		autofree char *line = read_line(slow);

		assert_non_null(line);
		assert_int_equal(strlen(line), BIG_BYTES + strlen("{\"ok\":true,\"text\":\"\"}"));
	}
}

static void one_client_too_many_is_told_so(void **state)
{
	struct server *s = *state;
	int fds[CLIENT_CAP];

	for (int i = 0; i < CLIENT_CAP; i++) {
		fds[i] = connect_to(s->path);
		send_text(fds[i], "{\"cmd\":\"echo\"}\n");
		expect_answer(fds[i], "{\"ok\":true,\"cmd\":\"echo\"}");
	}
	for (int served = 0, tried = 0; !served; tried++) {
		autoclose int fd = connect_to(s->path);
		autofree char *line = NULL;

		(void)!send(fd, "{\"cmd\":\"echo\"}\n", 15, MSG_NOSIGNAL);
		line = read_line(fd);
		assert_non_null(line);
		served = strstr(line, "\"ok\":true") != NULL;
		if (tried == 0) {
			assert_non_null(strstr(line, "32 clients"));
			close(fds[0]);
		}
	}
	for (int i = 1; i < CLIENT_CAP; i++)
		close(fds[i]);
}

static void the_socket_is_for_its_owner_only(void **state)
{
	struct server *s = *state;
	struct stat st;

	assert_int_equal(stat(s->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_uid, geteuid());
}

static void a_control_group_gets_the_socket_too(void **state)
{
	struct server *s = *state;
	gid_t group = geteuid() ? getegid() : 1; /* only root can give a file to any group */
	struct control_access a = {.uid = geteuid(), .gid = group};
	char path[sizeof(s->path) + 8];
	struct stat st;
	struct err e;
	int fd;

	snprintf(path, sizeof(path), "%s-group", s->path);
	assert_int_equal(control_listen(&fd, path, &a, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(st.st_gid, group);
	close(fd);
	unlink(path);
}

/* control_open() in a loop that never runs. */
static int open_second(const char *path, struct err *e)
{
	_cleanup_(cleanup_loop) struct loop *l = NULL;
	struct control *c = NULL;
	int r;

	assert_int_equal(loop_new(&l, e), 0);
	r = control_open(&c, l, path, NULL, on_request, NULL, e);
	control_close(c);
	return r;
}

static void a_living_daemons_socket_is_left_alone(void **state)
{
	struct server *s = *state;
	struct err e = {};
	autoclose int fd = -1;

	assert_int_equal(open_second(s->path, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, s->path));
	fd = connect_to(s->path);
	send_text(fd, "{\"cmd\":\"echo\"}\n");
	expect_answer(fd, "{\"ok\":true,\"cmd\":\"echo\"}");
}

static void a_stale_socket_is_replaced_and_another_file_is_not(void **state)
{
	struct server *s = *state;
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct err e = {};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	FILE *f;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/stale", s->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(open_second(sa.sun_path, &e), 0);
	assert_int_equal(access(sa.sun_path, F_OK), -1);

	f = fopen(sa.sun_path, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(open_second(sa.sun_path, &e), -EEXIST);
	assert_int_equal(access(sa.sun_path, F_OK), 0);
	unlink(sa.sun_path);
}

static void a_path_too_long_for_a_unix_socket_is_refused(void **state)
{
	char path[200];
	struct err e = {};

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(open_second(path, &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.msg, "107 bytes"));
}

#define SERVER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(an_answer_is_ok_with_the_members_of_the_body),
		SERVER_TEST(garbage_is_answered_and_the_connection_lives_on),
		SERVER_TEST(an_overlong_request_is_refused_and_the_next_one_served),
		SERVER_TEST(pipelined_requests_are_answered_in_order),
		SERVER_TEST(the_answer_to_a_client_that_went_away_is_dropped),
		SERVER_TEST(a_client_may_close_its_sending_side_and_still_gets_its_answers),
		SERVER_TEST(a_command_sent_without_waiting_for_its_answer_is_carried_out),
		SERVER_TEST(a_client_that_does_not_read_is_bounded_and_loses_nothing),
		SERVER_TEST(one_client_too_many_is_told_so),
		SERVER_TEST(the_socket_is_for_its_owner_only),
		SERVER_TEST(a_control_group_gets_the_socket_too),
		SERVER_TEST(a_living_daemons_socket_is_left_alone),
		SERVER_TEST(a_stale_socket_is_replaced_and_another_file_is_not),
		cmocka_unit_test(a_path_too_long_for_a_unix_socket_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
