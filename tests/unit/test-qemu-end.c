// SPDX-License-Identifier: GPL-2.0-or-later
/* The end of a QEMU is known before its memory is given back. */
#include "tests/unit/qemu-rig.h"

static void kill_it(struct run *t)
{
	kill(guest(t)->pid, SIGKILL);
}

static void start_anew(struct run *t)
{
	struct err e;

	qemu_free(steal_ptr(&t->qemu));
	config_destroy(&t->config);
	loop_free(t->loop);
	assert_int_equal(loop_new(&t->loop, &e), 0);
	t->has_exited = false;
}

/* pidfd_open(2): PIDFD_THREAD, which is O_EXCL. */
static void its_end_is_known_before_its_memory_is_given_back(void **state)
{
	struct run *t = *state;
	autoclose int thread = (int)syscall(SYS_pidfd_open, getpid(), O_EXCL);

	if (thread < 0)
		skip();
	t->on_ready = kill_it;
	/* On a busy machine we may get to see it all at once. */
	for (int i = 0; i < 20 && !t->was_dying; i++) {
		if (i)
			start_anew(t);
		run_to_end(t, PLAIN);
	}
	assert_true(t->was_dying);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(its_end_is_known_before_its_memory_is_given_back,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
