/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting threads that take no signals: those belong to the loop's signalfd. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/** thread_start() - run fn(@arg) in a thread called @name (at most 15 characters). 0 or -errno. */
int thread_start(pthread_t *t, const char *name, void *(*fn)(void *arg), void *arg);

#endif
