/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection that breaks after so many bytes: two socket pairs and a thread that copies between them. */
#ifndef TESTS_UNIT_CUT_RELAY_H
#define TESTS_UNIT_CUT_RELAY_H

#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define NO_CUT UINT64_MAX

/**
 * struct relay - @near and @far are the users' ends
 * @limit: bytes that still pass from near to far before the connection breaks
 */
struct relay {
	int near, far; /* the users' ends; theirs */
	int in, out;
	atomic_uint_fast64_t limit;
	atomic_bool swallows; /* what does not pass, instead of breaking */
	pthread_t thread;
};

/* Copy what there is, at most @most bytes, or (@to -1) throw it away; 0 at the end. */
static inline uint64_t relay_some(int from, int to, uint64_t most)
{
	uint8_t buf[1 << 16];
	ssize_t n = read(from, buf, MIN(most, sizeof(buf)));

	if (n <= 0 || (to >= 0 && io_write_full(to, buf, (size_t)n)))
		return 0;
	return (uint64_t)n;
}

static inline void *relay_main(void *arg)
{
	struct relay *r = arg;
	struct pollfd p[2] = {{.fd = r->in, .events = POLLIN}, {.fd = r->out, .events = POLLIN}};
	uint64_t n = 1;

	while (atomic_load(&r->limit) && n) {
		poll(p, 2, -1);
		if (p[0].revents) {
			n = relay_some(r->in, r->out, atomic_load(&r->limit));
			atomic_fetch_sub(&r->limit, n);
		} else if (p[1].revents) {
			n = relay_some(r->out, r->in, UINT64_MAX);
		}
	}
	while (atomic_load(&r->swallows) && relay_some(r->in, -1, UINT64_MAX))
		;
	shutdown(r->in, SHUT_RDWR);
	shutdown(r->out, SHUT_RDWR);
	return NULL;
}

static inline void relay_open(struct relay *r, uint64_t limit)
{
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	*r = (struct relay){.near = a[0], .in = a[1], .out = b[0], .far = b[1]};
	atomic_init(&r->limit, limit);
	assert_int_equal(pthread_create(&r->thread, NULL, relay_main, r), 0);
}

/* Cut it, if it was not. */
static inline void relay_close(struct relay *r)
{
	shutdown(r->in, SHUT_RDWR);
	shutdown(r->out, SHUT_RDWR);
	pthread_join(r->thread, NULL);
	close(r->in);
	close(r->out);
}

#endif
