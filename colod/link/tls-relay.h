/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A relay: a TLS session on one side, a local socket with the plain bytes on the other. */
#ifndef LINK_TLS_RELAY_H
#define LINK_TLS_RELAY_H

#include "colod/link/tls-priv.h"

#include <pthread.h>
#include <stdatomic.h>

/* Plain bytes in each direction at once; what a bulk sender writes in one go. */
#define PLAIN_BYTES  (256 * KIB)
#define RECORD_BYTES (16 * KIB)
/* A record adds 22 bytes (RFC 8446, 5.2); alerts and key updates go in between. */
#define SEALED_BYTES (PLAIN_BYTES + RECORD_BYTES)

struct span {
	uint8_t *data;
	size_t from, len;
};

/**
 * struct relay - one connection
 * @sealed_in:  as received, not decrypted yet
 * @plain_in:   decrypted, not taken by the user yet
 * @plain_out:  of the user, not encrypted yet
 * @sealed_out: not sent yet
 * @starved:    nothing can be decrypted before more is received
 * @user_gone:  the user has closed his end; what he had written may still be to be read
 * @user_ended: and has been read
 * @user_deaf:  the user takes nothing any more
 * @in_busy:    bytes were or are being received that the user does not have yet
 */
struct relay {
	struct list link;
	struct mail mail;
	struct tls *tls;
	gnutls_session_t session;
	int net_fd, local_fd, user_fd;
	struct span sealed_in, plain_in, plain_out, sealed_out;
	bool starved, user_gone, user_ended, user_deaf, net_ended, net_broken, stopping;
	uint64_t give_up_us; /* once it ends; 0: it does not */
	atomic_bool in_busy, out_busy;
	pthread_t thread;
	struct err why;
};

/** relay_adopt_session() - have the relay's buffers between its session and the connection. */
void relay_adopt_session(struct relay *r);

/** relay_main() - the thread: until either side has ended; then the relay is posted to tls->ended. */
void *relay_main(void *arg);

#endif
