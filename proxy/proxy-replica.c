// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's side of the proxy: what its guest gets and says, and taking the network over. */
#include "proxy/proxy-priv.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

/* More than a tap's queue holds. */
#define DRAIN_MAX_FRAMES 4096
/* How long the old primary's last words on the packet connection may take after its word on the
 * control connection. */
#define LAST_WORDS_US (20 * USEC_PER_MSEC)
/* Until a frame that found no room is offered again. */
#define RETRY_US (5 * USEC_PER_MSEC)

/* ---- outputs of the core ---- */

/* A full tap has room for more when the guest has read some. One that is down may come up again. */
static int on_inject(void *arg, uint8_t nic, const uint8_t *data, size_t len)
{
	struct proxy *p = arg;
	struct port *o = &p->ports[nic];
	int r = mirror_inject(&o->mirror, data, len);

	if (!r)
		o->frames_in++;
	if (r != -ENOBUFS && r != -EAGAIN && r != -ENETDOWN)
		return r;
	if (!p->retries)
		loop_timer_arm(p->retry, RETRY_US);
	p->retries = true;
	return -EAGAIN;
}

void replica_side_on_retry(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	p->retries = false;
	if (p->side == SIDE_SECONDARY)
		replica_net_retry(p->replica);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

static void on_to_primary(void *arg, uint8_t nic, uint64_t after, const uint8_t *data, size_t len)
{
	struct chan_msg m = {.type = CHAN_FRAME_OUT,
			     .nic = nic,
			     .number = after,
			     .payload = data,
			     .payload_len = (uint32_t)len};

	chan_io_send(arg, &m);
}

/* Written to the tap: as if the guest sent it now. On its way out it meets the same queue as all
 * else. */
static void on_transmit(void *arg, uint8_t nic, const uint8_t *data, size_t len)
{
	struct proxy *p = arg;
	struct port *o = &p->ports[nic];

	port_write(o, data, data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES);
}

static void on_lost(void *arg, uint64_t count)
{
	struct chan_msg m = {.type = CHAN_LOST, .number = count};

	chan_io_send(arg, &m);
}

static void on_marked(void *arg, uint64_t epoch)
{
	proxy_tell(arg, TALE_MARKED, epoch, NULL);
}

const struct replica_net_ops proxy_replica_ops = {
	.inject = on_inject,
	.to_primary = on_to_primary,
	.transmit = on_transmit,
	.lost = on_lost,
	.marked = on_marked,
};

/* ---- the replica's output ---- */

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
	struct port *o = arg;

	o->frames_out++;
	replica_net_out(o->proxy->replica, o->nic, data, len, clock_now_us());
}

static void check_loss(struct port *o)
{
	uint64_t lost = mirror_lost(&o->mirror);

	if (lost == o->lost)
		return;
	on_lost(o->proxy, lost - o->lost);
	o->lost = lost;
}

/* What waits, not all that a guest that runs adds. */
static void read_port_dry(struct port *o)
{
	for (int i = 0; mirror_fd(&o->mirror) >= 0 && i < MIRROR_FULL_BATCHES; i++)
		if (mirror_read(&o->mirror, on_frame, o) <= 0)
			break;
}

static void read_dry(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		read_port_dry(&p->ports[i]);
}

