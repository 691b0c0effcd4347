/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's data side goes on over another connection. Runs on the worker thread. */
#ifndef CHECKPOINT_TX_RESUME_H
#define CHECKPOINT_TX_RESUME_H

#include "colod/checkpoint/tx.h"

/** struct tx_resumed - how a session goes on. */
struct tx_resumed {
	uint64_t epoch; /* that RESUME and RESUME_ACK name */
	bool committed; /* the secondary has committed the epoch in flight, and that it said so was lost */
	bool complete; /* it has all of the epoch in flight */
	bool closed;   /* NEW of the epoch in flight stands */
	uint64_t saved_pages, resent_pages;
};

/**
 * tx_resume() - take @fd in place of the connection that broke, hear what the secondary has received,
 * work out what is to be sent still, and tell it how the session goes on. May be repeated after an
 * error of the link. @closed: NEW of the epoch stands and its pages are final, but the first full
 * copy's are in guest RAM only: r->closed is false when such a page is missing while the guest may
 * have gone on. @sent: SEND has left, too. -EPROTO when the two sides do not fit each other.
 */
int tx_resume(struct tx *tx, int fd, bool closed, bool sent, struct tx_resumed *r, struct err *e);

#endif
