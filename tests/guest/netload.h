/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The load generator's parts: its options, its results, and the loads. */
#ifndef TESTS_GUEST_NETLOAD_H
#define TESTS_GUEST_NETLOAD_H

#include <stdbool.h>
#include <sys/socket.h>

#include "tests/guest/net.h"

#define MAX_SIZE 65000u

enum mode { TCP, STREAM, CONN, GET, FETCH, PUT, UDP, PING, MODES };

struct options {
	enum mode mode;
	const char *address, *path;
	uint64_t port, size, bytes, interval_us, secs, differs, grace_ms, every_ms;
	struct sockaddr_storage to;
	socklen_t to_len;
};

struct results {
	uint64_t started, last_answer, gap, printed;
	uint64_t n, errors, resets, lost, duplicated, reordered, wrong_bytes, bytes;
	uint32_t *samples_us;
	uint32_t nsamples;
	char why[160]; /* the first error's words */
};

extern struct options opt;
extern struct results res;

/** stopping() - whether no further request shall begin; prints the results when that is due. */
bool stopping(void);

/** answered() - count one answer to what was asked at the given time (now_nsec()). */
void answered(uint64_t asked, uint64_t bytes);

/** failed() - count an error, r being -errno; returns r. */
int failed(const char *doing, int r);

/** compare() - count the bytes that differ. */
void compare(const char *got, const char *want, size_t len);

/** compared_bytes() - how much of a message must come back unchanged. */
size_t compared_bytes(size_t len);

void pause_us(uint64_t us);

/**
 * wait_ready() - wait for poll events.
 *
 * Returns 0, -ETIMEDOUT when the deadline (now_nsec(), 0: none) has passed, -ETIME when the load
 * shall end and its grace time is over.
 */
int wait_ready(int fd, short events, uint64_t deadline);

/** run_streams() - the loads on TCP, until the end. */
void run_streams(void);

/** run_datagrams() - UDP and ping, until the end. */
void run_datagrams(void);

#endif
