// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON of etcd's gateway: bodies by printf, since all values are known to be harmless; json-c reads. */
#include "colod/arbiter/etcd-json.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- base64 (RFC 4648, section 4) ---- */

static void base64_encode(char *out, const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i += 3) {
		size_t n = MIN(len - i, (size_t)3);
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (k < n ? (uint8_t)text[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*out++ = k <= n ? alphabet[v >> (18 - 6 * k) & 63] : '=';
	}
	*out = 0;
}

static int base64_digit(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Into printable text that is cut where @out is full: what is compared with it is always shorter. */
static int base64_decode(char out[ETCD_VALUE_MAX], const char *in, size_t len)
{
	size_t n = 0;

	if (len % 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 4) {
		bool last = i + 4 == len;
		size_t pad = last && in[i + 3] == '=' ? 1 + (in[i + 2] == '=') : 0;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < 4 - pad ? base64_digit(in[i + k]) : 0;

			if (d < 0)
				return -EINVAL;
			v = v << 6 | (uint32_t)d;
		}
		for (size_t k = 0; k < 3 - pad && n < ETCD_VALUE_MAX - 1; k++) {
			char c = (char)(v >> (16 - 8 * k));

			out[n++] = (c >= ' ' && c <= '~') ? c : '?';
		}
	}
	out[n] = 0;
	return 0;
}

/* ---- requests ---- */

static void key_init(char *out, const char *prefix, const char *name, const char *leaf)
{
	char key[ETCD_KEY_MAX + 1];

	snprintf(key, sizeof(key), "%s/%s/%s", prefix, name, leaf);
	base64_encode(out, key);
}

void etcd_keys_init(struct etcd_keys *k, const char *prefix, const char *name, const char *host)
{
	key_init(k->owner, prefix, name, "owner");
	key_init(k->live, prefix, name, "live");
	base64_encode(k->host, host);
}

const char *etcd_json_path(enum etcd_request_kind kind)
{
	switch (kind) {
	case ETCD_GRANT:
		return "/v3/lease/grant";
	case ETCD_RENEW:
		return "/v3/lease/keepalive";
	case ETCD_READ:
	case ETCD_WRITE:
		break;
	}
	return "/v3/kv/txn";
}

#define RANGES                                                                                     \
	"[{\"requestRange\":{\"key\":\"%s\"}},"                                                    \
	"{\"requestRange\":{\"key\":\"%s\"}}]"
#define COMPARE                                                                                    \
	"{\"key\":\"%s\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"modRevision\":\"%" PRId64 "\"}"

static void write_body(char body[ETCD_BODY_MAX], const struct etcd_keys *k,
		       const struct etcd_request *q)
{
	char owner[ETCD_BASE64(ETCD_VALUE_MAX)], live[ETCD_BASE64(ETCD_KEY_MAX) + 256];

	base64_encode(owner, q->owner);
	if (q->lease)
		snprintf(live, sizeof(live),
			 "{\"requestPut\":{\"key\":\"%s\",\"value\":\"%s\",\"lease\":\"%" PRId64
			 "\"}}",
			 k->live, k->host, q->lease);
	else
		snprintf(live, sizeof(live), "{\"requestDeleteRange\":{\"key\":\"%s\"}}", k->live);
	snprintf(body, ETCD_BODY_MAX,
		 "{\"compare\":[" COMPARE "," COMPARE "],"
		 "\"success\":[{\"requestPut\":{\"key\":\"%s\",\"value\":\"%s\"}},%s],"
		 "\"failure\":" RANGES "}",
		 k->owner, q->owner_rev, k->live, q->live_rev, k->owner, owner, live, k->owner,
		 k->live);
}

void etcd_json_request(char body[ETCD_BODY_MAX], const struct etcd_keys *k,
		       const struct etcd_request *q)
{
	switch (q->kind) {
	case ETCD_GRANT:
		snprintf(body, ETCD_BODY_MAX, "{\"TTL\":\"%u\",\"ID\":\"0\"}", q->ttl_s);
		break;
	case ETCD_RENEW:
		snprintf(body, ETCD_BODY_MAX, "{\"ID\":\"%" PRId64 "\"}", q->lease);
		break;
	case ETCD_READ:
		snprintf(body, ETCD_BODY_MAX, "{\"success\":" RANGES "}", k->owner, k->live);
		break;
	case ETCD_WRITE:
		write_body(body, k, q);
		break;
	}
}

/* ---- replies ---- */

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, name, &v);
	return v;
}

/* A 64-bit number, which protobuf's JSON has as a string; what is absent is 0. */
static int number(struct json_object *o, const char *name, int64_t *out)
{
	struct json_object *v = member(o, name);
	const char *text;
	char *end;

	*out = 0;
	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_string) && !json_object_is_type(v, json_type_int))
		return -EINVAL;
	text = json_object_get_string(v);
	errno = 0;
	*out = strtoll(text, &end, 10);
	return (errno || end == text || *end || *out < 0) ? -EINVAL : 0;
}

static int value(struct json_object *kv, char out[ETCD_VALUE_MAX])
{
	struct json_object *v = member(kv, "value");

	out[0] = 0;
	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_string))
		return -EINVAL;
	return base64_decode(out, json_object_get_string(v), (size_t)json_object_get_string_len(v));
}

