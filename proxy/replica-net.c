// SPDX-License-Identifier: GPL-2.0-or-later
/* The replica's packets: the state table, and what each event does to inbox, outbox and connections. */
#include "proxy/replica-net.h"

#include "proxy/outbox.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MIN  (REPLICA_VNET_BYTES + 14)
#define FRAME_MAX  (REPLICA_VNET_BYTES + PKT_MAX_BYTES + 64)
#define NEEDS_CSUM 1 /* VIRTIO_NET_HDR_F_NEEDS_CSUM, in the vnet header's first byte */

enum event { EV_STOPPED, EV_RUNNING, EV_RUNNING_UNMARKED, EV_MARKED, EV_TAKE_OVER, EVENTS };
enum action { ACT_NONE, ACT_INJECT, ACT_GO_LIVE };

#define TO(action_, state_)                                                                        \
	{                                                                                          \
		.action = ACT_##action_, .next = REPLICA_##state_                                  \
	}

static const struct cell {
	enum action action;
	enum replica_state next;
} table[REPLICA_STATES][EVENTS] = {
	[REPLICA_STOPPED] =
		{
			[EV_STOPPED] = TO(NONE, STOPPED),
			[EV_RUNNING] = TO(INJECT, RUNNING),
			[EV_RUNNING_UNMARKED] = TO(NONE, WAITING),
			[EV_MARKED] = TO(NONE, STOPPED),
			[EV_TAKE_OVER] = TO(GO_LIVE, LIVE),
		},
	[REPLICA_WAITING] =
		{
			[EV_STOPPED] = TO(NONE, STOPPED),
			[EV_RUNNING] = TO(INJECT, RUNNING),
			[EV_RUNNING_UNMARKED] = TO(NONE, WAITING),
			[EV_MARKED] = TO(INJECT, RUNNING),
			[EV_TAKE_OVER] = TO(GO_LIVE, LIVE),
		},
	[REPLICA_RUNNING] =
		{
			[EV_STOPPED] = TO(NONE, STOPPED),
			[EV_RUNNING] = TO(NONE, RUNNING),
			[EV_RUNNING_UNMARKED] = TO(NONE, WAITING),
			[EV_MARKED] = TO(NONE, RUNNING),
			[EV_TAKE_OVER] = TO(GO_LIVE, LIVE),
		},
	[REPLICA_LIVE] =
		{
			[EV_STOPPED] = TO(NONE, LIVE),
			[EV_RUNNING] = TO(NONE, LIVE),
			[EV_RUNNING_UNMARKED] = TO(NONE, LIVE),
			[EV_MARKED] = TO(NONE, LIVE),
			[EV_TAKE_OVER] = TO(NONE, LIVE),
		},
};

/** struct replica_net - @told: of a loss; the next checkpoint makes up for it
 * @behind: bits, NICs whose frames wait for room */
struct replica_net {
	const struct replica_net_ops *ops;
	void *arg;
	enum replica_state state;
	bool told;
	uint32_t behind;
	unsigned nic_count;
	const struct bypass *bypass;
	struct neigh neighs[REPLICA_MAX_NICS];
	struct inbox inbox;
	struct outbox outbox;
	struct rewrites rewrites;
	struct replica_net_stats stats;
	uint8_t scratch[FRAME_MAX];
};

/** struct view - a frame taken apart; @l3: where its IP packet begins */
struct view {
	bool is_ip, partial;
	size_t l3;
	struct pkt p;
};

static void view_frame(struct view *v, const uint8_t *data, size_t len)
{
	struct frame f;

	*v = (struct view){.partial = data[0] & NEEDS_CSUM};
	v->is_ip = pkt_of_frame(&v->p, &f, data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES);
	if (v->is_ip)
		v->l3 = REPLICA_VNET_BYTES + f.l3_off;
}

static bool is_usable(const struct replica_net *r, uint8_t nic, size_t len)
{
	return nic < r->nic_count && len >= FRAME_MIN && len <= FRAME_MAX;
}

