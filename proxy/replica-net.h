/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The secondary's side of the packet proxy: what its guest is given, and what becomes of its
 * output. Pure. */
#ifndef PROXY_REPLICA_NET_H
#define PROXY_REPLICA_NET_H

#include "proxy/bypass.h"
#include "proxy/compare.h"
#include "proxy/inbox.h"
#include "proxy/neigh.h"
#include "proxy/rewrites.h"

/*
 * Inbound frames are neither lost nor reordered across a checkpoint or a failover (S5), because
 * every frame that the primary's guest was given is kept here under its number until a checkpoint
 * that holds its effect is committed:
 *
 * - The primary numbers the frames to its guest, 1, 2, ... for each NIC. With checkpoint n comes a
 *   mark for each NIC: frames up to it had been read by the guest when it stopped, so what they did
 *   is in the checkpoint; those above it had not.
 * - Once n is committed, frames up to its mark are forgotten: no guest will need them again.
 * - A replica that was loaded with n has read just those up to the mark of n. Those above it are
 *   injected in order when it runs, then each one as it comes; nothing between its stop and its
 *   start. What was injected stays kept: the primary's guest may not have read it when it stops.
 * - A replica that stands still gets nothing; at a take-over it gets all above the mark of what it
 * was loaded with.
 * - A replica that goes on without being loaded goes on behind the last injected frame.
 * - A guest that is slow to read is given what found no room later. At a take-over it is lost: the
 *   network's own frames come from then on, and would be overtaken.
 *
 * For this the caller says loaded() only after it has emptied the tap of the replica, which stands
 * still, in both directions (what waits for the guest will be injected again; what it sent before
 * goes through out()), and commits n only when marked(n) was called: else a frame can be injected
 * twice, though none is lost. Orders that say that the guest runs come before it does.
 *
 * Memory is bounded. When it is full the oldest kept frame goes. That is a loss only if a guest
 * will still need it: it was not injected yet, or is above the mark of the checkpoint loaded next.
 * Losses are told by lost(), once for each epoch: a checkpoint makes up for them.
 */

#define REPLICA_MAX_NICS   INBOX_MAX_NICS
#define REPLICA_VNET_BYTES 10 /* struct virtio_net_hdr before each frame */

/* A tap queues 1000 frames: kept frames older than the newest 1000 have been read by the primary's
 * guest as long as it runs. */
#define REPLICA_MIN_FRAMES 1100

enum replica_state {
	REPLICA_STOPPED, /* the guest stands still */
	REPLICA_WAITING, /* it runs, but the marks of what it was loaded with are not known yet */
	REPLICA_RUNNING,
	REPLICA_LIVE, /* it is the one that the network sees */
	REPLICA_STATES,
};

/**
 * struct replica_net_ops - outputs; called from within the calls below, must not call back into
 * them. @data is the vnet header and the frame, valid during the call only.
 * @inject:     give a frame to the guest; 0, -EAGAIN: there is no room now, younger ones of this NIC
 * wait too until replica_net_retry(); another error: it cannot be given, and is lost
 * @to_primary: show it a frame of the guest, which was loaded with epoch @after
 * @transmit:   let a frame out to the network, through rewrites_out(): it is as the guest sent it
 * @lost:       @count frames that a guest will miss
 * @marked:     all marks of checkpoint @epoch are here: it may be committed
 */
struct replica_net_ops {
	int (*inject)(void *arg, uint8_t nic, const uint8_t *data, size_t len);
	void (*to_primary)(void *arg, uint8_t nic, uint64_t after, const uint8_t *data, size_t len);
	void (*transmit)(void *arg, uint8_t nic, const uint8_t *data, size_t len);
	void (*lost)(void *arg, uint64_t count);
	void (*marked)(void *arg, uint64_t epoch);
};

struct replica_net_params {
	unsigned nic_count;
	uint8_t macs[REPLICA_MAX_NICS][6];
	size_t inbox_bytes, outbox_bytes;
	uint32_t inbox_frames, outbox_frames; /* inbox: at least REPLICA_MIN_FRAMES */
	uint32_t max_flows;
	uint64_t seed;               /* from getrandom(2) */
	const struct bypass *bypass; /* borrowed; NULL: none */
};

struct replica_net_stats {
	enum replica_state state;
	uint64_t mirrored, injected, lost;       /* frames */
	uint64_t sent, answered, replayed;       /* of the guest */
	uint64_t kept_frames, kept_bytes;        /* inbound, now */
	uint64_t unreleased_frames, output_gone; /* output kept now; forgotten for want of memory */
	uint32_t rewritten_flows;
};

