// SPDX-License-Identifier: GPL-2.0-or-later
/* Callers and peers that talk garbage, nothing or too much: they disturb neither a link nor the next peer. */
#include "tests/unit/link-rig.h"

#include <sys/resource.h>

#define PATIENT_MS 20000
#define CALLERS    8 /* how many may wait at once, docs/protocol.md */

struct rig {
	struct loop *loop;
	struct end a, b; /* a dials, b is called */
	uint16_t port;   /* of b */
	unsigned descriptors;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	uint16_t a = free_port();
	struct err e;

	r->port = free_port();
	assert_ok(loop_new(&r->loop, &e), &e);
	end_init(&r->a, "a", a, r->port, PATIENT_MS);
	end_init(&r->b, "b", r->port, a, PATIENT_MS);
	end_open(&r->a, r->loop);
	end_open(&r->b, r->loop);
	r->descriptors = open_descriptors();
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	end_free(&r->a);
	end_free(&r->b);
	loop_free(r->loop);
	free(r);
	return 0;
}

static void assert_link_works(struct rig *r)
{
	struct wire_msg m = {.type = WIRE_NEW};
	int a = r->a.messages, b = r->b.messages;

	assert_int_equal(link_send(r->a.link, &m), 0);
	assert_int_equal(link_send(r->b.link, &m), 0);
	turn_until(r->loop, r->a.messages == a + 1 && r->b.messages == b + 1);
	assert_int_equal(r->a.lost + r->b.lost + r->a.silent + r->b.silent, 0);
}

static void come_up(struct rig *r)
{
	link_dial(r->a.link);
	turn_until(r->loop, link_state(r->a.link) == LINK_UP && link_state(r->b.link) == LINK_UP);
	assert_link_works(r);
}

/* ---- callers ---- */

/* @note: what is noted when no link is up; NULL: nothing, but the caller gets a REJECT. */
struct garbage {
	const char *what, *note;
	size_t (*fill)(struct rng *rng, uint8_t *buf, size_t size);
};

static size_t random_bytes(struct rng *rng, uint8_t *buf, size_t size)
{
	rng_fill(rng, buf, size);
	buf[0] = 'x'; /* no chance magic */
	return size;
}

