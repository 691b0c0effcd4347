// SPDX-License-Identifier: GPL-2.0-or-later
/* Packets of a netfilter queue in, verdicts out; libmnl lays out the messages. */
#include "proxy/nfqueue-internal.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int nfqueue_fd(const struct nfqueue *q)
{
	return q->fd;
}

uint16_t nfqueue_num(const struct nfqueue *q)
{
	return q->num;
}

const struct nfqueue_stats *nfqueue_stats(const struct nfqueue *q)
{
	return &q->stats;
}

/* The line of queue @num: its fields, see seq_show() in the kernel's nfnetlink_queue.c. */
static bool find_queue(const char *text, uint16_t num, struct nfqueue_drops *d)
{
	unsigned int found, full, unread, waiting;

	for (const char *line = text; *line; line++) {
		if (sscanf(line, "%u %*u %u %*u %*u %u %u", &found, &waiting, &full, &unread) ==
			    4 &&
		    found == num) {
			*d = (struct nfqueue_drops){
				.waiting = waiting, .full = full, .unread = unread};
			return true;
		}
		line = strchr(line, '\n');
		if (!line)
			break;
	}
	return false;
}

/* seq_file hands out whole lines, so a host with very many queues takes several reads. */
int nfqueue_drops(struct nfqueue *q, struct nfqueue_drops *d)
{
	off_t off = 0;

	for (;;) {
		ssize_t n = pread(q->proc_fd, q->proc_text, sizeof(q->proc_text) - 1, off);

		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENOENT;
		q->proc_text[n] = '\0';
		if (find_queue(q->proc_text, q->num, d))
			return 0;
		off += n;
	}
}

int nfqueue_flush(struct nfqueue *q)
{
	if (q->send_len && send(q->fd, q->send_mem, q->send_len, 0) < 0) {
		q->stats.unsent++;
		return -errno;
	}
	q->send_len = 0;
	return 0;
}

/* Room for a message that ends with a payload of @payload bytes. */
static int put_message(struct nfqueue *q, int type, size_t payload, struct nlmsghdr **out)
{
	size_t need = 64 + payload;
	int r = q->send_len + need > NFQUEUE_SEND_BYTES ? nfqueue_flush(q) : 0;

	if (!r)
		*out = nfqueue_header(q->send_mem + q->send_len, q->num, type);
	return r;
}

static int put_verdict(struct nfqueue *q, int type, uint32_t verdict, uint32_t id, const void *data,
		       uint32_t len)
{
	struct nfqnl_msg_verdict_hdr v = {htonl(verdict), htonl(id)};
	struct nlmsghdr *h;
	int r = put_message(q, type, len, &h);

	if (r)
		return r;
	mnl_attr_put(h, NFQA_VERDICT_HDR, sizeof(v), &v);
	if (data)
		mnl_attr_put(h, NFQA_PAYLOAD, len, data);
	q->send_len += MNL_ALIGN(h->nlmsg_len);
	return 0;
}

int nfqueue_accept(struct nfqueue *q, uint32_t id)
{
	return put_verdict(q, NFQNL_MSG_VERDICT, NF_ACCEPT, id, NULL, 0);
}

int nfqueue_drop(struct nfqueue *q, uint32_t id)
{
	return put_verdict(q, NFQNL_MSG_VERDICT, NF_DROP, id, NULL, 0);
}

int nfqueue_accept_upto(struct nfqueue *q, uint32_t id)
{
	return put_verdict(q, NFQNL_MSG_VERDICT_BATCH, NF_ACCEPT, id, NULL, 0);
}

int nfqueue_accept_mangled(struct nfqueue *q, uint32_t id, const void *data, uint32_t len)
{
	if (len > NFQUEUE_MAX_BYTES)
		return -EMSGSIZE;
	return put_verdict(q, NFQNL_MSG_VERDICT, NF_ACCEPT, id, data, len);
}

int nfqueue_set_gso(struct nfqueue *q, bool on)
{
	struct nlmsghdr *h;
	int r = put_message(q, NFQNL_MSG_CONFIG, 0, &h);

	if (r)
		return r;
	nfqueue_put_gso(h, on);
	q->send_len += MNL_ALIGN(h->nlmsg_len);
	return nfqueue_flush(q);
}

struct fields {
	const struct nlattr *at[NFQA_MAX + 1];
};

