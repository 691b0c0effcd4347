/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Error reasons for humans, carried beside the 0 / -errno that every function returns. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/util.h"

#define ERR_MSG_MAX 512

/**
 * struct err - why a call failed, in words
 * @code: positive errno of the failure, 0 when nothing failed
 * @msg:  what was wrong and what to do about it, no trailing newline
 *
 * Lives on the caller's stack, owns nothing. Functions take it as their last parameter and accept
 * NULL.
 */
struct err {
	int code;
	char msg[ERR_MSG_MAX];
};

/** err_set() - record a reason. @code is a positive errno. Returns -@code, so it can be returned.
 */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** err_errno() - like err_set() with ": strerror(@code)" appended. Returns -@code. */
int err_errno(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** err_prefix() - put "text: " before the reason already recorded. Returns -e->code. */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time and would follow paths on which a failed call returns 0. */
#define err_set(...)   ((err_set)(__VA_ARGS__), -1)
#define err_errno(...) ((err_errno)(__VA_ARGS__), -1)
#endif

/** err_msg() - the reason as a string, never NULL. */
const char *err_msg(const struct err *e);

#endif