static size_t web_browser(struct rng *rng, uint8_t *buf, size_t size)
{
	(void)rng;
	return (size_t)snprintf((char *)buf, size, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static size_t greeting_of_garbage(struct rng *rng, uint8_t *buf, size_t size)
{
	(void)size;
	wire_encode_header(buf, WIRE_HELLO, 500);
	rng_fill(rng, buf + WIRE_HEADER_BYTES, 500);
	return WIRE_HEADER_BYTES + 500;
}

static size_t huge_length(struct rng *rng, uint8_t *buf, size_t size)
{
	(void)rng;
	(void)size;
	wire_encode_header(buf, WIRE_HELLO, UINT32_MAX);
	return WIRE_HEADER_BYTES;
}

static size_t another_version(struct rng *rng, uint8_t *buf, size_t size)
{
	size_t n = hello_bytes(buf, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);

	(void)rng;
	(void)size;
	buf[5] = WIRE_VERSION + 1;
	return n;
}

static size_t no_greeting(struct rng *rng, uint8_t *buf, size_t size)
{
	struct wire_msg m = {.type = WIRE_HANDOVER, .epoch = 1};

	(void)rng;
	(void)size;
	return wire_encode(&m, buf);
}

static size_t an_answer_instead_of_a_greeting(struct rng *rng, uint8_t *buf, size_t size)
{
	(void)rng;
	(void)size;
	return hello_bytes(buf, WIRE_WELCOME, WIRE_CHANNEL_CONTROL, 1);
}

static size_t bulk_frame(struct rng *rng, uint8_t *buf, size_t size)
{
	(void)rng;
	memset(buf, 0, size);
	wire_encode_header(buf, WIRE_PAGES, 20);
	return size;
}

static size_t bulk_without_control(struct rng *rng, uint8_t *buf, size_t size)
{
	(void)rng;
	(void)size;
	return hello_bytes(buf, WIRE_HELLO, WIRE_CHANNEL_BULK, 12345);
}

static size_t greeting_twice(struct rng *rng, uint8_t *buf, size_t size)
{
	size_t n = hello_bytes(buf, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);

	(void)rng;
	(void)size;
	return n + hello_bytes(buf + n, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);
}

static size_t message_behind_the_greeting(struct rng *rng, uint8_t *buf, size_t size)
{
	size_t n = hello_bytes(buf, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);

	return n + no_greeting(rng, buf + n, size - n);
}

static const struct garbage garbage[] = {
	{"random bytes", "does not speak", random_bytes},
	{"a web browser", "does not speak", web_browser},
	{"a greeting full of garbage", "malformed HELLO", greeting_of_garbage},
	{"a huge length", "impossible length", huge_length},
	{"another version", "protocol version", another_version},
	{"no greeting", "it sent HANDOVER instead of a greeting", no_greeting},
	{"an answer instead of a greeting", "it sent WELCOME instead of a greeting",
	 an_answer_instead_of_a_greeting},
	{"a bulk frame", "PAGES on the control connection", bulk_frame},
	{"a bulk connection without a control connection", NULL, bulk_without_control},
	{"a greeting twice", "it sent HELLO instead of a greeting", greeting_twice},
	{"a message behind the greeting", "it sent HANDOVER instead of a greeting",
	 message_behind_the_greeting},
};

/* Each is hung up on for what it said, not for being there too long, which is not noted. */
static void call_with(struct rig *r, const struct garbage *g, struct rng *rng)
{
	int fd = raw_connect(r->port), notes = r->b.notes;
	uint8_t buf[4096];
	size_t n = g->fill(rng, buf, sizeof(buf));

	print_message("caller: %s\n", g->what);
	assert_int_equal(io_write_full(fd, buf, n), 0);
	if (!g->note)
		assert_int_equal(raw_receive(r->loop, fd).type, WIRE_REJECT);
	turn_and_poll_until(r->loop, raw_ended(fd));
	assert_int_equal(r->b.notes, notes + !!g->note);
	if (g->note && link_state(r->b.link) != LINK_UP)
		assert_non_null(strstr(r->b.note, g->note));
	close(fd);
}

static void call_with_all_garbage(struct rig *r)
{
	struct rng rng = {1};

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
		call_with(r, &garbage[i], &rng);
}

static void garbage_callers_do_not_disturb_the_next_peer(void **state)
{
	struct rig *r = *state;

	call_with_all_garbage(r);
	assert_int_equal(r->b.up + r->b.lost, 0);
	assert_int_equal(link_state(r->b.link), LINK_DOWN);
	assert_true(r->b.notes > 0);
	assert_int_equal(open_descriptors(), r->descriptors);
	come_up(r);
}

static void garbage_callers_do_not_disturb_a_link(void **state)
{
	struct rig *r = *state;
	unsigned before;

	come_up(r);
	before = open_descriptors();
	call_with_all_garbage(r);
	assert_link_works(r);
	assert_int_equal(open_descriptors(), before);
}

static void callers_that_hang_up_anywhere_leave_nothing(void **state)
{
	struct rig *r = *state;
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];
	size_t n = hello_bytes(buf, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);

	for (size_t len = 0; len <= n; len += 7) {
		int fd = raw_connect(r->port), notes = r->b.notes;

		assert_int_equal(io_write_full(fd, buf, len), 0);
		close(fd);
		turn_until(r->loop, r->b.notes == notes + 1);
	}
	assert_int_equal(open_descriptors(), r->descriptors);
	come_up(r);
}

static void silent_callers_keep_no_peer_out_for_long(void **state)
{
	struct rig *r = *state;
	int fds[CALLERS + 4];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = raw_connect(r->port);
	come_up(r);
	assert_false(raw_ended(
		fds[ARRAY_SIZE(fds) - 1])); /* the peer did not wait for their time to pass */
	/* Nor are they kept: whoever says nothing is let go. */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		turn_and_poll_until(r->loop, raw_ended(fds[i]));
		close(fds[i]);
	}
	assert_link_works(r);
}

static void silent_callers_do_not_disturb_a_link(void **state)
{
	struct rig *r = *state;
	int fds[CALLERS + 4];

	come_up(r);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = raw_connect(r->port);
	assert_link_works(r);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	assert_link_works(r);
}

