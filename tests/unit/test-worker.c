// SPDX-License-Identifier: GPL-2.0-or-later
/* Loop, mailbox and worker thread: order, wake-ups, nothing lost between threads. */
#include "tests/unit/unit.h"

#include "base/worker.h"

#include <poll.h>
#include <signal.h>

static struct loop *new_loop(void)
{
	struct loop *l;
	struct err e;

	assert_ok(loop_new(&l, &e), &e);
	return l;
}

/* ---- loop ---- */

struct ticks {
	struct loop *loop;
	struct loop_src *src;
	int n;
	bool free_self;
};

static void on_tick(void *arg)
{
	struct ticks *t = arg;

	t->n++;
	if (t->free_self)
		loop_src_free(&t->src);
}

static void a_timer_fires_once_for_each_arming(void **state)
{
	struct ticks t = {.loop = new_loop()}, far = {};

	(void)state;
	assert_int_equal(loop_add_timer(t.loop, &t.src, on_tick, &t), 0);
	assert_int_equal(loop_add_timer(t.loop, &far.src, on_tick, &far), 0);
	assert_int_equal(loop_step(t.loop, 0), 0);
	loop_timer_arm(far.src, 3600 * USEC_PER_SEC);
	for (int i = 1; i <= 3; i++) {
		loop_timer_arm(t.src, 1);
		turn_until(t.loop, t.n == i);
		assert_int_equal(loop_step(t.loop, 0), 0);
	}
	loop_timer_arm(t.src, 0);
	loop_timer_disarm(t.src);
	assert_int_equal(loop_step(t.loop, 0), 0);
	assert_int_equal(t.n, 3);
	assert_int_equal(far.n, 0);
	loop_src_free(&far.src);
	loop_src_free(&t.src);
	loop_free(t.loop);
}

static void a_source_may_free_itself(void **state)
{
	struct ticks t = {.loop = new_loop(), .free_self = true};

	(void)state;
	assert_int_equal(loop_add_defer(t.loop, &t.src, on_tick, &t), 0);
	assert_int_equal(loop_step(t.loop, 0), 0);
	loop_defer_arm(t.src);
	turn_until(t.loop, t.n);
	assert_null(t.src);
	loop_src_free(&t.src);
	assert_int_equal(loop_step(t.loop, 0), 0);
	loop_free(t.loop);
}

static void stop_loop(void *arg, int signo)
{
	loop_stop(arg, signo);
}

static void a_signal_reaches_the_loop(void **state)
{
	struct loop *l = new_loop();
	struct loop_src *src;
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	assert_int_equal(loop_add_signal(l, &src, SIGUSR1, stop_loop, l), 0);
	raise(SIGUSR1);
	assert_int_equal(loop_run(l), SIGUSR1);
	loop_src_free(&src);
	loop_free(l);
}

/* ---- mailbox ---- */

