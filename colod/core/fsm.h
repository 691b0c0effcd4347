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
	FSM_SETUP,     /* no peer yet; a primary's guest runs unprotected */
	FSM_ACTIVE,    /* first full copy */
	FSM_COLO,      /* protected: the secondary holds a committed checkpoint */
	FSM_HANDOVER,  /* primary only: planned switch-over under way, guest stopped at its last
			  checkpoint */
	FSM_FAILOVER,  /* secondary only: going live */
	FSM_SOLO,      /* the guest runs here and has lost its peer */
	FSM_COMPLETED, /* over */
	FSM_STATE_COUNT,
};

enum fsm_event {
	FSM_EV_PEER_UP,      /* link established, both sides fit each other */
	FSM_EV_SYNCED,       /* the first checkpoint is committed and loaded */
	FSM_EV_LINK_LOST,    /* connection broken; whether the peer lives is unknown */
	FSM_EV_PEER_DEAD,    /* the peer's QEMU is known to have ended */
	FSM_EV_PEER_SILENT,  /* peer_timeout_ms without a word */
	FSM_EV_PEER_LEFT,    /* the peer took its leave in order */
	FSM_EV_PEER_STOPPED, /* the peer says that the guest has ended or is being stopped for good
			      */
	FSM_EV_SYNC_FAILED,  /* replication cannot go on with this peer */
	FSM_EV_QEMU_DEAD,    /* our own QEMU ended */
	FSM_EV_GUEST_SHUTDOWN,   /* our own guest shut itself down */
	FSM_EV_OP_SWITCH,        /* colo-ctl failover */
	FSM_EV_OP_FORCE,         /* colo-ctl failover --force */
	FSM_EV_OP_STOP,          /* colo-ctl stop */
	FSM_EV_TERM,             /* SIGTERM, SIGINT */
	FSM_EV_PEER_ASKS_SWITCH, /* the secondary's operator wants the switch-over */
	FSM_EV_HANDED_OVER,      /* HANDOVER sent (primary) or received (secondary) */
	FSM_EV_SWITCH_FAILED,    /* the final checkpoint failed; the guest can go on where it is */
	FSM_EV_LIVE,             /* failover done, the guest runs here */
	FSM_EV_LIVE_FAILED,      /* the guest could not be set running */
	FSM_EV_RESUMED,          /* the session goes on over a new link, protected */
	FSM_EV_RESUMED_COPY,     /* the same, within the first full copy */
	FSM_EVENT_COUNT,
};

enum fsm_action {
	FSM_NONE,
	FSM_ILLEGAL,       /* cannot happen by the protocol: log it, stay in the safe state named */
	FSM_REFUSE,        /* tell the operator (or peer) why not */
	FSM_START_SYNC,    /* primary: first full copy; secondary: receive it */
	FSM_DROP_PEER,     /* close the link, stop replicating, run on, look for a peer */
	FSM_LOSE_REPLICA,  /* secondary: what we hold is void; wait for a primary */
	FSM_AWAIT_SILENCE, /* secondary: go live only when the peer stays silent for peer_timeout_ms
			    */
	FSM_GO_LIVE,       /* secondary: finish a committed load, drop the stage, run the guest */
	FSM_BECOME_SOLO,   /* failover is done: take the primary's role, look for a peer */
	FSM_BEGIN_SWITCH,  /* primary: final checkpoint, guest stays stopped */
	FSM_ABORT_SWITCH,  /* primary: run the guest again, keep replicating */
	FSM_ABORT_AND_DROP,     /* primary: run the guest again, without the peer */
	FSM_SWAP_ROLES,         /* the planned switch-over is done */
	FSM_ASK_PEER,           /* secondary: ask the primary for the switch-over */
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

const char *role_name(enum role r);
const char *fsm_state_name(enum fsm_state s);
const char *fsm_event_name(enum fsm_event ev);
const char *fsm_action_name(enum fsm_action a);

/** fsm_dump_dot() - both tables as a Graphviz digraph. */
void fsm_dump_dot(FILE *f);

#endif
