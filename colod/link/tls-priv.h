/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of TLS: credentials, handshake, relay and the kernel's own record layer. */
#ifndef LINK_TLS_PRIV_H
#define LINK_TLS_PRIV_H

#include "base/list.h"
#include "base/mailbox.h"
#include "colod/link/tls.h"

#include <gnutls/gnutls.h>

#define TLS_KEY_MIN 16 /* bytes of a pre-shared key */
#define TLS_KEY_MAX 64

/* What this host proves itself with. */
struct tls_cred {
	gnutls_priority_t priority;
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	gnutls_certificate_credentials_t x509;
	uint8_t key[TLS_KEY_MAX];
	size_t key_bytes;
};

struct tls {
	struct loop *loop;
	const struct config *config;
	tls_note_fn note;
	void *arg;
	struct tls_cred cred;
	bool kernel;        /* use the kernel's record layer where it has one */
	struct list relays; /* newest first */
	unsigned relay_count;
	struct mailbox ended; /* relays whose thread is over */
	struct loop_src *ended_src;
	int stop_fd; /* readable: all relays end */
};

struct tls_shake {
	struct tls *tls;
	gnutls_session_t session;
	enum tls_side side;
	bool shaken;
	int fd;
	struct loop_src *src;
	struct tls_shake **slot;
	tls_done_fn done;
	void *arg;
	char detail[ERR_MSG_MAX / 2]; /* why the peer was not believed */
};

/* tls-cred.c */
int tls_cred_load(struct tls_cred *cr, const struct config *c, struct err *e);
void tls_cred_free(struct tls_cred *cr);
int tls_cred_apply(const struct tls_cred *cr, gnutls_session_t s, enum tls_side side);

/* tls-verify.c */
int tls_verify_certificate(gnutls_session_t s);
int tls_name_peer(struct tls_peer *who, gnutls_session_t s, const struct config *c);

/* tls-kernel.c */
/** tls_kernel_take() - hand the session's keys to the kernel: from then on @fd carries plain bytes.
 * false: it cannot, and nothing has changed. -errno in @e: the connection is lost. */
bool tls_kernel_take(gnutls_session_t s, int fd, struct err *e);

/* tls-relays.c */
/** tls_relay_start() - a thread between @net_fd and a new socket, which is returned; @s and @net_fd
 * are taken over, also on error (-errno). */
int tls_relay_start(struct tls *t, gnutls_session_t s, int net_fd, struct err *e);
int tls_relays_init(struct tls *t, struct err *e);
void tls_relays_free(struct tls *t);

#endif
