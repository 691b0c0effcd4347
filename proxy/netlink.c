// SPDX-License-Identifier: GPL-2.0-or-later
/* Network links over rtnetlink: requests that wait for their answer, and the event socket. */
#include "proxy/netlink.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>

/* The kernel's messages about one link; a long list of virtual functions makes the largest. */
#define ANSWER_BYTES (32 * KIB)

/* IFLA_BR_FORWARD_DELAY is in hundredths of a second (USER_HZ) on every architecture of ours. */
#define MS_PER_TICK 10

_Static_assert(NETLINK_PORT_DISABLED == BR_STATE_DISABLED, "linux/if_bridge.h");
_Static_assert(NETLINK_PORT_LEARNING == BR_STATE_LEARNING, "linux/if_bridge.h");
_Static_assert(NETLINK_PORT_FORWARDING == BR_STATE_FORWARDING, "linux/if_bridge.h");

static void free_msg(struct nl_msg **m)
{
	nlmsg_free(*m);
}
#define automsg _cleanup_(free_msg)

#include "base/cleanup.h"

static void sock_free(struct nl_sock **sk)
{
	if (*sk)
		nl_socket_free(*sk);
	*sk = NULL;
}

/* Error codes of libnl say less than errno, which is still there after a failed system call. */
static int sock_open(struct nl_sock **sk, struct err *e)
{
	*sk = nl_socket_alloc();
	if (!*sk)
		return err_errno(e, ENOMEM, "netlink socket");
	errno = 0;
	if (nl_connect(*sk, NETLINK_ROUTE)) {
		int code = errno ?: EIO;

		sock_free(sk);
		return err_errno(e, code, "cannot open a netlink socket");
	}
	return 0;
}

