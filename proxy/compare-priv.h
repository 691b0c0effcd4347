/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The comparing core from inside: its records and what its files offer each other. */
#ifndef PROXY_COMPARE_PRIV_H
#define PROXY_COMPARE_PRIV_H

#include "base/pool.h"
#include "base/quantile.h"
#include "proxy/compare.h"
#include "proxy/hold.h"
#include "proxy/reasm.h"

/* Of each guest, incomplete at a time. */
#define CMP_MAX_DATAGRAMS 256

/*
 * All that the secondary's state decides is valid for one epoch. Closing one must not cost a walk
 * over all flows while the guest stands still, so each flow carries the generation it was last
 * brought up to (cmp_flow_sync()), and held packets of a closed epoch know nothing of flows.
 *
 * While a closed epoch waits for its commit nothing is compared or released: what the guest sends
 * by then follows from output that may never have happened (S1). Flows that could go on are kept in
 * compare.ready for the commit.
 */

struct held;

/**
 * struct seg - one packet as the comparison sees it: of a TCP stream or a datagram
 * @node:  in flow.p or flow.s as long as some of it is to be compared; else points to itself
 * @seq:   of a fragment that is compared on its own: its offset, and 1 when more follow
 * @in_parts: of the secondary, a datagram that came in fragments, or one of them
 * @owner: NULL for the packet being handled, whose bytes are the caller's
 * @packet, @payload: NULL once the bytes are not needed any more
 */
struct seg {
	struct list node;
	struct held *owner;
	const uint8_t *packet, *payload;
	uint32_t packet_len, payload_len;
	uint32_t seq, seq_len, ack, tsval;
	uint16_t urgent;
	uint8_t flags; /* TCP_* */
	bool has_ts, in_parts;
};

/**
 * struct held - a packet that stays: the primary's, known to the kernel as @id of @nic, or bytes of
 * the secondary's
 * @all:     in compare.held, .closed or .stored
 * @in_flow: in flow.held
 * @more:    the other fragments of the same datagram
 * @bytes:   kept of it in the arena
 * @at_commit: only the commit lets it go, and nobody waits for its counterpart
 */
struct held {
	struct list all, in_flow;
	struct seg seg;
	struct flow *flow;
	struct held *more;
	uint64_t at_us;
	uint32_t id, bytes;
	uint8_t nic;
	bool secondary, at_commit;
};

struct flow {
	struct flow_node node;
	struct list ready, spare, half_open, halfway; /* in compare's lists of that name */
	uint64_t gen;

	/* of this generation */
	struct list held; /* the primary's packets in order of arrival */
	struct list p, s; /* struct seg: not compared yet; TCP: by sequence number */
	uint32_t held_count;
	uint64_t s_bytes;
	bool stuck; /* differed: nothing more is compared, all waits for the commit */

	/* TCP; in the primary's sequence numbers */
	bool tcp;
	bool has_base, has_s_ack;
	bool met_half_way; /* @base is where its first data of this epoch happened to begin */
	uint32_t base;
	bool p_syn_alone, s_syn_alone; /* that side's new connection is not known of the other */
	bool s_syn, s_rst;
	uint32_t matched;    /* up to here both sides' streams are equal; valid with @has_base */
	uint64_t matched_us; /* since when, while it is in compare.halfway */
	uint32_t s_ack, s_isn, seq_offset, ts_offset;
	uint32_t p_syn_ts, s_syn_ts;
	bool p_syn_has_ts, s_syn_has_ts;
	uint64_t epoch_bytes; /* compared in this epoch */

	/* TCP; whatever the epoch */
	bool has_p_end, has_p_ack, p_syn, p_rst, p_fin, peer_rst, peer_fin;
	uint32_t p_end, p_ack, p_isn;

	/* datagrams: hashes of the primary's last one, and of the last one that both have sent */
	uint64_t last_hash, repeat_hash;
	bool may_repeat; /* the secondary, once in this epoch, and only that */

