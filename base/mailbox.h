/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Thread mailbox: an unbounded queue of intrusive items, woken through an eventfd. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "base/err.h"
#include "base/list.h"

#include <pthread.h>

/* Embedded in whatever is sent; the receiver owns the item once it has taken it. */
struct mail {
	struct list link;
};

struct mailbox {
	pthread_mutex_t lock;
	struct list items;
	int event_fd; /* readable while the box holds items */
};

int mailbox_init(struct mailbox *mb, struct err *e);
void mailbox_destroy(struct mailbox *mb);

/** mailbox_post() - append @m; any thread, never blocks, never allocates. */
void mailbox_post(struct mailbox *mb, struct mail *m);

/** mailbox_take() - the oldest item, or NULL when the box is empty. */
struct mail *mailbox_take(struct mailbox *mb);

/** mailbox_wait() - the oldest item; blocks until there is one. */
struct mail *mailbox_wait(struct mailbox *mb);

#endif
