/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loads of datagrams, UDP and ping: numbers show what is lost, doubled or overtaken. */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/guest/netload.h"

#define RING         65536u
#define TIMEOUT_NSEC NSEC_PER_SEC
#define ICMP_BYTES   8
#define QUEUE_BYTES  (16 << 20) /* answers that were held come all at once */

static uint64_t asked_at[RING]; /* 0: answered, or never asked */
static uint64_t sent, newest;   /* newest: one more than the highest number that came back */
static char packet[MAX_SIZE + 128];

static int open_socket(void)
{
	int type = SOCK_NONBLOCK | SOCK_CLOEXEC, proto = IPPROTO_UDP, fd, queue = QUEUE_BYTES;

	type |= opt.mode == PING ? SOCK_RAW : SOCK_DGRAM;
	if (opt.mode == PING)
		proto = opt.to.ss_family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	fd = socket(opt.to.ss_family, type, proto);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof(queue));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&opt.to, opt.to_len)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static uint16_t internet_checksum(const char *buf, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(unsigned char)buf[i] << 8 | (unsigned char)buf[i + 1];
	if (len % 2)
		sum += (uint32_t)(unsigned char)buf[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The kernel completes the checksum of ICMPv6 only. */
static void icmp_header(uint64_t seq)
{
	struct icmphdr *h = (struct icmphdr *)packet;

	memset(h, 0, sizeof(*h));
	h->type = opt.to.ss_family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	h->un.echo.id = htons((uint16_t)getpid());
	h->un.echo.sequence = htons((uint16_t)seq);
	if (opt.to.ss_family == AF_INET)
		h->checksum = htons(internet_checksum(packet, ICMP_BYTES + opt.size));
}

static void ask(int fd)
{
	size_t header = opt.mode == PING ? ICMP_BYTES : 0;

	message_make(packet + header, opt.size, sent);
	if (header)
		icmp_header(sent);
	/* Overwriting one that is still asked for: it has waited for a whole ring. */
	if (asked_at[sent % RING])
		res.lost++;
	asked_at[sent % RING] = now_nsec();
	/* A send that fails is a datagram that is lost. */
	if (send(fd, packet, header + opt.size, 0) < 0 && !res.why[0])
		snprintf(res.why, sizeof(res.why), "send: %s", strerror(errno));
	sent++;
}

static void account(uint64_t seq, const char *data)
{
	static char want[MAX_SIZE];
	uint64_t asked;

	if (seq >= sent || sent - seq > RING) {
		res.wrong_bytes += opt.size;
		return;
	}
	message_make(want, opt.size, seq);
	compare(data, want, compared_bytes(opt.size));
	asked = asked_at[seq % RING];
	if (!asked) {
		res.duplicated++;
		return;
	}
	asked_at[seq % RING] = 0;
	if (seq < newest)
		res.reordered++;
	else
		newest = seq + 1;
	answered(asked, opt.size);
}

/* Where the data of an answer to our echo requests begins, NULL when it is another packet. */
static const char *echo_data(const char *buf, size_t len)
{
	bool v4 = opt.to.ss_family == AF_INET;
	size_t at = v4 && len ? (size_t)(buf[0] & 15) * 4 : 0;
	const struct icmphdr *h = (const struct icmphdr *)(buf + at);

	if (len != at + ICMP_BYTES + opt.size || h->un.echo.id != htons((uint16_t)getpid()) ||
	    h->type != (v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY))
		return NULL;
	return buf + at + ICMP_BYTES;
}

/* Take one answer; false when none is there. */
static bool take(int fd)
{
	ssize_t n = recv(fd, packet, sizeof(packet), 0);
	const char *data = packet;
	char number[HEADER_BYTES];

	if (n < 0)
		return false;
	if (opt.mode == PING) {
		data = echo_data(packet, (size_t)n);
		if (!data)
			return true;
	} else if ((size_t)n != opt.size) {
		res.wrong_bytes += (size_t)n;
		return true;
	}
	memcpy(number, data, HEADER_BYTES - 1);
	number[HEADER_BYTES - 1] = 0;
	account(strtoull(number, NULL, 10), data);
	return true;
}

static bool all_answered(void)
{
	for (uint64_t back = 1; back <= RING && back <= sent; back++) {
		if (asked_at[(sent - back) % RING])
			return false;
	}
	return true;
}

/* One at a time: the next one follows the answer, or the time-out. */
static void run_closed(int fd)
{
	while (!stopping()) {
		uint64_t deadline = now_nsec() + TIMEOUT_NSEC, seq = sent;

		ask(fd);
		while (asked_at[seq % RING] && !wait_ready(fd, POLLIN, deadline))
			take(fd);
	}
}

static void run_timed(int fd)
{
	for (uint64_t next = now_nsec(); !stopping(); next += opt.interval_us * 1000) {
		ask(fd);
		while (!wait_ready(fd, POLLIN, next + opt.interval_us * 1000))
			take(fd);
	}
}

void run_datagrams(void)
{
	int fd = open_socket();

	if (fd < 0) {
		failed("socket", -errno);
		return;
	}
	if (opt.interval_us)
		run_timed(fd);
	else
		run_closed(fd);
	while (!all_answered() && !wait_ready(fd, POLLIN, now_nsec() + TIMEOUT_NSEC))
		take(fd);
	for (uint32_t i = 0; i < RING; i++)
		res.lost += asked_at[i] != 0;
	close(fd);
}
