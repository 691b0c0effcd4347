// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's orders to the proxy: close the packet epoch, release at commit, leave the network.
 */
#include "colod/checkpoint/primary-priv.h"

/* The guest stands still: it may run again only when its next packet is sure to count as the next
 * epoch's (S1). */
static void on_closed(struct proxy_call *c)
{
	struct primary *p = c->arg;

	if (p->close_session != p->session)
		return;
	p->packets_closed = true;
	primary_pause_step(p);
}

/* Free for the next word, too: that of an earlier attempt may have been under way. */
static void on_filtered(struct proxy_call *c)
{
	struct primary *p = c->arg;

	if (p->filter_session != p->session)
		return;
	p->packets_filtered = c->op == PROXY_FILTER;
	primary_maybe_pause(p);
}

static void on_left(struct proxy_call *c)
{
	struct primary *p = c->arg;

	if (p->leave_session != p->session)
		return;
	p->packets_left = true;
	primary_maybe_complete(p);
}

void primary_packets_init(struct primary *p)
{
	p->close_call =
		(struct proxy_call){.op = PROXY_CLOSE, .fd = -1, .done = on_closed, .arg = p};
	p->filter_call =
		(struct proxy_call){.op = PROXY_FILTER, .fd = -1, .done = on_filtered, .arg = p};
	p->commit_call = (struct proxy_call){.op = PROXY_COMMIT, .fd = -1};
	p->leave_call =
		(struct proxy_call){.op = PROXY_SILENCE, .fd = -1, .done = on_left, .arg = p};
}

static void filter(struct primary *p, enum proxy_op op)
{
	if (!p->env->proxy || p->filter_call.busy)
		return;
	p->filter_session = p->session;
	p->filter_call.op = op;
	proxy_submit(p->env->proxy, &p->filter_call);
}

/* A frame that QEMU reads while its guest stands still would be kept for it, until it comes back from
 * the other host (S5). */
bool primary_packets_filter(struct primary *p)
{
	if (!(p->flags & WIRE_EPOCH_SWITCH) || !p->env->proxy || p->packets_filtered)
		return true;
	filter(p, PROXY_FILTER);
	return false;
}

void primary_packets_unfilter(struct primary *p)
{
	p->packets_filtered = false;
	filter(p, PROXY_UNFILTER);
}

void primary_packets_before_stop(struct primary *p)
{
	if (p->env->proxy)
		proxy_before_stop(p->env->proxy, &p->close_call);
}

void primary_packets_close(struct primary *p)
{
	if (!p->env->proxy) {
		p->packets_closed = true;
		return;
	}
	p->close_session = p->session;
	p->close_call.epoch = p->epoch + 1;
	p->close_call.ran = p->was_running;
	p->close_call.runs = p->flags & WIRE_EPOCH_RUN;
	proxy_submit(p->env->proxy, &p->close_call);
}

/* Free again by now: orders are carried out in turn, and the close before this commit was. */
void primary_packets_commit(struct primary *p)
{
	if (!p->env->proxy)
		return;
	p->commit_call.epoch = p->epoch;
	proxy_submit(p->env->proxy, &p->commit_call);
}

/* After LOADED of a switch-over's last epoch, before the guest is given away (S3). */
void primary_packets_leave(struct primary *p)
{
	if (!p->env->proxy) {
		p->packets_left = true;
		primary_maybe_complete(p);
		return;
	}
	if (p->leave_call.busy)
		return;
	p->leave_session = p->session;
	proxy_submit(p->env->proxy, &p->leave_call);
}

bool primary_packets_idle(const struct primary *p)
{
	return !p->filter_call.busy && !p->close_call.busy && !p->commit_call.busy &&
	       !p->leave_call.busy;
}
