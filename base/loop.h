/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event loop of a thread: a narrow wrapper over sd-event(3). */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_src;

typedef void (*loop_io_fn)(void *arg, int fd, uint32_t revents);
typedef void (*loop_fn)(void *arg);
typedef void (*loop_signal_fn)(void *arg, int signo);

/** loop_new() - make the loop of the calling thread. Freed by loop_free(). */
int loop_new(struct loop **out, struct err *e);
void loop_free(struct loop *l);
static inline void cleanup_loop(struct loop **l)
{
	loop_free(*l);
}

/** loop_run() - dispatch until loop_stop(). Returns the code given there, or -errno. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int code);

/** loop_step() - dispatch one source, waiting for it at most @timeout_us; for whoever has a loop of
 * its own around, such as a test. 1, 0 when there was nothing, or -errno. */
int loop_step(struct loop *l, uint64_t timeout_us);

/** loop_watchdog() - answer systemd's WatchdogSec from this loop, so that a hung loop is noticed.
 */
void loop_watchdog(struct loop *l);

/** loop_add_io() - call @fn when @fd has one of @events (EPOLLIN | EPOLLOUT). The caller keeps @fd.
 */
int loop_add_io(struct loop *l, struct loop_src **out, int fd, uint32_t events, loop_io_fn fn,
		void *arg);
void loop_io_events(struct loop_src *s, uint32_t events);

/** loop_add_timer() - a timer that is not armed; each loop_timer_arm() makes it fire once. */
int loop_add_timer(struct loop *l, struct loop_src **out, loop_fn fn, void *arg);
void loop_timer_arm(struct loop_src *s, uint64_t delay_us);
void loop_timer_disarm(struct loop_src *s);

/** loop_add_signal() - @signo must be blocked in every thread. */
int loop_add_signal(struct loop *l, struct loop_src **out, int signo, loop_signal_fn fn, void *arg);

/** loop_add_defer() - @fn runs once from the loop after each loop_defer_arm(). */
int loop_add_defer(struct loop *l, struct loop_src **out, loop_fn fn, void *arg);
void loop_defer_arm(struct loop_src *s);

/** loop_src_free() - stop and forget a source; *s becomes NULL. Allowed inside its own callback. */
void loop_src_free(struct loop_src **s);

/** clock_now_us() - CLOCK_MONOTONIC in microseconds. */
uint64_t clock_now_us(void);

#endif
