// SPDX-License-Identifier: GPL-2.0-or-later
/* Worker thread: two mailboxes, one in each direction. */
#include "base/worker.h"

#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct worker {
	struct mailbox todo, finished;
	struct loop_src *finished_src;
	struct job stop; /* posted to end the thread; never run */
	pthread_t thread;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		struct mail *m = mailbox_wait(&w->todo);
		struct job *j = container_of(m, struct job, mail);

		if (j == &w->stop)
			return NULL;
		j->run(j);
		mailbox_post(&w->finished, m);
	}
}

static void on_finished(void *arg, int fd, uint32_t revents)
{
	struct worker *w = arg;
	struct mail *m;

	(void)fd;
	(void)revents;
	m = mailbox_take(&w->finished);
	if (m) {
		struct job *j = container_of(m, struct job, mail);

		j->done(j);
	}
}

int worker_start(struct worker **out, struct loop *l, const char *name, struct err *e)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_errno(e, ENOMEM, "worker %s", name);
	w->todo.event_fd = w->finished.event_fd = -1;
	r = mailbox_init(&w->todo, e);
	if (!r)
		r = mailbox_init(&w->finished, e);
	if (!r)
		r = loop_add_io(l, &w->finished_src, w->finished.event_fd, EPOLLIN, on_finished, w);
	if (!r)
		r = thread_start(&w->thread, name, worker_main, w);
	if (r) {
		loop_src_free(&w->finished_src);
		mailbox_destroy(&w->todo);
		mailbox_destroy(&w->finished);
		free(w);
		return err_errno(e, -r, "cannot start worker thread %s", name);
	}
	*out = w;
	return 0;
}

void worker_submit(struct worker *w, struct job *j)
{
	mailbox_post(&w->todo, &j->mail);
}

void worker_stop(struct worker *w)
{
	if (!w)
		return;
	mailbox_post(&w->todo, &w->stop.mail);
	pthread_join(w->thread, NULL);
	loop_src_free(&w->finished_src);
	mailbox_destroy(&w->todo);
	mailbox_destroy(&w->finished);
	free(w);
}