static bool readable(const struct mailbox *mb)
{
	struct pollfd p = {.fd = mb->event_fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void a_mailbox_is_readable_while_it_holds_mail(void **state)
{
	struct mail m[3];
	struct mailbox mb;
	struct err e;

	(void)state;
	assert_ok(mailbox_init(&mb, &e), &e);
	assert_null(mailbox_take(&mb));
	assert_false(readable(&mb));
	for (int i = 0; i < 3; i++)
		mailbox_post(&mb, &m[i]);
	for (int i = 0; i < 3; i++) {
		assert_true(readable(&mb));
		assert_ptr_equal(mailbox_take(&mb), &m[i]);
	}
	assert_false(readable(&mb));
	assert_null(mailbox_take(&mb));
	mailbox_post(&mb, &m[1]);
	assert_true(readable(&mb));
	assert_ptr_equal(mailbox_wait(&mb), &m[1]);
	mailbox_destroy(&mb);
	mailbox_destroy(&mb);
}

#define SENDERS      4
#define MAILS_EACH   5000
#define MAILS_IN_ALL (SENDERS * MAILS_EACH)

struct numbered {
	struct mail mail;
	int sender, n;
};

struct sender {
	struct mailbox *mb;
	struct numbered *mails;
	pthread_t thread;
};

static void *post_all(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < MAILS_EACH; i++)
		mailbox_post(s->mb, &s->mails[i].mail);
	return NULL;
}

static void no_mail_of_any_thread_is_lost_or_overtaken(void **state)
{
	struct numbered *mails = calloc(MAILS_IN_ALL, sizeof(*mails));
	struct sender senders[SENDERS];
	int next[SENDERS] = {};
	struct mailbox mb;
	struct err e;

	(void)state;
	assert_ok(mailbox_init(&mb, &e), &e);
	for (int s = 0; s < SENDERS; s++) {
		senders[s] = (struct sender){.mb = &mb, .mails = mails + s * MAILS_EACH};
		for (int i = 0; i < MAILS_EACH; i++)
			senders[s].mails[i] = (struct numbered){.sender = s, .n = i};
		assert_int_equal(pthread_create(&senders[s].thread, NULL, post_all, &senders[s]),
				 0);
	}
	for (int i = 0; i < MAILS_IN_ALL; i++) {
		struct numbered *m = container_of(mailbox_wait(&mb), struct numbered, mail);

		assert_int_equal(m->n, next[m->sender]++);
	}
	for (int s = 0; s < SENDERS; s++)
		pthread_join(senders[s].thread, NULL);
	assert_null(mailbox_take(&mb));
	mailbox_destroy(&mb);
	free(mails);
}

/* ---- worker ---- */

struct step {
	struct job job;
	struct worker *worker;
	pthread_t ran_on;
	int *counter, ran_as, done_as, again;
	sigset_t blocked;
};

static void step_run(struct job *j)
{
	struct step *s = container_of(j, struct step, job);

	s->ran_on = pthread_self();
	s->ran_as = ++*s->counter;
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
}

static void step_done(struct job *j)
{
	struct step *s = container_of(j, struct step, job);

	s->done_as++;
	if (s->again-- > 0)
		worker_submit(s->worker, j);
}

static void jobs_run_in_order_and_report_on_the_loop(void **state)
{
	struct loop *l = new_loop();
	struct worker *w;
	struct step steps[50];
	int counter = 0;
	struct err e;

	(void)state;
	assert_ok(worker_start(&w, l, "test-worker", &e), &e);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		steps[i] = (struct step){.job = {.run = step_run, .done = step_done},
					 .worker = w,
					 .counter = &counter};
		worker_submit(w, &steps[i].job);
	}
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		turn_until(l, steps[i].done_as);
		assert_int_equal(steps[i].ran_as, i + 1);
		assert_int_equal(steps[i].done_as, 1);
		assert_false(pthread_equal(steps[i].ran_on, pthread_self()));
		assert_true(sigismember(&steps[i].blocked, SIGTERM));
	}
	worker_stop(w);
	loop_free(l);
}

static void a_job_may_be_submitted_again_when_done(void **state)
{
	struct loop *l = new_loop();
	int counter = 0;
	struct step s = {
		.job = {.run = step_run, .done = step_done}, .counter = &counter, .again = 99};
	struct err e;

	(void)state;
	assert_ok(worker_start(&s.worker, l, "test-worker", &e), &e);
	worker_submit(s.worker, &s.job);
	turn_until(l, s.done_as == 100);
	assert_int_equal(counter, 100);
	worker_stop(s.worker);
	loop_free(l);
}

static void stopping_runs_what_is_queued_and_reports_nothing(void **state)
{
	struct loop *l = new_loop();
	struct step steps[10];
	struct worker *w;
	int counter = 0;
	struct err e;

	(void)state;
	assert_ok(worker_start(&w, l, "test-worker", &e), &e);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		steps[i] = (struct step){.job = {.run = step_run, .done = step_done},
					 .counter = &counter};
		worker_submit(w, &steps[i].job);
	}
	worker_stop(w);
	worker_stop(NULL);
	assert_int_equal(counter, 10);
	assert_int_equal(loop_step(l, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		assert_int_equal(steps[i].done_as, 0);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_fires_once_for_each_arming),
		cmocka_unit_test(a_source_may_free_itself),
		cmocka_unit_test(a_signal_reaches_the_loop),
		cmocka_unit_test(a_mailbox_is_readable_while_it_holds_mail),
		cmocka_unit_test(no_mail_of_any_thread_is_lost_or_overtaken),
		cmocka_unit_test(jobs_run_in_order_and_report_on_the_loop),
		cmocka_unit_test(a_job_may_be_submitted_again_when_done),
		cmocka_unit_test(stopping_runs_what_is_queued_and_reports_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