/* One key of a view: a range that was answered, with no key in it or with the one asked for. */
static int view_key(struct json_object *response, const char *key, int64_t *rev, int64_t *lease,
		    char out[ETCD_VALUE_MAX])
{
	struct json_object *range = member(response, "response_range"), *kvs = member(range, "kvs");
	struct json_object *kv, *name;

	*rev = *lease = 0;
	out[0] = 0;
	if (!json_object_is_type(range, json_type_object) || !member(range, "header"))
		return -EINVAL;
	if (!kvs)
		return member(range, "count") ? -EINVAL : 0;
	if (!json_object_is_type(kvs, json_type_array) || json_object_array_length(kvs) != 1)
		return -EINVAL;
	kv = json_object_array_get_idx(kvs, 0);
	name = member(kv, "key");
	if (!json_object_is_type(name, json_type_string) ||
	    strcmp(json_object_get_string(name), key) != 0)
		return -EINVAL;
	if (number(kv, "mod_revision", rev) || !*rev || number(kv, "lease", lease))
		return -EINVAL;
	return value(kv, out);
}

static int view(struct etcd_view *v, const struct etcd_keys *k, struct json_object *o)
{
	struct json_object *responses = member(o, "responses");
	int64_t no_lease;
	int r;

	if (!json_object_is_type(responses, json_type_array) ||
	    json_object_array_length(responses) != 2)
		return -EINVAL;
	r = view_key(json_object_array_get_idx(responses, 0), k->owner, &v->owner_rev, &no_lease,
		     v->owner);
	return r ? r
		 : view_key(json_object_array_get_idx(responses, 1), k->live, &v->live_rev,
			    &v->live_lease, v->live);
}

static int grant_reply(struct etcd_reply *r, struct json_object *o)
{
	int64_t ttl;

	if (number(o, "ID", &r->lease) || number(o, "TTL", &ttl) || !r->lease || !ttl)
		return -EINVAL;
	r->ttl_s = (uint32_t)MIN(ttl, (int64_t)UINT32_MAX);
	return 0;
}

/* A lease that is gone has no TTL; there is no error (rpc.proto, LeaseKeepAliveResponse). */
static int renew_reply(struct etcd_reply *r, const struct etcd_request *q, struct json_object *o)
{
	struct json_object *result = member(o, "result");
	int64_t ttl;

	if (number(result, "ID", &r->lease) || number(result, "TTL", &ttl) || r->lease != q->lease)
		return -EINVAL;
	r->ttl_s = (uint32_t)MIN(ttl, (int64_t)UINT32_MAX);
	if (!ttl)
		r->outcome = ETCD_GONE;
	return 0;
}

static int txn_reply(struct etcd_reply *r, const struct etcd_keys *k, const struct etcd_request *q,
		     struct json_object *o)
{
	struct json_object *succeeded = member(o, "succeeded");
	bool yes = json_object_is_type(succeeded, json_type_boolean) &&
		   json_object_get_boolean(succeeded);

	if (!json_object_is_type(member(o, "header"), json_type_object))
		return -EINVAL;
	if (q->kind == ETCD_READ)
		return yes ? view(&r->view, k, o) : -EINVAL;
	if (yes)
		return 0;
	r->outcome = ETCD_BEHIND;
	return view(&r->view, k, o);
}

static int good_reply(struct etcd_reply *r, const struct etcd_keys *k, const struct etcd_request *q,
		      struct json_object *o)
{
	switch (q->kind) {
	case ETCD_GRANT:
		return grant_reply(r, o);
	case ETCD_RENEW:
		return renew_reply(r, q, o);
	case ETCD_READ:
	case ETCD_WRITE:
		break;
	}
	return txn_reply(r, k, q, o);
}

/* "message" is what all versions have; a stream has it inside "error". */
static const char *error_text(struct json_object *o)
{
	struct json_object *m = member(o, "message"), *error = member(o, "error");

	if (!json_object_is_type(m, json_type_string))
		m = member(error, "message");
	if (!json_object_is_type(m, json_type_string))
		m = error;
	return json_object_is_type(m, json_type_string) ? json_object_get_string(m) : NULL;
}

static void fail(struct etcd_reply *r, long status, const char *text)
{
	*r = (struct etcd_reply){.outcome = ETCD_FAILED};
	if (!text)
		text = status == 200 ? "an answer that makes no sense" : "an error without a text";
	snprintf(r->why, sizeof(r->why), "HTTP status %ld: %s", status, text);
	for (char *p = r->why; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static void judge_reply(struct etcd_reply *r, const struct etcd_keys *k,
			const struct etcd_request *q, long status, struct json_object *o)
{
	const char *text = error_text(o);

	*r = (struct etcd_reply){.outcome = ETCD_DONE};
	if (text && q->kind != ETCD_GRANT && q->lease && strstr(text, "lease not found"))
		r->outcome = ETCD_GONE;
	else if (text || status != 200 || good_reply(r, k, q, o))
		fail(r, status, text);
}

void etcd_json_reply(struct etcd_reply *r, const struct etcd_keys *k, const struct etcd_request *q,
		     long status, const char *body, size_t len)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *o = NULL;

	if (t && len <= ETCD_REPLY_MAX)
		o = json_tokener_parse_ex(t, body, (int)len);
	if (o && json_tokener_get_error(t) == json_tokener_success)
		judge_reply(r, k, q, status, o);
	else
		fail(r, status, NULL);
	json_object_put(o);
	if (t)
		json_tokener_free(t);
}
