// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's side of the proxy: what the guest sends is held and compared, what it gets is
 * mirrored. */
#include "proxy/proxy-priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* ---- verdicts ---- */

/* Few: packets of connections from before a take-over. The ids of a NIC ascend. */
static struct kept *find_rewritten(struct proxy *p, uint8_t nic, uint32_t id)
{
	struct kept *k = framebuf_first(&p->rewritten);

	while (k && (k->nic != nic || (int32_t)((uint32_t)k->user[0] - id) < 0))
		k = framebuf_next(&p->rewritten, k);
	return k && k->user[0] == id ? k : NULL;
}

static void on_release(void *arg, uint8_t nic, uint32_t id, enum release_cause cause)
{
	struct proxy *p = arg;
	struct kept *k = find_rewritten(p, nic, id);

	(void)cause;
	if (!k) {
		nfqueue_accept(p->ports[nic].out, id);
		return;
	}
	nfqueue_accept_mangled(p->ports[nic].out, id, k->data, k->len);
	framebuf_drop(&p->rewritten, k);
}

static void on_drop(void *arg, uint8_t nic, uint32_t id)
{
	struct proxy *p = arg;
	struct kept *k = find_rewritten(p, nic, id);

	if (k)
		framebuf_drop(&p->rewritten, k);
	nfqueue_drop(p->ports[nic].out, id);
}

static void on_checkpoint(void *arg, enum mismatch_reason reason)
{
	struct proxy *p = arg;

	if (p->side == SIDE_PRIMARY)
		proxy_tell(p, TALE_CHECKPOINT, reason, NULL);
}

static void on_note(void *arg, const struct flow_note *n)
{
	struct chan_msg m = {.type = CHAN_FLOW, .nic = n->key.nic, .note = *n};

	chan_io_send(arg, &m);
}

const struct compare_ops proxy_compare_ops = {
	.release = on_release,
	.drop = on_drop,
	.checkpoint = on_checkpoint,
	.note = on_note,
};

/*
 * ---- the guest's output ----
 *
 * VLAN tags are left out of the flows' keys, here and on the secondary: under iptables the kernel
 * does not tell them. Two VLANs with the same addresses and ports would share a flow, and differ.
 */

bool proxy_rewrites(const struct proxy *p)
{
	return replica_net_rewrites(p->replica)->flows.used;
}

/* The kernel completes super-frames when it cuts them; to anything else it does not look again. */
void rewritten_checksum(const struct nfqueue_packet *n, uint8_t *data)
{
	struct pkt pkt;

	if (!n->csum_partial || n->gso)
		return;
	pkt_parse_ip(&pkt, data, n->len, 0);
	l4_checksum_fill(data, &pkt);
}

/* What the network is to see of a packet that waits; false when there is no room for it. */
static bool keep_rewritten(struct port *o, const struct nfqueue_packet *n, const struct pkt *pkt)
{
	struct proxy *p = o->proxy;
	struct kept *k;

	if ((pkt->kind != PKT_TCP && pkt->kind != PKT_ICMP) || n->len < n->full_len)
		return true;
	memcpy(p->scratch, n->data, n->len);
	if (!rewrites_out(replica_net_rewrites(p->replica), o->nic, p->scratch, pkt,
			  n->csum_partial, clock_now_us()))
		return true;
	rewritten_checksum(n, p->scratch);
	k = framebuf_add(&p->rewritten, p->scratch, n->len, NULL, 0);
	if (!k)
		return false;
	k->nic = o->nic;
	k->user[0] = n->id;
	return true;
}

/* In an epoch that is not compared every packet needs the checkpoint, but for those that pass
 * anyway. */
static void tell_waiting(struct proxy *p)
{
	struct compare_stats s;

	compare_get_stats(p->compare, &s);
	if (!s.held_packets)
		return;
	p->told_waiting = true;
	proxy_tell(p, TALE_WAITING, 0, NULL);
}

