// SPDX-License-Identifier: GPL-2.0-or-later
/* Encrypted connections in use: bytes, ends, back pressure, what is on its way. */
#include "tests/unit/tls-pair-rig.h"

#include <pthread.h>

static void come_up(struct rig *r)
{
	shake(r->loop, &r->a, &r->b);
	assert_true(r->a.fd >= 0 && r->b.fd >= 0);
	if (getenv("COLOD_TEST_KERNEL_TLS"))
		assert_int_equal(r->a.tls->relay_count + r->b.tls->relay_count, 0);
}

/* Without the kernel's help there are relays to be asked and heard. */
static bool by_relay(const struct rig *r)
{
	return r->b.tls->relay_count > 0;
}

static void block(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

/* ---- bytes ---- */

struct flow {
	int fd;
	uint64_t seed, bytes;
	int result; /* 0, -errno, or -EBADMSG when a byte differs */
};

#define CHUNK (300 * KIB) /* of no relation to records and buffers */

static void *write_flow(void *arg)
{
	uint8_t *buf = malloc(CHUNK);
	struct flow *f = arg;
	struct rng rng = {f->seed};

	for (uint64_t left = f->bytes; left && !f->result;) {
		size_t n = MIN(left, 1 + rng_below(&rng, CHUNK));

		for (size_t i = 0; i < n; i++)
			buf[i] = (uint8_t)((f->bytes - left + i) * 2654435761u >> 13) ^
				 (uint8_t)f->seed;
		f->result = io_write_full(f->fd, buf, n);
		left -= n;
	}
	free(buf);
	return NULL;
}

static void *read_flow(void *arg)
{
	uint8_t *buf = malloc(CHUNK);
	struct flow *f = arg;

	for (uint64_t done = 0; done < f->bytes && !f->result;) {
		ssize_t n = read(f->fd, buf, MIN(CHUNK, f->bytes - done));

		if (n <= 0)
			f->result = n ? -errno : -ECONNRESET;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != ((uint8_t)((done + (uint64_t)i) * 2654435761u >> 13) ^
				       (uint8_t)f->seed))
				f->result = -EBADMSG;
		done += (uint64_t)MAX(n, 0);
	}
	free(buf);
	return NULL;
}

