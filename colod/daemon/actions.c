// SPDX-License-Identifier: GPL-2.0-or-later
/* What the failover machine's actions do: the only place that moves the daemon from state to state.
 */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define LAST_WORDS_MS  200
#define QUIT_GRACE_MS  5000
#define START_RETRY_US (2 * USEC_PER_MSEC)

void daemon_end(struct daemon *d, int result, const char *reason)
{
	if (d->ending)
		return;
	d->ending = true;
	d->result = result;
	if (result)
		err_set(&d->result_err, -result, "%s", reason);
	daemon_answer_switch(d, -ECANCELED, "colod ends");
	sd_notify(0, "STOPPING=1");
	if (d->qemu)
		qemu_quit(d->qemu, QUIT_GRACE_MS);
	else
		loop_stop(d->loop, 0);
}

/* ---- sessions ---- */

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

static void start_session(struct daemon *d, int bulk_fd, uint64_t epoch, bool full)
{
	close_fd(&d->start_fd);
	d->start_fd = bulk_fd;
	d->start_epoch = epoch;
	d->start_full = full;
	d->has_early = false;
	try_start(d);
}

static void drop_session(struct daemon *d)
{
	close_fd(&d->start_fd);
	primary_stop(d->primary);
	secondary_stop(d->secondary);
	daemon_packets_detach(d);
	link_down(d->link);
}

static void redeliver_term(struct daemon *d)
{
	if (d->term_pending)
		daemon_event(d, FSM_EV_TERM, NULL);
}

/* ---- actions ---- */

static void act_start_sync(struct daemon *d)
{
	int fd = steal_fd(&d->start_fd);

	if (d->role == ROLE_SECONDARY) {
		secondary_stop(d->secondary); /* an earlier replica is void from here on */
		daemon_answer_switch(d, -ECANCELED, "the primary has begun a new full copy");
	} else {
		d->start_epoch = daemon_epoch(d);
	}
	start_session(d, fd, d->start_epoch, true);
}

/*
 * Held output may go only when the replica cannot come to life (S1, S3): it is known to be dead, it
 * never was whole, or the operator prefers a guest that goes on to one that is never in two minds.
 */
static bool may_go_solo(const struct daemon *d)
{
	return d->config->solo_allowed || !primary_peer_may_hold(d->primary);
}

static bool is_end_of_peer(enum fsm_event ev)
{
	return ev == FSM_EV_PEER_DEAD || ev == FSM_EV_PEER_LEFT || ev == FSM_EV_PEER_STOPPED;
}

/* At once, before a replica takes us for dead. Without one, what fails every time must not spin. */
static void redial(struct daemon *d, enum fsm_event ev)
{
	bool failed = ev == FSM_EV_SYNC_FAILED || ev == FSM_EV_LINK_LOST;

	if (failed && !primary_peer_may_hold(d->primary))
		link_dial_later(d->link);
	else
		link_dial(d->link);
}

static void act_drop_peer(struct daemon *d, enum fsm_event ev, const char *reason)
{
	drop_session(d);
	if (is_end_of_peer(ev))
		primary_set_peer_holds(d->primary, false);
	if (may_go_solo(d)) {
		daemon_packets_pass(d);
	} else {
		daemon_packets_hold(d);
		log_warn("packets",
			 "the guest's output is held until the peer is back: solo = forbid");
	}
	daemon_answer_switch(d, -ENOTCONN, reason);
	if (!d->term_pending)
		redial(d, ev);
	redeliver_term(d);
}

static void act_await_silence(struct daemon *d)
{
	secondary_link_lost(d->secondary);
	link_down(d->link);
	link_await_silence(d->link);
	daemon_answer_switch(d, -ENOTCONN, "the link to the primary broke");
}

static void act_go_live(struct daemon *d, enum fsm_event ev)
{
	/* The operator's word goes before the primary's: if it can hear us, its guest ends (S3). */
	if (ev == FSM_EV_OP_FORCE) {
		daemon_peer_send(d, WIRE_STOP, "the secondary was ordered to take over");
		link_flush(d->link, LAST_WORDS_MS);
	}
	link_down(d->link);
	secondary_go_live(d->secondary);
}

static void act_become_solo(struct daemon *d)
{
	d->epoch = daemon_epoch(d);
	d->role = ROLE_PRIMARY;
	primary_set_peer_holds(d->primary, false); /* from another life as primary */
	d->guest_runs = true;
	daemon_answer_switch(d, 0, NULL);
	log_notice("failover", "the guest runs here from checkpoint epoch=%llu",
		   (unsigned long long)d->epoch);
	link_dial(d->link);
	redeliver_term(d);
}

/*
 * The old primary keeps its stopped guest as the new replica; the new one runs its own at once. The
 * open connections serve on, in the other direction.
 */