static void on_packet(void *arg, const struct nfqueue_packet *n)
{
	struct port *o = arg;
	struct proxy *p = o->proxy;
	struct pkt pkt;

	if (n->indev && n->indev != (uint32_t)o->tap.index) {
		nfqueue_drop(o->out,
			     n->id); /* of a guest whose colod died and had our number (S3) */
		return;
	}
	o->frames_out++;
	pkt_parse_ip(&pkt, n->data, n->len, 0);
	if (proxy_rewrites(p) && !keep_rewritten(o, n, &pkt)) {
		nfqueue_drop(o->out, n->id); /* no room: as if the network had lost it */
		return;
	}
	compare_primary(p->compare, o->nic, n->id, &pkt, clock_now_us());
	if (p->side == SIDE_PRIMARY && !p->compares && !p->told_waiting)
		tell_waiting(p);
}

static void check_queue_loss(struct port *o)
{
	uint64_t overruns = nfqueue_stats(o->out)->overruns;

	if (overruns == o->overruns)
		return;
	o->overruns = overruns;
	compare_lost(o->proxy->compare, "the netfilter queue overran", clock_now_us());
}

void primary_side_on_queue(void *arg, int fd, uint32_t revents)
{
	struct port *o = arg;
	struct proxy *p = o->proxy;

	(void)fd, (void)revents;
	pthread_mutex_lock(&p->lock);
	nfqueue_read(o->out, on_packet, o);
	check_queue_loss(o);
	proxy_settle(p);
	pthread_mutex_unlock(&p->lock);
}

/* What waits, which is no more than the kernel holds, but not all that a guest that runs adds. */
static void read_queue_dry(struct port *o)
{
	uint64_t left = (uint64_t)o->proxy->config.limits.max_held_packets + QUEUE_SLACK;
	int n;

	while ((n = nfqueue_read(o->out, on_packet, o)) > 0 && (uint64_t)n < left)
		left -= (uint64_t)n;
	check_queue_loss(o);
}

/* ---- the guest's input ---- */

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

