// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose guest may be heard without the other host's word: what the arbiter is asked, and what follows. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define ASK_AGAIN_US (2 * USEC_PER_SEC)

/* ---- asking ---- */

/*
 * ARP and the like go on in a pause, but the other side may live soon after we have asked (S3). It asks
 * by a fifth of peer_timeout_ms later than we do, session.c: an answer that comes before costs the guest
 * no frame.
 */
static uint64_t shut_after_us(const struct daemon *d)
{
	return d->config->peer_timeout_ms * USEC_PER_MSEC / 10;
}

static bool needs_to_shut(const struct daemon *d)
{
	return d->role == ROLE_PRIMARY && d->state == FSM_PAUSED && !d->alone;
}

static void on_shut_timer(void *arg)
{
	struct daemon *d = arg;

	if (needs_to_shut(d))
		daemon_packets_shut(d);
}

int daemon_alone_init(struct daemon *d)
{
	return loop_add_timer(d->loop, &d->shut_timer, on_shut_timer, d);
}

/* Who holds nothing whole cannot come to life; and where nobody decides, the operator may have done so
 * beforehand. */
static bool is_certain(const struct daemon *d, bool unshared)
{
	const struct config *c = d->config;

	if (d->role == ROLE_SECONDARY)
		return d->peer_dead;
	return d->state != FSM_GIVEN &&
	       (unshared || (c->solo_allowed && c->arbiter == ARBITER_NONE));
}

void daemon_ask(struct daemon *d, enum asks asks)
{
	bool primary = d->role == ROLE_PRIMARY;
	bool unshared = primary && !primary_peer_may_hold(d->primary);
	struct arbiter_claim c = {.session = unshared ? 0 : d->session,
				  .primary = primary,
				  .force = asks == ASKS_FORCED,
				  .fresh = asks == ASKS_FRESH,
				  .reason = asks == ASKS_FRESH ? ARBITER_START : ARBITER_LOST};

	if (asks == ASKS_CERTAIN || asks == ASKS_FORCED)
		d->peer_dead = true;
	c.certain = asks != ASKS_FRESH && (asks == ASKS_CERTAIN || is_certain(d, unshared));
	if (needs_to_shut(d) && asks == ASKS && !c.certain)
		loop_timer_arm(d->shut_timer, shut_after_us(d));
	arbiter_claim(d->arbiter, &c);
}

static void note_answer(struct daemon *d, const char *text)
{
	bool news = strcmp(d->arbiter_says, text) != 0;

	snprintf(d->arbiter_says, sizeof(d->arbiter_says), "%s", text);
	if (news && text[0])
		log_warn("arbiter", "%s", text);
}

static void on_won(void *arg)
{
	struct daemon *d = arg;

	note_answer(d, "");
	daemon_event(d, FSM_EV_WON, NULL);
}

static void on_lost(void *arg, const char *reason)
{
	struct daemon *d = arg;

	note_answer(d, reason);
	daemon_event(d, FSM_EV_LOST, reason);
}

static void on_ended(void *arg, const char *reason)
{
	struct daemon *d = arg;

	note_answer(d, reason);
	daemon_event(d, FSM_EV_ENDED, reason);
}

static void on_hold(void *arg, const char *reason)
{
	struct daemon *d = arg;

	note_answer(d, reason);
	daemon_event(d, FSM_EV_HOLD, reason);
}

/* Nobody has said yes: this side stays as it is, and lets nothing out. */
static void on_unknown(void *arg, const char *reason)
{
	struct daemon *d = arg;

	note_answer(d, reason);
	on_shut_timer(d);
	daemon_answer_switch(d, -EAGAIN, reason);
	daemon_ask_later(d, ASK_AGAIN_US);
}

const struct arbiter_handlers daemon_arbiter_handlers = {
	.won = on_won, .lost = on_lost, .ended = on_ended, .hold = on_hold, .unknown = on_unknown};

/* ---- what follows ---- */

void daemon_let_out(struct daemon *d)
{
	loop_timer_disarm(d->recover_timer);
	daemon_answer_switch(d, 0, NULL);
	/* The first checkpoint has gone out meanwhile, and the peer may come to life with it: what is
	 * said from here on waits for its word (S1). */
	if (d->state == FSM_ACTIVE && primary_peer_may_hold(d->primary))
		return;
	d->alone = true;
	d->muted = false;
	if (d->state == FSM_FAILOVER)
		return;
	if (!d->started) {
		d->started = true;
		daemon_packets_pass(d);
		daemon_run_guest(d);
		link_dial(d->link);
	} else if (d->state == FSM_ACTIVE) {
		daemon_packets_speak(d);
	} else {
		daemon_packets_pass(d);
	}
}

void daemon_mute(struct daemon *d)
{
	d->alone = false;
	d->muted = true;
	if (d->state == FSM_FAILOVER)
		return; /* it is not heard yet */
	daemon_packets_shut(d);
	log_warn("packets", "the guest's output is held: %s", d->arbiter_says);
}

/* From here on the other side may go on without us, so nothing leaves without its word. */
void daemon_share(struct daemon *d)
{
	daemon_packets_unshut(d);
	d->alone = d->muted = false;
	arbiter_share(d->arbiter, d->session);
	daemon_pause_over(d);
	note_answer(d, "");
}

void daemon_go_solo(struct daemon *d)
{
	primary_stop(d->primary);
	primary_set_peer_holds(d->primary, false);
	d->session = 0;
	d->alone = true;
	d->muted = false;
	daemon_pause_over(d);
	daemon_packets_pass(d);
	daemon_answer_switch(d, 0, NULL);
	link_down(d->link); /* a greeting under way still offers the session */
	link_dial(d->link);
	daemon_redeliver_term(d);
}

/*
 * The guest lives on the other host, which went on from its checkpoint: what ours did since then nobody
 * has seen.
 */
void daemon_yield(struct daemon *d, const char *reason)
{
	log_warn("failover", "this host's guest is given up: %s", reason);
	daemon_packets_forget(d);
	daemon_session_end(d);
	arbiter_drop(d->arbiter);
	if (d->started)
		daemon_stop_guest(d);
	d->role = ROLE_SECONDARY;
	d->started = true; /* by the one that lives */
	d->session = 0;
	d->alone = d->muted = d->guest_runs = false;
	primary_set_peer_holds(d->primary, false);
	daemon_pause_over(d);
	daemon_answer_switch(d, -ECANCELED, reason);
	sd_notifyf(0, "STATUS=%s", role_name(d->role));
	daemon_redeliver_term(d);
}

/* ---- a guest that was given away ---- */

void daemon_take_back(struct daemon *d)
{
	primary_stop(d->primary);
	log_notice("failover", "the other host did not take the guest: it goes on here");
	daemon_packets_pass(d);
	if (!d->alone && d->state == FSM_ACTIVE)
		daemon_packets_shut(d);
	daemon_run_guest(d);
}

void daemon_become_solo(struct daemon *d)
{
	bool muted = d->muted;

	d->epoch = daemon_epoch(d);
	d->role = ROLE_PRIMARY;
	primary_set_peer_holds(d->primary, false); /* from another life as primary */
	d->guest_runs = d->started = true;
	d->session = 0;
	d->alone = !muted;
	daemon_pause_over(d);
	daemon_answer_switch(d, 0, NULL);
	log_notice("failover", "the guest runs here from checkpoint epoch=%llu",
		   (unsigned long long)d->epoch);
	if (muted) {
		daemon_packets_shut(d);
		daemon_ask(d, ASKS);
	}
	link_dial(d->link);
	daemon_redeliver_term(d);
}
