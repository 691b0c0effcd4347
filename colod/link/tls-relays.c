// SPDX-License-Identifier: GPL-2.0-or-later
/* The relays of a link: started, asked, buried on the loop. */
#include "colod/link/tls-relay.h"

#include "base/cleanup.h"
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static void relay_free(struct relay *r)
{
	list_del(&r->link);
	if (r->session)
		gnutls_deinit(r->session);
	close_fd(&r->net_fd);
	close_fd(&r->local_fd);
	close_fd(&r->user_fd);
	free(r->sealed_in.data);
	free(r->plain_in.data);
	free(r->plain_out.data);
	free(r->sealed_out.data);
	free(r);
}

/* Its thread is joined, and it is in no mailbox. */
static void bury(struct relay *r)
{
	r->tls->relay_count--;
	r->user_fd = -1; /* is the user's */
	relay_free(r);
}

static void on_ended(void *arg, int fd, uint32_t revents)
{
	struct tls *t = arg;
	struct mail *m = mailbox_take(&t->ended);
	struct relay *r = m ? container_of(m, struct relay, mail) : NULL;

	(void)fd;
	(void)revents;
	if (!r)
		return;
	if (r->why.code)
		t->note(t->arg, err_msg(&r->why));
	pthread_join(r->thread, NULL);
	bury(r);
}

int tls_relays_init(struct tls *t, struct err *e)
{
	int r;

	list_init(&t->relays);
	t->ended.event_fd = -1;
	t->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->stop_fd < 0)
		return err_errno(e, errno, "TLS");
	r = mailbox_init(&t->ended, e);
	if (!r && loop_add_io(t->loop, &t->ended_src, t->ended.event_fd, EPOLLIN, on_ended, t))
		r = err_errno(e, ENOMEM, "TLS");
	return r;
}

void tls_relays_free(struct tls *t)
{
	struct list *pos, *tmp;

	if (t->stop_fd >= 0)
		eventfd_write(t->stop_fd, 1);
	list_for_each_safe (pos, tmp, &t->relays)
		pthread_join(list_entry(pos, struct relay, link)->thread, NULL);
	while (mailbox_take(&t->ended))
		;
	list_for_each_safe (pos, tmp, &t->relays)
		bury(list_entry(pos, struct relay, link));
	loop_src_free(&t->ended_src);
	mailbox_destroy(&t->ended);
	close_fd(&t->stop_fd);
}

static int alloc_buffers(struct relay *r)
{
	r->sealed_in.data = malloc(SEALED_BYTES);
	r->plain_in.data = malloc(PLAIN_BYTES);
	r->plain_out.data = malloc(PLAIN_BYTES);
	r->sealed_out.data = malloc(SEALED_BYTES);
	return r->sealed_in.data && r->plain_in.data && r->plain_out.data && r->sealed_out.data
		       ? 0
		       : -ENOMEM;
}

static int open_sockets(struct relay *r)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds))
		return -errno;
	r->local_fd = fds[0];
	r->user_fd = fds[1];
	return 0;
}

int tls_relay_start(struct tls *t, gnutls_session_t s, int net_fd, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));
	int code;

	if (!r) {
		gnutls_deinit(s);
		close(net_fd);
		return err_errno(e, ENOMEM, "TLS");
	}
	r->tls = t;
	r->session = s;
	r->net_fd = net_fd;
	r->local_fd = r->user_fd = -1;
	list_init(&r->link);
	relay_adopt_session(r);
	code = alloc_buffers(r);
	if (!code)
		code = open_sockets(r);
	if (!code)
		code = thread_start(&r->thread, "colod-tls", relay_main, r);
	if (code) {
		relay_free(r);
		return err_errno(e, -code, "TLS");
	}
	/* Newest first: a number of a descriptor that was closed may come again. */
	list_add_tail(t->relays.next, &r->link);
	t->relay_count++;
	return r->user_fd;
}

static struct relay *find_relay(struct tls *t, int fd)
{
	struct list *pos, *tmp;

	if (!t || fd < 0)
		return NULL;
	list_for_each_safe (pos, tmp, &t->relays) {
		struct relay *r = list_entry(pos, struct relay, link);

		if (r->user_fd == fd)
			return r;
	}
	return NULL;
}

/* Bytes move from the socket to the thread to the user: looked at in this order none is missed. */
bool tls_has_unread(struct tls *t, int fd)
{
	struct relay *r = find_relay(t, fd);
	struct pollfd p = {.fd = r ? r->net_fd : -1, .events = POLLIN};

	if (!r)
		return false;
	return poll(&p, 1, 0) > 0 || atomic_load(&r->in_busy);
}

bool tls_has_unsent(struct tls *t, int fd)
{
	struct relay *r = find_relay(t, fd);
	int waiting = 0;

	if (!r)
		return false;
	return (!ioctl(r->local_fd, FIONREAD, &waiting) && waiting) || atomic_load(&r->out_busy);
}
