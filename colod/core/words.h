/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Splitting a line into words as a POSIX shell quotes them, without any expansion. Pure. */
#ifndef CORE_WORDS_H
#define CORE_WORDS_H

#include "base/err.h"

/**
 * words_split() - split @text at blanks; single quotes, double quotes and backslash as in sh(1), section
 * 2.2 "Quoting" of POSIX; no expansion of any kind. *out is NULL-terminated, freed by strv_free().
 */
int words_split(char ***out, const char *text, struct err *e);
void strv_free(char **v);
static inline void cleanup_strv(char ***v)
{
	strv_free(*v);
}

#endif
