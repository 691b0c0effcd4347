/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP sockets as the link wants them: resolved once, non-blocking, no Nagle delay. */
#ifndef LINK_TCP_H
#define LINK_TCP_H

#include "colod/core/config.h"

#include <stdbool.h>
#include <sys/socket.h>

struct tcp_addr {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[300]; /* "HOST:PORT" as configured */
};

/** tcp_resolve() - may ask the resolver, so only at start. @key is the configuration key, for
 * messages. */
int tcp_resolve(struct tcp_addr *a, const struct endpoint *ep, bool passive, const char *key,
		struct err *e);

/** tcp_resolve_numeric() - asks nobody: at any time. */
int tcp_resolve_numeric(struct tcp_addr *a, const struct endpoint *ep, struct err *e);

/** tcp_is_loopback() - nothing but this host itself is behind the address. */
bool tcp_is_loopback(const struct tcp_addr *a);

/** tcp_listen() - listening socket or -errno. */
int tcp_listen(const struct tcp_addr *a, struct err *e);

/** tcp_connect() - begin to connect; writable when done, then tcp_connected(). Socket or -errno. */
int tcp_connect(const struct tcp_addr *a);

/** tcp_connected() - how the connect ended: 0 or -errno. */
int tcp_connected(int fd);

/** tcp_accept() - next caller, set up; -EAGAIN when there is none. @text gets its address. */
int tcp_accept(int listen_fd, char *text, size_t size);

/** tcp_is_from() - the other end of @fd has the address of @a, whatever its port. */
bool tcp_is_from(int fd, const struct tcp_addr *a);

/** tcp_set_blocking() - for the threads that own the bulk connection. */
void tcp_set_blocking(int fd);

#endif
