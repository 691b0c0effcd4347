// SPDX-License-Identifier: GPL-2.0-or-later
/* One netfilter queue over a netlink socket (libmnl lays out the messages). */
#include "proxy/nfqueue.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define BATCH       64
#define MSG_BYTES   (72 * KIB)
#define SEND_BYTES  (256 * KIB)
#define FIRST_BASE  0x8000
#define PROC_QUEUES "/proc/thread-self/net/netfilter/nfnetlink_queue"

struct nfqueue {
	int fd, proc_fd;
	uint16_t num;
	struct nfqueue_stats stats;
	size_t send_len;
	uint8_t *send_mem, *recv_mem;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	char proc_text[4096];
};

uint16_t nfqueue_first(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return FIRST_BASE + (h ^ h >> 16) % 0x7000;
}

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

static struct nlmsghdr *put_header(void *at, uint16_t num, int type)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g;

	h->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type;
	h->nlmsg_flags = NLM_F_REQUEST;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = AF_UNSPEC;
	g->version = NFNETLINK_V0;
	g->res_id = htons(num);
	return h;
}

static void put_gso(struct nlmsghdr *h, bool on)
{
	mnl_attr_put_u32(h, NFQA_CFG_FLAGS, htonl(on ? NFQA_CFG_F_GSO : 0));
	mnl_attr_put_u32(h, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
}

int nfqueue_flush(struct nfqueue *q)
{
	if (q->send_len && send(q->fd, q->send_mem, q->send_len, 0) < 0)
		return -errno;
	q->send_len = 0;
	return 0;
}

/* Room for a message that ends with a payload of @payload bytes. */
static int put_message(struct nfqueue *q, int type, size_t payload, struct nlmsghdr **out)
{
	size_t need = 64 + payload;
	int r = q->send_len + need > SEND_BYTES ? nfqueue_flush(q) : 0;

	if (!r)
		*out = put_header(q->send_mem + q->send_len, q->num, type);
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
	put_gso(h, on);
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
		int n = recvmmsg(q->fd, q->msgs, BATCH, MSG_DONTWAIT, NULL);

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

/* Bind and configure in one message, so that there is no moment with half a configuration. */
static int bind_queue(struct nfqueue *q, uint16_t num, const struct nfqueue_opts *o)
{
	struct nfqnl_msg_config_cmd cmd = {.command = NFQNL_CFG_CMD_BIND};
	struct nfqnl_msg_config_params params = {.copy_range = htonl(NFQUEUE_MAX_BYTES),
						 .copy_mode = NFQNL_COPY_PACKET};
	struct nlmsghdr *h = put_header(q->send_mem, num, NFQNL_MSG_CONFIG);
	const struct nlmsgerr *m;
	ssize_t n;

	h->nlmsg_flags |= NLM_F_ACK;
	mnl_attr_put(h, NFQA_CFG_CMD, sizeof(cmd), &cmd);
	mnl_attr_put(h, NFQA_CFG_PARAMS, sizeof(params), &params);
	mnl_attr_put_u32(h, NFQA_CFG_QUEUE_MAXLEN, htonl(o->max_packets));
	put_gso(h, o->gso);
	if (send(q->fd, h, h->nlmsg_len, 0) < 0)
		return -errno;
	do {
		n = recv(q->fd, q->recv_mem, MSG_BYTES, 0);
		if (n < 0)
			return -errno;
		h = (struct nlmsghdr *)q->recv_mem;
		if (!mnl_nlmsg_ok(h, (int)n))
			return -EBADMSG;
	} while (h->nlmsg_type != NLMSG_ERROR);
	m = mnl_nlmsg_get_payload(h);
	if (m->error)
		return m->error;
	q->num = num;
	return 0;
}

static bool is_taken(struct nfqueue *q, uint16_t num)
{
	struct nfqueue_drops d;

	q->num = num;
	return nfqueue_drops(q, &d) == 0;
}

static int refused(int r, uint16_t num, struct err *e)
{
	if (r == -EPERM)
		return err_set(e, EPERM, "netfilter queue %u: not allowed: CAP_NET_ADMIN is needed",
			       num);
	return err_errno(e, -r, "netfilter queue %u", num);
}

/* The kernel refuses another's queue with EPERM, as it does when privileges lack. */
static int bind_num(struct nfqueue *q, const struct nfqueue_opts *o, struct err *e)
{
	uint16_t num = (uint16_t)o->num;
	int r = bind_queue(q, num, o);

	if (r && is_taken(q, num))
		return err_set(e, EBUSY, "netfilter queue %u is in use by another program", num);
	return r ? refused(r, num, e) : 0;
}

static int bind_any(struct nfqueue *q, const struct nfqueue_opts *o, struct err *e)
{
	for (uint32_t i = 0; i <= UINT16_MAX; i++) {
		uint16_t num = (uint16_t)(o->first + i);
		int r;

		if (is_taken(q, num))
			continue;
		r = bind_queue(q, num, o);
		/* Another took it in between. */
		if (r && is_taken(q, num))
			continue;
		return r ? refused(r, num, e) : 0;
	}
	return err_set(e, EBUSY, "all netfilter queues are in use");
}

/* Any message makes the kernel load what it is for; this command does nothing (since Linux 3.8). */
static void load_module(struct nfqueue *q)
{
	struct nfqnl_msg_config_cmd cmd = {.command = NFQNL_CFG_CMD_PF_BIND};
	struct nlmsghdr *h = put_header(q->send_mem, 0, NFQNL_MSG_CONFIG);
	ssize_t n;

	h->nlmsg_flags |= NLM_F_ACK;
	mnl_attr_put(h, NFQA_CFG_CMD, sizeof(cmd), &cmd);
	n = send(q->fd, h, h->nlmsg_len, 0);
	/* Whatever the answer is, it must not be taken for that to a later message. */
	if (n > 0)
		recv(q->fd, q->recv_mem, MSG_BYTES, 0);
}

static int open_socket(struct nfqueue *q, uint32_t rcvbuf, struct err *e)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int on = 1, sndbuf = 2 * SEND_BYTES, bytes = (int)MIN(rcvbuf, (uint32_t)INT32_MAX / 2);

	q->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (q->fd < 0 || bind(q->fd, (struct sockaddr *)&any, sizeof(any)))
		return err_errno(e, errno, "netlink socket for netfilter");
	if (setsockopt(q->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) ||
	    setsockopt(q->fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)))
		return err_errno(e, errno,
				 "socket buffers for netfilter (CAP_NET_ADMIN is needed)");
	load_module(q);
	/* A refused verdict is answered without its packet. */
	setsockopt(q->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	q->proc_fd = open(PROC_QUEUES, O_RDONLY | O_CLOEXEC);
	if (q->proc_fd < 0)
		return err_errno(e, errno, "%s: the kernel has no netfilter queues? (%s)",
				 PROC_QUEUES, "modprobe nfnetlink_queue");
	return 0;
}

static int map_buffers(struct nfqueue *q)
{
	size_t bytes = BATCH * MSG_BYTES + SEND_BYTES;
	uint8_t *mem =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return -ENOMEM;
	q->recv_mem = mem;
	q->send_mem = mem + BATCH * MSG_BYTES;
	for (int i = 0; i < BATCH; i++) {
		q->iov[i] = (struct iovec){mem + i * MSG_BYTES, MSG_BYTES};
		q->msgs[i].msg_hdr.msg_iov = &q->iov[i];
		q->msgs[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

int nfqueue_open(struct nfqueue **out, const struct nfqueue_opts *opts, struct err *e)
{
	_cleanup_(cleanup_nfqueue) struct nfqueue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_errno(e, ENOMEM, "netfilter queue");
	q->fd = q->proc_fd = -1;
	r = map_buffers(q);
	if (r)
		return err_errno(e, -r, "netfilter queue");
	r = open_socket(q, opts->rcvbuf_bytes, e);
	if (!r)
		r = opts->num == NFQUEUE_ANY ? bind_any(q, opts, e) : bind_num(q, opts, e);
	if (r)
		return r;
	*out = steal_ptr(&q);
	return 0;
}

void nfqueue_close(struct nfqueue *q)
{
	if (!q)
		return;
	if (q->recv_mem)
		munmap(q->recv_mem, BATCH * MSG_BYTES + SEND_BYTES);
	close_fd(&q->fd);
	close_fd(&q->proc_fd);
	free(q);
}