static void large_streams_arrive_bit_by_bit_both_ways_at_once(void **state)
{
	struct rig *r = *state;
	const char *mib = getenv("COLOD_TEST_STREAM_MB");
	struct flow flows[4];
	pthread_t threads[4];

	come_up(r);
	block(r->a.fd);
	block(r->b.fd);
	for (int i = 0; i < 4; i++) {
		flows[i] = (struct flow){.fd = i == 0 || i == 3 ? r->a.fd : r->b.fd,
					 .seed = 1 + (uint64_t)i / 2,
					 .bytes = (uint64_t)atoi(mib ? mib : "100") * MIB};
		pthread_create(&threads[i], NULL, i % 2 ? read_flow : write_flow, &flows[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(flows[i].result, 0);
}

static void a_small_message_is_not_kept_for_others_to_come(void **state)
{
	struct rig *r = *state;

	come_up(r);
	for (int i = 0; i < 500; i++) {
		assert_carries(r->loop, r->a.fd, r->b.fd, "ping");
		assert_carries(r->loop, r->b.fd, r->a.fd, "pong");
	}
}

static void a_relay_understands_a_kernel(void **state)
{
	struct rig *r = *state;

	r->b.tls->kernel = false;
	shake(r->loop, &r->a, &r->b);
	assert_int_equal(r->b.tls->relay_count, 1);
	for (int i = 0; i < 50; i++) {
		assert_carries(r->loop, r->a.fd, r->b.fd, "from the kernel, where it can");
		assert_carries(r->loop, r->b.fd, r->a.fd, "from the relay");
	}
	party_hang_up(&r->b);
	turn_and_poll_until(r->loop, raw_readable(r->a.fd));
}

/* ---- ends ---- */

static void what_was_written_before_the_end_arrives(void **state)
{
	static const size_t sizes[] = {0, 1, 16384, 16385, 100000};
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes) * 2; i++) {
		struct party *from = i % 2 ? &r->a : &r->b, *to = i % 2 ? &r->b : &r->a;

		come_up(r);
		if (sizes[i / 2])
			write_all(from->fd, 0, sizes[i / 2]);
		party_hang_up(from);
		assert_int_equal(read_to_the_end(r->loop, to->fd), sizes[i / 2]);
		party_hang_up(to);
	}
	assert_int_equal(r->a.notes + r->b.notes, 0);
}

static void the_last_words_of_a_daemon_that_ends_arrive(void **state)
{
	struct rig *r = *state;
	int kept;

	come_up(r);
	write_all(r->a.fd, 0, 100000);
	kept = steal_fd(&r->a.fd); /* its user has not closed it */
	party_free(&r->a);
	close(kept);
	assert_int_equal(read_to_the_end(r->loop, r->b.fd), 100000);
}

static void ends_within_bounds_when_the_peer_does_not_read(void **state)
{
	struct rig *r = *state;
	uint8_t buf[64 * KIB] = {};

	come_up(r);
	while (send(r->a.fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	party_free(&r->a);
	assert_null(r->a.tls);
}

static void a_connection_whose_user_is_gone_ends_though_the_peer_does_not_read(void **state)
{
	struct rig *r = *state;
	uint8_t buf[64 * KIB] = {};

	come_up(r);
	while (send(r->a.fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	party_hang_up(&r->a);
	turn_until(r->loop, !r->a.tls->relay_count);
}

static void *send_for_ever(void *arg)
{
	static uint8_t buf[64 * KIB];
	int *fd = arg;

	while (send(*fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* As the engine does with a thread that it wants to end. */
static void shutting_down_frees_a_writer_and_a_reader(void **state)
{
	struct rig *r = *state;
	struct flow in = {.bytes = 1};
	pthread_t writer, reader;

	come_up(r);
	block(r->a.fd);
	block(r->b.fd);
	in.fd = r->a.fd;
	pthread_create(&writer, NULL, send_for_ever, &r->a.fd);
	pthread_create(&reader, NULL, read_flow, &in);
	while (!raw_readable(r->b.fd))
		poll(NULL, 0, 1);
	shutdown(r->a.fd, SHUT_RDWR);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	assert_int_equal(in.result, -ECONNRESET);
}

static void the_end_of_a_peer_frees_a_writer_and_a_reader(void **state)
{
	struct rig *r = *state;
	struct flow in = {.bytes = 1};
	pthread_t writer, reader;

	come_up(r);
	block(r->a.fd);
	in.fd = r->a.fd;
	pthread_create(&writer, NULL, send_for_ever, &r->a.fd);
	pthread_create(&reader, NULL, read_flow, &in);
	while (!raw_readable(r->b.fd))
		poll(NULL, 0, 1);
	party_hang_up(&r->b);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	assert_true(in.result < 0);
}

static void a_reader_that_pauses_stops_its_writer_and_loses_nothing(void **state)
{
	uint8_t buf[1000];
	struct rig *r = *state;
	size_t sent = 0;

	come_up(r);
	/* What fits into the buffers of sockets and relays on the way, and not more. */
	for (uint64_t moved = clock_now_us(); clock_now_us() - moved < 200 * USEC_PER_MSEC;) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (uint8_t)((sent + i) % 251);
		n = send(r->a.fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			continue;
		sent += (size_t)n;
		moved = clock_now_us();
		assert_true(sent < 64 * MIB);
	}
	party_hang_up(&r->a);
	assert_int_equal(read_to_the_end(r->loop, r->b.fd), sent);
}

/* ---- what is on its way ---- */

static void bytes_that_came_are_seen_wherever_they_are(void **state)
{
	struct rig *r = *state;
	char c;

	shake_through(r->loop, &r->m, &r->a, &r->b);
	for (int i = 0; by_relay(r) && i < 1000; i++) {
		uint64_t before = tcp_received(r->b.net);

		assert_int_equal(write(r->a.fd, "x", 1), 1);
		pass_record(r->loop, r->m.a, r->m.b);
		while (tcp_received(r->b.net) == before)
			;
		assert_true(tls_has_unread(r->b.tls, r->b.fd) || raw_readable(r->b.fd));
		turn_and_poll_until(r->loop, raw_readable(r->b.fd));
		assert_int_equal(read(r->b.fd, &c, 1), 1);
	}
	turn_and_poll_until(r->loop, !tls_has_unread(r->b.tls, r->b.fd));
}

static void bytes_that_are_not_unsent_are_the_kernels(void **state)
{
	struct rig *r = *state;

	shake_through(r->loop, &r->m, &r->a, &r->b);
	for (int i = 0; by_relay(r) && i < 1000; i++) {
		uint64_t before = tcp_taken(r->a.net);

		assert_int_equal(write(r->a.fd, "x", 1), 1);
		while (tls_has_unsent(r->a.tls, r->a.fd))
			;
		assert_true(tcp_taken(r->a.net) > before);
		pass_record(r->loop, r->m.a, r->m.b);
	}
}

/* ---- another implementation's habits ---- */

struct raw_tls {
	gnutls_session_t session;
	gnutls_priority_t priority;
	gnutls_psk_client_credentials_t cred;
	int fd;
};

static void raw_tls_open(struct rig *r, struct raw_tls *t)
{
	gnutls_datum_t key = {(unsigned char *)KEY_A, 64};
	int fds[2], n;
	char c;

	tcp_pair(fds);
	t->fd = fds[0];
	party_begin(&r->b, fds[1], TLS_LISTENER);
	gnutls_psk_allocate_client_credentials(&t->cred);
	gnutls_psk_set_client_credentials(t->cred, "vm", &key, GNUTLS_PSK_KEY_HEX);
	gnutls_priority_init(&t->priority, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK",
			     NULL);
	gnutls_init(&t->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	gnutls_priority_set(t->session, t->priority);
	gnutls_credentials_set(t->session, GNUTLS_CRD_PSK, t->cred);
	gnutls_transport_set_int(t->session, t->fd);
	do
		assert_true(loop_step(r->loop, 0) >= 0);
	while ((n = gnutls_handshake(t->session)) == GNUTLS_E_AGAIN);
	assert_int_equal(n, 0);
	turn_and_poll_until(r->loop, gnutls_record_recv(t->session, &c, 1) == 1);
	assert_int_equal(c, '+');
	assert_true(r->b.fd >= 0);
}

static void raw_tls_close(struct raw_tls *t)
{
	gnutls_deinit(t->session);
	gnutls_priority_deinit(t->priority);
	gnutls_psk_free_client_credentials(t->cred);
	close(t->fd);
}

static void new_keys_and_empty_records_do_not_disturb(void **state)
{
	struct rig *r = *state;
	struct raw_tls t;
	uint8_t buf[8];

	raw_tls_open(r, &t);
	if (!by_relay(r)) { /* what kernels make of new keys is theirs to say */
		raw_tls_close(&t);
		return;
	}
	for (int i = 0; i < 6; i++) { /* more in a second is too many for GnuTLS */
		assert_int_equal(gnutls_session_key_update(t.session, i % 2 ? GNUTLS_KU_PEER : 0),
				 0);
		gnutls_record_send(t.session, "", 0);
		assert_int_equal(gnutls_record_send(t.session, "there", 5), 5);
		raw_read(r->loop, r->b.fd, buf, 5);
		assert_int_equal(write(r->b.fd, "back", 4), 4);
		turn_and_poll_until(r->loop, gnutls_record_recv(t.session, buf, sizeof(buf)) == 4);
	}
	raw_tls_close(&t);
}

static void a_peer_that_announces_its_end_is_heard_to_the_end(void **state)
{
	struct rig *r = *state;
	struct raw_tls t;
	uint8_t c = 0;

	raw_tls_open(r, &t);
	assert_int_equal(gnutls_record_send(t.session, &c, 1), 1);
	gnutls_bye(t.session, GNUTLS_SHUT_WR);
	assert_int_equal(read_to_the_end(r->loop, r->b.fd), 1);
	raw_tls_close(&t);
	assert_int_equal(r->b.notes, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(large_streams_arrive_bit_by_bit_both_ways_at_once),
		test(a_small_message_is_not_kept_for_others_to_come),
		test(a_relay_understands_a_kernel),
		test(what_was_written_before_the_end_arrives),
		test(the_last_words_of_a_daemon_that_ends_arrive),
		test(a_connection_whose_user_is_gone_ends_though_the_peer_does_not_read),
		test(ends_within_bounds_when_the_peer_does_not_read),
		test(shutting_down_frees_a_writer_and_a_reader),
		test(the_end_of_a_peer_frees_a_writer_and_a_reader),
		test(a_reader_that_pauses_stops_its_writer_and_loses_nothing),
		test(bytes_that_came_are_seen_wherever_they_are),
		test(bytes_that_are_not_unsent_are_the_kernels),
		test(new_keys_and_empty_records_do_not_disturb),
		test(a_peer_that_announces_its_end_is_heard_to_the_end),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
