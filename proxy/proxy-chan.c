// SPDX-License-Identifier: GPL-2.0-or-later
/* The packet connection on the proxy's loop: buffers in both directions, whole messages out of
 * them. */
#include "base/cleanup.h"
#include "proxy/proxy-priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define IN_BYTES  (1 * MIB)
#define OUT_BYTES (16 * MIB)
/* Epochs and commits find room behind as many frames as there can be. */
#define FRAMES_BYTES (OUT_BYTES / 2)
#define OTHERS_BYTES (OUT_BYTES / 4 * 3)
_Static_assert(IN_BYTES > 2 * (CHAN_HEADER_BYTES + CHAN_MAX_PAYLOAD),
	       "a message fits behind a part");

int chan_io_init(struct chan_io *c, struct err *e)
{
	c->fd = -1;
	c->in = malloc(IN_BYTES);
	c->out = malloc(OUT_BYTES);
	return c->in && c->out ? 0 : err_errno(e, ENOMEM, "packet connection");
}

void chan_io_destroy(struct chan_io *c)
{
	loop_src_free(&c->src);
	close_fd(&c->fd);
	free(steal_ptr(&c->in));
	free(steal_ptr(&c->out));
}

void chan_io_close(struct proxy *p)
{
	struct chan_io *c = &p->chan;

	p->cut |= p->side == SIDE_PRIMARY && c->fd >= 0;
	loop_src_free(&c->src);
	close_fd(&c->fd);
	c->in_len = c->out_from = c->out_len = 0;
	c->wants_out = c->paused = p->hears_relay = false;
	replica_side_fenced(p, UINT64_MAX);
}

static void broken(struct proxy *p, const char *why)
{
	char text[160];

	snprintf(text, sizeof(text), "packet connection: %.120s", why);
	chan_io_close(p);
	proxy_tell(p, TALE_LOST, 0, text);
}

static void set_events(struct chan_io *c)
{
	loop_io_events(c->src, (c->paused ? 0 : EPOLLIN) | (c->wants_out ? EPOLLOUT : 0));
}

static void want(struct chan_io *c)
{
	bool out = c->out_len;

	if (c->fd < 0 || out == c->wants_out)
		return;
	c->wants_out = out;
	set_events(c);
}

/* The peer is gone; what it had said before is still to be heard. */
static void hang_up(struct proxy *p, int code)
{
	p->chan.out_from = p->chan.out_len = 0;
	chan_io_drain(p);
	if (p->chan.fd >= 0)
		broken(p, strerror(code));
}

void chan_io_flush(struct proxy *p)
{
	struct chan_io *c = &p->chan;

	c->urgent = false;
	while (c->fd >= 0 && c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_from, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			hang_up(p, errno);
			return;
		}
		if (n < 0)
			break;
		c->out_from += (size_t)n;
		c->out_len -= (size_t)n;
	}
	if (!c->out_len)
		c->out_from = 0;
	want(c);
}

/* Below the whole: so a quarter was sent before the rest is moved to the front. */
static bool make_room(struct chan_io *c, size_t bytes, size_t limit)
{
	if (c->out_len + bytes > limit)
		return false;
	if (c->out_from + c->out_len + bytes > OUT_BYTES) {
		memmove(c->out, c->out + c->out_from, c->out_len);
		c->out_from = 0;
	}
	return true;
}

static void refuse(struct proxy *p, bool frame)
{
	p->chan.refused++;
	if (!frame)
		broken(p, "the peer does not read");
}

/*
 * A peer that does not read must not stop the guest: a frame that finds no room is lost, and
 * counted. Nothing else may be missing in the stream.
 */
void chan_io_send(struct proxy *p, const struct chan_msg *m)
{
	bool frame = m->type == CHAN_FRAME_IN || m->type == CHAN_FRAME_OUT;
	struct chan_io *c = &p->chan;
	uint8_t head[CHAN_ENCODE_MAX];
	size_t n = chan_encode(m, head), payload = frame ? m->payload_len : 0;
	uint8_t *to;

	if (c->fd < 0)
		return;
	if (!n || !make_room(c, n + payload, frame ? FRAMES_BYTES : OTHERS_BYTES)) {
		refuse(p, frame);
		return;
	}
	to = c->out + c->out_from + c->out_len;
	memcpy(to, head, n);
	if (payload)
		memcpy(to + n, m->payload, payload);
	c->urgent |= m->type != CHAN_FLOW || m->note.kind != FLOW_RELEASED;
	c->out_len += n + payload;
}

