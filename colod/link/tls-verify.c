// SPDX-License-Identifier: GPL-2.0-or-later
/* Whom the other end has proved to be: chain, purpose, name and print of its certificate. */
#include "colod/link/tls-priv.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

static int check_chain(struct tls_shake *sh, gnutls_session_t s)
{
	const char *purpose =
		sh->side == TLS_CALLER ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
	gnutls_typed_vdata_st want = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
				      .data = (unsigned char *)purpose};
	gnutls_datum_t text = {};
	unsigned status;
	int r = gnutls_certificate_verify_peers(s, &want, 1, &status);

	if (r) {
		snprintf(sh->detail, sizeof(sh->detail), "its certificate: %s", gnutls_strerror(r));
		return -1;
	}
	if (!status)
		return 0;
	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	snprintf(sh->detail, sizeof(sh->detail), "its certificate is not good: %s",
		 text.data ? (char *)text.data : "");
	gnutls_free(text.data);
	return -1;
}

static bool is_named(gnutls_x509_crt_t crt, const char *name)
{
	return gnutls_x509_crt_check_hostname2(crt, name, GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS);
}

static bool is_the_peers(gnutls_x509_crt_t crt, const struct config *c)
{
	if (c->tls_peer_name)
		return is_named(crt, c->tls_peer_name);
	for (unsigned i = 0; i < c->peer_count; i++)
		if (is_named(crt, c->peers[i].host))
			return true;
	return false;
}

/* Either side may be the caller, so the name is the same whoever called. */
static int check_name(struct tls_shake *sh, gnutls_x509_crt_t crt)
{
	const struct config *c = sh->tls->config;

	if (is_the_peers(crt, c))
		return 0;
	snprintf(sh->detail, sizeof(sh->detail),
		 "its certificate is not for \"%.150s\" (tls_peer_name, else a host of peer)",
		 c->tls_peer_name ? c->tls_peer_name : c->peers[0].host);
	return -1;
}

static int import_first(gnutls_x509_crt_t *crt, gnutls_session_t s)
{
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(s, &n);

	if (!chain || !n || gnutls_x509_crt_init(crt))
		return -1;
	if (!gnutls_x509_crt_import(*crt, &chain[0], GNUTLS_X509_FMT_DER))
		return 0;
	gnutls_x509_crt_deinit(*crt);
	return -1;
}

int tls_verify_certificate(gnutls_session_t s)
{
	struct tls_shake *sh = gnutls_session_get_ptr(s);
	gnutls_x509_crt_t crt;
	int r;

	if (check_chain(sh, s))
		return -1;
	if (import_first(&crt, s)) {
		snprintf(sh->detail, sizeof(sh->detail), "its certificate cannot be read");
		return -1;
	}
	r = check_name(sh, crt);
	gnutls_x509_crt_deinit(crt);
	return r;
}

static int print_certificate(struct tls_peer *who, const gnutls_datum_t *der)
{
	unsigned char print[32];
	size_t n, size = sizeof(print);

	if (gnutls_fingerprint(GNUTLS_DIG_SHA256, der, print, &size))
		return -EINVAL;
	n = (size_t)snprintf(who->name, sizeof(who->name), "x509 ");
	for (size_t i = 0; i < size; i++)
		n += (size_t)snprintf(who->name + n, sizeof(who->name) - n, "%02x", print[i]);
	return 0;
}

int tls_name_peer(struct tls_peer *who, gnutls_session_t s, const struct config *c)
{
	const gnutls_datum_t *chain;
	unsigned n = 0;

	memset(who, 0, sizeof(*who));
	if (c->tls == TLS_PSK) {
		snprintf(who->name, sizeof(who->name), "psk %s", c->tls_psk_identity);
		return 0;
	}
	chain = gnutls_certificate_get_peers(s, &n);
	return chain && n ? print_certificate(who, &chain[0]) : -EINVAL;
}
