// SPDX-License-Identifier: GPL-2.0-or-later
/* The arbiter's front: picks the kind, tells answers from the loop, and the kind that is none. */
#include "colod/arbiter/arbiter-priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- none ---- */

static void none_claim(struct arbiter *a, const struct arbiter_claim *claim)
{
	if (claim->certain || claim->fresh || claim->force)
		arbiter_answer(a, ARBITER_ANSWER_WON, "%s", "");
	else
		arbiter_answer(a, ARBITER_ANSWER_UNKNOWN,
			       "it is not known whether the peer lives, and with arbiter = none "
			       "only colo-ctl failover --force decides");
}

static const struct arbiter_ops arbiter_none_ops = {.claim = none_claim};

static const struct arbiter_ops *const kinds[] = {
	[ARBITER_NONE] = &arbiter_none_ops,
	[ARBITER_EXEC] = &arbiter_exec_ops,
	[ARBITER_ETCD] = &arbiter_etcd_ops,
};

/* ---- answers ---- */

void arbiter_answer(struct arbiter *a, enum arbiter_answer answer, const char *fmt, ...)
{
	bool hold = answer == ARBITER_ANSWER_HOLD;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(hold ? a->hold_reason : a->reason, ERR_MSG_MAX, fmt, ap);
	va_end(ap);
	a->holding = a->holding || hold;
	a->answer = hold ? ARBITER_ANSWER_NONE : answer;
	loop_defer_arm(a->defer);
}

static void tell_hold(struct arbiter *a)
{
	a->holding = false;
	a->handlers->hold(a->arg, a->hold_reason);
	if (a->answer)
		loop_defer_arm(a->defer);
}

static void on_defer(void *arg)
{
	struct arbiter *a = arg;
	enum arbiter_answer answer = a->answer;
	char reason[ERR_MSG_MAX];

	if (a->holding) {
		tell_hold(a);
		return;
	}
	a->answer = ARBITER_ANSWER_NONE;
	a->asked = a->asked && answer == ARBITER_ANSWER_NONE;
	/* The callee may claim again and so have another reason written. */
	snprintf(reason, sizeof(reason), "%s", a->reason);
	if (answer == ARBITER_ANSWER_WON)
		a->handlers->won(a->arg);
	else if (answer == ARBITER_ANSWER_LOST)
		a->handlers->lost(a->arg, reason);
	else if (answer == ARBITER_ANSWER_ENDED)
		a->handlers->ended(a->arg, reason);
	else if (answer == ARBITER_ANSWER_UNKNOWN)
		a->handlers->unknown(a->arg, reason);
}

/* ---- the interface ---- */

int arbiter_new(struct arbiter **out, struct loop *l, const struct config *c,
		const struct arbiter_handlers *h, void *arg, struct err *e)
{
	struct arbiter *a = calloc(1, sizeof(*a));
	int r = 0;

	if (!a)
		return err_errno(e, ENOMEM, "arbiter");
	a->loop = l;
	a->config = c;
	a->handlers = h;
	a->arg = arg;
	a->ops = kinds[c->arbiter];
	if (loop_add_defer(l, &a->defer, on_defer, a))
		r = err_errno(e, ENOMEM, "arbiter");
	if (!r && a->ops->open)
		r = a->ops->open(a, e);
	if (r) {
		arbiter_free(a);
		return r;
	}
	*out = a;
	return 0;
}

void arbiter_free(struct arbiter *a)
{
	if (!a)
		return;
	if (a->ops->close)
		a->ops->close(a);
	loop_src_free(&a->defer);
	free(a);
}

void arbiter_claim(struct arbiter *a, const struct arbiter_claim *claim)
{
	a->answer = ARBITER_ANSWER_NONE;
	a->asked = true;
	a->ops->claim(a, claim);
}

void arbiter_share(struct arbiter *a, uint64_t session)
{
	a->answer = ARBITER_ANSWER_NONE;
	a->holding = false;
	if (a->ops->share)
		a->ops->share(a, session);
}

void arbiter_resign(struct arbiter *a)
{
	a->answer = ARBITER_ANSWER_NONE;
	a->holding = false;
	if (a->ops->resign)
		a->ops->resign(a);
}

void arbiter_end(struct arbiter *a, uint64_t session)
{
	a->answer = ARBITER_ANSWER_NONE;
	a->holding = false;
	if (a->ops->end)
		a->ops->end(a, session);
}

void arbiter_drop(struct arbiter *a)
{
	bool untold = a->asked && a->answer == ARBITER_ANSWER_WON;

	if (a->asked)
		a->answer = ARBITER_ANSWER_NONE;
	a->asked = false;
	if (a->ops->drop)
		a->ops->drop(a, untold);
}

bool arbiter_flush(struct arbiter *a, unsigned timeout_ms)
{
	return a->ops->flush ? a->ops->flush(a, timeout_ms) : true;
}

bool arbiter_is_open(const struct arbiter *a)
{
	return a->asked || (a->ops->is_open && a->ops->is_open(a));
}

const char *arbiter_state(const struct arbiter *a)
{
	return a->ops->state ? a->ops->state(a) : "";
}