static void act_swap_roles(struct daemon *d)
{
	int fd;

	if (d->role == ROLE_PRIMARY) {
		d->epoch = primary_epoch(d->primary);
		fd = primary_detach(d->primary);
		d->role = ROLE_SECONDARY;
	} else {
		d->epoch = secondary_epoch(d->secondary);
		fd = secondary_detach(d->secondary);
		d->role = ROLE_PRIMARY;
		primary_set_peer_holds(d->primary, true);
		daemon_packets_switch_and_run(d);
	}
	daemon_answer_switch(d, 0, NULL);
	if (fd < 0)
		daemon_event(d, FSM_EV_LINK_LOST, strerror(-fd));
	else
		start_session(d, fd, d->epoch, false);
	redeliver_term(d);
}

static const char *refusal(const struct daemon *d, enum fsm_event ev)
{
	if (d->role == ROLE_PRIMARY && ev == FSM_EV_OP_FORCE)
		return "the guest runs on this host already";
	switch (d->state) {
	case FSM_SETUP:
	case FSM_SOLO:
		return d->role == ROLE_PRIMARY ? "there is no secondary to switch to"
					       : "this host holds no checkpoint of the guest";
	case FSM_ACTIVE:
		return "the first full copy is not complete yet: wait for state colo";
	default:
		return "a failover is under way already";
	}
}

static void act_refuse(struct daemon *d, enum fsm_event ev)
{
	if (ev == FSM_EV_PEER_ASKS_SWITCH)
		daemon_peer_send(d, WIRE_SWITCH_REFUSED, refusal(d, ev));
	else
		daemon_answer_switch(d, -EBUSY, refusal(d, ev));
}

static void act_end(struct daemon *d, enum wire_type word, const char *reason, int result)
{
	bool silent = daemon_packets_silence(d); /* before the peer hears that it may speak (S3) */

	if (d->link) {
		if (silent || word == WIRE_STOP)
			daemon_peer_send(d, word, reason);
		link_flush(d->link, LAST_WORDS_MS);
		if (word == WIRE_GONE)
			daemon_packets_leave(d);
		link_down(d->link);
	}
	daemon_end(d, result, reason);
}

static void perform(struct daemon *d, enum fsm_action action, enum fsm_event ev, const char *reason)
{
	switch (action) {
	case FSM_NONE:
	case FSM_ACTION_COUNT:
		break;
	case FSM_ILLEGAL:
		log_warn("state", "event %s makes no sense here and is ignored",
			 fsm_event_name(ev));
		break;
	case FSM_REFUSE:
		act_refuse(d, ev);
		break;
	case FSM_START_SYNC:
		act_start_sync(d);
		break;
	case FSM_DROP_PEER:
	case FSM_ABORT_AND_DROP: /* ending the session sets a stopped guest running */
		act_drop_peer(d, ev, reason);
		break;
	case FSM_LOSE_REPLICA:
		drop_session(d);
		daemon_answer_switch(d, -ENOTCONN, reason);
		break;
	case FSM_AWAIT_SILENCE:
		act_await_silence(d);
		break;
	case FSM_GO_LIVE:
		act_go_live(d, ev);
		break;
	case FSM_BECOME_SOLO:
		act_become_solo(d);
		break;
	case FSM_BEGIN_SWITCH:
		primary_switch(d->primary);
		break;
	case FSM_ABORT_SWITCH: /* the engine has set the guest running again */
		daemon_peer_send(d, WIRE_SWITCH_REFUSED, reason);
		daemon_answer_switch(d, -EIO, reason);
		redeliver_term(d);
		break;
	case FSM_SWAP_ROLES:
		act_swap_roles(d);
		break;
	case FSM_ASK_PEER:
		if (daemon_peer_send(d, WIRE_SWITCH_REQUEST, NULL))
			daemon_answer_switch(d, -ENOTCONN,
					     "the primary cannot be reached; failover --force "
					     "takes over without it");
		break;
	case FSM_TELL_DEAD_AND_FAIL:
		act_end(d, WIRE_GONE, reason, -ECHILD);
		break;
	case FSM_END_BOTH:
		act_end(d, WIRE_STOP, reason, 0);
		break;
	case FSM_END_HERE:
		act_end(d, WIRE_LEAVE, reason, 0);
		break;
	case FSM_DEFER_TERM:
		break;
	}
}

void daemon_event(struct daemon *d, enum fsm_event ev, const char *reason)
{
	struct fsm_cell cell = fsm_step(d->role, d->state, ev);
	enum fsm_state from = d->state;
	const char *text = reason && reason[0] ? reason : fsm_event_name(ev);

	if (ev == FSM_EV_TERM)
		d->term_pending = true;
	if (cell.next != from || cell.action == FSM_SWAP_ROLES)
		log_state(fsm_state_name(from), fsm_state_name(cell.next), fsm_event_name(ev),
			  role_name(d->role), daemon_epoch(d), reason);
	if (reason && reason[0])
		err_set(&d->last_err, ECANCELED, "%s", reason);
	if (cell.action == FSM_REFUSE) { /* tells of the state we are in */
		perform(d, cell.action, ev, text);
		return;
	}
	d->state = cell.next;
	perform(d, cell.action, ev, text);
}

int daemon_actions_init(struct daemon *d)
{
	return loop_add_timer(d->loop, &d->start_timer, try_start, d);
}
