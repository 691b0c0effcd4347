// SPDX-License-Identifier: GPL-2.0-or-later
/* Sessions of replication: begun, paused while the link is broken, resumed, ended. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define START_RETRY_US (2 * USEC_PER_MSEC)

/* ---- begin ---- */

static void try_start(void *arg)
{
	struct daemon *d = arg;
	bool idle = primary_is_idle(d->primary) && secondary_is_idle(d->secondary);

	if (d->start_fd < 0)
		return;
	if (!idle) {
		loop_timer_arm(d->start_timer, START_RETRY_US);
		return;
	}
	daemon_packets_attach(d);
	if (d->role == ROLE_PRIMARY)
		primary_start(d->primary, steal_fd(&d->start_fd), d->start_epoch, d->start_full);
	else
		secondary_start(d->secondary, steal_fd(&d->start_fd), d->start_epoch,
				d->start_full);
	/* After a switch-over the new primary was gone before we were ready to follow it. */
	if (d->state == FSM_FAILOVER)
		secondary_go_live(d->secondary);
	else if (d->role == ROLE_SECONDARY && d->paused_at_us)
		secondary_suspend(d->secondary);
	if (d->has_early) {
		d->has_early = false;
		daemon_engine_message(d, &d->early);
	}
}

/*
 * The peer may be ready before our engine is out of the session before. It says one thing only then,
 * READY or FAILED, and waits; FAILED may follow READY.
 */
void daemon_engine_message(struct daemon *d, const struct wire_msg *m)
{
	if (d->start_fd >= 0) {
		d->early = *m;
		d->has_early = true;
	} else if (d->role == ROLE_PRIMARY) {
		primary_message(d->primary, m);
	} else {
		secondary_message(d->secondary, m);
	}
}

void daemon_session_start(struct daemon *d, int bulk_fd, uint64_t epoch, bool full)
{
	close_fd(&d->start_fd);
	d->start_fd = bulk_fd;
	d->start_epoch = epoch;
	d->start_full = full;
	d->has_early = false;
	daemon_pause_over(d);
	try_start(d);
}

void daemon_session_sync(struct daemon *d)
{
	int fd = steal_fd(&d->start_fd);

	d->session = d->start_session;
	if (d->role == ROLE_SECONDARY) {
		arbiter_drop(d->arbiter);
		secondary_stop(d->secondary); /* an earlier replica is void from here on */
		daemon_answer_switch(d, -ECANCELED, "the primary has begun a new full copy");
	} else {
		primary_stop(d->primary);
		primary_set_peer_holds(d->primary, false);
		d->start_epoch = daemon_epoch(d);
		/* What the peer held it has just given up. */
		if (!d->alone)
			daemon_ask(d, ASKS_CERTAIN);
	}
	daemon_session_start(d, fd, d->start_epoch, true);
}

/* ---- pause ---- */

bool daemon_session_can_resume(const struct daemon *d, uint64_t session)
{
	if (!session || session != d->session || d->start_fd >= 0)
		return false;
	if (d->role == ROLE_PRIMARY)
		return d->state == FSM_PAUSED && primary_can_resume(d->primary);
	return (d->state == FSM_PAUSED || d->state == FSM_ACTIVE_PAUSED) &&
	       secondary_can_resume(d->secondary);
}

static void suspend_engine(struct daemon *d)
{
	/* What has not begun has nothing to go on with, but for the checkpoint that a new secondary
	 * stands at after a switch-over. */
	if (d->start_fd >= 0 && (d->start_full || d->role == ROLE_PRIMARY))
		close_fd(&d->start_fd);
	if (d->role == ROLE_PRIMARY)
		primary_suspend(d->primary);
	else if (d->start_fd < 0)
		secondary_suspend(d->secondary);
}

static void suspend(struct daemon *d)
{
	suspend_engine(d);
	daemon_packets_detach(d);
	link_down(d->link);
}

/*
 * The primary has let nothing out since it knew, but for what needs no word of ours, ARP above all;
 * it shuts that off when its time is over. A secondary that noticed the loss earlier, by a heartbeat,
 * must not be faster than that (S3).
 */
static uint64_t margin_us(const struct daemon *d)
{
	return d->role == ROLE_SECONDARY ? d->config->peer_timeout_ms * USEC_PER_MSEC / 5 : 0;
}

static void arm_recover(struct daemon *d)
{
	uint64_t now = clock_now_us(), due;

	if (d->by_order)
		return;
	due = d->paused_at_us + d->config->recover_timeout_ms * USEC_PER_MSEC + margin_us(d);
	loop_timer_arm(d->recover_timer, due > now ? due - now : 0);
}

static void on_recover_timeout(void *arg)
{
	struct daemon *d = arg;
	uint64_t limit = d->config->peer_timeout_ms * USEC_PER_MSEC + margin_us(d);
	uint64_t now = clock_now_us();
	uint64_t heard = link_last_heard_us(d->link);
	char reason[80];

	/* It is calling: one that goes live now would do so beside its living primary. */
	if (d->paused_at_us && heard > d->paused_at_us && now - heard < limit) {
		loop_timer_arm(d->recover_timer, heard + limit - now);
		return;
	}
	snprintf(reason, sizeof(reason), "the link has been down for %llu ms",
		 (unsigned long long)((now - d->paused_at_us) / USEC_PER_MSEC));
	daemon_event(d, FSM_EV_RECOVER_TIMEOUT, d->paused_at_us ? reason : NULL);
}

void daemon_ask_later(struct daemon *d, uint64_t us)
{
	if (!d->by_order)
		loop_timer_arm(d->recover_timer, us);
}

