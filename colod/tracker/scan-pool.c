// SPDX-License-Identifier: GPL-2.0-or-later
/* Scan threads: woken together by a generation number, awaited by a count. */
#include "colod/tracker/scan-pool.h"

#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct scan_thread {
	pthread_t id;
	struct scan_pool *pool;
	unsigned slice;
};

struct scan_pool {
	scan_fn fn;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	uint64_t generation; /* of the run the threads should have joined */
	unsigned busy;       /* threads that still work on it */
	bool stop;
	unsigned nthreads;
	struct scan_thread threads[];
};

static void *scan_thread(void *arg)
{
	struct scan_thread *self = arg;
	struct scan_pool *p = self->pool;
	uint64_t seen = 0;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->generation == seen && !p->stop)
			pthread_cond_wait(&p->wake, &p->lock);
		if (p->stop)
			break;
		seen = p->generation;
		pthread_mutex_unlock(&p->lock);
		p->fn(p->arg, self->slice);
		pthread_mutex_lock(&p->lock);
		if (!--p->busy)
			pthread_cond_signal(&p->idle);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_threads(struct scan_pool *p, unsigned want)
{
	int r = 0;

	while (p->nthreads < want && !r) {
		struct scan_thread *t = &p->threads[p->nthreads];

		t->pool = p;
		t->slice = p->nthreads + 1;
		r = thread_start(&t->id, "colod-scan", scan_thread, t);
		p->nthreads += !r;
	}
	return r;
}

int scan_pool_start(struct scan_pool **out, unsigned slices, scan_fn fn, void *arg, struct err *e)
{
	unsigned want = slices - 1;
	struct scan_pool *p = calloc(1, sizeof(*p) + want * sizeof(p->threads[0]));
	int r;

	if (!p)
		return err_errno(e, ENOMEM, "cannot start scan threads");
	p->fn = fn;
	p->arg = arg;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->idle, NULL);
	r = start_threads(p, want);
	if (r) {
		scan_pool_stop(p);
		return err_errno(e, -r, "cannot start %u scan threads; lower scan_threads", want);
	}
	*out = p;
	return 0;
}

void scan_pool_run(struct scan_pool *p)
{
	if (p->nthreads) {
		pthread_mutex_lock(&p->lock);
		p->generation++;
		p->busy = p->nthreads;
		pthread_cond_broadcast(&p->wake);
		pthread_mutex_unlock(&p->lock);
	}
	p->fn(p->arg, 0);
	if (p->nthreads) {
		pthread_mutex_lock(&p->lock);
		while (p->busy)
			pthread_cond_wait(&p->idle, &p->lock);
		pthread_mutex_unlock(&p->lock);
	}
}

void scan_pool_stop(struct scan_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i].id, NULL);
	pthread_cond_destroy(&p->idle);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
