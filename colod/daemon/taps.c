// SPDX-License-Identifier: GPL-2.0-or-later
/* The taps of the guest's cards: made for QEMU, as wide as their bridges. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "proxy/netlink.h"
#include "proxy/tap.h"

#define MTU_UNTOLD 1500 /* what a guest assumes of an Ethernet card, RFC 894 */

static void fit_guest(struct config_nic *nic, const struct netlink_link *bridge)
{
	if (!nic->mtu && nic_is_virtio(nic) && bridge->mtu != MTU_UNTOLD)
		nic->mtu = MIN(bridge->mtu, CONFIG_MTU_MAX);
	if (nic->mtu > bridge->mtu)
		log_warn("net",
			 "nic %s: the guest is told an MTU of %u, bridge %s has %u: what is larger "
			 "may get lost",
			 nic->tap, nic->mtu, bridge->name, bridge->mtu);
}

/* Never below the bridge's: a bridge takes the smallest MTU of its ports (br_mtu_auto_adjust()), and
 * would shrink for all others on it when the guest comes. */
static int fit_tap(struct netlink *n, struct config_nic *nic, struct err *e)
{
	struct netlink_link tap, bridge = {};
	uint32_t mtu;
	int r = netlink_get(n, nic->tap, &tap, e);

	if (!r && nic->bridge[0]) {
		r = netlink_get_bridge(n, nic->bridge, &bridge, e);
		if (!r)
			fit_guest(nic, &bridge);
	}
	mtu = MIN(MAX(nic->mtu, bridge.mtu), CONFIG_MTU_MAX);
	if (r || !mtu || mtu == tap.mtu)
		return r;
	return netlink_set_mtu(n, &tap, mtu, e);
}

static int open_taps(struct daemon *d, struct netlink *n, struct err *e)
{
	struct config *c = d->config;
	int r = 0;

	for (unsigned i = 0; !r && i < c->nic_count; i++) {
		d->tap_fds[i] = tap_create(c->nics[i].tap, TAP_HOST_SILENT, e);
		r = d->tap_fds[i] < 0 ? d->tap_fds[i] : fit_tap(n, &c->nics[i], e);
	}
	return r;
}

int daemon_taps_open(struct daemon *d, struct err *e)
{
	struct netlink n = {};
	int r;

	if (!d->config->nic_count)
		return 0;
	r = netlink_open(&n, e);
	if (!r)
		r = open_taps(d, &n, e);
	netlink_close(&n);
	return r;
}

void daemon_taps_close(struct daemon *d)
{
	for (unsigned i = 0; i < CONFIG_MAX_NICS; i++)
		close_fd(&d->tap_fds[i]);
}
