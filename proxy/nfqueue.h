/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One netfilter queue: packets that the kernel holds come in, verdicts go out, both in batches. */
#ifndef PROXY_NFQUEUE_H
#define PROXY_NFQUEUE_H

#include "base/err.h"

#include <stdbool.h>

/* A packet of more bytes than this arrives cut: the length of a netlink attribute has 16 bits. */
#define NFQUEUE_MAX_BYTES 65531
#define NFQUEUE_ANY       (-1)

struct nfqueue;

/**
 * struct nfqueue_opts - how to open a queue
 * @num:         its number, or NFQUEUE_ANY for a free one, looked for from @first upwards
 * @first:       derived from the guest's name (nfqueue_first()), so that the number a dead colod's
 * rules still point to is not the first that another one takes
 * @gso:         see nfqueue_set_gso()
 * @rcvbuf_bytes: socket buffer, beyond net.core.rmem_max; what does not fit is lost (overruns)
 * @max_packets: packets that the kernel holds at most; the next one is dropped
 */
struct nfqueue_opts {
	int num;
	uint16_t first;
	bool gso;
	uint32_t rcvbuf_bytes, max_packets;
};

/**
 * struct nfqueue_packet - one held packet; @data is borrowed until the callback returns
 * @id:    names it in a verdict; counts up by 1 from 1 in the order in which packets came
 * @data:  from the IP header on; a VLAN tag is not part of it
 * @len:   bytes in @data; less than @full_len when the packet was cut (more than NFQUEUE_MAX_BYTES,
 * so a BIG TCP super-frame)
 * @vlan:  TCI of the 802.1Q tag, 0 for none
 * @vlan_known: the kernel tells the tag only to rules of nft's bridge family; under iptables @vlan
 * is 0 for a tagged packet as well
 * @csum_partial: the transport checksum covers the pseudo header only (NFQA_SKB_CSUMNOTREADY)
 * @gso:   a super-frame, to be cut up on its way out
 * @indev, @outdev: index of the port (tap), or of the interface when there is no bridge; 0 unknown.
 * Whoever finds another's tap here got hold of a queue number that foreign rules point to.
 */
struct nfqueue_packet {
	uint32_t id;
	const uint8_t *data;
	uint32_t len, full_len;
	uint16_t ethertype, vlan;
	bool vlan_known, csum_partial, gso;
	uint32_t indev, outdev;
};

typedef void (*nfqueue_fn)(void *arg, const struct nfqueue_packet *p);

/**
 * struct nfqueue_stats - what went wrong so far
 * @overruns:  ENOBUFS on the socket: at least one packet was lost each time
 * @stale:     verdicts on packets that the kernel no longer had (their interface went away)
 * @errors:    other refusals by the kernel
 * @malformed: messages that made no sense
 * @unsent:    verdicts could not be sent: they wait, or were refused for want of room
 */
struct nfqueue_stats {
	uint64_t overruns, stale, errors, malformed, unsent;
};

/** nfqueue_first() - where to look for a free number: 0x8000 and up, from a hash of @name. */
uint16_t nfqueue_first(const char *name);

/**
 * nfqueue_open() - bind to a queue in the thread's network namespace; nothing is allocated later.
 * Packets arrive once rules point to its number (rules.h). Needs CAP_NET_ADMIN. -EBUSY: the number
 * is taken. Closing drops what is held, and from then on rules that still point to the number drop
 * everything (no bypass: a guest whose colod died stays silent).
 */
int nfqueue_open(struct nfqueue **out, const struct nfqueue_opts *opts, struct err *e);
void nfqueue_close(struct nfqueue *q);
static inline void cleanup_nfqueue(struct nfqueue **q)
{
	nfqueue_close(*q);
}

/** nfqueue_fd() - readable when packets wait; nfqueue_num() - the number for the rules. */
int nfqueue_fd(const struct nfqueue *q);
uint16_t nfqueue_num(const struct nfqueue *q);

/**
 * nfqueue_set_gso() - whether super-frames come whole, with partial checksums (fast), or cut into
 * packets with complete checksums, from the next packet on. Off spares whoever changes packets from
 * completing checksums, see nfqueue_accept_mangled().
 */
int nfqueue_set_gso(struct nfqueue *q, bool on);

/**
 * nfqueue_read() - hand one batch of packets to @fn, which may give verdicts. Number of packets; 0
 * when none wait; -errno when the socket is of no use any more. Lost packets are no error:
 * they are counted in nfqueue_stats() and nfqueue_drops().
 */
int nfqueue_read(struct nfqueue *q, nfqueue_fn fn, void *arg);

/**
 * nfqueue_accept(), nfqueue_drop() - queue a verdict; nfqueue_flush() sends them, many with one
 * system call. Packets leave in the order of the verdicts, as fast as the kernel can: a burst of
 * thousands may be too much for a queue behind (netdev_max_backlog, txqueuelen). 0, or -errno of a
 * flush for lack of room, with the verdict not queued.
 */
int nfqueue_accept(struct nfqueue *q, uint32_t id);
int nfqueue_drop(struct nfqueue *q, uint32_t id);

/**
 * nfqueue_accept_mangled() - let a packet go with other bytes, from the IP header on. The length
 * may differ. -EMSGSIZE beyond NFQUEUE_MAX_BYTES.
 *
 * Checksums: the kernel takes a changed packet for one whose checksum is complete (nfqnl_mangle()
 * sets CHECKSUM_NONE). So @data needs complete ones, also where the packet came with @csum_partial.
 * Only of a TCP super-frame (@gso) the TCP checksum does not matter: as it is not CHECKSUM_PARTIAL,
 * the kernel itself cuts it up and makes it anew (netif_needs_gso(), tcp_gso_segment()). Seen on
 * Linux 6.1 and 6.18. Segment sizes stay those of the super-frame.
 */
int nfqueue_accept_mangled(struct nfqueue *q, uint32_t id, const void *data, uint32_t len);

/** nfqueue_accept_upto() - let @id and all older packets go at once (NFQNL_MSG_VERDICT_BATCH). */
int nfqueue_accept_upto(struct nfqueue *q, uint32_t id);

/** nfqueue_flush() - 0, or -errno with the verdicts kept for another try. */
int nfqueue_flush(struct nfqueue *q);

/** nfqueue_stats() - counts of this end. */
const struct nfqueue_stats *nfqueue_stats(const struct nfqueue *q);

/**
 * struct nfqueue_drops - the kernel's counts, /proc/net/netfilter/nfnetlink_queue
 * @waiting: held now; @full: dropped as more than max_packets were held; @unread: dropped as the
 * socket's buffer was full
 */
struct nfqueue_drops {
	uint32_t waiting, full, unread;
};

/** nfqueue_drops() - 0, -ENOENT when the kernel does not list the queue, or -errno. */
int nfqueue_drops(struct nfqueue *q, struct nfqueue_drops *d);

#endif
