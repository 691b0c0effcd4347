// SPDX-License-Identifier: GPL-2.0-or-later
/* The guest's place in the network: taps in and out of bridges, rules, mirrors, announcements. */
#include "base/cleanup.h"
#include "proxy/flowfile.h"
#include "proxy/proxy-priv.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define QUEUE_RCVBUF_BYTES (32 * MIB)

/* ---- start and end ---- */

static int open_queue(struct proxy *p, struct nfqueue **q, struct err *e)
{
	struct nfqueue_opts opts = {.num = NFQUEUE_ANY,
				    .first = nfqueue_first(p->config.name),
				    .gso = true,
				    .rcvbuf_bytes = QUEUE_RCVBUF_BYTES,
				    .max_packets = p->config.limits.max_held_packets + QUEUE_SLACK};

	return nfqueue_open(q, &opts, e);
}

static void check_bridge(struct proxy *p, const struct port *o)
{
	char text[200];

	if (!o->bridge.bridge_delay_ms)
		return;
	snprintf(text, sizeof(text),
		 "bridge %s runs STP and keeps a new port shut for %u ms: so long would every "
		 "take-over "
		 "last; switch STP off (ip link set %s type bridge stp_state 0)",
		 o->bridge.name, o->bridge.bridge_delay_ms, o->bridge.name);
	proxy_tell(p, TALE_NOTE, 0, text);
}

/* Where a dead proxy left the tap. */
static int find_place(struct proxy *p, struct port *o, struct err *e)
{
	bool in = o->bridge.index ? o->tap.master == o->bridge.index &&
					    o->tap.port_state == NETLINK_PORT_FORWARDING
				  : o->tap.is_up;
	int r = 0;

	if (p->config.found == PROXY_FOUND_NOTHING)
		return 0;
	tap_set_filter(o->tap_fd, false);
	o->joined = in && p->config.found != PROXY_FOUND_REPLICA;
	if (p->config.found != PROXY_FOUND_REPLICA)
		return 0;
	if (!o->bridge.index)
		r = netlink_set_up(&p->netlink, &o->tap, false, e);
	else if (o->tap.master)
		r = netlink_release(&p->netlink, &o->tap, e);
	return r ? r : tap_set_host_silent(o->tap.name, true, e);
}

static int open_links(struct proxy *p, struct port *o, struct err *e)
{
	const struct proxy_nic *nic = &p->config.nics[o->nic];
	int r = netlink_get(&p->netlink, nic->tap, &o->tap, e);

	if (!r && nic->bridge[0])
		r = netlink_get_bridge(&p->netlink, nic->bridge, &o->bridge, e);
	if (!r)
		r = find_place(p, o, e);
	if (!r)
		r = tap_counters_open(&o->counters, nic->tap, o->tap.index, e);
	if (!r)
		check_bridge(p, o);
	/* Up for the guest's sake: out of its bridge nobody else is on it. */
	if (!r && nic->bridge[0])
		r = netlink_set_up(&p->netlink, &o->tap, true, e);
	return r;
}

static void closer_run(struct job *job)
{
	struct closer *c = container_of(job, struct closer, job);

	mirror_close(&c->mirror);
}

static void closer_done(struct job *job)
{
	container_of(job, struct closer, job)->busy = false;
}

static int open_port(struct proxy *p, unsigned i, struct err *e)
{
	struct port *o = &p->ports[i];
	int r;

	o->proxy = p;
	o->nic = (uint8_t)i;
	o->closer.job.run = closer_run;
	o->closer.job.done = closer_done;
	list_init(&o->closer.job.mail.link);
	o->tap_fd = p->config.nics[i].tap_fd;
	r = open_links(p, o, e);
	if (!r)
		r = open_queue(p, &o->out, e);
	if (!r)
		r = open_queue(p, &o->in, e);
	if (!r && (loop_add_io(p->loop, &o->out_src, nfqueue_fd(o->out), EPOLLIN,
			       primary_side_on_queue, o) ||
		   loop_add_io(p->loop, &o->in_src, nfqueue_fd(o->in), EPOLLIN,
			       replica_side_on_inbound, o)))
		r = err_errno(e, ENOMEM, "proxy");
	return r;
}

