// SPDX-License-Identifier: GPL-2.0-or-later
/* The packets that stay in the comparing core: kept, released, dropped, waited for too long. */
#include "proxy/compare-priv.h"

#include <stdio.h>
#include <string.h>

/* Of the memory for packets, the secondary's may take this much, and those of one flow that. */
#define STORED_SHARE  2
#define ONE_FLOW_PART 4

/*
 * A secondary that has sent the beginning of a super-frame and nothing more for this part of the
 * time-out waits for an acknowledgement that cannot come, as its window is smaller than the primary's:
 * the client has not seen what is held.
 */
#define HALFWAY_PART 8

static void forget_bytes(struct compare *c, struct held *h)
{
	if (h->bytes)
		hold_put(&c->hold, h->seg.packet, h->bytes);
	h->bytes = 0;
	h->seg.packet = h->seg.payload = NULL;
}

static void free_record(struct compare *c, struct held *h)
{
	forget_bytes(c, h);
	pool_put(&c->pool, h);
}

/* @view's place in its list is taken by the record's seg, whose bytes are a copy in the arena. */
static bool take_view(struct compare *c, struct held *h, struct seg *view)
{
	uint8_t *copy = hold_get(&c->hold, view->packet_len);

	if (!copy)
		return false;
	memcpy(copy, view->packet, view->packet_len);
	h->seg = *view;
	h->seg.owner = h;
	h->seg.packet = copy;
	h->seg.payload = copy + (view->payload - view->packet);
	h->bytes = view->packet_len;
	h->seg.node.prev->next = &h->seg.node;
	h->seg.node.next->prev = &h->seg.node;
	list_init(&view->node);
	c->stats.max_held_bytes = MAX(c->stats.max_held_bytes, c->hold.bytes);
	return true;
}

static void unlink_held(struct compare *c, struct held *h)
{
	if (c->expiry == &h->all)
		c->expiry = h->all.next;
	list_del(&h->all);
	c->held_count--;
}

static void count_held(struct compare *c)
{
	c->held_count++;
	c->stats.max_held_packets = MAX(c->stats.max_held_packets, c->held_count);
}

static struct held *new_held(struct compare *c, const struct ticket *t)
{
	struct held *h = NULL;

	if (c->held_count < c->limits.max_held_packets)
		h = pool_get(&c->pool);
	if (!h) {
		c->stats.dropped++;
		c->ops.drop(c->arg, t->nic, t->id);
		cmp_told_once(c, MISMATCH_FULL, "max_held_packets reached: output is dropped");
		return NULL;
	}
	*h = (struct held){.at_us = c->now_us, .id = t->id, .nic = t->nic};
	list_init(&h->in_flow);
	list_init(&h->seg.node);
	list_add_tail(&c->held, &h->all);
	if (c->expiry == &c->held)
		c->expiry = &h->all;
	count_held(c);
	return h;
}

struct held *cmp_hold(struct compare *c, const struct ticket *t, struct flow *f, bool at_commit)
{
	struct held *h = t->lead ?: new_held(c, t);

	if (!h)
		return NULL;
	h->at_commit = at_commit;
	h->flow = f;
	if (f)
		f->held_count++;
	return h;
}

void cmp_hold_seg(struct compare *c, const struct ticket *t, struct flow *f, struct seg *view)
{
	struct held *h = cmp_hold(c, t, f, f->stuck);

	if (!h) {
		/* Its bytes are missing from the stream that is compared. */
		list_del(&view->node);
		cmp_flow_stuck(c, f);
		return;
	}
	if (f->stuck)
		return;
	list_add_tail(&f->held, &h->in_flow);
	if (!list_empty(&view->node)) {
		if (take_view(c, h, view))
			return;
		list_del(&view->node);
		cmp_told_once(c, MISMATCH_FULL, "max_held_bytes reached by the primary");
		cmp_flow_stuck(c, f);
	}
	h->seg = *view;
	h->seg.owner = h;
	h->seg.packet = h->seg.payload = NULL;
	list_init(&h->seg.node);
}

void cmp_store(struct compare *c, struct flow *f, struct seg *view)
{
	uint64_t share = c->limits.max_held_bytes / STORED_SHARE;
	struct held *h = NULL;

	if (f->s_bytes + view->packet_len <= share / ONE_FLOW_PART &&
	    c->stored_bytes + view->packet_len <= share &&
	    c->stored_count < c->limits.max_held_packets / STORED_SHARE)
		h = pool_get(&c->pool);
	if (h) {
		*h = (struct held){.secondary = true, .flow = f};
		if (take_view(c, h, view)) {
			list_add_tail(&c->stored, &h->all);
			c->stored_count++;
			c->stored_bytes += h->bytes;
			f->s_bytes += h->bytes;
			return;
		}
		pool_put(&c->pool, h);
	}
	list_del(&view->node);
	c->stats.secondary_dropped++;
	cmp_told_once(c, MISMATCH_FULL, "the secondary is too far ahead of the primary");
}

