/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VLAN interface for clients on kernels without 802.1Q: a tap whose frames get a tag.
 *
 * usage: vlantap DEVICE ID TAP
 *
 * The tap gets the device's MAC address. Offloads stay intact: what arrives keeps its virtio-net
 * header, what leaves the tap is complete, because the tap promises none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MACS_BYTES  12
#define TAG_BYTES   4
#define FRAME_BYTES 70000
#define VID_MASK    0xfff
#define QUEUE_BYTES (16 << 20)

static char header[sizeof(struct virtio_net_hdr)], frame[FRAME_BYTES];

static int open_packet(const char *device, struct ifreq *mac)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), on = 1, queue = QUEUE_BYTES;

	snprintf(mac->ifr_name, sizeof(mac->ifr_name), "%s", device);
	at.sll_ifindex = (int)if_nametoindex(device);
	if (fd < 0 || !at.sll_ifindex || ioctl(fd, SIOCGIFHWADDR, mac) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof(queue)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &queue, sizeof(queue)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	return fd;
}

static int open_tap(const char *name, struct ifreq *mac)
{
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) || ioctl(fd, SIOCSIFHWADDR, mac))
		return -1;
	return fd;
}

/* The VLAN of a frame that came in, -1: none, or a frame of our own. */
static int vlan_of(struct msghdr *msg)
{
	const struct sockaddr_ll *from = msg->msg_name;

	if (from->sll_pkttype == PACKET_OUTGOING)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (aux.tp_status & TP_STATUS_VLAN_VALID)
			return aux.tp_vlan_tci & VID_MASK;
	}
	return -1;
}

static void from_device(int packet, int tap, int vid)
{
	struct sockaddr_ll from;
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct iovec parts[] = {{header, sizeof(header)}, {frame, sizeof(frame)}};
	struct msghdr msg = {.msg_name = &from,
			     .msg_namelen = sizeof(from),
			     .msg_iov = parts,
			     .msg_iovlen = 2,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(packet, &msg, 0);

	if (n <= (ssize_t)sizeof(header) || vlan_of(&msg) != vid)
		return;
	parts[1].iov_len = (size_t)n - sizeof(header);
	/* A frame that does not fit into the tap's queue is lost, as on any wire. */
	n = writev(tap, parts, 2);
	(void)n;
}

static void from_tap(int packet, int tap, int vid)
{
	uint16_t tag[] = {htons(ETH_P_8021Q), htons((uint16_t)vid)};
	struct iovec in[] = {{header, sizeof(header)}, {frame, sizeof(frame)}};
	struct iovec out[] = {{header, sizeof(header)},
			      {frame, MACS_BYTES},
			      {tag, TAG_BYTES},
			      {frame + MACS_BYTES, 0}};
	ssize_t n = readv(tap, in, 2);

	if (n <= (ssize_t)sizeof(header) + MACS_BYTES)
		return;
	out[3].iov_len = (size_t)n - sizeof(header) - MACS_BYTES;
	n = writev(packet, out, 4);
	(void)n;
}

int main(int argc, char **argv)
{
	struct ifreq mac = {0};
	int vid = argc == 4 ? atoi(argv[2]) : 0, packet, tap;

	if (vid <= 0 || vid >= VID_MASK) {
		fputs("usage: vlantap DEVICE ID TAP\n", stderr);
		return 2;
	}
	packet = open_packet(argv[1], &mac);
	tap = packet < 0 ? -1 : open_tap(argv[3], &mac);
	if (tap < 0) {
		perror("vlantap");
		return 1;
	}
	for (;;) {
		struct pollfd p[] = {{packet, POLLIN, 0}, {tap, POLLIN, 0}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (p[0].revents)
			from_device(packet, tap, vid);
		if (p[1].revents)
			from_tap(packet, tap, vid);
	}
}