/*
 * What was released is only needed at a take-over, and a message of its own for each packet would
 * cost both hosts a wake-up: it rides with the next frame, or leaves after LAZY_US. Told late, a
 * segment is sent twice at worst.
 */
#define LAZY_US    (2 * USEC_PER_MSEC)
#define LAZY_BYTES (64 * KIB)

void chan_io_settle(struct proxy *p)
{
	struct chan_io *c = &p->chan;

	if (c->urgent || c->out_len > LAZY_BYTES) {
		chan_io_flush(p);
	} else if (c->out_len && !c->waits) {
		c->waits = true;
		loop_timer_arm(p->lazy, LAZY_US);
	}
}

void chan_io_on_lazy(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	p->chan.waits = false;
	chan_io_flush(p);
	pthread_mutex_unlock(&p->lock);
}

static void on_message(struct proxy *p, const struct chan_msg *m)
{
	struct chan_msg pong = {
		.type = CHAN_PING, .flags = CHAN_PING_ANSWER, .number = m->number, .mark = m->mark};

	if (m->nic >= p->config.nic_count) {
		broken(p, "the peer speaks of a NIC that this host's guest does not have");
		return;
	}
	if (m->type == CHAN_PING) {
		if (!(m->flags & CHAN_PING_ANSWER))
			chan_io_send(p, &pong);
		else
			replica_side_fenced(p, m->number);
	} else if (p->side == SIDE_RELAY) {
		relay_message(p, m);
	} else if (relay_hears(p, m)) {
		return;
	} else if (p->side == SIDE_PRIMARY) {
		primary_side_message(p, m);
	} else if (p->side == SIDE_SECONDARY) {
		replica_side_message(p, m);
	}
}

/* Whole messages from @pos on; returns where the first that is not whole begins. */
static size_t decode_from(struct proxy *p, size_t pos)
{
	struct chan_io *c = &p->chan;
	struct err e;

	while (c->fd >= 0 && pos < c->in_len && !c->paused) {
		struct chan_msg m;
		ssize_t n = chan_decode(&m, c->in + pos, c->in_len - pos, &e);

		if (n < 0)
			broken(p, err_msg(&e));
		if (n <= 0)
			break;
		pos += (size_t)n;
		on_message(p, &m);
	}
	return pos;
}

/* What a message causes may read further from the socket: that waits for its turn. */
static void decode(struct proxy *p)
{
	struct chan_io *c = &p->chan;
	size_t pos;

	if (c->decoding)
		return;
	c->decoding = true;
	pos = decode_from(p, 0);
	c->decoding = false;
	if (c->fd < 0 || !pos)
		return;
	c->in_len -= pos;
	memmove(c->in, c->in + pos, c->in_len);
}

/* One read; false when there was nothing (more). */
static bool take_in(struct proxy *p)
{
	struct chan_io *c = &p->chan;
	ssize_t n;

	if (c->fd < 0 || c->paused || c->in_len == IN_BYTES)
		return false;
	n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		broken(p, n ? strerror(errno) : "the peer closed it");
		return false;
	}
	c->in_len += (size_t)n;
	decode(p);
	return true;
}

void chan_io_pause(struct proxy *p, bool on)
{
	struct chan_io *c = &p->chan;

	if (c->fd < 0 || c->paused == on)
		return;
	c->paused = on;
	set_events(c);
	if (!on)
		decode(p);
}

void chan_io_drain(struct proxy *p)
{
	while (take_in(p))
		;
}

static void on_io(void *arg, int fd, uint32_t revents)
{
	struct proxy *p = arg;

	(void)fd;
	pthread_mutex_lock(&p->lock);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		take_in(p);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

int chan_io_open(struct proxy *p, int fd)
{
	struct chan_io *c = &p->chan;

	chan_io_close(p);
	c->fd = fd;
	return loop_add_io(p->loop, &c->src, fd, EPOLLIN, on_io, p);
}
