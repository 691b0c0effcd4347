/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Splitting a line into words as a POSIX shell quotes them, without any expansion. Pure. */
#ifndef CORE_WORDS_H
#define CORE_WORDS_H

#include "base/err.h"

#include <stddef.h>

/**
 * words_split() - split @text at blanks; single quotes, double quotes and backslash as in sh(1),
 * section 2.2 "Quoting" of POSIX; no expansion of any kind. *out is NULL-terminated, freed by
 * strv_free(). -EINVAL for a quote that is not closed or a backslash at the end.
 */
int words_split(char ***out, const char *text, struct err *e);

/**
 * strv_append() - add a copy of @s to the NULL-terminated vector *v of *n strings; *v may be NULL
 * when *n is 0. 0 or -ENOMEM, which leaves the vector as it was.
 */
int strv_append(char ***v, size_t *n, const char *s);

void strv_free(char **v);
static inline void cleanup_strv(char ***v)
{
	strv_free(*v);
}

#endif
