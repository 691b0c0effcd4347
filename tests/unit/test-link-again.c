// SPDX-License-Identifier: GPL-2.0-or-later
/* A peer that calls again: what its call is worth before it is through, second thoughts, calling later. */
#include "tests/unit/link-rig.h"

#define SESSION    99
#define PATIENT_MS 20000

struct rig {
	struct loop *loop;
	struct end b; /* is called, by plain sockets */
	uint16_t port, peer_port;
	int control, bulk, listen;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e;

	assert_ok(loop_new(&r->loop, &e), &e);
	r->control = r->bulk = -1;
	r->port = free_port();
	r->listen = raw_listen(&r->peer_port);
	end_init(&r->b, "b", r->port, r->peer_port, PATIENT_MS);
	end_open(&r->b, r->loop);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	end_free(&r->b);
	close_fd(&r->control);
	close_fd(&r->bulk);
	close_fd(&r->listen);
	loop_free(r->loop);
	free(r);
	return 0;
}

static void hang_up(struct rig *r)
{
	close_fd(&r->control);
	close_fd(&r->bulk);
}

static void half_dial(struct rig *r)
{
	r->control = raw_connect(r->port);
	raw_hello(r->control, WIRE_HELLO, WIRE_CHANNEL_CONTROL, SESSION);
	assert_int_equal(raw_receive(r->loop, r->control).type, WIRE_WELCOME);
}

static enum wire_type dial_rest(struct rig *r)
{
	r->bulk = raw_connect(r->port);
	raw_hello(r->bulk, WIRE_HELLO, WIRE_CHANNEL_BULK, SESSION);
	return raw_receive(r->loop, r->bulk).type;
}

static void come_up(struct rig *r)
{
	int up = r->b.up;

	half_dial(r);
	assert_int_equal(dial_rest(r), WIRE_WELCOME);
	turn_until(r->loop, r->b.up == up + 1);
}

static void on_later(void *arg)
{
	*(bool *)arg = true;
}

static void pass_time(struct rig *r, uint64_t ms)
{
	struct loop_src *timer;
	bool later = false;

	assert_int_equal(loop_add_timer(r->loop, &timer, on_later, &later), 0);
	loop_timer_arm(timer, ms * USEC_PER_MSEC);
	turn_until(r->loop, later);
	loop_src_free(&timer);
}

/* A replica that goes live now would do so beside its living primary. */
static void a_call_that_is_not_through_yet_is_a_sign_of_life(void **state)
{
	struct rig *r = *state;
	uint64_t called;

	come_up(r);
	hang_up(r);
	turn_until(r->loop, r->b.lost);
	r->b.config.peer_timeout_ms = 2000;
	link_await_silence(r->b.link);
	pass_time(r, 300);
	half_dial(r);
	called = link_last_heard_us(r->b.link);
	turn_until(r->loop, r->b.silent);
	assert_true(clock_now_us() - called >= 2000 * USEC_PER_MSEC);
	assert_int_equal(r->b.silent, 1);
}

/* Between a caller's connections the called host may have gone live. */
static void who_may_call_is_asked_again_at_the_last_connection(void **state)
{
	struct rig *r = *state;

	half_dial(r);
	r->b.refuse = "busy in state failover";
	assert_int_equal(dial_rest(r), WIRE_REJECT);
	assert_non_null(strstr(r->b.note, "busy in state failover"));
	assert_int_equal(r->b.up, 0);
	turn_and_poll_until(r->loop, raw_ended(r->control));
	assert_int_equal(link_state(r->b.link), LINK_DOWN);
	hang_up(r);
	r->b.refuse = NULL;
	come_up(r);
}

static void poll_until(struct rig *r, const int *count, int n)
{
	uint64_t give_up = clock_now_us() + GIVE_UP_US;

	while (*count < n) {
		link_poll(r->b.link);
		assert_true(clock_now_us() < give_up);
	}
	assert_int_equal(*count, n);
}

/* The other connections may end first, and what was said last decides who goes on. */
static void last_words_that_wait_are_heard_on_request(void **state)
{
	struct rig *r = *state;
	struct wire_msg m = {.type = WIRE_GONE, .text = "QEMU ended"};

	come_up(r);
	raw_send(r->control, &m);
	poll_until(r, &r->b.messages, 1);
	assert_int_equal(r->b.last.type, WIRE_GONE);
	hang_up(r);
	poll_until(r, &r->b.lost, 1);
	link_poll(r->b.link);
	assert_int_equal(r->b.lost, 1);
}

static void dialing_later_leaves_a_pause_and_dials(void **state)
{
	struct rig *r = *state;
	uint64_t from = clock_now_us();

	link_dial_later(r->b.link);
	assert_int_equal(link_state(r->b.link), LINK_CONNECTING);
	turn_and_poll_until(r->loop, raw_readable(r->listen));
	assert_true(clock_now_us() - from >= USEC_PER_SEC);
	link_down(r->b.link);
	assert_int_equal(link_state(r->b.link), LINK_DOWN);
	link_dial_later(r->b.link);
	link_down(r->b.link);
	assert_int_equal(link_state(r->b.link), LINK_DOWN);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_call_that_is_not_through_yet_is_a_sign_of_life),
		test(who_may_call_is_asked_again_at_the_last_connection),
		test(last_words_that_wait_are_heard_on_request),
		test(dialing_later_leaves_a_pause_and_dials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
