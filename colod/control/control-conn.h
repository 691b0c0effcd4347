/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One client of the control socket: requests in, answers out in the same order, bounded memory. */
#ifndef CONTROL_CONN_H
#define CONTROL_CONN_H

#include "base/list.h"
#include "base/loop.h"
#include "colod/control/control.h"

struct control_conn;

/**
 * control_conn_new() - serve the connected, non-blocking socket @fd (taken over, also on error).
 * The connection frees itself when the client is done; until then it stands in @list.
 */
int control_conn_new(struct loop *l, int fd, struct list *list, control_handler_fn fn, void *arg);

/**
 * control_conn_free_all() - drop every connection in @list. Requests that the handler still holds
 * stay valid.
 */
void control_conn_free_all(struct list *list);

#endif