static void tell_losses(struct replica_net *r)
{
	uint64_t losses = r->inbox.losses;

	r->inbox.losses = 0;
	r->stats.lost += losses;
	if (!losses || r->told)
		return;
	r->told = true;
	r->ops->lost(r->arg, losses);
}

/* In the replica's own numbers. A copy is changed, for the frame itself is still needed as it is. */
static const uint8_t *translated(struct replica_net *r, uint8_t nic, const uint8_t *data,
				 size_t len)
{
	const struct rewrite *own;
	struct view v;
	struct pkt q;
	bool error;

	view_frame(&v, data, len);
	if (!v.is_ip)
		return data;
	error = pkt_parse_quote(&q, &v.p);
	own = error ? outbox_quoted(&r->outbox, nic, &q) : outbox_to_guest(&r->outbox, nic, &v.p);
	if (!own)
		return data;
	memcpy(r->scratch, data, len);
	if (error)
		rewrite_quoted_in(own, r->scratch + v.l3, &v.p, &q, v.partial);
	else
		rewrite_in(own, r->scratch + v.l3, &v.p, v.partial);
	return r->scratch;
}

static void inject(struct replica_net *r, uint8_t nic, uint64_t number, const uint8_t *data,
		   size_t len)
{
	int error = r->ops->inject(r->arg, nic, translated(r, nic, data, len), len);

	if (error == -EAGAIN) {
		r->behind |= BIT(nic);
		return;
	}
	inbox_given(&r->inbox, nic, number);
	if (error)
		r->inbox.losses++;
	else
		r->stats.injected++;
}

static void inject_kept(struct replica_net *r)
{
	inbox_count_missed(&r->inbox);
	r->behind = 0;
	for (struct kept *k = NULL; (k = inbox_next(&r->inbox, k));)
		if (!(r->behind & BIT(k->nic)))
			inject(r, k->nic, k->number, k->data, k->len);
}

static void give_up_waiting(struct replica_net *r)
{
	for (struct kept *k = NULL; (k = inbox_next(&r->inbox, k));)
		r->inbox.losses++;
	r->behind = 0;
}

/* The former primary's connections, and what this guest said that it did not: the network's now. */
static void replay(struct replica_net *r, uint64_t now_us)
{
	struct framebuf *b = &r->outbox.frames;
	struct list *at = &r->outbox.flows.by_age;

	while ((at = at->next) != &r->outbox.flows.by_age) {
		struct outbox_flow *f = list_entry(at, struct outbox_flow, node.age);

		if (f->node.key.proto == IPPROTO_TCP)
			rewrites_carry_on(&r->rewrites, &f->node.key, &f->own,
					  f->has_ts ? &f->released_ts : NULL, f->ends, now_us);
	}
	for (struct kept *k = framebuf_first(b); k; k = framebuf_next(b, k)) {
		r->stats.replayed++;
		r->ops->transmit(r->arg, k->nic, k->data, k->len);
	}
}

static void load(struct replica_net *r, uint64_t epoch)
{
	inbox_load(&r->inbox, epoch);
	outbox_clear(&r->outbox);
	if (!r->inbox.unmarked)
		inbox_count_missed(&r->inbox);
}

static void catch_up(struct replica_net *r)
{
	if (r->inbox.committed > r->inbox.loaded)
		load(r, r->inbox.committed);
	inject_kept(r);
}

static void go_live(struct replica_net *r, uint64_t now_us)
{
	catch_up(r);
	replay(r, now_us);
	give_up_waiting(r);
	framebuf_clear(&r->inbox.frames);
	outbox_clear(&r->outbox);
}

static void happen(struct replica_net *r, enum event ev, uint64_t now_us)
{
	const struct cell *c = &table[r->state][ev];

	if (c->action == ACT_INJECT)
		inject_kept(r);
	else if (c->action == ACT_GO_LIVE)
		go_live(r, now_us);
	r->state = c->next;
	tell_losses(r);
}

