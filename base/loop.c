// SPDX-License-Identifier: GPL-2.0-or-later
/* Event loop wrapper: sd-event sources with plain callbacks. */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-event.h>
#include <time.h>

/* sd-event reads accuracy 0 as its default of 250 ms (sd_event_add_time(3)); one microsecond is
 * exact. */
#define TIMER_ACCURACY_US 1

struct loop {
	sd_event *ev;
};

struct loop_src {
	sd_event_source *src;
	union {
		loop_io_fn io;
		loop_fn plain;
		loop_signal_fn signal;
	} fn;
	void *arg;
};

uint64_t clock_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

int loop_new(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_errno(e, ENOMEM, "event loop");
	r = sd_event_new(&l->ev);
	if (r < 0) {
		free(l);
		return err_errno(e, -r, "cannot create the event loop");
	}
	*out = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	sd_event_unref(l->ev);
	free(l);
}

int loop_run(struct loop *l)
{
	return sd_event_loop(l->ev);
}

void loop_stop(struct loop *l, int code)
{
	sd_event_exit(l->ev, code);
}

int loop_step(struct loop *l, uint64_t timeout_us)
{
	int r = sd_event_run(l->ev, timeout_us);

	return r > 0 ? 1 : r;
}

void loop_watchdog(struct loop *l)
{
	sd_event_set_watchdog(l->ev, true);
}

static struct loop_src *src_new(void *arg)
{
	struct loop_src *s = calloc(1, sizeof(*s));

	if (s)
		s->arg = arg;
	return s;
}

/* Common end of every loop_add_*(): hand the source out or undo it. */
static int src_finish(struct loop_src *s, int r, struct loop_src **out)
{
	if (r < 0) {
		free(s);
		return r;
	}
	*out = s;
	return 0;
}

static int on_io(sd_event_source *src, int fd, uint32_t revents, void *userdata)
{
	struct loop_src *s = userdata;

	(void)src;
	s->fn.io(s->arg, fd, revents);
	return 0;
}

int loop_add_io(struct loop *l, struct loop_src **out, int fd, uint32_t events, loop_io_fn fn,
		void *arg)
{
	struct loop_src *s = src_new(arg);

	if (!s)
		return -ENOMEM;
	s->fn.io = fn;
	return src_finish(s, sd_event_add_io(l->ev, &s->src, fd, events, on_io, s), out);
}

void loop_io_events(struct loop_src *s, uint32_t events)
{
	sd_event_source_set_io_events(s->src, events);
}

static int on_timer(sd_event_source *src, uint64_t usec, void *userdata)
{
	struct loop_src *s = userdata;

	(void)src;
	(void)usec;
	s->fn.plain(s->arg);
	return 0;
}

int loop_add_timer(struct loop *l, struct loop_src **out, loop_fn fn, void *arg)
{
	struct loop_src *s = src_new(arg);
	int r;

	if (!s)
		return -ENOMEM;
	s->fn.plain = fn;
	r = sd_event_add_time(l->ev, &s->src, CLOCK_MONOTONIC, UINT64_MAX, TIMER_ACCURACY_US,
			      on_timer, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->src, SD_EVENT_OFF);
	return src_finish(s, r, out);
}

void loop_timer_arm(struct loop_src *s, uint64_t delay_us)
{
	sd_event_source_set_time(s->src, clock_now_us() + delay_us);
	sd_event_source_set_enabled(s->src, SD_EVENT_ONESHOT);
}

void loop_timer_disarm(struct loop_src *s)
{
	sd_event_source_set_enabled(s->src, SD_EVENT_OFF);
}

static int on_signal(sd_event_source *src, const struct signalfd_siginfo *si, void *userdata)
{
	struct loop_src *s = userdata;

	(void)src;
	s->fn.signal(s->arg, (int)si->ssi_signo);
	return 0;
}

int loop_add_signal(struct loop *l, struct loop_src **out, int signo, loop_signal_fn fn, void *arg)
{
	struct loop_src *s = src_new(arg);

	if (!s)
		return -ENOMEM;
	s->fn.signal = fn;
	return src_finish(s, sd_event_add_signal(l->ev, &s->src, signo, on_signal, s), out);
}

static int on_defer(sd_event_source *src, void *userdata)
{
	struct loop_src *s = userdata;

	(void)src;
	s->fn.plain(s->arg);
	return 0;
}

int loop_add_defer(struct loop *l, struct loop_src **out, loop_fn fn, void *arg)
{
	struct loop_src *s = src_new(arg);
	int r;

	if (!s)
		return -ENOMEM;
	s->fn.plain = fn;
	r = sd_event_add_defer(l->ev, &s->src, on_defer, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->src, SD_EVENT_OFF);
	return src_finish(s, r, out);
}

void loop_defer_arm(struct loop_src *s)
{
	sd_event_source_set_enabled(s->src, SD_EVENT_ONESHOT);
}

void loop_src_free(struct loop_src **s)
{
	if (!*s)
		return;
	sd_event_source_disable_unref((*s)->src);
	free(*s);
	*s = NULL;
}
