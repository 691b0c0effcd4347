// SPDX-License-Identifier: GPL-2.0-or-later
/* The proxy's thread: start, orders in, answers out, end; snapshots for the daemon. */
#include "proxy/proxy.h"

#include "base/cleanup.h"
#include "proxy/flowfile.h"
#include "proxy/proxy-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Memory is touched as it is used. */
#define INBOX_BYTES     (64 * MIB)
#define INBOX_FRAMES    16384
#define OUTBOX_BYTES    (16 * MIB)
#define OUTBOX_FRAMES   8192
#define REWRITTEN_BYTES (16 * MIB)

/* In a take-over many connections come to their offsets within milliseconds. */
#define FLOWS_GAP_US (20 * USEC_PER_MSEC)

#define HOUSEKEEPING_US (5 * USEC_PER_SEC)

/* ---- words for the daemon ---- */

void proxy_tell(struct proxy *p, enum tale_kind kind, uint64_t value, const char *text)
{
	struct tale *t = &p->tale[kind];

	atomic_store(&t->value, value);
	if (atomic_exchange(&t->posted, true))
		return; /* on its way, and takes the new value along */
	snprintf(t->text, sizeof(t->text), "%s", text ? text : "");
	mailbox_post(&p->tales, &t->mail);
}

void proxy_complain(struct proxy *p, const struct err *e)
{
	proxy_tell(p, TALE_NOTE, 0, err_msg(e));
}

/* In place of the reason for a checkpoint that is not needed any more. */
#define SETTLED UINT64_MAX

void proxy_untell_checkpoint(struct proxy *p)
{
	struct tale *t = &p->tale[TALE_CHECKPOINT];

	if (atomic_load(&t->value) != MISMATCH_LOST)
		atomic_store(&t->value, SETTLED);
}

static void deliver(struct proxy *p, struct tale *t)
{
	uint64_t value;
	char text[sizeof(t->text)];

	memcpy(text, t->text, sizeof(text));
	atomic_store(&t->posted, false);
	value = atomic_load(&t->value);
	switch ((enum tale_kind)(t - p->tale)) {
	case TALE_CHECKPOINT:
		if (value != SETTLED)
			p->handlers->checkpoint(p->arg, (enum mismatch_reason)value);
		break;
	case TALE_WAITING:
		if (p->handlers->waiting)
			p->handlers->waiting(p->arg);
		break;
	case TALE_MARKED:
		p->handlers->marked(p->arg, value);
		break;
	case TALE_LOST:
		p->handlers->lost(p->arg, text);
		break;
	case TALE_NOTE:
		p->handlers->note(p->arg, text);
		break;
	case TALE_COUNT:
		break;
	}
}

static void on_tales(void *arg, int fd, uint32_t revents)
{
	struct proxy *p = arg;
	struct mail *m = mailbox_take(&p->tales);

	(void)fd, (void)revents;
	if (m)
		deliver(p, container_of(m, struct tale, mail));
}

static void on_answers(void *arg, int fd, uint32_t revents)
{
	struct proxy *p = arg;
	struct mail *m = mailbox_take(&p->answers);
	struct proxy_call *c;

	(void)fd, (void)revents;
	if (!m)
		return;
	c = container_of(m, struct proxy_call, mail);
	c->busy = false;
	if (c->done)
		c->done(c);
}

/* ---- the thread ---- */

/* The kernel is short of memory: in a moment it may take them. */
#define VERDICTS_AGAIN_US (1 * USEC_PER_MSEC)

/* False when verdicts wait still. */
static bool send_verdicts(struct proxy *p)
{
	bool all = true, lost = false;

	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];
		const uint64_t *out = &nfqueue_stats(o->out)->unsent;
		const uint64_t *in = &nfqueue_stats(o->in)->unsent;

		all &= !nfqueue_flush(o->out) & !nfqueue_flush(o->in);
		lost |= *out != o->unsent_out || *in != o->unsent_in;
		o->unsent_out = *out;
		o->unsent_in = *in;
	}
	if (lost)
		compare_lost(p->compare, "verdicts could not be sent", clock_now_us());
	return all;
}

static void check_refused(struct proxy *p)
{
	struct chan_io *c = &p->chan;

	if (c->refused != c->refused_told && p->side == SIDE_PRIMARY)
		compare_lost(p->compare, "the packet connection is full", clock_now_us());
	c->refused_told = c->refused;
}

