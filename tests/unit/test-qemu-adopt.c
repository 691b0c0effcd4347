// SPDX-License-Identifier: GPL-2.0-or-later
/* A real QEMU whose colod is gone: found, taken over as it is, or left alone. */
#include "colod/qemu/qemu-adopt.h"

#include "colod/qemu/qemu-leftover.h"
#include "colod/qemu/qemu-spawn.h"
#include "tests/unit/qemu-rig.h"

#include <sys/socket.h>
#include <sys/un.h>

/* struct again - a QEMU that was started, forgotten, and is looked for. */
struct again {
	struct run run; /* first: the rig's handlers get it */
	struct statefile state;
	const char *left; /* command that is sent and not waited for when the first colod ends */
	const char *args;
	int taps[CONFIG_MAX_NICS];
	uint64_t ram_word;
};

static struct again *of(struct run *t)
{
	return container_of(t, struct again, run);
}

static void describe(struct again *a)
{
	const struct guest *g = guest(&a->run);

	a->state = (struct statefile){.standing = STANDING_ALONE,
				      .qemu_pid = g->pid,
				      .ram_fd = QEMU_FD_RAM,
				      .uffd_fd = -1,
				      .memory_bytes = g->ram_bytes,
				      .memory_page_bytes = g->host_page_bytes,
				      .tracking = TRACK_SOFT_DIRTY};
	process_boot_id(a->state.boot_id);
	assert_true(a->state.boot_id[0]);
	assert_int_equal(process_started(g->pid, &a->state.qemu_started), 0);
}

static void forget(struct again *a)
{
	qemu_free(a->run.qemu);
	a->run.qemu = NULL;
	loop_stop(a->run.loop, 0);
}

static void on_ran(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;
	struct again *a = of(t);
	struct qmp_cmd cmd = {.name = a->left, .fd = -1};

	assert_int_equal(r->status, 0);
	if (a->left && a->args)
		cmd.args = json_tokener_parse(a->args);
	if (a->left && !strcmp(a->left, "snapshot-load"))
		assert_int_equal(
			pwrite(guest(t)->vmstate_fd, "garbage", 7, (off_t)guest(t)->vmstate_offset),
			7);
	if (a->left)
		assert_int_equal(qmp_loop_send(guest(t)->qmp, &cmd), 0);
	forget(a);
}

/* What colod would see: its own pattern in guest memory, above what firmware touches. */
static void run_and_forget(struct run *t)
{
	struct qmp_cmd cmd = {.name = "cont", .fd = -1, .fn = on_ran, .arg = t};

	describe(of(t));
	memcpy(guest(t)->ram + 20 * MIB, &of(t)->ram_word, sizeof(uint64_t));
	assert_int_equal(qmp_loop_send(guest(t)->qmp, &cmd), 0);
}

static void start_and_forget(struct again *a)
{
	a->run.on_ready = run_and_forget;
	run_to_end(&a->run, PLAIN);
	assert_true(a->run.was_ready);
	a->run.was_ready = false;
}

static const struct qemu_handlers adopted_handlers = {on_ready, on_failed, on_exited, on_dying};

/* On a loop of its own: one that was stopped serves no more. */
static int adopt(struct again *a, struct err *e)
{
	struct qemu_fds_kept fds = {-1, -1, {-1, -1, -1, -1, -1, -1, -1, -1}};
	int pidfd = qemu_find(&a->state, e);

	if (pidfd < 0)
		return pidfd;
	loop_free(a->run.loop);
	assert_int_equal(loop_new(&a->run.loop, NULL), 0);
	if (qemu_fetch_fds(&fds, &a->state, pidfd, e))
		fail_msg("%s", err_msg(e));
	memcpy(a->taps, fds.taps, sizeof(fds.taps));
	return qemu_adopt(&a->run.qemu, a->run.loop, &a->run.config, &a->state, pidfd, &fds,
			  &adopted_handlers, &a->run, e);
}

static void adopt_and_run(struct again *a, void (*then)(struct run *t))
{
	struct err e = {};

	a->run.on_ready = then;
	if (adopt(a, &e))
		fail_msg("%s", err_msg(&e));
	assert_int_equal(loop_run(a->run.loop), 0);
	if (a->run.has_failed)
		fail_msg("%s", err_msg(&a->run.reason));
}

static struct again *new (void **state)
{
	struct again *a = *state;

	a->ram_word = 0x5a5a1234deadbeef;
	return a;
}

/* ---- taken over ---- */

static void on_saved(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;

	assert_int_equal(r->status, 0);
	assert_in_range(lseek(guest(t)->devstate_pos_fd, 0, SEEK_CUR), 1000,
			guest(t)->vmstate_max_bytes);
	qemu_quit(t->qemu, 10000);
}

