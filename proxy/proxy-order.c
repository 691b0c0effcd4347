// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's orders, carried out on the proxy's thread. */
#include "proxy/proxy-priv.h"

#include <errno.h>

static int attach(struct proxy *p, struct proxy_call *c)
{
	p->peer_mute = false;
	if (c->fd < 0)
		return 0; /* the connection serves on, in the other direction */
	p->hears_relay = false;
	return chan_io_open(p, c->fd);
}

static void attach_primary(struct proxy *p, struct proxy_call *c)
{
	bool was_silent = p->side == SIDE_SILENT;
	struct err e = {};

	if (attach(p, c))
		err_set(&e, ENOMEM, "packet connection");
	else if (!ports_set_rules(p, RULES_QUEUE, proxy_rewrites(p), &e))
		primary_side_enter(p, &e);
	p->epoch = c->epoch;
	p->closed = false;
	p->commit_due = 0;
	p->side = SIDE_PRIMARY;
	chan_io_pause(p, false);
	if (was_silent && !e.code)
		compare_undrop(p->compare);
	if (was_silent && !p->shut && !e.code)
		link_rejoin(p);
	if (!e.code)
		return;
	proxy_complain(p, &e);
	chan_io_close(p); /* no session without packets */
	proxy_tell(p, TALE_LOST, 0, err_msg(&e));
}

void secondary_begin(struct proxy *p, uint64_t epoch)
{
	struct err e = {};

	/* Before a take-over, whose way has no room for it: output waits for us, input of
	 * connections may. */
	if (!ports_set_rules(p, RULES_QUEUE, true, &e))
		replica_side_enter(p, &e);
	replica_net_attach(p->replica, epoch);
	p->epoch = epoch;
	p->stopped_epoch = 0;
	p->side = SIDE_SECONDARY;
	chan_io_pause(p, false);
	if (!e.code)
		return;
	proxy_complain(p, &e);
	chan_io_close(p);
	proxy_tell(p, TALE_LOST, 0, err_msg(&e));
}

static void attach_secondary(struct proxy *p, struct proxy_call *c)
{
	if (p->side == SIDE_RELAY && c->fd < 0) {
		p->second_after_relay = true;
		p->epoch = c->epoch;
		return;
	}
	if (p->side == SIDE_PRIMARY || p->side == SIDE_PASS || p->shut)
		relay_begin(p); /* its guest is not heard any more */
	relay_end(p);
	if (attach(p, c))
		proxy_tell(p, TALE_LOST, 0, "no memory for the packet connection");
	else
		secondary_begin(p, c->epoch);
}

/* The rules stay until the guest is silent: else younger packets would overtake those that wait. */
static void let_out(struct proxy *p)
{
	struct err e = {};
	bool joined = p->ports[0].joined;

	if (p->shut)
		compare_unseen(p->compare);
	p->shut = false;
	p->commit_due = 0;
	if (ports_join(p, &e)) /* first: a port that is shut drops what is released */
		proxy_complain(p, &e);
	primary_side_read_dry(p);
	compare_pass_all(p->compare, clock_now_us());
	for (unsigned i = 0; i < p->config.nic_count; i++)
		nfqueue_flush(p->ports[i].out);
	if (!joined)
		ports_announce(p);
}

static void pass(struct proxy *p)
{
	loop_timer_disarm(p->relay);
	p->side = SIDE_PASS;
	let_out(p);
	ports_stop_mirror(p);
}

/* What a secondary may hold was closed: that output is protected, and goes with the commit. */
static void speak(struct proxy *p)
{
	if (p->side == SIDE_PRIMARY && !p->closed)
		let_out(p);
	else
		link_unshut(p);
}

void proxy_carry_out(struct proxy *p, struct proxy_call *c)
{
	switch (c->op) {
	case PROXY_ATTACH_PRIMARY:
		attach_primary(p, c);
		break;
	case PROXY_ATTACH_SECONDARY:
		attach_secondary(p, c);
		break;
	case PROXY_DETACH:
		link_end(p);
		break;
	case PROXY_RESUME:
		link_resume(p, c);
		break;
	case PROXY_SHUT:
		link_shut(p);
		break;
	case PROXY_UNSHUT:
		link_unshut(p);
		break;
	case PROXY_SPEAK:
		speak(p);
		break;
	case PROXY_FILTER:
		primary_side_filter(p);
		break;
	case PROXY_UNFILTER:
		primary_side_unfilter(p);
		break;
	case PROXY_CLOSE:
		primary_side_close(p, c);
		break;
	case PROXY_COMMIT:
		primary_side_commit(p, c->epoch);
		break;
	case PROXY_PASS:
		pass(p);
		break;
	case PROXY_SILENCE:
		relay_begin(p);
		break;
	case PROXY_LEAVE:
		relay_await(p);
		break;
	case PROXY_STOPPED:
		replica_side_stopped(p, c);
		break;
	case PROXY_COMMITTED:
		replica_net_committed(p->replica, c->epoch);
		break;
	case PROXY_LOADED:
		replica_side_loaded(p, c->epoch, c->runs);
		break;
	case PROXY_TAKE_OVER:
		replica_side_take_over(p, c->epoch, c->planned);
		break;
	}
}

static bool was_silent(struct proxy *p)
{
	bool silent = true;

	for (unsigned i = 0; i < p->config.nic_count; i++) {
		struct port *o = &p->ports[i];

		silent &= o->frames_out == o->frames_out_before;
		o->frames_out_before = o->frames_out;
	}
	return silent;
}

void proxy_housekeeping(struct proxy *p)
{
	bool silent = was_silent(p);
	struct err e = {};

	if (!compare_awaited(p->compare)) /* its rewrites may have to be told again */
		replica_net_tick(p->replica, clock_now_us());
	if ((p->side == SIDE_PASS || p->side == SIDE_PRIMARY) && !p->shut)
		ports_join_again(p);
	if (p->side == SIDE_PASS && !p->hears_relay)
		ports_stop_mirror(p);
	if (proxy_rewrites(p) || !silent || (p->side != SIDE_PASS && p->side != SIDE_PRIMARY))
		return;
	if (ports_set_rules(p, p->side == SIDE_PASS ? RULES_OFF : RULES_QUEUE, false, &e))
		proxy_complain(p, &e);
}
