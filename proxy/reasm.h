/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From IP fragments to the datagram that they carry, within fixed memory. Pure. */
#ifndef PROXY_REASM_H
#define PROXY_REASM_H

#include "proxy/packet.h"

/**
 * struct reasm - datagrams of one guest that wait for more fragments
 *
 * Fragments are bytes of a datagram here, nothing more: the caller keeps what it must know about
 * each (the ids of held packets) in an array of its own, indexed by struct reasm_ref's slot. A slot
 * is in use from the first REASM_PART until REASM_WHOLE, REASM_GIVEN_UP, reasm_expire(),
 * reasm_clear() or reasm_give_up_all() says otherwise.
 *
 * Fragments that overlap, even as copies, are refused and their datagram is given up, for IPv6 as
 * RFC 5722 wants it, for IPv4 too: which of the bytes count is the receiver's choice, which nobody
 * here knows.
 */
struct reasm;

/** struct reasm_ref - a datagram: @slot is below max_datagrams, @generation new each time */
struct reasm_ref {
	uint32_t slot, generation;
};

enum reasm_state {
	REASM_PART,     /* kept; more must come */
	REASM_WHOLE,    /* the last missing one: the datagram is in @data, its slot is free */
	REASM_GIVEN_UP, /* no datagram comes of it: what the slot holds waits for the commit, and so
			 * do fragments that come later: they get this answer and the same @ref */
	REASM_REST, /* the datagram began before reasm_give_up_all(): this fragment is on its own,
			 * the slot holds nothing */
	REASM_FULL, /* no slot free: @ref means nothing, this fragment is on its own */
};

/**
 * struct reasm_result - @data, @len: with REASM_WHOLE an IP packet for pkt_parse_ip(), as it was
 * before it was cut; valid until the next call. It may be PKT_FRAGMENT again when a guest nests
 * fragment headers: that one is not for reasm_add().
 */
struct reasm_result {
	enum reasm_state state;
	struct reasm_ref ref;
	const uint8_t *data;
	uint32_t len;
};

/**
 * reasm_new() - memory for @max_datagrams at once with about @max_bytes of them (64 KB at least,
 * in blocks of REASM_BLOCK); nothing is allocated later. @seed as in flow_table_init(). 0, -EINVAL
 * or -ENOMEM.
 */
#define REASM_BLOCK 2048
int reasm_new(struct reasm **out, uint32_t max_datagrams, uint64_t max_bytes, uint64_t seed);
void reasm_free(struct reasm *r);

/**
 * reasm_add() - take the fragment @p (kind PKT_FRAGMENT) in; its bytes are copied. A datagram that
 * needs more memory than is left is given up, those before it go on. Returns @out's state.
 */
enum reasm_state reasm_add(struct reasm *r, uint8_t nic, const struct pkt *p, uint64_t now_us,
			   struct reasm_result *out);

/**
 * reasm_expire() - give up one datagram whose first fragment came before @before_us and free its
 * slot; false when there is none (left). Those already given up go in silence.
 */
bool reasm_expire(struct reasm *r, uint64_t before_us, struct reasm_ref *out);

/** reasm_oldest_us() - when the first fragment of the oldest one came, UINT64_MAX without any. */
uint64_t reasm_oldest_us(const struct reasm *r);

/** reasm_clear() - forget all, as after a load. */
void reasm_clear(struct reasm *r);

/**
 * reasm_give_up_all() - what is incomplete stays so: fragments that are still to come of those
 * datagrams get REASM_REST until they expire. For an epoch's end.
 */
void reasm_give_up_all(struct reasm *r);

/** reasm_is_rest() - would reasm_add() say REASM_REST of fragment @p? */
bool reasm_is_rest(const struct reasm *r, uint8_t nic, const struct pkt *p);

/** reasm_is_current() - does @ref's slot still hold that datagram (complete ones are gone)? */
bool reasm_is_current(const struct reasm *r, struct reasm_ref ref);

/** reasm_waiting() - datagrams that have a slot. */
uint32_t reasm_waiting(const struct reasm *r);

#endif
