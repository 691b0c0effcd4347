// SPDX-License-Identifier: GPL-2.0-or-later
/* The failover tables: safety rules S2 to S4 over every cell and over every sequence of events. */
#include "tests/unit/unit.h"

#include "colod/core/fsm.h"

#define for_each_cell(role, s, ev)                                                                 \
	for (unsigned role = 0; role < ROLE_COUNT; role++)                                         \
		for (unsigned s = 0; s < FSM_STATE_COUNT; s++)                                     \
			for (unsigned ev = 0; ev < FSM_EVENT_COUNT; ev++)

/* The states that a role may be in. */
static bool is_state_of(enum role role, enum fsm_state s)
{
	if (role == ROLE_PRIMARY)
		return s != FSM_FAILOVER;
	return s != FSM_HANDOVER && s != FSM_SOLO;
}

static void explain(enum role role, enum fsm_state s, enum fsm_event ev)
{
	struct fsm_cell c = fsm_step(role, s, ev);

	print_error("%s in %s on %s: %s, then %s\n", role_name(role), fsm_state_name(s),
		    fsm_event_name(ev), fsm_action_name(c.action), fsm_state_name(c.next));
}

#define check_cell(cond, role, s, ev)                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			explain(role, s, ev);                                                      \
			fail_msg("broken: %s", #cond);                                             \
		}                                                                                  \
	} while (0)

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
static void setup_ignores_only_news_of_a_peer_that_is_not_there(void **state)
{
	static const bool may_ignore[FSM_EVENT_COUNT] = {
		[FSM_EV_LINK_LOST] = true,     [FSM_EV_PEER_DEAD] = true,
		[FSM_EV_PEER_SILENT] = true,   [FSM_EV_PEER_LEFT] = true,
		[FSM_EV_PEER_STOPPED] = true,  [FSM_EV_SYNC_FAILED] = true,
		[FSM_EV_SWITCH_FAILED] = true, [FSM_EV_GUEST_SHUTDOWN] = true,
	};

	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (s == FSM_SETUP && c.action == FSM_NONE)
			check_cell(may_ignore[ev], role, s, ev);
	}
	check_cell(fsm_step(ROLE_PRIMARY, FSM_SETUP, FSM_EV_GUEST_SHUTDOWN).action != FSM_NONE,
		   ROLE_PRIMARY, FSM_SETUP, FSM_EV_GUEST_SHUTDOWN);
	check_cell(fsm_step(ROLE_SECONDARY, FSM_SETUP, FSM_EV_PEER_STOPPED).action != FSM_NONE,
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
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (!is_state_of(role, s))
			continue;
		if (c.action == FSM_REFUSE || c.action == FSM_ILLEGAL)
			check_cell(c.next == s, role, s, ev);
	}
}

static void only_synced_ends_the_first_full_copy(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (s == FSM_ACTIVE)
			check_cell((c.next == FSM_COLO) == (ev == FSM_EV_SYNCED), role, s, ev);
	}
}

static void a_secondary_goes_live_for_few_reasons_and_only_when_protected(void **state)
{
	static const bool may[FSM_EVENT_COUNT] = {
		[FSM_EV_PEER_DEAD] = true,
		[FSM_EV_PEER_SILENT] = true,
		[FSM_EV_PEER_LEFT] = true,
		[FSM_EV_OP_FORCE] = true,
	};

	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool goes = c.action == FSM_GO_LIVE;

		check_cell(goes == (role == ROLE_SECONDARY && s == FSM_COLO && may[ev]), role, s,
			   ev);
		check_cell(goes == (c.next == FSM_FAILOVER && s != FSM_FAILOVER), role, s, ev);
	}
}

/* Losing the link is not losing the peer. */
static void a_lost_link_makes_a_secondary_wait_for_silence(void **state)
{
	struct fsm_cell c = fsm_step(ROLE_SECONDARY, FSM_COLO, FSM_EV_LINK_LOST);

	(void)state;
	assert_int_equal(c.action, FSM_AWAIT_SILENCE);
	assert_int_equal(c.next, FSM_COLO);
}

static void a_primary_without_its_peer_runs_on_alone(void **state)
{
	static const enum fsm_event trouble[] = {FSM_EV_LINK_LOST, FSM_EV_PEER_DEAD,
						 FSM_EV_PEER_SILENT, FSM_EV_PEER_LEFT,
						 FSM_EV_SYNC_FAILED};
	static const enum fsm_state states[] = {FSM_ACTIVE, FSM_COLO, FSM_HANDOVER};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(trouble); i++)
		for (size_t k = 0; k < ARRAY_SIZE(states); k++) {
			struct fsm_cell c = fsm_step(ROLE_PRIMARY, states[k], trouble[i]);
			/* In HANDOVER the guest stands still and must be set running. */
			enum fsm_action want =
				states[k] == FSM_HANDOVER ? FSM_ABORT_AND_DROP : FSM_DROP_PEER;

			check_cell(c.action == want && c.next == FSM_SOLO, ROLE_PRIMARY, states[k],
				   trouble[i]);
		}
}

