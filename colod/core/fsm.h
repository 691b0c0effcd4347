/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The failover state machine: two pure tables, one for each role, every state x event cell
 * explicit. */
#ifndef CORE_FSM_H
#define CORE_FSM_H

#include <stdbool.h>
#include <stdio.h>

enum role {
	ROLE_PRIMARY,
	ROLE_SECONDARY,
	ROLE_COUNT,
};

/* Names follow QEMU's MigrationStatus where it has one. */
enum fsm_state {
	FSM_SETUP,         /* no peer yet; a primary's guest is alone */
	FSM_ACTIVE,        /* first full copy */
	FSM_ACTIVE_PAUSED, /* secondary only: the same, while the link is broken */
	FSM_COLO,          /* protected: the secondary holds a committed checkpoint */
	FSM_HANDOVER,      /* primary only: planned switch-over under way, its last checkpoint */
	FSM_GIVEN,         /* primary only: the guest is given away, and not yet taken */
	FSM_PAUSED,        /* the link is broken; the primary's guest runs, its output is held */
	FSM_RECOVER,       /* the link is back; what the epoch in flight lacks is found out */
	FSM_FAILOVER,      /* secondary only: going live */
	FSM_SOLO,          /* primary only: it has lost its peer, and may be heard alone */
	FSM_COMPLETED,     /* over */
	FSM_STATE_COUNT,
};

enum fsm_event {
	/* the link */
	FSM_EV_PEER_UP,      /* established for a new session, both sides fit each other */
	FSM_EV_PEER_RESUMES, /* established, and both want to go on with the session */
	FSM_EV_PEER_LIVE,    /* contact, and the guest is heard on the other host */
	FSM_EV_SYNCED,       /* the first checkpoint is committed and loaded */
	FSM_EV_RESUMED,      /* the session goes on where it was: there is a committed checkpoint */
	FSM_EV_RESUMED_COPY, /* the same, in the first full copy */
	FSM_EV_LINK_LOST,    /* broken, or silent for peer_timeout_ms: the peer may live */
	FSM_EV_PEER_DEAD,    /* the peer's QEMU is known to have ended */
	FSM_EV_PEER_LEFT,    /* the peer took its leave in order */
	FSM_EV_PEER_STOPPED, /* the guest has ended or is being stopped for good, says the peer */
	FSM_EV_PEER_FAILED,  /* the secondary has given its replica up, and says so */
	FSM_EV_PEER_PAUSES,  /* the peer's operator pauses replication */
	FSM_EV_SYNC_FAILED,  /* this session cannot go on */
	/* the guest */
	FSM_EV_QEMU_DEAD,      /* our own QEMU ended */
	FSM_EV_GUEST_SHUTDOWN, /* our own guest shut itself down */
	/* who may be heard */
	FSM_EV_RECOVER_TIMEOUT, /* recover_timeout_ms since the loss, or time to ask again */
	FSM_EV_WON,             /* the arbiter: this host's guest may be heard alone */
	FSM_EV_LOST,            /* the arbiter: the other host's */
	FSM_EV_ENDED,           /* the arbiter: nobody's, it has ended for good */
	FSM_EV_HOLD,            /* the arbiter: what it said may be void soon */
	/* the operator */
	FSM_EV_OP_SWITCH,  /* colo-ctl failover */
	FSM_EV_OP_FORCE,   /* colo-ctl failover --force */
	FSM_EV_OP_STOP,    /* colo-ctl stop */
	FSM_EV_OP_PAUSE,   /* colo-ctl pause */
	FSM_EV_OP_RECOVER, /* colo-ctl recover */
	FSM_EV_TERM,       /* SIGTERM, SIGINT */
	/* planned switch-over and failover */
	FSM_EV_PEER_ASKS_SWITCH, /* the secondary's operator wants the switch-over */
	FSM_EV_GIVEN,            /* HANDOVER is sent */
	FSM_EV_HANDED_OVER,      /* TAKEN came (primary), HANDOVER came (secondary) */
	FSM_EV_SWITCH_FAILED,    /* the final checkpoint failed; the guest can go on where it is */
	FSM_EV_LIVE,             /* failover done, the guest runs here */
	FSM_EV_LIVE_FAILED,      /* the guest could not be set running */
	FSM_EVENT_COUNT,
};

