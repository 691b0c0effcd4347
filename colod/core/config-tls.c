// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks across the configuration keys of the link's encryption. */
#include "colod/core/config-tls.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* GnuTLS keeps an identity in as many bytes. */
#define IDENTITY_MAX 128

/* Each file, and the kind of TLS that needs it. */
struct need {
	const char *key, *value;
	enum tls_kind kind;
	bool optional;
};

static int check_need(const struct need *n, const struct config *c, struct err *e)
{
	const char *kind = tls_kind_name(n->kind);

	if (n->kind == c->tls && !n->value && !n->optional)
		return err_set(e, EINVAL, "tls = %s needs %s = PATH", kind, n->key);
	if (n->kind != c->tls && n->value)
		return err_set(e, EINVAL, "%s is set, and tls = %s does not use it; set tls = %s",
			       n->key, tls_kind_name(c->tls), kind);
	return 0;
}

static int check_needs(const struct config *c, struct err *e)
{
	const struct need needs[] = {
		{"tls_psk_file", c->tls_psk_file, TLS_PSK, false},
		{"tls_psk_identity", c->tls_psk_identity, TLS_PSK, true},
		{"tls_ca", c->tls_ca, TLS_X509, false},
		{"tls_cert", c->tls_cert, TLS_X509, false},
		{"tls_key", c->tls_key, TLS_X509, false},
		{"tls_peer_name", c->tls_peer_name, TLS_X509, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		int r = check_need(&needs[i], c, e);

		if (r)
			return r;
	}
	return 0;
}

int config_tls_finish(struct config *c, struct err *e)
{
	int r = check_needs(c, e);

	if (r || c->tls != TLS_PSK)
		return r;
	if (!c->tls_psk_identity)
		c->tls_psk_identity = strdup(c->name);
	if (!c->tls_psk_identity)
		return err_errno(e, ENOMEM, "tls_psk_identity");
	if (strchr(c->tls_psk_identity, ':') || *c->tls_psk_identity == '#' ||
	    strlen(c->tls_psk_identity) >= IDENTITY_MAX)
		return err_set(e, EINVAL,
			       "tls_psk_identity: at most %d characters, no \":\" and no \"#\" "
			       "first, which mean something else in a key file",
			       IDENTITY_MAX - 1);
	return 0;
}

void config_tls_destroy(struct config *c)
{
	free(steal_ptr(&c->tls_psk_file));
	free(steal_ptr(&c->tls_psk_identity));
	free(steal_ptr(&c->tls_ca));
	free(steal_ptr(&c->tls_cert));
	free(steal_ptr(&c->tls_key));
	free(steal_ptr(&c->tls_peer_name));
}