void replica_side_on_mirror(void *arg, int fd, uint32_t revents)
{
	struct port *o = arg;
	struct proxy *p = o->proxy;

	(void)fd, (void)revents;
	pthread_mutex_lock(&p->lock);
	if (mirror_read(&o->mirror, on_frame, o) == MIRROR_BATCH)
		check_loss(o); /* a full batch: the only time when it could fall behind */
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

/* ---- connections that are rewritten after a take-over ---- */

static void on_inbound(void *arg, const struct nfqueue_packet *n)
{
	struct port *o = arg;
	struct proxy *p = o->proxy;
	struct pkt pkt;

	pkt_parse_ip(&pkt, n->data, n->len, 0);
	memcpy(p->scratch, n->data, n->len);
	if (n->len < n->full_len ||
	    !rewrites_in(replica_net_rewrites(p->replica), o->nic, p->scratch, &pkt,
			 n->csum_partial, clock_now_us())) {
		nfqueue_accept(o->in, n->id);
		return;
	}
	rewritten_checksum(n, p->scratch);
	nfqueue_accept_mangled(o->in, n->id, p->scratch, n->len);
}

void replica_side_on_inbound(void *arg, int fd, uint32_t revents)
{
	struct port *o = arg;
	struct proxy *p = o->proxy;

	(void)fd, (void)revents;
	pthread_mutex_lock(&p->lock);
	nfqueue_read(o->in, on_inbound, o);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

/* ---- what happens to the replica ---- */

void replica_side_message(struct proxy *p, const struct chan_msg *m)
{
	struct replica_net *r = p->replica;
	uint64_t now = clock_now_us();

	switch (m->type) {
	case CHAN_FRAME_IN:
		replica_net_mirrored(r, m->nic, m->number, m->payload, m->payload_len, now);
		break;
	case CHAN_EPOCH:
		replica_net_mark(r, m->number, m->nic, m->mark);
		break;
	case CHAN_FLOW:
		replica_net_note(r, &m->note, now);
		break;
	case CHAN_REWRITE: {
		struct rewrite w = {m->rewrite.seq_offset, m->rewrite.ts_offset};

		replica_net_inherit(r, m->number, &m->rewrite.key, &w, m->flags, now);
		break;
	}
	case CHAN_GAP:
		replica_net_gap(r, m->nic, m->number);
		break;
	case CHAN_OWN_ADDRESS:
		replica_net_own_address(r, m->nic, &m->address, m->vlan);
		break;
	case CHAN_MUTE:
		p->peer_mute = true;
		break;
	default:
		break;
	}
}

/* Frames that wait for a guest that will not read them: what it is to get comes again. */
static void empty_tap(struct proxy *p, struct port *o)
{
	for (int i = 0; i < DRAIN_MAX_FRAMES; i++)
		if (read(o->tap_fd, p->scratch, sizeof(p->scratch)) <= 0)
			return;
}

void replica_side_loaded(struct proxy *p, uint64_t epoch, bool runs)
{
	read_dry(p); /* what it said before the load counts as said before */
	for (unsigned i = 0; i < p->config.nic_count; i++)
		empty_tap(p, &p->ports[i]);
	replica_net_loaded(p->replica, epoch);
	p->epoch = epoch;
	ports_filter(p, !runs);
	if (runs)
		replica_net_running(p->replica);
}

/* The primary's checkpoint waits, not its guest. */
#define FILTER_WAIT_US (2 * USEC_PER_MSEC)

static void unmark(struct proxy *p, uint64_t epoch)
{
	bool marked = replica_net_is_marked(p->replica, epoch);

	replica_net_unmark(p->replica, epoch);
	if (marked && !replica_net_is_marked(p->replica, epoch))
		proxy_tell(p, TALE_MARKED, epoch - 1, NULL); /* in place of one on its way */
}

/*
 * Marks of an earlier attempt at the same checkpoint may still be on their way, while the primary's
 * word on the next one has come on another connection. What it answers now it says behind them, and
 * before new ones: those follow from the daemon's word that we have stopped.
 */
void replica_side_stopped(struct proxy *p, struct proxy_call *c)
{
	struct chan_msg fence = {.type = CHAN_PING, .number = ++p->fences};
	bool again = c->epoch && c->epoch == p->stopped_epoch;

	ports_filter_dry(p, FILTER_WAIT_US);
	replica_net_stopped(p->replica);
	p->stopped_epoch = c->epoch;
	unmark(p, c->epoch);
	if (!again || p->chan.fd < 0)
		return;
	p->fenced = c;
	chan_io_send(p, &fence);
}

void replica_side_fenced(struct proxy *p, uint64_t number)
{
	struct proxy_call *c = p->fenced;

	if (!c || number < p->fences)
		return;
	p->fenced = NULL;
	unmark(p, c->epoch);
	if (c != p->carried_out)
		proxy_answer(p, c);
}

static void await_last_words(struct proxy *p)
{
	uint64_t end = clock_now_us() + LAST_WORDS_US;

	chan_io_drain(p);
	while (p->chan.fd >= 0 && !p->peer_mute && clock_now_us() < end) {
		struct pollfd fd = {.fd = p->chan.fd, .events = POLLIN};

		poll(&fd, 1, 1);
		chan_io_drain(p);
	}
}

/*
 * After a switch-over the old primary holds the checkpoint that we start from, and would go on from
 * it: output waits from the first packet on (S1). After a failover nobody does.
 */
static void hold_or_pass(struct proxy *p, uint64_t epoch, bool planned)
{
	uint64_t now = clock_now_us();

	compare_pass_all(p->compare, now);
	p->side = SIDE_PASS;
	if (!planned)
		return;
	compare_close_epoch(p->compare, epoch, COMPARE_HOLD, now);
	p->side = SIDE_PRIMARY;
	p->compares = false;
	p->epoch = epoch;
}

void replica_side_take_over(struct proxy *p, uint64_t epoch, bool planned)
{
	struct err e = {};

	replica_side_fenced(p, UINT64_MAX);
	p->shut = false;
	if (p->side == SIDE_RELAY) /* back, before the one that took over had joined */
		replica_net_attach(p->replica, epoch);
	loop_timer_disarm(p->relay);
	await_last_words(p);
	read_dry(p);
	ports_filter(p, false);
	replica_net_catch_up(p->replica); /* before the network can reach it */
	if (ports_join(p, &e))
		proxy_tell(p, TALE_NOTE, 0, err_msg(&e));
	read_dry(p); /* what it said until then nobody heard */
	hold_or_pass(p, epoch, planned);
	ports_announce(p);
	replica_net_take_over(p->replica, clock_now_us());
	ports_deafen(p);
	relay_joined(p, planned);
}

int replica_side_enter(struct proxy *p, struct err *e)
{
	int r = ports_set_routed_up(p, e);

	if (!r)
		r = ports_mirror(p, MIRROR_FROM_GUEST, replica_side_on_mirror, e);
	for (unsigned i = 0; i < p->config.nic_count; i++)
		p->ports[i].lost = 0;
	ports_filter(p, true); /* until it is loaded */
	return r;
}