enum fsm_action {
	FSM_NONE,
	FSM_ILLEGAL, /* cannot happen by the protocol: log it, go to the safe state named */
	FSM_REFUSE,  /* tell the operator (or peer) why not */

	/* sessions */
	FSM_START_SYNC,     /* primary: first full copy; secondary: receive it */
	FSM_PAUSE,          /* keep the session; the primary looks for its peer */
	FSM_PAUSE_BY_ORDER, /* keep the session; tell the peer; nothing more until the operator says */
	FSM_PAUSE_VOID,     /* end the session, look for the peer, for a full copy */
	FSM_DIAL,           /* primary: look for the peer again, after an order to pause */
	FSM_RESUME,         /* go on with the session on the new connections */
	FSM_RESUMED,        /* it goes on */
	FSM_DROP_PEER,      /* end the session, alone as before it, look for a peer */
	FSM_LOSE_REPLICA, /* secondary: what we hold is void; wait for a primary */

	/* who may be heard */
	FSM_ASK,         /* the arbiter; a primary lets nothing out until it has said yes */
	FSM_ASK_CERTAIN, /* the same; the peer is dead for sure */
	FSM_ASK_FORCED,  /* the same; the operator vouches for it */
	FSM_ASK_FRESH,   /* the same; our guest has just been started */
	FSM_LET_OUT,     /* primary: run the guest if it has not run yet, let its output out */
	FSM_MUTE,        /* primary: let nothing out */
	FSM_SHARE,       /* primary: from here on either side may ask */
	FSM_GO_SOLO,     /* primary: end the session, let the output out, look for a peer */
	FSM_YIELD,   /* primary: the guest lives on the other host: stop ours, be its secondary */
	FSM_GO_LIVE, /* secondary: finish a committed load, drop the stage, run the guest */
	FSM_BECOME_SOLO, /* failover is done: take the primary's role, look for a peer */

	/* planned switch-over */
	FSM_BEGIN_SWITCH,       /* primary: final checkpoint, guest stays stopped */
	FSM_ABORT_SWITCH,       /* primary: run the guest again, keep replicating */
	FSM_ABORT_AND_PAUSE,    /* primary: run the guest again, PAUSE_VOID */
	FSM_ABORT_AND_ASK,      /* primary: run the guest again, ASK_CERTAIN */
	FSM_TAKE_BACK,          /* primary: it was not taken: run it again, GO_SOLO */
	FSM_TAKE_BACK_AND_SYNC, /* primary: it was not taken: run it again, START_SYNC */
	FSM_SWAP_ROLES,         /* the planned switch-over is done */
	FSM_ASK_PEER,           /* secondary: ask the primary for the switch-over */

	/* ends */
	FSM_TELL_DEAD_AND_FAIL, /* our QEMU died: say so to the peer, end with failure */
	FSM_END_BOTH,           /* the guest ends on both hosts */
	FSM_END_HERE,           /* our QEMU ends; the peer is told that we leave */
	FSM_DEFER_TERM,         /* remember the signal until the move under way is done */
	FSM_ACTION_COUNT,
};

struct fsm_cell {
	enum fsm_action action;
	enum fsm_state next;
};

/** fsm_step() - the cell for an event; pure. */
struct fsm_cell fsm_step(enum role role, enum fsm_state state, enum fsm_event ev);

/** fsm_is_state_of() - whether @role is ever in @s. */
bool fsm_is_state_of(enum role role, enum fsm_state s);

const char *role_name(enum role r);
const char *fsm_state_name(enum fsm_state s);
const char *fsm_event_name(enum fsm_event ev);
const char *fsm_action_name(enum fsm_action a);

/** fsm_dump_dot() - both tables as a Graphviz digraph. */
void fsm_dump_dot(FILE *f);

#endif
