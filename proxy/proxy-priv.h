/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the proxy's thread: its state, shared by proxy*.c. */
#ifndef PROXY_PROXY_PRIV_H
#define PROXY_PROXY_PRIV_H

#include "proxy/proxy.h"

#include <pthread.h>

/* What the thread tells the daemon besides finished orders; each at most once on its way. */
struct proxy_tale {
	struct mail mail;
	bool posted;
};

struct proxy {
	struct proxy_config config;
	struct proxy_handlers handlers;
	void *arg;

	/* the daemon's side */
	struct loop *daemon_loop;
	struct mailbox answers; /* struct proxy_call that are done */
	struct loop_src *answers_src;
	pthread_t thread;
	bool started;

	/* the thread's side */
	struct loop *loop;
	struct mailbox orders;
	struct loop_src *orders_src;
};

/* proxy-order.c: carry out one order on the thread */
void proxy_carry_out(struct proxy *p, struct proxy_call *c);

#endif
