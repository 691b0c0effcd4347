/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network of one's own for tests of packet queues: two guests' taps and a client on a bridge. */
#ifndef TESTS_UNIT_QUEUE_RIG_H
#define TESTS_UNIT_QUEUE_RIG_H

#include "base/cleanup.h"
#include "proxy/nfqueue.h"
#include "proxy/rules.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define VNET_BYTES 10
#define GUEST_IP   "\x0a\x09\x00\x02"
#define CLIENT_IP  "\x0a\x09\x00\x01"
#define DATA_PORT  2000

enum { UDP4 = 0, UDP6 = 1, TCP4 = 2, TCP6 = 3, ARP = 4 };

/* A frame for the rig; @number comes back at the other end. */
struct sent {
	uint32_t number;
	int kind;
	uint16_t vlan;
};

/* What arrived: @number is 0 for a frame that is not the rig's. */
struct seen {
	uint32_t number;
	uint16_t vlan;
	bool csum_good;
	size_t len;
	uint8_t frame[70000];
};

/* guest, other: taps with a vnet header, both in br0; client: the far end of a veth in br0. */
struct rig {
	int guest, other, client;
	unsigned int guest_index;
	struct seen seen;
};

static inline void sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd))
		fail_msg("%s", cmd);
}

/* What a command prints; the caller frees it. */
static inline char *sh_text(const char *cmd)
{
	char *text = calloc(1, 65536);
	FILE *f = popen(cmd, "r");
	size_t n;

	assert_non_null(text);
	assert_non_null(f);
	n = fread(text, 1, 65535, f);
	text[n] = '\0';
	pclose(f);
	return text;
}

static inline int rig_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	assert_true(fd >= 0);
	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETOFFLOAD, offload), 0);
	return fd;
}

static inline int rig_packet_socket(const char *name)
{
	int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rcvbuf = 32 << 20;
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(name)};

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/*
 * IPv6 of the host is off, so that it says nothing of its own on these links. No bridge's frames go
 * through iptables unless its own switch says so, which is what a careful host looks like.
 */
static inline void rig_up(struct rig *r)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	sh("for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done;"
	   "for f in /proc/sys/net/bridge/bridge-nf-call-ip*; do"
	   "  [ ! -e $f ] || echo 0 >$f; done");
	r->guest = rig_tap("guest");
	r->other = rig_tap("other");
	sh("ip link set lo up && ip link add br0 type bridge && "
	   "ip link add h0 type veth peer name client && "
	   "for i in guest other h0; do ip link set $i master br0 && ip link set $i up; done && "
	   "ip link set client up && ip link set br0 up");
	r->guest_index = if_nametoindex("guest");
	r->client = rig_packet_socket("client");
}

static inline void rig_down(struct rig *r)
{
	close(r->guest);
	close(r->other);
	close(r->client);
}

static inline uint32_t rig_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Sum of the transport part with its pseudo header: 0xffff when the checksum is complete. */
static inline uint32_t rig_l4_sum(const uint8_t *ip, size_t len)
{
	bool v6 = ip[0] >> 4 == 6;
	size_t hdr = v6 ? 40 : 20, addrs = v6 ? 8 : 12;
	uint32_t sum = rig_sum(ip + addrs, hdr - addrs, 0);

	sum += (v6 ? ip[6] : ip[9]) + (uint32_t)(len - hdr);
	return rig_sum(ip + hdr, len - hdr, sum);
}

static inline size_t rig_csum_at(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 ? 40 + (ip[6] == IPPROTO_TCP ? 16 : 6)
			       : 20 + (ip[9] == IPPROTO_TCP ? 16 : 6);
}

/* Complete checksums for @len bytes of an IP packet without options. */
static inline void rig_checksums(uint8_t *ip, size_t len)
{
	size_t at = rig_csum_at(ip);
	uint32_t sum;

	if (ip[0] >> 4 == 4) {
		ip[10] = ip[11] = 0;
		sum = ~rig_sum(ip, 20, 0);
		ip[10] = sum >> 8;
		ip[11] = sum;
	}
	ip[at] = ip[at + 1] = 0;
	sum = ~rig_l4_sum(ip, len);
	ip[at] = sum >> 8;
	ip[at + 1] = sum;
}

/* An IP packet of a kind with @payload bytes, the first four of which are the number. */
static inline size_t rig_packet(uint8_t *ip, const struct sent *s, size_t payload, bool to_guest)
{
	bool v6 = s->kind & 1, tcp = s->kind & 2;
	size_t hdr = v6 ? 40 : 20, l4 = tcp ? 20 : 8, len = hdr + l4 + payload;
	uint8_t *t = ip + hdr;
	uint32_t number = htonl(s->number);

	memset(ip, 0, hdr + l4);
	if (v6) {
		ip[0] = 0x60;
		ip[4] = (len - 40) >> 8;
		ip[5] = len - 40;
		ip[6] = tcp ? IPPROTO_TCP : IPPROTO_UDP;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfd;
		ip[to_guest ? 39 : 23] = 2;
		ip[to_guest ? 23 : 39] = 1;
	} else {
		ip[0] = 0x45;
		ip[2] = len >> 8;
		ip[3] = len;
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = tcp ? IPPROTO_TCP : IPPROTO_UDP;
		memcpy(ip + 12, to_guest ? CLIENT_IP : GUEST_IP, 4);
		memcpy(ip + 16, to_guest ? GUEST_IP : CLIENT_IP, 4);
	}
	t[0] = 1000 >> 8;
	t[1] = 1000 & 255;
	t[2] = DATA_PORT >> 8;
	t[3] = DATA_PORT & 255;
	if (tcp) {
		t[12] = 5 << 4;
		t[13] = 0x10;
		t[14] = 0x10;
	} else {
		t[4] = (8 + payload) >> 8;
		t[5] = 8 + payload;
	}
	memset(t + l4, 'x', payload);
	memcpy(t + l4, &number, 4);
	rig_checksums(ip, len);
	return len;
}

