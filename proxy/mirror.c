// SPDX-License-Identifier: GPL-2.0-or-later
/* Copies of a tap's frames and injection of others: packet sockets with vnet headers. */
#include "proxy/mirror.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/mman.h>

#define VLAN_TAG_BYTES 4
#define MAC_BYTES      (2 * ETH_ALEN)

/* Room in front for the tag that moves into the frame. */
#define STRIDE ALIGN_UP(VLAN_TAG_BYTES + MIRROR_MAX_BYTES, 64)

_Static_assert(sizeof(struct virtio_net_hdr) == MIRROR_VNET_BYTES, "linux/virtio_net.h");

union auxdata {
	struct cmsghdr align;
	uint8_t buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
};

struct mirror_batch {
	bool gone;
	struct mmsghdr msg[MIRROR_BATCH];
	struct iovec iov[MIRROR_BATCH];
	union auxdata aux[MIRROR_BATCH];
	uint8_t mem[MIRROR_BATCH * STRIDE];
};

/* ---- opening ---- */

/* Accept what goes out of the tap, which is towards the guest; whole frames. */
static int only_outgoing(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

static int set_on(int fd, int option)
{
	int on = 1;

	return setsockopt(fd, SOL_PACKET, option, &on, sizeof(on)) ? -errno : 0;
}

static int bind_to(int fd, int ifindex, uint16_t protocol)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = ifindex,
	};

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

/* Protocol 0 hears nothing: not before bind() with another one, never if it only sends. */
static int packet_socket(int *fd)
{
	*fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *fd < 0 ? -errno : set_on(*fd, PACKET_VNET_HDR);
}

static int open_receiver(struct mirror *m, int ifindex, int rcvbuf_bytes)
{
	int r = packet_socket(&m->fd) ?: set_on(m->fd, PACKET_AUXDATA);

	if (r)
		return r;
	if (setsockopt(m->fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf_bytes, sizeof(rcvbuf_bytes)))
		return -errno;
	r = m->direction == MIRROR_TO_GUEST ? only_outgoing(m->fd)
					    : set_on(m->fd, PACKET_IGNORE_OUTGOING);
	return r ?: bind_to(m->fd, ifindex, ETH_P_ALL);
}

/* A socket never hears what it sent itself: sending has its own, so that the mirror does. */
static int open_senders(struct mirror *m, int ifindex)
{
	int r = packet_socket(&m->send_fd) ?: bind_to(m->send_fd, ifindex, 0);

	if (r || m->direction == MIRROR_TO_GUEST)
		return r;
	return packet_socket(&m->bypass_fd)
		?: set_on(m->bypass_fd, PACKET_QDISC_BYPASS)
		?: bind_to(m->bypass_fd, ifindex, 0);
}

static void batch_init(struct mirror_batch *b)
{
	for (int i = 0; i < MIRROR_BATCH; i++) {
		b->iov[i].iov_base = b->mem + i * STRIDE + VLAN_TAG_BYTES;
		b->iov[i].iov_len = MIRROR_MAX_BYTES;
		b->msg[i].msg_hdr.msg_iov = &b->iov[i];
		b->msg[i].msg_hdr.msg_iovlen = 1;
		b->msg[i].msg_hdr.msg_control = b->aux[i].buf;
	}
}

int mirror_open(struct mirror *m, int ifindex, enum mirror_direction direction, int rcvbuf_bytes,
		struct err *e)
{
	struct mirror_batch *b;
	int r;

	memset(m, 0, sizeof(*m));
	m->direction = direction;
	m->fd = m->send_fd = m->bypass_fd = -1;
	b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b == MAP_FAILED)
		return err_errno(e, errno, "mirror: buffers");
	m->batch = b;
	batch_init(b);
	r = open_receiver(m, ifindex, rcvbuf_bytes) ?: open_senders(m, ifindex);
	if (!r)
		return 0;
	mirror_close(m);
	if (r == -EPERM)
		return err_set(e, EPERM,
			       "not allowed to open a packet socket: it takes root, or CAP_NET_RAW "
			       "and CAP_NET_ADMIN");
	return err_errno(e, -r, "cannot mirror interface number %d", ifindex);
}

void mirror_close(struct mirror *m)
{
	close_fd(&m->fd);
	close_fd(&m->send_fd);
	close_fd(&m->bypass_fd);
	if (m->batch)
		munmap(m->batch, sizeof(*m->batch));
	m->batch = NULL;
}

/* ---- reading ---- */