/* A unicast frame to the guest's MAC names one of its addresses. */
static void learn(struct port *o, const uint8_t *data, size_t len)
{
	const uint8_t *frame = data + MIRROR_VNET_BYTES;
	size_t n = len - MIRROR_VNET_BYTES;
	struct neigh *neigh = port_neigh(o);
	struct frame f;
	struct pkt pkt;

	neigh_learn_in(neigh, frame, n);
	if (frame_parse(&f, frame, n) || memcmp(f.dst, neigh->mac, 6) || !frame_is_ip(&f))
		return;
	pkt_parse_ip(&pkt, frame + f.l3_off, n - f.l3_off, 0);
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
	o->mirrored_at_us[o->mirrored % ARRIVALS] = clock_now_us();
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

/* No frame waits for the guest: the tap's own word, for all descriptors of it. */
static bool tap_is_empty(const struct port *o)
{
	struct pollfd fd = {.fd = o->tap_fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 0;
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

	if (o->filtered || !tap_is_empty(o) || take_counts(o, &after) || after.read != now->read ||
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

void primary_side_read_dry(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		read_queue_dry(&p->ports[i]);
		primary_side_read_mirror(&p->ports[i]);
	}
}

/* ---- epochs ---- */

/*
 * A stopped QEMU reads one frame more and keeps it for the guest (net/queue.c). So the last one
 * read is in the checkpoint only if it came before the stop, and long enough for QEMU's loop to
 * have come round. In doubt the secondary gets it again, rather than never.
 */
#define QEMU_ROUND_US 300

static bool may_be_held(const struct port *o, uint64_t number, uint64_t stop_at_us)
{
	return o->mirrored - number < ARRIVALS &&
	       o->mirrored_at_us[number % ARRIVALS] + QEMU_ROUND_US > stop_at_us;
}

/* Unknown is how many frames without a number the guest has yet to read, but not more than a tap
 * holds. QEMU may hold one. */
static uint64_t place_without_origin(const struct port *o)
{
	uint64_t most = TAP_QUEUE_FRAMES + 1;

	return MAX(o->mark, o->mirrored > most ? o->mirrored - most : 0);
}

/*
 * Number of the last frame that the guest has read; it stands still. Frames that a full tap drops
 * have numbers, too: then the guest may have read less than this says, and the secondary misses
 * those frames as if the network had lost them. What the compare makes of it decides about a
 * checkpoint; there is one right now.
 */
static uint64_t place_of_guest(struct port *o, uint64_t stop_at_us)
{
	struct tapcount_now now = {};

	if (take_counts(o, &now))
		return o->mirrored; /* the tap is gone, and so is the guest */
	check_mirror_loss(o);
	if (now.read == o->read_at_close)
		return o->mark;
	if (find_origin(o, &now)) {
		o->mark = now.mirrored;
	} else if (o->has_origin) {
		o->mark = tapcount_place(&o->count, &now).at_most;
	} else {
		o->mark = place_without_origin(o);
		return o->mark;
	}
	o->read_at_close = now.read;
	if (o->mark && may_be_held(o, o->mark, stop_at_us))
		o->mark--;
	return o->mark;
}

struct rewrite_teller {
	struct proxy *p;
	uint64_t epoch;
};

/* The next secondary goes on with it, should it take over. */
static void tell_rewrite(void *arg, const struct flow_key *k, const struct rewrite *r)
{
	const struct rewrite_teller *t = arg;
	struct chan_msg m = {.type = CHAN_REWRITE,
			     .nic = k->nic,
			     .number = t->epoch,
			     .rewrite = {*k, r->seq_offset, r->ts_offset}};

	chan_io_send(t->p, &m);
}

void primary_side_close(struct proxy *p, uint64_t epoch, bool runs, uint64_t stop_at_us)
{
	struct rewrite_teller t = {p, epoch};

	for (unsigned i = 0; i < p->config.nic_count; i++)
		read_queue_dry(&p->ports[i]);
	rewrites_each(replica_net_rewrites(p->replica), tell_rewrite, &t);
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct chan_msg m = {.type = CHAN_EPOCH,
				     .nic = (uint8_t)i,
				     .number = epoch,
				     .mark = place_of_guest(&p->ports[i], stop_at_us)};

		chan_io_send(p, &m);
	}
	compare_close_epoch(p->compare, epoch, runs ? COMPARE_MATCH : COMPARE_HOLD, clock_now_us());
	p->epoch = epoch;
	p->compares = runs;
	p->told_waiting = false;
}

void primary_side_commit(struct proxy *p, uint64_t epoch)
{
	struct chan_msg m = {.type = CHAN_COMMITTED, .number = epoch};

	compare_commit(p->compare, epoch, clock_now_us());
	chan_io_send(p, &m);
}

static void on_output_of_secondary(struct proxy *p, const struct chan_msg *m)
{
	const uint8_t *frame = m->payload + CHAN_VNET_BYTES;
	size_t n = m->payload_len - CHAN_VNET_BYTES;
	struct frame f;
	struct pkt pkt;

	if (frame_parse(&f, frame, n) || !frame_is_ip(&f))
		return;
	pkt_parse_ip(&pkt, frame + f.l3_off, n - f.l3_off, 0);
	compare_secondary(p->compare, m->nic, m->number, &pkt, clock_now_us());
}

void primary_side_message(struct proxy *p, const struct chan_msg *m)
{
	if (m->type == CHAN_FRAME_OUT)
		on_output_of_secondary(p, m);
	else if (m->type == CHAN_LOST)
		compare_lost(p->compare, "the secondary lost frames", clock_now_us());
}

static int start_count(struct port *o)
{
	struct tapcount_now now = {};

	o->own_told = 0;
	o->mirrored = o->mark = 0;
	o->has_origin = false;
	o->read_at_close = UINT64_MAX;
	if (take_counts(o, &now))
		return -ENODEV;
	o->lost = now.lost;
	find_origin(o, &now); /* else later: frames from before the mirror wait for the guest */
	return 0;
}

int primary_side_enter(struct proxy *p, struct err *e)
{
	int r = ports_mirror(p, MIRROR_TO_GUEST, primary_side_on_mirror, e);

	for (unsigned i = 0; !r && i < p->config.nic_count; i++)
		if (start_count(&p->ports[i]))
			r = err_set(e, ENODEV, "tap %s is gone", p->ports[i].tap.name);
	return r;
}
