// SPDX-License-Identifier: GPL-2.0-or-later
/* Accepting the peer: callers introduce themselves or are sent away; nothing they say can end the
 * daemon. */
#include "colod/link/link-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALLER_LIMIT_US (5 * USEC_PER_SEC)
#define ACCEPT_PAUSE_US (USEC_PER_SEC / 2)

static bool caller_is_there(const struct caller *cl)
{
	return cl->shake || conn_is_open(&cl->conn);
}

static void caller_close(struct caller *cl)
{
	tls_cancel(&cl->shake);
	conn_close(&cl->conn);
	link_close_data(cl->data_fd);
}

static void reject(struct caller *cl, const struct err *why)
{
	struct wire_msg m = {.type = WIRE_REJECT,
			     .flags = why->code == EEXIST ? WIRE_REJECT_LIVE : 0};

	snprintf(m.text, sizeof(m.text), "%s", err_msg(why));
	conn_send(&cl->conn, &m);
	caller_close(cl);
}

static void reject_for(struct caller *cl, const char *why)
{
	struct err e;

	err_set(&e, EPROTO, "%s", why);
	reject(cl, &e);
}

static struct caller *welcomed_caller(struct link *k, uint64_t session)
{
	for (int i = 0; i < LINK_MAX_CALLERS; i++) {
		struct caller *cl = &k->callers[i];

		if (conn_is_open(&cl->conn) && cl->welcomed && cl->hello.session == session)
			return cl;
	}
	return NULL;
}

static void on_control_hello(struct caller *cl, const struct wire_hello *h)
{
	struct link *k = cl->link;
	struct err e = {};

	/* Only the peer knows the session: it has lost the link before we noticed. */
	if (k->up && tls_same_peer(&k->who, &cl->who) && k->handlers->is_ours(k->arg, h)) {
		link_take_down(k);
		k->handlers->lost(k->arg, "the peer calls again");
	}
	if (k->up)
		err_set(&e, EBUSY, "already connected to a peer");
	else
		k->handlers->accept(k->arg, h, false, &e);
	if (e.code) {
		link_note(k, "refused %s: %s", cl->address, err_msg(&e));
		reject(cl, &e);
		return;
	}
	k->last_heard_us = clock_now_us();
	cl->hello = *h;
	cl->welcomed = true;
	cl->hello.resume =
		link_introduce(k, &cl->conn, WIRE_WELCOME, WIRE_CHANNEL_CONTROL, h->session, h);
}

/* Every connection is there, and none has brought a byte yet: they can be taken over. */
static void complete(struct link *k, struct caller *control)
{
	struct wire_hello hello = control->hello;
	char address[sizeof(control->address)];
	int control_fd = conn_steal(&control->conn);
	struct err e;

	memcpy(address, control->address, sizeof(address));
	k->who = control->who;
	if (control_fd < 0) {
		link_note(k, "closed the connections of %s: it spoke before our answer", address);
		caller_close(control);
	} else if (conn_open(&k->control, k->loop, control_fd, &e)) {
		caller_close(control);
	} else {
		link_established(k, &hello, control->data_fd, address);
	}
}

static bool data_is_due(const struct link *k, const struct caller *control, uint8_t channel)
{
	if (channel > k->last_channel)
		return false;
	for (int i = WIRE_CHANNEL_BULK; i < channel; i++)
		if (control->data_fd[i] < 0)
			return false;
	return control->data_fd[channel] < 0;
}

/* The peer sends nothing on any connection before our answer on the last one. */
static void on_data_hello(struct caller *cl, const struct wire_hello *h)
{
	struct link *k = cl->link;
	struct caller *control = welcomed_caller(k, h->session);
	struct err e = {};
	int fd;

	if (!control || k->up) {
		reject_for(cl, "data connection without a control connection");
		return;
	}
	if (!tls_same_peer(&control->who, &cl->who)) {
		link_note(k, "refused %s: a data connection for another peer's link", cl->address);
		reject_for(cl, "data connection for another peer's link");
		return;
	}
	/* What we are may have changed since the first greeting. */
	if (k->handlers->accept(k->arg, &control->hello, true, &e)) {
		link_note(k, "refused %s: %s", control->address, err_msg(&e));
		reject(cl, &e);
		caller_close(control);
		return;
	}
	if (!data_is_due(k, control, h->channel)) {
		reject_for(cl, "data connection out of order; is nic = set on one host only?");
		return;
	}
	link_introduce(k, &cl->conn, WIRE_WELCOME, h->channel, h->session, &control->hello);
	fd = conn_steal(&cl->conn);
	if (fd < 0) {
		link_note(k, "closed the connections of %s: it spoke before our answer",
			  cl->address);
		conn_close(&cl->conn);
		caller_close(control);
		return;
	}
	control->data_fd[h->channel] = fd;
	if (h->channel == k->last_channel)
		complete(k, control);
}

static void on_message(struct conn *c, const struct wire_msg *m)
{
	struct caller *cl = container_of(c, struct caller, conn);

	if (m->type != WIRE_HELLO || cl->welcomed) {
		link_note(cl->link, "closed the connection of %s: it sent %s instead of a greeting",
			  cl->address, wire_type_name(m->type));
		caller_close(cl);
	} else if (m->hello.channel == WIRE_CHANNEL_CONTROL) {
		on_control_hello(cl, &m->hello);
	} else {
		on_data_hello(cl, &m->hello);
	}
}

