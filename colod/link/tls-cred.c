// SPDX-License-Identifier: GPL-2.0-or-later
/* What this host proves itself with: key files, certificates, and the one choice of algorithms. */
#include "colod/link/tls-priv.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Not to be configured: both hosts run the same colod. ECDHE-PSK is psk_dhe_ke of RFC 8446: without
 * a key exchange of its own a session could be read by whoever learns the key later. A key from a
 * file goes with SHA-256, so there is no AES-256-GCM-SHA384 for it.
 */
#define PROTOCOL "NONE:+VERS-TLS1.3:+AEAD:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"
static const char psk_priority[] = PROTOCOL ":+AES-128-GCM:+CHACHA20-POLY1305:+ECDHE-PSK:"
					    "+SIGN-EDDSA-ED25519"; /* it wants one, for nothing */
static const char x509_priority[] =
	PROTOCOL ":+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:+ECDHE-ECDSA:+ECDHE-RSA:"
		 "+CTYPE-X509:+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:%PROFILE_MEDIUM";

static int gnutls_fail(struct err *e, int r, const char *what)
{
	return err_set(e, r == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: %s", what,
		       gnutls_strerror(r));
}

static int check_owner(int fd, const char *key, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_errno(e, errno, "%s = %s", key, path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s = %s is not a file", key, path);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return err_set(e, EPERM,
			       "%s = %s can be read or written by others than its owner; run: "
			       "chmod 600 %s",
			       key, path, path);
	return 0;
}

/* The text of a file; a secret one must be its owner's alone. Wiped and freed by the caller. */
static int read_file(char **text, const char *key, const char *path, bool secret, struct err *e)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char self[40];
	int r;

	if (fd < 0)
		return err_errno(e, errno, "%s = %s", key, path);
	r = secret ? check_owner(fd, key, path, e) : 0;
	if (r)
		return r;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	r = io_read_file(self, text, e);
	return r ? err_prefix(e, "%s = %s", key, path) : 0;
}

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
}

#define autowipe _cleanup_(wipe)

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0, or -EINVAL when @hex of @len digits is no key. */
static int decode_key(struct tls_cred *cr, const char *hex, size_t len)
{
	if (len % 2 || len / 2 < TLS_KEY_MIN || len / 2 > TLS_KEY_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len / 2; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		cr->key[i] = (uint8_t)(high << 4 | low);
	}
	cr->key_bytes = len / 2;
	return 0;
}

/* The line IDENTITY:HEXKEY of the file that psktool(1) writes and QEMU's tls-creds-psk reads. */
static int find_key(struct tls_cred *cr, const struct config *c, const char *text, struct err *e)
{
	const char *identity = c->tls_psk_identity;
	size_t len = strlen(identity);

	for (const char *line = text, *end; *line; line = end + (*end == '\n')) {
		end = strchrnul(line, '\n');
		if ((size_t)(end - line) <= len || strncmp(line, identity, len) || line[len] != ':')
			continue;
		line += len + 1;
		if (!decode_key(cr, line, strcspn(line, " \t\r\n")))
			return 0;
		return err_set(e, EINVAL,
			       "tls_psk_file = %s: the key of \"%s\" is not a line of %d to %d "
			       "hexadecimal digits; psktool makes one",
			       c->tls_psk_file, identity, 2 * TLS_KEY_MIN, 2 * TLS_KEY_MAX);
	}
	return err_set(e, ENOKEY,
		       "tls_psk_file = %s has no line \"%s:HEXKEY\"; run: psktool -u %s -p %s",
		       c->tls_psk_file, identity, identity, c->tls_psk_file);
}

/*
 * Only our own identity is served: the file may hold the keys of other guests too, whose peers have
 * no business here.
 */
static int on_psk_asked(gnutls_session_t s, const gnutls_datum_t *name, gnutls_datum_t *key)
{
	struct tls_shake *sh = gnutls_session_get_ptr(s);
	const char *ours = sh->tls->config->tls_psk_identity;
	const struct tls_cred *cr = &sh->tls->cred;

	if (name->size != strlen(ours) || memcmp(name->data, ours, name->size)) {
		snprintf(sh->detail, sizeof(sh->detail),
			 "it does not call as \"%s\" (tls_psk_identity)", ours);
		return -1;
	}
	key->data = gnutls_malloc(cr->key_bytes);
	if (!key->data)
		return -1;
	memcpy(key->data, cr->key, cr->key_bytes);
	key->size = (unsigned)cr->key_bytes;
	return 0;
}

