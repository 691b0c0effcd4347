/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two ends of encrypted connections with the same key, and what stands between them. */
#ifndef TESTS_UNIT_TLS_PAIR_RIG_H
#define TESTS_UNIT_TLS_PAIR_RIG_H

#include "tests/unit/tls-rig.h"

struct rig {
	struct loop *loop;
	struct party a, b; /* a calls b */
	struct middle m;
};

static inline int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e;

	assert_ok(loop_new(&r->loop, &e), &e);
	r->m.a = r->m.b = -1;
	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	party_open(&r->a, r->loop);
	party_open(&r->b, r->loop);
	*state = r;
	return 0;
}

static inline int teardown(void **state)
{
	struct rig *r = *state;

	party_free(&r->a);
	party_free(&r->b);
	middle_close(&r->m);
	loop_free(r->loop);
	free(r);
	return 0;
}

#endif