struct replica_net;

/** replica_net_new() - 0 or -ENOMEM, -EINVAL for unusable @p. All memory is allocated here. */
int replica_net_new(struct replica_net **out, const struct replica_net_params *p,
		    const struct replica_net_ops *ops, void *arg);
void replica_net_free(struct replica_net *r);

/**
 * replica_net_attach() - from now on the replica of a primary; the guest stands still at checkpoint
 * @epoch, 0 when there is none. Numbers of frames begin at 1 again. Rewritten connections stay
 * until the next checkpoint: after a swap of roles they are the same on both sides.
 */
void replica_net_attach(struct replica_net *r, uint64_t epoch);

/* What the primary says (chan.h); anything of a NIC that is not there is ignored. */

/** replica_net_mirrored() - frame @number was given to the primary's guest. */
void replica_net_mirrored(struct replica_net *r, uint8_t nic, uint64_t number, const uint8_t *data,
			  size_t len, uint64_t now_us);

/** replica_net_mark() - frames of @nic above @mark are not in checkpoint @epoch. The same may be said
 * again, anything else only after replica_net_unmark(). */
void replica_net_mark(struct replica_net *r, uint64_t epoch, uint8_t nic, uint64_t mark);

/** replica_net_unmark() - checkpoint @epoch failed and may be tried again under its number: its
 * marks do not count. To be called before the primary can have sent new ones. */
void replica_net_unmark(struct replica_net *r, uint64_t epoch);
bool replica_net_is_marked(const struct replica_net *r, uint64_t epoch);

void replica_net_note(struct replica_net *r, const struct flow_note *n, uint64_t now_us);

/** replica_net_inherit() - the primary rewrites a connection, of whose end it has seen @ends
 * (tcp-end.h), as of checkpoint @epoch. The whole list comes with each checkpoint, before its marks. */
void replica_net_inherit(struct replica_net *r, uint64_t epoch, const struct flow_key *k,
			 const struct rewrite *rewrite, uint8_t ends, uint64_t now_us);

/** replica_net_gap() - frames of @nic up to @number that have not come were lost with a connection. */
void replica_net_gap(struct replica_net *r, uint8_t nic, uint64_t number);

void replica_net_own_address(struct replica_net *r, uint8_t nic, const struct ip_addr *addr,
			     uint16_t vlan);

/* What happens to the replica. */

/** replica_net_stopped() - the guest stands still. */
void replica_net_stopped(struct replica_net *r);

/** replica_net_committed() - checkpoint @epoch is here for good. Not yet in the guest. */
void replica_net_committed(struct replica_net *r, uint64_t epoch);

/** replica_net_loaded() - the guest, standing still, was loaded with @epoch, the last one
 * committed. */
void replica_net_loaded(struct replica_net *r, uint64_t epoch);

/** replica_net_running() - the guest is set running, loaded before or not. */
void replica_net_running(struct replica_net *r);

/**
 * replica_net_catch_up() - before the network's own frames come: the guest, loaded with the last
 * committed checkpoint, which takes over in a moment, is given what it has not been given.
 */
void replica_net_catch_up(struct replica_net *r);

/**
 * replica_net_take_over() - the guest, loaded with the last committed checkpoint, is the one that
 * the network sees: sends what it has said and the primary has not, injects what it has not been
 * given. All that came from the primary has been handed in before.
 */
void replica_net_take_over(struct replica_net *r, uint64_t now_us);

/* Packets. */

/**
 * replica_net_out() - the guest sent this. Before the take-over: to the primary, as it is; ARP and
 * neighbour discovery are answered here. After it: transmitted, as it is.
 */
void replica_net_out(struct replica_net *r, uint8_t nic, const uint8_t *data, size_t len,
		     uint64_t now_us);

/** replica_net_retry() - to be called a while after inject() said -EAGAIN: give what waits. */
void replica_net_retry(struct replica_net *r);

void replica_net_tick(struct replica_net *r, uint64_t now_us);

/** replica_net_rewrites() - for packets that are held elsewhere, and for the list to the next
 * secondary. */
struct rewrites *replica_net_rewrites(struct replica_net *r);

/** replica_net_neigh() - of one NIC, for announcements. */
struct neigh *replica_net_neigh(struct replica_net *r, uint8_t nic);
void replica_net_get_stats(const struct replica_net *r, struct replica_net_stats *out);

#endif
