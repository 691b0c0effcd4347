// SPDX-License-Identifier: GPL-2.0-or-later
/* The failover tables: safety rules S1 to S4 over every cell and over every sequence of events. */
#include "tests/unit/fsm-cells.h"

/* ---- single cells ---- */

/* A cell that was forgotten reads {NONE, SETUP}. */
static void every_cell_is_written_out(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		check_cell(s == FSM_SETUP || c.action != FSM_NONE || c.next != FSM_SETUP, role, s,
			   ev);
		check_cell(c.action < FSM_ACTION_COUNT && c.next < FSM_STATE_COUNT, role, s, ev);
	}
}

/* In SETUP the forgotten cell is invisible to the test above: name those that may do nothing. */
static void setup_ignores_only_what_does_not_concern_it(void **state)
{
	static const bool peer_is_not_there[FSM_EVENT_COUNT] = {
		[FSM_EV_LINK_LOST] = true,   [FSM_EV_PEER_DEAD] = true,
		[FSM_EV_PEER_LEFT] = true,   [FSM_EV_PEER_STOPPED] = true,
		[FSM_EV_PEER_FAILED] = true, [FSM_EV_PEER_PAUSES] = true,
		[FSM_EV_SYNC_FAILED] = true,
	};
	static const bool holds_nothing[FSM_EVENT_COUNT] = {
		[FSM_EV_PEER_LIVE] = true,
		[FSM_EV_GUEST_SHUTDOWN] = true,
		[FSM_EV_RECOVER_TIMEOUT] = true,
		[FSM_EV_WON] = true,
		[FSM_EV_LOST] = true,
		[FSM_EV_ENDED] = true,
		[FSM_EV_HOLD] = true,
		[FSM_EV_SWITCH_FAILED] = true,
	};

	(void)state;
	for_each_cell(role, s, ev)
	{
		bool ignored = fsm_step(role, s, ev).action == FSM_NONE;
		bool may = peer_is_not_there[ev] || (role == ROLE_SECONDARY && holds_nothing[ev]);

		if (s == FSM_SETUP)
			check_cell(!ignored || may, role, s, ev);
	}
	check_cell(fsm_step(ROLE_SECONDARY, FSM_SETUP, FSM_EV_PEER_STOPPED).action == FSM_END_HERE,
		   ROLE_SECONDARY, FSM_SETUP, FSM_EV_PEER_STOPPED);
}

static void nothing_follows_completed(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (s == FSM_COMPLETED)
			check_cell(c.action == FSM_NONE && c.next == FSM_COMPLETED, role, s, ev);
	}
}

static void a_refusal_or_a_senseless_event_changes_nothing(void **state)
{
	(void)state;
	for_each_own_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (c.action == FSM_REFUSE || c.action == FSM_ILLEGAL)
			check_cell(c.next == s, role, s, ev);
	}
}

/* Nothing is let out there, nobody comes to life there, and what ends a daemon still does. */
static void a_foreign_state_leads_to_a_safe_one(void **state)
{
	static const enum fsm_state safe[ROLE_COUNT] = {FSM_PAUSED, FSM_SETUP};

	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool ends = ev == FSM_EV_QEMU_DEAD || ev == FSM_EV_OP_STOP || ev == FSM_EV_TERM ||
			    (role == ROLE_PRIMARY ? ev == FSM_EV_GUEST_SHUTDOWN
						  : ev == FSM_EV_PEER_STOPPED);

		if (fsm_is_state_of(role, s))
			continue;
		check_cell(c.next == (ends ? FSM_COMPLETED : safe[role]), role, s, ev);
		check_cell(ends || c.action == FSM_ILLEGAL || c.action == FSM_REFUSE, role, s, ev);
	}
}

static void only_a_whole_checkpoint_ends_the_first_full_copy(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool whole = ev == FSM_EV_SYNCED || ev == FSM_EV_RESUMED;

		if (s == FSM_ACTIVE)
			check_cell((c.next == FSM_COLO) == whole, role, s, ev);
		/* S2: a part is no ground to ask on whose guest is heard. */
		if (role == ROLE_SECONDARY && s == FSM_ACTIVE)
			check_cell(c.next != FSM_PAUSED && c.next != FSM_RECOVER, role, s, ev);
		if (role == ROLE_SECONDARY && s == FSM_ACTIVE_PAUSED)
			check_cell(c.next != FSM_RECOVER &&
					   (c.next == FSM_PAUSED) == (ev == FSM_EV_SYNCED),
				   role, s, ev);
	}
}

