// SPDX-License-Identifier: GPL-2.0-or-later
/* A packet connection that breaks, babbles or stalls does not touch the guest (S4). */
#include "tests/unit/proxy-rig.h"

static void say_bytes(struct world *w, const void *bytes, size_t len)
{
	assert_int_equal(send(w->peer, bytes, len, MSG_NOSIGNAL), len);
}

static void say_message(struct world *w, const struct chan_msg *m)
{
	uint8_t head[CHAN_ENCODE_MAX];

	say_bytes(w, head, chan_encode(m, head));
	if (m->payload_len)
		say_bytes(w, m->payload, m->payload_len);
}

/* It was told once, the guest's output waits as before, and can be let go. */
static void expect_lost_and_alive(struct world *w, struct host *h, const char *why)
{
	await(w, h->lost == 1);
	if (!strstr(h->why, why))
		fail_msg("\"%s\" does not say \"%s\"", h->why, why);
	guest_says(w, h, 77);
	await(w, held(h) == 1);
	client_expect_nothing(w, h);
	client_says(w, h, 78);
	guest_expect(w, h, 78);
	order(w, h, PROXY_PASS, 0, false);
	client_expect(w, h, 77);
	assert_int_equal(h->lost, 1);
}

static void a_broken_connection_is_told_once_to_the_primary(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	close_fd(&w->peer);
	expect_lost_and_alive(w, &w->a, "packet connection");
}

static void a_broken_connection_is_told_once_to_the_secondary(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	close_fd(&w->peer);
	await(w, w->b.lost == 1);
	guest_says(w, &w->b, 1);
	order(w, &w->b, PROXY_TAKE_OVER, 0, true);
	client_expect(w, &w->b, 1);
	client_expect_nothing(w, &w->b);
	assert_int_equal(w->b.lost, 1);
}

static void a_peer_that_ends_half_way_through_a_message_is_a_broken_connection(void **state)
{
	struct world *w = *state;
	struct chan_msg m = {.type = CHAN_LOST, .number = 1};
	uint8_t head[CHAN_ENCODE_MAX];

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	chan_encode(&m, head);
	say_bytes(w, head, 10);
	close_fd(&w->peer);
	expect_lost_and_alive(w, &w->a, "packet connection");
}

static void garbage_ends_the_connection_and_nothing_else(void **state)
{
	struct world *w = *state;
	struct rng rng = {.state = 3};
	uint8_t noise[4096];

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	rng_fill(&rng, noise, sizeof(noise));
	say_bytes(w, noise, sizeof(noise));
	expect_lost_and_alive(w, &w->a, "unknown");
}

static void a_nic_that_is_not_there_ends_the_connection_and_nothing_else(void **state)
{
	struct world *w = *state;
	struct chan_msg m = {.type = CHAN_LOST, .nic = PROXY_MAX_NICS - 1, .number = 1};

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	say_message(w, &m);
	expect_lost_and_alive(w, &w->a, "NIC");
}

/* An order that is not carried out at once. */
static void begin_order(struct host *h, enum proxy_op op, uint64_t epoch)
{
	h->call = (struct proxy_call){.op = op, .epoch = epoch, .fd = -1};
	proxy_submit(h->proxy, &h->call);
}

/* The primary's first attempt at it failed, and what it said of that comes late: it is not what may
 * be committed. */
static void marks_of_a_failed_checkpoint_do_not_count_when_it_is_tried_again(void **state)
{
	struct chan_msg m = {.type = CHAN_EPOCH, .number = 1, .mark = 3}, ping;
	struct world *w = *state;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	order(w, &w->b, PROXY_STOPPED, 1, false);
	begin_order(&w->b, PROXY_STOPPED, 1);
	peer_expect(w, &ping, CHAN_PING);
	say_message(w, &m);
	await(w, w->b.marked == 1);
	assert_true(w->b.call.busy);
	ping.flags = CHAN_PING_ANSWER;
	ping.number--;
	say_message(w, &ping); /* of another question */
	say_message(w, &m);
	ping.number++;
	say_message(w, &ping);
	await(w, !w->b.call.busy);
	await(w, w->b.marked == 0);
	say_message(w, &m);
	await(w, w->b.marked == 1);
	order(w, &w->b, PROXY_STOPPED, 2, false); /* another checkpoint, nothing to wait for */
	assert_int_equal(w->b.lost, 0);
}

