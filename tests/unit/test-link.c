// SPDX-License-Identifier: GPL-2.0-or-later
/* Two links over the loop-back interface: handshake, messages, loss, silence, refusals. */
#include "tests/unit/link-rig.h"

#include <pthread.h>

/* Long enough that no busy machine makes a live peer silent. */
#define PATIENT_MS 20000

struct pair {
	struct loop *loop;
	struct end a, b; /* a dials, b is called */
};

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	uint16_t a = free_port(), b = free_port();
	struct err e;

	assert_ok(loop_new(&p->loop, &e), &e);
	end_init(&p->a, "a", a, b, PATIENT_MS);
	end_init(&p->b, "b", b, a, PATIENT_MS);
	end_open(&p->b, p->loop);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	end_free(&p->a);
	end_free(&p->b);
	loop_free(p->loop);
	free(p);
	return 0;
}

static void come_up(struct pair *p)
{
	if (!p->a.link)
		end_open(&p->a, p->loop);
	link_dial(p->a.link);
	turn_until(p->loop, link_state(p->a.link) == LINK_UP && link_state(p->b.link) == LINK_UP);
}

static void assert_bulk_carries(int from, int to)
{
	char buf[6] = {};

	assert_true(from >= 0 && to >= 0);
	assert_false(fcntl(from, F_GETFL) & O_NONBLOCK);
	assert_int_equal(io_write_full(from, "bulk!", 6), 0);
	assert_int_equal(io_read_full(to, buf, 6), 0);
	assert_string_equal(buf, "bulk!");
}

/* ---- coming up ---- */

static void a_dialed_link_is_up_on_both_sides(void **state)
{
	struct pair *p = *state;

	end_open(&p->a, p->loop);
	assert_int_equal(link_state(p->a.link), LINK_DOWN);
	assert_int_equal(link_last_heard_us(p->a.link), 0);
	link_dial(p->a.link);
	assert_int_equal(link_state(p->a.link), LINK_CONNECTING);
	come_up(p);
	assert_int_equal(p->a.up, 1);
	assert_int_equal(p->b.up, 1);
	assert_string_equal(p->a.peer.name, "b");
	assert_string_equal(p->b.peer.name, "a");
	assert_int_equal(p->a.peer.epoch, 42);
	assert_int_equal(p->b.peer.epoch, 42);
	assert_int_equal(p->a.peer.session, p->b.peer.session);
	assert_true(link_last_heard_us(p->a.link) > 0);
	assert_non_null(strstr(link_peer_address(p->a.link), p->a.config.peer.port));
	assert_non_null(strstr(link_peer_address(p->b.link), "127."));
	assert_int_equal(p->a.notes + p->b.notes, 0);
}

static void the_bulk_connection_carries_bytes_both_ways(void **state)
{
	struct pair *p = *state;

	come_up(p);
	assert_bulk_carries(p->a.bulk_fd, p->b.bulk_fd);
	assert_bulk_carries(p->b.bulk_fd, p->a.bulk_fd);
}

static void messages_arrive_in_order_both_ways(void **state)
{
	struct pair *p = *state;
	struct wire_msg m = {.type = WIRE_NEW};

	come_up(p);
	for (m.epoch = 0; m.epoch < 500; m.epoch++) {
		assert_int_equal(link_send(p->a.link, &m), 0);
		assert_int_equal(link_send(p->b.link, &m), 0);
	}
	turn_until(p->loop, p->a.messages == 500 && p->b.messages == 500);
	assert_int_equal(p->a.order, 500);
	assert_int_equal(p->b.order, 500);
	assert_int_equal(p->a.last.type, WIRE_NEW);
}

/* Each attempt draws a session of its own, so that connections of two attempts are never mixed. */
static void a_peer_that_comes_later_is_found(void **state)
{
	struct pair *p = *state;

	end_free(&p->b);
	end_open(&p->a, p->loop);
	link_dial(p->a.link);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_step(p->loop, GIVE_UP_US), 1);
	assert_int_equal(link_state(p->a.link), LINK_CONNECTING);
	assert_int_equal(p->a.notes, 0);
	end_open(&p->b, p->loop);
	come_up(p);
}

static void a_link_that_was_taken_down_can_be_dialed_again(void **state)
{
	struct pair *p = *state;
	uint64_t session = 0;

	for (int i = 1; i <= 5; i++) {
		come_up(p);
		assert_int_equal(p->a.up, i);
		assert_true(p->a.peer.session != session);
		session = p->a.peer.session;
		link_down(p->a.link);
		turn_until(p->loop, p->b.lost == i);
	}
	assert_int_equal(p->a.lost, 0);
}

