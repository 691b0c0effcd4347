// SPDX-License-Identifier: GPL-2.0-or-later
/* Encrypted links: they work as plain ones do, and strangers neither come in nor push anyone out. */
#include "tests/unit/tls-rig.h"

/* Long enough that no busy machine makes a live peer silent. */
#define PATIENT_MS 20000
#define SESSION    99
#define CALLERS    8 /* how many may wait at once, docs/protocol.md */

struct rig {
	struct loop *loop;
	struct end a, b; /* a calls b */
	struct authority ca;
	uint16_t port;              /* of b */
	struct party caller, other; /* who are no links */
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	uint16_t a = free_port();
	struct err e;

	assert_ok(loop_new(&r->loop, &e), &e);
	r->port = free_port();
	end_init(&r->a, "a", a, r->port, PATIENT_MS);
	end_init(&r->b, "b", r->port, a, PATIENT_MS);
	r->caller.fd = r->other.fd = -1;
	authority_init(&r->ca);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	end_free(&r->a);
	end_free(&r->b);
	config_tls_destroy(&r->a.config);
	config_tls_destroy(&r->b.config);
	party_free(&r->caller);
	party_free(&r->other);
	authority_free(&r->ca);
	loop_free(r->loop);
	free(r);
	return 0;
}

static void use_keys(struct rig *r)
{
	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	end_open(&r->b, r->loop);
}

/* All hosts of the test are at one address; who they are is in their certificates. */
static void use_certificates(struct rig *r, struct config *c, const char *who)
{
	struct subject s = GOOD_SUBJECT("host.example");

	use_x509(c, who, &r->ca, &r->ca, &s, "host.example");
}

static void dial(struct rig *r)
{
	if (!r->a.link)
		end_open(&r->a, r->loop);
	link_dial(r->a.link);
}

static void come_up(struct rig *r)
{
	int a = r->a.up, b = r->b.up;

	dial(r);
	turn_until(r->loop, r->a.up == a + 1 && r->b.up == b + 1);
}

