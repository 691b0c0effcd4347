// SPDX-License-Identifier: GPL-2.0-or-later
/* Dialing the peer: control connection, handshake, data connections, again until it works. */
#include "colod/link/link-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PAUSE_MIN_US     (100 * USEC_PER_MSEC)
#define PAUSE_MAX_US     (2 * USEC_PER_SEC)
#define ATTEMPT_LIMIT_US (3 * USEC_PER_SEC)
/* With several addresses one that is dead must not keep us long from those that are not. */
#define ATTEMPT_SHORT_US (1 * USEC_PER_SEC)

static void begin(struct link *k);

static void clear_attempt(struct link *k)
{
	loop_src_free(&k->dial_src);
	tls_cancel(&k->dial_shake);
	close_fd(&k->dial_fd);
	conn_close(&k->dial_data);
	link_close_data(k->dial_data_fd);
	conn_close(&k->control);
}

void dial_stop(struct link *k)
{
	if (k->dial_stage == DIAL_OFF)
		return;
	clear_attempt(k);
	loop_timer_disarm(k->dial_timer);
	k->dial_stage = DIAL_OFF;
}

/* The first refused attempts are the normal life of a host whose peer is not there yet: no note. */
void dial_failed(struct link *k, const char *why)
{
	char address[sizeof(k->peers[0].text)];
	bool talked = k->dial_stage != DIAL_CONNECT_CONTROL && k->dial_stage != DIAL_CONNECT_DATA;

	if (k->dial_stage == DIAL_OFF)
		return;
	snprintf(address, sizeof(address), "%s", link_peer(k)->text);
	clear_attempt(k);
	k->dial_stage = DIAL_PAUSE;
	k->peer_at = (k->peer_at + 1) % k->peer_count;
	if (++k->peers_tried < k->peer_count) {
		loop_timer_arm(k->dial_timer, 0);
	} else {
		k->peers_tried = 0;
		k->dial_pause_us = MIN(MAX(k->dial_pause_us * 2, PAUSE_MIN_US), PAUSE_MAX_US);
		loop_timer_arm(k->dial_timer, k->dial_pause_us);
	}
	if (talked)
		link_note(k, "peer %s: %s", address, why);
}

static void on_timer(void *arg)
{
	struct link *k = arg;

	if (k->dial_stage == DIAL_PAUSE)
		begin(k);
	else
		dial_failed(k, "no answer to our greeting; is it colod that listens there?");
}

static void introduce(struct link *k, struct conn *c, enum wire_channel channel)
{
	struct err e;
	int fd = steal_fd(&k->dial_fd);

	if (conn_open(c, k->loop, fd, &e)) {
		dial_failed(k, err_msg(&e));
		return;
	}
	link_introduce(k, c, WIRE_HELLO, channel, k->session, NULL);
}

/* All connections of a link lead to one peer. */
static void on_shaken(void *arg, int fd, const struct tls_peer *who, const struct err *why)
{
	struct link *k = arg;
	bool first = k->dial_stage == DIAL_TLS_CONTROL;

	k->dial_fd = fd;
	if (fd < 0) {
		dial_failed(k, err_msg(why));
	} else if (first) {
		k->who = *who;
		k->dial_stage = DIAL_HELLO_CONTROL;
		introduce(k, &k->control, WIRE_CHANNEL_CONTROL);
	} else if (tls_same_peer(&k->who, who)) {
		k->dial_stage = DIAL_HELLO_DATA;
		introduce(k, &k->dial_data, k->dial_channel);
	} else {
		dial_failed(k, "its connections lead to different peers");
	}
}

static void on_connected(void *arg, int fd, uint32_t revents)
{
	struct link *k = arg;
	int r = tcp_connected(fd);

	(void)revents;
	loop_src_free(&k->dial_src);
	if (r) {
		dial_failed(k, strerror(-r));
	} else {
		k->dial_stage =
			k->dial_stage == DIAL_CONNECT_CONTROL ? DIAL_TLS_CONTROL : DIAL_TLS_DATA;
		tls_begin(&k->dial_shake, k->tls, steal_fd(&k->dial_fd), TLS_CALLER, on_shaken, k);
	}
}

