// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The failover tables of two hosts against each other, with their network, arbiter and operator: no
 * interleaving of up to so many steps breaks S1 to S4. COLOD_TEST_FULL=1 goes deeper.
 */
#include "tests/unit/fsm-model-search.h"

#include <limits.h>

#define SAMPLE_BITS 23 /* half of 2^23 states */
#define FULL_BITS   26
#define WAYS_BITS   20

/* A search takes many times as long under a sanitizer, which has no less to see in a shorter one. */
#ifdef __SANITIZE_ADDRESS__
#define MAX_DEPTH 16u
#else
#define MAX_DEPTH UINT_MAX
#endif

/* @depth, @full_depth: steps; those that are larger than any search gets end when nothing is new. */
struct profile {
	const char *what;
	enum arbiter_kind arbiter;
	struct m_budget budget;
	unsigned depth, full_depth;
};

static bool is_full(void)
{
	const char *full = getenv("COLOD_TEST_FULL");

	return full && *full;
}

static const char *const arbiters[] = {
	[ARBITER_NONE] = "none", [ARBITER_EXEC] = "exec", [ARBITER_ETCD] = "etcd"};

static void begin(const struct profile *p)
{
	m_rules = (struct m_rules){.arbiter = p->arbiter, .budget = p->budget, .step = fsm_step};
}

static void search(const struct profile *p)
{
	struct m_search s;

	begin(p);
	m_explore(&s, MIN(is_full() ? p->full_depth : p->depth, MAX_DEPTH),
		  is_full() ? FULL_BITS : SAMPLE_BITS);
	if (!s.broken)
		m_check_ways(&s, s.depth, WAYS_BITS);
	print_message("arbiter = %s, %s: %u states, depth %u%s\n", arbiters[p->arbiter], p->what,
		      s.seen.count, s.depth, s.ended ? ", which is all" : "");
	if (s.broken) {
		m_print_path(&s);
		fail_msg("%s", s.broken);
	}
	m_search_free(&s);
}

static void search_all(const struct profile *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		search(&p[i]);
}

static void no_interleaving_breaks_a_rule_where_the_operator_decides(void **state)
{
	static const struct profile profiles[] = {
		{"a cut, a crash, a start, an order",
		 ARBITER_NONE,
		 {.cuts = 1, .crashes = 1, .starts = 1, .orders = 1},
		 99,
		 99},
		{"two cuts, two orders", ARBITER_NONE, {.cuts = 2, .orders = 2}, 30, 99},
		{"a bit of all",
		 ARBITER_NONE,
		 {.cuts = 2, .crashes = 1, .starts = 1, .orders = 2, .failures = 1},
		 21,
		 26},
	};

	(void)state;
	search_all(profiles, ARRAY_SIZE(profiles));
}

static void no_interleaving_breaks_a_rule_where_a_command_decides(void **state)
{
	static const struct profile profiles[] = {
		{"a cut, a crash, a start",
		 ARBITER_EXEC,
		 {.cuts = 1, .crashes = 1, .starts = 1},
		 99,
		 99},
		{"two cuts, a late answer", ARBITER_EXEC, {.cuts = 2, .arbiter = 1}, 34, 99},
		{"a bit of all",
		 ARBITER_EXEC,
		 {.cuts = 2, .crashes = 1, .starts = 1, .orders = 1, .arbiter = 1, .failures = 1},
		 20,
		 24},
	};

	(void)state;
	search_all(profiles, ARRAY_SIZE(profiles));
}

static void no_interleaving_breaks_a_rule_where_etcd_decides(void **state)
{
	static const struct profile profiles[] = {
		{"a cut, a crash, a start",
		 ARBITER_ETCD,
		 {.cuts = 1, .crashes = 1, .starts = 1},
		 99,
		 99},
		{"a cut, a crash, etcd out of reach",
		 ARBITER_ETCD,
		 {.cuts = 1, .crashes = 1, .arbiter = 1},
		 99,
		 99},
		{"a cut, an order, etcd out of reach",
		 ARBITER_ETCD,
		 {.cuts = 1, .orders = 1, .arbiter = 1},
		 28,
		 99},
		{"a cut, an order, a start",
		 ARBITER_ETCD,
		 {.cuts = 1, .orders = 1, .starts = 1},
		 99,
		 99},
		{"a bit of all",
		 ARBITER_ETCD,
		 {.cuts = 2, .crashes = 1, .starts = 1, .orders = 1, .arbiter = 2, .failures = 1},
		 18,
		 22},
	};

	(void)state;
	search_all(profiles, ARRAY_SIZE(profiles));
}

/* ---- the model finds what is wrong ---- */

struct mutant {
	enum role role;
	enum fsm_state state;
	enum fsm_event ev;
	struct fsm_cell cell;
	enum arbiter_kind arbiter;
	struct m_budget budget;
	const char *rule; /* the beginning of what it has to break */
};

static const struct mutant *mutant;

static struct fsm_cell mutated_step(enum role role, enum fsm_state state, enum fsm_event ev)
{
	if (role == mutant->role && state == mutant->state && ev == mutant->ev)
		return mutant->cell;
	return fsm_step(role, state, ev);
}

