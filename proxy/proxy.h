/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The proxy of one guest: a thread that holds, compares, mirrors and injects its packets. */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include "base/loop.h"
#include "base/mailbox.h"
#include "base/quantile.h"
#include "proxy/bypass.h"
#include "proxy/compare.h"

#define PROXY_MAX_NICS 8

/** struct proxy_nic - @bridge is empty for a routed tap, @tap_fd is borrowed */
struct proxy_nic {
	char tap[16], bridge[16];
	uint8_t mac[6];
	int tap_fd;
};

/* What an earlier proxy of this guest, whose process is dead, may have left. */
enum proxy_found {
	PROXY_FOUND_NOTHING, /* the guest has not run yet */
	PROXY_FOUND_PASSING, /* the guest runs here and is heard */
	PROXY_FOUND_HELD,    /* the guest runs here and what it says must be held, without a gap */
	PROXY_FOUND_REPLICA, /* the guest must not be heard */
};

/**
 * struct proxy_config - copied by proxy_new()
 * @found_epoch: with PROXY_FOUND_HELD: a checkpoint that was committed
 * @flows_path:  file of the connections that this host rewrites, for the proxy after us; NULL: none
 */
struct proxy_config {
	const char *flows_path;
	enum proxy_found found;
	uint64_t found_epoch;
	const char *name; /* of the guest; names the rules */
	struct proxy_nic nics[PROXY_MAX_NICS];
	unsigned nic_count;
	int netfilter; /* enum rules_kind */
	struct compare_limits limits;
	struct bypass bypass;
	unsigned announce_count;
};

/**
 * struct proxy_handlers - called on the daemon's loop
 * @checkpoint: one is needed, for @reason
 * @waiting:    primary: output waits for the next checkpoint; said once for each epoch; may be NULL
 * @marked:     secondary: everything that belongs to checkpoint @epoch is known (CHAN_EPOCH came):
 * it may be committed; less than before: what was said of later ones does not count any more
 * @lost:       the packet connection broke
 * @note:       something for the log
 */
struct proxy_handlers {
	void (*checkpoint)(void *arg, enum mismatch_reason reason);
	void (*waiting)(void *arg);
	void (*marked)(void *arg, uint64_t epoch);
	void (*lost)(void *arg, const char *reason);
	void (*note)(void *arg, const char *text);
};

struct proxy;

/**
 * proxy_new() - open everything on the taps and start the thread. Nothing is held yet, no tap is in its
 * bridge; with PROXY_FOUND_HELD everything is held, and taps stay in the bridge if they were. On
 * error what held the output goes on doing so.
 */
int proxy_new(struct proxy **out, struct loop *l, const struct proxy_config *c,
	      const struct proxy_handlers *h, void *arg, struct err *e);

/** proxy_free() - end the thread, undo all rules; what is held is dropped. */
void proxy_free(struct proxy *p);

/** proxy_keep_rules() - proxy_free() shall leave the rules in place: what is held now is dropped from
 * then on, until another proxy takes them over. */
void proxy_keep_rules(struct proxy *p);

