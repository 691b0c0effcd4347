/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Load on the services of netd that checks every byte of the answers; results as JSON lines.
 *
 * usage: netload MODE ADDRESS [KEY=VALUE...]
 *
 *   tcp     one connection: a message, its echo, the next message
 *   stream  one connection: as many messages on their way as the window allows, both ways at once
 *   conn    connect, a message and its echo, close
 *   get     HTTP GET of path=, a connection each; the body must be the content of net.h
 *   fetch   bytes= of content from PORT_SOURCE, a connection each
 *   put     bytes= of content into PORT_SINK, a connection each
 *   udp     a datagram and its echo; with interval_us= on time, whether answers come or not
 *   ping    the same with ICMP or ICMPv6 echo requests
 *
 *   port=N  size=BYTES of a message  bytes=N  path=/1k  interval_us=N  secs=N (0: until SIGTERM)
 *   differs=1: the last STAMP_BYTES of an answer are not compared
 *   grace_ms=N: what is under way at the end may take so long  every_ms=N: a line of results
 *
 * SIGTERM, SIGINT: finish and print the last line. SIGUSR1: measure the longest gap anew.
 * An unanswered datagram is lost, no error; a connection that breaks is an error, and the next one
 * is made. The exit code is 0 unless the arguments are wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "tests/guest/netload.h"

#define MAX_SAMPLES   (1u << 21)
#define WAIT_SLICE_MS 50

static const char *const mode_names[] = {"tcp",   "stream", "conn", "get",
					 "fetch", "put",    "udp",  "ping"};

struct options opt = {
	.path = "/1k",
	.port = PORT_ECHO,
	.size = 64,
	.bytes = 1 << 20,
	.grace_ms = 5000,
	.every_ms = 100,
};
struct results res;

static volatile sig_atomic_t stop_wanted, gap_reset;
static uint64_t give_up_at; /* the end of the grace time, 0: not yet stopping */

static void on_signal(int signo)
{
	if (signo == SIGUSR1)
		gap_reset = 1;
	else
		stop_wanted = 1;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t quantile(uint32_t percent)
{
	return res.nsamples ? res.samples_us[(uint64_t)(res.nsamples - 1) * percent / 100] : 0;
}

static void print_results(bool last)
{
	double secs = (double)(now_nsec() - res.started) / NSEC_PER_SEC;

	printf("{\"mode\":\"%s\",\"to\":\"%s\",\"n\":%llu,\"errors\":%llu,\"resets\":%llu,\"lost\":"
	       "%llu,"
	       "\"duplicated\":%llu,\"reordered\":%llu,\"wrong_bytes\":%llu,\"bytes\":%llu,"
	       "\"gap_ms\":%.3f,\"secs\":%.3f,\"why\":\"%s\"",
	       mode_names[opt.mode], opt.address, (unsigned long long)res.n,
	       (unsigned long long)res.errors, (unsigned long long)res.resets,
	       (unsigned long long)res.lost, (unsigned long long)res.duplicated,
	       (unsigned long long)res.reordered, (unsigned long long)res.wrong_bytes,
	       (unsigned long long)res.bytes, (double)res.gap / 1e6, secs, res.why);
	if (last) {
		qsort(res.samples_us, res.nsamples, sizeof(*res.samples_us), by_value);
		printf(",\"rate\":%.1f,\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"max_us\":%u",
		       (double)res.n / secs, quantile(50), quantile(90), quantile(99),
		       quantile(100));
	}
	puts("}");
	res.printed = now_nsec();
}

/* Called all the time: a line of results when due, and the end of the load. */
static void keep_house(void)
{
	uint64_t now = now_nsec();

	if (gap_reset) {
		gap_reset = 0;
		res.gap = 0;
	}
	if (opt.every_ms && now - res.printed >= opt.every_ms * 1000000)
		print_results(false);
	if (!give_up_at &&
	    (stop_wanted || (opt.secs && now - res.started >= opt.secs * NSEC_PER_SEC)))
		give_up_at = now + opt.grace_ms * 1000000;
}

bool stopping(void)
{
	keep_house();
	return give_up_at;
}

void answered(uint64_t asked, uint64_t bytes)
{
	uint64_t now = now_nsec();

	if (res.last_answer && now - res.last_answer > res.gap)
		res.gap = now - res.last_answer;
	res.last_answer = now;
	res.n++;
	res.bytes += bytes;
	if (res.nsamples < MAX_SAMPLES)
		res.samples_us[res.nsamples++] = (uint32_t)((now - asked) / 1000);
}

int failed(const char *doing, int r)
{
	res.errors++;
	if (r == -ECONNRESET || r == -EPIPE)
		res.resets++;
	if (!res.why[0])
		snprintf(res.why, sizeof(res.why), "%s, after %llu answers: %s", doing,
			 (unsigned long long)res.n, strerror(-r));
	return r;
}

void pause_us(uint64_t us)
{
	struct timespec t = {.tv_sec = (time_t)(us / 1000000),
			     .tv_nsec = (long)(us % 1000000 * 1000)};

	nanosleep(&t, NULL);
}

int wait_ready(int fd, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		uint64_t now = now_nsec();
		struct timespec slice = {.tv_nsec = WAIT_SLICE_MS * 1000000};

		if (deadline && now >= deadline)
			return -ETIMEDOUT;
		if (deadline && deadline - now < (uint64_t)slice.tv_nsec)
			slice.tv_nsec = (long)(deadline - now);
		if (ppoll(&p, 1, &slice, NULL) > 0)
			return 0;
		keep_house();
		if (give_up_at && now_nsec() > give_up_at)
			return -ETIME;
	}
}