/* S4: what a peer says or fails to say ends no guest, but for the word that it ends for good. */
static void no_peer_ends_a_guest_that_it_does_not_share(void **state)
{
	static const bool own[FSM_EVENT_COUNT] = {
		[FSM_EV_QEMU_DEAD] = true, [FSM_EV_GUEST_SHUTDOWN] = true, [FSM_EV_OP_STOP] = true,
		[FSM_EV_TERM] = true,      [FSM_EV_LIVE_FAILED] = true,
	};

	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool shared = role == ROLE_SECONDARY || s == FSM_COLO || s == FSM_HANDOVER;

		if (s == FSM_COMPLETED || c.next != FSM_COMPLETED)
			continue;
		check_cell(own[ev] || (ev == FSM_EV_PEER_STOPPED && shared), role, s, ev);
	}
}

static void qemus_death_always_ends_in_failure(void **state)
{
	(void)state;
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);

		if (s == FSM_COMPLETED)
			continue;
		check_cell((c.action == FSM_TELL_DEAD_AND_FAIL) ==
				   (ev == FSM_EV_QEMU_DEAD ||
				    (s == FSM_FAILOVER && role == ROLE_SECONDARY &&
				     ev == FSM_EV_LIVE_FAILED)),
			   role, s, ev);
		if (ev == FSM_EV_QEMU_DEAD)
			check_cell(c.next == FSM_COMPLETED, role, s, ev);
	}
}

/* ---- sequences ---- */

/* A daemon as the rules see it. @holds: what it has is a whole committed checkpoint. */
struct node {
	enum role role;
	enum fsm_state state;
	bool holds;
};

struct walk {
	bool seen[ROLE_COUNT][FSM_STATE_COUNT][2];
	bool acted[FSM_ACTION_COUNT];
	struct node todo[ROLE_COUNT * FSM_STATE_COUNT * 2];
	unsigned ntodo;
};

static void visit(struct walk *w, struct node n)
{
	bool *seen = &w->seen[n.role][n.state][n.holds];

	if (*seen)
		return;
	*seen = true;
	w->todo[w->ntodo++] = n;
}

/* What the daemon becomes by a cell, as colod/daemon/actions.c carries it out. */
static struct node after(struct node n, enum fsm_event ev)
{
	struct fsm_cell c = fsm_step(n.role, n.state, ev);

	if (c.action == FSM_START_SYNC || c.action == FSM_LOSE_REPLICA)
		n.holds = false;
	if (n.role == ROLE_SECONDARY && n.state == FSM_ACTIVE && ev == FSM_EV_SYNCED)
		n.holds = true;
	if (c.action == FSM_BECOME_SOLO || c.action == FSM_SWAP_ROLES) {
		n.role = n.role == ROLE_PRIMARY ? ROLE_SECONDARY : ROLE_PRIMARY;
		n.holds = n.role == ROLE_SECONDARY; /* its own stopped guest */
	}
	n.state = c.next;
	return n;
}

static void check_step(struct node n, enum fsm_event ev, struct node next)
{
	struct fsm_cell c = fsm_step(n.role, n.state, ev);

	check_cell(is_state_of(next.role, next.state), n.role, n.state, ev);
	/* S2 */
	check_cell(c.action != FSM_GO_LIVE || n.holds, n.role, n.state, ev);
	check_cell(next.role == ROLE_PRIMARY || next.state != FSM_COLO || next.holds, n.role,
		   n.state, ev);
	/* S3 */
	if (n.role == ROLE_SECONDARY && next.role == ROLE_PRIMARY)
		check_cell((ev == FSM_EV_HANDED_OVER && n.state == FSM_COLO) ||
				   (ev == FSM_EV_LIVE && n.state == FSM_FAILOVER),
			   n.role, n.state, ev);
	if (n.role == ROLE_PRIMARY && next.role == ROLE_SECONDARY)
		check_cell(ev == FSM_EV_HANDED_OVER && n.state == FSM_HANDOVER, n.role, n.state,
			   ev);
}

static void walk_from(struct walk *w, enum role role)
{
	visit(w, (struct node){role, FSM_SETUP, false});
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
	walk_from(&w, ROLE_PRIMARY);
	walk_from(&w, ROLE_SECONDARY);
	for (unsigned r = 0; r < ROLE_COUNT; r++)
		for (unsigned s = 0; s < FSM_STATE_COUNT; s++)
			assert_int_equal(w.seen[r][s][0] || w.seen[r][s][1], is_state_of(r, s));
	for (unsigned a = 0; a < FSM_ACTION_COUNT; a++)
		assert_true(w.acted[a]);
}

