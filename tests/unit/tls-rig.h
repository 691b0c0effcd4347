/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of TLS share: key files, certificates, two ends and a man in the middle. */
#ifndef TESTS_UNIT_TLS_RIG_H
#define TESTS_UNIT_TLS_RIG_H

#include "tests/unit/link-rig.h"

#include "colod/core/config-tls.h"
#include "colod/link/tls-priv.h"

#include <gnutls/x509.h>
#include <linux/tcp.h>
#include <sys/stat.h>
#include <time.h>

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* ---- files ---- */

static char tls_folder[] = "/tmp/test-tls-XXXXXX";

static inline int make_folder(void **state)
{
	(void)state;
	return mkdtemp(tls_folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
	DIR *d = opendir(tls_folder);
	struct dirent *f;
	char path[300];

	(void)state;
	while (d && (f = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", tls_folder, f->d_name);
		unlink(path);
	}
	closedir(d);
	return rmdir(tls_folder);
}

/* Freed by config_tls_destroy() as everything in a struct config. */
static inline char *file_path(const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", tls_folder, name) > 0);
	return path;
}

static inline char *write_file(const char *name, const void *text, size_t len, mode_t mode)
{
	char *path = file_path(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static inline char *key_file(const char *name, const char *text)
{
	return write_file(name, text, strlen(text), 0600);
}

/* ---- certificates ---- */

struct authority {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
};

/* @name: a DNS name or "127.x" for an address. @purpose: NULL for any. */
struct subject {
	const char *name, *purpose;
	int64_t from_s, to_s; /* validity, from now */
};

#define GOOD_SUBJECT(n)                                                                            \
	{                                                                                          \
		.name = (n), .from_s = -3600, .to_s = 3600                                         \
	}

static inline gnutls_x509_privkey_t new_key(void)
{
	gnutls_x509_privkey_t key;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(
		gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
		0);
	return key;
}

static inline gnutls_x509_crt_t new_certificate(const struct authority *ca,
						gnutls_x509_privkey_t key, const struct subject *s)
{
	static unsigned char serial;
	time_t now = time(NULL);
	struct in_addr address;
	gnutls_x509_crt_t crt;

	serial++;
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, &serial, 1);
	gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "test", 4);
	gnutls_x509_crt_set_activation_time(crt, now + s->from_s);
	gnutls_x509_crt_set_expiration_time(crt, now + s->to_s);
	gnutls_x509_crt_set_key(crt, key);
	if (!s->name)
		gnutls_x509_crt_set_basic_constraints(crt, 1, -1);
	else if (inet_aton(s->name, &address))
		gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, &address, 4, 0);
	else
		gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, s->name,
						     (unsigned)strlen(s->name), 0);
	if (s->purpose)
		gnutls_x509_crt_set_key_purpose_oid(crt, s->purpose, 0);
	assert_int_equal(gnutls_x509_crt_sign2(crt, ca ? ca->crt : crt, ca ? ca->key : key,
					       GNUTLS_DIG_SHA256, 0),
			 0);
	return crt;
}

static inline void authority_init(struct authority *ca)
{
	struct subject s = GOOD_SUBJECT(NULL);

	ca->key = new_key();
	ca->crt = new_certificate(NULL, ca->key, &s);
}

static inline void authority_free(struct authority *ca)
{
	gnutls_x509_crt_deinit(ca->crt);
	gnutls_x509_privkey_deinit(ca->key);
}

static inline char *save_certificate(const char *name, gnutls_x509_crt_t crt)
{
	gnutls_datum_t pem;
	char *path;

	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	path = write_file(name, pem.data, pem.size, 0644);
	gnutls_free(pem.data);
	return path;
}

static inline char *save_key(const char *name, gnutls_x509_privkey_t key)
{
	gnutls_datum_t pem;
	char *path;

	assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
	path = write_file(name, pem.data, pem.size, 0600);
	gnutls_free(pem.data);
	return path;
}

/* ---- configurations ---- */

static inline void use_psk(struct config *c, const char *identity, const char *key)
{
	char name[40], text[200];

	snprintf(name, sizeof(name), "psk-%s-%.4s", identity, key);
	snprintf(text, sizeof(text), "other:" KEY_B "\n%s:%s\n", identity, key);
	c->tls = TLS_PSK;
	c->tls_psk_identity = strdup(identity);
	c->tls_psk_file = key_file(name, text);
}

