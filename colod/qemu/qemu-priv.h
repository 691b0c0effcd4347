/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of one QEMU, shared by the files that start it, find it again and watch it. */
#ifndef QEMU_QEMU_PRIV_H
#define QEMU_QEMU_PRIV_H

#include "colod/qemu/qemu-leftover.h"
#include "colod/qemu/qemu-ram.h"
#include "colod/qemu/qemu-setup.h"
#include "colod/qemu/qemu-socket.h"
#include "colod/qemu/qemu-uffd.h"
#include "colod/qemu/qemu.h"

/* The main thread and one that runs the guest: rarely is either the last one of them to end. */
#define WATCHED_THREADS 2

enum qemu_state {
	QEMU_STARTING,
	QEMU_READY,
	QEMU_ENDED,
	QEMU_LEFT, /* could not be adopted, and runs on */
};

struct qemu {
	struct loop *loop;
	struct qemu_handlers handlers;
	void *arg;
	enum qemu_state state;
	struct err why; /* first reason to give up, code 0 while there is none */
	struct guest guest;
	struct qemu_setup setup;
	struct qemu_files files;
	bool wants_uffd;
	bool killed;  /* by us */
	bool adopted; /* another colod started it */
	struct qemu_leftover leftover;
	struct qemu_ram ram;
	bool is_set_up;
	struct qemu_uffd uffd;
	int pidfd;
	struct loop_src *on_pid, *deadline, *on_ready, *on_refused;
	struct {
		int pidfd;
		struct loop_src *src;
	} threads[WATCHED_THREADS];
	unsigned nthreads;
};

/** qemu_new() - one that has nothing yet but its handlers, timers and the names of its files. */
int qemu_new(struct qemu **out, struct loop *l, const struct config *c,
	     const struct qemu_handlers *h, void *arg, struct err *e);

/** qemu_connect() - to its monitor; the rest follows when it greets. */
int qemu_connect(struct qemu *q, struct err *e);

/** qemu_watch() - be told of the end of q->guest.pid, through q->pidfd, which is opened unless it is. */
int qemu_watch(struct qemu *q, struct err *e);

/** qemu_await() - give up if it is not ready when it should be. */
void qemu_await(struct qemu *q);

#endif
