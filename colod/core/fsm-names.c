// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of the failover machine's parts, and its picture. */
#include "base/util.h"
#include "colod/core/fsm.h"

static const char *const role_names[] = {"primary", "secondary"};

static const char *const state_names[] = {
	[FSM_SETUP] = "setup",
	[FSM_ACTIVE] = "active",
	[FSM_ACTIVE_PAUSED] = "active-paused",
	[FSM_COLO] = "colo",
	[FSM_HANDOVER] = "handover",
	[FSM_GIVEN] = "given",
	[FSM_PAUSED] = "paused",
	[FSM_RECOVER] = "recover",
	[FSM_FAILOVER] = "failover",
	[FSM_SOLO] = "solo",
	[FSM_COMPLETED] = "completed",
};

static const char *const event_names[] = {
	[FSM_EV_PEER_UP] = "peer_up",
	[FSM_EV_PEER_RESUMES] = "peer_resumes",
	[FSM_EV_PEER_LIVE] = "peer_live",
	[FSM_EV_SYNCED] = "synced",
	[FSM_EV_RESUMED] = "resumed",
	[FSM_EV_RESUMED_COPY] = "resumed_copy",
	[FSM_EV_LINK_LOST] = "link_lost",
	[FSM_EV_PEER_DEAD] = "peer_dead",
	[FSM_EV_PEER_LEFT] = "peer_left",
	[FSM_EV_PEER_STOPPED] = "peer_stopped",
	[FSM_EV_PEER_FAILED] = "peer_failed",
	[FSM_EV_PEER_PAUSES] = "peer_pauses",
	[FSM_EV_SYNC_FAILED] = "sync_failed",
	[FSM_EV_QEMU_DEAD] = "qemu_dead",
	[FSM_EV_GUEST_SHUTDOWN] = "guest_shutdown",
	[FSM_EV_RECOVER_TIMEOUT] = "recover_timeout",
	[FSM_EV_WON] = "won",
	[FSM_EV_LOST] = "lost",
	[FSM_EV_ENDED] = "ended",
	[FSM_EV_HOLD] = "hold",
	[FSM_EV_OP_SWITCH] = "op_switch",
	[FSM_EV_OP_FORCE] = "op_force",
	[FSM_EV_OP_STOP] = "op_stop",
	[FSM_EV_OP_PAUSE] = "op_pause",
	[FSM_EV_OP_RECOVER] = "op_recover",
	[FSM_EV_TERM] = "term",
	[FSM_EV_PEER_ASKS_SWITCH] = "peer_asks_switch",
	[FSM_EV_GIVEN] = "given",
	[FSM_EV_HANDED_OVER] = "handed_over",
	[FSM_EV_SWITCH_FAILED] = "switch_failed",
	[FSM_EV_LIVE] = "live",
	[FSM_EV_LIVE_FAILED] = "live_failed",
};

static const char *const action_names[] = {
	[FSM_NONE] = "none",
	[FSM_ILLEGAL] = "illegal",
	[FSM_REFUSE] = "refuse",
	[FSM_START_SYNC] = "start_sync",
	[FSM_PAUSE] = "pause",
	[FSM_PAUSE_BY_ORDER] = "pause_by_order",
	[FSM_PAUSE_VOID] = "pause_void",
	[FSM_DIAL] = "dial",
	[FSM_RESUME] = "resume",
	[FSM_RESUMED] = "resumed",
	[FSM_DROP_PEER] = "drop_peer",
	[FSM_LOSE_REPLICA] = "lose_replica",
	[FSM_ASK] = "ask",
	[FSM_ASK_CERTAIN] = "ask_certain",
	[FSM_ASK_FORCED] = "ask_forced",
	[FSM_ASK_FRESH] = "ask_fresh",
	[FSM_LET_OUT] = "let_out",
	[FSM_MUTE] = "mute",
	[FSM_SHARE] = "share",
	[FSM_GO_SOLO] = "go_solo",
	[FSM_YIELD] = "yield",
	[FSM_GO_LIVE] = "go_live",
	[FSM_BECOME_SOLO] = "become_solo",
	[FSM_BEGIN_SWITCH] = "begin_switch",
	[FSM_ABORT_SWITCH] = "abort_switch",
	[FSM_ABORT_AND_PAUSE] = "abort_and_pause",
	[FSM_ABORT_AND_ASK] = "abort_and_ask",
	[FSM_TAKE_BACK] = "take_back",
	[FSM_TAKE_BACK_AND_SYNC] = "take_back_and_sync",
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

bool fsm_is_state_of(enum role role, enum fsm_state s)
{
	if (role == ROLE_PRIMARY)
		return s != FSM_FAILOVER && s != FSM_ACTIVE_PAUSED;
	return s != FSM_HANDOVER && s != FSM_GIVEN && s != FSM_SOLO;
}

/* In dot's syntax names are words. */
static void print_node(FILE *f, enum role r, enum fsm_state s)
{
	fprintf(f, "%s_%u", role_names[r], (unsigned)s);
}

static void dump_role(FILE *f, enum role r)
{
	fprintf(f, "\tsubgraph cluster_%s {\n\t\tlabel=\"%s\";\n", role_names[r], role_names[r]);
	for (unsigned s = 0; s < FSM_STATE_COUNT; s++) {
		if (!fsm_is_state_of(r, s))
			continue;
		fprintf(f, "\t\t");
		print_node(f, r, s);
		fprintf(f, " [label=\"%s\"];\n", state_names[s]);
	}
	fprintf(f, "\t}\n");
}

static enum role role_after(enum role r, enum fsm_action a)
{
	if (a == FSM_SWAP_ROLES || a == FSM_BECOME_SOLO)
		return 1 - r;
	return a == FSM_YIELD ? ROLE_SECONDARY : r;
}

/* One edge for all that leads from one state to another: the picture shows states, its labels cells. */
static void dump_edge(FILE *f, enum role r, enum fsm_state s, enum role to, enum fsm_state next)
{
	bool begun = false;

	for (unsigned ev = 0; ev < FSM_EVENT_COUNT; ev++) {
		struct fsm_cell c = fsm_step(r, s, ev);

		if (!worth_drawing(s, &c) || role_after(r, c.action) != to || c.next != next)
			continue;
		if (!begun) {
			fprintf(f, "\t");
			print_node(f, r, s);
			fprintf(f, " -> ");
			print_node(f, to, next);
			fprintf(f, " [label=\"");
		}
		begun = true;
		fprintf(f, "%s / %s\\l", event_names[ev], action_names[c.action]);
	}
	if (begun)
		fprintf(f, "\"];\n");
}

static void dump_edges(FILE *f, enum role r)
{
	for (unsigned s = 0; s < FSM_STATE_COUNT; s++) {
		if (!fsm_is_state_of(r, s))
			continue;
		for (unsigned to = 0; to < ROLE_COUNT; to++)
			for (unsigned next = 0; next < FSM_STATE_COUNT; next++)
				dump_edge(f, r, s, to, next);
	}
}

void fsm_dump_dot(FILE *f)
{
	fprintf(f, "digraph colod_failover {\n"
		   "\tnode [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
		   "\tedge [fontname=\"sans-serif\", fontsize=9];\n");
	dump_role(f, ROLE_PRIMARY);
	dump_role(f, ROLE_SECONDARY);
	dump_edges(f, ROLE_PRIMARY);
	dump_edges(f, ROLE_SECONDARY);
	fprintf(f, "}\n");
}
