// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's side of the guest's network: orders to the proxy, its words, the mode of the next
 * epoch. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "proxy/netlink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SILENCE_MS 200
#define LEAVE_MS   700

/* ---- what the proxy says ---- */

static void on_checkpoint(void *arg, enum mismatch_reason reason)
{
	struct daemon *d = arg;

	automode_forced(&d->automode, clock_now_us());
	primary_differed(d->primary, reason == MISMATCH_LOST);
}

static void on_waiting(void *arg)
{
	struct daemon *d = arg;

	primary_expedite(d->primary);
}

static void on_marked(void *arg, uint64_t epoch)
{
	struct daemon *d = arg;

	secondary_packets_marked(d->secondary, epoch);
}

static void on_lost(void *arg, const char *reason)
{
	struct daemon *d = arg;

	link_poll(d->link); /* what it said last */
	if (link_state(d->link) == LINK_UP)
		daemon_event(d, FSM_EV_LINK_LOST, reason);
}

static void on_note(void *arg, const char *text)
{
	struct daemon *d = arg;

	err_set(&d->last_err, EIO, "%s", text);
	log_warn("packets", "%s", text);
}

static const struct proxy_handlers handlers = {.checkpoint = on_checkpoint,
					       .waiting = on_waiting,
					       .marked = on_marked,
					       .lost = on_lost,
					       .note = on_note};

/* ---- start ---- */

int daemon_bypass_rules(const struct config *c, struct bypass *b, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < c->bypass_count; i++)
		if ((r = bypass_add(b, c->bypass[i], e)))
			err_prefix(e, "bypass = %.80s", c->bypass[i]);
	return r;
}

int daemon_check_config(const struct config *c, struct err *e)
{
	struct bypass rules = {};

	int r = daemon_bypass_rules(c, &rules, e);

	return r ? r : link_check_config(c, e);
}

static void fill_nics(struct daemon *d, struct proxy_config *pc)
{
	pc->nic_count = d->config->nic_count;
	for (unsigned i = 0; i < pc->nic_count; i++) {
		const struct config_nic *n = &d->config->nics[i];

		memcpy(pc->nics[i].tap, n->tap, sizeof(n->tap));
		memcpy(pc->nics[i].bridge, n->bridge, sizeof(n->bridge));
		memcpy(pc->nics[i].mac, n->mac, sizeof(n->mac));
		pc->nics[i].tap_fd = d->tap_fds[i];
	}
}

int daemon_packets_init(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	struct proxy_config pc = {.name = c->name,
				  .found = daemon_packets_found(d),
				  .found_epoch = d->noted.epoch,
				  .flows_path = d->flows_path,
				  .netfilter = (int)c->netfilter,
				  .announce_count = c->announce_count,
				  .limits = {.max_held_packets = c->max_held_packets,
					     .max_held_bytes = c->max_held_bytes,
					     .max_flows = c->max_flows,
					     .max_half_open = c->max_half_open,
					     .timeout_us = c->compare_timeout_ms * USEC_PER_MSEC,
					     .flow_idle_us = 7200 * USEC_PER_SEC}};
	int r;

	if (!c->nic_count)
		return 0;
	r = daemon_bypass_rules(c, &pc.bypass, e);
	if (r)
		return r;
	fill_nics(d, &pc);
	automode_init(&d->automode, clock_now_us());
	r = proxy_new(&d->proxy, d->loop, &pc, &handlers, d, e);
	return r ? err_prefix(e, "packet proxy") : 0;
}

/* ---- orders ---- */

static struct proxy_call *free_call(struct daemon *d)
{
	for (unsigned i = 0; i < DAEMON_PROXY_CALLS; i++)
		if (!d->calls[i].busy)
			return &d->calls[i];
	return NULL;
}

static void order_fd(struct daemon *d, enum proxy_op op, uint64_t epoch, int fd,
		     void (*done)(struct proxy_call *c))
{
	struct proxy_call *c = d->proxy ? free_call(d) : NULL;

	if (!c) {
		close_fd(&fd);
		if (d->proxy)
			log_err("packets", "the proxy does not keep up; an order is lost");
		return;
	}
	*c = (struct proxy_call){.op = op, .epoch = epoch, .fd = fd, .done = done, .arg = d};
	proxy_submit(d->proxy, c);
}

