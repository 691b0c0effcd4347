// SPDX-License-Identifier: GPL-2.0-or-later
/* A real QEMU under colod: start, device state out and in again, end, refusals. */
#include "tests/unit/qemu-rig.h"

#define ROUNDS 5

/* ---- device state there and back ---- */

static void command(struct run *t, const char *name, struct json_object *args, qmp_reply_fn fn)
{
	struct qmp_cmd cmd = {.name = name, .args = args, .fd = -1, .fn = fn, .arg = t};

	assert_int_equal(qmp_loop_send(guest(t)->qmp, &cmd), 0);
}

static struct json_object *object(const char *json)
{
	struct json_object *o = json_tokener_parse(json);

	assert_non_null(o);
	return o;
}

static void read_registers(struct run *t, qmp_reply_fn fn)
{
	command(t, "human-monitor-command", object("{\"command-line\":\"info registers\"}"), fn);
}

static void on_started(void *arg, const struct qmp_reply *r);

static void on_second_state(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;

	assert_int_equal(r->status, 0);
	assert_string_equal(json_object_get_string(r->ret), t->registers);
	if (++t->rounds < ROUNDS)
		command(t, "cont", NULL, on_started);
	else
		qemu_quit(t->qemu, 10000);
}

static void on_loaded(void *arg, const struct qmp_reply *r)
{
	assert_string_equal(r->desc ?: "", "");
	read_registers(arg, on_second_state);
}

/* The guest has run on and stopped again elsewhere; put the saved state into it. */
static void load(struct run *t)
{
	const struct guest *g = guest(t);
	struct qmp_cmd cmd = {.name = "snapshot-load", .fd = -1, .fn = on_loaded, .arg = t};

	cmd.args = object("{\"job-id\":\"load\",\"tag\":\"" GUEST_VMSTATE_TAG
			  "\",\"vmstate\":\"" GUEST_VMSTATE_NODE
			  "\",\"devices\":[\"" GUEST_VMSTATE_NODE "\"]}");
	assert_int_equal(pwrite(g->vmstate_fd, t->saved, t->saved_bytes, (off_t)g->vmstate_offset),
			 t->saved_bytes);
	assert_int_equal(qmp_loop_run_job(g->qmp, &cmd), 0);
}

static void on_stopped_again(void *arg, const struct qmp_reply *r)
{
	assert_int_equal(r->status, 0);
	load(arg);
}

static void on_other_state(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;

	assert_int_equal(r->status, 0);
	/* Nothing is proved until the guest has moved on. */
	if (!strcmp(json_object_get_string(r->ret), t->registers))
		read_registers(t, on_other_state);
	else
		command(t, "stop", NULL, on_stopped_again);
}

static void on_running_again(void *arg, const struct qmp_reply *r)
{
	assert_int_equal(r->status, 0);
	read_registers(arg, on_other_state);
}

static void on_first_state(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;

	assert_int_equal(r->status, 0);
	free(t->registers);
	t->registers = strdup(json_object_get_string(r->ret));
	command(t, "cont", NULL, on_running_again);
}

static void on_saved(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;
	const struct guest *g = guest(t);

	assert_int_equal(r->status, 0);
	free(t->saved);
	t->saved_bytes = (size_t)lseek(g->devstate_pos_fd, 0, SEEK_CUR);
	assert_in_range(t->saved_bytes, 1000, g->vmstate_max_bytes);
	t->saved = malloc(t->saved_bytes);
	assert_int_equal(pread(g->devstate_fd, t->saved, t->saved_bytes, 0), t->saved_bytes);
	assert_memory_equal(t->saved, "QEVM", 4);
	read_registers(t, on_first_state);
}

static void on_stopped(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;
	struct json_object *args = json_object_new_object();

	assert_int_equal(r->status, 0);
	assert_int_equal(lseek(guest(t)->devstate_pos_fd, 0, SEEK_SET), 0);
	json_object_object_add(args, "filename", json_object_new_string(guest(t)->devstate_path));
	json_object_object_add(args, "live", json_object_new_boolean(false));
	command(t, "xen-save-devices-state", args, on_saved);
}

static void on_started(void *arg, const struct qmp_reply *r)
{
	assert_int_equal(r->status, 0);
	command(arg, "stop", NULL, on_stopped);
}

static void check_guest(struct run *t)
{
	const struct guest *g = guest(t);

	assert_int_equal(g->vcpus, 2);
	assert_string_equal(g->accel, "tcg");
	assert_non_null(strstr(g->machine, "pc-q35-"));
	assert_null(strstr(g->machine, "-machine"));
	assert_non_null(strstr(g->cpu_model, "-x86_64-cpu"));
	assert_int_equal(g->ram_bytes, 32 * MIB);
	assert_int_equal(g->ram_va % (2 * MIB), 0);
	assert_int_equal(g->uffd, -1);
	command(t, "cont", NULL, on_started);
}

