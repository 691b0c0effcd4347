/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to etcd's v3 JSON gateway and its replies, as text. Pure. */
#ifndef ARBITER_ETCD_JSON_H
#define ARBITER_ETCD_JSON_H

#include "colod/arbiter/etcd-core.h"

/* As the gateway wants them: base64. A prefix has at most 128 characters. */
#define ETCD_KEY_MAX   (128 + CONFIG_NAME_MAX + 8)
#define ETCD_BASE64(n) (((n) + 2) / 3 * 4 + 1)

/* Replies are a few hundred bytes; the header and two keys cannot make more than this. */
#define ETCD_REPLY_MAX (16 * KIB)
#define ETCD_BODY_MAX  (8 * ETCD_BASE64(ETCD_KEY_MAX) + 1024)

struct etcd_keys {
	char owner[ETCD_BASE64(ETCD_KEY_MAX)], live[ETCD_BASE64(ETCD_KEY_MAX)];
	char host[ETCD_BASE64(CONFIG_HOST_MAX)]; /* the value of live */
};

/** etcd_keys_init() - PREFIX/NAME/owner and PREFIX/NAME/live. */
void etcd_keys_init(struct etcd_keys *k, const char *prefix, const char *name, const char *host);

/** etcd_json_path() - what follows the endpoint's URL, such as "/v3/kv/txn". */
const char *etcd_json_path(enum etcd_request_kind kind);

/** etcd_json_request() - the body of a POST (etcd docs, "gRPC gateway": 64-bit numbers are strings,
 * bytes are base64). */
void etcd_json_request(char body[ETCD_BODY_MAX], const struct etcd_keys *k,
		       const struct etcd_request *q);

/**
 * etcd_json_reply() - understand what came back for @q with HTTP status @status. Anything that is not
 * the whole and expected answer is ETCD_FAILED: above all, a key is absent only when etcd says so.
 */
void etcd_json_reply(struct etcd_reply *r, const struct etcd_keys *k, const struct etcd_request *q,
		     long status, const char *body, size_t len);

#endif