static const struct mutant mutants[] = {
	/* a lost link taken for a lost peer */
	{ROLE_SECONDARY,
	 FSM_COLO,
	 FSM_EV_LINK_LOST,
	 {FSM_GO_LIVE, FSM_FAILOVER},
	 ARBITER_EXEC,
	 {.cuts = 1},
	 "S"},
	{ROLE_PRIMARY,
	 FSM_COLO,
	 FSM_EV_LINK_LOST,
	 {FSM_GO_SOLO, FSM_SOLO},
	 ARBITER_EXEC,
	 {.cuts = 1},
	 "S"},
	/* nobody asked */
	{ROLE_SECONDARY,
	 FSM_PAUSED,
	 FSM_EV_RECOVER_TIMEOUT,
	 {FSM_GO_LIVE, FSM_FAILOVER},
	 ARBITER_EXEC,
	 {.cuts = 1},
	 "S"},
	{ROLE_PRIMARY,
	 FSM_PAUSED,
	 FSM_EV_RECOVER_TIMEOUT,
	 {FSM_GO_SOLO, FSM_SOLO},
	 ARBITER_EXEC,
	 {.cuts = 1},
	 "S"},
	{ROLE_PRIMARY,
	 FSM_GIVEN,
	 FSM_EV_RECOVER_TIMEOUT,
	 {FSM_TAKE_BACK, FSM_SOLO},
	 ARBITER_EXEC,
	 {.cuts = 1, .orders = 1},
	 "S"},
	{ROLE_PRIMARY,
	 FSM_GIVEN,
	 FSM_EV_LINK_LOST,
	 {FSM_ABORT_AND_ASK, FSM_PAUSED},
	 ARBITER_NONE,
	 {.cuts = 1, .orders = 1},
	 "S"},
	/* a part that comes to life */
	{ROLE_SECONDARY,
	 FSM_ACTIVE,
	 FSM_EV_PEER_DEAD,
	 {FSM_ASK_CERTAIN, FSM_PAUSED},
	 ARBITER_NONE,
	 {.crashes = 1},
	 "S2"},
	{ROLE_SECONDARY,
	 FSM_ACTIVE,
	 FSM_EV_LINK_LOST,
	 {FSM_PAUSE, FSM_PAUSED},
	 ARBITER_EXEC,
	 {.cuts = 1},
	 "S2"},
	/* the arbiter not obeyed */
	{ROLE_PRIMARY,
	 FSM_PAUSED,
	 FSM_EV_LOST,
	 {FSM_GO_SOLO, FSM_SOLO},
	 ARBITER_ETCD,
	 {.cuts = 1},
	 "S"},
	{ROLE_SECONDARY,
	 FSM_PAUSED,
	 FSM_EV_WON,
	 {FSM_NONE, FSM_PAUSED},
	 ARBITER_NONE,
	 {.crashes = 1, .orders = 1},
	 "S4"},
	{ROLE_PRIMARY,
	 FSM_PAUSED,
	 FSM_EV_WON,
	 {FSM_NONE, FSM_PAUSED},
	 ARBITER_EXEC,
	 {.crashes = 1},
	 "S4"},
	{ROLE_SECONDARY,
	 FSM_COLO,
	 FSM_EV_PEER_DEAD,
	 {FSM_LOSE_REPLICA, FSM_SETUP},
	 ARBITER_NONE,
	 {.crashes = 1},
	 "S4"},
	/* what the peer may come to life with is not all that is heard */
	{ROLE_PRIMARY,
	 FSM_ACTIVE,
	 FSM_EV_SYNCED,
	 {FSM_LET_OUT, FSM_COLO},
	 ARBITER_NONE,
	 {.crashes = 1},
	 "S1"},
	/* a guest that was ended for good comes to life */
	{ROLE_SECONDARY,
	 FSM_PAUSED,
	 FSM_EV_ENDED,
	 {FSM_GO_LIVE, FSM_FAILOVER},
	 ARBITER_ETCD,
	 {.cuts = 1, .orders = 1},
	 "a guest is heard that"},
	/* a guest that lives elsewhere is not given up */
	{ROLE_PRIMARY,
	 FSM_PAUSED,
	 FSM_EV_PEER_LIVE,
	 {FSM_GO_SOLO, FSM_SOLO},
	 ARBITER_EXEC,
	 {.cuts = 1},
	 "S"},
};

static void a_wrong_cell_is_found(void **state)
{
	unsigned missed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mutants); i++) {
		const struct mutant *m = mutant = &mutants[i];
		struct m_search s;

		m_rules = (struct m_rules){
			.arbiter = m->arbiter, .budget = m->budget, .step = mutated_step};
		m_explore(&s, 99, SAMPLE_BITS);
		if (!s.broken)
			m_check_ways(&s, s.depth, WAYS_BITS);
		print_message("%s in %s on %s: %s: %s, after %u steps\n", role_name(m->role),
			      fsm_state_name(m->state), fsm_event_name(m->ev),
			      fsm_action_name(m->cell.action), s.broken ? s.broken : "NOT FOUND",
			      s.broken ? m_way_length(&s) : 0);
		if (!s.broken || strncmp(s.broken, m->rule, strlen(m->rule)) != 0)
			missed++;
		m_search_free(&s);
	}
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_interleaving_breaks_a_rule_where_the_operator_decides),
		cmocka_unit_test(no_interleaving_breaks_a_rule_where_a_command_decides),
		cmocka_unit_test(no_interleaving_breaks_a_rule_where_etcd_decides),
		cmocka_unit_test(a_wrong_cell_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
