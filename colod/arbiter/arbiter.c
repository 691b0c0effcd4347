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
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->reason, sizeof(a->reason), fmt, ap);
	va_end(ap);
	a->answer = answer;
	loop_defer_arm(a->defer);
}

void arbiter_unanswer(struct arbiter *a)
{
	a->answer = ARBITER_ANSWER_NONE;
}

static void on_defer(void *arg)
{
	struct arbiter *a = arg;
	enum arbiter_answer answer = a->answer;
	char reason[ERR_MSG_MAX];

	a->answer = ARBITER_ANSWER_NONE;
	/* The callee may claim again and so have another reason written. */
	snprintf(reason, sizeof(reason), "%s", a->reason);
	switch (answer) {
	case ARBITER_ANSWER_NONE:
		break;
	case ARBITER_ANSWER_WON:
		a->handlers->won(a->arg);
		break;
	case ARBITER_ANSWER_LOST:
		a->handlers->lost(a->arg, reason);
		break;
	case ARBITER_ANSWER_UNKNOWN:
		a->handlers->unknown(a->arg, reason);
		break;
	case ARBITER_ANSWER_HOLD:
		a->handlers->hold(a->arg, reason);
		break;
	}
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
	arbiter_unanswer(a);
	a->ops->claim(a, claim);
}

void arbiter_share(struct arbiter *a, uint64_t session)
{
	arbiter_unanswer(a);
	if (a->ops->share)
		a->ops->share(a, session);
}

void arbiter_resign(struct arbiter *a)
{
	arbiter_unanswer(a);
	if (a->ops->resign)
		a->ops->resign(a);
}

void arbiter_drop(struct arbiter *a)
{
	if (a->ops->drop)
		a->ops->drop(a);
	arbiter_unanswer(a);
}

bool arbiter_flush(struct arbiter *a, unsigned timeout_ms)
{
	return a->ops->flush ? a->ops->flush(a, timeout_ms) : true;
}

const char *arbiter_state(const struct arbiter *a)
{
	return a->ops->state ? a->ops->state(a) : "";
}
