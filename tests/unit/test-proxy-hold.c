// SPDX-License-Identifier: GPL-2.0-or-later
/* A primary whose peer may have taken over: nothing of its guest is heard until that is settled. */
#include "tests/unit/proxy-rig.h"

static void guest_says_arp(struct world *w, struct host *h)
{
	mk_start(&w->m);
	mk_eth(&w->m, mk_mac_all, mk_mac_guest);
	mk_arp(&w->m, 1, mk_mac_guest, GUEST, mk_mac_all, CLIENT);
	write_frame(h->tap, &w->m);
}

/* The link broke, and solo = forbid. */
static void lose_the_peer(struct world *w, struct host *h)
{
	order(w, h, PROXY_DETACH, 0, false);
	order(w, h, PROXY_HOLD, 0, false);
}

/* A session begins after checkpoint @epoch, without a word in between. */
static void meet_again(struct world *w, struct host *p, struct host *s, uint64_t epoch)
{
	struct proxy_call c = {.op = PROXY_ATTACH_PRIMARY, .epoch = epoch};
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	c.fd = fd[0];
	carry_out(w, p, c);
	c.op = PROXY_ATTACH_SECONDARY;
	c.fd = fd[1];
	carry_out(w, s, c);
}

/* One packet waits, and the peer is lost. */
static void wait_on_hold(struct world *w)
{
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	lose_the_peer(w, &w->a);
	client_expect_nothing(w, &w->a);
}

static void on_hold_not_even_arp_is_heard(void **state)
{
	struct world *w = *state;
	unsigned announced;

	wait_on_hold(w);
	announced = w->a.announced;
	guest_says_arp(w, &w->a);
	guest_says(w, &w->a, 2);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->a.announced, announced);
	assert_false(status(&w->a).nics[0].joined);
	assert_int_equal(w->a.lost + w->a.notes, 0);
}

static void what_waited_on_hold_leaves_with_the_next_commit(void **state)
{
	struct world *w = *state;
	unsigned announced;

	wait_on_hold(w);
	announced = w->a.announced;
	meet_again(w, &w->a, &w->b, 1);
	client_expect_nothing(w, &w->a);
	assert_true(status(&w->a).nics[0].joined);
	assert_true(w->a.announced > announced); /* switches have forgotten the guest */
	guest_says(w, &w->a, 2);
	await(w, held(&w->a) == 2);
	client_expect_nothing(w, &w->a);
	checkpoint(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
	guest_says(w, &w->a, 3);
	guest_says(w, &w->b, 3);
	client_expect(w, &w->a, 3);
	assert_int_equal(w->a.lost, 0);
}

static void what_waited_on_hold_leaves_when_the_peer_is_known_dead(void **state)
{
	struct world *w = *state;

	wait_on_hold(w);
	order(w, &w->a, PROXY_PASS, 0, false);
	client_expect(w, &w->a, 1);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->a, 2);
}

static void a_guest_that_was_to_go_and_stayed_is_heard_in_the_next_session(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	checkpoint(w, &w->a, &w->b, 2, false);
	order(w, &w->a, PROXY_SILENCE, 0, false);
	lose_the_peer(w, &w->a);
	assert_false(status(&w->a).nics[0].joined);
	meet_again(w, &w->a, &w->b, 2);
	assert_true(status(&w->a).nics[0].joined);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	client_expect_nothing(w, &w->a);
	checkpoint(w, &w->a, &w->b, 3, true);
	client_expect(w, &w->a, 1);
	client_says(w, &w->a, 2);
	guest_expect(w, &w->a, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(on_hold_not_even_arp_is_heard),
		PROXY_TEST(what_waited_on_hold_leaves_with_the_next_commit),
		PROXY_TEST(what_waited_on_hold_leaves_when_the_peer_is_known_dead),
		PROXY_TEST(a_guest_that_was_to_go_and_stayed_is_heard_in_the_next_session),
	};

	return run_as_root(tests);
}