/* The attribute's value when it has at least @bytes. */
static const void *field(const struct fields *f, int type, size_t bytes)
{
	const struct nlattr *a = f->at[type];

	return a && mnl_attr_get_payload_len(a) >= bytes ? mnl_attr_get_payload(a) : NULL;
}

static uint32_t field_u32(const struct fields *f, int type)
{
	const void *p = field(f, type, sizeof(uint32_t));
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static uint16_t vlan_tci(const struct fields *f)
{
	const struct nlattr *vlan = f->at[NFQA_VLAN], *a;

	if (!vlan)
		return 0;
	mnl_attr_for_each_nested(a, vlan)
	{
		if (mnl_attr_get_type(a) == NFQA_VLAN_TCI &&
		    mnl_attr_get_payload_len(a) == sizeof(uint16_t))
			return ntohs(mnl_attr_get_u16(a));
	}
	return 0;
}

static bool parse_packet(struct nfqueue_packet *p, const struct nlmsghdr *h)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	const struct nfqnl_msg_packet_hdr *ph;
	struct fields f = {};
	const struct nlattr *a;
	uint32_t info;

	mnl_attr_for_each(a, h, sizeof(*g))
	{
		if (mnl_attr_get_type(a) <= NFQA_MAX)
			f.at[mnl_attr_get_type(a)] = a;
	}
	ph = field(&f, NFQA_PACKET_HDR, sizeof(*ph));
	if (!ph)
		return false;
	info = field_u32(&f, NFQA_SKB_INFO);
	*p = (struct nfqueue_packet){
		.id = ntohl(ph->packet_id),
		.data = field(&f, NFQA_PAYLOAD, 0),
		.len = f.at[NFQA_PAYLOAD] ? mnl_attr_get_payload_len(f.at[NFQA_PAYLOAD]) : 0,
		.ethertype = ntohs(ph->hw_protocol),
		.vlan = vlan_tci(&f),
		.vlan_known = g->nfgen_family == AF_BRIDGE,
		.csum_partial = info & NFQA_SKB_CSUMNOTREADY,
		.gso = info & NFQA_SKB_GSO,
		.indev = field_u32(&f, NFQA_IFINDEX_PHYSINDEV) ?: field_u32(&f, NFQA_IFINDEX_INDEV),
		.outdev = field_u32(&f, NFQA_IFINDEX_PHYSOUTDEV)
				  ?: field_u32(&f, NFQA_IFINDEX_OUTDEV),
	};
	/* Told only when the packet was cut. */
	p->full_len = MAX(p->len, field_u32(&f, NFQA_CAP_LEN));
	return true;
}

/* The kernel answers a verdict only to refuse it. */
static void count_refusal(struct nfqueue *q, const struct nlmsghdr *h)
{
	const struct nlmsgerr *m = mnl_nlmsg_get_payload(h);

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		q->stats.malformed++;
	else if (m->error == -ENOENT)
		q->stats.stale++;
	else if (m->error)
		q->stats.errors++;
}

static int take_message(struct nfqueue *q, const void *buf, int len, nfqueue_fn fn, void *arg)
{
	const struct nlmsghdr *h = buf;
	struct nfqueue_packet p;
	int packets = 0;

	if (!mnl_nlmsg_ok(h, len))
		q->stats.malformed++;
	for (; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
		if (h->nlmsg_type == NLMSG_ERROR) {
			count_refusal(q, h);
		} else if (h->nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) &&
			   mnl_nlmsg_get_payload_len(h) >= sizeof(struct nfgenmsg) &&
			   parse_packet(&p, h)) {
			fn(arg, &p);
			packets++;
		} else {
			q->stats.malformed++;
		}
	}
	return packets;
}

int nfqueue_read(struct nfqueue *q, nfqueue_fn fn, void *arg)
{
	int packets = 0;

	/* A batch of refusals only must not read as "nothing waits". */
	while (!packets) {
		int n = recvmmsg(q->fd, q->msgs, NFQUEUE_BATCH, MSG_DONTWAIT, NULL);

		if (n < 0 && errno == ENOBUFS) {
			q->stats.overruns++;
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			packets += take_message(q, q->iov[i].iov_base, (int)q->msgs[i].msg_len, fn,
						arg);
	}
	return packets;
}
