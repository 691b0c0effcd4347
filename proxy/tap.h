/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest taps: making them, keeping the host silent on them, and their counters. */
#ifndef PROXY_TAP_H
#define PROXY_TAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TAP_QUEUE_FRAMES 1000

enum tap_flags {
	TAP_HOST_SILENT = BIT(0), /* tap_set_host_silent() before the tap can be set up */
};

/**
 * tap_create() - open the tap called @name, making it if it is not there; returns its descriptor
 * (close-on-exec, not blocking), or -errno.
 *
 * It carries a virtio_net_hdr before each frame (10 bytes; QEMU sets the length that its guest
 * wants, and the offloads). One queue. Its queue holds TAP_QUEUE_FRAMES frames, more if an
 * administrator's persistent tap has more.
 *
 * A tap made here lives as long as any process has it open: QEMU's inherited descriptor keeps it
 * when colod ends. -EBUSY when another process has it open, -EINVAL when @name is something else
 * than a tap, -EPERM without CAP_NET_ADMIN. Facts from Documentation/networking/tuntap.rst and
 * drivers/net/tun.c.
 */
int tap_create(const char *name, unsigned int flags, struct err *e);

/** tap_set_queue() - let @frames wait for the guest, at least 1 (0 would make it a link without a
 * queueing discipline, on which the mirror's order is not the tap's). Existing taps only. */
int tap_set_queue(const char *name, uint32_t frames, struct err *e);

/**
 * tap_set_host_silent() - keep the host's own IP stack away from a tap that is in no bridge: no
 * IPv6, no answer to ARP (otherwise Linux answers for any address of the host on any link), and
 * with rp_filter no unicast packet from the guest is taken in while the tap has no address. Off
 * restores what the host's defaults for new links say. A port of a bridge needs neither.
 *
 * What still comes in: broadcasts from 0.0.0.0, that is DHCP requests, if a server listens on
 * all links.
 */
int tap_set_host_silent(const char *name, bool silent, struct err *e);

/**
 * tap_set_filter() - on: frames no longer reach the guest behind the tap @fd, whoever sends them;
 * packet sockets still see them, they count as dropped, what waits in the queue stays. QEMU takes one
 * frame out of the tap of a guest that stands still, and keeps it over a load of a checkpoint.
 *
 * The driver's address filter (TUNSETTXFILTER, drivers/net/tun.c), one foreign address long. It is a
 * property of the tap, also after its descriptors are closed; tap_create() clears it. 0 or -errno.
 */
int tap_set_filter(int fd, bool on);

/**
 * struct tap_counters - descriptors of a tap's counters in sysfs
 *
 * sysfs, not netlink: no lock of the kernel's is taken, and 1.2 us for both counters. RTM_GETSTATS
 * waits for the one lock of all network configuration: 1.8 us when idle, up to 0.35 ms while others
 * make and remove links (sysfs then: 8 us).
 */
struct tap_counters {
	int fd_read, fd_dropped;
};

/**
 * tap_counters_open() - for the tap @name with number @ifindex. -ENODEV when the sysfs mounted
 * on /sys is not that of this network namespace. Closed by tap_counters_close(), which may be
 * called twice.
 */
int tap_counters_open(struct tap_counters *c, const char *name, int ifindex, struct err *e);
void tap_counters_close(struct tap_counters *c);

/**
 * tap_counters_read() - *@read: frames that the tap's owner has read (the driver counts
 * tx_packets when it has copied the frame out, not when it is queued); *@dropped: frames that it
 * threw away, its queue being full. In this order: @dropped is the younger of the two. 0 or -errno
 * (-ENODEV: the tap is gone).
 */
int tap_counters_read(const struct tap_counters *c, uint64_t *read, uint64_t *dropped);

#endif
