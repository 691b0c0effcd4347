/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A comparing core whose outputs are written down, and packets of both guests in one line each. */
#ifndef TESTS_UNIT_COMPARE_RIG_H
#define TESTS_UNIT_COMPARE_RIG_H

#include "tests/unit/packet-make.h"
#include "tests/unit/unit.h"

#include "proxy/compare.h"

#define RIG_EVENTS 100000
#define GUEST      "10.0.0.2"
#define PEER       "10.0.0.9"

enum rig_kind { RIG_RELEASE, RIG_DROP, RIG_ASK, RIG_NOTE };

struct rig_event {
	enum rig_kind kind;
	uint8_t nic;
	uint32_t id;
	enum release_cause cause;
	enum mismatch_reason reason;
	struct flow_note note;
};

struct rig {
	struct compare *c;
	struct mismatch_ring ring;
	struct bypass rules;
	struct compare_limits limits;
	uint64_t now, epoch;
	unsigned n, seen; /* events, and how many of them the test has looked at */
	struct rig_event events[RIG_EVENTS];
	struct mk m;
	const char *peer;
	unsigned peer_port;
	bool deaf; /* the secondary cannot be told */
};

static inline struct rig_event *rig_event(void *arg, enum rig_kind kind)
{
	struct rig *r = arg;
	struct rig_event *e = &r->events[r->n++];

	assert_true(r->n <= RIG_EVENTS);
	*e = (struct rig_event){.kind = kind};
	return e;
}

static inline void rig_release(void *arg, uint8_t nic, uint32_t id, enum release_cause cause)
{
	struct rig_event *e = rig_event(arg, RIG_RELEASE);

	e->nic = nic;
	e->id = id;
	e->cause = cause;
}

static inline void rig_drop(void *arg, uint8_t nic, uint32_t id)
{
	struct rig_event *e = rig_event(arg, RIG_DROP);

	e->nic = nic;
	e->id = id;
}

static inline void rig_ask(void *arg, enum mismatch_reason reason)
{
	rig_event(arg, RIG_ASK)->reason = reason;
}

static inline bool rig_note(void *arg, const struct flow_note *n)
{
	rig_event(arg, RIG_NOTE)->note = *n;
	return !((struct rig *)arg)->deaf;
}

static inline struct rig *rig_new(const struct compare_limits *limits, enum compare_mode mode)
{
	static const struct compare_ops ops = {rig_release, rig_drop, rig_ask, rig_note};
	static const struct compare_limits usual = {
		.max_held_packets = 1000,
		.max_held_bytes = 1 << 20,
		.max_flows = 64,
		.max_half_open = 16,
		.timeout_us = 1000000,
		.flow_idle_us = 300000000,
		.seed = 42,
	};
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->limits = limits ? *limits : usual;
	r->now = 5000000;
	r->peer = PEER;
	r->peer_port = 40000;
	assert_int_equal(compare_new(&r->c, &r->limits, &r->rules, &r->ring, &ops, r), 0);
	if (mode != COMPARE_PASS) {
		r->epoch = 1;
		compare_close_epoch(r->c, 1, mode, r->now);
		compare_commit(r->c, 1, r->now);
	}
	return r;
}

static inline void rig_free(struct rig *r)
{
	compare_free(r->c);
	free(r);
}

static inline void rig_close(struct rig *r, enum compare_mode next)
{
	compare_close_epoch(r->c, ++r->epoch, next, r->now);
}

static inline void rig_commit(struct rig *r)
{
	compare_commit(r->c, r->epoch, r->now);
}

static inline void rig_primary(struct rig *r, uint32_t id)
{
	struct pkt p = mk_parse(&r->m);

	compare_primary(r->c, 0, id, &p, r->now);
}

/* Bytes that are gone after the call, as the caller's are. */
static inline void rig_secondary(struct rig *r)
{
	struct pkt p = mk_parse(&r->m);

	compare_secondary(r->c, 0, r->epoch, &p, r->now);
	memset(r->m.b, 0xee, r->m.len);
}

