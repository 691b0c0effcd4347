/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the replica has sent and the primary has not let out yet, and how their numbers differ. Pure. */
#ifndef PROXY_OUTBOX_H
#define PROXY_OUTBOX_H

#include "proxy/compare.h"
#include "proxy/framebuf.h"
#include "proxy/rewrite.h"

/**
 * struct outbox_flow - one flow of the replica since it was loaded
 * @own:         from its numbers to the primary's guest's; 0 but for connections opened since then
 * @released_ts: last TSval that the primary let out, if @has_ts
 * @first, @last: its frames, oldest first
 * @closed:      the replica ended it with its last segment
 * @ends:        what was seen of its end (tcp-end.h)
 * @evicted:     datagrams that had to go unreported: those reported next
 */
struct outbox_flow {
	struct flow_node node;
	struct rewrite own;
	uint32_t released_ts;
	bool has_ts, closed;
	uint8_t ends;
	uint32_t evicted;
	struct kept *first, *last;
};

/**
 * struct outbox - @untracked: frames without room for their flow, not kept. @evicted: the oldest, gone
 * because the buffer was full.
 *
 * Fragments are not kept (a datagram lost at a take-over is the network's daily business), and of
 * TCP segments without sequence space only a flow's last.
 */
struct outbox {
	struct framebuf frames;
	struct flow_table flows;
	uint64_t untracked, evicted;
};

/** outbox_init() - 0 or -errno; everything is allocated here. Not to be moved afterwards. */
int outbox_init(struct outbox *o, size_t bytes, uint32_t frames, uint32_t flows, uint64_t seed);
void outbox_destroy(struct outbox *o);

/** outbox_clear() - the replica was loaded: nothing that it sent before counts any more. */
void outbox_clear(struct outbox *o);

/** outbox_add() - the replica sent frame @data, which carries packet @p. */
void outbox_add(struct outbox *o, uint8_t nic, const void *data, size_t len, const struct pkt *p,
		uint64_t now_us);

/** outbox_note() - the primary's word on a flow. */
void outbox_note(struct outbox *o, const struct flow_note *n, uint64_t now_us);

/** outbox_to_guest() - the replica is given packet @p. How its numbers differ, or NULL: not at all. */
const struct rewrite *outbox_to_guest(struct outbox *o, uint8_t nic, const struct pkt *p);

/** outbox_quoted() - the same of an ICMP error, about segment @q (pkt_parse_quote()). */
const struct rewrite *outbox_quoted(const struct outbox *o, uint8_t nic, const struct pkt *q);

#endif
