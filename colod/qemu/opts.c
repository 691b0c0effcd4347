// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's two notations for structured options, see "keyval" in QEMU's util/keyval.c. */
#include "colod/qemu/opts.h"

#include "base/cleanup.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

/* Takes over @key and @value, which may be NULL for want of memory. */
static int add_pair(struct opts *o, char *key, char *value)
{
	struct opt_pair *bigger = realloc(o->pairs, (o->count + 1) * sizeof(*bigger));

	if (bigger)
		o->pairs = bigger;
	if (!bigger || !key || !value) {
		free(key);
		free(value);
		return -ENOMEM;
	}
	o->pairs[o->count++] = (struct opt_pair){key, value};
	return 0;
}

/* The next part up to a single comma, ",," turned into ","; *p is behind it afterwards. */
static char *take_part(const char **p)
{
	char *part = malloc(strlen(*p) + 1), *w = part;

	if (!part)
		return NULL;
	while (**p && (**p != ',' || (*p)[1] == ',')) {
		if (**p == ',')
			(*p)++;
		*w++ = *(*p)++;
	}
	if (**p)
		(*p)++;
	*w = 0;
	return part;
}

static int parse_commas(struct opts *o, const char *text)
{
	while (*text) {
		autofree char *part = take_part(&text);
		char *eq = part ? strchr(part, '=') : NULL;
		int r;

		if (!part)
			return -ENOMEM;
		if (eq)
			r = add_pair(o, strndup(part, (size_t)(eq - part)), strdup(eq + 1));
		else if (!o->count)
			r = add_pair(o, strdup(""), strdup(part));
		else
			r = add_pair(o, strdup(part), strdup("on"));
		if (r)
			return r;
	}
	return 0;
}

static int flatten(struct opts *o, const char *path, struct json_object *v);

static int flatten_member(struct opts *o, const char *path, const char *key, struct json_object *v)
{
	autofree char *sub = NULL;

	if (asprintf(&sub, "%s%s%s", path, *path ? "." : "", key) < 0) {
		sub = NULL;
		return -ENOMEM;
	}
	return flatten(o, sub, v);
}

/* json-c bounds the depth (JSON_TOKENER_DEFAULT_DEPTH), and so the recursion. */
static int flatten(struct opts *o, const char *path, struct json_object *v)
{
	int r = 0;

	if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, member) if (!r) r =
			flatten_member(o, path, key, member);
		return r;
	}
	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; !r && i < json_object_array_length(v); i++) {
			char key[24];

			snprintf(key, sizeof(key), "%zu", i);
			r = flatten_member(o, path, key, json_object_array_get_idx(v, i));
		}
		return r;
	}
	if (json_object_is_type(v, json_type_boolean))
		return add_pair(o, strdup(path), strdup(json_object_get_boolean(v) ? "on" : "off"));
	return add_pair(o, strdup(path), strdup(json_object_get_string(v) ?: ""));
}

int opts_parse(struct opts *o, const char *text, struct err *e)
{
	struct json_object *json;
	int r;

	*o = (struct opts){};
	if (*text != '{') {
		r = parse_commas(o, text);
	} else {
		json = json_tokener_parse(text);
		if (!json_object_is_type(json, json_type_object)) {
			json_object_put(json);
			return err_set(e, EINVAL, "is not a valid JSON object");
		}
		r = flatten(o, "", json);
		json_object_put(json);
	}
	if (r) {
		opts_free(o);
		return err_errno(e, -r, "QEMU option");
	}
	return 0;
}

void opts_free(struct opts *o)
{
	for (size_t i = 0; i < o->count; i++) {
		free(o->pairs[i].key);
		free(o->pairs[i].value);
	}
	free(o->pairs);
	*o = (struct opts){};
}