static void a_connection_that_breaks_keeps_no_order_waiting(void **state)
{
	struct world *w = *state;
	struct chan_msg ping;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	order(w, &w->b, PROXY_STOPPED, 1, false);
	begin_order(&w->b, PROXY_STOPPED, 1);
	peer_expect(w, &ping, CHAN_PING);
	assert_true(w->b.call.busy);
	close_fd(&w->peer);
	await(w, !w->b.call.busy);
	order(w, &w->b, PROXY_STOPPED, 1, false); /* and nobody to ask */
}

static struct chan_msg random_message(struct rng *rng, uint8_t *payload)
{
	struct chan_msg m = {.type = (enum chan_type)(1 + rng_below(rng, CHAN_TYPES - 1)),
			     .number = rng_below(rng, 4) ? 1 + rng_below(rng, 5) : rng_next(rng),
			     .mark = rng_below(rng, 4) ? rng_below(rng, 5) : rng_next(rng)};

	if (!m.number)
		m.number = 1;
	rng_fill(rng, m.note.key.guest.b, 32);
	rng_fill(rng, m.rewrite.key.guest.b, 32);
	m.note.key.proto = m.rewrite.key.proto = IPPROTO_TCP;
	m.note.kind = rng_below(rng, 2) ? FLOW_OFFSET : FLOW_RELEASED;
	m.note.released_packets = (uint32_t)rng_next(rng);
	rng_fill(rng, m.address.b, 16);
	if (m.type != CHAN_FRAME_IN && m.type != CHAN_FRAME_OUT)
		return m;
	m.payload_len = (uint32_t)(CHAN_MIN_PAYLOAD + rng_below(rng, 1500));
	rng_fill(rng, payload, m.payload_len);
	if (rng_below(rng, 2))
		mk_put16(payload + VNET_BYTES + 12, ETHERTYPE_IPV4);
	m.payload = payload;
	return m;
}

static void babble(struct world *w, uint64_t seed)
{
	struct rng rng = {.state = seed};
	struct chan_msg ping = {.type = CHAN_PING, .number = 4711}, m;
	uint8_t payload[4096];

	for (int i = 0; i < 500; i++) {
		do
			m = random_message(&rng, payload);
		while (m.type == CHAN_PING);
		say_message(w, &m);
	}
	say_message(w, &ping);
	peer_expect(w, &m, CHAN_PING);
	assert_int_equal(m.number, 4711);
	assert_int_equal(m.flags, CHAN_PING_ANSWER);
}

static void senseless_messages_release_nothing_of_the_primary(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	babble(w, 1);
	assert_int_equal(held(&w->a), 1);
	client_expect_nothing(w, &w->a);
	assert_false(guest_take(w, &w->a));
	close_now(w, &w->a, 2, true);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	client_expect(w, &w->a, 1);
	assert_int_equal(w->a.lost, 0);
}

static void senseless_messages_do_not_stop_the_secondary(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	order(w, &w->b, PROXY_LOADED, 0, true);
	babble(w, 2);
	order(w, &w->b, PROXY_STOPPED, 0, false);
	order(w, &w->b, PROXY_COMMITTED, 1, false);
	order(w, &w->b, PROXY_LOADED, 1, true);
	babble(w, 3);
	client_expect_nothing(w, &w->b);
	order(w, &w->b, PROXY_TAKE_OVER, 1, true);
	guest_says(w, &w->b, 1);
	client_next(w, &w->b);
	while (w->seen.number != 1)
		client_next(w, &w->b);
	assert_int_equal(w->b.lost, 0);
}

/* More than the proxy and the kernel keep for a peer. */
#define FLOOD_FRAMES 330
#define FLOOD_BYTES  55000

static void flood(struct world *w, struct host *h)
{
	for (uint32_t i = 1; i <= FLOOD_FRAMES; i++) {
		datagram(w, true, i, FLOOD_BYTES);
		send_frame(h, &w->m);
		guest_expect(w, h, i);
	}
	await(w, status(h).mirrored == FLOOD_FRAMES);
}

static void a_peer_that_does_not_read_does_not_stop_the_primary(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, false);
	flood(w, &w->a);
	assert_true(status(&w->a).mirror_lost > 0);
	guest_says(w, &w->a, 1);
	await(w, held(&w->a) == 1);
	close_now(w, &w->a, 2, false);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	client_expect(w, &w->a, 1);
	assert_int_equal(w->a.lost, 0);
}

