// SPDX-License-Identifier: GPL-2.0-or-later
/* Output that rules let out uncompared, at both hosts. */
#include "tests/unit/proxy-rig.h"

static int world_with_a_rule(void **state)
{
	int r;

	rule_to_have = "release proto udp guest-port 53";
	r = world_up(state);
	rule_to_have = NULL;
	return r;
}

/* From a port that the rule does not name. */
static void guest_says_elsewhere(struct world *w, struct host *h, uint32_t number)
{
	start_frame(w, false, IPPROTO_UDP);
	mk_udp(&w->m, 54, 4000);
	add_number(w, number);
	mk_end(&w->m);
	write_frame(h->tap, &w->m);
}

static void what_a_rule_lets_out_does_not_wait(void **state)
{
	struct world *w = *state;

	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says_elsewhere(w, &w->a, 1);
	guest_says(w, &w->a, 2);
	client_expect(w, &w->a, 2);
	client_expect_nothing(w, &w->a);
}

static void what_a_rule_lets_out_is_not_said_again_at_a_take_over(void **state)
{
	struct world *w = *state;
	struct chan_msg m;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	guest_says(w, &w->b, 1);
	guest_says_elsewhere(w, &w->b, 2);
	peer_expect(w, &m, CHAN_FRAME_OUT);
	assert_int_equal(m.payload[m.payload_len - 1], 2);
	close_fd(&w->peer);
	order(w, &w->b, PROXY_TAKE_OVER, 0, false);
	client_expect(w, &w->b, 2);
	client_expect_nothing(w, &w->b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_rule_lets_out_does_not_wait,
						world_with_a_rule, world_down),
		cmocka_unit_test_setup_teardown(
			what_a_rule_lets_out_is_not_said_again_at_a_take_over, world_with_a_rule,
			world_down),
	};

	return run_as_root(tests);
}
