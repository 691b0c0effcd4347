/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The comparing core of the primary: packets of both guests in, verdicts and requests out. Pure. */
#ifndef PROXY_COMPARE_H
#define PROXY_COMPARE_H

#include "proxy/bypass.h"
#include "proxy/flow.h"
#include "proxy/mismatch.h"

struct compare;

/* What becomes of the guest's output; in force from the next epoch on. */
enum compare_mode {
	COMPARE_PASS,  /* nobody protects: release at once */
	COMPARE_HOLD,  /* hold all until commit (periodic): the secondary stands still */
	COMPARE_MATCH, /* hold until matched or committed (colo) */
};

enum release_cause {
	RELEASE_MATCH,
	RELEASE_COMMIT,
	RELEASE_BYPASS, /* by rule, and neighbour discovery */
	RELEASE_SOLO,   /* nobody protects */
	RELEASE_CAUSES,
};

/** struct compare_limits - everything is allocated for these at once */
struct compare_limits {
	uint32_t max_held_packets;
	uint64_t max_held_bytes; /* of both guests' packets together, the secondary's: half of it */
	uint32_t max_flows, max_half_open;
	uint64_t timeout_us;   /* a packet without a counterpart for so long is a mismatch */
	uint64_t flow_idle_us; /* unused flows are forgotten */
	uint64_t seed;
};

/**
 * struct flow_note - what the secondary must know about a flow; sent to it in order with the
 * mirrored frames
 * @seq_offset: what to add to the secondary's sequence numbers to get the primary's (FLOW_OFFSET)
 * @ts_offset:  the same for its TCP timestamps
 * @released_seq, @released_ts: furthest end released in this call and the last TSval
 * (FLOW_RELEASED, TCP); pure acks are noted only now and then, for their TSval
 * @released_packets: datagrams that the secondary need not keep any more, since the last note; it
 * keeps none that it sent in fragments (FLOW_RELEASED, others)
 */
enum flow_note_kind { FLOW_OFFSET, FLOW_RELEASED };
struct flow_note {
	enum flow_note_kind kind;
	struct flow_key key;
	uint32_t seq_offset, ts_offset;
	bool has_ts;
	uint32_t released_seq, released_ts, released_packets;
};

/**
 * struct compare_ops - outputs; called from within the calls below, must not call back into them
 * @release:    let packet @id of @nic out. Within a flow in the order of arrival.
 * @drop:       packet @id never leaves
 * @checkpoint: needed, for @reason; asked once until compare_close_epoch(). What is known of the
 * reason is in the ring of mismatches by then, but for its realtime_us: there is no clock here
 * @note:       for the secondary; false: it cannot be told. A connection whose offset it does not
 * know is not compared, since it could not go on with it (S1)
 */
struct compare_ops {
	void (*release)(void *arg, uint8_t nic, uint32_t id, enum release_cause cause);
	void (*drop)(void *arg, uint8_t nic, uint32_t id);
	void (*checkpoint)(void *arg, enum mismatch_reason reason);
	bool (*note)(void *arg, const struct flow_note *n);
};

struct compare_stats {
	uint64_t primary_packets, secondary_packets, matched, mismatched, timed_out, bypassed;
	uint64_t released[RELEASE_CAUSES], dropped, secondary_dropped;
	uint64_t held_packets, held_bytes, max_held_packets, max_held_bytes;
	uint32_t flows, half_open;
};

int compare_new(struct compare **out, const struct compare_limits *l, const struct bypass *rules,
		struct mismatch_ring *mismatches, const struct compare_ops *ops, void *arg);
void compare_free(struct compare *c);

/** compare_primary() - the primary's guest sent @p, waiting in the kernel as @id of @nic. */
void compare_primary(struct compare *c, uint8_t nic, uint32_t id, const struct pkt *p,
		     uint64_t now_us);

/** compare_secondary() - the secondary's guest, running since the load of epoch @after, sent @p. */
void compare_secondary(struct compare *c, uint8_t nic, uint64_t after, const struct pkt *p,
		       uint64_t now_us);

/** compare_inbound() - @p is going to the primary's guest (the mirror saw it). */
void compare_inbound(struct compare *c, uint8_t nic, const struct pkt *p, uint64_t now_us);

/**
 * compare_close_epoch() - the primary's guest stands still for checkpoint @epoch: all that is held
 * belongs to it, what comes next to @epoch + 1, which runs in @next. Called again with the same
 * @epoch when the checkpoint failed and is tried once more: then all that is held belongs to it
 * too.
 */
void compare_close_epoch(struct compare *c, uint64_t epoch, enum compare_mode next,
			 uint64_t now_us);

/**
 * compare_commit() - checkpoint @epoch is on the secondary for good: what belongs to it is
 * released. Until then nothing of the next epoch is, whatever the secondary sends. Time runs for
 * what is held from here on: call compare_tick().
 */
void compare_commit(struct compare *c, uint64_t epoch, uint64_t now_us);

/** compare_awaited() - the closed epoch that is not committed yet; 0: none. */
uint64_t compare_awaited(const struct compare *c);

/**
 * compare_suspend() - the secondary is out of reach, and what it does not hear or what is not heard
 * of it is missing: until the next compare_close_epoch() nothing is compared. What is held of this
 * epoch, and what comes, waits for its commit; that of a closed one for that one's. What was asked
 * for is asked again. No effect while nobody protects.
 */
void compare_suspend(struct compare *c);

/** compare_pass_all() - nobody protects any more: release everything held, and what comes at once.
 */
void compare_pass_all(struct compare *c, uint64_t now_us);

/** compare_drop_all() - this guest's output must not be seen any more (another one carries on):
 * what is held is dropped, and what comes too, until compare_pass_all() or compare_undrop(). */
void compare_drop_all(struct compare *c);

/** compare_undrop() - this guest carries on after all: what comes next is treated as the mode says.
 */
void compare_undrop(struct compare *c);

/**
 * compare_unseen() - some of what the guest sends does not come here: from the next epoch on it is
 * not known how far its connections are. Unlike packets that are lost, these may have moved a
 * stream by any number of bytes, or be another connection with the same ports.
 */
void compare_unseen(struct compare *c);

/** compare_lost() - the kernel lost packets of one side (ENOBUFS, drops): ask for a checkpoint. */
void compare_lost(struct compare *c, const char *what, uint64_t now_us);

/** compare_tick() - expire waiting packets and idle flows. Returns when to call again, UINT64_MAX:
 * never. */
uint64_t compare_tick(struct compare *c, uint64_t now_us);

void compare_set_timeout(struct compare *c, uint64_t timeout_us);
void compare_get_stats(const struct compare *c, struct compare_stats *out);

/** compare_hold_us() - how long packets waited for their match or their checkpoint. */
const struct quantile *compare_hold_us(const struct compare *c);

/** struct compare_flow - one line of `colo-ctl flows` */
struct compare_flow {
	struct flow_key key;
	const char *state; /* "syn", "open", "closing", "datagram" */
	uint32_t seq_offset;
	uint32_t held_packets;
	uint64_t matched_bytes, packets, idle_us;
};
/** compare_list_flows() - up to @max flows, youngest first; returns how many. */
size_t compare_list_flows(const struct compare *c, struct compare_flow *out, size_t max,
			  uint64_t now_us);

#endif
