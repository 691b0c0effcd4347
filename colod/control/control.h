/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control socket: JSON lines in, JSON lines out, peer credentials checked. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "base/loop.h"

#include <json-c/json.h>

struct control;
struct control_request;

/**
 * control_handler_fn - one request: {"cmd":NAME, ...} in @args (borrowed). The handler keeps @rq
 * and answers exactly once, now or later, by control_reply() or control_fail(). A client that went
 * away meanwhile is no error: the answer is dropped. The handler may not call control_close().
 */
typedef void (*control_handler_fn)(void *arg, struct control_request *rq, const char *cmd,
				   struct json_object *args);

/**
 * control_open() - listen at @path (mode 0600; 0660 for the group @group unless it is NULL). A stale
 * socket is replaced; one that another daemon answers on is an error that says so. Peers must be
 * root, the daemon's user, or a member of @group (SO_PEERCRED, unix(7)). At most 32 of them are
 * served at a time, each with at most 16 requests begun and not yet answered.
 */
int control_open(struct control **out, struct loop *l, const char *path, const char *group,
		 control_handler_fn fn, void *arg, struct err *e);

/** control_close() - requests not answered yet stay valid; their answers go nowhere. */
void control_close(struct control *c);

/**
 * control_reply() - answer {"ok":true} merged with the members of @body (may be NULL; taken over).
 */
void control_reply(struct control_request *rq, struct json_object *body);

/** control_fail() - answer {"ok":false,"error":TEXT}. */
void control_fail(struct control_request *rq, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
