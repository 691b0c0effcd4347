/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connections that this host rewrites, from a take-over or inherited, until they end. Pure. */
#ifndef PROXY_REWRITES_H
#define PROXY_REWRITES_H

#include "base/util.h"
#include "proxy/rewrite.h"

/*
 * An open connection with other sequence numbers is lost without its entry: it may be silent for as
 * long as Linux's own connection tracking allows (nf_conntrack_tcp_timeout_established, 5 days).
 * After some hours of silence a clock that is only some milliseconds off matters to nobody.
 */
#define REWRITES_IDLE_US   (5 * 24 * 3600 * USEC_PER_SEC)
#define REWRITES_CLOCK_US  (3 * 3600 * USEC_PER_SEC)
#define REWRITES_CLOSED_US (60 * USEC_PER_SEC)

/**
 * struct rewrites - table of connections and what is added to the guest's numbers to get those that
 * the peer has seen
 * @gone: open connections that had to make room for others; they break
 * @changes: counts changes of what rewrites_each() tells
 *
 * An entry ends with its connection: a minute after a RST, or FINs of both sides, or at a SYN that
 * follows one of these; a RST that the guest did not believe (it goes on sending) ends nothing.
 */
struct rewrites {
	struct flow_table flows;
	uint64_t gone, changes;
};

/** rewrites_init() - 0 or -ENOMEM. Not to be moved afterwards. */
int rewrites_init(struct rewrites *w, uint32_t capacity, uint64_t seed);
void rewrites_destroy(struct rewrites *w);
void rewrites_clear(struct rewrites *w);

/** rewrites_inherit() - the primary rewrites connection @k by @r, as of @epoch, and has seen @ends of
 * it (tcp-end.h). */
void rewrites_inherit(struct rewrites *w, const struct flow_key *k, const struct rewrite *r,
		      uint8_t ends, uint64_t epoch, uint64_t now_us);

/** rewrites_keep_since() - forget what was not inherited, or inherited before @epoch. */
void rewrites_keep_since(struct rewrites *w, uint64_t epoch);

/**
 * rewrites_carry_on() - this host's guest goes on with connection @k: @own leads from its numbers to
 * those of the former primary's guest, and adds up with what was inherited.
 * @released_ts: last TSval that the former primary let out, unless NULL. The first outgoing segment's
 * TSval is then not allowed to be older (RFC 7323, 5.3: the peer would throw it away): the
 * difference is added to it and all later ones.
 * @ends: what was seen of its end (tcp-end.h)
 */
void rewrites_carry_on(struct rewrites *w, const struct flow_key *k, const struct rewrite *own,
		       const uint32_t *released_ts, uint8_t ends, uint64_t now_us);

/**
 * rewrites_out(), rewrites_in() - rewrite a packet of the guest, or to it, in place if its connection,
 * or that which an ICMP error is about, is among them. @p is the parsed @data, stale when true is
 * returned: something changed.
 */
bool rewrites_out(struct rewrites *w, uint8_t nic, uint8_t *data, const struct pkt *p, bool partial,
		  uint64_t now_us);
bool rewrites_in(struct rewrites *w, uint8_t nic, uint8_t *data, const struct pkt *p, bool partial,
		 uint64_t now_us);

/** rewrites_saw() - a packet of the replica (@out) or to it, as it is: only for the connection's
 * end. */
void rewrites_saw(struct rewrites *w, uint8_t nic, const struct pkt *p, bool out, uint64_t now_us);

/** rewrites_tick() - forget what has ended; to be called every some seconds. */
void rewrites_tick(struct rewrites *w, uint64_t now_us);

/** rewrites_each() - all connections with an offset that is not 0; @fn must not change the table. */
void rewrites_each(const struct rewrites *w,
		   void (*fn)(void *arg, const struct flow_key *k, const struct rewrite *r,
			      uint8_t ends),
		   void *arg);

#endif