	/* for the note that is due when the call ends */
	bool note_due, noted;
	uint32_t note_seq, note_ts, noted_ts, note_packets;
	bool note_has_ts;

	uint64_t matched_bytes, packets;
};

/** struct frag_chain - held fragments of a datagram that is not whole yet */
struct frag_chain {
	struct held *first, *last;
};

struct compare {
	struct compare_limits limits;
	const struct bypass *rules;
	struct mismatch_ring *ring;
	struct compare_ops ops;
	void *arg;

	uint64_t now_us, gen;
	enum compare_mode mode;
	uint64_t closed_epoch, committed_us;
	uint64_t trusted_gen; /* what flows know from before is not to be relied on */
	bool commit_pending, asked, dropping, unseen;
	bool orphans;  /* packets without a flow: new flows of this epoch may be theirs */
	uint32_t told; /* BIT(mismatch_reason) of those that are told once in an epoch */

	struct flow_table flows;
	struct list ready, spare, half_open; /* struct flow */
	struct list halfway; /* struct flow, by matched_us: of a held packet a part has its match */
	uint32_t half_open_count;

	struct pool pool; /* struct held */
	struct hold hold;
	struct list held, closed; /* the primary's, this epoch's and older, in order of arrival */
	struct list stored;       /* the secondary's */
	struct list *expiry;      /* first of @held whose time is not over yet, or &held */
	uint32_t held_count, stored_count;
	uint64_t stored_bytes;

	struct reasm *p_frags, *s_frags;
	struct frag_chain *chains;

	struct compare_stats stats;
	struct quantile hold_us;
};

/** struct ticket - what is released with a packet: one id, or the held fragments from @lead on */
struct ticket {
	struct held *lead;
	uint32_t id;
	uint8_t nic;
};

static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

static inline uint32_t seg_end(const struct seg *s)
{
	return s->seq + s->seq_len;
}

static inline struct seg *seg_first(const struct list *l)
{
	return list_empty(l) ? NULL : list_entry(l->next, struct seg, node);
}

/* compare.c */

/** cmp_match_primary(), cmp_match_secondary() - a whole packet, or a fragment that is compared on its
 * own, in match mode. */
void cmp_match_primary(struct compare *c, const struct ticket *t, const struct pkt *p);
void cmp_match_secondary(struct compare *c, uint8_t nic, const struct pkt *p, bool in_parts);

/* compare-held.c: the packets that stay */

/** cmp_hold() - keep @t of @f (or NULL) without bytes. NULL: no room, it was dropped. */
struct held *cmp_hold(struct compare *c, const struct ticket *t, struct flow *f, bool at_commit);

/**
 * cmp_hold_seg() - keep @t in its flow's order, with its bytes when @view is still to be compared;
 * without room for them the flow is stuck.
 */
void cmp_hold_seg(struct compare *c, const struct ticket *t, struct flow *f, struct seg *view);

/** cmp_store() - keep @view of the secondary, which is in flow.s, or take it out when its share of
 * memory is full. */
void cmp_store(struct compare *c, struct flow *f, struct seg *view);

/** cmp_seg_done() - @s is compared: out of its list, its bytes or all of it given back. */
void cmp_seg_done(struct compare *c, struct flow *f, struct seg *s);
void cmp_store_clear(struct compare *c, struct flow *f); /* all of a flow */

/** cmp_release_ticket(), cmp_release_held() - out, with all fragments. */
void cmp_release_ticket(struct compare *c, const struct ticket *t, enum release_cause cause);
void cmp_release_held(struct compare *c, struct held *h, enum release_cause cause);

/** cmp_release_list() - all of @list, each on its own, in order. */
void cmp_release_list(struct compare *c, struct list *list, enum release_cause cause);
void cmp_drop_list(struct compare *c, struct list *list);

/** cmp_held_close() - what is held belongs to the closed epoch. */
void cmp_held_close(struct compare *c);