static void taking_down_ends_dialing(void **state)
{
	struct pair *p = *state;

	unsigned before;

	end_open(&p->a, p->loop);
	before = open_descriptors();
	link_dial(p->a.link);
	assert_true(open_descriptors() > before);
	link_down(p->a.link);
	assert_int_equal(open_descriptors(), before);
	while (loop_step(p->loop, 0) > 0)
		;
	assert_int_equal(link_state(p->a.link), LINK_DOWN);
	assert_int_equal(p->a.up + p->b.up + p->a.notes, 0);
}

/* ---- refusals ---- */

static void a_refusals_reason_reaches_the_caller(void **state)
{
	struct pair *p = *state;

	p->b.refuse = "the RAM size differs";
	end_open(&p->a, p->loop);
	link_dial(p->a.link);
	turn_until(p->loop, p->a.notes);
	assert_non_null(strstr(p->a.note, "it refuses us: the RAM size differs"));
	assert_non_null(strstr(p->b.note, "the RAM size differs"));
	assert_int_equal(link_state(p->a.link), LINK_CONNECTING);
	assert_int_equal(p->a.up + p->b.up, 0);
	p->b.refuse = NULL;
	link_down(p->a.link);
	come_up(p);
}

static void a_second_peer_is_refused_and_disturbs_nothing(void **state)
{
	struct pair *p = *state;
	struct wire_msg m = {.type = WIRE_NEW};
	struct end c;

	come_up(p);
	end_init(&c, "c", free_port(), (uint16_t)atoi(p->b.config.listen.port), PATIENT_MS);
	end_open(&c, p->loop);
	link_dial(c.link);
	turn_until(p->loop, c.notes);
	assert_non_null(strstr(c.note, "already connected"));
	assert_int_equal(link_send(p->a.link, &m), 0);
	turn_until(p->loop, p->b.messages);
	assert_bulk_carries(p->a.bulk_fd, p->b.bulk_fd);
	assert_int_equal(p->b.lost + p->a.lost + c.up, 0);
	end_free(&c);
}

/* ---- loss and silence ---- */

static void a_broken_connection_is_lost_once(void **state)
{
	struct pair *p = *state;
	struct wire_msg m = {.type = WIRE_STOP, .text = "last words"};
	uint64_t heard;

	come_up(p);
	assert_int_equal(link_send(p->a.link, &m), 0);
	link_flush(p->a.link, 1000);
	link_down(p->a.link);
	turn_until(p->loop, p->b.lost);
	assert_int_equal(p->b.messages, 1);
	assert_string_equal(p->b.last.text, "last words");
	assert_non_null(strstr(p->b.text, "closed by the peer"));
	assert_int_equal(link_send(p->b.link, &m), -ENOTCONN);
	heard = link_last_heard_us(p->b.link);
	assert_true(heard && heard <= clock_now_us());
	while (loop_step(p->loop, 0) > 0)
		;
	assert_int_equal(p->b.lost, 1);
	assert_int_equal(p->b.silent + p->a.lost + p->a.silent, 0);
}

/* A peer of plain sockets that says nothing but what the test says. */
struct raw_peer {
	int control, bulk;
};

static struct raw_peer raw_dial(struct pair *p)
{
	uint16_t port = (uint16_t)atoi(p->b.config.listen.port);
	struct raw_peer r;
	int up = p->b.up;

	r.control = raw_connect(port);
	raw_hello(r.control, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 99);
	assert_int_equal(raw_receive(p->loop, r.control).type, WIRE_WELCOME);
	r.bulk = raw_connect(port);
	raw_hello(r.bulk, WIRE_HELLO, WIRE_CHANNEL_BULK, 99);
	assert_int_equal(raw_receive(p->loop, r.bulk).type, WIRE_WELCOME);
	turn_until(p->loop, p->b.up == up + 1);
	assert_string_equal(p->b.peer.name, "raw");
	return r;
}

static void raw_close(struct raw_peer *r)
{
	close(r->control);
	close(r->bulk);
}

static void an_open_connection_without_a_word_is_silent(void **state)
{
	struct pair *p = *state;
	struct raw_peer r;

	p->b.config.peer_timeout_ms = 100;
	r = raw_dial(p);
	turn_until(p->loop, p->b.silent);
	assert_int_equal(p->b.lost, 0);
	assert_true(clock_now_us() - link_last_heard_us(p->b.link) >= 100 * USEC_PER_MSEC);
	turn_and_poll_until(p->loop, raw_ended(r.control));
	raw_close(&r);
}

