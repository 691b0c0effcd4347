/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection to a daemon's control socket: found, opened, one request at a time. */
#ifndef COLO_CTL_CLIENT_H
#define COLO_CTL_CLIENT_H

#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>

#define CTL_RUNTIME_DIR "/run/colod"

struct client;

/**
 * client_find_socket() - path of the only control socket ("*.sock") in @dir, freed by the caller.
 * -ENOENT when there is none, -ENOTUNIQ when there are several: the reason lists them.
 */
int client_find_socket(char **out, const char *dir, struct err *e);

/** client_open() - connect to @path; -errno with a reason that says which socket and what to do. */
int client_open(struct client **out, const char *path, uint32_t timeout_ms, struct err *e);
void client_close(struct client *c);
static inline void cleanup_client(struct client **c)
{
	client_close(*c);
}

/**
 * client_call() - send @request (borrowed) and wait for its answer.
 * @raw:    the answer's line without newline, valid until the next call
 * @answer: the same parsed, the caller's reference
 *
 * -ETIMEDOUT, -ECONNRESET, -EPROTO (an answer that is no JSON object) or -errno.
 */
int client_call(struct client *c, struct json_object *request, const char **raw,
		struct json_object **answer, struct err *e);

#endif
