// SPDX-License-Identifier: GPL-2.0-or-later
/* Thread mailbox: a locked list; the eventfd is raised on the step from empty to filled. */
#include "base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *mb, struct err *e)
{
	mb->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mb->event_fd < 0)
		return err_errno(e, errno, "eventfd");
	pthread_mutex_init(&mb->lock, NULL);
	list_init(&mb->items);
	return 0;
}

void mailbox_destroy(struct mailbox *mb)
{
	if (mb->event_fd < 0)
		return;
	close(mb->event_fd);
	mb->event_fd = -1;
	pthread_mutex_destroy(&mb->lock);
}

void mailbox_post(struct mailbox *mb, struct mail *m)
{
	bool was_empty;

	pthread_mutex_lock(&mb->lock);
	was_empty = list_empty(&mb->items);
	list_add_tail(&mb->items, &m->link);
	if (was_empty)
		eventfd_write(mb->event_fd, 1);
	pthread_mutex_unlock(&mb->lock);
}

struct mail *mailbox_take(struct mailbox *mb)
{
	struct mail *m = NULL;
	eventfd_t unused;

	pthread_mutex_lock(&mb->lock);
	if (!list_empty(&mb->items)) {
		m = list_entry(mb->items.next, struct mail, link);
		list_del(&m->link);
	}
	if (list_empty(&mb->items))
		eventfd_read(mb->event_fd, &unused);
	pthread_mutex_unlock(&mb->lock);
	return m;
}

struct mail *mailbox_wait(struct mailbox *mb)
{
	struct pollfd pfd = {.fd = mb->event_fd, .events = POLLIN};
	struct mail *m;

	while (!(m = mailbox_take(mb)))
		poll(&pfd, 1, -1);
	return m;
}
