// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS of a link as a whole: when it may be missing, setting up, the handshake of a connection. */
#include "colod/link/tls.h"

#include "base/cleanup.h"
#include "colod/link/tcp.h"
#include "colod/link/tls-priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * The listener says so when it believes the caller, who has finished his part of the handshake
 * before (RFC 8446, 2): so a caller hears why he is not believed, and not just that the connection
 * ended.
 */
#define BELIEVED "+"

int tls_check_address(const struct config *c, const struct tcp_addr *a, const char *key,
		      struct err *e)
{
	if (c->tls != TLS_NONE || c->insecure || tcp_is_loopback(a))
		return 0;
	return err_set(
		e, EPERM,
		"%s = %s: without encryption whoever reaches this network reads the guest's "
		"memory and can take it over; set tls = psk or tls = x509, or insecure = yes "
		"where nobody else does",
		key, a->text);
}

static int check_endpoint(const struct config *c, const struct endpoint *ep, bool passive,
			  struct err *e)
{
	const char *key = passive ? "listen" : "peer";
	struct tcp_addr a;
	int r = tcp_resolve(&a, ep, passive, key, e);

	return r ? r : tls_check_address(c, &a, key, e);
}

static int check_plain(const struct config *c, struct err *e)
{
	int r = c->insecure ? 0 : check_endpoint(c, &c->listen, true, e);

	for (unsigned i = 0; !r && !c->insecure && i < c->peer_count; i++)
		r = check_endpoint(c, &c->peers[i], false, e);
	return r;
}

int tls_check(const struct config *c, struct err *e)
{
	struct tls_cred cr;
	int r;

	if (c->tls == TLS_NONE)
		return check_plain(c, e);
	r = tls_cred_load(&cr, c, e);
	tls_cred_free(&cr);
	return r;
}

int tls_new(struct tls **out, struct loop *l, const struct config *c, tls_note_fn note, void *arg,
	    struct err *e)
{
	struct tls *t;
	int r;

	*out = NULL;
	if (c->tls == TLS_NONE)
		return tls_check(c, e);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_errno(e, ENOMEM, "TLS");
	t->loop = l;
	t->config = c;
	t->note = note;
	t->arg = arg;
	t->kernel = true;
	r = tls_relays_init(t, e);
	if (!r)
		r = tls_cred_load(&t->cred, c, e);
	if (r) {
		tls_free(t);
		return r;
	}
	*out = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	tls_relays_free(t);
	tls_cred_free(&t->cred);
	free(t);
}

/* ---- handshake ---- */

void tls_cancel(struct tls_shake **s)
{
	struct tls_shake *sh = *s;

	*s = NULL;
	if (!sh)
		return;
	loop_src_free(&sh->src);
	if (sh->session)
		gnutls_deinit(sh->session);
	close_fd(&sh->fd);
	free(sh);
}

/* The slot is empty when the callee hears of it. */
static void end(struct tls_shake *sh, int fd, const struct tls_peer *who, const struct err *why)
{
	tls_done_fn done = sh->done;
	void *arg = sh->arg;

	tls_cancel(sh->slot);
	done(arg, fd, who, why);
}

static const char *words_for(int r)
{
	switch (r) {
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_RECORD_OVERFLOW:
		return "it does not speak TLS; is the same tls = set on both hosts?";
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		return "it hung up; is the same tls = set on both hosts?";
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
	case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
		return "it offers nothing that we take; is the same tls = set on both hosts?";
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
		return "it shows no certificate";
	default:
		return gnutls_strerror(r);
	}
}

static void describe(const struct tls_shake *sh, int r, struct err *e)
{
	if (*sh->detail)
		err_set(e, EACCES, "TLS: %s", sh->detail);
	else if (r == GNUTLS_E_FATAL_ALERT_RECEIVED)
		err_set(e, EACCES,
			"TLS: it refuses us: %s; its log says more. Is tls = the same on both "
			"hosts, with the same key or with certificates for their names?",
			gnutls_alert_get_name(gnutls_alert_get(sh->session)));
	else
		err_set(e, EPROTO, "TLS: %s", words_for(r));
}

/* What was not read would turn the end into a reset, which overtakes the alert. */
static void read_to_end(int fd)
{
	char buf[4096];

	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 32 && recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0; i++)
		;
}