/* @trust: whom we believe; a certificate of @ca for @s; the peer must be @peer. */
static inline void use_x509(struct config *c, const char *who, const struct authority *trust,
			    const struct authority *ca, const struct subject *s, const char *peer)
{
	gnutls_x509_privkey_t key = new_key();
	gnutls_x509_crt_t crt = new_certificate(ca, key, s);
	char name[3][40];

	for (int i = 0; i < 3; i++)
		snprintf(name[i], sizeof(name[i]), "%s-%d.pem", who, i);
	c->tls = TLS_X509;
	c->tls_ca = save_certificate(name[0], trust->crt);
	c->tls_cert = save_certificate(name[1], crt);
	c->tls_key = save_key(name[2], key);
	c->tls_peer_name = strdup(peer);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

/* ---- two ends ---- */

struct party {
	struct config config;
	struct tls *tls;
	struct tls_shake *shake;
	int net; /* the connection beneath; a relay keeps it open */
	int fd, done, notes;
	struct tls_peer who;
	char why[ERR_MSG_MAX], note[ERR_MSG_MAX];
};

static inline void party_note(void *arg, const char *text)
{
	struct party *p = arg;

	p->notes++;
	snprintf(p->note, sizeof(p->note), "%s", text);
}

static inline void party_open(struct party *p, struct loop *l)
{
	struct err e;

	p->fd = -1;
	assert_ok(tls_new(&p->tls, l, &p->config, party_note, p, &e), &e);
	if (p->tls && getenv("COLOD_TEST_RELAY"))
		p->tls->kernel = false;
}

static inline void party_free(struct party *p)
{
	tls_cancel(&p->shake);
	close_fd(&p->fd);
	tls_free(p->tls);
	config_destroy(&p->config);
	memset(p, 0, sizeof(*p));
	p->fd = -1;
}

static inline void party_done(void *arg, int fd, const struct tls_peer *who, const struct err *why)
{
	struct party *p = arg;

	assert_null(p->shake);
	p->done++;
	p->fd = fd;
	if (fd < 0)
		snprintf(p->why, sizeof(p->why), "%s", err_msg(why));
	else
		p->who = *who;
}

/* Two connected, non-blocking TCP sockets: the caller's and the listener's. */
static inline void tcp_pair(int fds[2])
{
	uint16_t port;
	int listen = raw_listen(&port), one = 1;

	fds[0] = raw_connect(port);
	fds[1] = accept4(listen, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(listen);
	for (int i = 0; i < 2; i++) {
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
}

static inline void party_begin(struct party *p, int fd, enum tls_side side)
{
	p->net = fd;
	p->done = 0;
	p->why[0] = 0;
	tls_begin(&p->shake, p->tls, fd, side, party_done, p);
}

/* @a calls @b; how it ended stands in both. */
static inline void shake(struct loop *l, struct party *a, struct party *b)
{
	int fds[2];

	tcp_pair(fds);
	party_begin(a, fds[0], TLS_CALLER);
	party_begin(b, fds[1], TLS_LISTENER);
	turn_until(l, a->done && b->done);
}

static inline void party_hang_up(struct party *p)
{
	close_fd(&p->fd);
}

/* ---- streams ---- */

/* Bytes of a connection that TCP has taken from its user, and that it has for its user. */
static inline struct tcp_info tcp_state(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}

static inline uint64_t tcp_taken(int fd)
{
	struct tcp_info info = tcp_state(fd);

	return info.tcpi_bytes_sent + info.tcpi_notsent_bytes;
}

static inline uint64_t tcp_received(int fd)
{
	return tcp_state(fd).tcpi_bytes_received;
}

static inline void assert_carries(struct loop *l, int from, int to, const char *text)
{
	size_t len = strlen(text);
	uint8_t buf[100] = {};

	assert_int_equal(write(from, text, len), len);
	raw_read(l, to, buf, len);
	assert_string_equal(buf, text);
}

/* All bytes until the end, which must come; SIZE_MAX: some were not those of write_all(). */
static inline size_t read_to_the_end(struct loop *l, int fd)
{
	uint8_t buf[8192];
	size_t total = 0;

	for (;;) {
		ssize_t n;

		turn_and_poll_until(l, raw_readable(fd));
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n <= 0)
			return total;
		for (ssize_t i = 0; i < n; i++, total++)
			if (buf[i] != (uint8_t)(total % 251))
				return SIZE_MAX;
	}
}

static inline void write_all(int fd, size_t from, size_t len)
{
	uint8_t *buf = malloc(len);

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((from + i) % 251);
	assert_int_equal(send(fd, buf, len, MSG_NOSIGNAL), len);
	free(buf);
}

/* ---- a man in the middle: whole records (RFC 8446, 5.1) from one socket to another ---- */

struct middle {
	int a, b; /* towards the caller, the listener */
};

#define RECORD_MAX (5 + 16384 + 256)

/* 0: the other end has hung up. */
static inline size_t read_record(struct loop *l, int fd, uint8_t *buf)
{
	size_t len = 5, have = 0;

	while (have < len) {
		ssize_t n;

		turn_and_poll_until(l, raw_readable(fd));
		n = recv(fd, buf + have, len - have, MSG_DONTWAIT);
		if (n <= 0)
			return 0;
		have += (size_t)n;
		if (have == 5 && len == 5)
			len += (size_t)buf[3] << 8 | buf[4];
		assert_true(len <= RECORD_MAX);
	}
	return len;
}

static inline void pass_record(struct loop *l, int from, int to)
{
	uint8_t buf[RECORD_MAX];
	size_t n = read_record(l, from, buf);

	assert_true(n > 0);
	assert_int_equal(io_write_full(to, buf, n), 0);
}

/* @a calls @b, who hears what the middle passes on: here everything. */
static inline void shake_through(struct loop *l, struct middle *m, struct party *a, struct party *b)
{
	int to_a[2], to_b[2];

	tcp_pair(to_a);
	tcp_pair(to_b);
	m->a = to_a[1];
	m->b = to_b[0];
	party_begin(a, to_a[0], TLS_CALLER);
	party_begin(b, to_b[1], TLS_LISTENER);
	while (!a->done || !b->done) {
		assert_true(loop_step(l, USEC_PER_MSEC) >= 0);
		if (raw_readable(m->a))
			pass_record(l, m->a, m->b);
		if (raw_readable(m->b))
			pass_record(l, m->b, m->a);
	}
	assert_true(a->fd >= 0 && b->fd >= 0);
}

static inline void middle_close(struct middle *m)
{
	close_fd(&m->a);
	close_fd(&m->b);
}

#endif
