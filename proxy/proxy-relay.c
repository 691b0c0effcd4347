// SPDX-License-Identifier: GPL-2.0-or-later
/* Between two hosts: the old one passes on what still comes for the guest until the new one has
 * joined (S5). */
#include "proxy/proxy-priv.h"

#include <linux/virtio_net.h>
#include <poll.h>
#include <string.h>

/*
 * The old host's guest stands still or is dead: it cannot be heard (S3), so its tap may stay in the
 * bridge as the ear of the new one until the network has learnt the new place. What is passed on:
 *
 *   old                                           new
 *   MUTE      -------------------------------->   takes over: joins, announces
 *   FRAME_IN  -------------------------------->   gives it to its guest
 *             <--------------------------------   JOINED
 *   last FRAME_IN, LEFT ---------------------->   that was all
 */
#define RELAY_MAX_US (500 * USEC_PER_MSEC)

static void read_mirrors(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		if (mirror_fd(&p->ports[i].mirror) >= 0)
			primary_side_read_mirror(&p->ports[i]);
}

/* Out of the network; if the daemon has said so meanwhile, the replica's side begins. */
static void depart(struct proxy *p)
{
	bool second = p->second_after_relay;
	struct err e = {};

	p->second_after_relay = false;
	loop_timer_disarm(p->relay);
	ports_mute(p, &e);
	read_mirrors(p);
	ports_leave(p);
	ports_stop_mirror(p);
	p->side = SIDE_SILENT;
	p->shut = false;
	if (e.code)
		proxy_tell(p, TALE_NOTE, 0, err_msg(&e));
	if (second)
		secondary_begin(p, p->epoch);
	else
		chan_io_pause(p, true); /* what comes now is for the side that begins next */
}

void relay_on_timer(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	if (p->side == SIDE_RELAY)
		depart(p);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

void relay_begin(struct proxy *p)
{
	struct chan_msg mute = {.type = CHAN_MUTE};
	bool heard = p->side == SIDE_PRIMARY && p->chan.fd >= 0;

	if (p->side == SIDE_RELAY)
		return;
	if (heard)
		primary_side_read_dry(p);
	compare_drop_all(p->compare);
	for (unsigned i = 0; i < p->config.nic_count; i++)
		nfqueue_flush(p->ports[i].out);
	if (!heard) {
		depart(p);
		return;
	}
	p->side = SIDE_RELAY;
	p->second_after_relay = false;
	chan_io_send(p, &mute);
	chan_io_flush(p);
	loop_timer_arm(p->relay, RELAY_MAX_US);
}

void relay_end(struct proxy *p)
{
	if (p->side == SIDE_RELAY)
		depart(p);
}

void relay_await(struct proxy *p)
{
	uint64_t end = clock_now_us() + RELAY_MAX_US;

	while (p->side == SIDE_RELAY && p->chan.fd >= 0 && clock_now_us() < end) {
		struct pollfd fds[1 + PROXY_MAX_NICS] = {{.fd = p->chan.fd, .events = POLLIN}};

		for (unsigned i = 0; i < p->config.nic_count; i++)
			fds[1 + i] = (struct pollfd){.fd = mirror_fd(&p->ports[i].mirror),
						     .events = POLLIN};
		poll(fds, 1 + p->config.nic_count, 10);
		read_mirrors(p);
		chan_io_flush(p);
		chan_io_drain(p);
	}
	relay_end(p);
}

void relay_message(struct proxy *p, const struct chan_msg *m)
{
	if (m->type == CHAN_JOINED)
		depart(p);
}

/* ---- the new host ---- */

void relay_joined(struct proxy *p, bool planned)
{
	struct chan_msg m = {.type = CHAN_JOINED};

	p->left = 0;
	p->hears_relay = p->chan.fd >= 0;
	p->relay_is_raw = planned;
	chan_io_send(p, &m);
	chan_io_flush(p);
}

/* Group frames reach this host's tap by the network, too. */
static bool is_for_all(const struct chan_msg *m)
{
	return m->payload[CHAN_VNET_BYTES] & 1;
}

/*
 * After a switch-over this guest's numbers are the old one's. After a failover a connection's may
 * differ by what this host rewrites from now on.
 */
static void rewrite(struct proxy *p, const struct chan_msg *m)
{
	uint8_t *frame = p->scratch + CHAN_VNET_BYTES;
	size_t n = m->payload_len - CHAN_VNET_BYTES;
	struct frame f;
	struct pkt pkt;

	if (p->relay_is_raw || !pkt_of_frame(&pkt, &f, frame, n))
		return;
	rewrites_in(replica_net_rewrites(p->replica), m->nic, frame + f.l3_off, &pkt,
		    p->scratch[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM, clock_now_us());
}

bool relay_hears(struct proxy *p, const struct chan_msg *m)
{
	struct port *o = &p->ports[m->nic];

	if (!p->hears_relay)
		return false;
	if (m->type == CHAN_LEFT)
		p->hears_relay = ++p->left < p->config.nic_count;
	if (m->type != CHAN_FRAME_IN || is_for_all(m) || m->payload_len > sizeof(p->scratch))
		return m->type == CHAN_FRAME_IN;
	memcpy(p->scratch, m->payload, m->payload_len);
	rewrite(p, m);
	mirror_inject(&o->mirror, p->scratch, m->payload_len);
	return true;
}