enum proxy_op {
	PROXY_ATTACH_PRIMARY,   /* a session begins after checkpoint @epoch; @fd: packet connection
				   (taken over), -1: go   on with the one that is there, roles were
				   swapped */
	PROXY_ATTACH_SECONDARY, /* the same on the other side; this host's guest is not to be heard
				 */
	PROXY_DETACH, /* the connection is of no use any more; what is held, and what comes, stays so
			 until the next word. A session may go on, PROXY_RESUME */
	PROXY_RESUME, /* either side: the session goes on over @fd (taken over). Primary: what is held
			 waits for its commit, as @checkpoint and @waiting say anew; a secondary that
			 runs is compared from the next CLOSE on */
	PROXY_SHUT,   /* a guest that is heard here, while somebody else may be asked to take over:
			 nothing leaves, ARP neither, until UNSHUT, SPEAK, PASS or TAKE_OVER; what is
			 held stays so, what comes for the guest is lost, and on a routed tap what it
			 says, too */
	PROXY_UNSHUT, /* undoes PROXY_SHUT, and nothing else */
	PROXY_SPEAK,  /* primary, in a session whose peer holds nothing yet: as PROXY_PASS, but the
			 session goes on. After its first CLOSE only as PROXY_UNSHUT */
	PROXY_FILTER, /* primary: the guest is about to be stopped for a switch-over: no frame
			  reaches it any more, all go to its successor; done when it has read what
			  came before, but soon if it does not read; until UNFILTER, the next PASS
			  or TAKE_OVER */
	PROXY_UNFILTER, /* primary: the switch-over failed, the guest goes on here; what came
			   meanwhile is lost to it */
	PROXY_CLOSE,    /* primary: the guest stands still for checkpoint @epoch; @runs: in the next
			  epoch   the secondary runs too */
	PROXY_COMMIT,   /* primary: checkpoint @epoch is committed */
	PROXY_PASS,    /* the guest runs here and nobody protects it: in the bridge, nothing held */
	PROXY_SILENCE, /* this host's guest, which stands still for good or is dead, is not to be
			  heard any more: held packets are dropped; what still comes for it is
			  passed on to the peer, until that has joined the network, or at once, this
			  host's taps are out of the bridges */
	PROXY_LEAVE,   /* after PROXY_SILENCE: done when the taps are out */
	PROXY_STOPPED, /* secondary: its guest is stopped when this is done, for checkpoint @epoch,
			  whose marks of an earlier attempt do not count; 0: for none */
	PROXY_COMMITTED, /* secondary: @epoch is committed here */
	PROXY_LOADED, /* secondary: the guest stands at @epoch; @runs: it is set running when this
			 is done */
	PROXY_TAKE_OVER, /* secondary: the guest is set running here when this is done; @runs: it
			    does already.
			    @planned: the old primary has said its last word on the packet
			    connection */
};

/** struct proxy_call - one order, embedded in the orderer's state; between proxy_submit() and @done
 * the proxy's */
struct proxy_call {
	struct mail mail;
	struct proxy *proxy;
	enum proxy_op op;
	uint64_t epoch;
	bool runs, planned, busy;
	bool ran; /* PROXY_CLOSE: the guest ran until it was stopped for this checkpoint */
	uint64_t read_before[PROXY_MAX_NICS]; /* PROXY_CLOSE: by proxy_before_stop() */
	int fd;
	void (*done)(struct proxy_call *c); /* on the daemon's loop; may be NULL */
	void *arg;
};

/** proxy_submit() - orders are carried out in turn. @c must not be busy. */
void proxy_submit(struct proxy *p, struct proxy_call *c);

/**
 * proxy_before_stop() - right before the guest is told to stop: note in @c, the PROXY_CLOSE to come,
 * how many frames its QEMU has read. A guest that runs has been given those, whatever QEMU reads and
 * keeps from then on. From the daemon's thread; some microseconds.
 */
void proxy_before_stop(struct proxy *p, struct proxy_call *c);

/**
 * proxy_run() - carry out one order and wait for it, at most @timeout_ms, from the daemon's thread:
 * for last words. 0 or -ETIMEDOUT; no @done.
 */
int proxy_run(struct proxy *p, enum proxy_op op, unsigned timeout_ms);

/** struct proxy_status - a snapshot */
struct proxy_nic_status {
	char tap[16], bridge[16];
	bool joined;
	uint64_t frames_in, frames_out;
};

struct proxy_status {
	struct compare_stats compare;
	struct quantile_view hold_us;
	const char *netfilter; /* back end */
	bool rules_missing;    /* others removed the rules, and they cannot be made again */
	const char *side;      /* "silent", "pass", "primary", "secondary" */
	bool compares;         /* the present epoch */
	uint64_t mirrored, mirror_lost, injected, replayed, rewritten_flows, queue_lost;
	unsigned nic_count;
	struct proxy_nic_status nics[PROXY_MAX_NICS];
};

void proxy_get_status(struct proxy *p, struct proxy_status *out);

/** proxy_get_waits() - packets released so far by a match or a checkpoint, and how long they waited
 * for it, all together. Cheap enough for each checkpoint. */
void proxy_get_waits(struct proxy *p, uint64_t *packets, uint64_t *waited_us);

/** proxy_list_flows(), proxy_copy_mismatches() - snapshots; the caller's memory. */
size_t proxy_list_flows(struct proxy *p, struct compare_flow *out, size_t max);
void proxy_copy_mismatches(struct proxy *p, struct mismatch_ring *out);
void proxy_set_timeout(struct proxy *p, uint64_t timeout_us);

#endif
