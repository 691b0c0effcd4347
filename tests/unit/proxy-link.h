/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions of two proxies whose connection breaks, goes on, or is replaced by another session. */
#ifndef TESTS_UNIT_PROXY_LINK_H
#define TESTS_UNIT_PROXY_LINK_H

#include "tests/unit/proxy-connection.h"

/* The primary's last words arrive. */
static inline void cut_between(struct world *w, struct host *p, struct host *s)
{
	order(w, p, PROXY_DETACH, 0, false);
	order(w, s, PROXY_DETACH, 0, false);
}

static inline void cut(struct world *w)
{
	cut_between(w, &w->a, &w->b);
}

static inline void resume_as(struct world *w, struct host *p, struct host *s)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	carry_out(w, p, (struct proxy_call){.op = PROXY_RESUME, .fd = fd[0]});
	carry_out(w, s, (struct proxy_call){.op = PROXY_RESUME, .fd = fd[1]});
}

static inline void resume(struct world *w)
{
	resume_as(w, &w->a, &w->b);
}

static inline void both_say(struct world *w, uint32_t number)
{
	guest_says(w, &w->a, number);
	guest_says(w, &w->b, number);
}

static inline void client_says_to_both(struct world *w, uint32_t number)
{
	client_says(w, &w->a, number);
	guest_expect(w, &w->a, number);
	guest_expect(w, &w->b, number);
}

static inline void begin(struct world *w, bool runs)
{
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, runs);
}

static inline void hold_one(struct world *w, uint32_t number)
{
	uint64_t before = held(&w->a);

	guest_says(w, &w->a, number);
	await(w, held(&w->a) == before + 1);
}

static inline void assert_matches_again(struct world *w, uint32_t number)
{
	both_say(w, number);
	client_expect(w, &w->a, number);
	client_says_to_both(w, number + 1);
	client_expect_nothing(w, &w->b);
}

/* Another session, after checkpoint 1. */
static inline void begin_anew(struct world *w)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	carry_out(w, &w->a,
		  (struct proxy_call){.op = PROXY_ATTACH_PRIMARY, .epoch = 1, .fd = fd[0]});
	carry_out(w, &w->b,
		  (struct proxy_call){.op = PROXY_ATTACH_SECONDARY, .epoch = 1, .fd = fd[1]});
}

#endif
