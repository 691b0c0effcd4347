/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Adapter: a QMP client on a connected unix socket in an event loop. */
#ifndef QMP_LOOP_H
#define QMP_LOOP_H

#include "base/loop.h"
#include "qmp-client/qmp-client.h"

struct qmp_loop;

/** struct qmp_loop_handlers - as in struct qmp_client_ops; each may be NULL. */
struct qmp_loop_handlers {
	void (*ready)(void *arg);
	void (*closed)(void *arg, const struct err *reason);
};

/** qmp_loop_new() - drive a client on @sock (connected, becomes non-blocking, owned by the
 * adapter). */
int qmp_loop_new(struct qmp_loop **out, struct loop *l, int sock, const struct qmp_loop_handlers *h,
		 void *arg, struct err *e);
void qmp_loop_free(struct qmp_loop *q);

struct qmp_client *qmp_loop_client(struct qmp_loop *q);

/**
 * qmp_loop_send() - qmp_client_send() now, tried on the socket at once, so that a command leaves
 * within the call. @args may be NULL and is taken over. Several calls in a row are pipelined by
 * QEMU.
 */
int qmp_loop_send(struct qmp_loop *q, const struct qmp_cmd *cmd);

/** qmp_loop_run_job() - qmp_client_run_job() in the same way. */
int qmp_loop_run_job(struct qmp_loop *q, const struct qmp_cmd *cmd);

#endif
