// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's side of the proxy: what the guest sends is held and compared, epoch by epoch. */
#include "proxy/flowfile.h"
#include "proxy/proxy-priv.h"
#include "proxy/tcp-end.h"

#include <errno.h>
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

static bool on_note(void *arg, const struct flow_note *n)
{
	struct chan_msg m = {.type = CHAN_FLOW, .nic = n->key.nic, .note = *n};
	struct proxy *p = arg;

	chan_io_send(p, &m);
	return p->chan.fd >= 0;
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
void primary_side_tell_waiting(struct proxy *p)
{
	struct compare_stats s;

	if (p->compares || p->told_waiting)
		return;
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
	if (p->side == SIDE_PRIMARY)
		primary_side_tell_waiting(p);
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

void primary_side_read_dry(struct proxy *p)
{
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		read_queue_dry(&p->ports[i]);
		primary_side_read_mirror(&p->ports[i]);
	}
}

/* ---- epochs ---- */

_Static_assert(CHAN_REWRITE_ENDS == (TCP_END_FIN_OUT | TCP_END_FIN_IN | TCP_END_RESET),
	       "the flags of CHAN_REWRITE");

struct rewrite_teller {
	struct proxy *p;
	uint64_t epoch;
};

/* The next secondary goes on with it, should it take over. */
static void tell_rewrite(void *arg, const struct flow_key *k, const struct rewrite *r, uint8_t ends)
{
	const struct rewrite_teller *t = arg;
	struct chan_msg m = flowfile_msg(k, r, ends);

	m.number = t->epoch;
	chan_io_send(t->p, &m);
}

void primary_side_tell_closed(struct proxy *p, uint64_t epoch)
{
	struct rewrite_teller t = {p, epoch};

	rewrites_each(replica_net_rewrites(p->replica), tell_rewrite, &t);
	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct chan_msg m = {.type = CHAN_EPOCH,
				     .nic = (uint8_t)i,
				     .number = epoch,
				     .mark = p->ports[i].mark};

		chan_io_send(p, &m);
	}
}

/* Without a connection it will not be heard what the secondary sends in the next epoch. */
void primary_side_close(struct proxy *p, const struct proxy_call *c)
{
	for (unsigned i = 0; i < p->config.nic_count; i++)
		read_queue_dry(&p->ports[i]);
	for (unsigned i = 0; i < p->config.nic_count; i++)
		primary_side_place(&p->ports[i], c);
	primary_side_tell_closed(p, c->epoch);
	proxy_untell_checkpoint(p); /* what differed in the epoch that ends here */
	p->compares = c->runs && p->chan.fd >= 0;
	compare_close_epoch(p->compare, c->epoch, p->compares ? COMPARE_MATCH : COMPARE_HOLD,
			    clock_now_us());
	p->epoch = c->epoch;
	p->closed = true;
	p->told_waiting = false;
}

void primary_side_commit(struct proxy *p, uint64_t epoch)
{
	struct chan_msg m = {.type = CHAN_COMMITTED, .number = epoch};

	if (p->shut) { /* what is released would be lost */
		p->commit_due = epoch;
		return;
	}
	compare_commit(p->compare, epoch, clock_now_us());
	chan_io_send(p, &m);
}

static void on_output_of_secondary(struct proxy *p, const struct chan_msg *m)
{
	const uint8_t *frame = m->payload + CHAN_VNET_BYTES;
	size_t n = m->payload_len - CHAN_VNET_BYTES;
	struct frame f;
	struct pkt pkt;

	if (!pkt_of_frame(&pkt, &f, frame, n))
		return;
	compare_secondary(p->compare, m->nic, m->number, &pkt, clock_now_us());
}

void primary_side_message(struct proxy *p, const struct chan_msg *m)
{
	if (m->type == CHAN_FRAME_OUT)
		on_output_of_secondary(p, m);
	else if (m->type == CHAN_LOST)
		compare_lost(p->compare, "the secondary lost frames", clock_now_us());
}

int primary_side_enter(struct proxy *p, struct err *e)
{
	int r = ports_mirror(p, MIRROR_TO_GUEST, primary_side_on_mirror, e);

	for (unsigned i = 0; !r && i < p->config.nic_count; i++)
		if (primary_side_start_count(&p->ports[i]))
			r = err_set(e, ENODEV, "tap %s is gone", p->ports[i].tap.name);
	return r;
}