static void assert_link_works(struct rig *r)
{
	struct wire_msg m = {.type = WIRE_NEW};
	int a = r->a.messages, b = r->b.messages;
	char buf[6] = {};

	assert_int_equal(link_send(r->a.link, &m), 0);
	assert_int_equal(link_send(r->b.link, &m), 0);
	turn_until(r->loop, r->a.messages == a + 1 && r->b.messages == b + 1);
	assert_false(fcntl(r->a.bulk_fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(io_write_full(r->a.bulk_fd, "bulk!", 6), 0);
	assert_int_equal(io_read_full(r->b.bulk_fd, buf, 6), 0);
	assert_string_equal(buf, "bulk!");
	assert_int_equal(r->a.lost + r->b.lost + r->a.silent + r->b.silent, 0);
}

/* ---- as plain links ---- */

static void check_link_with_packets(struct rig *r)
{
	r->a.packets = r->b.packets = true;
	end_open(&r->b, r->loop);
	come_up(r);
	assert_link_works(r);
	assert_true(fcntl(r->a.packet_fd, F_GETFL) & O_NONBLOCK);
	assert_carries(r->loop, r->a.packet_fd, r->b.packet_fd, "a frame");
	assert_carries(r->loop, r->b.packet_fd, r->a.packet_fd, "another frame");
	assert_string_equal(r->a.peer.name, "b");
	assert_string_equal(r->b.peer.name, "a");
	assert_int_equal(r->a.notes + r->b.notes, 0);
}

static void a_link_with_a_key_is_up_with_all_its_connections(void **state)
{
	struct rig *r = *state;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	check_link_with_packets(r);
}

static void a_link_with_certificates_is_up_with_all_its_connections(void **state)
{
	struct rig *r = *state;

	use_certificates(r, &r->a.config, "a");
	use_certificates(r, &r->b.config, "b");
	check_link_with_packets(r);
}

static void links_that_come_and_go_leave_nothing(void **state)
{
	struct rig *r = *state;
	unsigned before;

	use_keys(r);
	end_open(&r->a, r->loop);
	before = open_descriptors();
	for (int i = 1; i <= 100; i++) {
		come_up(r);
		link_down(i % 2 ? r->a.link : r->b.link);
		turn_until(r->loop, r->a.lost + r->b.lost == i);
		close_fd(&r->a.bulk_fd);
		close_fd(&r->b.bulk_fd);
	}
	turn_and_poll_until(r->loop, open_descriptors() == before);
	assert_int_equal(r->a.notes + r->b.notes, 0);
}

static void last_words_are_heard_before_the_loss_of_a_link(void **state)
{
	struct rig *r = *state;
	struct wire_msg m = {.type = WIRE_LEAVE, .text = "last words"};

	use_keys(r);
	come_up(r);
	assert_int_equal(link_send(r->a.link, &m), 0);
	link_flush(r->a.link, 1000);
	link_poll(r->b.link); /* as when another connection has broken */
	turn_until(r->loop, r->b.messages);
	assert_string_equal(r->b.last.text, "last words");
	assert_int_equal(r->b.lost, 0);
	m.type = WIRE_STOP;
	assert_int_equal(link_send(r->a.link, &m), 0);
	end_free(&r->a); /* the daemon has ended */
	turn_until(r->loop, r->b.lost);
	assert_int_equal(r->b.messages, 2);
	assert_int_equal(r->b.last.type, WIRE_STOP);
}

/* ---- a peer of its own making ---- */

/* @p calls b and is believed. */
static void call(struct rig *r, struct party *p)
{
	int fd;

	if (!p->tls)
		party_open(p, r->loop);
	close_fd(&p->fd);
	fd = raw_connect(r->port);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	party_begin(p, fd, TLS_CALLER);
	turn_until(r->loop, p->done);
	assert_string_equal(p->why, "");
}

static struct wire_msg greet(struct rig *r, struct party *p, enum wire_channel channel,
			     uint64_t resume)
{
	struct wire_msg m = {
		.type = WIRE_HELLO,
		.hello = {.channel = (uint8_t)channel, .session = SESSION, .resume = resume}};

	raw_send(p->fd, &m);
	return raw_receive(r->loop, p->fd);
}

static void come_up_raw(struct rig *r)
{
	int up = r->b.up;

	call(r, &r->caller);
	assert_int_equal(greet(r, &r->caller, WIRE_CHANNEL_CONTROL, 0).type, WIRE_WELCOME);
	call(r, &r->other);
	assert_int_equal(greet(r, &r->other, WIRE_CHANNEL_BULK, 0).type, WIRE_WELCOME);
	turn_until(r->loop, r->b.up == up + 1);
}

static void a_peer_without_a_word_is_lost_in_time(void **state)
{
	struct rig *r = *state;

	use_psk(&r->caller.config, "vm", KEY_A);
	use_psk(&r->other.config, "vm", KEY_A);
	use_keys(r);
	r->b.config.peer_timeout_ms = 200;
	come_up_raw(r);
	turn_until(r->loop, r->b.silent);
	assert_true(clock_now_us() - link_last_heard_us(r->b.link) >= 200 * USEC_PER_MSEC);
}

/* What the loop was too slow to take may still be with the relay. */
static void a_slow_listener_does_not_blame_its_peer(void **state)
{
	struct rig *r = *state;
	struct wire_msg m = {.type = WIRE_NEW};

	use_psk(&r->caller.config, "vm", KEY_A);
	use_psk(&r->other.config, "vm", KEY_A);
	use_keys(r);
	r->b.config.peer_timeout_ms = 1000;
	come_up_raw(r);
	while (clock_now_us() - link_last_heard_us(r->b.link) <= 1000 * USEC_PER_MSEC)
		poll(NULL, 0, 10);
	raw_send(r->caller.fd, &m);
	while (tls_has_unsent(r->caller.tls, r->caller.fd))
		;
	turn_until(r->loop, r->b.messages);
	assert_int_equal(r->b.lost + r->b.silent, 0);
}

/* ---- strangers ---- */

static void a_stranger_is_noted_and_disturbs_nothing(void **state)
{
	struct rig *r = *state;

	use_keys(r);
	come_up(r);
	use_psk(&r->caller.config, "vm", KEY_B);
	party_open(&r->caller, r->loop);
	for (int i = 0; i < 20; i++) {
		int notes = r->b.notes, fd = raw_connect(r->port);

		fcntl(fd, F_SETFL, O_NONBLOCK);
		party_begin(&r->caller, fd, TLS_CALLER);
		turn_until(r->loop, r->caller.done && r->b.notes > notes);
		assert_int_equal(r->caller.fd, -1);
		assert_non_null(strstr(r->b.note, "refused 127."));
	}
	assert_link_works(r);
}

static void a_plain_caller_and_a_plain_listener_are_noted(void **state)
{
	struct rig *r = *state;
	struct wire_msg m = {.type = WIRE_HELLO};
	int fd;

	use_keys(r);
	fd = raw_connect(r->port);
	raw_send(fd, &m);
	turn_and_poll_until(r->loop, r->b.notes);
	assert_non_null(strstr(r->b.note, "does not speak TLS"));
	close(fd);
	end_free(&r->b);
	config_tls_destroy(&r->b.config);
	r->b.config.tls = TLS_NONE;
	end_open(&r->b, r->loop);
	dial(r);
	turn_until(r->loop, r->a.notes);
	assert_non_null(strstr(r->a.note, "is the same tls = set on both hosts?"));
	assert_int_equal(r->a.up + r->b.up, 0);
}

static void half_handshakes_keep_no_peer_out_for_long(void **state)
{
	static const uint8_t hello[] = {22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3};
	struct rig *r = *state;
	int fds[CALLERS + 4];

	use_keys(r);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = raw_connect(r->port);
		assert_int_equal(write(fds[i], hello, 1 + i % sizeof(hello)),
				 1 + i % sizeof(hello));
	}
	come_up(r);
	assert_false(raw_ended(fds[ARRAY_SIZE(fds) - 1]));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		turn_and_poll_until(r->loop, raw_ended(fds[i]));
		close(fds[i]);
	}
	assert_link_works(r);
}