static int install_rules(struct proxy *p, struct err *e)
{
	struct rules_nic nics[PROXY_MAX_NICS] = {};
	int kind = rules_probe((enum rules_kind)p->config.netfilter, e), r;

	if (kind < 0)
		return kind;
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		memcpy(nics[i].tap, p->config.nics[i].tap, sizeof(nics[i].tap));
		memcpy(nics[i].bridge, p->config.nics[i].bridge, sizeof(nics[i].bridge));
		nics[i].queue = nfqueue_num(p->ports[i].out);
		nics[i].inbound_queue = nfqueue_num(p->ports[i].in);
	}
	if (p->config.found == PROXY_FOUND_HELD || proxy_rewrites(p))
		r = rules_take_over(&p->rules, (enum rules_kind)kind, p->config.name, nics,
				    p->config.nic_count, proxy_rewrites(p), e);
	else
		r = rules_install(&p->rules, (enum rules_kind)kind, p->config.name, nics,
				  p->config.nic_count, e);
	p->rules_installed = !r;
	return r;
}

/* Connections whose numbers the guest does not know would break without us. */
static void find_flows(struct proxy *p)
{
	struct rewrites *w = replica_net_rewrites(p->replica);
	bool heard = p->config.found == PROXY_FOUND_PASSING || p->config.found == PROXY_FOUND_HELD;
	struct err e;

	if (!p->config.flows_path)
		return;
	if (!heard)
		unlink(p->config.flows_path);
	else if (flowfile_load(p->config.flows_path, w, p->config.nic_count, clock_now_us(), &e))
		proxy_tell(p, TALE_NOTE, 0, err_msg(&e));
	p->flows_saved = w->changes;
}

/* Of connections that are there nothing is known; before the first packet is read. */
static void go_on_holding(struct proxy *p)
{
	if (p->config.found != PROXY_FOUND_HELD)
		return;
	p->epoch = p->config.found_epoch;
	compare_unseen(p->compare);
	compare_close_epoch(p->compare, p->epoch, COMPARE_HOLD, clock_now_us());
}

int ports_open(struct proxy *p, struct err *e)
{
	int r = netlink_open(&p->netlink, e);

	find_flows(p);
	go_on_holding(p);
	if (!r)
		r = worker_start(&p->closer, p->loop, "colod-closer", e);
	for (unsigned i = 0; !r && i < p->config.nic_count; i++)
		r = open_port(p, i, e);
	if (!r)
		r = install_rules(p, e);
	return r ? r : guard_open(p, e);
}

static void close_port(struct port *o)
{
	loop_src_free(&o->mirror_src);
	mirror_close(&o->mirror);
	loop_src_free(&o->out_src);
	loop_src_free(&o->in_src);
	nfqueue_close(o->out);
	nfqueue_close(o->in);
	tap_counters_close(&o->counters);
}

void ports_close(struct proxy *p)
{
	struct err e;

	guard_close(p);
	ports_filter(p, false);
	if (p->rules_installed) {
		rules_remove(&p->rules, &e);
		if (p->config.flows_path)
			unlink(p->config.flows_path);
	}
	for (unsigned i = 0; i < p->config.nic_count; i++)
		close_port(&p->ports[i]);
	if (p->closer)
		worker_stop(p->closer);
	netlink_close(&p->netlink);
}

/* ---- rules and mirrors ---- */

int ports_set_rules(struct proxy *p, enum rules_mode mode, bool inbound, struct err *e)
{
	bool differs = false;

	for (unsigned i = 0; i < p->config.nic_count; i++)
		differs |= p->rules.mode[i] != mode || p->rules.inbound[i] != inbound;
	return differs ? rules_set_all(&p->rules, mode, inbound, e) : 0;
}

/* Closing waits for the kernel's readers, tens of milliseconds: not on the thread that packets wait
 * for. */
static void close_aside(struct proxy *p, struct port *o)
{
	struct closer *c = &o->closer;

	loop_src_free(&o->mirror_src);
	if (mirror_fd(&o->mirror) < 0)
		return;
	if (c->busy) {
		mirror_close(&o->mirror);
		return;
	}
	c->mirror = o->mirror;
	o->mirror = (struct mirror){.fd = -1, .send_fd = -1, .bypass_fd = -1};
	c->busy = true;
	worker_submit(p->closer, &c->job);
}

