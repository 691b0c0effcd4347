// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's uplinks: their carriers are watched, the peer is told, and a guest that nobody can reach here goes to
 * where it can be reached. */
#include "colod/core/uplink.h"
#include "colod/daemon/daemon-priv.h"
#include "colod/daemon/json.h"
#include "proxy/netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* While a hand-over is due and another move is under way. */
#define AGAIN_US (100 * USEC_PER_MSEC)

struct uplinks {
	struct daemon *d;
	struct uplink state;
	struct netlink ask;
	struct netlink_monitor monitor;
	struct loop_src *io, *timer;
	struct {
		int index;
		bool carrier;
	} ifs[CONFIG_MAX_UPLINK]; /* in the order of the configuration */
	bool changed;             /* one of them, as the events say */
};

static bool all_alive(const struct uplinks *u)
{
	for (unsigned i = 0; i < u->d->config->uplink_count; i++)
		if (!u->ifs[i].carrier)
			return false;
	return true;
}

static const char *first_dead(const struct uplinks *u)
{
	for (unsigned i = 0; i < u->d->config->uplink_count; i++)
		if (!u->ifs[i].carrier)
			return u->d->config->uplinks[i];
	return "";
}

static void tell_peer(struct uplinks *u)
{
	struct wire_msg m = {.type = WIRE_UPLINK,
			     .flags = u->state.ours.alive ? WIRE_UPLINK_ALIVE : 0};

	if (u->d->link)
		link_send(u->d->link, &m);
}

static uint64_t delay_us(const struct uplinks *u)
{
	return u->d->config->uplink_delay_ms * USEC_PER_MSEC;
}

static void hand_over(struct uplinks *u, uint64_t now)
{
	char reason[64];

	uplink_tried(&u->state, delay_us(u), now);
	snprintf(reason, sizeof(reason), "uplink %s has no carrier", first_dead(u));
	log_notice("uplink", "%s, the peer's is alive: the guest goes there", reason);
	daemon_event(u->d, FSM_EV_OP_SWITCH, reason);
}

static void decide(struct uplinks *u)
{
	uint64_t now = clock_now_us(), due = uplink_due_us(&u->state, delay_us(u));
	struct daemon *d = u->d;

	loop_timer_disarm(u->timer);
	if (due == UINT64_MAX)
		return;
	if (now < due) {
		loop_timer_arm(u->timer, due - now);
		return;
	}
	/* A secondary's word is of use to its primary; itself it waits for the role. */
	loop_timer_arm(u->timer, AGAIN_US);
	if (d->role == ROLE_PRIMARY && d->state == FSM_COLO && link_state(d->link) == LINK_UP)
		hand_over(u, now);
}

static void on_timer(void *arg)
{
	decide(arg);
}

static void ask_one(struct uplinks *u, unsigned i)
{
	const char *name = u->d->config->uplinks[i];
	struct netlink_link l = {};
	bool carrier = !netlink_get(&u->ask, name, &l, NULL) && l.is_up && l.carrier;

	if (carrier && !u->ifs[i].carrier)
		log_notice("uplink", "%s has a carrier", name);
	else if (!carrier && u->ifs[i].carrier)
		log_warn("uplink", "%s has no carrier", name);
	u->ifs[i].index = l.index;
	u->ifs[i].carrier = carrier;
}

static void ask_all(struct uplinks *u)
{
	for (unsigned i = 0; i < u->d->config->uplink_count; i++)
		ask_one(u, i);
	if (uplink_ours(&u->state, all_alive(u), clock_now_us()))
		tell_peer(u);
	decide(u);
}

static void on_link_event(void *arg, const struct netlink_event *ev)
{
	struct uplinks *u = arg;

	for (unsigned i = 0; i < u->d->config->uplink_count; i++)
		u->changed |= ev->link.index == u->ifs[i].index ||
			      !strcmp(ev->link.name, u->d->config->uplinks[i]);
}

static void on_readable(void *arg, int fd, uint32_t revents)
{
	struct uplinks *u = arg;

	(void)fd;
	(void)revents;
	u->changed = false;
	if (netlink_monitor_read(&u->monitor, on_link_event, u) || u->changed)
		ask_all(u);
}

static int watch(struct uplinks *u, struct err *e)
{
	struct loop *l = u->d->loop;
	int r = netlink_open(&u->ask, e);

	if (!r)
		r = netlink_monitor_open(&u->monitor, e);
	if (r)
		return r;
	for (unsigned i = 0; i < u->d->config->uplink_count; i++) {
		struct netlink_link link;

		r = netlink_get(&u->ask, u->d->config->uplinks[i], &link, e);
		if (r)
			return err_prefix(e, "uplink");
	}
	if (loop_add_timer(l, &u->timer, on_timer, u) ||
	    loop_add_io(l, &u->io, netlink_monitor_fd(&u->monitor), EPOLLIN, on_readable, u))
		return err_errno(e, ENOMEM, "uplink");
	return 0;
}

int daemon_uplinks_open(struct daemon *d, struct err *e)
{
	struct uplinks *u;
	int r;

	if (!d->config->uplink_count)
		return 0;
	u = calloc(1, sizeof(*u));
	if (!u)
		return err_errno(e, ENOMEM, "uplink");
	u->d = d;
	d->uplinks = u;
	for (unsigned i = 0; i < d->config->uplink_count; i++)
		u->ifs[i].carrier = true; /* so that a dead one is logged */
	r = watch(u, e);
	if (!r)
		ask_all(u);
	return r;
}

void daemon_uplinks_close(struct daemon *d)
{
	struct uplinks *u = d->uplinks;

	d->uplinks = NULL;
	if (!u)
		return;
	loop_src_free(&u->io);
	loop_src_free(&u->timer);
	netlink_monitor_close(&u->monitor);
	netlink_close(&u->ask);
	free(u);
}

void daemon_uplinks_link_up(struct daemon *d)
{
	if (!d->uplinks)
		return;
	uplink_peer_gone(&d->uplinks->state);
	tell_peer(d->uplinks);
}

void daemon_uplinks_heard(struct daemon *d, const struct wire_msg *m)
{
	if (!d->uplinks)
		return;
	uplink_peers(&d->uplinks->state, m->flags & WIRE_UPLINK_ALIVE, clock_now_us());
	decide(d->uplinks);
}

struct json_object *daemon_uplinks_status(const struct daemon *d)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	const struct uplinks *u = d->uplinks;
	const struct uplink_side *peer = &u->state.peers;

	add_bool(o, "alive", u->state.ours.alive);
	add(o, "peer_alive",
	    peer->known && d->link && link_state(d->link) == LINK_UP
		    ? json_object_new_boolean(peer->alive)
		    : NULL);
	for (unsigned i = 0; i < d->config->uplink_count; i++) {
		struct json_object *one = json_object_new_object();

		add_str(one, "name", d->config->uplinks[i]);
		add_bool(one, "carrier", u->ifs[i].carrier);
		json_object_array_add(list, one);
	}
	add(o, "interfaces", list);
	return o;
}
