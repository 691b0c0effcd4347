// SPDX-License-Identifier: GPL-2.0-or-later
/* colo-ctl's connection: finding the socket, answers in pieces, what a bad daemon causes. */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "colo-ctl/client.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

/* A daemon that takes one client and answers as scripted. */
struct fake {
	char dir[64], path[96];
	int listen_fd;
	pthread_t thread;
	const char *const *pieces; /* written one by one, NULL-terminated */
	bool closes;               /* after the last piece; else it waits for the client to go */
	bool deaf;                 /* closes without reading */
	bool endless;              /* longer than the client listens, and it may take its time */
};

static void *fake_main(void *arg)
{
	struct fake *f = arg;
	int fd = accept(f->listen_fd, NULL, NULL);
	char buf[256];

	assert_true(fd >= 0);
	if (!f->deaf)
		assert_true(read(fd, buf, sizeof(buf)) > 0);
	for (const char *const *p = f->pieces; *p; p++)
		if (io_write_full(fd, *p, strlen(*p))) {
			assert_true(f->endless);
			break;
		}
	while (!f->closes && read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
	return NULL;
}

static void fake_start(struct fake *f)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-ctl-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/a.sock", f->dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(f->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

static void fake_end(struct fake *f)
{
	pthread_join(f->thread, NULL);
	close(f->listen_fd);
	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
}

/* One call against the fake; the parsed answer's text in @text. */
static int call(struct fake *f, char *text, size_t size, struct err *e)
{
	struct json_object *rq = json_object_new_object(), *answer = NULL;
	struct client *c = NULL;
	const char *raw;
	int r;

	fake_start(f);
	assert_int_equal(client_open(&c, f->path, f->endless ? 60000 : 1000, e), 0);
	r = client_call(c, rq, &raw, &answer, e);
	snprintf(text, size, "%s", r ? "" : raw);
	client_close(c);
	json_object_put(answer);
	json_object_put(rq);
	fake_end(f);
	return r;
}

static void an_answer_in_pieces_is_put_together(void **state)
{
	struct fake f = {.pieces = (const char *const[]){"{\"o", "k\":t", "rue}", "\n", NULL}};
	char text[64];
	struct err e = {};

	(void)state;
	assert_int_equal(call(&f, text, sizeof(text), &e), 0);
	assert_string_equal(text, "{\"ok\":true}");
}

/* 17 pieces of a megabyte, one more than is taken. */
static void an_answer_that_does_not_end_is_given_up(void **state)
{
	autofree char *piece = malloc(MIB + 1);
	const char *pieces[18] = {};
	struct fake f = {.pieces = pieces, .endless = true};
	char text[64];
	struct err e = {};

	(void)state;
	assert_non_null(piece);
	memset(piece, 'x', MIB);
	piece[MIB] = 0;
	for (size_t i = 0; i < 17; i++)
		pieces[i] = piece;
	assert_int_equal(call(&f, text, sizeof(text), &e), -EPROTO);
	assert_non_null(strstr(e.msg, "does not end"));
}

static void the_reason_of_a_daemon_that_turns_us_away_is_read(void **state)
{
	struct fake f = {.pieces = (const char *const[]){"{\"ok\":false}\n", NULL},
			 .closes = true,
			 .deaf = true};
	char text[64];
	struct err e = {};

	(void)state;
	assert_int_equal(call(&f, text, sizeof(text), &e), 0);
	assert_string_equal(text, "{\"ok\":false}");
}

static void a_daemon_that_hangs_up_is_reported(void **state)
{
	struct fake f = {.pieces = (const char *const[]){"{\"ok\":", NULL}, .closes = true};
	char text[64];
	struct err e = {};

	(void)state;
	assert_int_equal(call(&f, text, sizeof(text), &e), -ECONNRESET);
	assert_non_null(strstr(e.msg, f.path));
}

static void a_daemon_that_says_nothing_is_given_up(void **state)
{
	struct fake f = {.pieces = (const char *const[]){"{", NULL}};
	char text[64];
	struct err e = {};

	(void)state;
	assert_int_equal(call(&f, text, sizeof(text), &e), -ETIMEDOUT);
	assert_non_null(strstr(e.msg, "no answer within 1 s"));
}

static void an_answer_that_is_no_object_is_refused(void **state)
{
	static const char *const answers[] = {"garbage\n", "[]\n", "\n", "null\n", "7\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct fake f = {.pieces = (const char *const[]){answers[i], NULL}};
		char text[64];
		struct err e = {};

		assert_int_equal(call(&f, text, sizeof(text), &e), -EPROTO);
	}
}

static void nobody_there_is_said_with_the_sockets_name(void **state)
{
	struct client *c = NULL;
	struct err e = {};

	(void)state;
	assert_int_equal(client_open(&c, "/nonexistent/x.sock", 1000, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "/nonexistent/x.sock: is colod running"));
}

static void touch(const char *dir, const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

static void the_only_socket_is_found_and_several_are_listed(void **state)
{
	char dir[] = "/tmp/test-ctl-XXXXXX", want[64], *found = NULL;
	struct err e = {};

	(void)state;
	assert_non_null(mkdtemp(dir));
	touch(dir, "vm1.qmp");
	touch(dir, ".sock");
	assert_int_equal(client_find_socket(&found, dir, &e), -ENOENT);
	touch(dir, "vm1.sock");
	assert_int_equal(client_find_socket(&found, dir, &e), 0);
	snprintf(want, sizeof(want), "%s/vm1.sock", dir);
	assert_string_equal(found, want);
	free(found);
	found = NULL;
	touch(dir, "vm2.sock");
	assert_int_equal(client_find_socket(&found, dir, &e), -ENOTUNIQ);
	assert_null(found);
	assert_non_null(strstr(e.msg, "vm1.sock"));
	assert_non_null(strstr(e.msg, "vm2.sock"));
	for (const char *const *n =
		     (const char *const[]){"vm1.qmp", ".sock", "vm1.sock", "vm2.sock", NULL};
	     *n; n++) {
		snprintf(want, sizeof(want), "%s/%s", dir, *n);
		unlink(want);
	}
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_in_pieces_is_put_together),
		cmocka_unit_test(an_answer_that_does_not_end_is_given_up),
		cmocka_unit_test(the_reason_of_a_daemon_that_turns_us_away_is_read),
		cmocka_unit_test(a_daemon_that_hangs_up_is_reported),
		cmocka_unit_test(a_daemon_that_says_nothing_is_given_up),
		cmocka_unit_test(an_answer_that_is_no_object_is_refused),
		cmocka_unit_test(nobody_there_is_said_with_the_sockets_name),
		cmocka_unit_test(the_only_socket_is_found_and_several_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