/* ---- who may be heard ---- */

static bool lets_out(enum fsm_action a)
{
	return a == FSM_LET_OUT || a == FSM_GO_SOLO || a == FSM_TAKE_BACK || a == FSM_GO_LIVE;
}

/* S3: but for a peer that holds nothing whole, and so cannot. */
static void nobody_is_heard_alone_without_the_arbiters_word(void **state)
{
	static const bool peer_is_no_more[FSM_EVENT_COUNT] = {
		[FSM_EV_PEER_DEAD] = true,
		[FSM_EV_PEER_LEFT] = true,
		[FSM_EV_PEER_STOPPED] = true,
		[FSM_EV_PEER_FAILED] = true,
	};

	(void)state;
	for_each_own_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool drops = c.action == FSM_DROP_PEER;

		if (lets_out(c.action))
			check_cell(ev == FSM_EV_WON, role, s, ev);
		check_cell(drops ==
				   (role == ROLE_PRIMARY && s == FSM_ACTIVE && peer_is_no_more[ev]),
			   role, s, ev);
		if (c.next == FSM_SOLO && s != FSM_SOLO)
			check_cell(drops || lets_out(c.action) || c.action == FSM_BECOME_SOLO, role,
				   s, ev);
	}
}

static void a_secondary_goes_live_only_with_a_whole_checkpoint_that_won(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool may = role == ROLE_SECONDARY && (s == FSM_PAUSED || s == FSM_RECOVER) &&
			   ev == FSM_EV_WON;

		check_cell((c.action == FSM_GO_LIVE) == may, role, s, ev);
		check_cell((c.next == FSM_FAILOVER && s != FSM_FAILOVER) == may, role, s, ev);
		check_cell(
			(c.action == FSM_BECOME_SOLO) ==
				(role == ROLE_SECONDARY && s == FSM_FAILOVER && ev == FSM_EV_LIVE),
			role, s, ev);
	}
}

/* Losing the link is not losing the peer. */
static void a_lost_link_makes_nobody_live_and_ends_nobody(void **state)
{
	(void)state;
	for_each_own_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (ev != FSM_EV_LINK_LOST)
			continue;
		check_cell(c.next == s || c.next == FSM_PAUSED || c.next == FSM_ACTIVE_PAUSED, role,
			   s, ev);
		check_cell(c.action == FSM_NONE || c.action == FSM_PAUSE ||
				   c.action == FSM_ABORT_AND_PAUSE,
			   role, s, ev);
	}
}

static void a_session_that_loses_its_link_waits_for_it(void **state)
{
	static const struct {
		enum role role;
		enum fsm_state in, next;
	} rows[] = {
		{ROLE_PRIMARY, FSM_ACTIVE, FSM_PAUSED},
		{ROLE_PRIMARY, FSM_COLO, FSM_PAUSED},
		{ROLE_PRIMARY, FSM_RECOVER, FSM_PAUSED},
		{ROLE_PRIMARY, FSM_GIVEN, FSM_GIVEN}, /* the guest stands still there */
		{ROLE_SECONDARY, FSM_ACTIVE, FSM_ACTIVE_PAUSED},
		{ROLE_SECONDARY, FSM_COLO, FSM_PAUSED},
		{ROLE_SECONDARY, FSM_RECOVER, FSM_PAUSED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fsm_cell c = fsm_step(rows[i].role, rows[i].in, FSM_EV_LINK_LOST);

		check_cell(c.action == FSM_PAUSE && c.next == rows[i].next, rows[i].role,
			   rows[i].in, FSM_EV_LINK_LOST);
	}
}

/* Who is asked nothing has no answer to give. */
static void the_arbiter_is_asked_only_by_who_could_be_heard(void **state)
{
	(void)state;
	for_each_own_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool asks = c.action == FSM_ASK || c.action == FSM_ASK_CERTAIN ||
			    c.action == FSM_ASK_FORCED || c.action == FSM_ASK_FRESH ||
			    c.action == FSM_ABORT_AND_ASK;
		struct fsm_cell ended;

		if (!asks)
			continue;
		check_cell(role == ROLE_PRIMARY || s == FSM_COLO || s == FSM_PAUSED ||
				   s == FSM_RECOVER,
			   role, s, ev);
		/* On its answer, the guest is heard or given up. */
		check_cell(lets_out(fsm_step(role, c.next, FSM_EV_WON).action), role, s, ev);
		check_cell(fsm_step(role, c.next, FSM_EV_LOST).action ==
				   (role == ROLE_PRIMARY ? FSM_YIELD : FSM_LOSE_REPLICA),
			   role, s, ev);
		/* What ended for good neither runs on nor waits: it is over, or given up. */
		ended = fsm_step(role, c.next, FSM_EV_ENDED);
		check_cell(ended.next == FSM_COMPLETED || ended.action == FSM_YIELD, role, s, ev);
		if (c.action == FSM_ASK_FORCED)
			check_cell(ev == FSM_EV_OP_FORCE, role, s, ev);
		if (c.action == FSM_ASK_CERTAIN || c.action == FSM_ABORT_AND_ASK)
			check_cell(ev == FSM_EV_PEER_DEAD || ev == FSM_EV_PEER_LEFT ||
					   ev == FSM_EV_PEER_FAILED,
				   role, s, ev);
	}
}