static bool find_vlan_tag(struct msghdr *mh, uint8_t tag[VLAN_TAG_BYTES])
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		struct tpacket_auxdata aux;
		uint16_t tpid;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return false;
		tpid = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
		tag[0] = (uint8_t)(tpid >> 8);
		tag[1] = (uint8_t)tpid;
		tag[2] = (uint8_t)(aux.tp_vlan_tci >> 8);
		tag[3] = (uint8_t)aux.tp_vlan_tci;
		return true;
	}
	return false;
}

/* The frame is 4 bytes longer now before the place that the vnet header's offsets point at. */
static void shift_offsets(uint8_t *data)
{
	struct virtio_net_hdr h;

	memcpy(&h, data, sizeof(h));
	if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		h.csum_start += VLAN_TAG_BYTES;
	if (h.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		h.hdr_len += VLAN_TAG_BYTES;
	memcpy(data, &h, sizeof(h));
}

/* Put the tag behind the addresses: what is before it moves into the room in front. */
static void insert_tag(uint8_t *room, const uint8_t tag[VLAN_TAG_BYTES])
{
	memmove(room, room + VLAN_TAG_BYTES, MIRROR_VNET_BYTES + MAC_BYTES);
	memcpy(room + MIRROR_VNET_BYTES + MAC_BYTES, tag, VLAN_TAG_BYTES);
	shift_offsets(room);
}

static void hand_out(struct mirror *m, int i, mirror_fn fn, void *arg)
{
	struct mmsghdr *msg = &m->batch->msg[i];
	uint8_t *room = m->batch->mem + i * STRIDE, *data = room + VLAN_TAG_BYTES;
	uint8_t tag[VLAN_TAG_BYTES];
	size_t len = msg->msg_len;

	if (msg->msg_hdr.msg_flags & MSG_TRUNC || len < MIRROR_VNET_BYTES + ETH_HLEN) {
		m->lost++;
		return;
	}
	if (find_vlan_tag(&msg->msg_hdr, tag)) {
		insert_tag(room, tag);
		data = room;
		len += VLAN_TAG_BYTES;
	}
	m->frames++;
	fn(arg, data, len);
}

/* A tap that is removed and one that goes down give the same error; the first loses its number. */
static bool is_gone(int fd)
{
	struct sockaddr_ll at = {};
	socklen_t len = sizeof(at);

	return getsockname(fd, (struct sockaddr *)&at, &len) || at.sll_ifindex <= 0;
}

/* 0: try again. */
static int receive_error(struct mirror *m, int code)
{
	switch (code) {
	case EINTR:
		return 0;
	case ENETDOWN:
		m->batch->gone = is_gone(m->fd);
		return 0;
	case EINVAL: /* a frame that no vnet header can describe: taken out of the queue */
		m->lost++;
		return 0;
	case EAGAIN:
		return m->batch->gone ? -ENODEV : -EAGAIN;
	default:
		return -code;
	}
}

static int receive(struct mirror *m)
{
	struct mirror_batch *b = m->batch;
	int n, r;

	do {
		for (int i = 0; i < MIRROR_BATCH; i++)
			b->msg[i].msg_hdr.msg_controllen = sizeof(b->aux[i].buf);
		n = recvmmsg(m->fd, b->msg, MIRROR_BATCH, MSG_DONTWAIT, NULL);
		if (n >= 0)
			return n;
		r = receive_error(m, errno);
	} while (!r);
	return r == -EAGAIN ? 0 : r;
}

int mirror_read(struct mirror *m, mirror_fn fn, void *arg)
{
	int n = receive(m);

	for (int i = 0; i < n; i++)
		hand_out(m, i, fn, arg);
	return n;
}

uint64_t mirror_lost(struct mirror *m)
{
	struct tpacket_stats st = {};
	socklen_t len = sizeof(st);

	/* Reading resets the kernel's own count. */
	if (!getsockopt(m->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len))
		m->lost += st.tp_drops;
	return m->lost;
}

/* ---- injecting ---- */

static int sender_for(const struct mirror *m, const void *data)
{
	struct virtio_net_hdr h;

	memcpy(&h, data, sizeof(h));
	return m->direction == MIRROR_FROM_GUEST && h.gso_type == VIRTIO_NET_HDR_GSO_NONE
		       ? m->bypass_fd
		       : m->send_fd;
}

int mirror_inject(struct mirror *m, const void *data, size_t len)
{
	ssize_t n;

	if (len < MIRROR_VNET_BYTES + ETH_HLEN)
		return -EINVAL;
	do
		n = send(sender_for(m, data), data, len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