int netlink_open(struct netlink *n, struct err *e)
{
	int r = sock_open(&n->sk, e);
	int on = 1, fd;

	if (r)
		return r;
	/* For reasons in words, and answers that do not repeat the request. Old kernels do without. */
	fd = nl_socket_get_fd(n->sk);
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void netlink_close(struct netlink *n)
{
	sock_free(&n->sk);
}

/* ---- understanding a link ---- */

/* libnl checks lengths and terminates strings by these before anything is read. */
static struct nla_policy link_policy[IFLA_MAX + 1] = {
	[IFLA_IFNAME] = {.type = NLA_STRING, .maxlen = IFNAMSIZ},
	[IFLA_ADDRESS] = {.type = NLA_UNSPEC},
	[IFLA_MTU] = {.type = NLA_U32},
	[IFLA_TXQLEN] = {.type = NLA_U32},
	[IFLA_MASTER] = {.type = NLA_U32},
	[IFLA_CARRIER] = {.type = NLA_U8},
	[IFLA_QDISC] = {.type = NLA_STRING},
	[IFLA_LINKINFO] = {.type = NLA_NESTED},
};

static struct nla_policy info_policy[IFLA_INFO_MAX + 1] = {
	[IFLA_INFO_KIND] = {.type = NLA_STRING},
	[IFLA_INFO_DATA] = {.type = NLA_NESTED},
	[IFLA_INFO_SLAVE_KIND] = {.type = NLA_STRING},
	[IFLA_INFO_SLAVE_DATA] = {.type = NLA_NESTED},
};

static struct nla_policy bridge_policy[IFLA_BR_MAX + 1] = {
	[IFLA_BR_FORWARD_DELAY] = {.type = NLA_U32},
	[IFLA_BR_STP_STATE] = {.type = NLA_U32},
};

static struct nla_policy port_policy[IFLA_BRPORT_MAX + 1] = {
	[IFLA_BRPORT_STATE] = {.type = NLA_U8},
};

static uint32_t get_u32(struct nlattr *a)
{
	return a ? nla_get_u32(a) : 0;
}

static void parse_bridge(struct nlattr *data, struct netlink_link *l)
{
	struct nlattr *tb[IFLA_BR_MAX + 1];

	if (nla_parse_nested(tb, IFLA_BR_MAX, data, bridge_policy))
		return;
	if (get_u32(tb[IFLA_BR_STP_STATE]))
		l->bridge_delay_ms = 2 * get_u32(tb[IFLA_BR_FORWARD_DELAY]) * MS_PER_TICK;
}

static void parse_port(struct nlattr *data, struct netlink_link *l)
{
	struct nlattr *tb[IFLA_BRPORT_MAX + 1];

	if (nla_parse_nested(tb, IFLA_BRPORT_MAX, data, port_policy))
		return;
	if (tb[IFLA_BRPORT_STATE])
		l->port_state = nla_get_u8(tb[IFLA_BRPORT_STATE]);
}

static void parse_info(struct nlattr *info, struct netlink_link *l)
{
	struct nlattr *tb[IFLA_INFO_MAX + 1];

	if (nla_parse_nested(tb, IFLA_INFO_MAX, info, info_policy))
		return;
	if (tb[IFLA_INFO_KIND])
		nla_strlcpy(l->kind, tb[IFLA_INFO_KIND], sizeof(l->kind));
	if (tb[IFLA_INFO_DATA] && !strcmp(l->kind, "bridge"))
		parse_bridge(tb[IFLA_INFO_DATA], l);
	if (tb[IFLA_INFO_SLAVE_KIND] && tb[IFLA_INFO_SLAVE_DATA] &&
	    !nla_strcmp(tb[IFLA_INFO_SLAVE_KIND], "bridge"))
		parse_port(tb[IFLA_INFO_SLAVE_DATA], l);
}

static int parse_link(struct nlmsghdr *nlh, struct netlink_link *l)
{
	struct nlattr *tb[IFLA_MAX + 1];
	struct ifinfomsg *ifi;

	memset(l, 0, sizeof(*l));
	if (nlmsg_parse(nlh, sizeof(*ifi), tb, IFLA_MAX, link_policy))
		return -EBADMSG;
	ifi = nlmsg_data(nlh);
	l->index = ifi->ifi_index;
	l->is_up = ifi->ifi_flags & IFF_UP;
	l->master = (int)get_u32(tb[IFLA_MASTER]);
	l->mtu = get_u32(tb[IFLA_MTU]);
	l->txqueuelen = get_u32(tb[IFLA_TXQLEN]);
	l->carrier = tb[IFLA_CARRIER] && nla_get_u8(tb[IFLA_CARRIER]);
	if (tb[IFLA_IFNAME])
		nla_strlcpy(l->name, tb[IFLA_IFNAME], sizeof(l->name));
	if (tb[IFLA_QDISC])
		nla_strlcpy(l->qdisc, tb[IFLA_QDISC], sizeof(l->qdisc));
	if (tb[IFLA_ADDRESS] && nla_len(tb[IFLA_ADDRESS]) == sizeof(l->mac))
		memcpy(l->mac, nla_data(tb[IFLA_ADDRESS]), sizeof(l->mac));
	if (tb[IFLA_LINKINFO])
		parse_info(tb[IFLA_LINKINFO], l);
	return 0;
}

/* ---- requests ---- */

/* 0, -EAGAIN, -ENOBUFS (also for a datagram larger than the buffer), or -errno; *len is 0 for what
 * does not come from the kernel. */
static int recv_from_kernel(struct nl_sock *sk, void *buf, int *len)
{
	struct sockaddr_nl from = {};
	struct iovec iov = {.iov_base = buf, .iov_len = ANSWER_BYTES};
	struct msghdr mh = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(nl_socket_get_fd(sk), &mh, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (mh.msg_flags & MSG_TRUNC)
		return -ENOBUFS;
	*len = from.nl_pid ? 0 : (int)n;
	return 0;
}

/* The kernel's verdict on a request: 0 or -errno, with its own words when it has some. */
static int verdict(struct nlmsghdr *nlh, struct err *e)
{
	struct nlmsgerr *ne = nlmsg_data(nlh);
	struct nlattr *words = NULL;

	if (!nlmsg_valid_hdr(nlh, sizeof(*ne)))
		return err_set(e, EBADMSG, "netlink: short answer");
	if (!ne->error)
		return 0;
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS)
		words = nlmsg_find_attr(nlh, sizeof(*ne), NLMSGERR_ATTR_MSG);
	if (words && nla_len(words) > 0)
		return err_errno(e, -ne->error, "kernel says \"%.*s\"", nla_len(words),
				 (char *)nla_data(words));
	return err_errno(e, -ne->error, "refused by the kernel");
}

/* Send @msg and wait until the kernel has carried it out; a link that it describes goes to @out. */
static int talk(struct netlink *n, struct nl_msg *msg, struct netlink_link *out, struct err *e)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint32_t seq;
	int r, len = 0;

	if (nl_send_auto(n->sk, msg) < 0)
		return err_errno(e, errno ?: EIO, "netlink: cannot send");
	seq = nlmsg_hdr(msg)->nlmsg_seq;
	for (;;) {
		struct nlmsghdr *nlh = (struct nlmsghdr *)buf;

		r = recv_from_kernel(n->sk, buf, &len);
		if (r)
			return err_errno(e, -r, "netlink: no answer");
		for (; nlmsg_ok(nlh, len); nlh = nlmsg_next(nlh, &len)) {
			if (nlh->nlmsg_seq != seq)
				continue;
			if (nlh->nlmsg_type == NLMSG_ERROR)
				return verdict(nlh, e);
			if (nlh->nlmsg_type == RTM_NEWLINK && out && (r = parse_link(nlh, out)))
				return err_errno(e, -r, "netlink: unexpected answer");
		}
	}
}

