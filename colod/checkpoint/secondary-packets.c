// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's orders to the proxy: what the guest may see of the network, and when. */
#include "colod/checkpoint/secondary-priv.h"

/* Only now can the primary be told: the marks that it sends when it knows are the right ones. */
static void on_stopped(struct proxy_call *c)
{
	struct secondary *s = c->arg;

	if (s->stopped_session != s->session)
		return;
	s->marked = MIN(s->marked, c->epoch - 1);
	s->packets_stopped = true;
	secondary_packets_are_stopped(s);
}

static void on_loaded(struct proxy_call *c)
{
	struct secondary *s = c->arg;

	if (s->loaded_session == s->session && s->phase == SECONDARY_PACKETS)
		secondary_after_packets(s);
}

static void on_taken(struct proxy_call *c)
{
	struct secondary *s = c->arg;

	if (s->take_session == s->session && s->phase == SECONDARY_JOIN)
		secondary_run_live(s);
}

void secondary_packets_init(struct secondary *s)
{
	s->stopped_call =
		(struct proxy_call){.op = PROXY_STOPPED, .fd = -1, .done = on_stopped, .arg = s};
	s->committed_call = (struct proxy_call){.op = PROXY_COMMITTED, .fd = -1};
	s->loaded_call =
		(struct proxy_call){.op = PROXY_LOADED, .fd = -1, .done = on_loaded, .arg = s};
	s->take_call =
		(struct proxy_call){.op = PROXY_TAKE_OVER, .fd = -1, .done = on_taken, .arg = s};
}

void secondary_packets_stopped(struct secondary *s)
{
	s->packets_stopped = !s->env->proxy;
	if (!s->env->proxy)
		return;
	s->stopped_session = s->session;
	s->stopped_call.epoch = s->new_epoch;
	proxy_submit(s->env->proxy, &s->stopped_call);
}

/* Free again by now: orders are carried out in turn, and a load lay in between. */
void secondary_packets_committed(struct secondary *s)
{
	if (!s->env->proxy)
		return;
	s->committed_call.epoch = s->committed;
	proxy_submit(s->env->proxy, &s->committed_call);
}

void secondary_packets_loaded(struct secondary *s, bool runs)
{
	if (!s->env->proxy) {
		secondary_after_packets(s);
		return;
	}
	s->loaded_session = s->session;
	s->loaded_call.epoch = s->committed;
	s->loaded_call.runs = runs;
	proxy_submit(s->env->proxy, &s->loaded_call);
}

void secondary_packets_take_over(struct secondary *s)
{
	if (!s->env->proxy) {
		secondary_run_live(s);
		return;
	}
	s->take_session = s->session;
	s->take_call.epoch = s->loaded;
	s->take_call.runs = s->running;
	proxy_submit(s->env->proxy, &s->take_call);
}

void secondary_packets_marked(struct secondary *s, uint64_t epoch)
{
	s->marked = epoch;
	secondary_step(s);
}

bool secondary_packets_known(const struct secondary *s, uint64_t epoch)
{
	return !s->env->proxy || s->marked >= epoch;
}

bool secondary_packets_idle(const struct secondary *s)
{
	return !s->stopped_call.busy && !s->committed_call.busy && !s->loaded_call.busy &&
	       !s->take_call.busy;
}