static void on_closed(struct conn *c, const struct err *why)
{
	struct caller *cl = container_of(c, struct caller, conn);

	link_close_data(cl->data_fd);
	link_note(cl->link, "connection of %s ended before it was established: %s", cl->address,
		  err_msg(why));
}

/* Drop callers that were let in but never introduced themselves; true if some remain. */
static bool expire(struct link *k)
{
	uint64_t now = clock_now_us();
	bool remain = false;

	for (int i = 0; i < LINK_MAX_CALLERS; i++) {
		struct caller *cl = &k->callers[i];

		if (!caller_is_there(cl))
			continue;
		if (now - cl->since_us < CALLER_LIMIT_US) {
			remain = true;
			continue;
		}
		caller_close(cl);
	}
	return remain;
}

static void on_expire(void *arg)
{
	struct link *k = arg;

	if (expire(k))
		loop_timer_arm(k->callers_timer, USEC_PER_SEC);
}

static bool is_known(const struct link *k, int sock)
{
	for (unsigned i = 0; i < k->peer_count; i++)
		if (tcp_is_from(sock, &k->peers[i]))
			return true;
	return false;
}

/* A real peer greets at once: when there is no room, whoever has been silent longest makes it, and no caller
 * from the peer's address makes it for one from elsewhere. */
static struct caller *free_caller(struct link *k, bool known)
{
	struct caller *oldest[2] = {};

	for (int i = 0; i < LINK_MAX_CALLERS; i++) {
		struct caller *cl = &k->callers[i];

		if (!caller_is_there(cl))
			return cl;
		if (!cl->welcomed &&
		    (!oldest[cl->known] || cl->since_us < oldest[cl->known]->since_us))
			oldest[cl->known] = cl;
	}
	if (!oldest[false] && known)
		oldest[false] = oldest[true];
	if (oldest[false])
		caller_close(oldest[false]);
	return oldest[false];
}

static void on_shaken(void *arg, int fd, const struct tls_peer *who, const struct err *why)
{
	struct caller *cl = arg;
	struct err e;

	if (fd < 0) {
		link_note(cl->link, "refused %s: %s", cl->address, err_msg(why));
		return;
	}
	cl->who = *who;
	if (conn_open(&cl->conn, cl->link->loop, fd, &e))
		return;
	/* A greeting that has come already is heard before the next caller can want the place. */
	conn_poll(&cl->conn);
}

/* Out of descriptors or memory: the socket stays readable, so look away a while. */
static void pause_accepting(struct link *k, int code)
{
	if (code == EAGAIN || code == EINTR || code == ECONNABORTED)
		return;
	link_note(k, "cannot accept a caller: %s", strerror(code));
	loop_io_events(k->listen_src, 0);
	loop_timer_arm(k->accept_timer, ACCEPT_PAUSE_US);
}

static void on_accept_again(void *arg)
{
	struct link *k = arg;

	loop_io_events(k->listen_src, EPOLLIN);
}

static void on_accept(void *arg, int fd, uint32_t revents)
{
	struct link *k = arg;
	char address[80];
	struct caller *cl;
	int sock = tcp_accept(fd, address, sizeof(address));
	bool known;

	(void)revents;
	if (sock < 0) {
		pause_accepting(k, -sock);
		return;
	}
	known = is_known(k, sock);
	cl = free_caller(k, known);
	if (!cl) {
		close(sock);
		return;
	}
	/* Not the buffers: a flood of callers shall cost as little as can be. */
	memset(cl->data_fd, -1, sizeof(cl->data_fd));
	memset(&cl->hello, 0, sizeof(cl->hello));
	cl->known = known;
	cl->welcomed = false;
	cl->link = k;
	cl->since_us = clock_now_us();
	memcpy(cl->address, address, sizeof(address));
	cl->conn.on_message = on_message;
	cl->conn.on_closed = on_closed;
	loop_timer_arm(k->callers_timer, USEC_PER_SEC);
	tls_begin(&cl->shake, k->tls, sock, TLS_LISTENER, on_shaken, cl);
}

int accept_init(struct link *k, struct err *e)
{
	struct tcp_addr a;
	int r = tcp_resolve(&a, &k->config->listen, true, "listen", e);

	if (r)
		return r;
	k->listen_fd = tcp_listen(&a, e);
	if (k->listen_fd < 0)
		return k->listen_fd;
	if (loop_add_timer(k->loop, &k->callers_timer, on_expire, k) ||
	    loop_add_timer(k->loop, &k->accept_timer, on_accept_again, k) ||
	    loop_add_io(k->loop, &k->listen_src, k->listen_fd, EPOLLIN, on_accept, k))
		return err_errno(e, ENOMEM, "link");
	return 0;
}

void accept_close(struct link *k)
{
	for (int i = 0; i < LINK_MAX_CALLERS; i++)
		caller_close(&k->callers[i]);
	loop_src_free(&k->listen_src);
	loop_src_free(&k->callers_timer);
	loop_src_free(&k->accept_timer);
	close_fd(&k->listen_fd);
}