/* S3: wherever a guest is heard because the arbiter said so; not where the peer's word releases it. */
static void an_arbiter_that_takes_its_word_back_is_obeyed(void **state)
{
	static const bool peers_word[FSM_STATE_COUNT] = {
		[FSM_COLO] = true,
		[FSM_HANDOVER] = true,
	};

	(void)state;
	for (unsigned s = 0; s < FSM_COMPLETED; s++) {
		struct fsm_cell hold = fsm_step(ROLE_PRIMARY, s, FSM_EV_HOLD);
		struct fsm_cell lost = fsm_step(ROLE_PRIMARY, s, FSM_EV_LOST);

		if (!fsm_is_state_of(ROLE_PRIMARY, s) || peers_word[s])
			continue;
		check_cell(lost.action == FSM_YIELD, ROLE_PRIMARY, s, FSM_EV_LOST);
		/* In GIVEN the guest stands still. */
		check_cell((hold.action == FSM_MUTE) == (s != FSM_GIVEN), ROLE_PRIMARY, s,
			   FSM_EV_HOLD);
	}
	check_cell(fsm_step(ROLE_SECONDARY, FSM_FAILOVER, FSM_EV_HOLD).action == FSM_MUTE,
		   ROLE_SECONDARY, FSM_FAILOVER, FSM_EV_HOLD);
	check_cell(fsm_step(ROLE_SECONDARY, FSM_FAILOVER, FSM_EV_LOST).action == FSM_MUTE,
		   ROLE_SECONDARY, FSM_FAILOVER, FSM_EV_LOST);
}

/* S1: from the first whole checkpoint on either side may come to life with it. */
static void a_protected_guest_is_shared(void **state)
{
	(void)state;
	for_each_own_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool enters = c.next == FSM_COLO && s != FSM_COLO;
		bool was_shared = s == FSM_HANDOVER || s == FSM_GIVEN;

		if (role == ROLE_PRIMARY && enters && !was_shared)
			check_cell(c.action == FSM_SHARE, role, s, ev);
		if (c.action == FSM_SHARE)
			check_cell(role == ROLE_PRIMARY && (c.next == FSM_COLO || c.next == s),
				   role, s, ev);
	}
}

/* ---- ends ---- */

/* S4: what a peer says or fails to say ends no guest, but for the word, to us or to the arbiter, that it ends
 * for good. */
static void no_peer_ends_a_guest_that_it_does_not_share(void **state)
{
	static const bool own[FSM_EVENT_COUNT] = {
		[FSM_EV_QEMU_DEAD] = true, [FSM_EV_GUEST_SHUTDOWN] = true, [FSM_EV_OP_STOP] = true,
		[FSM_EV_TERM] = true,      [FSM_EV_LIVE_FAILED] = true,
	};
	static const bool unshared[FSM_STATE_COUNT] = {
		[FSM_SETUP] = true, [FSM_ACTIVE] = true, [FSM_SOLO] = true};

	(void)state;
	for_each_own_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool shared = role == ROLE_SECONDARY ? s != FSM_FAILOVER : !unshared[s];

		if (s == FSM_COMPLETED || c.next != FSM_COMPLETED)
			continue;
		check_cell(own[ev] || (ev == FSM_EV_PEER_STOPPED && shared) ||
				   (ev == FSM_EV_ENDED && shared),
			   role, s, ev);
	}
}

