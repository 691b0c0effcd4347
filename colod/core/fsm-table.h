/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the failover tables are written down. */
#ifndef CORE_FSM_TABLE_H
#define CORE_FSM_TABLE_H

#include "colod/core/fsm.h"

#define TO(action_, next_)                                                                         \
	{                                                                                          \
		.action = FSM_##action_, .next = FSM_##next_                                       \
	}

/* Every cell is written out; a missing one would read as {NONE, SETUP}, which test-fsm forbids. */
extern const struct fsm_cell fsm_primary_table[FSM_STATE_COUNT][FSM_EVENT_COUNT];
extern const struct fsm_cell fsm_secondary_table[FSM_STATE_COUNT][FSM_EVENT_COUNT];

#endif
