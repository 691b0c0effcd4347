/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of a QEMU option taken apart: "a=b,c=d" or JSON become pairs of strings. Pure. */
#ifndef QEMU_OPTS_H
#define QEMU_OPTS_H

#include "base/err.h"

#include <stddef.h>

/**
 * struct opt_pair - one part of an option
 * @key:   "" for a first part without "=" (the implied key: a driver, a type); dotted below the top
 *         level ("file.cache.direct")
 * @value: "on" for a later part without "=", as QEMU reads it
 */
struct opt_pair {
	char *key, *value;
};

struct opts {
	struct opt_pair *pairs;
	size_t count;
};

/**
 * opts_parse() - both notations that QEMU accepts: keys and values with commas (two of them stand
 * for one inside a value), and a JSON object. -EINVAL for broken JSON. Freed by opts_free().
 */
int opts_parse(struct opts *o, const char *text, struct err *e);
void opts_free(struct opts *o);

#endif