static void whoever_ends_is_completed_and_the_reverse(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool ends = c.action == FSM_END_BOTH || c.action == FSM_END_HERE ||
			    c.action == FSM_TELL_DEAD_AND_FAIL;

		if (s != FSM_COMPLETED)
			check_cell(ends == (c.next == FSM_COMPLETED), role, s, ev);
	}
}

static void qemus_death_always_ends_in_failure(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool dead =
			ev == FSM_EV_QEMU_DEAD ||
			(s == FSM_FAILOVER && role == ROLE_SECONDARY && ev == FSM_EV_LIVE_FAILED);

		if (s != FSM_COMPLETED)
			check_cell((c.action == FSM_TELL_DEAD_AND_FAIL) == dead, role, s, ev);
	}
}

/* A signal waits only for a move that ends by itself, so that it is not forgotten. */
static void a_signal_is_put_off_only_in_a_move(void **state)
{
	(void)state;
	for_each_own_cell(role, s, ev)
	{
		bool defers = fsm_step(role, s, ev).action == FSM_DEFER_TERM;
		bool moves = s == FSM_HANDOVER || s == FSM_GIVEN || s == FSM_FAILOVER;

		check_cell(defers == (moves && ev == FSM_EV_TERM), role, s, ev);
	}
}

/* ---- sequences ---- */

/*
 * A daemon as the rules see it. @whole: what it has is a whole checkpoint, or the guest itself;
 * @alone: its guest is heard without the peer's word.
 */
struct node {
	enum role role;
	enum fsm_state state;
	bool whole, alone;
};

struct walk {
	bool seen[ROLE_COUNT][FSM_STATE_COUNT][2][2];
	bool acted[FSM_ACTION_COUNT];
	struct node todo[ROLE_COUNT * FSM_STATE_COUNT * 4];
	unsigned ntodo;
};

static void visit(struct walk *w, struct node n)
{
	bool *seen = &w->seen[n.role][n.state][n.whole][n.alone];

	if (*seen)
		return;
	*seen = true;
	w->todo[w->ntodo++] = n;
}

/* What the daemon becomes by a cell, as colod/daemon carries it out. */
static struct node after(struct node n, enum fsm_event ev)
{
	struct fsm_cell c = fsm_step(n.role, n.state, ev);
	bool replica = n.role == ROLE_SECONDARY;

	if (replica && (c.action == FSM_START_SYNC || c.action == FSM_LOSE_REPLICA))
		n.whole = false;
	if (replica && (ev == FSM_EV_SYNCED || (ev == FSM_EV_RESUMED && c.next == FSM_COLO)))
		n.whole = true;
	if (lets_out(c.action) || c.action == FSM_DROP_PEER || c.action == FSM_BECOME_SOLO)
		n.alone = !replica || c.action == FSM_BECOME_SOLO;
	/* PAUSE leaves a guest alone whose peer has nothing whole. */
	if (c.action == FSM_MUTE || c.action == FSM_SHARE || c.action == FSM_SWAP_ROLES)
		n.alone = false;
	if (c.action == FSM_YIELD)
		n.whole = n.alone = false;
	n.role = role_after(n.role, c.action);
	n.state = c.next;
	return n;
}

static void check_step(struct node n, enum fsm_event ev, struct node next)
{
	static const bool needs_whole[FSM_STATE_COUNT] = {[FSM_COLO] = true,
							  [FSM_PAUSED] = true,
							  [FSM_RECOVER] = true,
							  [FSM_FAILOVER] = true};
	static const bool not_alone[FSM_STATE_COUNT] = {
		[FSM_COLO] = true, [FSM_HANDOVER] = true, [FSM_GIVEN] = true};
	struct fsm_cell c = fsm_step(n.role, n.state, ev);

	check_cell(fsm_is_state_of(next.role, next.state), n.role, n.state, ev);
	/* S2 */
	check_cell(c.action != FSM_GO_LIVE || n.whole, n.role, n.state, ev);
	check_cell(!needs_whole[next.state] || next.whole, n.role, n.state, ev);
	check_cell(next.role == ROLE_SECONDARY || next.state == FSM_COMPLETED || next.whole, n.role,
		   n.state, ev);
	/* S3 */
	check_cell(!next.alone || (next.role == ROLE_PRIMARY && !not_alone[next.state]), n.role,
		   n.state, ev);
	check_cell(next.state != FSM_SOLO || next.alone, n.role, n.state, ev);
	if (n.role == ROLE_SECONDARY && next.role == ROLE_PRIMARY)
		check_cell((ev == FSM_EV_HANDED_OVER && n.state == FSM_COLO) ||
				   (ev == FSM_EV_LIVE && n.state == FSM_FAILOVER),
			   n.role, n.state, ev);
	if (n.role == ROLE_PRIMARY && next.role == ROLE_SECONDARY)
		check_cell((ev == FSM_EV_HANDED_OVER && n.state == FSM_GIVEN) ||
				   ((ev == FSM_EV_LOST || ev == FSM_EV_ENDED ||
				     ev == FSM_EV_PEER_LIVE) &&
				    next.state == FSM_SETUP),
			   n.role, n.state, ev);
}

