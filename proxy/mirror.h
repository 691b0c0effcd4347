/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of a tap's frames in one direction, and frames injected towards its guest (packet(7)). */
#ifndef PROXY_MIRROR_H
#define PROXY_MIRROR_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* struct virtio_net_hdr without num_buffers: what af_packet puts before a frame. */
#define MIRROR_VNET_BYTES 10

/* The largest IP packet with Ethernet header and two VLAN tags, and its vnet header. */
#define MIRROR_MAX_BYTES (MIRROR_VNET_BYTES + 14 + 8 + 65535)

/* Frames that one mirror_read() hands out at most: fewer, and nothing waits. */
#define MIRROR_BATCH 64

#define MIRROR_RCVBUF_BYTES ((int)(32 * MIB))

enum mirror_direction {
	MIRROR_TO_GUEST,   /* primary: what the guest gets */
	MIRROR_FROM_GUEST, /* secondary: what the guest sent */
};

/**
 * struct mirror - two sockets on one tap and the buffers of a batch; of one thread
 * @frames: copies handed out since mirror_open()
 * @lost:   frames that are missing between them, see mirror_lost()
 */
struct mirror {
	int fd, send_fd, bypass_fd;
	enum mirror_direction direction;
	uint64_t frames, lost;
	struct mirror_batch *batch;
};

/**
 * mirror_open() - copy all frames of @direction on the tap @ifindex from now on.
 *
 * The direction is chosen in the kernel: frames of the other are not copied. MIRROR_TO_GUEST
 * sees a frame when the driver is about to queue it for the guest, so always before the guest:
 * when a frame counts as read in struct tap_counters, its copy waits here already. The copies'
 * order is the tap's order as long as the tap has a queueing discipline (not "noqueue": the
 * driver takes frames from several CPUs at once then; seen with two senders on two CPUs: 2 % out
 * of place). Frames that a bridge or the queueing discipline threw away are not seen; frames
 * that the tap's driver then throws away are (tap_counters: dropped).
 *
 * @rcvbuf_bytes of copies can wait, forced above the system's limit: MIRROR_RCVBUF_BYTES, in
 * which a small frame counts with 0.35 KB. Measured on Linux 6.18: 0.7 us of CPU for each frame
 * read in a batch, 0.9 to 1.3 us for each injected.
 *
 * The sockets survive the tap going down and up; when it is removed mirror_read() says -ENODEV.
 * Both wake the descriptor with EPOLLERR, which mirror_read() clears.
 */
int mirror_open(struct mirror *m, int ifindex, enum mirror_direction direction, int rcvbuf_bytes,
		struct err *e);

/** mirror_close() - may be called twice, and after a mirror_open() that failed. */
void mirror_close(struct mirror *m);

/** mirror_fd() - readable when copies wait; not blocking. */
static inline int mirror_fd(const struct mirror *m)
{
	return m->fd;
}

/**
 * mirror_fn - one copy: @data is MIRROR_VNET_BYTES of vnet header and the frame, @len of both
 * together; borrowed for the time of the call.
 *
 * A VLAN tag that the kernel kept beside the frame is in its place in the frame, and the vnet
 * header's offsets count it. Super-frames and partial checksums are as the sender left them if
 * the tap's owner takes them (TUNSETOFFLOAD), else the kernel has cut and completed them before.
 */
typedef void (*mirror_fn)(void *arg, const uint8_t *data, size_t len);

/**
 * mirror_read() - hand out what waits, one batch at most (64 frames). The number of frames, 0
 * when none waits, -ENODEV when the tap is gone, or -errno. Calling it until it says 0 reads the
 * mirror dry.
 */
int mirror_read(struct mirror *m, mirror_fn fn, void *arg);

/**
 * mirror_lost() - frames of this direction that could not be copied since mirror_open(), because
 * the receive buffer was full or the frame was longer than MIRROR_MAX_BYTES. Asks the kernel.
 */
uint64_t mirror_lost(struct mirror *m);

/**
 * mirror_inject() - send one frame to the guest: @data as mirror_fn gets it, GSO super-frames
 * and VLAN tags included.
 *
 * 0; -ENOBUFS or -EAGAIN: there is no room now, the caller decides how often and when to try again;
 * -ENETDOWN: the tap is down; -EINVAL: vnet header and frame do not fit together, or too short;
 * -EMSGSIZE; -ENODEV, -ENXIO: the tap is gone.
 *
 * MIRROR_TO_GUEST: the frame is mirrored in its place among the others and counts like them. A
 * full tap drops it without a word (its counter tells).
 *
 * MIRROR_FROM_GUEST: frames that are no super-frames pass the queueing discipline by
 * (PACKET_QDISC_BYPASS), so that a full tap says -ENOBUFS (and counts a drop) and no packet
 * socket sees them; bypass takes no super-frame that the kernel would have to cut, so those go
 * the usual way and a full tap drops them without a word. The order is kept: with one sender
 * nothing ever waits in the queueing discipline.
 */
int mirror_inject(struct mirror *m, const void *data, size_t len);

#endif