int replica_net_new(struct replica_net **out, const struct replica_net_params *p,
		    const struct replica_net_ops *ops, void *arg)
{
	struct replica_net *r;
	int error;

	if (p->nic_count > REPLICA_MAX_NICS || p->inbox_frames < REPLICA_MIN_FRAMES)
		return -EINVAL;
	if (p->inbox_bytes < 4 * FRAME_MAX || p->outbox_bytes < 4 * FRAME_MAX || !p->max_flows)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->ops = ops;
	r->arg = arg;
	r->nic_count = p->nic_count;
	r->bypass = p->bypass;
	for (unsigned i = 0; i < p->nic_count; i++)
		neigh_init(&r->neighs[i], p->macs[i]);
	error = inbox_init(&r->inbox, p->nic_count, p->inbox_bytes, p->inbox_frames);
	if (!error)
		error = outbox_init(&r->outbox, p->outbox_bytes, p->outbox_frames, p->max_flows,
				    p->seed);
	if (!error)
		error = rewrites_init(&r->rewrites, p->max_flows, p->seed);
	if (error) {
		replica_net_free(r);
		return error;
	}
	*out = r;
	return 0;
}

void replica_net_free(struct replica_net *r)
{
	if (!r)
		return;
	inbox_destroy(&r->inbox);
	outbox_destroy(&r->outbox);
	rewrites_destroy(&r->rewrites);
	free(r);
}

void replica_net_attach(struct replica_net *r, uint64_t epoch)
{
	inbox_attach(&r->inbox, epoch);
	outbox_clear(&r->outbox);
	r->told = false;
	r->behind = 0;
	r->state = REPLICA_STOPPED;
}

void replica_net_mirrored(struct replica_net *r, uint8_t nic, uint64_t number, const uint8_t *data,
			  size_t len, uint64_t now_us)
{
	struct view v;

	if (!is_usable(r, nic, len) || r->state == REPLICA_LIVE)
		return;
	view_frame(&v, data, len);
	if (v.is_ip)
		rewrites_saw(&r->rewrites, nic, &v.p, false, now_us);
	neigh_learn_in(&r->neighs[nic], data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES);
	r->stats.mirrored++;
	if (inbox_add(&r->inbox, nic, number, data, len) && r->state == REPLICA_RUNNING &&
	    inbox_is_due(&r->inbox, nic, number) && !(r->behind & BIT(nic)))
		inject(r, nic, number, data, len);
	tell_losses(r);
}

void replica_net_gap(struct replica_net *r, uint8_t nic, uint64_t number)
{
	if (nic < r->nic_count && r->state != REPLICA_LIVE)
		inbox_skip(&r->inbox, nic, number);
}

void replica_net_mark(struct replica_net *r, uint64_t epoch, uint8_t nic, uint64_t mark)
{
	bool waited = r->inbox.unmarked;

	if (nic >= r->nic_count || r->state == REPLICA_LIVE)
		return;
	tell_losses(r);
	if (!inbox_mark(&r->inbox, epoch, nic, mark))
		return;
	r->told = false;
	if (waited && !r->inbox.unmarked)
		happen(r, EV_MARKED, 0);
	r->ops->marked(r->arg, epoch);
}

void replica_net_unmark(struct replica_net *r, uint64_t epoch)
{
	inbox_unmark(&r->inbox, epoch);
}

bool replica_net_is_marked(const struct replica_net *r, uint64_t epoch)
{
	return inbox_is_marked(&r->inbox, epoch);
}

void replica_net_note(struct replica_net *r, const struct flow_note *n, uint64_t now_us)
{
	if (n->key.nic < r->nic_count && r->state != REPLICA_LIVE)
		outbox_note(&r->outbox, n, now_us);
}

void replica_net_inherit(struct replica_net *r, uint64_t epoch, const struct flow_key *k,
			 const struct rewrite *rewrite, uint8_t ends, uint64_t now_us)
{
	if (k->nic < r->nic_count && r->state != REPLICA_LIVE)
		rewrites_inherit(&r->rewrites, k, rewrite, ends, epoch, now_us);
}

void replica_net_own_address(struct replica_net *r, uint8_t nic, const struct ip_addr *addr,
			     uint16_t vlan)
{
	if (nic < r->nic_count)
		neigh_learn_own(&r->neighs[nic], addr, vlan);
}

