/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The wire format between two colods (docs/protocol.md): encoding and bounds-checked decoding.
 * Pure. */
#ifndef CORE_WIRE_H
#define CORE_WIRE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC              0x434f4c4fu /* "COLO" */
#define WIRE_VERSION            2
#define WIRE_HEADER_BYTES       12
#define WIRE_MSG_MAX_BYTES      2048 /* payload of any message but the bulk frames */
#define WIRE_TEXT_MAX           256
#define WIRE_PAGES_MAX          64                  /* page entries in one PAGES frame */
#define WIRE_HASHES_MAX         4096                /* page hashes in one HASHES frame */
#define WIRE_DEVICES_MAX        (256u << 20)        /* more than any vmstate container holds */
#define WIRE_PAGES_HEAD_BYTES   12                  /* epoch, count */
#define WIRE_HASHES_HEAD_BYTES  20                  /* epoch, first page, count */
#define WIRE_DEVICES_HEAD_BYTES 8                   /* epoch */
#define WIRE_BITMAP_HEAD_BYTES  48                  /* all of struct wire_bitmap */
#define WIRE_BITMAP_PAGES_MAX   (512u << 10)        /* pages that one RECV_BITMAP frame tells of */
#define WIRE_ZERO_PAGE          (UINT64_C(1) << 63) /* flag in a page entry: all zero, no data follows */

enum wire_type {
	/* either channel */
	WIRE_HELLO = 1, /* dialing side's first message: who I am */
	WIRE_WELCOME,   /* the answer */
	WIRE_REJECT,    /* or this: why not */
	/* control channel */
	WIRE_HEARTBEAT,
	WIRE_READY,     /* secondary is set up for the epochs after @epoch */
	WIRE_NEW,       /* a checkpoint begins */
	WIRE_SUSPENDED, /* the secondary's guest stands still */
	WIRE_RECEIVED,  /* commit point */
	WIRE_LOADED,    /* the secondary's guest is at this checkpoint */
	WIRE_FAILED,    /* this side cannot go on with the session; text says why */
	WIRE_HANDOVER, /* the guest is yours; sent once after LOADED of a WIRE_EPOCH_SWITCH epoch */
	WIRE_SWITCH_REQUEST, /* the secondary's operator asks for a switch-over */
	WIRE_SWITCH_REFUSED, /* the primary's answer when it cannot */
	WIRE_VERIFIED,       /* result of comparing all RAM */
	WIRE_GONE,           /* the sender's QEMU has ended */
	WIRE_LEAVE,          /* the sender's daemon ends in order */
	WIRE_STOP,           /* the guest is ended on both hosts */
	/* bulk channel */
	WIRE_SEND, /* closes an epoch's pages: counts and checksum */
	WIRE_PAGES,
	WIRE_DEVICES,
	WIRE_HASHES,
	WIRE_RECV_BITMAP, /* secondary to primary, after a reconnect: what has come */
	WIRE_RESUME,      /* and the answer: how it goes on */
	/* control channel */
	WIRE_RESUME_ACK, /* the secondary goes on so */
	WIRE_TAKEN,      /* the guest that was handed over runs here */
	WIRE_PAUSE,      /* the sender's operator pauses replication: text says why */
	WIRE_UPLINK,     /* whether the sender's uplinks have a carrier (WIRE_UPLINK_ALIVE) */
	WIRE_TYPE_COUNT,
};

enum wire_channel {
	WIRE_CHANNEL_CONTROL = 0,
	WIRE_CHANNEL_BULK = 1,
	WIRE_CHANNEL_PACKET = 2, /* only between hosts whose guest has NICs */
	WIRE_CHANNEL_COUNT,
};

/* Flags of NEW and SEND. */
#define WIRE_EPOCH_FIRST  BIT(0) /* closes the first full copy */
#define WIRE_EPOCH_RUN    BIT(1) /* the secondary's guest runs after it is loaded */
#define WIRE_EPOCH_SWITCH BIT(2) /* final checkpoint of a planned switch-over */
#define WIRE_EPOCH_VERIFY                                                                          \
	BIT(3) /* HASHES of all guest RAM came with it: compare and answer VERIFIED */