static void free_stored(struct compare *c, struct held *h)
{
	c->stored_count--;
	c->stored_bytes -= h->bytes;
	list_del(&h->all);
	free_record(c, h);
}

void cmp_seg_done(struct compare *c, struct flow *f, struct seg *s)
{
	struct held *h = s->owner;

	list_del(&s->node);
	if (!h)
		return;
	if (!h->secondary) {
		forget_bytes(c, h);
		return;
	}
	f->s_bytes -= h->bytes;
	free_stored(c, h);
}

void cmp_store_clear(struct compare *c, struct flow *f)
{
	struct seg *s;

	while ((s = seg_first(&f->s)))
		cmp_seg_done(c, f, s);
}

static void let_out(struct compare *c, uint8_t nic, uint32_t id, uint64_t held_us,
		    enum release_cause cause)
{
	c->stats.released[cause]++;
	if (cause == RELEASE_MATCH || cause == RELEASE_COMMIT)
		quantile_add(&c->hold_us, held_us);
	c->ops.release(c->arg, nic, id, cause);
}

void cmp_release_held(struct compare *c, struct held *h, enum release_cause cause)
{
	if (h->flow)
		h->flow->held_count--;
	list_del(&h->in_flow);
	list_del(&h->seg.node); /* what was sent twice may go before the comparison came by it */
	while (h) {
		struct held *more = h->more;

		unlink_held(c, h);
		let_out(c, h->nic, h->id, c->now_us - h->at_us, cause);
		free_record(c, h);
		h = more;
	}
}

void cmp_release_ticket(struct compare *c, const struct ticket *t, enum release_cause cause)
{
	if (t->lead)
		cmp_release_held(c, t->lead, cause);
	else
		let_out(c, t->nic, t->id, 0, cause);
}

void cmp_release_list(struct compare *c, struct list *list, enum release_cause cause)
{
	while (!list_empty(list)) {
		struct held *h = list_entry(list->next, struct held, all);

		unlink_held(c, h);
		let_out(c, h->nic, h->id, c->now_us - h->at_us, cause);
		free_record(c, h);
	}
}

void cmp_drop_list(struct compare *c, struct list *list)
{
	while (!list_empty(list)) {
		struct held *h = list_entry(list->next, struct held, all);

		unlink_held(c, h);
		c->stats.dropped++;
		c->ops.drop(c->arg, h->nic, h->id);
		free_record(c, h);
	}
}

void cmp_held_close(struct compare *c)
{
	list_splice_tail(&c->closed, &c->held);
}

void cmp_held_forget(struct compare *c)
{
	c->expiry = &c->held;
	while (!list_empty(&c->halfway))
		list_del(c->halfway.next);
	while (!list_empty(&c->stored))
		free_stored(c, list_entry(c->stored.next, struct held, all));
}

static void expired(struct compare *c, struct held *h)
{
	struct flow *f = h->flow;
	struct mismatch *m;

	if (!f) {
		cmp_told_once(c, MISMATCH_TIMEOUT, "fragments of a datagram are missing");
		c->stats.timed_out++;
		return;
	}
	m = cmp_mismatch(c, MISMATCH_TIMEOUT, f);
	c->stats.timed_out++;
	m->offset = f->epoch_bytes;
	if (f->tcp)
		cmp_tcp_explain(f, &h->seg, m->what, sizeof(m->what));
	else
		snprintf(m->what, sizeof(m->what), "no such packet of the secondary");
	cmp_side(&m->primary, &h->seg, f->node.key.vlan, 0);
	cmp_mismatch_end(c, MISMATCH_TIMEOUT, f);
}

void cmp_held_halfway(struct compare *c, struct flow *f, bool some)
{
	list_del(&f->halfway);
	if (!some)
		return;
	f->matched_us = c->now_us;
	list_add_tail(&c->halfway, &f->halfway);
}

static uint64_t expire_halfway(struct compare *c)
{
	while (!list_empty(&c->halfway)) {
		struct flow *f = list_entry(c->halfway.next, struct flow, halfway);
		struct seg *p = seg_first(&f->p);
		uint64_t end =
			MAX(f->matched_us, c->committed_us) + c->limits.timeout_us / HALFWAY_PART;

		if (c->now_us < end)
			return end;
		list_del(&f->halfway);
		if (p && p->owner && !f->stuck)
			expired(c, p->owner);
	}
	return UINT64_MAX;
}

uint64_t cmp_held_expire(struct compare *c)
{
	uint64_t halfway;

	if (c->mode != COMPARE_MATCH || c->commit_pending)
		return UINT64_MAX;
	halfway = expire_halfway(c);
	while (c->expiry != &c->held) {
		struct held *h = list_entry(c->expiry, struct held, all);
		bool waits = !h->at_commit && !(h->flow && h->flow->stuck);
		/* The secondary runs since the last commit only. */
		uint64_t end = MAX(h->at_us, c->committed_us) + c->limits.timeout_us;

		if (waits && c->now_us < end)
			return MIN(end, halfway);
		c->expiry = h->all.next;
		if (waits)
			expired(c, h);
	}
	return halfway;
}
