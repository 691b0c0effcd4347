// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two hosts and a model of etcd: every order in which their requests, replies, failures, leases' ends
 * and callers' wishes can happen, to a depth. There are never two hosts that believe themselves alone,
 * a guest that is older than what was heard is never heard, and one that etcd knows to have been ended is not
 * again, unless it is started.
 */
#include "tests/unit/etcd-model.h"

#include <xxhash.h>

/* ---- beginnings ---- */

static void begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now_us = 1000 * USEC_PER_SEC;
	w->session = 7;
	w->alone = NOBODY;
	w->wishes = 3;
	start_core(w, 0);
	start_core(w, 1);
	die(w, 0);
	die(w, 1);
	broken = NULL;
}

/* Both have the whole guest. */
static void begin_shared(struct world *w)
{
	begin(w);
	w->hosts[0].up = w->hosts[1].up = true;
	w->keys.owner_rev = w->revision = 1;
	etcd_owner_shared(w->keys.owner, w->session);
	w->hosts[0].newest = w->hosts[1].newest = true;
	w->hosts[0].session = w->hosts[1].session = w->session;
}

/* All that is awaited happens at once, until nothing is. */
static void calm(struct world *w)
{
	for (bool more = true; more;) {
		more = false;
		for (int i = 0; i < 2; i++)
			for (int k = 0; k < MESSAGES; k++) {
				struct message *m = &w->hosts[i].messages[k];

				if (!m->used || !m->awaited)
					continue;
				more = true;
				if (!m->executed)
					execute(w, names[i], m);
				deliver(w, i, m, false);
			}
	}
}

/* A is heard alone, b has what was shared before. */
static void begin_alone(struct world *w)
{
	begin_shared(w);
	claim(w, 0, (struct arbiter_claim){.primary = true});
	calm(w);
	assert_true(w->hosts[0].believes);
	assert_false(w->hosts[1].newest);
}

/* A has the guest ended for good: etcd knows, b does not. */
static void begin_ended(struct world *w)
{
	begin_shared(w);
	do_wish(w, 0, WISH_END);
	calm(w);
	assert_true(etcd_owner_is_ended(&w->keys));
}

/* A has begun to share: the write is on its way. */
static void begin_sharing(struct world *w)
{
	begin_alone(w);
	do_wish(w, 0, WISH_SHARE);
	for (int k = 0; k < MESSAGES; k++)
		if (w->hosts[0].messages[k].used && w->hosts[0].messages[k].awaited &&
		    w->hosts[0].messages[k].lane == ETCD_LANE_MOVE) {
			execute(w, "a", &w->hosts[0].messages[k]);
			deliver(w, 0, &w->hosts[0].messages[k], false);
			return;
		}
	fail();
}

/* Both ask, and both have been told to write. */
static void begin_race(struct world *w)
{
	begin_shared(w);
	for (int i = 0; i < 2; i++) {
		claim(w, i, (struct arbiter_claim){.primary = i == 0});
		for (int k = 0; k < 2; k++) {
			execute(w, names[i], &w->hosts[i].messages[0]);
			deliver(w, i, &w->hosts[i].messages[0], false);
		}
		assert_int_equal(w->hosts[i].core.step, ETCD_STEP_WRITE);
	}
}

/* A has not been able to renew its lease for so long that it holds its output. */
static void begin_held_back(struct world *w)
{
	begin_alone(w);
	while (w->hosts[0].believes)
		pass_time(w);
	assert_int_equal(w->hosts[0].core.told, ETCD_TOLD_HOLD);
}

static void (*const beginnings[])(struct world *w) = {
	begin, begin_shared, begin_alone, begin_sharing, begin_race, begin_held_back, begin_ended};

/* ---- exhaustively ---- */

#define SEEN_BITS 22

struct seen {
	uint64_t hash;
	unsigned depth; /* that was left */
};

static bool is_known(struct seen *seen, const struct world *w, unsigned depth)
{
	uint64_t hash = XXH3_64bits(w, sizeof(*w));
	struct seen *s = &seen[hash >> (64 - SEEN_BITS)];

	if (s->hash == hash && s->depth >= depth)
		return true;
	*s = (struct seen){hash, depth};
	return false;
}

static uint64_t worlds;

/* The way to a broken world, for whoever must understand it. */
static void explore(struct seen *seen, const struct world *from, unsigned depth)
{
	worlds++;
	for (unsigned n = 0; depth; n++) {
		struct world w = *from;

		if (!happen(&w, n))
			return;
		if (broken) {
			print_message("%u left, event %u: %s; owner=%s live=%s\n", depth, n, broken,
				      w.keys.owner, w.keys.live);
			return;
		}
		if (is_known(seen, &w, depth - 1))
			continue;
		explore(seen, &w, depth - 1);
		if (broken) {
			print_message("%u left, event %u\n", depth, n);
			return;
		}
	}
}

static unsigned depth_wanted(void)
{
	const char *full = getenv("COLOD_TEST_FULL");

	return full && *full ? 10 : 7;
}

