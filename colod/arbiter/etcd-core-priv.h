/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the host that asks etcd: what its lease and its steps need of each other. */
#ifndef ARBITER_ETCD_CORE_PRIV_H
#define ARBITER_ETCD_CORE_PRIV_H

#include "colod/arbiter/etcd-core.h"

enum etcd_step_event {
	EV_WANT, /* something else is wanted than before */
	EV_DONE,
	EV_BEHIND,
	EV_GONE,
	EV_FAILED,
	EV_TIMER,
	EV_COUNT,
};

/* etcd-core.c */
void etcd_lane_stop(struct etcd_lane *l);
struct etcd_request *etcd_lane_send(struct etcd_lane *l, enum etcd_request_kind kind, uint64_t now);
void etcd_lane_failed(const struct etcd_core *c, struct etcd_lane *l, uint64_t now);
uint64_t etcd_sure_until(const struct etcd_core *c, const struct etcd_lane *l,
			 const struct etcd_reply *reply);
void etcd_forget_lease(struct etcd_core *c);
void etcd_finish(struct etcd_core *c);
void etcd_won(struct etcd_core *c, uint64_t now);
void etcd_end_without(struct etcd_core *c, enum arbiter_answer answer, const char *reason);

/* etcd-steps.c; @reply only with the events of a reply. */
void etcd_step(struct etcd_core *c, enum etcd_step_event ev, uint64_t now,
	       const struct etcd_reply *reply);
void etcd_note_unsure(struct etcd_core *c);

#endif