/* A replica's are its primary's, and come anew with each checkpoint. Returns when to come again. */
static uint64_t save_flows(struct proxy *p, uint64_t now)
{
	const struct rewrites *w = replica_net_rewrites(p->replica);
	uint64_t due = p->flows_saved_at_us + FLOWS_GAP_US;

	if (w->changes == p->flows_saved || !p->config.flows_path ||
	    (p->side != SIDE_PASS && p->side != SIDE_PRIMARY))
		return UINT64_MAX;
	if (p->flows_saved_at_us && now < due)
		return due;
	p->flows_saved = w->changes;
	p->flows_saved_at_us = now;
	if (flowfile_save(p->config.flows_path, w))
		proxy_tell(p, TALE_NOTE, 0, "the file of rewritten connections cannot be written");
	return UINT64_MAX;
}

void proxy_settle(struct proxy *p)
{
	uint64_t now = clock_now_us(), next;

	if (p->cut)
		link_was_cut(p);
	next = compare_tick(p->compare, now);
	if (!send_verdicts(p))
		next = MIN(next, now + VERDICTS_AGAIN_US);
	check_refused(p);
	chan_io_settle(p);
	next = MIN(next, save_flows(p, now));
	if (next == UINT64_MAX || (next >= p->tick_at_us && p->tick_at_us > now))
		return;
	p->tick_at_us = next;
	loop_timer_arm(p->tick, next > now ? next - now : 1);
}