static void connect_stage(struct link *k, enum dial_stage stage)
{
	int r;

	k->dial_stage = stage;
	k->dial_fd = tcp_connect(link_peer(k));
	if (k->dial_fd < 0) {
		r = steal_fd(&k->dial_fd);
		dial_failed(k, strerror(-r));
		return;
	}
	if (loop_add_io(k->loop, &k->dial_src, k->dial_fd, EPOLLOUT, on_connected, k))
		dial_failed(k, "out of memory");
}

static void begin(struct link *k)
{
	if (getrandom(&k->session, sizeof(k->session), 0) != sizeof(k->session))
		k->session = clock_now_us();
	loop_timer_arm(k->dial_timer, k->peer_count > 1 ? ATTEMPT_SHORT_US : ATTEMPT_LIMIT_US);
	connect_stage(k, DIAL_CONNECT_CONTROL);
}

/* Before the link is up the control connection brings nothing but the answer to our greeting. */
void dial_message(struct link *k, const struct wire_msg *m)
{
	char why[WIRE_TEXT_MAX + 32];

	if (m->type == WIRE_WELCOME && k->dial_stage == DIAL_HELLO_CONTROL) {
		k->peer_hello = m->hello;
		/* What it says on this connection next may overtake its answer on the other. */
		loop_io_events(k->control.src, 0);
		k->dial_channel = WIRE_CHANNEL_BULK;
		connect_stage(k, DIAL_CONNECT_DATA);
		return;
	}
	if (m->type == WIRE_REJECT)
		snprintf(why, sizeof(why), "it refuses us: %s", m->text);
	else
		snprintf(why, sizeof(why), "it answered our greeting with %s",
			 wire_type_name(m->type));
	k->dial_pause_us = PAUSE_MAX_US;
	dial_failed(k, why);
	if (m->type == WIRE_REJECT && (m->flags & WIRE_REJECT_LIVE))
		k->handlers->lives(k->arg, m->text);
}

static void on_data_message(struct conn *c, const struct wire_msg *m)
{
	struct link *k = container_of(c, struct link, dial_data);
	int fd;

	if (m->type != WIRE_WELCOME) {
		dial_message(k, m);
		return;
	}
	fd = conn_steal(&k->dial_data);
	if (fd < 0) {
		dial_failed(k, "it sent bulk data that nobody asked for");
		return;
	}
	k->dial_data_fd[k->dial_channel] = fd;
	if (k->dial_channel != k->last_channel) {
		k->dial_channel++;
		connect_stage(k, DIAL_CONNECT_DATA);
		return;
	}
	loop_timer_disarm(k->dial_timer);
	k->dial_pause_us = 0;
	link_established(k, &k->peer_hello, k->dial_data_fd, link_peer(k)->text);
}

static void on_data_closed(struct conn *c, const struct err *why)
{
	dial_failed(container_of(c, struct link, dial_data), err_msg(why));
}

int dial_init(struct link *k)
{
	k->dial_data.on_message = on_data_message;
	k->dial_data.on_closed = on_data_closed;
	k->dial_data.exact = true;
	return loop_add_timer(k->loop, &k->dial_timer, on_timer, k);
}

void link_dial_later(struct link *k)
{
	if (k->up || k->dial_stage != DIAL_OFF)
		return;
	k->dial_stage = DIAL_PAUSE;
	k->dial_pause_us = PAUSE_MAX_US;
	loop_timer_arm(k->dial_timer, k->dial_pause_us);
}

int link_add_address(struct link *k, const struct endpoint *ep, struct err *e)
{
	unsigned at = k->config->peer_count;
	struct tcp_addr a;
	int r = tcp_resolve_numeric(&a, ep, e);

	if (!r)
		r = tls_check_address(k->config, &a, "address", e);
	if (r)
		return r;
	k->peers[at] = a;
	k->peer_at = at;
	k->peer_count = at + 1;
	k->peers_tried = 0;
	return 0;
}

void link_dial(struct link *k)
{
	if (k->up || k->dial_stage != DIAL_OFF)
		return;
	k->dial_pause_us = 0;
	k->peers_tried = 0;
	begin(k);
}