void daemon_pause_over(struct daemon *d)
{
	d->paused_at_us = 0;
	d->by_order = d->peer_dead = false;
	loop_timer_disarm(d->recover_timer);
}

/* What the guest says is released by a session's word or the arbiter's; the first we have lost. */
static void begin_pause(struct daemon *d, const char *reason)
{
	if (d->role == ROLE_PRIMARY && primary_peer_may_hold(d->primary))
		d->alone = false;
	if (!d->paused_at_us)
		d->paused_at_us = clock_now_us();
	daemon_answer_switch(d, -ENOTCONN, reason);
	arm_recover(d);
}

/* Links that end as soon as they are up, one after the other, lead nowhere: not at full speed. */
#define QUICK_LOSS_US    (1 * USEC_PER_SEC)
#define QUICK_LOSSES_MAX 5

static bool spins(struct daemon *d)
{
	bool quick = d->up_at_us && clock_now_us() - d->up_at_us < QUICK_LOSS_US;

	d->quick_losses = quick ? d->quick_losses + 1 : 0;
	return d->quick_losses > QUICK_LOSSES_MAX;
}

/* At once, before a replica takes us for dead. Without one, what fails every time must not spin. */
static void look_for_peer(struct daemon *d, bool later)
{
	if (d->role != ROLE_PRIMARY || d->by_order || d->ending)
		return;
	if (later)
		link_dial_later(d->link);
	else
		link_dial(d->link);
}

void daemon_session_pause(struct daemon *d, const char *reason)
{
	suspend(d);
	begin_pause(d, reason);
	look_for_peer(d, spins(d));
	daemon_redeliver_term(d);
}

void daemon_session_pause_by_order(struct daemon *d, enum fsm_event ev, const char *reason)
{
	if (ev == FSM_EV_OP_PAUSE) {
		daemon_peer_send(d, WIRE_PAUSE, "by order of the operator");
		link_flush(d->link, DAEMON_LAST_WORDS_MS);
	}
	suspend(d);
	d->by_order = true;
	arbiter_drop(d->arbiter);
	/* The peer may not have heard it, and go live. */
	if (d->role == ROLE_PRIMARY && ev == FSM_EV_OP_PAUSE && primary_peer_may_hold(d->primary))
		daemon_packets_shut(d);
	loop_timer_disarm(d->recover_timer);
	begin_pause(d, reason);
	log_notice("link",
		   "replication is paused by order; colo-ctl recover on the primary ends it");
}

/* Ending the session sets a guest running that stands still for a checkpoint. */
void daemon_session_end(struct daemon *d)
{
	close_fd(&d->start_fd);
	primary_stop(d->primary);
	secondary_stop(d->secondary);
	daemon_packets_detach(d);
	link_down(d->link);
}

void daemon_session_pause_void(struct daemon *d, const char *reason)
{
	daemon_session_end(d);
	begin_pause(d, reason);
	look_for_peer(d, spins(d) || !primary_peer_may_hold(d->primary));
	daemon_redeliver_term(d);
}

void daemon_session_dial(struct daemon *d)
{
	/* Without an order the peer's time goes on as well. */
	if (d->by_order || !d->paused_at_us)
		d->paused_at_us = clock_now_us();
	d->by_order = false;
	arm_recover(d);
	link_down(d->link); /* a dialing that has come far in its pauses */
	link_dial(d->link);
}

void daemon_session_found(struct daemon *d)
{
	begin_pause(d, "colod was started again");
	look_for_peer(d, false);
}

/* ---- go on ---- */

void daemon_session_resume(struct daemon *d)
{
	int fd = steal_fd(&d->start_fd);

	d->by_order = d->peer_dead = false;
	loop_timer_disarm(d->recover_timer);
	arbiter_drop(d->arbiter);
	daemon_answer_switch(d, -ECANCELED, "the link is back");
	daemon_packets_resume(d);
	if (!d->muted)
		daemon_packets_unshut(d);
	if (d->role == ROLE_PRIMARY)
		primary_resume(d->primary, fd);
	else
		secondary_resume(d->secondary, fd);
}

/* ---- end ---- */

void daemon_session_drop(struct daemon *d, const char *reason)
{
	daemon_session_end(d);
	d->session = 0;
	daemon_pause_over(d);
	primary_set_peer_holds(d->primary, false);
	if (d->alone)
		daemon_packets_pass(d);
	else
		daemon_ask(d, ASKS_CERTAIN);
	daemon_answer_switch(d, -ENOTCONN, reason);
	look_for_peer(d, true);
	daemon_redeliver_term(d);
}

void daemon_session_lose_replica(struct daemon *d, const char *reason)
{
	daemon_session_end(d);
	arbiter_drop(d->arbiter);
	d->session = 0;
	daemon_pause_over(d);
	daemon_answer_switch(d, -ENOTCONN, reason);
}

/*
 * The secondary keeps its replica, the primary what it knows; only the link and its sessions end. On the
 * packet connection the old host goes on: what still comes for the guest it passes on until ours has
 * joined the network (S5).
 */
void daemon_session_cut(struct daemon *d)
{
	if (d->role == ROLE_PRIMARY) {
		daemon_session_end(d);
	} else {
		suspend_engine(d);
		link_down(d->link);
	}
	if (!d->paused_at_us)
		d->paused_at_us = clock_now_us();
	d->by_order = false;
	loop_timer_disarm(d->recover_timer);
}

int daemon_session_init(struct daemon *d)
{
	int r = loop_add_timer(d->loop, &d->start_timer, try_start, d);

	return r ? r : loop_add_timer(d->loop, &d->recover_timer, on_recover_timeout, d);
}