static void on_paused(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;
	struct qmp_cmd cmd = {.name = "xen-save-devices-state", .fd = -1, .fn = on_saved, .arg = t};

	assert_int_equal(r->status, 0);
	cmd.args = json_object_new_object();
	json_object_object_add(cmd.args, "filename",
			       json_object_new_string(guest(t)->devstate_path));
	json_object_object_add(cmd.args, "live", json_object_new_boolean(false));
	assert_int_equal(qmp_loop_send(guest(t)->qmp, &cmd), 0);
}

static void save_its_state(struct run *t)
{
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .fn = on_paused, .arg = t};

	assert_string_equal(qemu_runstate(t->qemu), "running");
	assert_memory_equal(guest(t)->ram + 20 * MIB, &of(t)->ram_word, sizeof(uint64_t));
	assert_int_equal(guest(t)->vcpus, 1);
	assert_true(guest(t)->ram_va);
	assert_int_equal(qmp_loop_send(guest(t)->qmp, &cmd), 0);
}

static void a_running_guest_goes_on_under_another_colod(void **state)
{
	struct again *a = new (state);

	start_and_forget(a);
	adopt_and_run(a, save_its_state);
	assert_true(a->run.has_exited);
}

static void forget_again(struct run *t)
{
	if (++t->rounds < 3)
		forget(of(t));
	else
		save_its_state(t);
}

static void it_is_found_again_and_again(void **state)
{
	struct again *a = new (state);

	start_and_forget(a);
	for (int i = 0; i < 3; i++)
		adopt_and_run(a, forget_again);
	assert_true(a->run.has_exited);
}

static void on_status(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;
	struct json_object *status;

	assert_true(json_object_object_get_ex(r->ret, "status", &status));
	assert_string_equal(json_object_get_string(status), qemu_runstate(t->qemu));
	qemu_quit(t->qemu, 10000);
}

/* Carried out or not: it does not come later. */
static void ask_for_status(struct run *t)
{
	struct qmp_cmd cmd = {.name = "query-status", .fd = -1, .fn = on_status, .arg = t};

	assert_int_equal(qmp_loop_send(guest(t)->qmp, &cmd), 0);
}

static void a_command_under_way_is_over_when_it_is_found(void **state)
{
	struct again *a = new (state);

	a->left = "stop";
	start_and_forget(a);
	adopt_and_run(a, ask_for_status);
	assert_true(a->run.has_exited);
}

static void quit(struct run *t)
{
	qemu_quit(t->qemu, 10000);
}

static void a_job_under_way_is_over_and_dismissed_when_it_is_found(void **state)
{
	struct again *a = new (state);

	a->left = "snapshot-load";
	a->args = "{\"job-id\":\"colod\",\"tag\":\"" GUEST_VMSTATE_TAG
		  "\",\"vmstate\":\"" GUEST_VMSTATE_NODE "\",\"devices\":[\"" GUEST_VMSTATE_NODE
		  "\"]}";
	start_and_forget(a);
	adopt_and_run(a, quit);
	assert_true(a->run.has_exited);
}

static void kill_it(struct run *t)
{
	kill(guest(t)->pid, SIGKILL);
}

static void its_end_is_told(void **state)
{
	struct again *a = new (state);

	start_and_forget(a);
	adopt_and_run(a, kill_it);
	assert_true(a->run.has_exited);
}

/* ---- not taken over ---- */

static void another_process_of_that_number_is_not_taken_for_it(void **state)
{
	struct again *a = new (state);
	uint64_t started;
	struct err e = {};

	start_and_forget(a);
	started = a->state.qemu_started;
	a->state.qemu_started++;
	assert_int_equal(adopt(a, &e), -ESRCH);
	a->state.qemu_started = started;
	a->state.boot_id[0] ^= 1;
	assert_int_equal(adopt(a, &e), -ESRCH);
	a->state.boot_id[0] ^= 1;
	adopt_and_run(a, quit);
}

static void one_that_has_ended_is_not_found(void **state)
{
	struct again *a = new (state);
	struct err e = {};

	start_and_forget(a);
	kill(a->state.qemu_pid, SIGKILL);
	while (qemu_find(&a->state, &e) >= 0)
		;
	assert_int_equal(adopt(a, &e), -ESRCH);
	waitpid(a->state.qemu_pid, NULL, 0); /* until here it was a zombie */
}

static void other_memory_is_refused_and_qemu_runs_on(void **state)
{
	struct again *a = new (state);
	struct err e = {};

	start_and_forget(a);
	a->run.config.memory_bytes = 16 * MIB;
	assert_int_equal(adopt(a, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "guest memory"));
	assert_int_equal(kill(a->state.qemu_pid, 0), 0);
	a->run.config.memory_bytes = 32 * MIB;
	adopt_and_run(a, quit);
}

