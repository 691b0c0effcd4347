// SPDX-License-Identifier: GPL-2.0-or-later
/* Control requests: line framing in a fixed buffer, strict JSON, UTF-8 repair. */
#include "colod/control/control-parse.h"

#include "base/cleanup.h"
#include "colod/core/config-value.h"

#include <errno.h>
#include <string.h>

/* A request is flat; room for one level of nesting more than any command uses. */
#define REQUEST_DEPTH_MAX 4

static const char *find_newline(const struct control_lines *l)
{
	return memchr(l->buf + l->start, '\n', l->end - l->start);
}

size_t control_lines_room(struct control_lines *l, char **at)
{
	memmove(l->buf, l->buf + l->start, l->end - l->start);
	l->end -= l->start;
	l->start = 0;
	*at = l->buf + l->end;
	return sizeof(l->buf) - l->end;
}

void control_lines_filled(struct control_lines *l, size_t len)
{
	l->end += len;
}

static bool is_full(const struct control_lines *l)
{
	return l->end - l->start == sizeof(l->buf);
}

bool control_lines_ready(const struct control_lines *l)
{
	return find_newline(l) || is_full(l);
}

enum control_line control_lines_next(struct control_lines *l, const char **line, size_t *len)
{
	const char *nl;

	while ((nl = find_newline(l))) {
		bool was_skipping = l->skipping;

		*line = l->buf + l->start;
		*len = (size_t)(nl - *line);
		l->start += *len + 1;
		l->skipping = false;
		if (*len && !was_skipping)
			return CONTROL_LINE_WHOLE;
	}
	if (l->skipping) {
		l->start = l->end = 0;
	} else if (is_full(l)) {
		l->start = l->end = 0;
		l->skipping = true;
		return CONTROL_LINE_TOO_LONG;
	}
	return CONTROL_LINE_NONE;
}

static void cleanup_tokener(struct json_tokener **t)
{
	if (*t)
		json_tokener_free(*t);
}

static void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

static int parse_json(const char *line, size_t len, struct json_object **out, struct err *e)
{
	_cleanup_(cleanup_tokener) struct json_tokener *t = json_tokener_new_ex(REQUEST_DEPTH_MAX);
	enum json_tokener_error r;

	if (!t)
		return err_errno(e, ENOMEM, "request");
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	*out = json_tokener_parse_ex(t, line, (int)len);
	r = json_tokener_get_error(t);
	if (r == json_tokener_continue)
		return err_set(e, EINVAL, "request is not JSON: it ends too early");
	if (r != json_tokener_success)
		return err_set(e, EINVAL, "request is not JSON: %s", json_tokener_error_desc(r));
	/* A byte left over may only be the \r of a client that ends its lines with \r\n. */
	for (size_t i = json_tokener_get_parse_end(t); i < len; i++)
		if (!strchr(" \t\r", line[i]) || !line[i])
			return err_set(e, EINVAL, "request has text after its end");
	return 0;
}

int control_parse(const char *line, size_t len, struct json_object **out, const char **cmd,
		  struct err *e)
{
	_cleanup_(cleanup_json) struct json_object *o = NULL;
	struct json_object *member;
	int r;

	if (len >= CONTROL_LINE_MAX)
		return err_set(e, EINVAL, "request is longer than %d bytes", CONTROL_LINE_MAX);
	r = parse_json(line, len, &o, e);
	if (r)
		return r;
	if (!json_object_is_type(o, json_type_object))
		return err_set(e, EINVAL, "request is not a JSON object");
	if (!json_object_object_get_ex(o, "cmd", &member) ||
	    !json_object_is_type(member, json_type_string))
		return err_set(e, EINVAL, "request has no string member \"cmd\"");
	if (json_object_get_string_len(member) > CONTROL_CMD_MAX)
		return err_set(e, EINVAL, "request's \"cmd\" is longer than %d bytes",
			       CONTROL_CMD_MAX);
	*cmd = json_object_get_string(member);
	*out = steal_ptr(&o);
	return 0;
}

int control_parse_count(struct json_object *args, uint32_t max, uint32_t *count, struct err *e)
{
	struct json_object *v;
	int64_t n;

	*count = max;
	if (!json_object_object_get_ex(args, "count", &v))
		return 0;
	n = json_object_get_int64(v); /* beyond its range: the largest */
	if (!json_object_is_type(v, json_type_int) || n < 1)
		return err_set(e, EINVAL, "\"count\" is no number from 1");
	*count = (uint32_t)MIN((uint64_t)n, max);
	return 0;
}

int control_parse_flag(struct json_object *args, const char *key, bool *out, struct err *e)
{
	struct json_object *v;

	*out = false;
	if (!json_object_object_get_ex(args, key, &v))
		return 0;
	if (!json_object_is_type(v, json_type_boolean))
		return err_set(e, EINVAL, "\"%s\" is neither true nor false", key);
	*out = json_object_get_boolean(v);
	return 0;
}

int control_parse_mismatches(struct json_object *args, uint32_t max, struct control_mismatches *out,
			     struct err *e)
{
	int r = control_parse_count(args, max, &out->count, e);

	return r ? r : control_parse_flag(args, "packets", &out->packets, e);
}

int control_parse_flows(struct json_object *args, uint32_t *count, struct err *e)
{
	return control_parse_count(args, CONTROL_FLOWS_MAX, count, e);
}

int control_parse_recover(struct json_object *args, struct endpoint *address, bool *given,
			  struct err *e)
{
	struct json_object *v;
	int r;

	*given = json_object_object_get_ex(args, "address", &v);
	if (!*given)
		return 0;
	if (!json_object_is_type(v, json_type_string))
		return err_set(e, EINVAL, "\"address\" is no text");
	r = value_endpoint(NULL, address, json_object_get_string(v), e);
	return r ? err_prefix(e, "address %.80s", json_object_get_string(v)) : 0;
}

static bool is_tail(unsigned char c, unsigned char min, unsigned char max)
{
	return c >= min && c <= max;
}

/* Length of the well-formed sequence at @s, 0 when there is none. The bounds on the second byte
 * keep out overlong forms, surrogates and what lies above U+10FFFF. */
static size_t utf8_len(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return is_tail(s[1], 0x80, 0xbf) ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		unsigned char min = s[0] == 0xe0 ? 0xa0 : 0x80;
		unsigned char max = s[0] == 0xed ? 0x9f : 0xbf;

		return is_tail(s[1], min, max) && is_tail(s[2], 0x80, 0xbf) ? 3 : 0;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		unsigned char min = s[0] == 0xf0 ? 0x90 : 0x80;
		unsigned char max = s[0] == 0xf4 ? 0x8f : 0xbf;

		return is_tail(s[1], min, max) && is_tail(s[2], 0x80, 0xbf) &&
				       is_tail(s[3], 0x80, 0xbf)
			       ? 4
			       : 0;
	}
	return 0;
}

void control_make_utf8(char *s)
{
	while (*s) {
		size_t n = utf8_len((unsigned char *)s);

		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
}
