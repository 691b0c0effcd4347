// SPDX-License-Identifier: GPL-2.0-or-later
/* The QMP adapter with a real QEMU behind it: descriptors, pipelining, jobs, and a killed QEMU. */
#include "tests/unit/qmp-qemu.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>

static void pipelined_commands_are_answered_in_order(void **state)
{
	struct fixture *f = *state;
	struct end a = {}, b = {};

	qmp_loop_cork(f->q);
	assert_int_equal(send_cmd(f, "query-version", &a), 0);
	assert_int_equal(send_cmd(f, "query-status", &b), 0);
	qmp_loop_uncork(f->q);
	run_until(f, b.calls);
	assert_int_equal(a.order, 1);
	assert_int_equal(b.order, 2);
	assert_non_null(strstr(a.text, "\"qemu\""));
	assert_non_null(strstr(b.text, "\"prelaunch\""));
	assert_true(qmp_client_version(qmp_loop_client(f->q))->major >= 7);
}

static void qemu_error_arrives_whole(void **state)
{
	struct fixture *f = *state;
	struct end a = {};

	assert_int_equal(send_cmd(f, "no-such-command", &a), 0);
	run_until(f, a.calls);
	assert_int_equal(a.status, -EREMOTEIO);
	assert_string_equal(a.text, "The command no-such-command has not been found");
}

/* The descriptor that QEMU says it has put into the set. */
static void assert_is_memfd(struct fixture *f, const struct end *e, const char *name)
{
	struct json_object *o = args_of(e->text), *fd;
	char path[64], want[64], link[PATH_MAX] = "";

	assert_true(json_object_object_get_ex(o, "fd", &fd));
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", f->qemu, json_object_get_int(fd));
	snprintf(want, sizeof(want), "/memfd:%s (deleted)", name);
	assert_true(readlink(path, link, sizeof(link) - 1) > 0);
	assert_string_equal(link, want);
	json_object_put(o);
}

static void every_command_gets_its_own_descriptor(void **state)
{
	struct fixture *f = *state;
	struct end e[5] = {}, last = {};
	char name[32], args[32];
	int fd[5];

	/* A slow command first: QEMU reads on while it works, and keeps one descriptor only. */
	assert_int_equal(send_cmd(f, "query-qmp-schema", NULL), 0);
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "passed-%d", i);
		snprintf(args, sizeof(args), "{\"fdset-id\": %d}", i);
		fd[i] = memfd_create(name, MFD_CLOEXEC);
		assert_int_equal(send_with(f, "add-fd", args_of(args), fd[i], &e[i]), 0);
	}
	assert_int_equal(send_cmd(f, "query-fdsets", &last), 0);
	run_until(f, last.calls);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(e[i].status, 0);
		snprintf(name, sizeof(name), "passed-%d", i);
		assert_is_memfd(f, &e[i], name);
		close(fd[i]);
	}
}

static void a_primed_command_is_whole_for_qemu_with_and_without_a_descriptor(void **state)
{
	struct fixture *f = *state;
	struct end slow = {}, plain = {}, add = {}, last = {};
	autoclose int mem = memfd_create("primed", MFD_CLOEXEC);

	/* The beginning waits in QEMU while that one works, and after. */
	assert_int_equal(send_cmd(f, "query-qmp-schema", &slow), 0);
	assert_int_equal(qmp_loop_prime(f->q), 0);
	run_until(f, slow.calls);
	assert_int_equal(send_cmd(f, "query-status", &plain), 0);
	assert_int_equal(qmp_loop_prime(f->q), 0);
	run_until(f, plain.calls);
	assert_int_equal(send_with(f, "add-fd", args_of("{\"fdset-id\": 7}"), mem, &add), 0);
	assert_int_equal(send_cmd(f, "query-fdsets", &last), 0);
	run_until(f, last.calls);
	assert_int_equal(slow.status | plain.status | add.status | last.status, 0);
	assert_non_null(strstr(plain.text, "\"prelaunch\""));
	assert_is_memfd(f, &add, "primed");
}

static int create_image(struct fixture *f, const char *path, struct end *e)
{
	struct qmp_cmd cmd = {.name = "blockdev-create", .fd = -1, .fn = on_end, .arg = e};
	struct json_object *args = args_of("{\"job-id\": \"job\"}");
	struct json_object *options = args_of("{\"driver\": \"file\", \"size\": 65536}");

	*e = (struct end){.f = f};
	json_object_object_add(options, "filename", json_object_new_string(path));
	json_object_object_add(args, "options", options);
	cmd.args = args;
	return qmp_loop_run_job(f->q, &cmd);
}

static void jobs_end_with_their_result_and_free_their_name(void **state)
{
	char dir[] = "/tmp/qmp-job-XXXXXX", path[64], bad[64];
	struct fixture *f = *state;
	struct end e = {}, jobs = {};

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/image", dir);
	snprintf(bad, sizeof(bad), "%s/missing/image", dir);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(create_image(f, i % 2 ? bad : path, &e), 0);
		run_until(f, e.calls);
		assert_int_equal(e.status, i % 2 ? -EREMOTEIO : 0);
		if (i % 2)
			assert_non_null(strstr(e.text, "No such file or directory"));
		else
			assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(send_cmd(f, "query-jobs", &jobs), 0);
	run_until(f, jobs.calls);
	assert_string_equal(jobs.text, "[]");
	assert_int_equal(e.calls, 1);
	assert_int_equal(rmdir(dir), 0);
}

static void out_of_band_is_offered_and_answered(void **state)
{
	struct fixture *f = *state;
	struct end e = {.f = f};
	struct qmp_cmd cmd = {
		.name = "migrate-pause", .fd = -1, .oob = true, .fn = on_end, .arg = &e};

	assert_int_equal(qmp_loop_send(f->q, &cmd), 0);
	run_until(f, e.calls);
	/* There is no migration to pause; had it not run out of band, it would say that instead. */
	assert_int_equal(e.status, -EREMOTEIO);
	assert_null(strstr(e.text, "OOB"));
	assert_non_null(strstr(e.text, "migrate-pause"));
}

static void a_killed_qemu_closes_the_connection(void **state)
{
	struct fixture *f = *state;
	struct end e = {};

	assert_int_equal(kill(f->qemu, SIGSTOP), 0);
	assert_int_equal(send_cmd(f, "query-status", &e), 0);
	assert_int_equal(kill(f->qemu, SIGKILL), 0);
	run_until(f, f->closed);
	assert_int_equal(e.status, -ECONNRESET);
	assert_int_equal(f->reason.code, ECONNRESET);
	assert_non_null(strstr(f->reason.msg, "exited or was killed"));
}

#define t_qemu(f) cmocka_unit_test_setup_teardown(f, start_qemu, end_qemu)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_qemu(pipelined_commands_are_answered_in_order),
		t_qemu(qemu_error_arrives_whole),
		t_qemu(every_command_gets_its_own_descriptor),
		t_qemu(a_primed_command_is_whole_for_qemu_with_and_without_a_descriptor),
		t_qemu(jobs_end_with_their_result_and_free_their_name),
		t_qemu(out_of_band_is_offered_and_answered),
		t_qemu(a_killed_qemu_closes_the_connection),
	};

	return cmocka_run_group_tests_name("qmp-qemu", tests, NULL, NULL);
}