/** cmp_held_forget() - what is held waits for its commit, and the secondary's is forgotten. */
void cmp_held_forget(struct compare *c);

/** cmp_held_expire() - mismatches for packets that waited too long. Returns when to look again. */
uint64_t cmp_held_expire(struct compare *c);

/** cmp_held_halfway() - of @f's first packet a part has its match, since now, or none any more. */
void cmp_held_halfway(struct compare *c, struct flow *f, bool some);

/* compare-flow.c */

/** cmp_flow_get() - the flow of @p, made when it is not there; NULL: no room. */
struct flow *cmp_flow_get(struct compare *c, const struct flow_key *k, const struct pkt *p);

/** cmp_flow_sync() - bring @f up to the epoch: both guests stand where the primary stood. */
void cmp_flow_sync(struct compare *c, struct flow *f);

/** cmp_flow_waits() - a closed epoch is not committed: @f goes on when it is. */
bool cmp_flow_waits(struct compare *c, struct flow *f);

/**
 * cmp_flow_settle() - last word of each call: tell the secondary what was released; may the entry
 * be used for another flow?
 */
void cmp_flow_settle(struct compare *c, struct flow *f);

/** cmp_flow_established() - it is not half-open any more. */
void cmp_flow_established(struct compare *c, struct flow *f);

/** cmp_flows_expire() - forget idle flows. Returns when to look again. */
uint64_t cmp_flows_expire(struct compare *c);

/* compare-report.c */

/**
 * cmp_mismatch() - a new record for @f (or NULL); the caller adds the sides.
 * cmp_mismatch_end() - then nothing more of @f is compared in this epoch, and a checkpoint is asked
 * for.
 */
struct mismatch *cmp_mismatch(struct compare *c, enum mismatch_reason r, struct flow *f);
void cmp_mismatch_end(struct compare *c, enum mismatch_reason r, struct flow *f);

/** cmp_flow_stuck() - all that comes of @f in this epoch waits for the commit. */
void cmp_flow_stuck(struct compare *c, struct flow *f);

/** cmp_told_once() - one that concerns no flow; the first of its reason in an epoch is recorded. */
void cmp_told_once(struct compare *c, enum mismatch_reason r, const char *what);

/** cmp_side() - one side of a mismatch; @s may be NULL or without bytes; @at in its payload. */
void cmp_side(struct mismatch_side *side, const struct seg *s, uint16_t vlan, uint32_t at);

/** cmp_differ_at() - index of the first difference of @n bytes that are not equal. */
uint32_t cmp_differ_at(const uint8_t *a, const uint8_t *b, uint32_t n);

/* compare-tcp.c, compare-dgram.c, compare-frag.c */

/** cmp_tcp_track() - remember how far the primary is; in every mode. */
void cmp_tcp_track(struct compare *c, struct flow *f, const struct pkt *p);
void cmp_tcp_primary(struct compare *c, struct flow *f, const struct ticket *t,
		     const struct pkt *p);
void cmp_tcp_secondary(struct compare *c, struct flow *f, const struct pkt *p);

/** cmp_tcp_continue(), cmp_dgram_continue() - compare what came while a commit was waited for. */
void cmp_tcp_continue(struct compare *c, struct flow *f);
void cmp_tcp_explain(const struct flow *f, const struct seg *s, char *what, size_t size);

void cmp_dgram_primary(struct compare *c, struct flow *f, const struct ticket *t,
		       const struct pkt *p);
void cmp_dgram_secondary(struct compare *c, struct flow *f, const struct pkt *p, bool in_parts);
void cmp_dgram_continue(struct compare *c, struct flow *f);

void cmp_frag_primary(struct compare *c, const struct ticket *t, const struct pkt *p);
void cmp_frag_secondary(struct compare *c, uint8_t nic, const struct pkt *p);
void cmp_frag_close(struct compare *c);
uint64_t cmp_frag_expire(struct compare *c);

#endif
