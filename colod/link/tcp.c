// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP sockets as the link wants them. */
#include "colod/link/tcp.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

/* How long sent data may stay without an answer, on a connection that is used alone: the heartbeats of
 * another one do not vouch for it (TCP_USER_TIMEOUT of tcp(7)). */
#define USER_TIMEOUT_MS 10000

static int resolve(struct tcp_addr *a, const struct endpoint *ep, int flags, const char *key,
		   struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
	bool v6 = strchr(ep->host, ':');
	struct addrinfo *res;
	int r = getaddrinfo(ep->host, ep->port, &hints, &res);

	if (r)
		return err_set(e, EINVAL, "%s = %s:%s: %s", key, ep->host, ep->port,
			       gai_strerror(r));
	memcpy(&a->sa, res->ai_addr, res->ai_addrlen);
	a->len = res->ai_addrlen;
	freeaddrinfo(res);
	snprintf(a->text, sizeof(a->text), v6 ? "[%s]:%s" : "%s:%s", ep->host, ep->port);
	return 0;
}

int tcp_resolve(struct tcp_addr *a, const struct endpoint *ep, bool passive, const char *key,
		struct err *e)
{
	return resolve(a, ep, passive ? AI_PASSIVE : 0, key, e);
}

int tcp_resolve_numeric(struct tcp_addr *a, const struct endpoint *ep, struct err *e)
{
	return resolve(a, ep, AI_NUMERICHOST, "address", e);
}

bool tcp_is_loopback(const struct tcp_addr *a)
{
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&a->sa)->sin6_addr;

	if (a->sa.ss_family == AF_INET)
		return *(const uint8_t *)&((const struct sockaddr_in *)&a->sa)->sin_addr == 127;
	return a->sa.ss_family == AF_INET6 &&
	       (IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127));
}

static void set_up(int fd)
{
	int one = 1, limit_ms = USER_TIMEOUT_MS;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
}

static int tcp_socket(const struct tcp_addr *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	set_up(fd);
	return fd;
}

int tcp_listen(const struct tcp_addr *a, struct err *e)
{
	autoclose int fd = tcp_socket(a);
	int one = 1;

	if (fd < 0)
		return err_errno(e, -fd, "cannot listen on %s", a->text);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) || listen(fd, SOMAXCONN))
		return err_errno(e, errno, "cannot listen on %s (listen = in the configuration)",
				 a->text);
	return steal_fd(&fd);
}

int tcp_connect(const struct tcp_addr *a)
{
	autoclose int fd = tcp_socket(a);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) && errno != EINPROGRESS)
		return -errno;
	return steal_fd(&fd);
}

int tcp_connected(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return -errno;
	return -error;
}

int tcp_accept(int listen_fd, char *text, size_t size)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[64] = "?", port[8] = "?";
	int fd;

	fd = accept4(listen_fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	set_up(fd);
	getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	return fd;
}

/* IPv4 as ::ffff:a.b.c.d, which a listener on :: sees of it. */
static struct in6_addr host_of(const struct sockaddr_storage *sa)
{
	struct in6_addr out = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (sa->ss_family == AF_INET6)
		return ((const struct sockaddr_in6 *)sa)->sin6_addr;
	memcpy(&out.s6_addr[12], &((const struct sockaddr_in *)sa)->sin_addr, 4);
	return out;
}

bool tcp_is_from(int fd, const struct tcp_addr *a)
{
	struct sockaddr_storage sa = {};
	socklen_t len = sizeof(sa);
	struct in6_addr theirs, known;

	if (getpeername(fd, (struct sockaddr *)&sa, &len))
		return false;
	theirs = host_of(&sa);
	known = host_of(&a->sa);
	return IN6_ARE_ADDR_EQUAL(&theirs, &known);
}

void tcp_set_blocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}
