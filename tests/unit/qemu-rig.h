/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One real QEMU of a test, and what it reports. */
#ifndef TESTS_UNIT_QEMU_RIG_H
#define TESTS_UNIT_QEMU_RIG_H

#include "base/cleanup.h"
#include "colod/qemu/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Names the binary under test instead of the host's own. */
#define BINARY_ENV "COLOD_TEST_QEMU"

static inline const char *qemu_binary(void)
{
	return getenv(BINARY_ENV) ?: "qemu-system-x86_64";
}

#define PLAIN "-machine q35 -accel tcg -nodefaults"

/* struct run - one QEMU and what it reported. */
struct run {
	struct loop *loop;
	struct qemu *qemu;
	struct config config;
	char dir[32];
	void (*on_ready)(struct run *t);
	void (*on_dying)(struct run *t); /* or NULL */
	bool was_ready, was_dying, has_failed, has_exited;
	char how[ERR_MSG_MAX];
	struct err reason;
	unsigned rounds;
	uint8_t *saved;
	size_t saved_bytes;
	char *registers;
};

static inline const struct guest *guest(const struct run *t)
{
	return qemu_guest(t->qemu);
}

static inline void on_ready(void *arg)
{
	struct run *t = arg;

	t->was_ready = true;
	t->on_ready(t);
}

static inline void on_failed(void *arg, const struct err *reason)
{
	struct run *t = arg;

	t->has_failed = true;
	t->reason = *reason;
	loop_stop(t->loop, 0);
}

static inline void on_exited(void *arg, const char *how)
{
	struct run *t = arg;

	t->has_exited = true;
	snprintf(t->how, sizeof(t->how), "%s", how);
	loop_stop(t->loop, 0);
}

static inline void on_dying(void *arg)
{
	struct run *t = arg;

	assert_false(t->has_exited || t->was_dying);
	t->was_dying = true;
	if (t->on_dying)
		t->on_dying(t);
}

static inline int start_with(struct run *t, const char *args, const char *lines, const int *tap_fds)
{
	static const struct qemu_handlers handlers = {on_ready, on_failed, on_exited, on_dying};
	char text[1024];

	snprintf(text, sizeof(text),
		 "name = unit\nlisten = 127.0.0.1:1\npeer = 127.0.0.1:2\nmemory = 32M\n"
		 "qemu = %s\nruntime_dir = %s\nqemu_args = %s\n%s",
		 qemu_binary(), t->dir, args, lines);
	assert_int_equal(config_parse(&t->config, "unit", text, strlen(text), &t->reason), 0);
	return qemu_start(&t->qemu, t->loop, &t->config, TRACK_SOFT_DIRTY, tap_fds, &handlers, t,
			  &t->reason);
}

static inline int start(struct run *t, const char *args)
{
	return start_with(t, args, "", NULL);
}

static inline void run_to_end(struct run *t, const char *args)
{
	if (start(t, args))
		fail_msg("start: %s", err_msg(&t->reason));
	assert_int_equal(loop_run(t->loop), 0);
	if (t->has_failed)
		print_message("%s\n", err_msg(&t->reason));
}

static inline int setup(void **state)
{
	struct run *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	strcpy(t->dir, "/tmp/colod-unit-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(loop_new(&t->loop, NULL), 0);
	*state = t;
	return 0;
}

/* A test that failed half way must not leave its QEMU behind. */
static inline int teardown(void **state)
{
	struct run *t = *state;
	char path[64];

	if (t->qemu && !t->has_exited && !t->has_failed)
		kill(guest(t)->pid, SIGKILL);
	qemu_free(t->qemu);
	loop_free(t->loop);
	config_destroy(&t->config);
	for (const char *const *s = (const char *const[]){"qmp", "pid", NULL}; *s; s++) {
		snprintf(path, sizeof(path), "%s/unit.%s", t->dir, *s);
		unlink(path);
	}
	rmdir(t->dir);
	free(t->saved);
	free(t->registers);
	free(t);
	return 0;
}

#endif