void replica_net_stopped(struct replica_net *r)
{
	happen(r, EV_STOPPED, 0);
}

void replica_net_committed(struct replica_net *r, uint64_t epoch)
{
	if (r->state == REPLICA_LIVE || epoch <= r->inbox.committed)
		return;
	inbox_commit(&r->inbox, epoch);
	rewrites_keep_since(&r->rewrites, epoch);
}

void replica_net_loaded(struct replica_net *r, uint64_t epoch)
{
	if (r->state == REPLICA_LIVE)
		return;
	load(r, epoch);
	tell_losses(r);
}

void replica_net_running(struct replica_net *r)
{
	happen(r, r->inbox.unmarked ? EV_RUNNING_UNMARKED : EV_RUNNING, 0);
}

void replica_net_catch_up(struct replica_net *r)
{
	if (r->state == REPLICA_LIVE)
		return;
	catch_up(r);
	tell_losses(r);
}

void replica_net_take_over(struct replica_net *r, uint64_t now_us)
{
	happen(r, EV_TAKE_OVER, now_us);
}

/* Its questions about neighbours reach nobody: they are answered here. False: it is no such frame. */
static bool answer(struct replica_net *r, uint8_t nic, const uint8_t *frame, size_t len)
{
	uint8_t reply[REPLICA_VNET_BYTES + NEIGH_FRAME_MAX] = {};
	int n = neigh_filter_out(&r->neighs[nic], frame, len, reply + REPLICA_VNET_BYTES);

	/* What waits in the tap of a guest that stands still has no one to be answered to. */
	if (n > 0 && r->state != REPLICA_STOPPED) {
		r->stats.answered++;
		r->ops->inject(r->arg, nic, reply, REPLICA_VNET_BYTES + (size_t)n);
	}
	return n != 0;
}

/* The primary lets it out by rule, unseen by us: not to be kept and said again at a take-over. */
static bool goes_uncompared(const struct replica_net *r, const struct pkt *p)
{
	return r->bypass && p->kind != PKT_NEIGHBOUR &&
	       bypass_match(r->bypass, p, true) == BYPASS_RELEASE;
}

void replica_net_out(struct replica_net *r, uint8_t nic, const uint8_t *data, size_t len,
		     uint64_t now_us)
{
	struct view v;

	if (!is_usable(r, nic, len))
		return;
	view_frame(&v, data, len);
	neigh_learn_out(&r->neighs[nic], data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES);
	r->stats.sent++;
	if (r->state == REPLICA_LIVE) {
		r->ops->transmit(r->arg, nic, data, len);
		return;
	}
	/* Other protocols are not compared: the primary's guest says the same. */
	if (answer(r, nic, data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES) || !v.is_ip)
		return;
	if (goes_uncompared(r, &v.p))
		return;
	rewrites_saw(&r->rewrites, nic, &v.p, true, now_us);
	outbox_add(&r->outbox, nic, data, len, &v.p, now_us);
	r->ops->to_primary(r->arg, nic, r->inbox.loaded, data, len);
}

void replica_net_retry(struct replica_net *r)
{
	if (r->state != REPLICA_RUNNING || !r->behind)
		return;
	inject_kept(r);
	tell_losses(r);
}

void replica_net_tick(struct replica_net *r, uint64_t now_us)
{
	rewrites_tick(&r->rewrites, now_us);
}

struct rewrites *replica_net_rewrites(struct replica_net *r)
{
	return &r->rewrites;
}

struct neigh *replica_net_neigh(struct replica_net *r, uint8_t nic)
{
	return &r->neighs[nic];
}

void replica_net_get_stats(const struct replica_net *r, struct replica_net_stats *out)
{
	*out = r->stats;
	out->state = r->state;
	out->kept_frames = r->inbox.frames.count;
	out->kept_bytes = r->inbox.frames.used_bytes;
	out->unreleased_frames = r->outbox.frames.count;
	out->output_gone = r->outbox.evicted + r->outbox.untracked;
	out->rewritten_flows = r->rewrites.flows.used;
}
