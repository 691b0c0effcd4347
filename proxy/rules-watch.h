/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Notices that somebody else takes packet filter rules away. */
#ifndef PROXY_RULES_WATCH_H
#define PROXY_RULES_WATCH_H

#include "proxy/rules.h"

/**
 * rules_watch_open() - a descriptor that is readable when the nf_tables rules of the calling
 * thread's network namespace changed. The caller closes it. -errno.
 *
 * The multicast group NFNLGRP_NFTABLES of netlink(7), NETLINK_NETFILTER: what "nft monitor" reads.
 * iptables-nft, Debian's iptables, changes the same rules; iptables-legacy is not seen.
 */
int rules_watch_open(struct err *e);

/**
 * rules_watch_read() - take in what waits: whether anything was deleted where the rules of @r are,
 * or that cannot be ruled out. What it was rules_check() must say: changes by @r's owner are seen
 * too.
 */
bool rules_watch_read(int fd, const struct rules *r);

/** rules_watch_deletes() - the same for messages in memory. Pure. */
bool rules_watch_deletes(const void *buf, size_t len, const struct rules *r);

/**
 * struct rules_traffic - how far a guest's output and what of it was seen in the queue had come
 *
 * For changes that nobody is told of.
 */
struct rules_traffic {
	uint64_t sent, queued;
};

/** rules_sent() - frames that the guest has sent through @tap: rx_packets in sysfs. -errno. */
int rules_sent(const char *tap, uint64_t *frames);

/** rules_bypassed() - many frames since @last, and none in the queue; @now becomes @last. Pure. Not
 * proof: the queue holds IP only. */
bool rules_bypassed(struct rules_traffic *last, struct rules_traffic now);

#endif