/* Ethernet header, tag when there is one; where the packet begins. */
static inline size_t rig_ether(uint8_t *f, const struct sent *s)
{
	uint16_t type = htons(s->kind == ARP ? ETH_P_ARP : s->kind & 1 ? ETH_P_IPV6 : ETH_P_IP);
	uint16_t tag[2] = {htons(ETH_P_8021Q), htons(s->vlan)};
	size_t n = 12;

	memset(f, 0xff, 6);
	memcpy(f + 6, "\x02\0\0\0\0\x02", 6);
	if (s->vlan) {
		memcpy(f + n, tag, 4);
		n += 4;
	}
	memcpy(f + n, &type, 2);
	return n + 2;
}

/* The whole frame; its length. */
static inline size_t rig_frame(uint8_t *f, const struct sent *s, size_t payload, bool to_guest)
{
	size_t n = rig_ether(f, s);
	uint32_t number = htonl(s->number);

	if (s->kind != ARP)
		return n + rig_packet(f + n, s, payload, to_guest);
	memset(f + n, 0, 28);
	memcpy(f + n, "\0\1\x08\0\6\4\0\2", 8);
	memcpy(f + n + 24, &number, 4); /* in the place of the target's address */
	return n + 28;
}

static inline void rig_send(int tap, struct sent s)
{
	uint8_t buf[2048] = {};
	size_t n = rig_frame(buf + VNET_BYTES, &s, 64, false);

	assert_int_equal(write(tap, buf, VNET_BYTES + n), VNET_BYTES + n);
}

/* A TCP super-frame with a partial checksum, as a guest with segmentation offload sends it. */
static inline void rig_send_super(int tap, struct sent s, size_t payload)
{
	static uint8_t buf[70000];
	struct virtio_net_hdr *v = (void *)buf;
	uint8_t *f = buf + VNET_BYTES;
	size_t n = rig_frame(f, &s, payload, false);
	size_t hdr = 14 + (s.vlan ? 4 : 0), l3 = s.kind == TCP6 ? 40 : 20;
	uint8_t *ip = f + hdr;
	size_t at = rig_csum_at(ip);
	uint32_t sum;

	*v = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = s.kind == TCP6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = hdr + l3 + 20,
		.gso_size = 1400,
		.csum_start = hdr + l3,
		.csum_offset = 16,
	};
	sum = rig_sum(ip + (l3 == 40 ? 8 : 12), l3 == 40 ? 32 : 8, 0) + IPPROTO_TCP +
	      (n - hdr - l3);
	sum = rig_sum(NULL, 0, sum);
	ip[at] = sum >> 8;
	ip[at + 1] = sum;
	assert_int_equal(write(tap, buf, VNET_BYTES + n), VNET_BYTES + n);
}

/* Number and checksum of what is in @s->frame; a tag in the frame itself counts too. */
static inline void rig_understand(struct seen *s, size_t len)
{
	const uint8_t *f = s->frame;
	size_t n = 14, l4, payload;
	uint16_t type;

	s->number = 0;
	s->csum_good = false;
	s->len = len;
	if (len >= 18 && f[12] == 0x81 && f[13] == 0) {
		s->vlan = (f[14] << 8 | f[15]) & 0xfff;
		n = 18;
	}
	type = f[n - 2] << 8 | f[n - 1];
	if (type == ETH_P_ARP && len >= n + 28)
		s->number =
			(uint32_t)f[n + 24] << 24 | f[n + 25] << 16 | f[n + 26] << 8 | f[n + 27];
	if (type != ETH_P_IP && type != ETH_P_IPV6)
		return;
	l4 = n + (type == ETH_P_IP ? 20 : 40);
	payload = l4 + (f[type == ETH_P_IP ? n + 9 : n + 6] == IPPROTO_TCP ? 20 : 8);
	if (len < payload + 4 || (f[l4 + 2] << 8 | f[l4 + 3]) != DATA_PORT)
		return;
	s->number = (uint32_t)f[payload] << 24 | f[payload + 1] << 16 | f[payload + 2] << 8 |
		    f[payload + 3];
	s->csum_good = rig_l4_sum(f + n, len - n) == 0xffff;
}

/* Take one frame of the rig that has arrived at the client; 0 when none is there. */
static inline uint32_t rig_take(struct rig *r)
{
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct iovec iov = {r->seen.frame, sizeof(r->seen.frame)};

	for (;;) {
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(r->client, &m, 0);
		struct tpacket_auxdata aux = {};

		if (n < 0)
			return 0;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA)
				memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		r->seen.vlan = aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci & 0xfff : 0;
		rig_understand(&r->seen, (size_t)n);
		if (r->seen.number)
			return r->seen.number;
	}
}

/* The next frame at the client. */
static inline uint32_t rig_next(struct rig *r)
{
	struct pollfd p = {.fd = r->client, .events = POLLIN};
	uint32_t number;

	while (!(number = rig_take(r)))
		assert_int_equal(poll(&p, 1, GIVE_UP_US / USEC_PER_MSEC), 1);
	return number;
}

/*
 * Nothing but what the caller has taken got through so far: a frame that the other guest sends now
 * is the next one. Frames of the bridge keep their order.
 */
static inline void rig_expect_silence(struct rig *r)
{
	static uint32_t mark = 0xffff0000;

	mark++;
	rig_send(r->other, (struct sent){mark, UDP4});
	assert_int_equal(rig_next(r), mark);
}

static inline void rig_expect(struct rig *r, uint32_t number)
{
	assert_int_equal(rig_next(r), number);
}

#endif