/* A caller from the address that is configured as the peer's; raw_connect() calls from 127.0.0.1. */
static int connect_as_peer(uint16_t port)
{
	struct sockaddr_in from = local(0), to = local(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* However many call from elsewhere, and however long the peer takes to greet. */
static void strangers_make_room_before_the_peer_does(void **state)
{
	struct rig *r = *state;
	int peer = connect_as_peer(r->port), strangers[4 * CALLERS];

	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
		strangers[i] = raw_connect(r->port);
	turn_and_poll_until(r->loop, raw_ended(strangers[3 * CALLERS - 2]));
	assert_false(raw_ended(peer));
	raw_hello(peer, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);
	assert_int_equal(raw_receive(r->loop, peer).type, WIRE_WELCOME);
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
		close(strangers[i]);
	close(peer);
}

#define DRIBBLERS 64

/* Callers that greet with one byte at a time; whoever is sent away calls again. */
struct dribblers {
	struct rig *r;
	int fds[DRIBBLERS];
	unsigned calls;
};

static void dribble(struct dribblers *d)
{
	static const uint8_t greeting[] = "COLO\0\1\0\1\0\0\1";

	for (unsigned i = 0; i < DRIBBLERS; i++) {
		if (d->fds[i] >= 0 && !raw_ended(d->fds[i]) &&
		    send(d->fds[i], greeting + d->calls % 11, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
			continue;
		close_fd(&d->fds[i]);
		d->fds[i] = raw_connect(d->r->port);
		(void)!send(d->fds[i], greeting, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		d->calls++;
	}
	assert_true(loop_step(d->r->loop, USEC_PER_MSEC) >= 0);
}

static void callers_that_dribble_bytes_keep_no_peer_out(void **state)
{
	struct dribblers d = {.r = *state};
	struct rig *r = d.r;

	memset(d.fds, -1, sizeof(d.fds));
	for (unsigned i = 0; i < 10; i++)
		dribble(&d);
	for (unsigned round = 0; round < 5; round++) {
		uint64_t give_up = clock_now_us() + GIVE_UP_US;

		link_dial(r->a.link);
		while (link_state(r->a.link) != LINK_UP || link_state(r->b.link) != LINK_UP) {
			dribble(&d);
			assert_true(clock_now_us() < give_up);
		}
		for (unsigned calls = d.calls; d.calls < calls + 200;)
			dribble(&d);
		assert_link_works(r);
		link_down(r->a.link);
		link_down(r->b.link);
	}
	assert_true(d.calls >= 1000);
	for (unsigned i = 0; i < DRIBBLERS; i++)
		close_fd(&d.fds[i]);
	turn_and_poll_until(r->loop, open_descriptors() <= r->descriptors + 2); /* bulk ends */
}

static void set_descriptor_limit(rlim_t limit)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = limit;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

/* The caller stays in the queue, so a loop that tries again and again would never sleep. */
static void a_host_without_descriptors_sleeps_and_serves_the_peer_later(void **state)
{
	struct rig *r = *state;
	struct rlimit old;
	int caller = raw_connect(r->port), spare = dup(caller);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	close(spare); /* the lowest free one: accept() wants it */
	set_descriptor_limit((rlim_t)spare);
	turn_and_poll_until(r->loop, r->b.notes);
	assert_non_null(strstr(r->b.note, "cannot accept"));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(loop_step(r->loop, 0), 0);
	assert_int_equal(r->b.notes, 1);
	set_descriptor_limit(old.rlim_cur);
	close(caller);
	come_up(r);
}

/* A stranger that is welcome as far as accept() can tell, and then does not keep to the order. */
static void bytes_behind_the_bulk_greeting_establish_nothing(void **state)
{
	struct rig *r = *state;
	uint8_t buf[2 * (WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES)];
	int control = raw_connect(r->port), bulk;
	size_t n;

	raw_hello(control, WIRE_HELLO, WIRE_CHANNEL_CONTROL, 5);
	assert_int_equal(raw_receive(r->loop, control).type, WIRE_WELCOME);
	bulk = raw_connect(r->port);
	n = hello_bytes(buf, WIRE_HELLO, WIRE_CHANNEL_BULK, 5);
	memset(buf + n, 0, 100);
	assert_int_equal(io_write_full(bulk, buf, n + 100), 0);
	turn_and_poll_until(r->loop, raw_ended(control) && raw_ended(bulk));
	close(control);
	close(bulk);
	assert_int_equal(r->b.up, 0);
	assert_int_equal(open_descriptors(), r->descriptors);
	come_up(r);
}

/* ---- strangers that are called ---- */

static void a_stranger_at_the_peers_address_is_noted_and_left(void **state)
{
	static const struct {
		enum wire_type type;
		const char *why;
	} answers[] = {
		{WIRE_HELLO, "answered our greeting with HELLO"},
		{WIRE_READY, "answered our greeting with READY"},
		{WIRE_REJECT, "refuses us: go away"},
		{WIRE_TYPE_COUNT, "does not speak colod's protocol"},
		{0, "closed by the peer"},
	};
	struct rig *r = *state;
	uint16_t port;
	int listen = raw_listen(&port);

	end_free(&r->a);
	snprintf(r->a.config.peers[0].port, sizeof(r->a.config.peers[0].port), "%u", port);
	end_open(&r->a, r->loop);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct wire_msg m = {.type = answers[i].type, .text = "go away"};
		int fd, notes = r->a.notes;

		link_dial(r->a.link);
		turn_and_poll_until(r->loop, raw_readable(listen));
		fd = accept(listen, NULL, NULL);
		assert_int_equal(raw_receive(r->loop, fd).type, WIRE_HELLO);
		if (m.type == WIRE_TYPE_COUNT)
			assert_int_equal(io_write_full(fd, "220 mail ready\r\n", 16), 0);
		else if (m.type)
			raw_send(fd, &m);
		else
			shutdown(fd, SHUT_WR);
		turn_until(r->loop, r->a.notes == notes + 1);
		assert_non_null(strstr(r->a.note, answers[i].why));
		assert_int_equal(link_state(r->a.link), LINK_CONNECTING);
		link_down(r->a.link);
		close(fd);
	}
	assert_int_equal(r->a.up, 0);
	close(listen);
}

/*
 * The called side may speak on the control connection as soon as it has answered on the bulk one, and what it says
 * may arrive first.
 */
static void a_word_that_overtakes_the_last_welcome_is_heard(void **state)
{
	struct rig *r = *state;
	struct wire_msg ready = {.type = WIRE_READY};
	uint16_t port;
	int listen = raw_listen(&port);

	end_free(&r->a);
	snprintf(r->a.config.peers[0].port, sizeof(r->a.config.peers[0].port), "%u", port);
	end_open(&r->a, r->loop);
	for (int i = 1; i <= 20; i++) {
		int control, bulk;

		link_dial(r->a.link);
		turn_and_poll_until(r->loop, raw_readable(listen));
		control = accept(listen, NULL, NULL);
		assert_int_equal(raw_receive(r->loop, control).type, WIRE_HELLO);
		raw_hello(control, WIRE_WELCOME, WIRE_CHANNEL_CONTROL, 1);
		turn_and_poll_until(r->loop, raw_readable(listen));
		bulk = accept(listen, NULL, NULL);
		assert_int_equal(raw_receive(r->loop, bulk).type, WIRE_HELLO);
		raw_send(control, &ready);
		while (loop_step(r->loop, 0) > 0)
			;
		raw_hello(bulk, WIRE_WELCOME, WIRE_CHANNEL_BULK, 1);
		turn_until(r->loop, r->a.messages == i || r->a.notes);
		assert_string_equal(r->a.note, "");
		assert_int_equal(r->a.up, i);
		link_down(r->a.link);
		close(control);
		close(bulk);
	}
	close(listen);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(garbage_callers_do_not_disturb_the_next_peer),
		test(garbage_callers_do_not_disturb_a_link),
		test(callers_that_hang_up_anywhere_leave_nothing),
		test(silent_callers_keep_no_peer_out_for_long),
		test(silent_callers_do_not_disturb_a_link),
		test(strangers_make_room_before_the_peer_does),
		test(callers_that_dribble_bytes_keep_no_peer_out),
		test(a_host_without_descriptors_sleeps_and_serves_the_peer_later),
		test(bytes_behind_the_bulk_greeting_establish_nothing),
		test(a_stranger_at_the_peers_address_is_noted_and_left),
		test(a_word_that_overtakes_the_last_welcome_is_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