static void one_whose_monitor_is_shut_is_left_running(void **state)
{
	struct again *a = new (state);
	char path[64];
	struct err e = {};

	start_and_forget(a);
	snprintf(path, sizeof(path), "%s/unit.qmp", a->run.dir);
	unlink(path);
	assert_int_equal(adopt(a, &e), -ENOENT);
	assert_int_equal(qemu_find(&a->state, &e) >= 0, 1);
	kill(a->state.qemu_pid, SIGKILL);
	waitpid(a->state.qemu_pid, NULL, 0);
}

/* Another program has the monitor: it talks first, and nonsense. */
static void one_that_talks_nonsense_is_left_running(void **state)
{
	struct again *a = new (state);
	char path[64];
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int listener, peer;
	struct err e = {};

	start_and_forget(a);
	snprintf(path, sizeof(path), "%s/unit.qmp", a->run.dir);
	unlink(path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sa.sun_path, path);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 1), 0);
	a->run.on_ready = quit;
	assert_int_equal(adopt(a, &e), 0);
	peer = accept(listener, NULL, NULL);
	assert_int_equal(write(peer, "hello\n", 6), 6);
	assert_int_equal(loop_run(a->run.loop), 0);
	assert_true(a->run.has_failed && qemu_is_left(a->run.qemu));
	assert_true(qemu_find(&a->state, &e) >= 0);
	kill(a->state.qemu_pid, SIGKILL);
	waitpid(a->state.qemu_pid, NULL, 0);
	close(peer);
	close(listener);
}

/* ---- pure ---- */

static int jobs(struct qemu_leftover *o, const char *json)
{
	struct json_object *ret = json_tokener_parse(json);
	struct err e = {};
	int r = leftover_take_jobs(o, ret, &e);

	json_object_put(ret);
	return r;
}

static void only_jobs_that_load_are_waited_for(void **state)
{
	struct qemu_leftover o = {};

	(void)state;
	assert_int_equal(jobs(&o, "[]"), 0);
	assert_int_equal(jobs(&o, "[{\"id\":\"x\",\"type\":\"mirror\",\"status\":\"ready\"}]"), 0);
	assert_int_equal(
		jobs(&o, "[{\"id\":\"x\",\"type\":\"snapshot-load\",\"status\":\"running\"}]"),
		-EAGAIN);
	assert_int_equal(
		jobs(&o, "[{\"id\":\"x\",\"type\":\"snapshot-load\",\"status\":\"concluded\"}]"),
		1);
	assert_string_equal(o.job, "x");
	assert_int_equal(jobs(&o, "{}"), -EPROTO);
	assert_int_equal(jobs(&o, "[{}]"), -EPROTO);
}

static void descriptors_of_others_are_left_alone(void **state)
{
	struct qemu_leftover o = {.fdset = -1};
	struct json_object *ret =
		json_tokener_parse("[{\"fdset-id\":7,\"fds\":[{\"fd\":9,\"opaque\":\"colod\"}]},"
				   "{\"fdset-id\":1,\"fds\":[{\"fd\":5,\"opaque\":\"user\"}]},"
				   "{\"fdset-id\":2,\"fds\":[{\"fd\":6}]},"
				   "{\"fdset-id\":0,\"fds\":[{\"fd\":8,\"opaque\":\"colod\"}]}]");
	struct err e = {};

	(void)state;
	assert_int_equal(leftover_take_fdsets(&o, ret, &e), 1);
	assert_int_equal(o.fdset, 0);
	assert_int_equal(leftover_take_fdsets(&o, ret, &e), 1);
	assert_int_equal(o.fdset, 7);
	assert_int_equal(leftover_take_fdsets(&o, ret, &e), 0);
	json_object_put(ret);
}

static int setup_again(void **state)
{
	struct again *a = calloc(1, sizeof(*a));
	void *run = NULL;

	assert_non_null(a);
	setup(&run);
	a->run = *(struct run *)run;
	free(run);
	*state = a;
	return 0;
}

#define QEMU_TEST(name) cmocka_unit_test_setup_teardown(name, setup_again, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		QEMU_TEST(a_running_guest_goes_on_under_another_colod),
		QEMU_TEST(it_is_found_again_and_again),
		QEMU_TEST(a_command_under_way_is_over_when_it_is_found),
		QEMU_TEST(a_job_under_way_is_over_and_dismissed_when_it_is_found),
		QEMU_TEST(its_end_is_told),
		QEMU_TEST(another_process_of_that_number_is_not_taken_for_it),
		QEMU_TEST(one_that_has_ended_is_not_found),
		QEMU_TEST(other_memory_is_refused_and_qemu_runs_on),
		QEMU_TEST(one_whose_monitor_is_shut_is_left_running),
		QEMU_TEST(one_that_talks_nonsense_is_left_running),
		cmocka_unit_test(only_jobs_that_load_are_waited_for),
		cmocka_unit_test(descriptors_of_others_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