static void on_tick(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	p->tick_at_us = 0;
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

static void on_housekeeping(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	proxy_housekeeping(p);
	if (p->rules.mode[0] == RULES_OFF) /* of all NICs alike */
		compare_unseen(p->compare);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
	loop_timer_arm(p->housekeeping, HOUSEKEEPING_US);
}

void proxy_answer(struct proxy *p, struct proxy_call *c)
{
	if (c == &p->sync_call)
		sem_post(&p->sync_done);
	else
		mailbox_post(&p->answers, &c->mail);
}

static void on_orders(void *arg, int fd, uint32_t revents)
{
	struct proxy *p = arg;
	struct mail *m = mailbox_take(&p->orders);
	struct proxy_call *c;

	(void)fd, (void)revents;
	if (!m)
		return;
	c = container_of(m, struct proxy_call, mail);
	pthread_mutex_lock(&p->lock);
	if (p->ending) {
		loop_stop(p->loop, 0);
		pthread_mutex_unlock(&p->lock);
		return; /* nobody waits for an answer any more */
	}
	p->carried_out = c;
	proxy_carry_out(p, c);
	proxy_settle(p);
	p->carried_out = NULL;
	if (c != p->fenced)
		proxy_answer(p, c);
	pthread_mutex_unlock(&p->lock);
}

static void *thread_main(void *arg)
{
	struct proxy *p = arg;

	loop_timer_arm(p->housekeeping, HOUSEKEEPING_US);
	loop_run(p->loop);
	return NULL;
}

/* ---- orders ---- */

void proxy_submit(struct proxy *p, struct proxy_call *c)
{
	assert(!c->busy);
	c->busy = true;
	c->proxy = p;
	mailbox_post(&p->orders, &c->mail);
}

int proxy_run(struct proxy *p, enum proxy_op op, unsigned timeout_ms)
{
	struct timespec until;

	if (p->sync_call.busy)
		return -ETIMEDOUT; /* the one before was not done in time */
	p->sync_call.op = op;
	p->sync_call.fd = -1;
	proxy_submit(p, &p->sync_call);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (sem_timedwait(&p->sync_done, &until))
		if (errno != EINTR)
			return -ETIMEDOUT;
	p->sync_call.busy = false;
	return 0;
}

/* ---- start and end ---- */

static int open_core(struct proxy *p, struct err *e)
{
	struct replica_net_params rp = {.nic_count = p->config.nic_count,
					.inbox_bytes = INBOX_BYTES,
					.inbox_frames = INBOX_FRAMES,
					.outbox_bytes = OUTBOX_BYTES,
					.outbox_frames = OUTBOX_FRAMES,
					.max_flows = p->config.limits.max_flows,
					.bypass = &p->config.bypass};
	int r;

	if (getrandom(&p->config.limits.seed, sizeof(uint64_t), 0) < 0)
		p->config.limits.seed = clock_now_us();
	rp.seed = p->config.limits.seed;
	for (unsigned i = 0; i < p->config.nic_count; i++)
		memcpy(rp.macs[i], p->config.nics[i].mac, 6);
	r = compare_new(&p->compare, &p->config.limits, &p->config.bypass, &p->mismatches,
			&proxy_compare_ops, p);
	if (!r)
		r = replica_net_new(&p->replica, &rp, &proxy_replica_ops, p);
	if (!r)
		r = framebuf_init(&p->rewritten, REWRITTEN_BYTES, INBOX_FRAMES);
	return r ? err_errno(e, -r, "proxy") : chan_io_init(&p->chan, e);
}

static int open_daemon_side(struct proxy *p, struct err *e)
{
	int r = mailbox_init(&p->answers, e);

	if (!r)
		r = mailbox_init(&p->tales, e);
	if (!r &&
	    (loop_add_io(p->daemon_loop, &p->answers_src, p->answers.event_fd, EPOLLIN, on_answers,
			 p) ||
	     loop_add_io(p->daemon_loop, &p->tales_src, p->tales.event_fd, EPOLLIN, on_tales, p)))
		r = err_errno(e, ENOMEM, "proxy");
	return r;
}

static int open_thread_side(struct proxy *p, struct err *e)
{
	int r = loop_new(&p->loop, e);

	if (!r)
		r = mailbox_init(&p->orders, e);
	if (!r &&
	    (loop_add_io(p->loop, &p->orders_src, p->orders.event_fd, EPOLLIN, on_orders, p) ||
	     loop_add_timer(p->loop, &p->tick, on_tick, p) ||
	     loop_add_timer(p->loop, &p->announce, ports_on_announce, p) ||
	     loop_add_timer(p->loop, &p->housekeeping, on_housekeeping, p) ||
	     loop_add_timer(p->loop, &p->lazy, chan_io_on_lazy, p) ||
	     loop_add_timer(p->loop, &p->retry, replica_side_on_retry, p) ||
	     loop_add_timer(p->loop, &p->relay, relay_on_timer, p) ||
	     loop_add_defer(p->loop, &p->leave, ports_on_leave, p)))
		r = err_errno(e, ENOMEM, "proxy");
	if (!r)
		r = open_core(p, e);
	return r ? r : ports_open(p, e);
}

static int start_thread(struct proxy *p, struct err *e)
{
	int r = pthread_create(&p->thread, NULL, thread_main, p);

	if (r)
		return err_errno(e, r, "proxy thread");
	pthread_setname_np(p->thread, "colod-proxy");
	p->started = true;
	return 0;
}

int proxy_new(struct proxy **out, struct loop *l, const struct proxy_config *c,
	      const struct proxy_handlers *h, void *arg, struct err *e)
{
	struct proxy *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_errno(e, ENOMEM, "proxy");
	p->config = *c;
	p->handlers = h;
	p->arg = arg;
	p->daemon_loop = l;
	p->chan.fd = p->answers.event_fd = p->tales.event_fd = p->orders.event_fd = -1;
	p->rules_watch_fd = -1;
	for (int i = 0; i < PROXY_MAX_NICS; i++) {
		p->ports[i].mirror.fd = p->ports[i].mirror.send_fd = p->ports[i].mirror.bypass_fd =
			-1;
		p->ports[i].counters.fd_read = p->ports[i].counters.fd_dropped = -1;
	}
	pthread_mutex_init(&p->lock, NULL);
	sem_init(&p->sync_done, 0, 0);
	r = open_daemon_side(p, e);
	if (!r)
		r = open_thread_side(p, e);
	if (!r)
		r = start_thread(p, e);
	if (r) {
		p->rules_installed &= c->found != PROXY_FOUND_HELD;
		proxy_free(p);
		return r;
	}
	*out = p;
	return 0;
}

static void stop_thread(struct proxy *p)
{
	struct proxy_call last = {.op = PROXY_DETACH, .fd = -1};

	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_mutex_unlock(&p->lock);
	list_init(&last.mail.link);
	mailbox_post(&p->orders, &last.mail);
	pthread_join(p->thread, NULL);
}

void proxy_keep_rules(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	p->rules_installed = false;
	pthread_mutex_unlock(&p->lock);
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	if (p->started)
		stop_thread(p);
	loop_src_free(&p->answers_src);
	loop_src_free(&p->tales_src);
	chan_io_destroy(&p->chan);
	if (p->loop)
		ports_close(p);
	loop_src_free(&p->orders_src);
	loop_src_free(&p->tick);
	loop_src_free(&p->announce);
	loop_src_free(&p->housekeeping);
	loop_src_free(&p->leave);
	loop_src_free(&p->lazy);
	loop_src_free(&p->retry);
	loop_src_free(&p->relay);
	framebuf_destroy(&p->rewritten);
	compare_free(p->compare);
	replica_net_free(p->replica);
	loop_free(p->loop);
	mailbox_destroy(&p->orders);
	mailbox_destroy(&p->answers);
	mailbox_destroy(&p->tales);
	pthread_mutex_destroy(&p->lock);
	sem_destroy(&p->sync_done);
	free(p);
}
