/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What unit tests share: cmocka with the headers it needs, repeatable random numbers, turning a loop. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* cmocka.h needs the headers above. */
#include <cmocka.h>

/* Against a hang only; no test passes by waiting for it. */
#define GIVE_UP_US (60 * USEC_PER_SEC)

/* Turn @loop until @cond holds. */
#define turn_until(loop, cond)                                                                     \
	do {                                                                                       \
		while (!(cond))                                                                    \
			assert_int_equal(loop_step(loop, GIVE_UP_US), 1);                          \
	} while (0)

/* @call takes @e and returns 0. */
#define assert_ok(call, e)                                                                         \
	do {                                                                                       \
		if (call)                                                                          \
			fail_msg("%s", err_msg(e));                                                \
	} while (0)

/* SplitMix64: the same numbers in every run, so that a failure can be repeated. */
struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

static inline void rng_fill(struct rng *r, void *buf, size_t len)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_next(r);
}

#endif
