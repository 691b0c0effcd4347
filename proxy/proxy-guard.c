// SPDX-License-Identifier: GPL-2.0-or-later
/* Rules that others remove while they hold a guest's output are made again, and told of. */
#include "proxy/proxy-priv.h"

#include "base/cleanup.h"

#include <errno.h>

#define LOOK_US  (5 * USEC_PER_SEC) /* at the traffic, in case that nobody told of a change */
#define RETRY_US USEC_PER_SEC
#define GAP_US   (200 * USEC_PER_MSEC) /* between restorations: the thread has other work */

/* Without a rule that holds something, the next order that needs one makes all anew. */
static bool any_wanted(const struct rules *r)
{
	bool any = false;

	for (unsigned i = 0; i < r->nic_count; i++)
		any |= r->mode[i] != RULES_OFF || r->inbound[i];
	return any;
}

/* A tale holds 256 bytes. */
static void tell_failure(struct proxy *p, const struct err *why, const struct err *failed)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "the packet filter rules were removed (%.90s) and output is NOT HELD; trying "
		 "again: %.80s",
		 err_msg(why), err_msg(failed));
	proxy_tell(p, TALE_NOTE, 0, text);
}

static void tell_restored(struct proxy *p, const struct err *why)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "the packet filter rules were removed%s%.90s%s and are back; output may have left "
		 "unheld: do not flush rules while colod runs, start it after the firewall",
		 why->code ? " (" : "", why->code ? err_msg(why) : "", why->code ? ")" : "");
	proxy_tell(p, TALE_NOTE, 0, text);
}

/* What slipped by is in no epoch; only with a checkpoint do both sides agree again. */
static void force_checkpoint(struct proxy *p)
{
	compare_unseen(p->compare);
	if (p->side == SIDE_PRIMARY)
		compare_lost(p->compare, "the packet filter rules were removed", clock_now_us());
}

/* True when all that is wanted is in force. */
static bool make_sure(struct proxy *p)
{
	bool was_missing = p->rules_missing;
	struct err why = {}, e = {};

	p->rules_missing = false;
	if (!any_wanted(&p->rules) || (!rules_check(&p->rules, &why) && !was_missing))
		return true;
	p->rules_missing = why.code && rules_restore(&p->rules, &e);
	p->rules_restored_us = clock_now_us();
	if (p->rules_missing && was_missing)
		return false; /* told already */
	force_checkpoint(p);
	if (p->rules_missing)
		tell_failure(p, &why, &e);
	else
		tell_restored(p, &why);
	return !p->rules_missing;
}

/* Arms the timer for the next look. */
static void check(struct proxy *p)
{
	uint64_t since_us = clock_now_us() - p->rules_restored_us;

	if (p->rules_restored_us && since_us < GAP_US)
		loop_timer_arm(p->rules_timer, GAP_US - since_us);
	else
		loop_timer_arm(p->rules_timer, make_sure(p) ? LOOK_US : RETRY_US);
}

static void on_change(void *arg, int fd, uint32_t revents)
{
	struct proxy *p = arg;

	(void)revents;
	pthread_mutex_lock(&p->lock);
	if (rules_watch_read(fd, &p->rules)) {
		check(p);
		proxy_settle(p);
	}
	pthread_mutex_unlock(&p->lock);
}

/* iptables-legacy tells nobody of changes; but what a protected guest sends we should see. */
static bool goes_past_us(struct proxy *p)
{
	bool past = false;

	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];
		struct rules_traffic now = {.queued = o->frames_out};

		if (!rules_sent(o->tap.name, &now.sent))
			past |= rules_bypassed(&o->traffic, now);
	}
	return past && p->side == SIDE_PRIMARY;
}

static void on_timer(void *arg)
{
	struct proxy *p = arg;
	bool due;

	pthread_mutex_lock(&p->lock);
	due = p->rules_missing ||
	      (p->rules_restored_us && clock_now_us() - p->rules_restored_us < LOOK_US);
	if (goes_past_us(p) || due) {
		check(p);
		proxy_settle(p);
	} else {
		loop_timer_arm(p->rules_timer, LOOK_US);
	}
	pthread_mutex_unlock(&p->lock);
}

int guard_open(struct proxy *p, struct err *e)
{
	int fd = rules_watch_open(e);

	p->rules_watch_fd = fd;
	if (fd < 0)
		return fd;
	if (loop_add_io(p->loop, &p->rules_watch, fd, EPOLLIN, on_change, p) ||
	    loop_add_timer(p->loop, &p->rules_timer, on_timer, p))
		return err_errno(e, ENOMEM, "proxy");
	loop_timer_arm(p->rules_timer, LOOK_US);
	return 0;
}

void guard_close(struct proxy *p)
{
	loop_src_free(&p->rules_watch);
	loop_src_free(&p->rules_timer);
	close_fd(&p->rules_watch_fd);
}
