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

/** qmp_loop_new() - drive a client on @sock (connected; becomes non-blocking; the adapter owns it
 * and closes it, also when this fails). */
int qmp_loop_new(struct qmp_loop **out, struct loop *l, int sock, const struct qmp_loop_handlers *h,
		 void *arg, struct err *e);

/** qmp_loop_free() - as qmp_client_free(), and the socket is closed. Allowed in every callback. */
void qmp_loop_free(struct qmp_loop *q);

struct qmp_client *qmp_loop_client(struct qmp_loop *q);

/**
 * qmp_loop_send() - qmp_client_send() now, tried on the socket at once, so that a command leaves
 * within the call; what the socket does not take is sent from the loop. Several calls in a row are
 * pipelined. From outside a callback, send this way and not on the client itself: the deadline is
 * watched from here.
 */
int qmp_loop_send(struct qmp_loop *q, const struct qmp_cmd *cmd);

/** qmp_loop_prime() - qmp_client_prime() in the same way. */
int qmp_loop_prime(struct qmp_loop *q);

/** qmp_loop_run_job() - qmp_client_run_job() in the same way. */
int qmp_loop_run_job(struct qmp_loop *q, const struct qmp_cmd *cmd);

/**
 * qmp_loop_cork() - keep what is sent back until qmp_loop_uncork(), which writes it at once: one
 * write for several commands, except that one with a descriptor starts a write of its own.
 */
void qmp_loop_cork(struct qmp_loop *q);
void qmp_loop_uncork(struct qmp_loop *q);

#endif