/* Flag of UPLINK. */
#define WIRE_UPLINK_ALIVE BIT(0)

/* Flags of RECV_BITMAP. */
#define WIRE_RECV_COMPLETE BIT(0) /* SEND of the epoch has come and passed every check */
#define WIRE_RECV_DIRECT   BIT(1) /* it is the first full copy */

/* Flags of RESUME. */
#define WIRE_RESUME_CLOSED  BIT(0) /* NEW of the epoch stands, as does its SUSPENDED */
#define WIRE_RESUME_RESTART BIT(1) /* what has come is void: all of the epoch comes again */

/* What a primary says of its guest: it may be heard without the peer; it is given away and stands still. */
#define WIRE_LIVE_ALONE BIT(0)
#define WIRE_LIVE_GIVEN BIT(1)

/** struct wire_hello - what both sides must agree on before any byte of RAM moves. */
struct wire_hello {
	uint8_t channel; /* enum wire_channel */
	uint8_t role;    /* enum role of the sender */
	uint8_t live;    /* WIRE_LIVE_* */
	uint64_t resume; /* session to go on with, by the caller's wish and the answer; 0: none */
	uint64_t session;
	uint64_t epoch; /* last one committed at the sender; a full copy counts on from the
			   primary's */
	uint64_t ram_bytes;
	uint32_t host_page_bytes;
	uint32_t vcpus;
	char name[64];
	char qemu_version[64];
	char machine[64];
	char cpu_model[64];
	char accel[64];
	/* The guest's NICs in order, with blanks between: "MAC", or "MAC/MTU" where it is told one. */
	char nics[200];
	char arbiter[200]; /* kind, and of etcd a blank and where its keys are */
	char host[72];     /* who the sender is, for the arbiter */
};

/* Flag of REJECT: the guest is heard on the sender's host. */
#define WIRE_REJECT_LIVE BIT(0)

/** struct wire_msg - any message that is not a bulk frame; which members count depends on @type. */
struct wire_msg {
	enum wire_type type;
	uint64_t epoch;
	uint32_t flags;   /* NEW, SEND, RESUME, REJECT */
	uint64_t entries; /* SEND: page entries since the last SEND; VERIFIED: pages compared */
	uint64_t zero_entries; /* SEND: those of them that were zero; VERIFIED: differing pages */
	uint64_t checksum; /* SEND: XXH3 over all entries, page data and devices; VERIFIED: first
			      differing page */
	uint64_t devices_bytes; /* SEND */
	char text[WIRE_TEXT_MAX];
	struct wire_hello hello;
};

struct wire_header {
	uint16_t type;
	uint32_t length; /* of what follows */
};

/**
 * wire_decode_header() - @buf holds WIRE_HEADER_BYTES. -EPROTO with a reason for a wrong magic or
 * version, an unknown type, or a length that the type cannot have.
 */
int wire_decode_header(struct wire_header *h, const uint8_t *buf, struct err *e);

/** wire_encode_header() - the 12 bytes before a payload of @length. */
void wire_encode_header(uint8_t *buf, enum wire_type type, uint32_t length);

/** wire_encode() - header and payload into @buf; returns the bytes written, at most sizeof(header)
 * + WIRE_MSG_MAX_BYTES. */
size_t wire_encode(const struct wire_msg *m, uint8_t *buf);

/** wire_decode() - the payload (@h->length bytes) of a message that is not a bulk frame. 0 or
 * -EPROTO. */
int wire_decode(struct wire_msg *m, const struct wire_header *h, const uint8_t *payload,
		struct err *e);

/** wire_is_bulk_frame() - PAGES, DEVICES, HASHES, RECV_BITMAP: decoded piecewise by their receiver. */
bool wire_is_bulk_frame(uint16_t type);

const char *wire_type_name(uint16_t type);

#endif