static void device_state_can_be_loaded_again_and_again(void **state)
{
	struct run *t = *state;

	t->on_ready = check_guest;
	run_to_end(t, "-machine q35 -accel tcg -smp 2 -nodefaults");
	assert_true(t->was_ready);
	assert_int_equal(t->rounds, ROUNDS);
	assert_true(t->has_exited);
	assert_string_equal(t->how, "exit status 0");
	assert_int_equal(access(t->dir, F_OK), 0);
	assert_int_equal(rmdir(t->dir), 0); /* nothing was left in it */
}

/* ---- the process ---- */

static void expect_how(const struct run *t, const char *part)
{
	assert_true(t->has_exited);
	if (!strstr(t->how, part))
		fail_msg("\"%s\" does not say \"%s\"", t->how, part);
}

static void expect_failed(const struct run *t, const char *part)
{
	assert_true(t->has_failed);
	assert_false(t->was_ready);
	if (!strstr(t->reason.msg, part))
		fail_msg("\"%s\" does not say \"%s\"", t->reason.msg, part);
}

static void link_of(const struct run *t, int fd, char *target, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)guest(t)->pid, fd);
	n = readlink(path, target, size - 1);
	target[MAX(n, 0)] = 0;
}

static void look_at_process(struct run *t)
{
	const pid_t pid = guest(t)->pid;
	char target[64], path[64], text[16];
	autofclose FILE *f = NULL;

	assert_int_equal(getsid(pid), pid);
	link_of(t, 0, target, sizeof(target));
	assert_string_equal(target, "/dev/null");
	link_of(t, 3, target, sizeof(target));
	assert_non_null(strstr(target, "memfd:colod-ram"));
	/* This test's own file must not have come along under any number. */
	for (int fd = 6; fd < 64; fd++) {
		link_of(t, fd, target, sizeof(target));
		assert_null(strstr(target, "unit-leak"));
	}
	snprintf(path, sizeof(path), "%s/unit.pid", t->dir);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	assert_int_equal(atoi(text), pid);
	kill(pid, SIGKILL);
}

static void the_process_stands_alone_and_its_death_is_reported(void **state)
{
	struct run *t = *state;
	autoclose int leak = memfd_create("unit-leak", 0);

	assert_true(leak >= 0);
	t->on_ready = look_at_process;
	run_to_end(t, PLAIN);
	expect_how(t, "killed by signal 9 (KILL)");
}

/* ---- network cards ---- */

#define TWO_CARDS                                                                                  \
	"nic = tap=unit0 mac=52:54:00:00:00:01\n"                                                  \
	"nic = tap=unit1 mac=52:54:00:00:00:02 mtu=1400 model=virtio-net-pci-non-transitional\n"

static int open_tap(const char *name)
{
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &req), 0);
	return fd;
}

/* Descriptor @fd of QEMU is the tap @name. */
static void expect_tap(const struct run *t, int fd, const char *name)
{
	char path[64], text[512] = "", wanted[32];
	autofclose FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)guest(t)->pid, fd);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
	snprintf(wanted, sizeof(wanted), "iff:\t%s\n", name);
	if (!strstr(text, wanted))
		fail_msg("descriptor %d is not %s: %s", fd, name, text);
}

static void on_network(void *arg, const struct qmp_reply *r)
{
	struct run *t = arg;
	const char *text = json_object_get_string(r->ret);

	assert_int_equal(r->status, 0);
	assert_non_null(strstr(text, "model=virtio-net-pci,macaddr=52:54:00:00:00:01"));
	assert_non_null(strstr(text, "macaddr=52:54:00:00:00:02"));
	assert_null(strstr(text, "52:54:00:12:34:56")); /* QEMU's own */
	qemu_quit(t->qemu, 10000);
}

static void look_at_cards(struct run *t)
{
	char target[64];

	expect_tap(t, 6, "unit0");
	expect_tap(t, 7, "unit1");
	link_of(t, 3, target, sizeof(target));
	assert_non_null(strstr(target, "memfd:colod-ram"));
	command(t, "human-monitor-command", object("{\"command-line\":\"info network\"}"),
		on_network);
}

static void each_card_gets_the_tap_of_its_place(void **state)
{
	struct run *t = *state;
	int taps[2];

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	/* Opened in the other order. */
	taps[1] = open_tap("unit1");
	taps[0] = open_tap("unit0");
	t->on_ready = look_at_cards;
	if (start_with(t, "-machine q35 -accel tcg", TWO_CARDS, taps))
		fail_msg("start: %s", err_msg(&t->reason));
	close(taps[0]);
	close(taps[1]);
	assert_int_equal(loop_run(t->loop), 0);
	if (t->has_failed)
		fail_msg("%s", err_msg(&t->reason));
	assert_true(t->was_ready);
	expect_how(t, "exit status 0");
}

static void cards_without_taps_are_refused(void **state)
{
	struct run *t = *state;

	assert_int_equal(start_with(t, PLAIN, TWO_CARDS, NULL), -EINVAL);
	assert_non_null(strstr(t->reason.msg, "unit0"));
}

