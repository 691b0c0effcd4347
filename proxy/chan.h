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

enum chan_type {
	CHAN_FRAME_IN = 1, /* primary: frame to the guest; @number counts them from 1 for each NIC;
			      vnet header + frame */
	CHAN_FRAME_OUT, /* secondary: frame of its guest; @number is the epoch it was loaded from */
	CHAN_EPOCH, /* primary: @number is the epoch closed; @mark, for @nic: frames numbered above
		       it were not yet read by the guest and belong to the next */
	CHAN_COMMITTED, /* primary: epoch @number's held output is released */
	CHAN_FLOW,      /* primary: struct flow_note */
	CHAN_LOST, /* secondary: it lost frames of its guest or of the mirror; @number how many */
	CHAN_REWRITE, /* primary: one connection that it rewrites: struct chan_rewrite; all after
			 CHAN_EPOCH */
	CHAN_OWN_ADDRESS, /* primary: an address of the guest on @nic, for announcements */
	CHAN_LEFT,        /* primary: its tap of @nic is out of the bridge */
	CHAN_PING,        /* either: nothing; answered by the same with flags 1 */
	CHAN_TYPES,
};

struct chan_rewrite {
	struct flow_key key;
	uint32_t seq_offset, ts_offset;
};

/** struct chan_msg - decoded; @payload is borrowed from the decoder or the caller */
struct chan_msg {
	enum chan_type type;
	uint8_t nic, flags;
	uint64_t number, mark;
	const uint8_t *payload; /* of frames: struct virtio_net_hdr (12 bytes at most, see
				   @vnet_bytes) and frame */
	uint32_t payload_len;
	struct flow_note note;
	struct chan_rewrite rewrite;
	struct ip_addr address;
	uint16_t vlan;
};

/** chan_encode_header() - header (and, but for frames, the whole payload) of @m into @buf; returns
 * the bytes. Of a frame the caller sends @m->payload itself behind it. */
#define CHAN_ENCODE_MAX 160
size_t chan_encode(const struct chan_msg *m, uint8_t buf[CHAN_ENCODE_MAX]);

/**
 * chan_decode() - the first message in @len bytes. Returns the bytes it takes, 0 when it is not
 * whole yet, or -EPROTO with a reason: the connection is of no use then.
 */
ssize_t chan_decode(struct chan_msg *m, const uint8_t *buf, size_t len, struct err *e);

#endif
