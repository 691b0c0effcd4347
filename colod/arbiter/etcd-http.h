/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POST requests over libcurl on the loop; nothing blocks, names are resolved beside it. */
#ifndef ARBITER_ETCD_HTTP_H
#define ARBITER_ETCD_HTTP_H

#include "base/loop.h"
#include "colod/core/config.h"

struct etcd_http;

/**
 * etcd_http_fn - a request has ended; it may begin another one. @status is 0 when there was no whole
 * reply, @why says why then. @body is not terminated.
 */
typedef void (*etcd_http_fn)(void *arg, unsigned lane, long status, const char *body, size_t len,
			     const char *why);

/** etcd_http_new() - for @lanes requests at a time, with @c's certificates, replies of at most
 * @reply_max bytes. */
int etcd_http_new(struct etcd_http **out, struct loop *l, const struct config *c, unsigned lanes,
		  size_t reply_max, etcd_http_fn fn, void *arg, struct err *e);
void etcd_http_free(struct etcd_http *h);

/** etcd_http_post() - begin; @lane must be free. 0 or -errno, and nothing is called then. */
int etcd_http_post(struct etcd_http *h, unsigned lane, const char *url, const char *path,
		   const char *body, uint64_t timeout_us);

/** etcd_http_cancel() - nothing more is heard of what is under way in @lane, if anything is. */
void etcd_http_cancel(struct etcd_http *h, unsigned lane);

/** etcd_http_wait() - go on without the loop, for at most @timeout_us or until something is to be
 * done. */
void etcd_http_wait(struct etcd_http *h, uint64_t timeout_us);

#endif
