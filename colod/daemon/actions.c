// SPDX-License-Identifier: GPL-2.0-or-later
/* What the failover machine's actions do: the only place that moves the daemon from state to state.
 */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define QUIT_GRACE_MS 5000

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

void daemon_redeliver_term(struct daemon *d)
{
	if (d->term_pending)
		daemon_event(d, FSM_EV_TERM, NULL);
}

/* ---- actions ---- */

/* The operator's word goes before the primary's: if it can hear us, its guest ends (S3). */
static void act_ask_forced(struct daemon *d)
{
	if (d->role == ROLE_SECONDARY) {
		daemon_peer_send(d, WIRE_STOP, "the secondary was ordered to take over");
		link_flush(d->link, DAEMON_LAST_WORDS_MS);
		daemon_session_cut(d);
	}
	daemon_ask(d, ASKS_FORCED);
}

static void act_ask_certain(struct daemon *d)
{
	daemon_session_cut(d);
	if (d->role == ROLE_PRIMARY)
		primary_set_peer_holds(d->primary, false);
	daemon_ask(d, ASKS_CERTAIN);
	if (d->role == ROLE_PRIMARY)
		link_dial_later(d->link); /* it may come back */
}

static void act_go_live(struct daemon *d)
{
	loop_timer_disarm(d->recover_timer);
	link_down(d->link);
	secondary_go_live(d->secondary);
}

/*
 * The old primary keeps its stopped guest as the new replica; the new one runs its own at once. The
 * open connections serve on, in the other direction.
 */
static void act_swap_roles(struct daemon *d)
{
	int fd;

	d->started = true;
	if (d->role == ROLE_PRIMARY) {
		d->epoch = primary_epoch(d->primary);
		fd = primary_detach(d->primary);
		d->role = ROLE_SECONDARY;
	} else {
		d->epoch = secondary_epoch(d->secondary); /* which TAKEN tells */
		d->role = ROLE_PRIMARY;
		daemon_note_standing(d, STANDING_PROTECTED);
		daemon_peer_send(d, WIRE_TAKEN, NULL);
		fd = secondary_detach(d->secondary);
		primary_set_peer_holds(d->primary, true);
		daemon_packets_switch_and_run(d);
	}
	daemon_answer_switch(d, 0, NULL);
	if (fd < 0)
		daemon_event(d, FSM_EV_LINK_LOST, strerror(-fd));
	else
		daemon_session_start(d, fd, d->epoch, false);
	daemon_redeliver_term(d);
}

const char *daemon_refusal(const struct daemon *d, enum fsm_event ev)
{
	bool primary = d->role == ROLE_PRIMARY;

	if (ev == FSM_EV_OP_FORCE && primary)
		return "the guest runs on this host already";
	if (ev == FSM_EV_OP_RECOVER)
		return primary ? "the link is not paused"
			       : "this host is the secondary: the primary's colod looks for it";
	if (ev == FSM_EV_OP_PAUSE)
		return "there is no replication to pause";
	switch (d->state) {
	case FSM_SETUP:
	case FSM_SOLO:
		return primary ? "there is no secondary to switch to"
			       : "this host holds no checkpoint of the guest";
	case FSM_ACTIVE:
	case FSM_ACTIVE_PAUSED:
		return "the first full copy is not complete yet: wait for state colo";
	case FSM_PAUSED:
	case FSM_RECOVER:
		return primary ? "the link to the secondary is broken: failover --force lets this "
				 "host's guest go on alone"
			       : "the link to the primary is broken: failover --force takes over "
				 "without it";
	default:
		return "a failover is under way already";
	}
}

static void act_refuse(struct daemon *d, enum fsm_event ev)
{
	if (ev == FSM_EV_PEER_ASKS_SWITCH)
		daemon_peer_send(d, WIRE_SWITCH_REFUSED, daemon_refusal(d, ev));
	else
		daemon_answer_switch(d, -EBUSY, daemon_refusal(d, ev));
}

