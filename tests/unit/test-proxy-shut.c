// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest that is shut off while somebody else may take over: nothing is heard, nothing held is lost. */
#include "tests/unit/proxy-link.h"

static void guest_says_arp(struct world *w, struct host *h)
{
	mk_start(&w->m);
	mk_eth(&w->m, mk_mac_all, mk_mac_guest);
	mk_arp(&w->m, 1, mk_mac_guest, GUEST, mk_mac_all, CLIENT);
	write_frame(h->tap, &w->m);
}

static void begin_and_shut(struct world *w)
{
	begin(w, true);
	hold_one(w, 1);
	close_epoch(w, &w->a, &w->b, 2, true);
	cut(w);
	hold_one(w, 2);
	order(w, &w->a, PROXY_SHUT, 0, false);
}

static void not_even_arp_is_heard_of_a_guest_that_is_shut(void **state)
{
	struct world *w = *state;
	unsigned announced;

	begin(w, true);
	cut(w);
	client_take(w, &w->a);
	announced = w->a.announced;
	guest_says_arp(w, &w->a);
	await(w, (client_take(w, &w->a), w->a.announced > announced));
	order(w, &w->a, PROXY_SHUT, 0, false);
	client_expect_nothing(w, &w->a);
	announced = w->a.announced;
	guest_says_arp(w, &w->a);
	guest_says(w, &w->a, 2);
	client_expect_nothing(w, &w->a);
	assert_int_equal(w->a.announced, announced);
	assert_false(status(&w->a).nics[0].joined);
	assert_string_equal(status(&w->a).side, "primary");
	assert_int_equal(w->a.lost + w->a.notes, 0);
}

static void a_guest_that_was_shut_goes_on_in_its_epochs_when_the_link_is_back(void **state)
{
	struct world *w = *state;
	unsigned announced;

	begin_and_shut(w);
	hold_one(w, 3);
	client_take(w, &w->a);
	announced = w->a.announced;
	resume(w);
	assert_false(status(&w->a).nics[0].joined);
	order(w, &w->a, PROXY_UNSHUT, 0, false);
	client_expect_nothing(w, &w->a);
	assert_true(w->a.announced > announced); /* switches have forgotten the guest */
	assert_true(status(&w->a).nics[0].joined);
	commit_epoch(w, &w->a, &w->b, 2, true);
	client_expect(w, &w->a, 1);
	client_expect_nothing(w, &w->a);
	checkpoint(w, &w->a, &w->b, 3, true);
	client_expect(w, &w->a, 2);
	client_expect(w, &w->a, 3);
	assert_matches_again(w, 4);
}

static void a_guest_that_was_shut_is_heard_when_it_is_the_only_one(void **state)
{
	struct world *w = *state;

	begin_and_shut(w);
	order(w, &w->a, PROXY_PASS, 0, false);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
	guest_says(w, &w->a, 3);
	client_expect(w, &w->a, 3);
	assert_true(status(&w->a).nics[0].joined);
	assert_true(w->a.announced);
	client_says(w, &w->a, 4);
	guest_expect(w, &w->a, 4);
}

static void what_is_committed_of_a_guest_that_is_shut_leaves_when_it_is_heard(void **state)
{
	struct world *w = *state;

	begin_and_shut(w);
	begin_anew(w);
	assert_false(status(&w->a).nics[0].joined);
	checkpoint(w, &w->a, &w->b, 2, true);
	client_expect_nothing(w, &w->a);
	assert_int_equal(held(&w->a), 2);
	order(w, &w->a, PROXY_UNSHUT, 0, false);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
	assert_true(status(&w->a).nics[0].joined);
	assert_matches_again(w, 3);
}

static void a_guest_that_is_to_speak_does_until_its_peer_may_hold_something(void **state)
{
	struct world *w = *state;

	begin_and_shut(w);
	begin_anew(w);
	order(w, &w->a, PROXY_SPEAK, 0, false);
	client_expect(w, &w->a, 1);
	client_expect(w, &w->a, 2);
	guest_says(w, &w->a, 3);
	client_expect(w, &w->a, 3);
	client_says(w, &w->a, 10); /* the session goes on */
	guest_expect(w, &w->a, 10);
	await(w, status(&w->a).mirrored == 1);
	order(w, &w->a, PROXY_SHUT, 0, false);
	close_epoch(w, &w->a, &w->b, 2, true);
	order(w, &w->a, PROXY_SPEAK, 0, false);
	hold_one(w, 4);
	client_expect_nothing(w, &w->a);
	commit_epoch(w, &w->a, &w->b, 2, true);
	guest_says(w, &w->b, 4);
	client_expect(w, &w->a, 4);
	assert_matches_again(w, 5);
}

static void a_guest_that_was_to_go_and_stayed_is_heard_in_the_next_session(void **state)
{
	struct world *w = *state;

	begin(w, true);
	checkpoint(w, &w->a, &w->b, 2, false);
	order(w, &w->a, PROXY_SILENCE, 0, false);
	cut(w);
	assert_false(status(&w->a).nics[0].joined);
	begin_anew(w);
	assert_true(status(&w->a).nics[0].joined);
	checkpoint(w, &w->a, &w->b, 3, true);
	assert_matches_again(w, 1);
}

/* The other one has won. */
static void nothing_that_was_held_is_heard_of_a_guest_that_gives_way(void **state)
{
	struct world *w = *state;
	int fd[2];

	begin_and_shut(w);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	carry_out(w, &w->b,
		  (struct proxy_call){.op = PROXY_ATTACH_PRIMARY, .epoch = 1, .fd = fd[0]});
	carry_out(w, &w->a,
		  (struct proxy_call){.op = PROXY_ATTACH_SECONDARY, .epoch = 1, .fd = fd[1]});
	assert_int_equal(held(&w->a), 0);
	checkpoint(w, &w->b, &w->a, 2, true);
	guest_says(w, &w->b, 3);
	guest_says(w, &w->a, 3);
	client_expect(w, &w->b, 3);
	client_expect_nothing(w, &w->a);
	cut_between(w, &w->b, &w->a);
	order(w, &w->a, PROXY_TAKE_OVER, 2, true);
	assert_true(status(&w->a).nics[0].joined);
	guest_says(w, &w->a, 4);
	client_expect(w, &w->a, 4);
}

static void a_guest_that_is_heard_alone_can_be_shut_and_heard_again(void **state)
{
	struct world *w = *state;

	order(w, &w->a, PROXY_PASS, 0, false);
	order(w, &w->a, PROXY_SHUT, 0, false);
	guest_says(w, &w->a, 1);
	client_expect_nothing(w, &w->a);
	order(w, &w->a, PROXY_PASS, 0, false);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->a, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(not_even_arp_is_heard_of_a_guest_that_is_shut),
		PROXY_TEST(a_guest_that_was_shut_goes_on_in_its_epochs_when_the_link_is_back),
		PROXY_TEST(a_guest_that_was_shut_is_heard_when_it_is_the_only_one),
		PROXY_TEST(what_is_committed_of_a_guest_that_is_shut_leaves_when_it_is_heard),
		PROXY_TEST(a_guest_that_is_to_speak_does_until_its_peer_may_hold_something),
		PROXY_TEST(a_guest_that_was_to_go_and_stayed_is_heard_in_the_next_session),
		PROXY_TEST(nothing_that_was_held_is_heard_of_a_guest_that_gives_way),
		PROXY_TEST(a_guest_that_is_heard_alone_can_be_shut_and_heard_again),
	};

	return run_as_root(tests);
}
