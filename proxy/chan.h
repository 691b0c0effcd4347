/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packet channel's messages between two proxies: encoding and incremental decoding. Pure. */
#ifndef PROXY_CHAN_H
#define PROXY_CHAN_H

#include "base/err.h"
#include "proxy/compare.h"

#include <sys/types.h>

/* Everything is big-endian; a message is a header of CHAN_HEADER_BYTES and its payload.
 * docs/protocol.md. */
#define CHAN_HEADER_BYTES 24
#define CHAN_MAX_PAYLOAD  (PKT_MAX_BYTES + 64 + 12)

/*
 * A frame's payload is the struct virtio_net_hdr of <linux/virtio_net.h> as PACKET_VNET_HDR
 * (packet(7)) gives and takes it, without num_buffers and in the byte order of x86, little-endian,
 * then the Ethernet frame with its VLAN tag in place. It holds an Ethernet header at least.
 */
#define CHAN_VNET_BYTES  10
#define CHAN_MIN_PAYLOAD (CHAN_VNET_BYTES + 14)

/* Flag of CHAN_PING: the answer. */
#define CHAN_PING_ANSWER 1

/* Flags of CHAN_REWRITE: enum tcp_end. */
#define CHAN_REWRITE_ENDS 7

enum chan_type {
	CHAN_FRAME_IN = 1, /* primary: frame to the guest; @number counts them from 1 for each NIC;
			      vnet header + frame */
	CHAN_FRAME_OUT, /* secondary: frame of its guest; @number is the epoch it was loaded from */
	CHAN_EPOCH, /* primary: @number is the epoch closed; @mark, for @nic: frames numbered above
		       it were not yet read by the guest and belong to the next */
	CHAN_COMMITTED, /* primary: epoch @number's held output is released */
	CHAN_FLOW,      /* primary: struct flow_note */
	CHAN_LOST, /* secondary: it lost frames of its guest or of the mirror; @number how many */
	CHAN_REWRITE,     /* primary: one connection that it rewrites as of epoch @number: struct
			     chan_rewrite; all before the CHAN_EPOCH of that number */
	CHAN_OWN_ADDRESS, /* primary: an address of the guest on @nic, for announcements */
	CHAN_LEFT,        /* primary: its tap of @nic is out of the bridge */
	CHAN_PING, /* either: answered by the same, @number and @mark too, with CHAN_PING_ANSWER */
	CHAN_MUTE, /* primary: its guest stands still for good or is dead; no more is said of its
		      output */
	CHAN_JOINED, /* former secondary: it is the guest's host now, in the bridges and announced
		      */
	CHAN_GAP, /* primary, on a new connection: frames to @nic numbered up to @number that have
		     not come never will */
	CHAN_TYPES,
};

struct chan_rewrite {
	struct flow_key key;
	uint32_t seq_offset, ts_offset;
};

/**
 * struct chan_msg - decoded; @payload is borrowed from the decoder or the caller
 * @nic: of CHAN_FLOW and CHAN_REWRITE it is that of the key; not checked against the NICs there are
 * Members that a type does not use are zero after decoding and not looked at by encoding.
 */
struct chan_msg {
	enum chan_type type;
	uint8_t nic, flags;
	uint64_t number, mark;
	const uint8_t *payload; /* of frames: CHAN_VNET_BYTES of virtio_net_hdr, then the frame */
	uint32_t payload_len;
	struct flow_note note;
	struct chan_rewrite rewrite;
	struct ip_addr address;
	uint16_t vlan;
};

/** chan_type_name() - as docs/protocol.md has it; "unknown" for a number that is no type. */
const char *chan_type_name(unsigned type);

/**
 * chan_encode() - header (and, but for frames, the whole payload) of @m into @buf; returns the
 * bytes. Of a frame the caller sends @m->payload itself behind it, @m->payload_len bytes; returns 0
 * for a frame that no message can carry, shorter than CHAN_MIN_PAYLOAD or longer than
 * CHAN_MAX_PAYLOAD: it counts as lost.
 */
#define CHAN_ENCODE_MAX 160
size_t chan_encode(const struct chan_msg *m, uint8_t buf[CHAN_ENCODE_MAX]);

/**
 * chan_decode() - the first message in @len bytes. Returns the bytes it takes, 0 when it is not
 * whole yet, or -EPROTO with a reason: the connection is of no use then. A header is refused before
 * its payload has come; a buffer of CHAN_HEADER_BYTES + CHAN_MAX_PAYLOAD always makes progress.
 */
ssize_t chan_decode(struct chan_msg *m, const uint8_t *buf, size_t len, struct err *e);

#endif
