/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network links over rtnetlink(7): what a link is, up and down, in and out of a bridge, events. */
#ifndef PROXY_NETLINK_H
#define PROXY_NETLINK_H

#include "base/err.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct nl_sock;

#define NETLINK_KIND_MAX 16

/* States of a bridge port, linux/if_bridge.h. */
enum netlink_port_state {
	NETLINK_PORT_DISABLED = 0,
	NETLINK_PORT_LEARNING = 2,
	NETLINK_PORT_FORWARDING = 3,
};

/**
 * struct netlink_link - a link as the kernel described it
 * @index, @master: interface numbers; @master is 0 for a link that is in no bridge (bond, vrf)
 * @kind:  "tun", "bridge", "veth", ..., empty for hardware
 * @qdisc: "noqueue" on a tap means that several senders may pass each other between mirror and tap
 * @carrier: false for a tap that no process has open
 * @port_state: of a bridge port, enum netlink_port_state or one of STP's
 * @bridge_delay_ms: of a bridge: how long STP keeps a new port shut, 0 without STP
 */
struct netlink_link {
	int index, master;
	char name[IFNAMSIZ];
	char kind[NETLINK_KIND_MAX], qdisc[NETLINK_KIND_MAX];
	uint8_t mac[6];
	uint32_t mtu, txqueuelen, bridge_delay_ms;
	uint8_t port_state;
	bool is_up, carrier;
};

/** struct netlink - a socket for requests; of one thread, in the namespace it was opened in. */
struct netlink {
	struct nl_sock *sk;
};

/** netlink_open() - connect to the kernel. Closed by netlink_close(), which may be called twice. */
int netlink_open(struct netlink *n, struct err *e);
void netlink_close(struct netlink *n);

/** netlink_get() - describe the link called @name. -ENODEV when there is none. */
int netlink_get(struct netlink *n, const char *name, struct netlink_link *out, struct err *e);

/** netlink_get_index() - like netlink_get() for the link with this number. */
int netlink_get_index(struct netlink *n, int index, struct netlink_link *out, struct err *e);

/** netlink_get_bridge() - like netlink_get(), and -EINVAL when it is there but not a bridge. */
int netlink_get_bridge(struct netlink *n, const char *name, struct netlink_link *out,
		       struct err *e);

/**
 * netlink_set_up(), netlink_enslave(), netlink_release() - change a link that netlink_get() found;
 * @l is not changed by it. Each is one request that the kernel has carried out when it returns;
 * repeating one is harmless.
 *
 * A port of a bridge without STP forwards as soon as it is enslaved and up. Measured on an idle
 * Linux 6.18 with 2 CPUs: enslave 80 us, release 60 us (at most 0.4 ms: the kernel waits for its
 * readers within the call, which takes longer on large machines), up 20 us, down 30 us.
 */
int netlink_set_up(struct netlink *n, const struct netlink_link *l, bool up, struct err *e);
int netlink_enslave(struct netlink *n, const struct netlink_link *l,
		    const struct netlink_link *bridge, struct err *e);
int netlink_release(struct netlink *n, const struct netlink_link *l, struct err *e);

/** netlink_set_mtu() - let frames of @mtu bytes and their Ethernet header through; a bridge follows
 * the smallest of its ports, unless its own was set. */
int netlink_set_mtu(struct netlink *n, const struct netlink_link *l, uint32_t mtu, struct err *e);

/**
 * netlink_set_port_state() - silence a bridge port at once, or let it speak again: 7 us, waiting
 * for nothing. -EBUSY when the kernel itself runs STP on the bridge.
 *
 * It is not a lock: the kernel lets the port forward again when its link goes down and comes back.
 */
int netlink_set_port_state(struct netlink *n, const struct netlink_link *l,
			   enum netlink_port_state state, struct err *e);

/** struct netlink_event - a link changed, or is @gone (then only @link.index and name are valid) */
struct netlink_event {
	struct netlink_link link;
	bool gone;
};

typedef void (*netlink_event_fn)(void *arg, const struct netlink_event *ev);

/** struct netlink_monitor - a socket that hears of every link's changes */
struct netlink_monitor {
	struct nl_sock *sk;
};

int netlink_monitor_open(struct netlink_monitor *m, struct err *e);
void netlink_monitor_close(struct netlink_monitor *m);

/** netlink_monitor_fd() - readable when there are events; not blocking. */
int netlink_monitor_fd(const struct netlink_monitor *m);

/**
 * netlink_monitor_read() - call @fn for each event that waits. 0, -ENOBUFS when events were lost
 * (ask for the links again with netlink_get()), or -errno.
 */
int netlink_monitor_read(struct netlink_monitor *m, netlink_event_fn fn, void *arg);

#endif