/* A third host with the same name, trusted as such, is another one nevertheless. */
static void all_connections_of_a_link_come_from_one_peer(void **state)
{
	struct rig *r = *state;

	use_certificates(r, &r->b.config, "b");
	end_open(&r->b, r->loop);
	use_certificates(r, &r->caller.config, "c");
	use_certificates(r, &r->other.config, "d");
	call(r, &r->caller);
	assert_int_equal(greet(r, &r->caller, WIRE_CHANNEL_CONTROL, 0).type, WIRE_WELCOME);
	call(r, &r->other);
	assert_int_equal(greet(r, &r->other, WIRE_CHANNEL_BULK, 0).type, WIRE_REJECT);
	assert_non_null(strstr(r->b.note, "another peer"));
	assert_int_equal(r->b.up, 0);
	/* The right one is not harmed by that; here it calls anew, as its time may be over. */
	call(r, &r->caller);
	assert_int_equal(greet(r, &r->caller, WIRE_CHANNEL_CONTROL, 0).type, WIRE_WELCOME);
	party_free(&r->other);
	r->other.fd = steal_fd(&r->caller.fd);
	call(r, &r->caller);
	assert_int_equal(greet(r, &r->caller, WIRE_CHANNEL_BULK, 0).type, WIRE_WELCOME);
	turn_until(r->loop, r->b.up);
}

/* A peer that calls again ends its old link; someone else who knows its session does not. */
static void a_second_peer_does_not_displace_the_first(void **state)
{
	struct rig *r = *state;

	use_certificates(r, &r->b.config, "b");
	use_certificates(r, &r->a.config, "a");
	end_open(&r->b, r->loop);
	come_up(r);
	r->b.resume = 4711;
	use_certificates(r, &r->caller.config, "c");
	call(r, &r->caller);
	assert_int_equal(greet(r, &r->caller, WIRE_CHANNEL_CONTROL, 4711).type, WIRE_REJECT);
	assert_link_works(r);
}

static void the_first_peer_itself_may_call_again(void **state)
{
	struct rig *r = *state;

	use_psk(&r->caller.config, "vm", KEY_A);
	use_keys(r);
	come_up(r);
	r->b.resume = 4711;
	call(r, &r->caller);
	assert_int_equal(greet(r, &r->caller, WIRE_CHANNEL_CONTROL, 4711).type, WIRE_WELCOME);
	assert_int_equal(r->b.lost, 1);
}

static void an_address_that_an_operator_adds_is_no_way_around_encryption(void **state)
{
	struct endpoint far = {.host = "192.0.2.1", .port = "9"};
	struct rig *r = *state;
	struct err e;

	end_open(&r->a, r->loop);
	assert_int_equal(link_add_address(r->a.link, &far, &e), -EPERM);
	assert_non_null(strstr(err_msg(&e), "insecure = yes"));
	end_free(&r->a);
	use_psk(&r->a.config, "vm", KEY_A);
	end_open(&r->a, r->loop);
	assert_int_equal(link_add_address(r->a.link, &far, &e), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_link_with_a_key_is_up_with_all_its_connections),
		test(a_link_with_certificates_is_up_with_all_its_connections),
		test(links_that_come_and_go_leave_nothing),
		test(last_words_are_heard_before_the_loss_of_a_link),
		test(a_peer_without_a_word_is_lost_in_time),
		test(a_slow_listener_does_not_blame_its_peer),
		test(a_stranger_is_noted_and_disturbs_nothing),
		test(a_plain_caller_and_a_plain_listener_are_noted),
		test(half_handshakes_keep_no_peer_out_for_long),
		test(all_connections_of_a_link_come_from_one_peer),
		test(a_second_peer_does_not_displace_the_first),
		test(the_first_peer_itself_may_call_again),
		test(an_address_that_an_operator_adds_is_no_way_around_encryption),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
