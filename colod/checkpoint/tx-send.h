/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner half of tx.h: frames onto the bulk channel. */
#ifndef CHECKPOINT_TX_SEND_H
#define CHECKPOINT_TX_SEND_H

#include "colod/checkpoint/tx.h"

#include <sys/uio.h>

/**
 * tx_send_unsent() - send outbox pages until *budget_bytes is used up; with @may_hurry also until
 * tx->hurry. -EPIPE and friends mean that the link is gone.
 */
int tx_send_unsent(struct tx *tx, uint64_t *budget_bytes, bool may_hurry, struct err *e);

/** tx_write_iov() - all of @iov onto the bulk connection. */
int tx_write_iov(struct tx *tx, struct iovec *iov, int n, struct err *e);

/** tx_mark_unsent() - the content of an outbox slot has to be sent. */
void tx_mark_unsent(struct tx *tx, uint32_t slot);

/** tx_send_full() - go on with the first full copy within the budget. */
int tx_send_full(struct tx *tx, uint64_t *budget_bytes, struct err *e);

#endif
