// SPDX-License-Identifier: GPL-2.0-or-later
/* S1 against an oracle: random streams, cut, lost, sent again, out of order, over checkpoints. */
#include "tests/unit/compare-rig.h"

/* The sanitizers slow a run down some twenty times. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUNS 100
#else
#define RUNS 1000
#endif
#define MAX_PLACES  60000
#define MAX_PACKETS 20000
#define MAX_LOST    8

/*
 * One connection. Its sequence space in places: 0 is the SYN, data from 1 on, the last one the FIN.
 * Both guests send the same places, each in pieces of its own; lost ones never reach the core and
 * are sent again later. What they acknowledge grows at each guest's own pace to the same end.
 */
struct piece {
	uint32_t from, to;
};

struct side {
	uint32_t isn, next, ack;
	struct piece lost[MAX_LOST];
	unsigned nlost;
};

struct packet {
	struct piece piece;
	uint32_t ack;
	bool acks;
};

struct world {
	struct rig *r;
	struct rng rng;
	struct side p, s;
	uint32_t places, last_ack, first;
	bool fin;
	/* the oracle: places and acks that a promoted secondary would know of */
	bool known[MAX_PLACES];
	uint32_t known_ack;
	bool closed; /* waits for the commit */
	enum compare_mode mode;
	bool failed; /* the secondary runs, but what it does counts for nothing */
	struct side at_close;
	struct packet packets[MAX_PACKETS];
	uint32_t count, out, closed_count;
};

static bool chance(struct world *w, unsigned percent)
{
	return rng_below(&w->rng, 100) < percent;
}

static void check_release(struct world *w, const struct rig_event *e)
{
	const struct packet *k = &w->packets[e->id];

	assert_int_equal(e->id, w->out); /* in order, each once */
	w->out++;
	if (e->cause == RELEASE_COMMIT) {
		assert_true(e->id < w->closed_count);
		return;
	}
	assert_int_equal(e->cause, RELEASE_MATCH);
	assert_true(!w->closed && w->mode == COMPARE_MATCH);
	for (uint32_t i = k->piece.from; i < k->piece.to; i++)
		assert_true(w->known[i]);
	if (k->acks)
		assert_true(k->ack <= w->known_ack);
}

static void check(struct world *w)
{
	struct rig *r = w->r;

	for (; r->seen < r->n; r->seen++) {
		const struct rig_event *e = &r->events[r->seen];

		assert_true(e->kind == RIG_RELEASE || e->kind == RIG_NOTE);
		if (e->kind == RIG_RELEASE)
			check_release(w, e);
	}
	r->n = r->seen = 0;
}

static void emit(struct world *w, struct side *side, struct piece k)
{
	bool syn = k.from == 0 && k.to, fin = k.to == w->places && k.to > k.from && w->fin;
	/* The first SYN of a connection that the guest opens has nothing to acknowledge. */
	unsigned flags = (syn ? TCP_SYN : 0) | (fin ? TCP_FIN : 0) | TCP_ACK;
	uint32_t data_from = MAX(k.from, 1), data_to = k.to - fin;

	rig_tcp_start(w->r, flags, side->isn + k.from, side->ack);
	mk_fill(&w->r->m, 1, data_from, data_to > data_from ? data_to - data_from : 0);
	mk_end(&w->r->m);
	if (side == &w->p) {
		assert_true(w->count < MAX_PACKETS);
		w->packets[w->count] = (struct packet){k, side->ack, true};
		rig_primary(w->r, w->count++);
		return;
	}
	if (!w->failed) {
		memset(w->known + k.from, true, k.to - k.from);
		w->known_ack = MAX(w->known_ack, side->ack);
	}
	if (w->failed) {
		struct pkt p = mk_parse(&w->r->m);

		compare_secondary(w->r->c, 0, w->r->epoch - 1, &p, w->r->now);
	} else {
		rig_secondary(w->r);
	}
}

static void send_lost(struct world *w, struct side *side)
{
	while (side->nlost) {
		unsigned i = (unsigned)rng_below(&w->rng, side->nlost);
		struct piece k = side->lost[i];

		side->lost[i] = side->lost[--side->nlost];
		emit(w, side, k);
	}
}

static void send_new(struct world *w, struct side *side)
{
	uint32_t left = w->places - side->next;
	uint32_t n = (uint32_t)rng_below(&w->rng, chance(w, 10) ? 20000 : 2000) + 1;
	struct piece k = {side->next, side->next + (side->next ? MIN(n, left) : 1)};

	if (!left)
		return;
	side->next = k.to;
	/* How a stream begins is to be seen. */
	if (k.from > w->first && side->nlost < MAX_LOST && chance(w, 15))
		side->lost[side->nlost++] = k;
	else
		emit(w, side, k);
}

static void send_again(struct world *w, struct side *side)
{
	uint32_t from, span = side->next - w->first;

	if (!span)
		return;
	from = side->next - 1 - (uint32_t)rng_below(&w->rng, MIN(span, 5000));
	if (from)
		emit(w, side,
		     (struct piece){from,
				    from + 1 + (uint32_t)rng_below(&w->rng, side->next - from)});
	else
		emit(w, side, (struct piece){0, 1});
}

static void side_step(struct world *w, struct side *side)
{
	bool late = side->nlost && side->next - side->lost[0].from > 30000;

	if (chance(w, 40)) {
		uint32_t ack = side->ack + (uint32_t)rng_below(&w->rng, 3000);

		side->ack = MIN(w->last_ack, ack);
	}
	if (!late && (side->next == w->first || chance(w, 60)))
		send_new(w, side);
	else if (!late && chance(w, 30))
		send_again(w, side);
	else if (late || chance(w, 40))
		send_lost(w, side);
	else
		emit(w, side, (struct piece){side->next, side->next});
}

