/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines on stderr with the <N> priority prefix that journald reads (sd-daemon(3)). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/util.h"

enum log_prio {
	LOG_PRIO_ERR = 3,
	LOG_PRIO_WARNING = 4,
	LOG_PRIO_NOTICE = 5,
	LOG_PRIO_INFO = 6,
	LOG_PRIO_DEBUG = 7,
};

/**
 * log_setup() - name the guest in every line and set the lowest priority that is still written.
 *
 * A line reads "<N>colod NAME: TOPIC: text". Only the top of a thread logs; libraries return
 * errors.
 */
void log_setup(const char *guest_name, enum log_prio max_prio);

/** log_line() - write one line in a single write(2), so that lines of several threads never mix. */
void log_line(enum log_prio prio, const char *topic, const char *fmt, ...) PRINTF_LIKE(3, 4);

/**
 * log_state() - the one line that a state change writes; its grammar is fixed for scripts to rely
 * on: "state: from=A to=B event=E role=R epoch=N [reason=\"text\"]". @reason may be NULL or empty.
 */
void log_state(const char *from, const char *to, const char *event, const char *role,
	       uint64_t epoch, const char *reason);

#define log_err(topic, ...)    log_line(LOG_PRIO_ERR, topic, __VA_ARGS__)
#define log_warn(topic, ...)   log_line(LOG_PRIO_WARNING, topic, __VA_ARGS__)
#define log_notice(topic, ...) log_line(LOG_PRIO_NOTICE, topic, __VA_ARGS__)
#define log_info(topic, ...)   log_line(LOG_PRIO_INFO, topic, __VA_ARGS__)
#define log_debug(topic, ...)  log_line(LOG_PRIO_DEBUG, topic, __VA_ARGS__)

#endif
