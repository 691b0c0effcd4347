/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A real QEMU without a machine behind the QMP adapter. */
#ifndef TESTS_UNIT_QMP_QEMU_H
#define TESTS_UNIT_QMP_QEMU_H

#include "tests/unit/qmp-socket.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define QEMU_FD 10 /* where QEMU finds its end of the monitor's socket */

static inline void exec_qemu(int sock)
{
	const char *qemu = getenv("COLOD_TEST_QEMU") ?: "qemu-system-x86_64";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(sock, QEMU_FD) == QEMU_FD)
		execlp(qemu, qemu, "-machine", "none", "-display", "none", "-nodefaults", "-S",
		       "-chardev", "socket,id=m,fd=10", "-mon", "chardev=m,mode=control", NULL);
	perror(qemu);
	_exit(127);
}

static inline void run_qemu(struct fixture *f)
{
	open_pair(f, SOCK_STREAM);
	f->qemu = fork();
	assert_true(f->qemu >= 0);
	if (!f->qemu)
		exec_qemu(f->far);
	close_fd(&f->far);
	run_until(f, f->ready || f->closed);
	assert_int_equal(f->closed, 0);
}

static inline int start_qemu(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	assert_non_null(f);
	*state = f;
	run_qemu(f);
	return 0;
}

static inline void kill_qemu(struct fixture *f)
{
	kill(f->qemu, SIGKILL);
	waitpid(f->qemu, NULL, 0);
}

static inline int end_qemu(void **state)
{
	struct fixture *f = *state;

	kill_qemu(f);
	close_pair(f);
	free(f);
	return 0;
}

static inline struct json_object *args_of(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

#endif