static struct nl_msg *link_msg(int type, uint8_t family, int index, uint32_t flags, uint32_t change)
{
	struct ifinfomsg ifi = {
		.ifi_family = family,
		.ifi_index = index,
		.ifi_flags = flags,
		.ifi_change = change,
	};
	struct nl_msg *m = nlmsg_alloc_simple(type, 0);

	if (m && nlmsg_append(m, &ifi, sizeof(ifi), NLMSG_ALIGNTO)) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

int netlink_get(struct netlink *n, const char *name, struct netlink_link *out, struct err *e)
{
	automsg struct nl_msg *m = link_msg(RTM_GETLINK, AF_UNSPEC, 0, 0, 0);
	int r;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return err_set(e, ENODEV, "\"%s\" is no name of a network interface", name);
	if (!m || nla_put_string(m, IFLA_IFNAME, name))
		return err_errno(e, ENOMEM, "interface %s", name);
	r = talk(n, m, out, e);
	if (r == -ENODEV)
		return err_set(e, ENODEV, "there is no network interface \"%s\"", name);
	return r ? err_prefix(e, "interface %s", name) : 0;
}

int netlink_get_index(struct netlink *n, int index, struct netlink_link *out, struct err *e)
{
	automsg struct nl_msg *m = link_msg(RTM_GETLINK, AF_UNSPEC, index, 0, 0);
	int r;

	if (index <= 0)
		return err_set(e, ENODEV, "there is no network interface number %d", index);
	if (!m)
		return err_errno(e, ENOMEM, "interface number %d", index);
	r = talk(n, m, out, e);
	if (r == -ENODEV)
		return err_set(e, ENODEV, "there is no network interface number %d", index);
	return r ? err_prefix(e, "interface number %d", index) : 0;
}

int netlink_get_bridge(struct netlink *n, const char *name, struct netlink_link *out, struct err *e)
{
	int r = netlink_get(n, name, out, e);

	if (r == -ENODEV)
		return err_set(
			e, ENODEV,
			"there is no bridge \"%s\": create it (ip link add %s type bridge) or "
			"name another",
			name, name);
	if (r)
		return r;
	if (strcmp(out->kind, "bridge") != 0)
		return err_set(e, EINVAL, "\"%s\" is not a bridge but %s", name,
			       *out->kind ? out->kind : "a hardware interface");
	return 0;
}

int netlink_set_up(struct netlink *n, const struct netlink_link *l, bool up, struct err *e)
{
	automsg struct nl_msg *m =
		link_msg(RTM_SETLINK, AF_UNSPEC, l->index, up ? IFF_UP : 0, IFF_UP);
	int r;

	if (!m)
		return err_errno(e, ENOMEM, "interface %s", l->name);
	r = talk(n, m, NULL, e);
	return r ? err_prefix(e, "cannot set %s %s", l->name, up ? "up" : "down") : 0;
}

static int set_u32(struct netlink *n, int index, int attribute, uint32_t value, struct err *e)
{
	automsg struct nl_msg *m = link_msg(RTM_SETLINK, AF_UNSPEC, index, 0, 0);

	if (!m || nla_put_u32(m, attribute, value))
		return err_errno(e, ENOMEM, "netlink message");
	return talk(n, m, NULL, e);
}

int netlink_set_mtu(struct netlink *n, const struct netlink_link *l, uint32_t mtu, struct err *e)
{
	int r = set_u32(n, l->index, IFLA_MTU, mtu, e);

	return r ? err_prefix(e, "cannot set the MTU of %s to %u", l->name, mtu) : 0;
}

int netlink_enslave(struct netlink *n, const struct netlink_link *l,
		    const struct netlink_link *bridge, struct err *e)
{
	int r = set_u32(n, l->index, IFLA_MASTER, (uint32_t)bridge->index, e);

	return r ? err_prefix(e, "cannot put %s into bridge %s", l->name, bridge->name) : 0;
}

int netlink_release(struct netlink *n, const struct netlink_link *l, struct err *e)
{
	int r = set_u32(n, l->index, IFLA_MASTER, 0, e);

	return r ? err_prefix(e, "cannot take %s out of its bridge", l->name) : 0;
}

int netlink_set_port_state(struct netlink *n, const struct netlink_link *l,
			   enum netlink_port_state state, struct err *e)
{
	automsg struct nl_msg *m = link_msg(RTM_SETLINK, AF_BRIDGE, l->index, 0, 0);
	struct nlattr *nest = m ? nla_nest_start(m, IFLA_PROTINFO | NLA_F_NESTED) : NULL;
	int r;

