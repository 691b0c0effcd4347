/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mirror on the rig's tap, and frames of all kinds that pass it. */
#ifndef TESTS_UNIT_MIRROR_RIG_H
#define TESTS_UNIT_MIRROR_RIG_H

#include "proxy/mirror.h"
#include "tests/unit/tap-rig.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#define MSS 1000

struct frame_buf {
	uint8_t data[FRAME_MAX];
	size_t len;
};

/* ---- frames ---- */

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A TCP segment with a partial checksum, 10.11.12.9 -> 10.11.12.2, behind @tags VLAN tags; a
 * super-frame when it is longer than the MSS. */
static inline void tcp_frame(struct frame_buf *f, int tags, size_t payload)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = payload > MSS ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE,
		.gso_size = payload > MSS ? MSS : 0,
		.hdr_len = (uint16_t)(14 + 4 * tags + 40),
		.csum_start = (uint16_t)(14 + 4 * tags + 20),
		.csum_offset = 16,
	};
	uint8_t *p = f->data, *ip;

	memset(p, 0, 128);
	memcpy(p, &h, sizeof(h));
	p += sizeof(h);
	memcpy(p, "\2\0\0\0\0\x22\2\0\0\0\0\x11", 12);
	p += 12;
	for (int i = 0; i < tags; i++, p += 4) {
		put16(p, i + 1 < tags ? 0x88a8 : 0x8100);
		put16(p + 2, 0x6005 + (uint32_t)i); /* priority 3 */
	}
	put16(p, 0x0800);
	ip = p + 2;
	ip[0] = 0x45;
	put16(ip + 2, (uint32_t)(40 + payload));
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, "\12\13\14\11\12\13\14\2", 8);
	put16(ip + 10, ~sum16(ip, 20, 0) & 0xffff);
	p = ip + 20;
	put16(p, 4321);
	put16(p + 2, 80);
	p[12] = 5 << 4;
	p[13] = 0x10; /* ACK */
	put16(p + 14, 8192);
	put16(p + 16, sum16(ip + 12, 8, IPPROTO_TCP + 20 + (uint32_t)payload));
	for (size_t i = 0; i < payload; i++)
		p[20 + i] = (uint8_t)(i * 7 + i / 251);
	f->len = (size_t)(p + 20 - f->data) + payload;
}

static inline void plain(struct frame_buf *f, uint32_t number)
{
	plain_frame(f->data, number);
	f->len = PLAIN_BYTES;
}

/* All kinds that pass; hidden in one list so that each path is given each. */
#define KINDS 7
static inline void frame_of_kind(struct frame_buf *f, int kind)
{
	switch (kind) {
	case 0:
		plain(f, 77);
		break;
	case 1:
		tcp_frame(f, 0, 600);
		break;
	case 2:
		tcp_frame(f, 0, 60 * MSS);
		break;
	case 3:
		tcp_frame(f, 1, 600);
		break;
	case 4:
		tcp_frame(f, 1, 60 * MSS);
		break;
	case 5:
		tcp_frame(f, 2, 600);
		break;
	default:
		tcp_frame(f, 2, 5 * MSS);
		break;
	}
}

/* How much of a super-frame is header is a hint, which a tap gives without the tag. */
static inline void assert_same_frame(const struct frame_buf *got, const struct frame_buf *want,
				     int kind)
{
	struct virtio_net_hdr g, w;

	if (got->len != want->len)
		fail_msg("kind %d: %zu bytes, not %zu", kind, got->len, want->len);
	memcpy(&g, got->data, sizeof(g));
	memcpy(&w, want->data, sizeof(w));
	assert_int_equal(g.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 w.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(g.gso_type, w.gso_type);
	assert_int_equal(g.gso_size, w.gso_size);
	assert_int_equal(g.csum_start, w.csum_start);
	assert_int_equal(g.csum_offset, w.csum_offset);
	assert_memory_equal(got->data + 10, want->data + 10, want->len - 10);
}

static inline void assert_header_hint(const struct frame_buf *f)
{
	struct virtio_net_hdr h;

	memcpy(&h, f->data, sizeof(h));
	if (h.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		assert_true(h.hdr_len >= h.csum_start + 20 && h.hdr_len <= f->len - 10);
}

/* The TCP segment of an IPv4 frame without tag carries a complete and right checksum. */
static inline void assert_checksum(const struct frame_buf *f)
{
	const uint8_t *ip = f->data + 10 + 14;
	uint32_t len = ((uint32_t)ip[2] << 8 | ip[3]) - 20;

	assert_true(len + 20 <= f->len - 24);
	assert_int_equal(sum16(ip + 20, len, sum16(ip + 12, 8, IPPROTO_TCP + len)), 0xffff);
}

/* ---- the parts ---- */

static inline void open_mirror(struct tap_rig *r, struct mirror *m, enum mirror_direction dir)
{
	struct err e;

	assert_ok(mirror_open(m, r->tap.index, dir, MIRROR_RCVBUF_BYTES, &e), &e);
}

static inline void enslave(struct tap_rig *r)
{
	struct err e;

	assert_ok(netlink_enslave(&r->nl, &r->tap, &r->bridge, &e), &e);
}

/* Let the guest take super-frames and partial checksums. */
static inline void take_offloads(struct tap_rig *r)
{
	assert_int_equal(ioctl(r->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), 0);
}

static inline int outside_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex("far")};

	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* The one copy that waits or will come; more than one is an error. */
static inline void keep(void *arg, const uint8_t *data, size_t len)
{
	struct frame_buf *f = arg;

	assert_int_equal(f->len, 0);
	memcpy(f->data, data, len);
	f->len = len;
}

static inline void copy_of(struct mirror *m, struct frame_buf *f)
{
	f->len = 0;
	if (!is_readable(mirror_fd(m), (int)(GIVE_UP_US / USEC_PER_MSEC)))
		fail_msg("no copy");
	assert_int_equal(mirror_read(m, keep, f), 1);
}

static inline void read_guest(struct tap_rig *r, struct frame_buf *f)
{
	f->len = guest_read(r, f->data);
}

static inline void write_guest(struct tap_rig *r, const struct frame_buf *f)
{
	assert_int_equal(write(r->fd, f->data, f->len), (ssize_t)f->len);
}

struct rig {
	struct tap_rig *tap;
	struct mirror m;
	struct frame_buf sent, got, copy;
};

static inline struct rig *rig_new(void **state, enum mirror_direction dir)
{
	struct rig *g = calloc(1, sizeof(*g));

	g->tap = *state;
	open_mirror(g->tap, &g->m, dir);
	return g;
}

static inline void rig_free(struct rig *g)
{
	mirror_close(&g->m);
	mirror_close(&g->m);
	free(g);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

#endif