/* Still open for injection, no longer read. */
void ports_deafen(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		loop_src_free(&p->ports[i].mirror_src);
}

void ports_stop_mirror(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		close_aside(p, &p->ports[i]);
}

int ports_mirror(struct proxy *p, enum mirror_direction direction, loop_io_fn fn, struct err *e)
{
	int r = 0;

	ports_stop_mirror(p);
	for (unsigned i = 0; !r && i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];

		r = mirror_open(&o->mirror, o->tap.index, direction, MIRROR_RCVBUF_BYTES, e);
		if (!r &&
		    loop_add_io(p->loop, &o->mirror_src, mirror_fd(&o->mirror), EPOLLIN, fn, o))
			r = err_errno(e, ENOMEM, "proxy");
	}
	return r;
}

/* ---- what reaches the guest ---- */

static void filter(struct port *o, bool on)
{
	uint64_t read;

	if (o->filtered == on)
		return;
	if (on && tap_counters_read(&o->counters, &read, &o->dropped_unfiltered))
		return; /* the tap is gone */
	if (!tap_set_filter(o->tap_fd, on))
		o->filtered = on;
}

void ports_filter(struct proxy *p, bool on)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		filter(&p->ports[i], on);
}

bool port_is_read(const struct port *o)
{
	struct pollfd fd = {.fd = o->tap_fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 0;
}

static bool all_are_read(const struct proxy *p)
{
	bool read = true;

	for (unsigned i = 0; i < p->config.nic_count; i++)
		read &= port_is_read(&p->ports[i]);
	return read;
}

#define LOOK_US 50

void ports_filter_dry(struct proxy *p, uint64_t wait_us)
{
	uint64_t end = clock_now_us() + wait_us;

	ports_filter(p, true);
	while (!all_are_read(p) && clock_now_us() < end)
		usleep(LOOK_US);
}

/* ---- bridges ---- */

/* A bridge takes the smallest MTU of its ports (br_mtu_auto_adjust()): one that has grown since the
 * start must not shrink again when the guest comes. */
static void keep_mtu(struct proxy *p, struct port *o)
{
	struct netlink_link now;

	if (!netlink_get_index(&p->netlink, o->bridge.index, &now, NULL) && now.mtu > o->tap.mtu &&
	    !netlink_set_mtu(&p->netlink, &o->tap, now.mtu, NULL))
		o->tap.mtu = now.mtu;
}

static int enslave(struct proxy *p, struct port *o, struct err *e)
{
	struct netlink_link now;
	struct err first = {};
	int r;

	keep_mtu(p, o);
	r = netlink_enslave(&p->netlink, &o->tap, &o->bridge, &first);
	if (!r)
		return 0;
	if (netlink_get_bridge(&p->netlink, o->bridge.name, &now, NULL) ||
	    now.index == o->bridge.index) {
		*e = first;
		return r;
	}
	o->bridge = now; /* made anew since */
	check_bridge(p, o);
	keep_mtu(p, o);
	return netlink_enslave(&p->netlink, &o->tap, &o->bridge, e);
}

static int join(struct proxy *p, struct port *o, struct err *e)
{
	int r = 0;

	filter(o, false);
	if (o->joined)
		return 0;
	o->leaving = false;
	tap_set_host_silent(o->tap.name, false, NULL);
	if (o->bridge.index) {
		r = enslave(p, o, e);
		if (!r)
			netlink_set_port_state(&p->netlink, &o->tap, NETLINK_PORT_FORWARDING, NULL);
	}
	if (!r)
		r = netlink_set_up(&p->netlink, &o->tap, true, e);
	o->joined = !r;
	o->shut &= r != 0;
	if (r)
		tap_set_host_silent(o->tap.name, true, NULL);
	return r;
}

/* A port that is shut drops even what a rule releases: ARP, neighbour discovery. One that is learning
 * does so behind the packet filter, so that what is to be held is (br_handle_frame_finish()). */
static void shut(struct proxy *p, struct port *o, struct err *e)
{
	if (!o->joined)
		return;
	if (!o->bridge.index ||
	    netlink_set_port_state(&p->netlink, &o->tap, NETLINK_PORT_LEARNING, NULL))
		netlink_set_up(&p->netlink, &o->tap, false, e);
	o->joined = false;
	o->shut = true;
}

void ports_shut(struct proxy *p, struct err *e)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		shut(p, &p->ports[i], e);
}

