/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why outputs differed: a ring of the last mismatches with both sides' bytes, and its pcap form. */
#ifndef PROXY_MISMATCH_H
#define PROXY_MISMATCH_H

#include "base/err.h"
#include "proxy/flow.h"

enum mismatch_reason {
	MISMATCH_PAYLOAD, /* bytes differ */
	MISMATCH_LENGTH,  /* datagrams of different length */
	MISMATCH_FLAGS,   /* SYN, FIN or RST on one side only */
	MISMATCH_TIMEOUT, /* no counterpart in time */
	MISMATCH_FULL,    /* max_held_packets or max_held_bytes reached */
	MISMATCH_FLOWS,   /* flow table or its half-open share full */
	MISMATCH_LOST,    /* the kernel dropped packets, so nothing can be said */
	MISMATCH_REASONS,
};

/** mismatch_reason_name() - one lower-case word, "unknown" for what is no reason. */
const char *mismatch_reason_name(enum mismatch_reason r);

#define MISMATCH_RING     64
#define MISMATCH_CONTEXT  32   /* bytes of each side around the offset */
#define MISMATCH_SNAPSHOT 1600 /* of each side's packet, from the IP header on, for pcap */

/**
 * struct mismatch_side - one guest's packet
 * @len:        of the packet; 0: there was none
 * @kept:       its first bytes, from the IP header on, in @packet
 * @context_at: which byte of @context is the one at the offset; @context_len when the payload ends
 *              there. The two sides line up by it.
 */
struct mismatch_side {
	uint32_t len;
	uint32_t kept;
	uint8_t packet[MISMATCH_SNAPSHOT];
	uint8_t context_len, context_at;
	uint8_t context[MISMATCH_CONTEXT];
};

/**
 * struct mismatch - one event
 * @offset: first differing byte: in the TCP stream since the flow's first compared byte of the
 * epoch, or in the datagram's payload
 * @checkpoint: the epoch that the checkpoint that followed made, 0 while it has not come
 */
struct mismatch {
	uint64_t number; /* 1, 2, ... since the daemon's start */
	uint64_t at_us, realtime_us;
	enum mismatch_reason reason;
	bool has_flow;
	struct flow_key key;
	uint64_t offset;
	uint64_t epoch, checkpoint;
	struct mismatch_side primary, secondary;
	char what[80]; /* in words, for reasons without packets */
};

struct mismatch_ring {
	struct mismatch entries[MISMATCH_RING];
	uint64_t count;
};

/** mismatch_next() - the entry to fill for a new mismatch, in place of the oldest; zeroed but for
 * its number. */
struct mismatch *mismatch_next(struct mismatch_ring *r);

/** mismatch_side_set() - keep a copy of @p, and the bytes around payload offset @at: up to half of
 * the context before it, the rest from it on. */
void mismatch_side_set(struct mismatch_side *s, const struct pkt *p, uint32_t at);

/** mismatch_resolved() - checkpoint @epoch is committed: entries of it and of earlier epochs that
 * still wait for one get it. */
void mismatch_resolved(struct mismatch_ring *r, uint64_t epoch);

/** mismatch_get() - the @back-th newest (0: the newest), NULL beyond the ring. */
const struct mismatch *mismatch_get(const struct mismatch_ring *r, unsigned back);

/**
 * mismatch_pcap_header(), mismatch_pcap_record() - the classic pcap file format
 * (draft-ietf-opsawg-pcap) with link type RAW (101), microseconds, little-endian; buffers as large
 * as said. Return the bytes written, 0 for a side without packet.
 */
#define MISMATCH_PCAP_HEADER_BYTES 24
#define MISMATCH_PCAP_RECORD_BYTES (16 + MISMATCH_SNAPSHOT)
size_t mismatch_pcap_header(uint8_t *buf);
size_t mismatch_pcap_record(const struct mismatch *m, const struct mismatch_side *s, uint8_t *buf);

#endif