/* A word that waits unread while this side is slow counts as heard, whichever source the loop takes first. */
static void a_slow_listener_does_not_blame_its_peer(void **state)
{
	struct pair *p = *state;
	struct wire_msg m = {.type = WIRE_NEW};
	struct raw_peer r;

	p->b.config.peer_timeout_ms = 1000;
	r = raw_dial(p);
	raw_send(r.control, &m);
	while (clock_now_us() - link_last_heard_us(p->b.link) <= 1000 * USEC_PER_MSEC)
		poll(NULL, 0, 10);
	turn_until(p->loop, p->b.messages);
	while (loop_step(p->loop, 0) > 0)
		;
	assert_int_equal(p->b.silent, 0);
	assert_int_equal(link_state(p->b.link), LINK_UP);
	raw_close(&r);
}

static void with_packets(struct pair *p, bool a, bool b)
{
	p->a.packets = a;
	p->b.packets = b;
	end_free(&p->b);
	end_open(&p->b, p->loop);
}

static void a_guest_with_nics_gets_a_packet_connection(void **state)
{
	struct pair *p = *state;
	char buf[8] = {};

	with_packets(p, true, true);
	come_up(p);
	turn_until(p->loop, p->a.packet_fd >= 0 && p->b.packet_fd >= 0);
	assert_bulk_carries(p->a.bulk_fd, p->b.bulk_fd);
	assert_true(fcntl(p->a.packet_fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(write(p->a.packet_fd, "packet", 6), 6);
	turn_until(p->loop, read(p->b.packet_fd, buf, sizeof(buf)) == 6);
	assert_string_equal(buf, "packet");
}

static void nics_on_the_called_host_only_keep_the_link_down(void **state)
{
	struct pair *p = *state;

	/* The caller thinks it is done; the called host waits for a connection that never comes. */
	with_packets(p, false, true);
	end_open(&p->a, p->loop);
	link_dial(p->a.link);
	turn_until(p->loop, p->a.up);
	assert_int_equal(p->b.up, 0);
}

static void nics_on_the_calling_host_only_are_refused(void **state)
{
	struct pair *p = *state;

	with_packets(p, true, false);
	end_open(&p->a, p->loop);
	link_dial(p->a.link);
	turn_until(p->loop, p->a.notes || p->b.lost);
	assert_int_equal(p->a.up, 0);
}

static void heartbeats_keep_an_idle_link_up(void **state)
{
	struct pair *p = *state;
	uint64_t heard_a, heard_b;

	p->a.config.peer_timeout_ms = p->b.config.peer_timeout_ms = 2000;
	come_up(p);
	for (int i = 0; i < 3; i++) {
		heard_a = link_last_heard_us(p->a.link);
		heard_b = link_last_heard_us(p->b.link);
		turn_until(p->loop, link_last_heard_us(p->a.link) > heard_a &&
					    link_last_heard_us(p->b.link) > heard_b);
	}
	assert_int_equal(p->a.silent + p->b.silent + p->a.messages + p->b.messages, 0);
}

static void after_a_loss_silence_is_told_when_its_time_is_over(void **state)
{
	struct pair *p = *state;
	struct raw_peer r;

	r = raw_dial(p);
	raw_close(&r);
	turn_until(p->loop, p->b.lost);
	assert_int_equal(p->b.silent, 0);
	p->b.config.peer_timeout_ms = 300;
	link_await_silence(p->b.link);
	turn_until(p->loop, p->b.silent);
	assert_true(clock_now_us() - link_last_heard_us(p->b.link) >= 300 * USEC_PER_MSEC);
	assert_int_equal(p->b.silent, 1);
}

static void on_later(void *arg)
{
	*(bool *)arg = true;
}

/* Turn the loop beyond the moment at which silence would have been told. */
static void pass_silence(struct pair *p)
{
	struct loop_src *timer;
	bool later = false;

	assert_int_equal(loop_add_timer(p->loop, &timer, on_later, &later), 0);
	loop_timer_arm(timer, p->b.config.peer_timeout_ms * USEC_PER_MSEC + 100 * USEC_PER_MSEC);
	turn_until(p->loop, later);
	loop_src_free(&timer);
}

static void a_peer_that_comes_back_in_time_is_not_silent(void **state)
{
	struct pair *p = *state;
	struct raw_peer r;

	r = raw_dial(p);
	raw_close(&r);
	turn_until(p->loop, p->b.lost);
	p->b.config.peer_timeout_ms = 2000;
	link_await_silence(p->b.link);
	p->b.config.peer_timeout_ms = PATIENT_MS; /* of the new session */
	come_up(p);
	link_down(p->a.link); /* and nobody waits for silence this time */
	turn_until(p->loop, p->b.lost == 2);
	p->b.config.peer_timeout_ms = 2000;
	pass_silence(p);
	assert_int_equal(p->b.silent, 0);
}

static void taking_down_ends_the_wait_for_silence(void **state)
{
	struct pair *p = *state;
	struct raw_peer r;

	p->b.config.peer_timeout_ms = 50;
	r = raw_dial(p);
	raw_close(&r);
	turn_until(p->loop, p->b.lost || p->b.silent);
	p->b.silent = 0;
	link_await_silence(p->b.link);
	link_down(p->b.link);
	pass_silence(p);
	assert_int_equal(p->b.silent, 0);
}

/* ---- a peer that does not read ---- */

static uint64_t fill(struct pair *p)
{
	struct wire_msg m = {.type = WIRE_FAILED};
	int r;

	memset(m.text, 'x', sizeof(m.text) - 1);
	while (!(r = link_send(p->b.link, &m)))
		m.epoch++;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(link_state(p->b.link), LINK_UP);
	return m.epoch;
}

static void a_peer_that_does_not_read_blocks_nobody(void **state)
{
	struct pair *p = *state;
	struct raw_peer r = raw_dial(p);
	uint64_t n = fill(p);

	link_flush(p->b.link, 1);
	for (uint64_t i = 0; i < n; i++) {
		struct wire_msg m = raw_receive(p->loop, r.control);

		assert_int_equal(m.epoch, i);
		assert_int_equal(m.type, WIRE_FAILED);
	}
	raw_close(&r);
}

struct reader {
	int fd;
	uint64_t bytes;
};

static void *read_to_the_end(void *arg)
{
	struct reader *r = arg;
	char buf[4096];
	ssize_t n;

	while ((n = read(r->fd, buf, sizeof(buf))) > 0)
		r->bytes += (uint64_t)n;
	return NULL;
}

/* The loop does not run: flushing alone brings all of it to a peer that reads. */
static void flushing_brings_the_last_words_out(void **state)
{
	struct pair *p = *state;
	struct raw_peer r = raw_dial(p);
	struct wire_msg m = {.type = WIRE_FAILED};
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];
	struct reader reader = {.fd = r.control};
	uint64_t n = fill(p);
	pthread_t thread;

	memset(m.text, 'x', sizeof(m.text) - 1);
	assert_int_equal(pthread_create(&thread, NULL, read_to_the_end, &reader), 0);
	link_flush(p->b.link, 60000);
	link_down(p->b.link);
	pthread_join(thread, NULL);
	assert_int_equal(reader.bytes, n * wire_encode(&m, buf));
	raw_close(&r);
}

/* ---- setup errors ---- */

static void an_address_in_use_is_named(void **state)
{
	struct pair *p = *state;
	struct link *k = NULL;
	struct err e;

	assert_true(link_new(&k, p->loop, &p->b.config, false, end_handlers(), &p->b, &e) < 0);
	assert_non_null(strstr(err_msg(&e), p->b.config.listen.port));
	assert_non_null(strstr(err_msg(&e), "listen ="));
	snprintf(p->b.config.peer.host, sizeof(p->b.config.peer.host), "256.0.0.1");
	assert_true(link_new(&k, p->loop, &p->b.config, false, end_handlers(), &p->b, &e) < 0);
	assert_non_null(strstr(err_msg(&e), "peer = 256.0.0.1"));
	assert_null(k);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_dialed_link_is_up_on_both_sides),
		test(the_bulk_connection_carries_bytes_both_ways),
		test(messages_arrive_in_order_both_ways),
		test(a_peer_that_comes_later_is_found),
		test(a_link_that_was_taken_down_can_be_dialed_again),
		test(taking_down_ends_dialing),
		test(a_refusals_reason_reaches_the_caller),
		test(a_second_peer_is_refused_and_disturbs_nothing),
		test(a_broken_connection_is_lost_once),
		test(an_open_connection_without_a_word_is_silent),
		test(a_slow_listener_does_not_blame_its_peer),
		test(a_guest_with_nics_gets_a_packet_connection),
		test(nics_on_the_called_host_only_keep_the_link_down),
		test(nics_on_the_calling_host_only_are_refused),
		test(heartbeats_keep_an_idle_link_up),
		test(after_a_loss_silence_is_told_when_its_time_is_over),
		test(a_peer_that_comes_back_in_time_is_not_silent),
		test(taking_down_ends_the_wait_for_silence),
		test(a_peer_that_does_not_read_blocks_nobody),
		test(flushing_brings_the_last_words_out),
		test(an_address_in_use_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