static int load_psk(struct tls_cred *cr, const struct config *c, struct err *e)
{
	gnutls_datum_t name = {(unsigned char *)c->tls_psk_identity,
			       (unsigned)strlen(c->tls_psk_identity)};
	autowipe char *text = NULL;
	gnutls_datum_t key = {cr->key, 0};
	int r = read_file(&text, "tls_psk_file", c->tls_psk_file, true, e);

	if (!r)
		r = find_key(cr, c, text, e);
	if (r)
		return r;
	key.size = (unsigned)cr->key_bytes;
	r = gnutls_psk_allocate_client_credentials(&cr->psk_client);
	if (!r)
		r = gnutls_psk_allocate_server_credentials(&cr->psk_server);
	if (!r)
		r = gnutls_psk_set_client_credentials2(cr->psk_client, &name, &key,
						       GNUTLS_PSK_KEY_RAW);
	if (r)
		return gnutls_fail(e, r, "tls_psk_file");
	gnutls_psk_set_server_credentials_function2(cr->psk_server, on_psk_asked);
	return 0;
}

static int load_x509(struct tls_cred *cr, const struct config *c, struct err *e)
{
	autowipe char *ca = NULL, *cert = NULL, *key = NULL;
	gnutls_datum_t ca_pem, cert_pem, key_pem;
	int r = read_file(&ca, "tls_ca", c->tls_ca, false, e);

	if (!r)
		r = read_file(&cert, "tls_cert", c->tls_cert, false, e);
	if (!r)
		r = read_file(&key, "tls_key", c->tls_key, true, e);
	if (r)
		return r;
	ca_pem = (gnutls_datum_t){(unsigned char *)ca, (unsigned)strlen(ca)};
	cert_pem = (gnutls_datum_t){(unsigned char *)cert, (unsigned)strlen(cert)};
	key_pem = (gnutls_datum_t){(unsigned char *)key, (unsigned)strlen(key)};
	r = gnutls_certificate_allocate_credentials(&cr->x509);
	if (r)
		return gnutls_fail(e, r, "certificates");
	r = gnutls_certificate_set_x509_trust_mem(cr->x509, &ca_pem, GNUTLS_X509_FMT_PEM);
	if (r <= 0)
		return err_set(e, EINVAL, "tls_ca = %s: %s", c->tls_ca,
			       r ? gnutls_strerror(r) : "no certificate in it");
	r = gnutls_certificate_set_x509_key_mem(cr->x509, &cert_pem, &key_pem, GNUTLS_X509_FMT_PEM);
	if (r)
		return err_set(e, EINVAL, "tls_cert = %s with tls_key = %s: %s", c->tls_cert,
			       c->tls_key, gnutls_strerror(r));
	gnutls_certificate_set_verify_function(cr->x509, tls_verify_certificate);
	return 0;
}

int tls_cred_load(struct tls_cred *cr, const struct config *c, struct err *e)
{
	bool psk = c->tls == TLS_PSK;
	int r;

	memset(cr, 0, sizeof(*cr));
	r = gnutls_priority_init(&cr->priority, psk ? psk_priority : x509_priority, NULL);
	if (r)
		return gnutls_fail(e, r,
				   "this host's GnuTLS does not offer TLS 1.3 as colod wants it");
	return psk ? load_psk(cr, c, e) : load_x509(cr, c, e);
}

void tls_cred_free(struct tls_cred *cr)
{
	if (cr->psk_client)
		gnutls_psk_free_client_credentials(cr->psk_client);
	if (cr->psk_server)
		gnutls_psk_free_server_credentials(cr->psk_server);
	if (cr->x509)
		gnutls_certificate_free_credentials(cr->x509);
	if (cr->priority)
		gnutls_priority_deinit(cr->priority);
	explicit_bzero(cr, sizeof(*cr));
}

int tls_cred_apply(const struct tls_cred *cr, gnutls_session_t s, enum tls_side side)
{
	int r = gnutls_priority_set(s, cr->priority);

	if (r)
		return r;
	if (cr->x509) {
		gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
		return gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, cr->x509);
	}
	return gnutls_credentials_set(s, GNUTLS_CRD_PSK,
				      side == TLS_CALLER ? (void *)cr->psk_client
							 : (void *)cr->psk_server);
}