	if (!nest || nla_put_u8(m, IFLA_BRPORT_STATE, (uint8_t)state))
		return err_errno(e, ENOMEM, "netlink message");
	nla_nest_end(m, nest);
	r = talk(n, m, NULL, e);
	return r ? err_prefix(e, "cannot set the state of bridge port %s", l->name) : 0;
}

/* ---- events ---- */

int netlink_monitor_open(struct netlink_monitor *m, struct err *e)
{
	int r = sock_open(&m->sk, e);

	if (r)
		return r;
	errno = 0;
	if (nl_socket_add_membership(m->sk, RTNLGRP_LINK) || nl_socket_set_nonblocking(m->sk)) {
		int code = errno ?: EIO;

		sock_free(&m->sk);
		return err_errno(e, code, "cannot listen for changes of network interfaces");
	}
	return 0;
}

void netlink_monitor_close(struct netlink_monitor *m)
{
	sock_free(&m->sk);
}

int netlink_monitor_fd(const struct netlink_monitor *m)
{
	return nl_socket_get_fd(m->sk);
}

/* A bridge speaks on the same group of its ports, with its own family: a port that leaves is
 * "deleted" there while the link lives on. The link's own message tells the same. */
static void tell(struct nlmsghdr *nlh, netlink_event_fn fn, void *arg)
{
	struct netlink_event ev = {.gone = nlh->nlmsg_type == RTM_DELLINK};

	if (nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK)
		return;
	if (!nlmsg_valid_hdr(nlh, sizeof(struct ifinfomsg)) ||
	    ((struct ifinfomsg *)nlmsg_data(nlh))->ifi_family != AF_UNSPEC)
		return;
	if (!parse_link(nlh, &ev.link))
		fn(arg, &ev);
}

int netlink_monitor_read(struct netlink_monitor *m, netlink_event_fn fn, void *arg)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	int r, len = 0;

	for (;;) {
		struct nlmsghdr *nlh = (struct nlmsghdr *)buf;

		r = recv_from_kernel(m->sk, buf, &len);
		if (r)
			return r == -EAGAIN ? 0 : r;
		for (; nlmsg_ok(nlh, len); nlh = nlmsg_next(nlh, &len))
			tell(nlh, fn, arg);
	}
}
