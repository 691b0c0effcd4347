// SPDX-License-Identifier: GPL-2.0-or-later
/* The switches that send a bridge's frames through iptables: netlink and sysctl, no sysfs, which
 * may show another network namespace. */
#include "proxy/rules-internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define BRIDGE_SYSCTL "/proc/sys/net/bridge"
#define REPLY_BYTES   16384

static int sysctl_put(const char *name, unsigned int value)
{
	char path[96];
	autoclose int fd = -1;

	snprintf(path, sizeof(path), BRIDGE_SYSCTL "/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, value ? "1" : "0", 1) != 1 ? -errno : 0;
}

static int sysctl_get(const char *name, unsigned int *value)
{
	char path[96], text[16] = "";
	autoclose int fd = -1;

	snprintf(path, sizeof(path), BRIDGE_SYSCTL "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		return -errno;
	*value = text[0] != '0';
	return 0;
}

/* With the module come switches that are on and hold for all bridges of the host: not ours. */
int rules_switches_load(struct err *e)
{
	static const char *const modprobe[] = {"modprobe", "br_netfilter", NULL};
	int r;

	if (!access(BRIDGE_SYSCTL, F_OK))
		return 0;
	r = rules_run(modprobe, -1, NULL, e);
	if (r) {
		err_prefix(e, "iptables sees bridged frames with the module br_netfilter only");
		return r;
	}
	sysctl_put("bridge-nf-call-iptables", 0);
	sysctl_put("bridge-nf-call-ip6tables", 0);
	sysctl_put("bridge-nf-call-arptables", 0);
	return 0;
}

static struct nlmsghdr *put_request(void *buf, int type, unsigned int index)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST;
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)index;
	return h;
}

/* The reply comes into @buf as well. */
static int ask(struct nlmsghdr *request, void *buf, struct nlmsghdr **reply)
{
	autoclose int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	const struct nlmsgerr *m;
	ssize_t n;

	*reply = buf;
	if (fd < 0 || send(fd, request, request->nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, buf, REPLY_BYTES, 0);
	if (n < 0)
		return -errno;
	if (!mnl_nlmsg_ok(*reply, (int)n))
		return -EBADMSG;
	m = mnl_nlmsg_get_payload(*reply);
	return (*reply)->nlmsg_type == NLMSG_ERROR ? m->error : 0;
}

static const struct nlattr *nested(const struct nlattr *in, int type)
{
	const struct nlattr *a;

	if (!in)
		return NULL;
	mnl_attr_for_each_nested(a, in)
	{
		if (mnl_attr_get_type(a) == type)
			return a;
	}
	return NULL;
}

static const struct nlattr *link_info(const struct nlmsghdr *link)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, link, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) == IFLA_LINKINFO)
			return a;
	}
	return NULL;
}

static unsigned int find_index(const char *bridge, struct err *e)
{
	unsigned int index = if_nametoindex(bridge);

	if (!index)
		err_set(e, ENODEV, "there is no bridge \"%s\"", bridge);
	return index;
}

int rules_switches_get(const char *bridge, struct rules_switches *s, struct err *e)
{
	char buf[REPLY_BYTES] __attribute__((aligned(8)));
	const struct nlattr *kind, *info, *data, *ipv4, *ipv6;
	unsigned int index = find_index(bridge, e);
	struct nlmsghdr *h, *reply;
	int r;

	if (!index)
		return -ENODEV;
	h = put_request(buf, RTM_GETLINK, index);
	mnl_attr_put_u32(h, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = ask(h, buf, &reply);
	if (r)
		return err_errno(e, -r, "looking at bridge \"%s\"", bridge);
	info = link_info(reply);
	kind = nested(info, IFLA_INFO_KIND);
	if (!kind || strcmp(mnl_attr_get_str(kind), "bridge"))
		return err_set(e, ENODEV, "\"%s\" is not a bridge", bridge);
	data = nested(info, IFLA_INFO_DATA);
	ipv4 = nested(data, IFLA_BR_NF_CALL_IPTABLES);
	ipv6 = nested(data, IFLA_BR_NF_CALL_IP6TABLES);
	if (!ipv4 || !ipv6)
		return err_set(e, EOPNOTSUPP, "bridge \"%s\" has no netfilter support", bridge);
	s->ipv4 = mnl_attr_get_u8(ipv4);
	s->ipv6 = mnl_attr_get_u8(ipv6);
	r = sysctl_get("bridge-nf-filter-vlan-tagged", &s->vlan);
	return r ? err_errno(e, -r, BRIDGE_SYSCTL "/bridge-nf-filter-vlan-tagged") : 0;
}

int rules_switches_put(const char *bridge, const struct rules_switches *s, struct err *e)
{
	char buf[REPLY_BYTES] __attribute__((aligned(8)));
	unsigned int index = find_index(bridge, e);
	struct nlattr *info, *data;
	struct nlmsghdr *h, *reply;
	int r = sysctl_put("bridge-nf-filter-vlan-tagged", s->vlan);

	if (r)
		return err_errno(e, -r, BRIDGE_SYSCTL "/bridge-nf-filter-vlan-tagged");
	if (!index)
		return -ENODEV;
	h = put_request(buf, RTM_NEWLINK, index);
	h->nlmsg_flags |= NLM_F_ACK;
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u8(h, IFLA_BR_NF_CALL_IPTABLES, s->ipv4);
	mnl_attr_put_u8(h, IFLA_BR_NF_CALL_IP6TABLES, s->ipv6);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	r = ask(h, buf, &reply);
	return r ? err_errno(e, -r, "netfilter switches of bridge \"%s\"", bridge) : 0;
}
