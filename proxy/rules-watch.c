// SPDX-License-Identifier: GPL-2.0-or-later
/* Netlink's word of deleted packet filter rules, and traffic that goes past them. */
#include "proxy/rules-watch.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* More than the kernel puts into one datagram of events (NLMSG_GOODSIZE). */
#define BATCH_BYTES 65536

/* Fewer may be nothing but ARP, which no queue sees. */
#define BYPASSED_FRAMES 16

int rules_watch_open(struct err *e)
{
	autoclose int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct sockaddr_nl at = {.nl_family = AF_NETLINK};
	int group = NFNLGRP_NFTABLES;

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
		return err_errno(e, errno, "events of the packet filter");
	return steal_fd(&fd);
}

/* The table's name has the number 1 in the messages of all three (linux/netfilter/nf_tables.h). */
static bool is_deletion(const struct nlmsghdr *h)
{
	switch (h->nlmsg_type) {
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE:
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN:
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE:
		return true;
	}
	return false;
}

static bool is_ours(const struct nlmsghdr *h, const struct rules *r)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		const char *name = mnl_attr_get_payload(a);

		if (mnl_attr_get_type(a) != NFTA_TABLE_NAME)
			continue;
		if (!memchr(name, '\0', mnl_attr_get_payload_len(a)))
			return true; /* cannot be ruled out */
		return !strcmp(name, r->label) ||
		       (r->kind == RULES_IPTABLES && !strcmp(name, "mangle"));
	}
	return true;
}

bool rules_watch_deletes(const void *buf, size_t len, const struct rules *r)
{
	const struct nlmsghdr *h = buf;
	int left = (int)len;

	for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (!is_deletion(h))
			continue;
		if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg) || is_ours(h, r))
			return true;
	}
	return left != 0;
}

bool rules_watch_read(int fd, const struct rules *r)
{
	uint8_t buf[BATCH_BYTES] __attribute__((aligned(8)));
	bool deleted = false;
	ssize_t n;

	for (;;) {
		n = recv(fd, buf, sizeof(buf), MSG_TRUNC);
		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			return deleted;
		if (n < 0)
			deleted |= errno == ENOBUFS; /* there was more than it could keep */
		else
			deleted |= n > (ssize_t)sizeof(buf) || rules_watch_deletes(buf, n, r);
	}
}

int rules_sent(const char *tap, uint64_t *frames)
{
	autofree char *text = NULL;
	char path[96];
	int r;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/rx_packets", tap);
	r = io_read_file(path, &text, NULL);
	if (!r)
		*frames = strtoull(text, NULL, 10);
	return r;
}

bool rules_bypassed(struct rules_traffic *last, struct rules_traffic now)
{
	bool none = now.queued == last->queued;
	bool many = now.sent >= last->sent && now.sent - last->sent >= BYPASSED_FRAMES;

	*last = now;
	return many && none;
}
