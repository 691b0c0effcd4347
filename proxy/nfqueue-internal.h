/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of a netfilter queue: its buffers and how its messages begin. */
#ifndef PROXY_NFQUEUE_INTERNAL_H
#define PROXY_NFQUEUE_INTERNAL_H

#include "proxy/nfqueue.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/socket.h>

#define NFQUEUE_BATCH      64
#define NFQUEUE_MSG_BYTES  (72 * KIB)
#define NFQUEUE_SEND_BYTES (256 * KIB)

/* @recv_mem: a buffer for each message of a batch; @send_mem: verdicts that were not sent yet. */
struct nfqueue {
	int fd, proc_fd;
	uint16_t num;
	struct nfqueue_stats stats;
	size_t send_len;
	uint8_t *send_mem, *recv_mem;
	struct mmsghdr msgs[NFQUEUE_BATCH];
	struct iovec iov[NFQUEUE_BATCH];
	char proc_text[4096];
};

static inline struct nlmsghdr *nfqueue_header(void *at, uint16_t num, int type)
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

static inline void nfqueue_put_gso(struct nlmsghdr *h, bool on)
{
	mnl_attr_put_u32(h, NFQA_CFG_FLAGS, htonl(on ? NFQA_CFG_F_GSO : 0));
	mnl_attr_put_u32(h, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
}

#endif