static void commit(struct world *w)
{
	memset(w->known, false, sizeof(w->known));
	memset(w->known, true, w->at_close.next);
	w->known_ack = w->at_close.ack;
	w->s = w->at_close;
	w->closed = w->failed = false;
	rig_commit(w->r);
}

static void checkpoint_step(struct world *w)
{
	if (w->closed && chance(w, 60)) {
		commit(w);
		return;
	}
	if (w->closed) { /* it failed: once more */
		w->r->epoch--;
		w->failed = true;
	}
	w->closed = true;
	w->at_close = w->p;
	w->closed_count = w->count;
	w->mode = chance(w, 20) ? COMPARE_HOLD : COMPARE_MATCH;
	rig_close(w->r, w->mode);
}

static void start(struct world *w, uint64_t seed)
{
	static const struct compare_limits limits = {
		.max_held_packets = 100000,
		.max_held_bytes = 32 << 20,
		.max_flows = 4,
		.max_half_open = 4,
		.timeout_us = UINT32_MAX,
		.flow_idle_us = UINT32_MAX,
	};

	memset(w, 0, sizeof(*w));
	w->rng.state = seed;
	w->r = rig_new(&limits, COMPARE_MATCH);
	w->places = 2 + (uint32_t)rng_below(&w->rng, MAX_PLACES - 2);
	w->fin = chance(w, 70);
	w->mode = COMPARE_MATCH;
	w->p.isn =
		(uint32_t)(chance(w, 50) ? 0 - rng_below(&w->rng, w->places) : rng_next(&w->rng));
	w->first = chance(w, 50);
	w->s.isn = w->first ? w->p.isn : (uint32_t)rng_next(&w->rng);
	w->p.next = w->s.next = w->first;
	w->last_ack = 1 + (uint32_t)rng_below(&w->rng, 50000);
	w->p.ack = w->s.ack = 1;
}

/* The secondary is to run. */
static void protect(struct world *w)
{
	while (w->closed || w->mode != COMPARE_MATCH) {
		checkpoint_step(w);
		check(w);
	}
}

static void run(struct world *w)
{
	unsigned speed = 20 + (unsigned)rng_below(&w->rng, 60);
	unsigned checkpoints = chance(w, 50) ? 2 : 0;

	while (w->p.next < w->places || w->s.next < w->places) {
		bool primary = chance(w, speed);

		if (chance(w, checkpoints))
			checkpoint_step(w);
		else if (primary)
			side_step(w, &w->p);
		else if (w->failed || (!w->closed && w->mode == COMPARE_MATCH))
			side_step(w, &w->s);
		check(w);
		/* Nobody sends for ever without an answer. */
		if (w->count > MAX_PACKETS / 2)
			speed = 5;
		if (w->count > MAX_PACKETS / 2 || w->p.next == w->places)
			protect(w);
	}
}

static void finish(struct world *w)
{
	protect(w);
	while (w->s.next < w->places)
		send_new(w, &w->s);
	send_lost(w, &w->p);
	send_lost(w, &w->s);
	w->s.ack = w->last_ack;
	emit(w, &w->s, (struct piece){w->places, w->places});
	check(w);
}

static void only_what_the_secondary_sent_is_released_and_in_the_end_all(void **state)
{
	struct world *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		struct compare_stats st;

		start(w, seed);
		run(w);
		finish(w);
		if (w->out != w->count)
			fail_msg("seed %u: %u of %u packets released", (unsigned)seed, w->out,
				 w->count);
		compare_get_stats(w->r->c, &st);
		assert_int_equal(st.held_packets, 0);
		assert_int_equal(st.mismatched, 0);
		rig_free(w->r);
	}
	free(w);
}

/* As above, but one byte of the secondary's stream is another: from it on nothing goes by match. */
static void nothing_is_released_from_a_wrong_byte_on(void **state)
{
	struct rng rng = {.state = 7};

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct rig *r = rig_new(NULL, COMPARE_MATCH);
		uint32_t bad = (uint32_t)rng_below(&rng, 20000), p = 0, s = 0, end[2000];
		uint32_t ids = 0;

		while (p < 20000 || s < 20000) {
			uint32_t n = 1 + (uint32_t)rng_below(&rng, 1400);
			bool primary = s >= 20000 || (p < 20000 && rng_below(&rng, 2));
			uint32_t *at = primary ? &p : &s;

			rig_tcp(r, TCP_ACK, 77 + *at, 1, 77, n);
			if (!primary && *at <= bad && bad < *at + n)
				r->m.b[r->m.len - n + (bad - *at)] ^= 0x80;
			*at += n;
			end[ids] = *at;
			if (primary)
				rig_primary(r, ids++);
			else
				rig_secondary(r);
		}
		for (unsigned k = 0; k < r->n; k++)
			if (r->events[k].kind == RIG_RELEASE)
				assert_true(end[r->events[k].id] <= bad);
		assert_int_equal(r->ring.count, 1);
		assert_int_equal(mismatch_get(&r->ring, 0)->offset, bad);
		assert_int_equal(mismatch_get(&r->ring, 0)->reason, MISMATCH_PAYLOAD);
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_the_secondary_sent_is_released_and_in_the_end_all),
		cmocka_unit_test(nothing_is_released_from_a_wrong_byte_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
