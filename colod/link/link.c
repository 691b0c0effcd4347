// SPDX-License-Identifier: GPL-2.0-or-later
/* The established link: control messages, heartbeats, silence. */
#include "colod/link/link.h"

#include "base/cleanup.h"
#include "colod/link/link-priv.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Five heartbeats fit into the time-out, so that four may be late. */
#define HEARTBEATS_PER_TIMEOUT 5

void link_note(struct link *k, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->handlers->note(k->arg, text);
}

uint64_t link_introduce(struct link *k, struct conn *c, enum wire_type type,
			enum wire_channel channel, uint64_t session,
			const struct wire_hello *caller)
{
	struct wire_msg m = {.type = type};

	k->handlers->hello(k->arg, caller, &m.hello);
	m.hello.channel = channel;
	m.hello.session = session;
	conn_send(c, &m);
	return m.hello.resume;
}

static void arm_heartbeat(struct link *k)
{
	loop_timer_arm(k->heartbeat, link_timeout_us(k) / HEARTBEATS_PER_TIMEOUT);
}

void link_close_data(int data_fd[WIRE_CHANNEL_COUNT])
{
	for (int i = 0; i < WIRE_CHANNEL_COUNT; i++)
		close_fd(&data_fd[i]);
}

void link_established(struct link *k, const struct wire_hello *peer,
		      int data_fd[WIRE_CHANNEL_COUNT], const char *address)
{
	int bulk_fd = steal_fd(&data_fd[WIRE_CHANNEL_BULK]);

	k->up = true;
	k->dial_stage = DIAL_OFF;
	k->control.last_heard_us = clock_now_us();
	loop_io_events(k->control.src, EPOLLIN);
	snprintf(k->peer_address, sizeof(k->peer_address), "%s", address);
	k->peers_tried = 0;
	arm_heartbeat(k);
	tcp_set_blocking(bulk_fd);
	k->handlers->up(k->arg, peer, bulk_fd, steal_fd(&data_fd[WIRE_CHANNEL_PACKET]));
}

void link_take_down(struct link *k)
{
	k->last_heard_us = MAX(k->last_heard_us, k->control.last_heard_us);
	k->up = false;
	loop_timer_disarm(k->heartbeat);
	conn_close(&k->control);
}

void link_control_message(struct conn *c, const struct wire_msg *m)
{
	struct link *k = container_of(c, struct link, control);

	if (!k->up)
		dial_message(k, m);
	else if (m->type != WIRE_HEARTBEAT)
		k->handlers->message(k->arg, m);
}

void link_control_closed(struct conn *c, const struct err *why)
{
	struct link *k = container_of(c, struct link, control);

	if (!k->up) {
		dial_failed(k, err_msg(why));
		return;
	}
	link_take_down(k);
	k->handlers->lost(k->arg, err_msg(why));
}

/* What waits unread in the socket counts as heard: it may be us who were slow. */
static bool is_silent(struct link *k)
{
	if (clock_now_us() - k->control.last_heard_us < link_timeout_us(k) ||
	    tls_has_unread(k->tls, k->control.fd))
		return false;
	conn_poll(&k->control);
	return k->up && clock_now_us() - k->control.last_heard_us >= link_timeout_us(k);
}

static void on_heartbeat(void *arg)
{
	struct link *k = arg;
	struct wire_msg m = {.type = WIRE_HEARTBEAT};
	char reason[80];

	if (is_silent(k)) {
		snprintf(reason, sizeof(reason), "nothing heard from the peer for %u ms",
			 k->config->peer_timeout_ms);
		link_take_down(k);
		k->handlers->lost(k->arg, reason);
		return;
	}
	if (!k->up)
		return;
	conn_send(&k->control, &m);
	arm_heartbeat(k);
}

/* What came in the clear would lie in the socket by now. */
#define SETTLE_US (20 * USEC_PER_MSEC)
#define NAP_US    100

void link_poll(struct link *k)
{
	uint64_t end = clock_now_us() + SETTLE_US;

	while (k->up && tls_has_unread(k->tls, k->control.fd) && clock_now_us() < end)
		usleep(NAP_US);
	if (k->up)
		conn_poll(&k->control);
}

int link_send(struct link *k, const struct wire_msg *m)
{
	return k->up ? conn_send(&k->control, m) : -ENOTCONN;
}

void link_flush(struct link *k, unsigned timeout_ms)
{
	uint64_t end = clock_now_us() + timeout_ms * USEC_PER_MSEC;

	while (k->up && k->control.out_len && clock_now_us() < end) {
		struct pollfd pfd = {.fd = k->control.fd, .events = POLLOUT};
		ssize_t n;

		if (poll(&pfd, 1, (int)timeout_ms) <= 0)
			return;
		n = send(k->control.fd, k->control.out, k->control.out_len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return;
		k->control.out_len -= (size_t)n;
		memmove(k->control.out, k->control.out + n, k->control.out_len);
	}
	while (k->up && tls_has_unsent(k->tls, k->control.fd) && clock_now_us() < end)
		usleep(NAP_US);
}

void link_down(struct link *k)
{
	dial_stop(k);
	link_take_down(k);
}

enum link_state link_state(const struct link *k)
{
	if (k->up)
		return LINK_UP;
	return k->dial_stage == DIAL_OFF ? LINK_DOWN : LINK_CONNECTING;
}

uint64_t link_last_heard_us(const struct link *k)
{
	return k->up ? k->control.last_heard_us : k->last_heard_us;
}

const char *link_peer_address(const struct link *k)
{
	return k->up ? k->peer_address : k->peers[k->peer_at].text;
}

static void on_tls_note(void *arg, const char *text)
{
	link_note(arg, "%s", text);
}

int link_check_config(const struct config *c, struct err *e)
{
	return tls_check(c, e);
}

int link_new(struct link **out, struct loop *l, const struct config *c, bool packets,
	     const struct link_handlers *h, void *arg, struct err *e)
{
	struct link *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_errno(e, ENOMEM, "link");
	k->loop = l;
	k->config = c;
	k->handlers = h;
	k->arg = arg;
	k->last_channel = packets ? WIRE_CHANNEL_PACKET : WIRE_CHANNEL_BULK;
	k->control.fd = k->dial_data.fd = k->listen_fd = k->dial_fd = -1;
	memset(k->dial_data_fd, -1, sizeof(k->dial_data_fd));
	k->control.on_message = link_control_message;
	k->control.on_closed = link_control_closed;
	for (int i = 0; i < LINK_MAX_CALLERS; i++) {
		k->callers[i].conn.fd = -1;
		memset(k->callers[i].data_fd, -1, sizeof(k->callers[i].data_fd));
	}
	r = tls_new(&k->tls, l, c, on_tls_note, k, e);
	for (; !r && k->peer_count < c->peer_count; k->peer_count++)
		r = tcp_resolve(&k->peers[k->peer_count], &c->peers[k->peer_count], false, "peer",
				e);
	if (!r)
		r = accept_init(k, e);
	if (!r && (loop_add_timer(l, &k->heartbeat, on_heartbeat, k) || dial_init(k)))
		r = err_errno(e, ENOMEM, "link");
	if (r) {
		link_free(k);
		return r;
	}
	*out = k;
	return 0;
}

void link_free(struct link *k)
{
	if (!k)
		return;
	conn_close(&k->control);
	if (k->dial_timer)
		dial_stop(k);
	accept_close(k);
	tls_free(k->tls);
	loop_src_free(&k->heartbeat);
	loop_src_free(&k->dial_timer);
	free(k);
}
