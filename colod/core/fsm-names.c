// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of the failover machine's parts, and its picture. */
#include "base/util.h"
#include "colod/core/fsm.h"

static const char *const role_names[] = {"primary", "secondary"};

static const char *const state_names[] = {
	[FSM_SETUP] = "setup",         [FSM_ACTIVE] = "active",     [FSM_COLO] = "colo",
	[FSM_HANDOVER] = "handover",   [FSM_FAILOVER] = "failover", [FSM_SOLO] = "solo",
	[FSM_COMPLETED] = "completed",
};

static const char *const event_names[] = {
	[FSM_EV_PEER_UP] = "peer_up",
	[FSM_EV_SYNCED] = "synced",
	[FSM_EV_LINK_LOST] = "link_lost",
	[FSM_EV_PEER_DEAD] = "peer_dead",
	[FSM_EV_PEER_SILENT] = "peer_silent",
	[FSM_EV_PEER_LEFT] = "peer_left",
	[FSM_EV_PEER_STOPPED] = "peer_stopped",
	[FSM_EV_SYNC_FAILED] = "sync_failed",
	[FSM_EV_QEMU_DEAD] = "qemu_dead",
	[FSM_EV_GUEST_SHUTDOWN] = "guest_shutdown",
	[FSM_EV_OP_SWITCH] = "op_switch",
	[FSM_EV_OP_FORCE] = "op_force",
	[FSM_EV_OP_STOP] = "op_stop",
	[FSM_EV_TERM] = "term",
	[FSM_EV_PEER_ASKS_SWITCH] = "peer_asks_switch",
	[FSM_EV_HANDED_OVER] = "handed_over",
	[FSM_EV_SWITCH_FAILED] = "switch_failed",
	[FSM_EV_LIVE] = "live",
	[FSM_EV_LIVE_FAILED] = "live_failed",
	[FSM_EV_RESUMED] = "resumed",
	[FSM_EV_RESUMED_COPY] = "resumed_copy",
};

static const char *const action_names[] = {
	[FSM_NONE] = "none",
	[FSM_ILLEGAL] = "illegal",
	[FSM_REFUSE] = "refuse",
	[FSM_START_SYNC] = "start_sync",
	[FSM_DROP_PEER] = "drop_peer",
	[FSM_LOSE_REPLICA] = "lose_replica",
	[FSM_AWAIT_SILENCE] = "await_silence",
	[FSM_GO_LIVE] = "go_live",
	[FSM_BECOME_SOLO] = "become_solo",
	[FSM_BEGIN_SWITCH] = "begin_switch",
	[FSM_ABORT_SWITCH] = "abort_switch",
	[FSM_ABORT_AND_DROP] = "abort_and_drop",
	[FSM_SWAP_ROLES] = "swap_roles",
	[FSM_ASK_PEER] = "ask_peer",
	[FSM_TELL_DEAD_AND_FAIL] = "tell_dead_and_fail",
	[FSM_END_BOTH] = "end_both",
	[FSM_END_HERE] = "end_here",
	[FSM_DEFER_TERM] = "defer_term",
};

_Static_assert(ARRAY_SIZE(state_names) == FSM_STATE_COUNT, "a state has no name");
_Static_assert(ARRAY_SIZE(event_names) == FSM_EVENT_COUNT, "an event has no name");
_Static_assert(ARRAY_SIZE(action_names) == FSM_ACTION_COUNT, "an action has no name");

const char *role_name(enum role r)
{
	return role_names[r];
}

const char *fsm_state_name(enum fsm_state s)
{
	return state_names[s];
}

const char *fsm_event_name(enum fsm_event ev)
{
	return event_names[ev];
}

const char *fsm_action_name(enum fsm_action a)
{
	return action_names[a];
}

/* Cells that neither move nor act would only hide the picture. */
static bool worth_drawing(enum fsm_state s, const struct fsm_cell *c)
{
	if (c->action == FSM_ILLEGAL)
		return false;
	return c->next != s || (c->action != FSM_NONE && c->action != FSM_REFUSE);
}

static void dump_role(FILE *f, enum role r)
{
	fprintf(f, "\tsubgraph cluster_%s {\n\t\tlabel=\"%s\";\n", role_names[r], role_names[r]);
	for (unsigned s = 0; s < FSM_STATE_COUNT; s++) {
		if ((r == ROLE_PRIMARY && s == FSM_FAILOVER) ||
		    (r == ROLE_SECONDARY && (s == FSM_HANDOVER || s == FSM_SOLO)))
			continue;
		fprintf(f, "\t\t%s_%s [label=\"%s\"];\n", role_names[r], state_names[s],
			state_names[s]);
	}
	fprintf(f, "\t}\n");
}

static void dump_edges(FILE *f, enum role r)
{
	for (unsigned s = 0; s < FSM_STATE_COUNT; s++) {
		if ((r == ROLE_PRIMARY && s == FSM_FAILOVER) ||
		    (r == ROLE_SECONDARY && (s == FSM_HANDOVER || s == FSM_SOLO)))
			continue;
		for (unsigned ev = 0; ev < FSM_EVENT_COUNT; ev++) {
			struct fsm_cell c = fsm_step(r, s, ev);
			bool swaps = c.action == FSM_SWAP_ROLES || c.action == FSM_BECOME_SOLO;
			enum role to = swaps ? 1 - r : r;

			if (worth_drawing(s, &c))
				fprintf(f, "\t%s_%s -> %s_%s [label=\"%s / %s\"];\n", role_names[r],
					state_names[s], role_names[to], state_names[c.next],
					event_names[ev], action_names[c.action]);
		}
	}
}

void fsm_dump_dot(FILE *f)
{
	fprintf(f, "digraph colod_failover {\n\trankdir=LR;\n\tnode [shape=box, style=rounded];\n");
	dump_role(f, ROLE_PRIMARY);
	dump_role(f, ROLE_SECONDARY);
	dump_edges(f, ROLE_PRIMARY);
	dump_edges(f, ROLE_SECONDARY);
	fprintf(f, "}\n");
}
