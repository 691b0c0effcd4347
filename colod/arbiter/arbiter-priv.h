/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the arbiter: what each kind of it provides, and how it answers. */
#ifndef ARBITER_ARBITER_PRIV_H
#define ARBITER_ARBITER_PRIV_H

#include "colod/arbiter/arbiter.h"

enum arbiter_answer {
	ARBITER_ANSWER_NONE,
	ARBITER_ANSWER_WON,
	ARBITER_ANSWER_LOST,
	ARBITER_ANSWER_UNKNOWN,
	ARBITER_ANSWER_HOLD,
	ARBITER_ANSWER_ENDED,
};

/** struct arbiter_ops - a kind of arbiter; any may be NULL but @claim and @name */
struct arbiter_ops {
	int (*open)(struct arbiter *a, struct err *e);
	void (*close)(struct arbiter *a);
	void (*claim)(struct arbiter *a, const struct arbiter_claim *claim);
	void (*share)(struct arbiter *a, uint64_t session);
	void (*resign)(struct arbiter *a);
	void (*end)(struct arbiter *a, uint64_t session);
	void (*drop)(struct arbiter *a, bool untold); /* a win that its owner will not hear of */
	bool (*flush)(struct arbiter *a, unsigned timeout_ms);
	bool (*is_open)(const struct arbiter *a); /* beside a claim that is not answered */
	const char *(*state)(const struct arbiter *a);
};

struct arbiter {
	struct loop *loop;
	const struct config *config;
	const struct arbiter_handlers *handlers;
	void *arg;
	const struct arbiter_ops *ops;
	void *impl;

	struct loop_src *defer;
	bool asked;                 /* a claim has not been answered */
	enum arbiter_answer answer; /* to the claim; waits for the loop */
	char reason[ERR_MSG_MAX];
	bool holding; /* hold waits for the loop, and is told before the answer */
	char hold_reason[ERR_MSG_MAX];
};

extern const struct arbiter_ops arbiter_exec_ops, arbiter_etcd_ops;

/**
 * arbiter_answer() - tell the owner from the loop; a later answer replaces one not told yet. A hold
 * replaces a win, which is no longer true; what follows it is told after it.
 */
void arbiter_answer(struct arbiter *a, enum arbiter_answer answer, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

#endif