static void a_peer_that_reads_again_gets_whole_messages(void **state)
{
	struct world *w = *state;
	struct chan_msg m = {.type = CHAN_PING, .number = 1};
	uint64_t last = 0;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, false);
	flood(w, &w->a);
	for (unsigned frames = 0; frames + status(&w->a).mirror_lost < FLOOD_FRAMES; frames++) {
		peer_expect(w, &m, CHAN_FRAME_IN);
		assert_true(m.number > last);
		last = m.number;
		assert_int_equal(m.payload_len, VNET_BYTES + 14 + 28 + 4 + FLOOD_BYTES);
	}
	client_says(w, &w->a, FLOOD_FRAMES + 1);
	peer_expect(w, &m, CHAN_FRAME_IN);
	assert_int_equal(m.number, FLOOD_FRAMES + 1);
}

/* To the last byte: what is left has no room for the smallest frame. */
static void fill_up(struct world *w, struct host *h)
{
	uint64_t lost, number = 1000;

	flood(w, h);
	lost = status(h).mirror_lost;
	while (status(h).mirror_lost < lost + 10) {
		client_says(w, h, (uint32_t)++number);
		guest_expect(w, h, (uint32_t)number);
	}
}

static void what_belongs_to_a_checkpoint_finds_room_where_frames_find_none(void **state)
{
	struct world *w = *state;
	struct chan_msg m;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, false);
	fill_up(w, &w->a);
	for (uint64_t epoch = 2; epoch <= 20; epoch++) {
		close_now(w, &w->a, epoch, false);
		order(w, &w->a, PROXY_COMMIT, epoch, false);
	}
	for (uint64_t epoch = 1; epoch <= 20; epoch++) {
		peer_expect(w, &m, CHAN_EPOCH);
		assert_int_equal(m.number, epoch);
	}
	assert_int_equal(w->a.lost, 0);
}

static void a_peer_that_asks_and_never_listens_is_a_broken_connection(void **state)
{
	struct world *w = *state;
	struct chan_msg ping = {.type = CHAN_PING, .number = 1};
	uint8_t head[CHAN_ENCODE_MAX];
	size_t n = chan_encode(&ping, head);

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	for (size_t sent = 0; sent < 32 * MIB; sent += n)
		if (send(w->peer, head, n, MSG_NOSIGNAL) < 0)
			break;
	expect_lost_and_alive(w, &w->a, "does not read");
}

static void a_secondary_whose_primary_does_not_read_goes_on(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->b, PROXY_ATTACH_SECONDARY);
	order(w, &w->b, PROXY_LOADED, 0, true);
	for (uint32_t i = 1; i <= FLOOD_FRAMES; i++) {
		datagram(w, false, i, FLOOD_BYTES);
		write_frame(w->b.tap, &w->m);
	}
	await(w, status(&w->b).nics[0].frames_out == FLOOD_FRAMES);
	assert_true(status(&w->b).mirror_lost > 0);
	order(w, &w->b, PROXY_TAKE_OVER, 0, true);
	guest_says(w, &w->b, FLOOD_FRAMES + 1);
	do
		client_next(w, &w->b);
	while (w->seen.number != FLOOD_FRAMES + 1);
	assert_int_equal(w->b.lost, 0);
}

static void a_new_connection_replaces_one_that_broke(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_fd(&w->peer);
	await(w, w->a.lost == 1);
	attach(w, &w->a, &w->b);
	checkpoint(w, &w->a, &w->b, 1, true);
	guest_says(w, &w->a, 1);
	guest_says(w, &w->b, 1);
	client_expect(w, &w->a, 1);
	assert_int_equal(w->a.lost, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(a_broken_connection_is_told_once_to_the_primary),
		PROXY_TEST(a_broken_connection_is_told_once_to_the_secondary),
		PROXY_TEST(a_peer_that_ends_half_way_through_a_message_is_a_broken_connection),
		PROXY_TEST(garbage_ends_the_connection_and_nothing_else),
		PROXY_TEST(a_nic_that_is_not_there_ends_the_connection_and_nothing_else),
		PROXY_TEST(marks_of_a_failed_checkpoint_do_not_count_when_it_is_tried_again),
		PROXY_TEST(a_connection_that_breaks_keeps_no_order_waiting),
		PROXY_TEST(senseless_messages_release_nothing_of_the_primary),
		PROXY_TEST(senseless_messages_do_not_stop_the_secondary),
		PROXY_TEST(a_peer_that_does_not_read_does_not_stop_the_primary),
		PROXY_TEST(a_peer_that_reads_again_gets_whole_messages),
		PROXY_TEST(what_belongs_to_a_checkpoint_finds_room_where_frames_find_none),
		PROXY_TEST(a_peer_that_asks_and_never_listens_is_a_broken_connection),
		PROXY_TEST(a_secondary_whose_primary_does_not_read_goes_on),
		PROXY_TEST(a_new_connection_replaces_one_that_broke),
	};

	return run_as_root(tests);
}
