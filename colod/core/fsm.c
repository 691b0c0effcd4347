// SPDX-License-Identifier: GPL-2.0-or-later
/* The failover machine's step. The tables are in fsm-primary.c and fsm-secondary.c. */
#include "colod/core/fsm-table.h"

#include <assert.h>

struct fsm_cell fsm_step(enum role role, enum fsm_state state, enum fsm_event ev)
{
	assert(role < ROLE_COUNT && state < FSM_STATE_COUNT && ev < FSM_EVENT_COUNT);
	return role == ROLE_PRIMARY ? fsm_primary_table[state][ev] : fsm_secondary_table[state][ev];
}
