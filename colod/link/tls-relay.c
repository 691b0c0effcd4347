// SPDX-License-Identifier: GPL-2.0-or-later
/* The thread of a relay: plain bytes of a local socket to records of a TLS session and back. */
#include "colod/link/tls-relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* A peer that does not read gets so long for what was written before the end. */
#define DRAIN_US (2 * USEC_PER_SEC)
#define STOP_US  (500 * USEC_PER_MSEC)

static uint8_t *span_end(struct span *s)
{
	return s->data + s->from + s->len;
}

static void span_drop(struct span *s, size_t n)
{
	s->from += n;
	s->len -= n;
	if (!s->len)
		s->from = 0;
}

/* ---- what GnuTLS calls: whole buffers at a time, as a call to the kernel costs more than a record */

static ssize_t on_pull(gnutls_transport_ptr_t arg, void *buf, size_t size)
{
	struct relay *r = arg;
	struct span *in = &r->sealed_in;
	ssize_t n;

	if (!in->len) {
		n = recv(r->net_fd, in->data, SEALED_BYTES, MSG_DONTWAIT);
		if (n <= 0) {
			r->starved = true;
			gnutls_transport_set_errno(r->session, n ? errno : 0);
			return n;
		}
		in->len = (size_t)n;
	}
	size = MIN(size, in->len);
	memcpy(buf, in->data + in->from, size);
	span_drop(in, size);
	return (ssize_t)size;
}

static ssize_t on_push(gnutls_transport_ptr_t arg, const void *buf, size_t size)
{
	struct relay *r = arg;
	struct span *out = &r->sealed_out;
	size_t room = SEALED_BYTES - out->from - out->len;

	if (!room) {
		gnutls_transport_set_errno(r->session, EAGAIN);
		return -1;
	}
	size = MIN(size, room);
	memcpy(span_end(out), buf, size);
	out->len += size;
	return (ssize_t)size;
}

void relay_adopt_session(struct relay *r)
{
	gnutls_session_set_ptr(r->session, NULL);
	gnutls_transport_set_ptr(r->session, r);
	gnutls_transport_set_pull_function(r->session, on_pull);
	gnutls_transport_set_push_function(r->session, on_push);
}

/* ---- from the peer to the user ---- */

static void net_fail(struct relay *r, int code)
{
	r->net_ended = r->net_broken = true;
	if (code == GNUTLS_E_PREMATURE_TERMINATION || code == GNUTLS_E_PULL_ERROR ||
	    code == GNUTLS_E_PUSH_ERROR) /* the user sees that for himself */
		return;
	err_set(&r->why, EBADMSG, "TLS: connection broken off: %s", gnutls_strerror(code));
}

/* Decrypt what there is, as far as there is room for whole records. */
static void open_records(struct relay *r)
{
	struct span *in = &r->plain_in;

	r->starved = false;
	while (!r->net_ended && PLAIN_BYTES - in->from - in->len >= RECORD_BYTES) {
		ssize_t n = gnutls_record_recv(r->session, span_end(in), RECORD_BYTES);

		if (n > 0)
			in->len += (size_t)n;
		else if (!n)
			r->net_ended = true;
		else if (n != GNUTLS_E_AGAIN && gnutls_error_is_fatal((int)n))
			net_fail(r, (int)n);
		else if (r->starved)
			break;
	}
}

static void deliver(struct relay *r)
{
	struct span *in = &r->plain_in;

	while (in->len) {
		ssize_t n = send(r->local_fd, in->data + in->from, in->len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR) {
			r->user_deaf = true;
			in->from = in->len = 0;
		}
		if (n > 0)
			span_drop(in, (size_t)n);
	}
}

static void relay_in(struct relay *r)
{
	atomic_store(&r->in_busy, true);
	do {
		open_records(r);
		deliver(r);
	} while (!r->plain_in.len && !r->starved && !r->net_ended && !r->user_deaf);
	atomic_store(&r->in_busy, r->plain_in.len);
}

/* ---- from the user to the peer ---- */

static void seal(struct relay *r)
{
	struct span *out = &r->plain_out;

	while (out->len && !r->net_ended) {
		ssize_t n = gnutls_record_send(r->session, out->data + out->from,
					       MIN(out->len, RECORD_BYTES));

		if (n > 0)
			span_drop(out, (size_t)n);
		else if (n == GNUTLS_E_AGAIN)
			return;
		else if (n < 0 && gnutls_error_is_fatal((int)n))
			net_fail(r, (int)n);
	}
}