/* The alert is a courtesy: it goes if there is room. */
static void fail(struct tls_shake *sh, int r)
{
	struct err e;

	describe(sh, r, &e);
	if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(sh->session, r);
	read_to_end(sh->fd);
	end(sh, -1, NULL, &e);
}

/* Both believe each other: what carries the bytes from here on? */
static void succeed(struct tls_shake *sh)
{
	struct err e = {};
	struct tls_peer who;
	int fd = -1;

	if (tls_name_peer(&who, sh->session, sh->tls->config)) {
		err_set(&e, EPROTO, "TLS: the peer has no certificate");
	} else if (sh->tls->kernel && tls_kernel_take(sh->session, sh->fd, &e)) {
		fd = steal_fd(&sh->fd);
	} else if (!e.code) {
		loop_src_free(&sh->src);
		fd = tls_relay_start(sh->tls, sh->session, steal_fd(&sh->fd), &e);
		sh->session = NULL;
	}
	end(sh, MAX(fd, -1), &who, &e);
}

static int shake_hands(struct tls_shake *sh)
{
	int r;

	do
		r = gnutls_handshake(sh->session);
	while (r < 0 && r != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(r));
	sh->shaken = !r;
	return r;
}

/* 0 when done, GNUTLS_E_AGAIN, or why not. */
static int confirm(struct tls_shake *sh)
{
	char word;
	ssize_t n;

	if (sh->side == TLS_LISTENER)
		n = gnutls_record_send(sh->session, BELIEVED, 1);
	else
		n = gnutls_record_recv(sh->session, &word, 1);
	if (n < 0)
		return n == GNUTLS_E_INTERRUPTED ? GNUTLS_E_AGAIN : (int)n;
	if (!n)
		return GNUTLS_E_PREMATURE_TERMINATION;
	return sh->side == TLS_LISTENER || word == *BELIEVED ? 0 : GNUTLS_E_UNEXPECTED_PACKET;
}

static void advance(struct tls_shake *sh)
{
	int r = sh->shaken ? 0 : shake_hands(sh);

	if (!r)
		r = confirm(sh);
	if (!r)
		succeed(sh);
	else if (r == GNUTLS_E_AGAIN)
		loop_io_events(sh->src,
			       gnutls_record_get_direction(sh->session) ? EPOLLOUT : EPOLLIN);
	else
		fail(sh, r);
}

static void on_io(void *arg, int fd, uint32_t revents)
{
	(void)fd;
	(void)revents;
	advance(arg);
}

static int prepare(struct tls_shake *sh)
{
	unsigned side = sh->side == TLS_CALLER ? GNUTLS_CLIENT : GNUTLS_SERVER;
	int r = gnutls_init(&sh->session,
			    side | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);

	if (r)
		return r;
	gnutls_session_set_ptr(sh->session, sh);
	gnutls_transport_set_int(sh->session, sh->fd);
	/* Of its own it would give up by gnutls_handshake_set_timeout(): time is the caller's. */
	gnutls_handshake_set_timeout(sh->session, GNUTLS_INDEFINITE_TIMEOUT);
	return tls_cred_apply(&sh->tls->cred, sh->session, sh->side);
}

void tls_begin(struct tls_shake **out, struct tls *t, int fd, enum tls_side side, tls_done_fn done,
	       void *arg)
{
	static const struct tls_peer nobody;
	struct tls_shake *sh;
	struct err e;

	*out = NULL;
	if (!t) {
		done(arg, fd, &nobody, NULL);
		return;
	}
	sh = calloc(1, sizeof(*sh));
	if (!sh) {
		close(fd);
		err_errno(&e, ENOMEM, "TLS");
		done(arg, -1, NULL, &e);
		return;
	}
	*sh = (struct tls_shake){
		.tls = t, .fd = fd, .side = side, .slot = out, .done = done, .arg = arg};
	*out = sh;
	if (prepare(sh) || loop_add_io(t->loop, &sh->src, fd, EPOLLIN, on_io, sh)) {
		err_errno(&e, ENOMEM, "TLS");
		end(sh, -1, NULL, &e);
		return;
	}
	advance(sh);
}
