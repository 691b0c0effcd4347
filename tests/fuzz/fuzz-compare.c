// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: the comparing core, fed with packets, checkpoints and time as the input says. */
#include "base/quantile.h"
#include "proxy/compare.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_IDS    4096
#define TIMEOUT_US 50000

enum fate { UNUSED, WAITS, RELEASED, DROPPED };

struct fuzz {
	struct compare *c;
	struct mismatch_ring ring;
	struct bypass rules;
	uint8_t fate[MAX_IDS];
	unsigned epoch_of[MAX_IDS]; /* number of closes when it came */
	unsigned ids, waiting, closes, asked;
	uint64_t now, epoch;
	bool pending, in_commit, commits_by_rule, deaf;
	enum compare_mode mode;
	const uint8_t *at, *end;
};

static void settle(struct fuzz *f, uint32_t id, enum fate fate)
{
	assert(id < f->ids && f->fate[id] == WAITS);
	f->fate[id] = fate;
	f->waiting--;
}

static void on_release(void *arg, uint8_t nic, uint32_t id, enum release_cause cause)
{
	struct fuzz *f = arg;

	assert(nic == (id & 1));
	settle(f, id, RELEASED);
	if (cause == RELEASE_MATCH)
		assert(f->mode == COMPARE_MATCH && !f->pending);
	if (cause == RELEASE_COMMIT)
		assert(f->in_commit && f->epoch_of[id] < f->closes);
}

static void on_drop(void *arg, uint8_t nic, uint32_t id)
{
	(void)nic;
	settle(arg, id, DROPPED);
}

static void on_checkpoint(void *arg, enum mismatch_reason reason)
{
	struct fuzz *f = arg;

	assert(reason < MISMATCH_REASONS && !f->asked);
	f->asked++;
}

static bool on_note(void *arg, const struct flow_note *n)
{
	assert(n->kind == FLOW_OFFSET || n->kind == FLOW_RELEASED);
	return !((struct fuzz *)arg)->deaf;
}

