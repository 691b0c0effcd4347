// SPDX-License-Identifier: GPL-2.0-or-later
/* What the primary's guest is given: mirrored to the secondary, and how far the guest has read it. */
#include "proxy/proxy-priv.h"

#include <errno.h>
#include <string.h>

/* ---- the mirror ---- */

static void tell_own_addresses(struct port *o)
{
	const struct neigh *neigh = port_neigh(o);

	for (; o->own_told < neigh->own_count; o->own_told++) {
		const struct neigh_entry *own = &neigh->own[o->own_told];
		struct chan_msg m = {.type = CHAN_OWN_ADDRESS,
				     .nic = o->nic,
				     .address = own->addr,
				     .vlan = own->vlan};

		chan_io_send(o->proxy, &m);
	}
}

/* What was said on a connection that broke may not have come. Frames are not said again: the network
 * may lose some, and what the outputs make of it is for the next checkpoint. */
void primary_side_tell_again(struct port *o)
{
	struct chan_msg gap = {.type = CHAN_GAP, .nic = o->nic, .number = o->mirrored};

	chan_io_send(o->proxy, &gap);
	o->own_told = 0;
	tell_own_addresses(o);
}

/* A unicast frame to the guest's MAC names one of its addresses. */
static void learn(struct port *o, const uint8_t *data, size_t len)
{
	const uint8_t *frame = data + MIRROR_VNET_BYTES;
	size_t n = len - MIRROR_VNET_BYTES;
	struct neigh *neigh = port_neigh(o);
	struct frame f;
	struct pkt pkt;

	neigh_learn_in(neigh, frame, n);
	if (!pkt_of_frame(&pkt, &f, frame, n) || memcmp(f.dst, neigh->mac, 6))
		return;
	compare_inbound(o->proxy->compare, o->nic, &pkt, clock_now_us());
	if (pkt.kind != PKT_OPAQUE)
		neigh_learn_own(neigh, &pkt.dst, f.vlan);
}

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
	struct port *o = arg;
	struct chan_msg m = {.type = CHAN_FRAME_IN,
			     .nic = o->nic,
			     .number = ++o->mirrored,
			     .payload = data,
			     .payload_len = (uint32_t)len};

	o->frames_in++;
	learn(o, data, len);
	chan_io_send(o->proxy, &m);
}

/* Frames may come faster than they are read, and the mirror never run dry. */
#define MIRROR_TURN 1024

/* Frames up to number @upto, and the rest of the last batch; a batch at least. */
static void read_mirror(struct port *o, uint64_t upto)
{
	for (int i = 0; mirror_fd(&o->mirror) >= 0 && i < MIRROR_FULL_BATCHES; i++)
		if (mirror_read(&o->mirror, on_frame, o) < MIRROR_BATCH || o->mirrored >= upto)
			break;
	tell_own_addresses(o);
}

static void check_mirror_loss(struct port *o)
{
	uint64_t lost = mirror_lost(&o->mirror);

	if (lost == o->lost)
		return;
	o->lost = lost;
	compare_lost(o->proxy->compare, "frames to the guest were not mirrored", clock_now_us());
}

/* The last frame that the tap has given away. Where frames have no number, nobody can say: a guest
 * that stands still does not wait for a full mirror then. */
static uint64_t due(struct port *o, const struct tapcount_now *now)
{
	if (!o->has_origin || mirror_lost(&o->mirror) != o->count.lost)
		return o->mirrored + MIRROR_TURN;
	return tapcount_due(&o->count, now);
}

static int take_counts(struct port *o, struct tapcount_now *now)
{
	int r = tap_counters_read(&o->counters, &now->read, &now->dropped);

	read_mirror(o, due(o, now));
	if (o->filtered) /* those that the filter drops count as waiting: the next host has them */
		now->dropped = o->dropped_unfiltered;
	now->mirrored = o->mirrored;
	now->lost = mirror_lost(&o->mirror);
	return r;
}

/* A moment at which nothing waited is a new origin for counting: true, with @now. */
static bool find_origin(struct port *o, struct tapcount_now *now)
{
	struct tapcount_now after;

	if (o->filtered || !port_is_read(o) || take_counts(o, &after) || after.read != now->read ||
	    after.dropped != now->dropped || after.mirrored != now->mirrored)
		return false;
	tapcount_start(&o->count, now, 1);
	o->has_origin = true;
	return true;
}