static void act_end(struct daemon *d, enum wire_type word, const char *reason, int result)
{
	bool silent = daemon_packets_silence(d); /* before the peer hears that it may speak (S3) */

	if (d->arbiter) {
		/* A peer that goes on has to be able to. */
		if (d->alone || word == WIRE_STOP)
			arbiter_resign(d->arbiter);
		else
			arbiter_drop(d->arbiter); /* what would be won now would be nobody's */
		arbiter_flush(d->arbiter, DAEMON_LAST_WORDS_MS);
	}
	if (d->link) {
		if (silent || word == WIRE_STOP)
			daemon_peer_send(d, word, reason);
		link_flush(d->link, DAEMON_LAST_WORDS_MS);
		if (word == WIRE_GONE)
			daemon_packets_leave(d);
		link_down(d->link);
	}
	daemon_end(d, result, reason);
}

/* What becomes of sessions and the link. False: not one of these. */
static bool perform_session(struct daemon *d, enum fsm_action action, enum fsm_event ev,
			    const char *reason)
{
	switch (action) {
	case FSM_START_SYNC:
		daemon_session_sync(d);
		return true;
	case FSM_PAUSE:
		daemon_session_pause(d, reason);
		return true;
	case FSM_PAUSE_BY_ORDER:
		daemon_session_pause_by_order(d, ev, reason);
		return true;
	case FSM_PAUSE_VOID:
	case FSM_ABORT_AND_PAUSE: /* ending the session sets a stopped guest running */
		daemon_session_pause_void(d, reason);
		return true;
	case FSM_DIAL:
		daemon_session_dial(d);
		return true;
	case FSM_RESUME:
		daemon_session_resume(d);
		return true;
	case FSM_RESUMED:
		daemon_pause_over(d);
		/* A first copy: the guest is heard alone, if it may be. */
		if (d->role == ROLE_PRIMARY && !d->alone && !primary_peer_may_hold(d->primary))
			daemon_ask(d, ASKS_CERTAIN);
		return true;
	case FSM_DROP_PEER:
		daemon_session_drop(d, reason);
		return true;
	case FSM_LOSE_REPLICA:
		daemon_session_lose_replica(d, reason);
		return true;
	default:
		return false;
	}
}

/* Whose guest may be heard. */
static bool perform_alone(struct daemon *d, enum fsm_action action, const char *reason)
{
	switch (action) {
	case FSM_ASK:
		daemon_ask(d, ASKS);
		return true;
	case FSM_ASK_CERTAIN:
	case FSM_ABORT_AND_ASK:
		act_ask_certain(d);
		return true;
	case FSM_ASK_FORCED:
		act_ask_forced(d);
		return true;
	case FSM_ASK_FRESH:
		daemon_ask(d, ASKS_FRESH);
		return true;
	case FSM_LET_OUT:
		daemon_let_out(d);
		return true;
	case FSM_MUTE:
		daemon_mute(d);
		return true;
	case FSM_SHARE:
		daemon_share(d);
		return true;
	case FSM_GO_SOLO:
		daemon_go_solo(d);
		return true;
	case FSM_YIELD:
		daemon_yield(d, reason);
		return true;
	case FSM_GO_LIVE:
		act_go_live(d);
		return true;
	case FSM_BECOME_SOLO:
		daemon_become_solo(d);
		return true;
	default:
		return false;
	}
}

static void perform(struct daemon *d, enum fsm_action action, enum fsm_event ev, const char *reason)
{
	if (perform_session(d, action, ev, reason) || perform_alone(d, action, reason))
		return;
	switch (action) {
	case FSM_ILLEGAL:
		log_warn("state", "event %s makes no sense here and is ignored",
			 fsm_event_name(ev));
		break;
	case FSM_REFUSE:
		act_refuse(d, ev);
		break;
	case FSM_BEGIN_SWITCH:
		primary_switch(d->primary);
		break;
	case FSM_ABORT_SWITCH: /* the engine has set the guest running again */
		daemon_peer_send(d, WIRE_SWITCH_REFUSED, reason);
		daemon_answer_switch(d, -EIO, reason);
		daemon_redeliver_term(d);
		break;
	case FSM_TAKE_BACK:
		daemon_take_back(d);
		daemon_go_solo(d);
		break;
	case FSM_TAKE_BACK_AND_SYNC:
		daemon_take_back(d);
		daemon_session_sync(d);
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
	default: /* NONE, DEFER_TERM */
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
	daemon_note(d);
}