static uint8_t next(struct fuzz *f)
{
	return f->at < f->end ? *f->at++ : 0;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Few addresses, ports and numbers, so that packets meet; the number's middle byte is not chosen. */
static size_t make_tcp(struct fuzz *f, uint8_t *b)
{
	unsigned n = next(f) % 64, seq = next(f), ack = next(f);

	put16(b, 80);
	put16(b + 2, next(f) % 6);
	memset(b + 4, seq & 0x80 ? 0xff : 0, 4);
	b[7] = (uint8_t)seq;
	b[11] = (uint8_t)(ack % 4);
	b[12] = 5 << 4;
	b[13] = next(f);
	b[19] = next(f) % 64;
	for (unsigned i = 0; i < n; i++)
		b[20 + i] = (uint8_t)(seq + !!(b[13] & TCP_SYN) + i);
	if (next(f) % 16 == 0 && n)
		b[20] ^= 1;
	return 20 + n;
}

static size_t make_datagram(struct fuzz *f, uint8_t *b)
{
	unsigned n = next(f) % 8;

	put16(b, 53);
	put16(b + 2, next(f) % 12);
	put16(b + 4, 8 + n);
	memset(b + 8, next(f) % 2, n);
	return 8 + n;
}

static size_t make_packet(struct fuzz *f, uint8_t *b)
{
	static const uint8_t protos[] = {6, 6, 17, 1, 132};
	uint8_t kind = next(f) % 7;
	size_t n;

	memset(b, 0, 128);
	if (kind == 6) {
		for (n = 0; n < 48; n++)
			b[n] = next(f);
		return n;
	}
	b[0] = 0x45;
	b[8] = 64;
	b[9] = protos[kind % ARRAY_SIZE(protos)];
	memcpy(b + 12, "\x0a\0\0\2\x0a\0\0\x09", 8);
	n = 20 + (b[9] == 6 ? make_tcp(f, b + 20) : make_datagram(f, b + 20));
	if (kind == 5) { /* a fragment */
		b[5] = next(f) % 4;
		put16(b + 6, next(f) % 4 | (next(f) % 2 ? 0x2000 : 0));
	}
	put16(b + 2, (unsigned)n);
	return n;
}

static void from_primary(struct fuzz *f, const struct pkt *p)
{
	if (f->ids == MAX_IDS)
		return;
	f->fate[f->ids] = WAITS;
	f->epoch_of[f->ids] = f->closes;
	f->waiting++;
	f->ids++;
	compare_primary(f->c, (f->ids - 1) & 1, f->ids - 1, p, f->now);
}

static void feed(struct fuzz *f, unsigned who)
{
	uint8_t b[128];
	size_t n = make_packet(f, b), room = n;
	uint8_t *exact = malloc(room);
	struct pkt p;

	assert(exact);
	memcpy(exact, b, n);
	pkt_parse_ip(&p, exact, n, 0);
	if (who == 0)
		from_primary(f, &p);
	else if (who == 1)
		compare_secondary(f->c, next(f) & 1, f->epoch - (next(f) == 7), &p, f->now);
	else
		compare_inbound(f->c, next(f) & 1, &p, f->now);
	free(exact);
}

static void checkpoint(struct fuzz *f, uint8_t how)
{
	if (f->pending && how % 4) {
		f->pending = false; /* what waited may go from here on, after the commit */
		f->in_commit = true;
		compare_commit(f->c, f->epoch, f->now);
		f->in_commit = false;
		return;
	}
	if (!f->pending)
		f->epoch++;
	f->mode = how % 3;
	f->closes++;
	f->asked = 0;
	f->pending = true;
	compare_close_epoch(f->c, f->epoch, f->mode, f->now);
}

/* What is compared does not wait for ever: it is matched, or a checkpoint is asked for. */
static void wait_out(struct fuzz *f)
{
	if (f->mode != COMPARE_MATCH || f->pending || f->commits_by_rule)
		return;
	f->now += TIMEOUT_US;
	compare_tick(f->c, f->now);
	assert(!f->waiting || f->asked);
}

static void end_protection(struct fuzz *f, uint8_t how)
{
	f->mode = COMPARE_PASS;
	f->pending = false;
	f->asked = 0;
	if (how % 2)
		compare_drop_all(f->c);
	compare_pass_all(f->c, f->now);
	assert(!f->waiting);
}

static void suspend(struct fuzz *f)
{
	if (f->mode != COMPARE_PASS) {
		f->mode = COMPARE_HOLD;
		f->asked = 0;
	}
	compare_suspend(f->c);
	assert(compare_awaited(f->c) == (f->pending ? f->epoch : 0));
}

static void step(struct fuzz *f)
{
	uint8_t op = next(f);

	switch (op % 16) {
	case 0:
		checkpoint(f, op / 16);
		break;
	case 1:
		f->now += (uint64_t)next(f) * 1000;
		assert(compare_tick(f->c, f->now) >= f->now);
		break;
	case 2:
		if (op / 16 == 3)
			end_protection(f, next(f));
		else if (op / 16 == 4)
			compare_lost(f->c, "fuzz", f->now);
		else if (op / 16 == 5)
			compare_unseen(f->c);
		else if (op / 16 == 6)
			wait_out(f);
		else if (op / 16 == 7)
			suspend(f);
		else if (op / 16 == 8)
			f->deaf = !f->deaf;
		break;
	case 3:
		feed(f, 2);
		break;
	default:
		feed(f, op & 1);
	}
}

static void check_counts(struct fuzz *f)
{
	struct compare_stats st;
	struct compare_flow flows[8];

	compare_get_stats(f->c, &st);
	assert(st.held_packets == f->waiting);
	assert(st.held_bytes <= 1000 && st.flows <= 8 && st.half_open <= 3);
	assert(compare_list_flows(f->c, flows, 8, f->now) == st.flows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct compare_ops ops = {on_release, on_drop, on_checkpoint, on_note};
	static const struct compare_limits limits = {
		.max_held_packets = 24,
		.max_held_bytes = 1000,
		.max_flows = 8,
		.max_half_open = 3,
		.timeout_us = TIMEOUT_US,
		.flow_idle_us = 400000,
	};
	struct fuzz *f = calloc(1, sizeof(*f));

	assert(f);
	f->at = data;
	f->end = data + size;
	f->now = 1000000;
	bypass_add(&f->rules, "release guest-port 53 peer-port 11", NULL);
	f->commits_by_rule = size % 2;
	if (f->commits_by_rule)
		bypass_add(&f->rules, "commit guest-port 53 peer-port 10", NULL);
	if (compare_new(&f->c, &limits, &f->rules, &f->ring, &ops, f))
		abort();
	while (f->at < f->end) {
		step(f);
		check_counts(f);
	}
	end_protection(f, 0);
	compare_free(f->c);
	free(f);
	return 0;
}