static inline void rig_tcp_start(struct rig *r, unsigned flags, uint32_t seq, uint32_t ack)
{
	mk_start(&r->m);
	mk_ip(&r->m, GUEST, r->peer, IPPROTO_TCP);
	mk_tcp(&r->m, 80, r->peer_port, flags, seq, ack);
}

/* A segment of the stream @seed's bytes: the stream begins at sequence number @zero. */
static inline void rig_tcp(struct rig *r, unsigned flags, uint32_t seq, uint32_t ack, uint32_t zero,
			   size_t n)
{
	rig_tcp_start(r, flags, seq, ack);
	mk_fill(&r->m, 1, seq - zero, n);
	mk_end(&r->m);
}

static inline void rig_udp(struct rig *r, const void *data, size_t n)
{
	mk_udp_packet(&r->m, GUEST, 53, r->peer, r->peer_port, data, n);
}

/* One datagram of a guest. */
static inline void p_udp(struct rig *r, uint32_t id, const char *text)
{
	rig_udp(r, text, strlen(text));
	rig_primary(r, id);
}

static inline void s_udp(struct rig *r, const char *text)
{
	rig_udp(r, text, strlen(text));
	rig_secondary(r);
}

/* @n bytes from @off of a datagram. */
static inline void rig_cut(struct rig *r, const struct mk *whole, unsigned off, size_t n)
{
	mk_cut(&r->m, whole, 99, off, n);
}

/* One that is worth cutting; to be freed. */
static inline struct mk *rig_datagram(size_t n)
{
	struct mk *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	mk_start(m);
	mk_ip(m, GUEST, PEER, IPPROTO_UDP);
	mk_udp(m, 53, 40000);
	mk_fill(m, 3, 0, n);
	mk_end(m);
	return m;
}

static inline void rig_inbound(struct rig *r, unsigned flags, uint32_t seq, uint32_t ack)
{
	struct pkt p;

	mk_tcp_packet(&r->m, r->peer, r->peer_port, GUEST, 80, flags, seq, ack, NULL, 0);
	p = mk_parse(&r->m);
	compare_inbound(r->c, 0, &p, r->now);
}

static inline PRINTF_LIKE(3, 4) char *rig_append(char *to, const char *end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	to += vsnprintf(to, (size_t)(end - to), fmt, ap);
	va_end(ap);
	assert_true(to < end);
	return to;
}

/*
 * What happened since the last look, in words: "1" released by match, "1c" by commit, "1b" by
 * bypass, "1s" solo, "1x" dropped, "!payload" checkpoint asked. Notes only with rig_notes().
 */
static inline const char *rig_text(struct rig *r, bool notes)
{
	static char buf[1000];
	static const char *const causes[] = {"", "c", "b", "s"};
	char *at = buf;
	const char *end = buf + sizeof(buf);

	*at = 0;
	for (; r->seen < r->n; r->seen++) {
		const struct rig_event *e = &r->events[r->seen];
		const char *gap = at == buf ? "" : " ";

		if (e->kind == RIG_RELEASE)
			at = rig_append(at, end, "%s%u%s", gap, e->id, causes[e->cause]);
		else if (e->kind == RIG_DROP)
			at = rig_append(at, end, "%s%ux", gap, e->id);
		else if (e->kind == RIG_ASK)
			at = rig_append(at, end, "%s!%s", gap, mismatch_reason_name(e->reason));
		else if (notes && e->note.kind == FLOW_OFFSET)
			at = rig_append(at, end, "%soffset:%d:%d", gap, (int)e->note.seq_offset,
					(int)e->note.ts_offset);
		else if (notes)
			at = rig_append(at, end, "%snote:%u:%u:%u", gap, e->note.released_seq,
					e->note.released_ts, e->note.released_packets);
	}
	return buf;
}

/* Nothing that @want does not name has happened since the last look; notes aside. */
#define rig_saw(r, want)  assert_string_equal(rig_text(r, false), want)
#define rig_told(r, want) assert_string_equal(rig_text(r, true), want)

#endif