static void no_order_of_events_makes_two_hosts_believe_or_an_old_guest_heard(void **state)
{
	struct seen *seen = calloc(1u << SEEN_BITS, sizeof(*seen));

	(void)state;
	assert_non_null(seen);
	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
		struct world w;

		worlds = 0;
		beginnings[i](&w);
		explore(seen, &w, depth_wanted());
		if (broken)
			fail_msg("beginning %zu: %s", i, broken);
		print_message("beginning %zu: %llu worlds\n", i, (unsigned long long)worlds);
	}
	free(seen);
}

/* ---- at random, for long ---- */

static unsigned count_events(const struct world *w)
{
	unsigned n = 0;

	for (;; n++) {
		struct world copy = *w;

		if (!happen(&copy, n))
			return n;
		broken = NULL;
	}
}

/* Fewer messages that fail and less time that passes than all being alike would bring. */
static void random_event(struct world *w, struct rng *rng)
{
	if (rng_below(rng, 3) == 0) {
		unsigned n = count_events(w);

		happen(w, (unsigned)rng_below(rng, n));
		return;
	}
	for (int tries = 0; tries < 8; tries++) {
		int i = (int)rng_below(rng, 2);
		struct message *m = &w->hosts[i].messages[rng_below(rng, MESSAGES)];

		if (!m->used || !m->awaited)
			continue;
		if (!m->executed)
			execute(w, names[i], m);
		else
			deliver(w, i, m, false);
		return;
	}
}

static void long_walks_never_break_a_rule_and_end_in_order(void **state)
{
	struct rng rng = {1};
	unsigned walks = depth_wanted() > 7 ? 20000 : 1500, won = 0;

	(void)state;
	for (unsigned i = 0; i < walks; i++) {
		struct world w;

		beginnings[i % ARRAY_SIZE(beginnings)](&w);
		w.wishes = 1000;
		for (int k = 0; k < 200 && !broken; k++) {
			random_event(&w, &rng);
			won += w.hosts[0].believes || w.hosts[1].believes;
		}
		if (broken)
			fail_msg("walk %u: %s", i, broken);
	}
	assert_true(won > walks);
}

/* What nobody waits for any more arrives after all. */
static void arrive_late(struct world *w)
{
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < MESSAGES; k++) {
			struct message *m = &w->hosts[i].messages[k];

			if (!m->used || m->awaited)
				continue;
			execute(w, names[i], m);
			*m = (struct message){};
		}
}

static void run_well(struct world *w)
{
	for (int k = 0; k < 200; k++) {
		calm(w);
		if (k < 2)
			arrive_late(w);
		for (int l = 0; l < LEASES; l++)
			if (w->leases[l].id && w->now_us >= w->leases[l].ends_us)
				lease_end(w, &w->leases[l]);
		pass_time(w);
	}
}

/* Both have the guest: either can win it. */
static void check_shared(struct world *w, unsigned walk)
{
	char owner[ETCD_VALUE_MAX];

	etcd_owner_shared(owner, w->session);
	if (strcmp(w->keys.owner, owner) != 0 || w->keys.live_rev)
		fail_msg("walk %u: owner=%s live=%s, yet both have the guest", walk, w->keys.owner,
			 w->keys.live);
	do_wish(w, 1, WISH_CLAIM);
	calm(w);
	assert_true(w->hosts[1].believes);
}

/* When all messages pass again, nothing stays unfinished: whoever asks is answered, and what is to be
 * shared is, whatever arrives late. */
/* Whatever came before: a replica that asks is told, and a start wins. */
static void check_ended(struct world *w, unsigned walk)
{
	int b = w->hosts[0].ended ? 1 : 0;

	if (may_wish(w, b, WISH_CLAIM) && w->hosts[b].session == w->session) {
		do_wish(w, b, WISH_CLAIM);
		calm(w);
		if (!w->hosts[b].ended)
			fail_msg("walk %u: host %s is not told of the end, etcd has %s", walk,
				 names[b], w->keys.owner);
	}
	die(w, b);
	do_wish(w, b, WISH_START);
	calm(w);
	assert_true(w->hosts[b].believes);
}

static void what_is_interrupted_anywhere_is_finished_when_etcd_answers_again(void **state)
{
	struct rng rng = {2};
	unsigned shared = 0, ended = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		struct world w;
		bool both;

		beginnings[i % ARRAY_SIZE(beginnings)](&w);
		w.wishes = 1000;
		for (unsigned k = 0; k < i % 60; k++)
			random_event(&w, &rng);
		if (may_wish(&w, 0, WISH_RESUME))
			do_wish(&w, 0, WISH_RESUME);
		assert_null(broken);
		w.wishes = 0;
		run_well(&w);
		assert_null(broken);
		for (int h = 0; h < 2; h++)
			if (w.hosts[h].asks)
				fail_msg("walk %u: host %s is not answered", i, names[h]);
		both = w.alone == NOBODY && w.hosts[0].newest && w.hosts[1].newest;
		if (both)
			check_shared(&w, i);
		shared += both;
		if (etcd_owner_is_ended(&w.keys)) {
			check_ended(&w, i);
			ended++;
		}
	}
	assert_true(shared > 50 && ended > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_order_of_events_makes_two_hosts_believe_or_an_old_guest_heard),
		cmocka_unit_test(long_walks_never_break_a_rule_and_end_in_order),
		cmocka_unit_test(what_is_interrupted_anywhere_is_finished_when_etcd_answers_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