static void start_second(struct run *t)
{
	static const struct qemu_handlers handlers = {};
	struct qemu *second = NULL;
	struct err e = {};

	assert_int_equal(qemu_start(&second, t->loop, &t->config, TRACK_SOFT_DIRTY, NULL, &handlers,
				    NULL, &e),
			 -EADDRINUSE);
	assert_non_null(strstr(e.msg, "\"unit\" already runs"));
	/* The first one is still whole. */
	qemu_quit(t->qemu, 10000);
}

static void a_name_can_be_used_by_one_qemu_only(void **state)
{
	struct run *t = *state;

	t->on_ready = start_second;
	run_to_end(t, PLAIN);
	expect_how(t, "exit status 0");
}

static void freeze_and_quit(struct run *t)
{
	kill(guest(t)->pid, SIGSTOP);
	qemu_quit(t->qemu, 50);
}

static void a_qemu_that_hangs_is_ended_after_the_grace_time(void **state)
{
	struct run *t = *state;

	t->on_ready = freeze_and_quit;
	run_to_end(t, PLAIN);
	expect_how(t, "killed by signal 9 (KILL): did not follow QMP quit");
}

static void a_qemu_that_ends_by_itself_is_reported_with_its_status(void **state)
{
	struct run *t = *state;

	run_to_end(t, PLAIN " -device no-such-device");
	expect_failed(t, "exit status 1");
	assert_int_equal(rmdir(t->dir), 0);
}

static void a_missing_binary_is_known_at_once(void **state)
{
	struct run *t = *state;

	setenv(BINARY_ENV, "/nonexistent/qemu", 1);
	assert_int_equal(start(t, PLAIN), -ENOENT);
	assert_non_null(strstr(t->reason.msg, "/nonexistent/qemu"));
	assert_int_equal(rmdir(t->dir), 0);
}

static void arguments_are_checked_before_anything_runs(void **state)
{
	struct run *t = *state;

	assert_int_equal(start(t, PLAIN " -m 1G"), -EINVAL);
	assert_non_null(strstr(t->reason.msg, "-m"));
}

/* A wrapper adds what the check of arguments cannot see. */
static void memory_that_would_not_be_replicated_is_refused(void **state)
{
	struct run *t = *state;
	char path[64], old[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/wrapper", t->dir);
	snprintf(old, sizeof(old), "%s", qemu_binary());
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\nexec %s \"$@\" -device VGA\n", old);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0700), 0);
	setenv(BINARY_ENV, path, 1);
	run_to_end(t, PLAIN);
	setenv(BINARY_ENV, old, 1);
	unlink(path);
	expect_failed(t, "vga.vram\" (video memory)");
}

static void a_disk_that_would_not_be_replicated_is_refused(void **state)
{
	struct run *t = *state;

	run_to_end(t, PLAIN " -drive driver=null-co,if=virtio,read-zeroes=on");
	expect_failed(t, "disk \"virtio0\"");
}

static void quit_when_ready(struct run *t)
{
	qemu_quit(t->qemu, 10000);
}

static void a_read_only_disk_is_no_reason(void **state)
{
	struct run *t = *state;

	t->on_ready = quit_when_ready;
	run_to_end(t, PLAIN " -drive driver=null-co,if=virtio,readonly=on,read-zeroes=on");
	expect_how(t, "exit status 0");
}

static void freed_early(struct run *t)
{
	pid_t pid = guest(t)->pid;

	/* It runs on: colod may be gone, the guest is not. */
	qemu_free(t->qemu);
	t->qemu = NULL;
	assert_int_equal(kill(pid, 0), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	loop_stop(t->loop, 0);
}

static void forgetting_a_qemu_leaves_it_running(void **state)
{
	struct run *t = *state;

	t->on_ready = freed_early;
	run_to_end(t, PLAIN);
	assert_true(t->was_ready);
}

#define QEMU_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		QEMU_TEST(device_state_can_be_loaded_again_and_again),
		QEMU_TEST(the_process_stands_alone_and_its_death_is_reported),
		QEMU_TEST(each_card_gets_the_tap_of_its_place),
		QEMU_TEST(cards_without_taps_are_refused),
		QEMU_TEST(a_name_can_be_used_by_one_qemu_only),
		QEMU_TEST(a_qemu_that_hangs_is_ended_after_the_grace_time),
		QEMU_TEST(a_qemu_that_ends_by_itself_is_reported_with_its_status),
		QEMU_TEST(arguments_are_checked_before_anything_runs),
		QEMU_TEST(memory_that_would_not_be_replicated_is_refused),
		QEMU_TEST(a_disk_that_would_not_be_replicated_is_refused),
		QEMU_TEST(a_read_only_disk_is_no_reason),
		QEMU_TEST(forgetting_a_qemu_leaves_it_running),
		QEMU_TEST(a_missing_binary_is_known_at_once), /* changes the environment: last */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