void primary_side_on_mirror(void *arg, int fd, uint32_t revents)
{
	struct port *o = arg;
	struct proxy *p = o->proxy;
	struct tapcount_now now;
	uint64_t before;

	(void)fd, (void)revents;
	pthread_mutex_lock(&p->lock);
	before = o->mirrored;
	read_mirror(o, before + MIRROR_TURN);
	if (o->mirrored - before >= MIRROR_BATCH)
		check_mirror_loss(o); /* a full batch: the only time when it could fall behind */
	if (!o->has_origin && !take_counts(o, &now))
		find_origin(o, &now);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

/* All that has come to the tap, be it read or not. */
void primary_side_read_mirror(struct port *o)
{
	struct tapcount_now now = {};

	tap_counters_read(&o->counters, &now.read, &now.dropped);
	read_mirror(o, due(o, &now) + TAP_QUEUE_FRAMES);
}

/* ---- its place at a stop ---- */

/*
 * A stopped QEMU reads one frame more and keeps it for the guest until that runs (net/queue.c); what
 * it kept of a full receive ring before is gone with the stop. So the last one read is in the
 * checkpoint only if it was read before the stop was sent. In doubt the secondary gets it again,
 * rather than never.
 */
static bool may_be_held(const struct port *o, const struct proxy_call *c, uint64_t read)
{
	return !c->ran || read > c->read_before[o->nic];
}

/* Nothing was read since the last close; but what QEMU may have held then, a guest that ran since
 * has got. */
static void place_as_before(struct port *o, bool ran)
{
	if (!ran || !o->doubted)
		return;
	o->doubted = false;
	o->mark++;
}

/* Unknown is how many frames without a number the guest has yet to read, but not more than a tap
 * holds. QEMU may hold one. */
static uint64_t place_without_origin(const struct port *o)
{
	uint64_t most = TAP_QUEUE_FRAMES + 1;

	return MAX(o->mark, o->mirrored > most ? o->mirrored - most : 0);
}

/*
 * The mark: number of the last frame that the guest has read; it stands still. Frames that a full tap drops
 * have numbers, too: then the guest may have read less than this says, and the secondary misses
 * those frames as if the network had lost them. What the compare makes of it decides about a
 * checkpoint; there is one right now.
 */
void primary_side_place(struct port *o, const struct proxy_call *c)
{
	struct tapcount_now now = {};

	if (take_counts(o, &now)) {
		o->mark = o->mirrored; /* the tap is gone, and so is the guest */
		return;
	}
	check_mirror_loss(o);
	if (now.read == o->read_at_close) {
		place_as_before(o, c->ran);
		return;
	}
	o->doubted = false;
	if (find_origin(o, &now)) {
		o->mark = now.mirrored;
	} else if (o->has_origin) {
		o->mark = tapcount_place(&o->count, &now).at_most;
	} else {
		o->mark = place_without_origin(o);
		return;
	}
	o->read_at_close = now.read;
	o->doubted = o->mark && may_be_held(o, c, now.read);
	o->mark -= o->doubted;
}

int primary_side_start_count(struct port *o)
{
	struct tapcount_now now = {};

	o->own_told = 0;
	o->mirrored = o->mark = 0;
	o->has_origin = o->doubted = false;
	o->read_at_close = UINT64_MAX;
	if (take_counts(o, &now))
		return -ENODEV;
	o->lost = now.lost;
	find_origin(o, &now); /* else later: frames from before the mirror wait for the guest */
	return 0;
}

/* ---- a switch-over ---- */

/* The switch-over waits, not the guest. */
#define FILTER_WAIT_US (10 * USEC_PER_MSEC)

void primary_side_filter(struct proxy *p)
{
	ports_filter_dry(p, FILTER_WAIT_US);
}

/* The frames that it missed are no part of its future, and not of its replica's either. */
void primary_side_unfilter(struct proxy *p)
{
	ports_filter(p, false);
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];
		struct tapcount_now now = {};

		if (take_counts(o, &now) || !find_origin(o, &now))
			continue;
		o->mark = now.mirrored;
		o->read_at_close = now.read;
		o->doubted = false;
	}
}

void proxy_before_stop(struct proxy *p, struct proxy_call *c)
{
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		uint64_t dropped;

		/* Nothing is known to have been read from a tap that is gone. */
		if (tap_counters_read(&p->ports[i].counters, &c->read_before[i], &dropped))
			c->read_before[i] = 0;
	}
}