int ports_join(struct proxy *p, struct err *e)
{
	int first = 0;

	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct err other;
		int r = join(p, &p->ports[i], first ? &other : e);

		first = first ? first : r;
	}
	return first;
}

void ports_join_again(struct proxy *p)
{
	bool waited = false;
	struct err e;

	for (unsigned i = 0; i < p->config.nic_count; i++)
		waited |= !p->ports[i].joined;
	if (!waited || ports_join(p, &e))
		return;
	proxy_tell(p, TALE_NOTE, 0, "the guest is back in the network: all its taps have joined");
	ports_announce(p);
}

/* Nothing is routed to it as long as it is the replica's; a tap that is down passes nothing on. */
int ports_set_routed_up(struct proxy *p, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < p->config.nic_count; i++)
		if (!p->ports[i].bridge.index)
			r = netlink_set_up(&p->netlink, &p->ports[i].tap, true, e);
	return r;
}

void ports_mute(struct proxy *p, struct err *e)
{
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];

		if (!o->joined && !o->shut)
			continue;
		if (o->bridge.index)
			netlink_set_port_state(&p->netlink, &o->tap, NETLINK_PORT_DISABLED, NULL);
		else if (!netlink_set_up(&p->netlink, &o->tap, false, e))
			tap_set_host_silent(o->tap.name, true, NULL);
	}
}

void ports_leave(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];
		struct chan_msg m = {.type = CHAN_LEFT, .nic = o->nic};

		o->leaving |= (o->joined || o->shut) && o->bridge.index;
		o->joined = o->shut = false;
		chan_io_send(p, &m);
	}
	chan_io_flush(p);
	loop_defer_arm(p->leave);
}

/* The port is silent already; taking it out waits for the kernel's readers. */
void ports_on_leave(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];

		if (!o->leaving)
			continue;
		o->leaving = false;
		netlink_release(&p->netlink, &o->tap, NULL);
		tap_set_host_silent(o->tap.name, true, NULL);
		netlink_set_up(&p->netlink, &o->tap, true, NULL);
	}
	pthread_mutex_unlock(&p->lock);
}

/* ---- announcements ---- */

/* QEMU has set the length of the header that its guest wants: 10 or 12 bytes. */
void port_write(struct port *o, const uint8_t *vnet, const uint8_t *frame, size_t len)
{
	uint8_t head[32] = {};
	int head_bytes = 0;
	struct iovec iov[2] = {{head, 0}, {(void *)frame, len}};

	if (ioctl(o->tap_fd, TUNGETVNETHDRSZ, &head_bytes) || head_bytes < REPLICA_VNET_BYTES ||
	    head_bytes > (int)sizeof(head))
		return;
	memcpy(head, vnet, REPLICA_VNET_BYTES);
	iov[0].iov_len = (size_t)head_bytes;
	/* A frame that finds no room is a frame that the network lost. */
	if (writev(o->tap_fd, iov, 2) < 0)
		return;
}

static void announce_port(struct port *o)
{
	static const uint8_t plain[REPLICA_VNET_BYTES];
	uint8_t frame[NEIGH_FRAME_MAX];
	size_t n;

	for (unsigned i = 0; (n = neigh_announcement(port_neigh(o), i, frame)); i++)
		port_write(o, plain, frame, n);
}

#define ANNOUNCE_FIRST_US (50 * USEC_PER_MSEC)

static void announce(struct proxy *p)
{
	if (p->side != SIDE_PASS && p->side != SIDE_PRIMARY)
		return;
	for (unsigned i = 0; i < p->config.nic_count; i++)
		if (p->ports[i].joined && p->ports[i].bridge.index)
			announce_port(&p->ports[i]);
	if (++p->announced < p->config.announce_count)
		loop_timer_arm(p->announce, ANNOUNCE_FIRST_US << MIN(p->announced, 6));
}

void ports_on_announce(void *arg)
{
	struct proxy *p = arg;

	pthread_mutex_lock(&p->lock);
	announce(p);
	pthread_mutex_unlock(&p->lock);
}

void ports_announce(struct proxy *p)
{
	p->announced = 0;
	announce(p);
}
