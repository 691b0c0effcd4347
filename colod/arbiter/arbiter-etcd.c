// SPDX-License-Identifier: GPL-2.0-or-later
/* The arbiter that asks etcd: the state machine's requests go out, replies and time come in. */
#include "colod/arbiter/arbiter-priv.h"

#include "base/cleanup.h"
#include "colod/arbiter/etcd-http.h"
#include "colod/arbiter/etcd-json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

struct etcd {
	struct arbiter *arbiter;
	struct etcd_core core;
	struct etcd_keys keys;
	struct etcd_http *http;
	int timer_fd;
	struct loop_src *timer;
	unsigned endpoint; /* the one that is asked next */
	unsigned asked[ETCD_LANES];
	uint32_t serial[ETCD_LANES];
};

/*
 * A lease runs out while a host is suspended, and that time must count here too: CLOCK_MONOTONIC
 * stands still then, CLOCK_BOOTTIME does not (clock_gettime(2)).
 */
static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

static void arm(const struct etcd *x)
{
	uint64_t due = etcd_core_due(&x->core);
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(due / USEC_PER_SEC),
			     .tv_nsec = (long)(due % USEC_PER_SEC * NSEC_PER_USEC)}};

	timerfd_settime(x->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void begin(struct etcd *x, enum etcd_lane_id lane)
{
	const struct etcd_request *q = &x->core.lane[lane].request;
	char body[ETCD_BODY_MAX];
	int r;

	etcd_json_request(body, &x->keys, q);
	x->asked[lane] = x->endpoint;
	r = etcd_http_post(x->http, lane, x->arbiter->config->etcd_endpoints[x->endpoint],
			   etcd_json_path(q->kind), body, etcd_core_try_us(&x->core));
	if (r) {
		struct etcd_reply reply = {.outcome = ETCD_FAILED};

		snprintf(reply.why, sizeof(reply.why), "cannot ask: %s", strerror(-r));
		etcd_core_reply(&x->core, now_us(), lane, &reply);
	}
}

/* After each call of the core: its requests go out, its answers too. */
static void pump(struct etcd *x)
{
	enum arbiter_answer answer;

	for (int lane = 0; lane < ETCD_LANES; lane++) {
		const struct etcd_lane *l = &x->core.lane[lane];

		if (l->serial == x->serial[lane])
			continue;
		etcd_http_cancel(x->http, lane);
		x->serial[lane] = l->serial;
		if (l->busy)
			begin(x, lane);
	}
	answer = etcd_core_answer(&x->core);
	if (answer)
		arbiter_answer(x->arbiter, answer, "%s", x->core.reason);
	arm(x);
}

static void on_reply(void *arg, unsigned lane, long status, const char *body, size_t len,
		     const char *why)
{
	struct etcd *x = arg;
	const char *url = x->arbiter->config->etcd_endpoints[x->asked[lane]];
	struct etcd_reply reply = {.outcome = ETCD_FAILED};
	char text[90];

	snprintf(text, sizeof(text), "%s", why);
	if (status) {
		etcd_json_reply(&reply, &x->keys, &x->core.lane[lane].request, status, body, len);
		snprintf(text, sizeof(text), "%.*s", (int)sizeof(text) - 1, reply.why);
	}
	if (reply.outcome == ETCD_FAILED) {
		snprintf(reply.why, sizeof(reply.why), "etcd at %.50s: %s", url, text);
		if (x->endpoint == x->asked[lane])
			x->endpoint = (x->endpoint + 1) % x->core.endpoints;
	}
	etcd_core_reply(&x->core, now_us(), lane, &reply);
	pump(x);
}

static void on_timer(void *arg, int fd, uint32_t revents)
{
	struct etcd *x = arg;
	uint64_t times;

	(void)revents;
	if (read(fd, &times, sizeof(times)) < 0 && errno == EAGAIN)
		return;
	etcd_core_tick(&x->core, now_us());
	pump(x);
}

/* ---- the interface ---- */

static int etcd_open(struct arbiter *a, struct err *e)
{
	const struct config *c = a->config;
	struct etcd *x = calloc(1, sizeof(*x));
	unsigned endpoints = 0;
	int r;

	if (!x)
		return err_errno(e, ENOMEM, "arbiter");
	a->impl = x;
	x->arbiter = a;
	while (c->etcd_endpoints[endpoints])
		endpoints++;
	etcd_core_init(&x->core, c->host, c->etcd_ttl_ms, c->arbiter_timeout_ms, endpoints);
	etcd_keys_init(&x->keys, c->etcd_prefix, c->name, c->host);
	x->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (x->timer_fd < 0)
		return err_errno(e, errno, "arbiter: no timer");
	r = loop_add_io(a->loop, &x->timer, x->timer_fd, EPOLLIN, on_timer, x);
	if (r)
		return err_errno(e, -r, "arbiter: no timer");
	return etcd_http_new(&x->http, a->loop, c, ETCD_LANES, ETCD_REPLY_MAX, on_reply, x, e);
}

static void etcd_close(struct arbiter *a)
{
	struct etcd *x = a->impl;

	if (!x)
		return;
	etcd_http_free(x->http);
	loop_src_free(&x->timer);
	close_fd(&x->timer_fd);
	free(x);
}

static void etcd_claim(struct arbiter *a, const struct arbiter_claim *claim)
{
	struct etcd *x = a->impl;

	etcd_core_claim(&x->core, now_us(), claim);
	pump(x);
}

static void etcd_share(struct arbiter *a, uint64_t session)
{
	struct etcd *x = a->impl;

	etcd_core_share(&x->core, now_us(), session);
	pump(x);
}

static void etcd_resign(struct arbiter *a)
{
	struct etcd *x = a->impl;

	etcd_core_resign(&x->core, now_us());
	pump(x);
}

static void etcd_end(struct arbiter *a, uint64_t session)
{
	struct etcd *x = a->impl;

	etcd_core_end(&x->core, now_us(), session);
	pump(x);
}

static void etcd_drop(struct arbiter *a, bool untold)
{
	struct etcd *x = a->impl;

	etcd_core_drop(&x->core, now_us(), untold);
	pump(x);
}

static bool etcd_flush(struct arbiter *a, unsigned timeout_ms)
{
	struct etcd *x = a->impl;
	uint64_t now = now_us(), end = now + timeout_ms * USEC_PER_MSEC;

	while (!etcd_core_idle(&x->core) && now < end) {
		uint64_t due = etcd_core_due(&x->core), until = due ? MIN(due, end) : end;

		etcd_http_wait(x->http, until > now ? until - now : 0);
		now = now_us();
		etcd_core_tick(&x->core, now);
		pump(x);
	}
	return etcd_core_idle(&x->core);
}

static bool etcd_is_open(const struct arbiter *a)
{
	const struct etcd *x = a->impl;

	return x->core.dirty || x->core.want == ETCD_WANT_RESTORE ||
	       x->core.told != ETCD_TOLD_NOTHING;
}

static const char *etcd_state(const struct arbiter *a)
{
	const struct etcd *x = a->impl;

	if (x->core.told == ETCD_TOLD_HOLD)
		return "held back";
	if (x->core.told == ETCD_TOLD_WON)
		return "holds";
	if (x->core.want == ETCD_WANT_WIN)
		return "asking";
	if (x->core.want == ETCD_WANT_SHARE)
		return "sharing";
	return x->core.shared ? "shared" : "";
}

const struct arbiter_ops arbiter_etcd_ops = {
	.open = etcd_open,
	.close = etcd_close,
	.claim = etcd_claim,
	.share = etcd_share,
	.resign = etcd_resign,
	.end = etcd_end,
	.drop = etcd_drop,
	.flush = etcd_flush,
	.is_open = etcd_is_open,
	.state = etcd_state,
};
