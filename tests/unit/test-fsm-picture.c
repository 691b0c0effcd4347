// SPDX-License-Identifier: GPL-2.0-or-later
/* The failover tables' names and their picture. */
#include "tests/unit/fsm-cells.h"

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
		if (*p != '\n' || sscanf(p, "\n\t%31[a-z_0-9] -> %31[a-z_0-9] [", from, to) != 2)
			continue;
		edges++;
		assert_true(declares(dot, from));
		assert_true(declares(dot, to));
	}
	assert_int_equal(depth, 0);
	assert_true(edges > 0);
}

/* The line of the edge that a cell belongs to, without its end. */
static bool edge_has(const char *dot, unsigned role, unsigned s, unsigned ev)
{
	struct fsm_cell c = fsm_step(role, s, ev);
	char begin[64], label[96];
	const char *line, *end, *at;

	snprintf(begin, sizeof(begin), "\t%s_%u -> %s_%u [label=\"", role_name(role), s,
		 role_name(role_after(role, c.action)), c.next);
	snprintf(label, sizeof(label), "%s / %s\\l", fsm_event_name(ev), fsm_action_name(c.action));
	line = strstr(dot, begin);
	end = line ? strchr(line, '\n') : NULL;
	at = line ? strstr(line, label) : NULL;
	return at && at < end;
}

static void the_picture_shows_every_change_of_state(void **state)
{
	static char dot[64 * KIB];

	(void)state;
	draw(dot, sizeof(dot));
	for_each_own_cell(role, s, ev) if (fsm_step(role, s, ev).next != s)
		check_cell(edge_has(dot, role, s, ev), role, s, ev);
}

/* The tests are run in the folder that has it. */
static void the_documented_picture_is_that_of_the_tables(void **state)
{
	static char dot[64 * KIB], documented[64 * KIB];
	FILE *f = fopen("docs/failover.dot", "r");
	size_t n;

	(void)state;
	assert_non_null(f);
	n = fread(documented, 1, sizeof(documented) - 1, f);
	fclose(f);
	documented[n] = 0;
	draw(dot, sizeof(dot));
	if (strcmp(dot, documented) != 0)
		fail_msg("docs/failover.dot is of other tables: make docs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_there_and_differ),
		cmocka_unit_test(the_picture_is_a_digraph_over_declared_nodes),
		cmocka_unit_test(the_picture_shows_every_change_of_state),
		cmocka_unit_test(the_documented_picture_is_that_of_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
