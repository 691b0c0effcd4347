// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening a netfilter queue: finding a free number, binding to it, configuring it. */
#include "proxy/nfqueue-internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/mman.h>

#define FIRST_BASE  0x8000
#define PROC_QUEUES "/proc/thread-self/net/netfilter/nfnetlink_queue"

uint16_t nfqueue_first(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return FIRST_BASE + (h ^ h >> 16) % 0x7000;
}

/* Bind and configure in one message, so that there is no moment with half a configuration. */
static int bind_queue(struct nfqueue *q, uint16_t num, const struct nfqueue_opts *o)
{
	struct nfqnl_msg_config_cmd cmd = {.command = NFQNL_CFG_CMD_BIND};
	struct nfqnl_msg_config_params params = {.copy_range = htonl(NFQUEUE_MAX_BYTES),
						 .copy_mode = NFQNL_COPY_PACKET};
	struct nlmsghdr *h = nfqueue_header(q->send_mem, num, NFQNL_MSG_CONFIG);
	const struct nlmsgerr *m;
	ssize_t n;

	h->nlmsg_flags |= NLM_F_ACK;
	mnl_attr_put(h, NFQA_CFG_CMD, sizeof(cmd), &cmd);
	mnl_attr_put(h, NFQA_CFG_PARAMS, sizeof(params), &params);
	mnl_attr_put_u32(h, NFQA_CFG_QUEUE_MAXLEN, htonl(o->max_packets));
	nfqueue_put_gso(h, o->gso);
	if (send(q->fd, h, h->nlmsg_len, 0) < 0)
		return -errno;
	do {
		n = recv(q->fd, q->recv_mem, NFQUEUE_MSG_BYTES, 0);
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
	struct nlmsghdr *h = nfqueue_header(q->send_mem, 0, NFQNL_MSG_CONFIG);
	ssize_t n;

	h->nlmsg_flags |= NLM_F_ACK;
	mnl_attr_put(h, NFQA_CFG_CMD, sizeof(cmd), &cmd);
	n = send(q->fd, h, h->nlmsg_len, 0);
	/* Whatever the answer is, it must not be taken for that to a later message. */
	if (n > 0)
		recv(q->fd, q->recv_mem, NFQUEUE_MSG_BYTES, 0);
}

static int open_socket(struct nfqueue *q, uint32_t rcvbuf, struct err *e)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int on = 1, sndbuf = 2 * NFQUEUE_SEND_BYTES,
	    bytes = (int)MIN(rcvbuf, (uint32_t)INT32_MAX / 2);

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
	size_t bytes = NFQUEUE_BATCH * NFQUEUE_MSG_BYTES + NFQUEUE_SEND_BYTES;
	uint8_t *mem =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return -ENOMEM;
	q->recv_mem = mem;
	q->send_mem = mem + NFQUEUE_BATCH * NFQUEUE_MSG_BYTES;
	for (int i = 0; i < NFQUEUE_BATCH; i++) {
		q->iov[i] = (struct iovec){mem + i * NFQUEUE_MSG_BYTES, NFQUEUE_MSG_BYTES};
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
		munmap(q->recv_mem, NFQUEUE_BATCH * NFQUEUE_MSG_BYTES + NFQUEUE_SEND_BYTES);
	close_fd(&q->fd);
	close_fd(&q->proc_fd);
	free(q);
}
