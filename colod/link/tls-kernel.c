// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS records made by the kernel: its keys are put into the socket, which then carries plain bytes.
 */
#include "colod/link/tls-priv.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* How the structures of linux/tls.h differ: all have iv, key, salt and sequence number in a row. */
struct layout {
	gnutls_cipher_algorithm_t cipher;
	uint16_t type;
	size_t salt, iv, key;
};

static const struct layout layouts[] = {
	{GNUTLS_CIPHER_AES_128_GCM, TLS_CIPHER_AES_GCM_128, 4, 8, 16},
	{GNUTLS_CIPHER_AES_256_GCM, TLS_CIPHER_AES_GCM_256, 4, 8, 32},
	{GNUTLS_CIPHER_CHACHA20_POLY1305, TLS_CIPHER_CHACHA20_POLY1305, 0, 12, 32},
};

#define SEQUENCE_BYTES 8

_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_128) == 4 + 8 + 16 + 4 + 8, "in a row");
_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_256) == 4 + 8 + 32 + 4 + 8, "in a row");
_Static_assert(sizeof(struct tls12_crypto_info_chacha20_poly1305) == 4 + 12 + 32 + 8, "in a row");

struct keys {
	struct tls_crypto_info info;
	uint8_t bytes[12 + 32 + SEQUENCE_BYTES];
	socklen_t len;
};

static const struct layout *find_layout(gnutls_session_t s)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++)
		if (layouts[i].cipher == gnutls_cipher_get(s))
			return &layouts[i];
	return NULL;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
	memcpy(at, bytes, n);
	return at + n;
}

/* The keys of one direction as the kernel wants them. */
static int get_keys(gnutls_session_t s, const struct layout *l, bool receive, struct keys *k)
{
	gnutls_datum_t mac, iv, key;
	unsigned char sequence[SEQUENCE_BYTES];
	uint8_t *at = k->bytes;

	if (gnutls_record_get_state(s, receive, &mac, &iv, &key, sequence) ||
	    iv.size != l->salt + l->iv || key.size != l->key)
		return -EINVAL;
	k->info = (struct tls_crypto_info){.version = TLS_1_3_VERSION, .cipher_type = l->type};
	at = put(at, iv.data + l->salt, l->iv);
	at = put(at, key.data, l->key);
	at = put(at, iv.data, l->salt);
	at = put(at, sequence, SEQUENCE_BYTES);
	k->len = (socklen_t)(sizeof(k->info) + (size_t)(at - k->bytes));
	return 0;
}

static bool offered(int fd)
{
	return !setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"));
}

bool tls_kernel_take(gnutls_session_t s, int fd, struct err *e)
{
	const struct layout *l = find_layout(s);
	struct keys in, out;
	bool taken;

	if (!l || gnutls_record_check_pending(s) || get_keys(s, l, true, &in) ||
	    get_keys(s, l, false, &out) || !offered(fd))
		return false;
	taken = !setsockopt(fd, SOL_TLS, TLS_TX, &out, out.len);
	/* One direction alone cannot be given back. */
	if (taken && setsockopt(fd, SOL_TLS, TLS_RX, &in, in.len)) {
		err_errno(e, errno, "TLS in the kernel, receiving");
		taken = false;
	}
	explicit_bzero(&in, sizeof(in));
	explicit_bzero(&out, sizeof(out));
	return taken;
}
