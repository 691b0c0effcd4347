/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Value types of configuration keys: each one parser, fed by a row of the key table. Pure. */
#ifndef CORE_CONFIG_VALUE_H
#define CORE_CONFIG_VALUE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_REQUIRED BIT(0)
#define KEY_RUNTIME  BIT(1) /* config_set() may change it */
#define KEY_VERBATIM BIT(2) /* the rest of the line, '#' included; repeats add up */
#define KEY_REPEATS  BIT(3) /* may come more than once; each adds one */

#define CONFIG_ALNUM "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#define ACCEPTS_ENDPOINT "HOST:PORT or [IPV6]:PORT"

/* A word a key accepts; tables end with an empty one. */
struct choice {
	const char *name;
	uint64_t value;
};

struct config_key;

/**
 * value_fn - parse @value into @field, whose type belongs to the function. -EINVAL with a reason
 * that reads on after the value ("is not a number"), or -ENOMEM; @field is untouched then.
 */
typedef int (*value_fn)(const struct config_key *k, void *field, const char *value, struct err *e);

/**
 * struct config_key - one row of the key table
 * @def:     default in the file's own notation, NULL for none
 * @accepts: what is accepted, for error messages
 */
struct config_key {
	const char *name;
	value_fn parse;
	size_t offset;
	unsigned flags;
	const char *def;
	uint64_t min, max;
	const struct choice *choices;
	const char *accepts;
};

/** value_replace() - a copy of @value instead of *field, which is freed. 0 or -ENOMEM. */
int value_replace(char **field, const char *value);

int value_name(const struct config_key *k, void *field, const char *value, struct err *e);
int value_endpoint(const struct config_key *k, void *field, const char *value, struct err *e);
int value_string(const struct config_key *k, void *field, const char *value, struct err *e);
int value_path(const struct config_key *k, void *field, const char *value, struct err *e);
int value_words(const struct config_key *k, void *field, const char *value, struct err *e);
int value_size(const struct config_key *k, void *field, const char *value, struct err *e);
int value_uint32(const struct config_key *k, void *field, const char *value, struct err *e);
int value_choice32(const struct config_key *k, void *field, const char *value, struct err *e);
int value_bool(const struct config_key *k, void *field, const char *value, struct err *e);

/** trim() - the string without blanks around it; cut in place. */
char *trim(char *s);
char *trim_left(char *s);

/** cut_comment() - end @s at a '#' that begins it or follows a blank. */
void cut_comment(char *s);

/** edit_distance() - Levenshtein's, of words up to 40 characters; longer ones are far apart. */
unsigned edit_distance(const char *a, const char *b);

#endif
