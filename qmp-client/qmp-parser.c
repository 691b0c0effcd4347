// SPDX-License-Identifier: GPL-2.0-or-later
/* Incremental QMP parser on top of json-c's tokener: bounds, and what kind of message it is. */
#include "qmp-client/qmp-parser.h"

#include <errno.h>
#include <string.h>

#define EXCERPT_MAX 48

int qmp_parser_init(struct qmp_parser *p)
{
	*p = (struct qmp_parser){.tok = json_tokener_new_ex(QMP_DEPTH_MAX)};
	if (!p->tok)
		return -ENOMEM;
	/* Not JSON_TOKENER_VALIDATE_UTF8: json-c 0.16 refuses a character that is split between
	 * two reads. QEMU escapes whatever is not ASCII. */
	json_tokener_set_flags(p->tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	return 0;
}

void qmp_parser_destroy(struct qmp_parser *p)
{
	if (p->tok)
		json_tokener_free(p->tok);
	p->tok = NULL;
}

void qmp_msg_clear(struct qmp_msg *m)
{
	json_object_put(m->root);
	m->root = NULL;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Printable ASCII of what stands at @s, for an error text. */
static const char *excerpt(char out[EXCERPT_MAX + 1], const char *s, size_t len)
{
	size_t n = MIN(len, (size_t)EXCERPT_MAX);

	for (size_t i = 0; i < n; i++)
		out[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '.';
	out[n] = 0;
	return out;
}

static int not_qmp(struct err *e, const char *why, const char *s, size_t len)
{
	char near[EXCERPT_MAX + 1];

	return err_set(e, EPROTO,
		       "not QMP: %s near \"%s\"; is the other end a QMP monitor (mode=control)?",
		       why, excerpt(near, s, len));
}

/* The member @key if it has the type @t, else NULL. */
static struct json_object *member(struct json_object *o, const char *key, enum json_type t)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, t))
		return NULL;
	return v;
}

static const char *member_string(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key, json_type_string);

	return v ? json_object_get_string(v) : NULL;
}

/* A count; -1 when it is missing, not a number or negative. */
static int64_t member_count(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key, json_type_int);
	int64_t n = v ? json_object_get_int64(v) : -1;

	return n < 0 ? -1 : n;
}

static int read_greeting(struct qmp_msg *m, struct json_object *qmp)
{
	struct json_object *version = member(qmp, "version", json_type_object);
	struct json_object *caps = member(qmp, "capabilities", json_type_array);
	struct json_object *qemu = version ? member(version, "qemu", json_type_object) : NULL;
	int64_t major, minor, micro;

	if (!qemu || !caps)
		return -EPROTO;
	major = member_count(qemu, "major");
	minor = member_count(qemu, "minor");
	micro = member_count(qemu, "micro");
	if (MIN(MIN(major, minor), micro) < 0 || MAX(MAX(major, minor), micro) > INT16_MAX)
		return -EPROTO;
	m->type = QMP_MSG_GREETING;
	m->version = (struct qmp_version){(int)major, (int)minor, (int)micro};
	for (size_t i = 0; i < json_object_array_length(caps); i++) {
		struct json_object *cap = json_object_array_get_idx(caps, i);

		if (json_object_is_type(cap, json_type_string) &&
		    !strcmp(json_object_get_string(cap), "oob"))
			m->oob = true;
	}
	return 0;
}

/* qmp-spec: seconds and microseconds are both -1 when QEMU could not read its clock. */
static uint64_t read_timestamp(struct json_object *root)
{
	struct json_object *t = member(root, "timestamp", json_type_object);
	int64_t sec = t ? member_count(t, "seconds") : -1;
	int64_t usec = t ? member_count(t, "microseconds") : -1;

	if (sec < 0 || usec < 0 || sec > UINT32_MAX || usec > UINT32_MAX)
		return 0;
	return (uint64_t)sec * USEC_PER_SEC + (uint64_t)usec;
}

static int read_event(struct qmp_msg *m)
{
	m->type = QMP_MSG_EVENT;
	m->name = member_string(m->root, "event");
	m->body = member(m->root, "data", json_type_object);
	m->timestamp_us = read_timestamp(m->root);
	return m->name ? 0 : -EPROTO;
}

static int read_error(struct qmp_msg *m, struct json_object *error)
{
	m->type = QMP_MSG_ERROR;
	m->name = member_string(error, "class");
	m->desc = member_string(error, "desc");
	return m->name && m->desc ? 0 : -EPROTO;
}

static int read_id(struct qmp_msg *m)
{
	struct json_object *id;

	if (!json_object_object_get_ex(m->root, "id", &id))
		return 0;
	m->id = member_count(m->root, "id");
	return m->id < 0 ? -EPROTO : 0;
}

static int classify(struct qmp_msg *m)
{
	struct json_object *v;

	if (json_object_object_get_ex(m->root, "QMP", &v))
		return read_greeting(m, v);
	if (json_object_object_get_ex(m->root, "event", NULL))
		return read_event(m);
	if (read_id(m) < 0)
		return -EPROTO;
	if (json_object_object_get_ex(m->root, "error", &v))
		return read_error(m, v);
	m->type = QMP_MSG_RETURN;
	return json_object_object_get_ex(m->root, "return", &m->body) ? 0 : -EPROTO;
}

static int finish_message(struct qmp_parser *p, struct json_object *root, struct qmp_msg *out,
			  struct err *e)
{
	const char *text;

	*out = (struct qmp_msg){.root = root, .id = -1};
	p->used = 0;
	if (!classify(out))
		return 1;
	p->broken = true;
	text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
	not_qmp(e, "neither greeting, reply, error nor event", text, strlen(text));
	qmp_msg_clear(out);
	return -EPROTO;
}

/* Feed the tokener; 1 with a whole message, 0 when it wants more. */
static int parse(struct qmp_parser *p, const char **buf, size_t *len, struct json_object **root,
		 struct err *e)
{
	size_t n = MIN(*len, QMP_MSG_MAX - p->used);
	enum json_tokener_error jerr;
	size_t end, back;

	*root = json_tokener_parse_ex(p->tok, *buf, (int)n);
	jerr = json_tokener_get_error(p->tok);
	end = json_tokener_get_parse_end(p->tok);
	if (jerr != json_tokener_success && jerr != json_tokener_continue) {
		back = MIN(end, (size_t)EXCERPT_MAX / 2);
		p->broken = true;
		return not_qmp(e, json_tokener_error_desc(jerr), *buf + end - back,
			       *len - end + back);
	}
	p->used += end;
	*buf += end;
	*len -= end;
	if (jerr == json_tokener_success)
		return 1;
	if (p->used < QMP_MSG_MAX)
		return 0;
	p->broken = true;
	return err_set(e, EPROTO, "a QMP message from QEMU is longer than %zu bytes", QMP_MSG_MAX);
}

int qmp_parser_next(struct qmp_parser *p, const char **buf, size_t *len, struct qmp_msg *out,
		    struct err *e)
{
	struct json_object *root;
	int r;

	if (p->broken)
		return err_set(e, EPROTO, "the QMP stream is unreadable after earlier garbage");
	for (; *len && !p->used && is_space(**buf); (*buf)++)
		(*len)--;
	if (!*len)
		return 0;
	/* Every QMP message is an object; saying so at the first byte also spares the tokener's
	 * values without an end ("12"). */
	if (!p->used && **buf != '{') {
		p->broken = true;
		return not_qmp(e, "a message must start with '{'", *buf, *len);
	}
	r = parse(p, buf, len, &root, e);
	return r <= 0 ? r : finish_message(p, root, out, e);
}
