/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS beneath the link: who the hosts are, the handshake of a connection, what carries its bytes. */
#ifndef LINK_TLS_H
#define LINK_TLS_H

#include "base/loop.h"
#include "colod/core/config.h"
#include "colod/link/tcp.h"

struct tls;
struct tls_shake;

/** struct tls_peer - whom the other end of a connection has proved to be; all zero without TLS. */
struct tls_peer {
	char name[160];
};

static inline bool tls_same_peer(const struct tls_peer *a, const struct tls_peer *b)
{
	return !strcmp(a->name, b->name);
}

/** tls_note_fn - something worth a line in the log, from the loop. */
typedef void (*tls_note_fn)(void *arg, const char *text);

/**
 * tls_new() - what this host needs to prove itself, read from the files of @c, which must outlive
 * it. *out is NULL with tls = none, and every function below takes that. TLS 1.3 only, with forward
 * secrecy, without resumption or early data (RFC 8446).
 */
int tls_new(struct tls **out, struct loop *l, const struct config *c, tls_note_fn note, void *arg,
	    struct err *e);

/** tls_free() - end all connections; what their users have written is sent, in bounded time. */
void tls_free(struct tls *t);

enum tls_side {
	TLS_CALLER,
	TLS_LISTENER,
};

/**
 * tls_done_fn - how a handshake ended
 * @fd:  the callee's: a non-blocking stream of the plain bytes, which need not be a TCP socket.
 *       Without TLS the connection itself. When it is closed, what was written to it is still sent.
 *       -1 on failure, then @why is set.
 */
typedef void (*tls_done_fn)(void *arg, int fd, const struct tls_peer *who, const struct err *why);

/**
 * tls_begin() - handshake on the loop over @fd, a connected socket, taken over. *out is NULL again
 * when @done is called, which may be before tls_begin() returns. There is no time-out: see
 * tls_cancel().
 */
void tls_begin(struct tls_shake **out, struct tls *t, int fd, enum tls_side side, tls_done_fn done,
	       void *arg);

/** tls_cancel() - give a handshake up, if there is one; @done is not called. */
void tls_cancel(struct tls_shake **s);

/** tls_has_unread() - bytes of the peer are on their way to @fd, or wait in the host: nothing may
 * be concluded from what @fd alone has. */
bool tls_has_unread(struct tls *t, int fd);

/** tls_has_unsent() - bytes that were written to @fd are not in the kernel's hands yet. */
bool tls_has_unsent(struct tls *t, int fd);

/** tls_check_address() - whether @a, the value of @key, may be used: without TLS it must be this
 * host's own, or insecure = yes. 0 or -EPERM. */
int tls_check_address(const struct config *c, const struct tcp_addr *a, const char *key,
		      struct err *e);

/** tls_check() - whether tls_new() would do; reads the files. With tls = none: whether @c may go
 * without. May ask the resolver. */
int tls_check(const struct config *c, struct err *e);

#endif
