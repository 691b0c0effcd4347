/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner half of rx.h: what the receiving thread's two files share. */
#ifndef CHECKPOINT_RX_PRIV_H
#define CHECKPOINT_RX_PRIV_H

#include "colod/checkpoint/rx.h"

int rx_read_bytes(struct rx *rx, void *buf, size_t len, struct err *e);

/* An empty stage for the next epoch. */
void rx_begin_epoch(struct rx *rx, uint64_t epoch);

/* The thread, in a new run. */
int rx_run(struct rx *rx, int fd, struct err *e);

/* rx-resume.c: what a run that goes on does first. Reports RESUME. */
int rx_shake_hands(struct rx *rx, struct err *e);

/* Nothing that came in part only, and was not sent again, may be committed (S2). */
int rx_check_whole(struct rx *rx, struct err *e);

#endif
