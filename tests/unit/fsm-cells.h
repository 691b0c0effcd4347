/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking the failover tables cell by cell, for their tests. */
#ifndef TESTS_UNIT_FSM_CELLS_H
#define TESTS_UNIT_FSM_CELLS_H

#include "tests/unit/unit.h"

#include "colod/core/fsm.h"

#define for_each_cell(role, s, ev)                                                                 \
	for (unsigned role = 0; role < ROLE_COUNT; role++)                                         \
		for (unsigned s = 0; s < FSM_STATE_COUNT; s++)                                     \
			for (unsigned ev = 0; ev < FSM_EVENT_COUNT; ev++)

/* Only those of states that the role may be in. */
#define for_each_own_cell(role, s, ev) for_each_cell(role, s, ev) if (fsm_is_state_of(role, s))

static inline void explain(enum role role, enum fsm_state s, enum fsm_event ev)
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

static inline enum role role_after(enum role role, enum fsm_action a)
{
	if (a == FSM_SWAP_ROLES)
		return 1 - role;
	if (a == FSM_BECOME_SOLO)
		return ROLE_PRIMARY;
	return a == FSM_YIELD ? ROLE_SECONDARY : role;
}

#endif