static void transmit(struct relay *r)
{
	struct span *out = &r->sealed_out;

	while (out->len) {
		ssize_t n = send(r->net_fd, out->data + out->from, out->len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR) {
			r->net_ended = r->net_broken = true;
			return;
		}
		if (n > 0)
			span_drop(out, (size_t)n);
	}
}

static void take_from_user(struct relay *r)
{
	ssize_t n = recv(r->local_fd, r->plain_out.data, PLAIN_BYTES, MSG_DONTWAIT);

	if (n > 0)
		r->plain_out.len = (size_t)n;
	else if (!n || (errno != EAGAIN && errno != EINTR) || r->stopping)
		r->user_ended = true;
}

static bool holds_output(const struct relay *r)
{
	return r->plain_out.len || r->sealed_out.len;
}

static void relay_out(struct relay *r)
{
	atomic_store(&r->out_busy, true);
	if (!holds_output(r))
		take_from_user(r);
	do {
		seal(r);
		transmit(r);
	} while (r->plain_out.len && !r->sealed_out.len && !r->net_ended);
	atomic_store(&r->out_busy, holds_output(r));
}

/* ---- the thread ---- */

/* What was written before the end is still sent; what came before it can still be read. */
static bool is_over(const struct relay *r)
{
	if (r->net_ended)
		return !r->plain_in.len || r->user_deaf;
	return r->user_ended; /* which is read behind all that he wrote */
}

static void end_within(struct relay *r, uint64_t limit_us)
{
	uint64_t end = clock_now_us() + limit_us;

	r->give_up_us = r->give_up_us ? MIN(r->give_up_us, end) : end;
}

/* For poll(2). */
static int time_left_ms(const struct relay *r)
{
	uint64_t now = clock_now_us();

	if (!r->plain_in.len && !r->starved && !r->net_ended)
		return 0; /* records wait in our own memory */
	if (!r->give_up_us)
		return -1;
	return now < r->give_up_us ? (int)((r->give_up_us - now) / USEC_PER_MSEC) + 1 : 0;
}

/* Without a wish a hang-up would be reported again and again. */
static struct pollfd poll_for(int fd, bool in, bool out)
{
	return (struct pollfd){.fd = in || out ? fd : -1,
			       .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
}

static void wait_for_work(struct relay *r, struct pollfd p[3])
{
	p[0] = poll_for(r->net_fd, !r->net_ended && !r->user_deaf && !r->plain_in.len,
			r->sealed_out.len);
	p[1] = poll_for(r->local_fd, !r->user_ended && !holds_output(r), r->plain_in.len);
	if (!r->user_gone) /* a hang-up is reported unasked */
		p[1].fd = r->local_fd;
	p[2] = poll_for(r->tls->stop_fd, !r->stopping, false);
	while (poll(p, 3, time_left_ms(r)) < 0 && errno == EINTR)
		;
}

/* false: it is over. */
static bool relay_turn(struct relay *r)
{
	struct pollfd p[3];

	wait_for_work(r, p);
	if (p[2].revents) {
		r->stopping = true;
		end_within(r, STOP_US);
	}
	if (p[1].revents & POLLHUP && !r->user_gone) {
		r->user_gone = true;
		end_within(r, DRAIN_US);
	}
	if (r->plain_in.len && p[1].revents)
		deliver(r);
	if (!r->plain_in.len && !r->net_ended && (p[0].revents & ~POLLOUT || !r->starved))
		relay_in(r);
	else
		atomic_store(&r->in_busy, r->plain_in.len);
	if (p[0].revents || p[1].revents || p[2].revents)
		relay_out(r);
	return !is_over(r) && !(r->give_up_us && clock_now_us() >= r->give_up_us);
}

void *relay_main(void *arg)
{
	struct relay *r = arg;

	while (relay_turn(r))
		;
	if (!r->net_broken && gnutls_bye(r->session, GNUTLS_SHUT_WR) == 0)
		transmit(r);
	shutdown(r->net_fd, SHUT_RDWR);
	shutdown(r->local_fd, SHUT_RDWR);
	atomic_store(&r->in_busy, false);
	atomic_store(&r->out_busy, false);
	mailbox_post(&r->tls->ended, &r->mail);
	return NULL;
}