/* The same, sequence by sequence, without the model above: the tables alone. */
static uint64_t try_sequences(enum role role, enum fsm_state s, unsigned depth)
{
	uint64_t n = 1;

	assert_true(is_state_of(role, s));
	for (unsigned ev = 0; depth && ev < FSM_EVENT_COUNT; ev++) {
		struct fsm_cell c = fsm_step(role, s, ev);
		bool turns = c.action == FSM_SWAP_ROLES || c.action == FSM_BECOME_SOLO;

		n += try_sequences(turns ? 1 - role : role, c.next, depth - 1);
	}
	return n;
}

static void no_short_sequence_reaches_a_foreign_state(void **state)
{
	uint64_t want = 0, power = 1;

	(void)state;
	for (int i = 0; i <= 5; i++, power *= FSM_EVENT_COUNT)
		want += power;
	assert_int_equal(try_sequences(ROLE_PRIMARY, FSM_SETUP, 5), want);
	assert_int_equal(try_sequences(ROLE_SECONDARY, FSM_SETUP, 5), want);
}

/* ---- names and picture ---- */

static void names_are_there_and_differ(void **state)
{
	(void)state;
	for (unsigned a = 0; a < FSM_STATE_COUNT; a++)
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(fsm_state_name(a), fsm_state_name(b));
	for (unsigned a = 0; a < FSM_EVENT_COUNT; a++)
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(fsm_event_name(a), fsm_event_name(b));
	for (unsigned a = 0; a < FSM_ACTION_COUNT; a++)
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(fsm_action_name(a), fsm_action_name(b));
	assert_string_equal(role_name(ROLE_PRIMARY), "primary");
	assert_string_equal(role_name(ROLE_SECONDARY), "secondary");
}

static void draw(char *buf, size_t size)
{
	FILE *f = fmemopen(buf, size, "w");

	assert_non_null(f);
	fsm_dump_dot(f);
	assert_int_equal(fclose(f), 0);
	assert_in_range(strlen(buf), 1, size - 2);
}

static bool declares(const char *dot, const char *name)
{
	char line[64];

	snprintf(line, sizeof(line), "\n\t\t%s [label=", name);
	return strstr(dot, line);
}

static void the_picture_is_a_digraph_over_declared_nodes(void **state)
{
	static char dot[64 * KIB];
	char from[32], to[32];
	int depth = 0, edges = 0;

	(void)state;
	draw(dot, sizeof(dot));
	assert_memory_equal(dot, "digraph ", 8);
	assert_string_equal(dot + strlen(dot) - 3, "\n}\n");
	for (const char *p = dot; *p; p++) {
		depth += (*p == '{') - (*p == '}');
		assert_true(depth >= 0);
		if (*p != '\n' || sscanf(p, "\n\t%31[a-z_] -> %31[a-z_] [label=", from, to) != 2)
			continue;
		edges++;
		assert_true(declares(dot, from));
		assert_true(declares(dot, to));
	}
	assert_int_equal(depth, 0);
	assert_true(edges > 0);
}

static void the_picture_shows_every_change_of_state(void **state)
{
	static char dot[64 * KIB];

	(void)state;
	draw(dot, sizeof(dot));
	for_each_cell(role, s, ev)
	{
		struct fsm_cell c = fsm_step(role, s, ev);
		bool turns = c.action == FSM_SWAP_ROLES || c.action == FSM_BECOME_SOLO;
		char edge[200];

		if (!is_state_of(role, s) || c.next == s)
			continue;
		snprintf(edge, sizeof(edge), "\t%s_%s -> %s_%s [label=\"%s / %s\"];\n",
			 role_name(role), fsm_state_name(s), role_name(turns ? 1 - role : role),
			 fsm_state_name(c.next), fsm_event_name(ev), fsm_action_name(c.action));
		assert_non_null(strstr(dot, edge));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_is_written_out),
		cmocka_unit_test(setup_ignores_only_news_of_a_peer_that_is_not_there),
		cmocka_unit_test(nothing_follows_completed),
		cmocka_unit_test(a_refusal_or_a_senseless_event_changes_nothing),
		cmocka_unit_test(only_synced_ends_the_first_full_copy),
		cmocka_unit_test(a_secondary_goes_live_for_few_reasons_and_only_when_protected),
		cmocka_unit_test(a_lost_link_makes_a_secondary_wait_for_silence),
		cmocka_unit_test(a_primary_without_its_peer_runs_on_alone),
		cmocka_unit_test(no_peer_ends_a_guest_that_it_does_not_share),
		cmocka_unit_test(qemus_death_always_ends_in_failure),
		cmocka_unit_test(no_sequence_of_events_breaks_a_rule),
		cmocka_unit_test(no_short_sequence_reaches_a_foreign_state),
		cmocka_unit_test(names_are_there_and_differ),
		cmocka_unit_test(the_picture_is_a_digraph_over_declared_nodes),
		cmocka_unit_test(the_picture_shows_every_change_of_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