void compare(const char *got, const char *want, size_t len)
{
	size_t wrong = 0, first = 0;

	if (!memcmp(got, want, len))
		return;
	for (size_t i = len; i-- > 0;) {
		if (got[i] != want[i]) {
			first = i;
			wrong++;
		}
	}
	res.wrong_bytes += wrong;
	if (!res.why[0])
		snprintf(res.why, sizeof(res.why), "%zu of %zu bytes wrong, the first at %zu",
			 wrong, len, first);
}

size_t compared_bytes(size_t len)
{
	return opt.differs && len > STAMP_BYTES ? len - STAMP_BYTES : len;
}

struct number {
	const char *name;
	uint64_t *value, max;
};

static int set_option(char *word)
{
	const struct number numbers[] = {
		{"port", &opt.port, 65535},           {"size", &opt.size, MAX_SIZE},
		{"bytes", &opt.bytes, UINT32_MAX},    {"interval_us", &opt.interval_us, 10000000},
		{"secs", &opt.secs, 1000000},         {"differs", &opt.differs, 1},
		{"grace_ms", &opt.grace_ms, 1000000}, {"every_ms", &opt.every_ms, 1000000},
	};
	char *value = strchr(word, '='), *end;

	if (!value)
		return -EINVAL;
	*value++ = 0;
	if (!strcmp(word, "path")) {
		opt.path = value;
		return 0;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(word, numbers[i].name))
			continue;
		*numbers[i].value = strtoull(value, &end, 10);
		return *end || *numbers[i].value > numbers[i].max ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int set_target(const char *text)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&opt.to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&opt.to;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		opt.to_len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		opt.to_len = sizeof(*v6);
	} else {
		return -EINVAL;
	}
	opt.address = text;
	/* The port stands at the same place in both. */
	v4->sin_port = htons(opt.mode == PING ? 0 : (uint16_t)opt.port);
	return 0;
}

static int parse(int argc, char **argv)
{
	static const uint16_t ports[MODES] = {[GET] = 80, [FETCH] = PORT_SOURCE, [PUT] = PORT_SINK};

	if (argc < 3)
		return -EINVAL;
	while (opt.mode < MODES && strcmp(argv[1], mode_names[opt.mode]))
		opt.mode++;
	if (opt.mode == MODES)
		return -EINVAL;
	if (ports[opt.mode])
		opt.port = ports[opt.mode];
	for (int i = 3; i < argc; i++) {
		if (set_option(argv[i]))
			return -EINVAL;
	}
	return opt.size < HEADER_BYTES ? -EINVAL : set_target(argv[2]);
}

int main(int argc, char **argv)
{
	struct sigaction on = {.sa_handler = on_signal};

	if (parse(argc, argv)) {
		fputs("usage: netload MODE ADDRESS [KEY=VALUE...], see tests/guest/netload.c\n",
		      stderr);
		return 2;
	}
	res.samples_us = calloc(MAX_SAMPLES, sizeof(*res.samples_us));
	if (!res.samples_us)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGTERM, &on, NULL);
	sigaction(SIGINT, &on, NULL);
	sigaction(SIGUSR1, &on, NULL);
	res.started = res.printed = now_nsec();
	if (opt.mode >= UDP)
		run_datagrams();
	else
		run_streams();
	print_results(true);
	return 0;
}
