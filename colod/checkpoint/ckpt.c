// SPDX-License-Identifier: GPL-2.0-or-later
/* Shared pieces of the checkpoint engine. */
#include "colod/checkpoint/ckpt.h"

#include <stdarg.h>
#include <stdio.h>

const char *ckpt_trigger_name(enum ckpt_trigger t)
{
	static const char *const names[CKPT_TRIGGER_COUNT] = {
		[CKPT_BY_FIRST] = "first",
		[CKPT_BY_PERIOD] = "period",
		[CKPT_BY_MISMATCH] = "mismatch",
		[CKPT_BY_COMMAND] = "command",
		[CKPT_BY_GUEST_RESET] = "guest_reset",
		[CKPT_BY_VERIFY] = "verify",
		[CKPT_BY_SWITCH_OVER] = "switch_over",
	};

	return names[t];
}

int ckpt_send(const struct ckpt_env *env, enum wire_type type, uint64_t epoch, uint32_t flags)
{
	struct wire_msg m = {.type = type, .epoch = epoch, .flags = flags};

	return env->ops->send(env->arg, &m);
}

void ckpt_event(const struct ckpt_env *env, enum fsm_event ev, const char *fmt, ...)
{
	char reason[ERR_MSG_MAX] = "";
	va_list ap;

	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(reason, sizeof(reason), fmt, ap);
		va_end(ap);
	}
	env->ops->event(env->arg, ev, reason);
}
