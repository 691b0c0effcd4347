/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Short names for building JSON objects. A value belongs to the object that it is added to. */
#ifndef DAEMON_JSON_H
#define DAEMON_JSON_H

#include "base/quantile.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/** add() - @v may be NULL: JSON's null. */
static inline void add(struct json_object *o, const char *key, struct json_object *v)
{
	json_object_object_add(o, key, v);
}

/** add_str() - null when @v is NULL. */
static inline void add_str(struct json_object *o, const char *key, const char *v)
{
	add(o, key, v ? json_object_new_string(v) : NULL);
}

static inline void add_num(struct json_object *o, const char *key, uint64_t v)
{
	add(o, key, json_object_new_uint64(v));
}

static inline void add_bool(struct json_object *o, const char *key, bool v)
{
	add(o, key, json_object_new_boolean(v));
}

static inline void add_quantiles(struct json_object *o, const struct quantile_view *v)
{
	add_num(o, "p50", v->p50);
	add_num(o, "p99", v->p99);
	add_num(o, "max", v->max);
	add_num(o, "count", v->count);
}

#endif
