// SPDX-License-Identifier: GPL-2.0-or-later
/* The end of a QEMU is known before its memory is given back. */
#include "tests/unit/qemu-rig.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <sys/ptrace.h>

/* The QEMU whose main thread, and with it the memory, is kept at the begin of its end; or 0. */
static pid_t held;

/* The oldest but the main thread, which may have to wait for the others before its end is told. */
static pid_t second_thread(pid_t pid)
{
	char path[64];
	struct dirent *e;
	pid_t tid = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	assert_non_null(d);
	while ((!tid || tid == pid) && (e = readdir(d)))
		tid = atoi(e->d_name); /* NOLINT(cert-err34-c) */
	closedir(d);
	assert_true(tid && tid != pid);
	return tid;
}

/* ptrace(2): PTRACE_EVENT_EXIT comes early in a thread's exit. */
static void kill_it_slowly(struct run *t)
{
	held = guest(t)->pid;
	qemu_watch_thread(t->qemu, second_thread(held));
	assert_int_equal(ptrace(PTRACE_SEIZE, held, NULL, PTRACE_O_TRACEEXIT), 0);
	assert_int_equal(kill(held, SIGKILL), 0);
}

static void let_it_end(void)
{
	int status;

	if (!held)
		return;
	assert_int_equal(waitpid(held, &status, __WALL), held);
	assert_int_equal(status >> 8, SIGTRAP | PTRACE_EVENT_EXIT << 8);
	assert_int_equal(ptrace(PTRACE_DETACH, held, NULL, NULL), 0);
	held = 0;
}

static void on_its_dying(struct run *t)
{
	assert_false(t->has_exited);
	let_it_end();
}

static void give_up(void *arg)
{
	(void)arg;
	let_it_end();
}

/* pidfd_open(2): PIDFD_THREAD, which is O_EXCL. */
static void its_end_is_known_before_its_memory_is_given_back(void **state)
{
	struct run *t = *state;
	autoclose int thread = (int)syscall(SYS_pidfd_open, getpid(), O_EXCL);
	struct loop_src *timer;

	if (thread < 0)
		skip();
	assert_int_equal(loop_add_timer(t->loop, &timer, give_up, NULL), 0);
	loop_timer_arm(timer, GIVE_UP_US);
	t->on_ready = kill_it_slowly;
	t->on_dying = on_its_dying;
	run_to_end(t, PLAIN);
	loop_src_free(&timer);
	assert_true(t->was_dying && t->has_exited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(its_end_is_known_before_its_memory_is_given_back,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