static void walk_from(struct walk *w, struct node first)
{
	visit(w, first);
	while (w->ntodo) {
		struct node n = w->todo[--w->ntodo];

		for (unsigned ev = 0; ev < FSM_EVENT_COUNT; ev++) {
			struct node next = after(n, ev);

			check_step(n, ev, next);
			w->acted[fsm_step(n.role, n.state, ev).action] = true;
			visit(w, next);
		}
	}
}

/* The machine has few states, so that its closure covers sequences of any length. */
static void no_sequence_of_events_breaks_a_rule(void **state)
{
	struct walk w = {};

	(void)state;
	walk_from(&w, (struct node){ROLE_PRIMARY, FSM_SETUP, true, false});
	walk_from(&w, (struct node){ROLE_SECONDARY, FSM_SETUP, false, false});
	for (unsigned r = 0; r < ROLE_COUNT; r++)
		for (unsigned s = 0; s < FSM_STATE_COUNT; s++) {
			bool seen = w.seen[r][s][0][0] || w.seen[r][s][0][1] ||
				    w.seen[r][s][1][0] || w.seen[r][s][1][1];

			assert_int_equal(seen, fsm_is_state_of(r, s));
		}
	for (unsigned a = 0; a < FSM_ACTION_COUNT; a++)
		if (!w.acted[a])
			fail_msg("no cell does %s", fsm_action_name(a));
}

/* The same, sequence by sequence, without the model above: the tables alone. */
static uint64_t try_sequences(enum role role, enum fsm_state s, unsigned depth)
{
	uint64_t n = 1;

	assert_true(fsm_is_state_of(role, s));
	for (unsigned ev = 0; depth && ev < FSM_EVENT_COUNT; ev++) {
		struct fsm_cell c = fsm_step(role, s, ev);

		n += try_sequences(role_after(role, c.action), c.next, depth - 1);
	}
	return n;
}

static void no_short_sequence_reaches_a_foreign_state(void **state)
{
	uint64_t want = 0, power = 1;

	(void)state;
	for (int i = 0; i <= 4; i++, power *= FSM_EVENT_COUNT)
		want += power;
	assert_int_equal(try_sequences(ROLE_PRIMARY, FSM_SETUP, 4), want);
	assert_int_equal(try_sequences(ROLE_SECONDARY, FSM_SETUP, 4), want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_is_written_out),
		cmocka_unit_test(setup_ignores_only_what_does_not_concern_it),
		cmocka_unit_test(nothing_follows_completed),
		cmocka_unit_test(a_refusal_or_a_senseless_event_changes_nothing),
		cmocka_unit_test(a_foreign_state_leads_to_a_safe_one),
		cmocka_unit_test(only_a_whole_checkpoint_ends_the_first_full_copy),
		cmocka_unit_test(nobody_is_heard_alone_without_the_arbiters_word),
		cmocka_unit_test(a_secondary_goes_live_only_with_a_whole_checkpoint_that_won),
		cmocka_unit_test(a_lost_link_makes_nobody_live_and_ends_nobody),
		cmocka_unit_test(a_session_that_loses_its_link_waits_for_it),
		cmocka_unit_test(the_arbiter_is_asked_only_by_who_could_be_heard),
		cmocka_unit_test(an_arbiter_that_takes_its_word_back_is_obeyed),
		cmocka_unit_test(a_protected_guest_is_shared),
		cmocka_unit_test(no_peer_ends_a_guest_that_it_does_not_share),
		cmocka_unit_test(whoever_ends_is_completed_and_the_reverse),
		cmocka_unit_test(qemus_death_always_ends_in_failure),
		cmocka_unit_test(a_signal_is_put_off_only_in_a_move),
		cmocka_unit_test(no_sequence_of_events_breaks_a_rule),
		cmocka_unit_test(no_short_sequence_reaches_a_foreign_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