void daemon_packets_attach(struct daemon *d)
{
	order_fd(d, d->role == ROLE_PRIMARY ? PROXY_ATTACH_PRIMARY : PROXY_ATTACH_SECONDARY,
		 d->start_epoch, steal_fd(&d->start_packet_fd), NULL);
}

void daemon_packets_resume(struct daemon *d)
{
	order_fd(d, PROXY_RESUME, 0, steal_fd(&d->start_packet_fd), NULL);
}

void daemon_packets_detach(struct daemon *d)
{
	close_fd(&d->start_packet_fd);
	order_fd(d, PROXY_DETACH, 0, -1, NULL);
}

void daemon_packets_pass(struct daemon *d)
{
	daemon_note_standing(d, STANDING_ALONE);
	order_fd(d, PROXY_PASS, 0, -1, NULL);
}

void daemon_packets_speak(struct daemon *d)
{
	daemon_note_standing(d, STANDING_ALONE);
	order_fd(d, PROXY_SPEAK, 0, -1, NULL);
}

void daemon_packets_shut(struct daemon *d)
{
	order_fd(d, PROXY_SHUT, 0, -1, NULL);
}

void daemon_packets_unshut(struct daemon *d)
{
	order_fd(d, PROXY_UNSHUT, 0, -1, NULL);
}

void daemon_packets_forget(struct daemon *d)
{
	order_fd(d, PROXY_SILENCE, 0, -1, NULL);
}

static void on_taken_over(struct proxy_call *c)
{
	struct daemon *d = c->arg;

	if (!d->ending)
		daemon_run_guest(d);
}

void daemon_packets_switch_and_run(struct daemon *d)
{
	struct proxy_call *c = d->proxy ? free_call(d) : NULL;

	if (!c) {
		daemon_run_guest(d);
		return;
	}
	*c = (struct proxy_call){.op = PROXY_TAKE_OVER,
				 .epoch = d->epoch,
				 .planned = true,
				 .fd = -1,
				 .done = on_taken_over,
				 .arg = d};
	proxy_submit(d->proxy, c);
}

void daemon_packets_leave(struct daemon *d)
{
	if (d->proxy)
		proxy_run(d->proxy, PROXY_LEAVE, LEAVE_MS);
}

/* Without the proxy's thread, which may be busy or stuck. A link that is down lets nothing out. */
static int set_taps_down(const struct daemon *d, struct err *e)
{
	struct netlink n = {};
	int r = netlink_open(&n, e);

	for (unsigned i = 0; !r && i < d->config->nic_count; i++) {
		struct netlink_link tap;

		r = netlink_get(&n, d->config->nics[i].tap, &tap, e);
		if (!r)
			r = netlink_set_up(&n, &tap, false, e);
	}
	netlink_close(&n);
	return r;
}

bool daemon_packets_silence(struct daemon *d)
{
	struct err e = {};

	if (!d->proxy || !proxy_run(d->proxy, PROXY_SILENCE, SILENCE_MS))
		return true;
	if (!set_taps_down(d, &e)) {
		log_warn("packets", "the packet proxy does not answer: the guest's taps are down");
		return true;
	}
	log_err("packets", "the guest cannot be silenced: %s", err_msg(&e));
	return false;
}

/* ---- the next epoch's mode ---- */

bool daemon_runs_next(struct daemon *d)
{
	const struct config *c = d->config;
	uint64_t packets, waited_us;

	if (!d->proxy)
		return c->run_secondary;
	if (c->mode == CKPT_MODE_COLO)
		return true;
	if (c->mode != CKPT_MODE_AUTO)
		return false;
	proxy_get_waits(d->proxy, &packets, &waited_us);
	automode_released(&d->automode, packets, waited_us);
	return automode_decide(&d->automode, primary_output_period_us(d->primary), clock_now_us());
}
