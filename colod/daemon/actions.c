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

enum arbiter_word { SAY_RESIGN, SAY_END, SAY_DROP };

static void say_to_arbiter(struct daemon *d, enum arbiter_word word)
{
	switch (word) {
	case SAY_RESIGN:
		arbiter_resign(d->arbiter);
		break;
	case SAY_END:
		arbiter_end(d->arbiter, d->session);
		break;
	case SAY_DROP:
		arbiter_drop(d->arbiter);
		break;
	}
	arbiter_flush(d->arbiter, DAEMON_LAST_WORDS_MS);
}

static void act_end(struct daemon *d, enum arbiter_word last, enum wire_type word,
		    const char *reason, int result)
{
	bool silent = daemon_packets_silence(d); /* before the peer hears that it may speak (S3) */

	if (d->arbiter)
		say_to_arbiter(d, last);
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

static void act_resumed(struct daemon *d)
{
	daemon_pause_over(d);
	/* A first copy: the guest is heard alone, if it may be. */
	if (d->role == ROLE_PRIMARY && !d->alone && !primary_peer_may_hold(d->primary))
		daemon_ask(d, ASKS_CERTAIN);
}

static void act_ask(struct daemon *d)
{
	daemon_ask(d, ASKS);
}

static void act_ask_fresh(struct daemon *d)
{
	daemon_ask(d, ASKS_FRESH);
}

static void act_begin_switch(struct daemon *d)
{
	primary_switch(d->primary);
}

/* The engine has set the guest running again. */
static void act_abort_switch(struct daemon *d, const char *reason)
{
	daemon_peer_send(d, WIRE_SWITCH_REFUSED, reason);
	daemon_answer_switch(d, -EIO, reason);
	daemon_redeliver_term(d);
}

static void act_take_back(struct daemon *d)
{
	daemon_take_back(d);
	daemon_go_solo(d);
}

static void act_take_back_and_sync(struct daemon *d)
{
	daemon_take_back(d);
	daemon_session_sync(d);
}

static void act_ask_peer(struct daemon *d)
{
	if (daemon_peer_send(d, WIRE_SWITCH_REQUEST, NULL))
		daemon_answer_switch(d, -ENOTCONN,
				     "the primary cannot be reached; failover --force "
				     "takes over without it");
}

/* A peer that goes on has to be able to; what would be won now would be nobody's. */
static enum arbiter_word leave_it(const struct daemon *d)
{
	return d->alone ? SAY_RESIGN : SAY_DROP;
}

static void act_tell_dead(struct daemon *d, const char *reason)
{
	act_end(d, leave_it(d), WIRE_GONE, reason, -ECHILD);
}

/*
 * The peer may not hear of it, and must not set the guest running again. A peer that has told us so knows
 * it, and may be about to take over by order.
 */
static void act_end_both(struct daemon *d, enum fsm_event ev, const char *reason)
{
	bool told = ev == FSM_EV_PEER_STOPPED || ev == FSM_EV_ENDED;

	act_end(d, told ? SAY_RESIGN : SAY_END, WIRE_STOP, reason, 0);
}

static void act_end_here(struct daemon *d, const char *reason)
{
	act_end(d, leave_it(d), WIRE_LEAVE, reason, 0);
}

static void act_illegal(struct daemon *d, enum fsm_event ev)
{
	(void)d;
	log_warn("state", "event %s makes no sense here and is ignored", fsm_event_name(ev));
}

/** struct act - what carries an action out, by what it has to know; none of them: nothing to do */
struct act {
	void (*plain)(struct daemon *d);
	void (*told)(struct daemon *d, const char *reason);
	void (*event)(struct daemon *d, enum fsm_event ev);
	void (*both)(struct daemon *d, enum fsm_event ev, const char *reason);
};

/* Without a default, so that the compiler names an action that nobody carries out. */
static struct act act_of(enum fsm_action action)
{
	switch (action) {
	case FSM_ILLEGAL:
		return (struct act){.event = act_illegal};
	case FSM_REFUSE:
		return (struct act){.event = act_refuse};
	case FSM_START_SYNC:
		return (struct act){.plain = daemon_session_sync};
	case FSM_PAUSE:
		return (struct act){.told = daemon_session_pause};
	case FSM_PAUSE_BY_ORDER:
		return (struct act){.both = daemon_session_pause_by_order};
	case FSM_PAUSE_VOID:
	case FSM_ABORT_AND_PAUSE: /* ending the session sets a stopped guest running */
		return (struct act){.told = daemon_session_pause_void};
	case FSM_DIAL:
		return (struct act){.plain = daemon_session_dial};
	case FSM_RESUME:
		return (struct act){.plain = daemon_session_resume};
	case FSM_RESUMED:
		return (struct act){.plain = act_resumed};
	case FSM_DROP_PEER:
		return (struct act){.told = daemon_session_drop};
	case FSM_LOSE_REPLICA:
		return (struct act){.told = daemon_session_lose_replica};
	case FSM_ASK:
		return (struct act){.plain = act_ask};
	case FSM_ASK_CERTAIN:
	case FSM_ABORT_AND_ASK:
		return (struct act){.plain = act_ask_certain};
	case FSM_ASK_FORCED:
		return (struct act){.plain = act_ask_forced};
	case FSM_ASK_FRESH:
		return (struct act){.plain = act_ask_fresh};
	case FSM_LET_OUT:
		return (struct act){.plain = daemon_let_out};
	case FSM_MUTE:
		return (struct act){.plain = daemon_mute};
	case FSM_SHARE:
		return (struct act){.plain = daemon_share};
	case FSM_GO_SOLO:
		return (struct act){.plain = daemon_go_solo};
	case FSM_YIELD:
		return (struct act){.told = daemon_yield};
	case FSM_GO_LIVE:
		return (struct act){.plain = act_go_live};
	case FSM_BECOME_SOLO:
		return (struct act){.plain = daemon_become_solo};
	case FSM_BEGIN_SWITCH:
		return (struct act){.plain = act_begin_switch};
	case FSM_ABORT_SWITCH:
		return (struct act){.told = act_abort_switch};
	case FSM_TAKE_BACK:
		return (struct act){.plain = act_take_back};
	case FSM_TAKE_BACK_AND_SYNC:
		return (struct act){.plain = act_take_back_and_sync};
	case FSM_SWAP_ROLES:
		return (struct act){.plain = act_swap_roles};
	case FSM_ASK_PEER:
		return (struct act){.plain = act_ask_peer};
	case FSM_TELL_DEAD_AND_FAIL:
		return (struct act){.told = act_tell_dead};
	case FSM_END_BOTH:
		return (struct act){.both = act_end_both};
	case FSM_END_HERE:
		return (struct act){.told = act_end_here};
	case FSM_NONE:
	case FSM_DEFER_TERM: /* daemon_event() has noted it */
	case FSM_ACTION_COUNT:
		break;
	}
	return (struct act){};
}

static void perform(struct daemon *d, enum fsm_action action, enum fsm_event ev, const char *reason)
{
	struct act act = act_of(action);

	if (act.plain)
		act.plain(d);
	else if (act.told)
		act.told(d, reason);
	else if (act.event)
		act.event(d, ev);
	else if (act.both)
		act.both(d, ev, reason);
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
