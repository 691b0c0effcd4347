// SPDX-License-Identifier: GPL-2.0-or-later
/* Handshakes: who is let in, who is not and hears why; what of the files is refused at the start. */
#include "tests/unit/tls-rig.h"

struct rig {
	struct loop *loop;
	struct party a, b; /* a calls b */
	struct authority ca, other_ca;
	unsigned descriptors;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e;

	assert_ok(loop_new(&r->loop, &e), &e);
	r->a.fd = r->b.fd = -1;
	r->a.config.insecure = r->b.config.insecure = true; /* who has no tls = */
	authority_init(&r->ca);
	authority_init(&r->other_ca);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	party_free(&r->a);
	party_free(&r->b);
	authority_free(&r->ca);
	authority_free(&r->other_ca);
	loop_free(r->loop);
	free(r);
	return 0;
}

static void open_both(struct rig *r)
{
	party_open(&r->a, r->loop);
	party_open(&r->b, r->loop);
	r->descriptors = open_descriptors();
}

/* Both hosts have certificates for names of their own and each knows the other's. */
static void use_certificates(struct rig *r, const struct subject *a, const struct subject *b)
{
	use_x509(&r->a.config, "a", &r->ca, &r->ca, a, "b.example");
	use_x509(&r->b.config, "b", &r->ca, &r->ca, b, "a.example");
}

static void assert_believed(struct rig *r)
{
	open_both(r);
	shake(r->loop, &r->a, &r->b);
	assert_string_equal(r->a.why, "");
	assert_string_equal(r->b.why, "");
	assert_carries(r->loop, r->a.fd, r->b.fd, "to the listener");
	assert_carries(r->loop, r->b.fd, r->a.fd, "to the caller");
}

/* Nobody has a stream, and nothing is left behind. */
static void assert_refused(struct rig *r, const char *a_hears, const char *b_hears)
{
	if (!r->a.tls)
		open_both(r);
	shake(r->loop, &r->a, &r->b);
	assert_int_equal(r->a.fd, -1);
	assert_int_equal(r->b.fd, -1);
	if (!strstr(r->a.why, a_hears) || !strstr(r->b.why, b_hears))
		fail_msg("the caller hears: %s\nthe listener hears: %s", r->a.why, r->b.why);
	assert_int_equal(open_descriptors(), r->descriptors);
}

/* ---- keys ---- */

static void the_same_key_lets_in(void **state)
{
	struct rig *r = *state;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	assert_believed(r);
	assert_string_equal(r->a.who.name, "psk vm");
	assert_true(tls_same_peer(&r->a.who, &r->b.who));
}

static void another_key_does_not(void **state)
{
	struct rig *r = *state;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_B);
	assert_refused(r, "TLS: it refuses us", "TLS: ");
}

/* The listener's file may have the caller's line, for another guest. */
static void another_identity_does_not(void **state)
{
	static const char *const others[] = {"other", "v", "vm2", "VM"};
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		use_psk(&r->a.config, others[i], i ? KEY_A : KEY_B);
		use_psk(&r->b.config, "vm", KEY_A);
		assert_refused(r, "TLS: it refuses us", "it does not call as \"vm\"");
		party_free(&r->a);
		party_free(&r->b);
	}
}

static void a_refused_caller_may_come_back(void **state)
{
	struct rig *r = *state;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_B);
	assert_refused(r, "TLS", "TLS");
	party_free(&r->a);
	use_psk(&r->a.config, "vm", KEY_B);
	party_open(&r->a, r->loop);
	shake(r->loop, &r->a, &r->b);
	assert_true(r->a.fd >= 0 && r->b.fd >= 0);
}

/* ---- certificates ---- */

static void certificates_of_one_authority_let_in(void **state)
{
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"), b = GOOD_SUBJECT("b.example");

	use_certificates(r, &a, &b);
	assert_believed(r);
	assert_int_equal(strncmp(r->a.who.name, "x509 ", 5), 0);
	assert_int_equal(strlen(r->a.who.name), 5 + 64);
	assert_false(tls_same_peer(&r->a.who, &r->b.who));
}

/* Without tls_peer_name it is the host of peer =, which may be an address. */
static void a_certificate_may_be_for_an_address(void **state)
{
	struct rig *r = *state;
	struct subject s = GOOD_SUBJECT("192.0.2.7");

	use_x509(&r->a.config, "a", &r->ca, &r->ca, &s, "192.0.2.7");
	use_x509(&r->b.config, "b", &r->ca, &r->ca, &s, "");
	free(steal_ptr(&r->b.config.tls_peer_name));
	r->b.config.peer_count = 1;
	snprintf(r->b.config.peers[0].host, sizeof(r->b.config.peers[0].host), "192.0.2.7");
	assert_believed(r);
}

static void an_expired_certificate_is_refused_either_way(void **state)
{
	struct rig *r = *state;
	struct subject good = GOOD_SUBJECT("a.example"),
		       old = {.name = "b.example", .from_s = -7200, .to_s = -3600};

	use_certificates(r, &good, &old);
	assert_refused(r, "expired", "TLS: it refuses us");
	party_free(&r->a);
	party_free(&r->b);
	old.name = "a.example";
	good.name = "b.example";
	use_certificates(r, &old, &good);
	assert_refused(r, "TLS: it refuses us", "expired");
}

static void a_certificate_of_tomorrow_is_refused(void **state)
{
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"),
		       b = {.name = "b.example", .from_s = 3600, .to_s = 7200};

	use_certificates(r, &a, &b);
	assert_refused(r, "not yet", "TLS: it refuses us");
}

static void a_certificate_of_another_authority_is_refused_either_way(void **state)
{
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"), b = GOOD_SUBJECT("b.example");

	use_x509(&r->a.config, "a", &r->ca, &r->ca, &a, "b.example");
	use_x509(&r->b.config, "b", &r->ca, &r->other_ca, &b, "a.example");
	assert_refused(r, "NOT trusted", "TLS: it refuses us");
	party_free(&r->a);
	party_free(&r->b);
	use_x509(&r->a.config, "a", &r->ca, &r->other_ca, &a, "b.example");
	use_x509(&r->b.config, "b", &r->ca, &r->ca, &b, "a.example");
	assert_refused(r, "TLS: ", "TLS: ");
}

static void a_certificate_for_another_name_is_refused_either_way(void **state)
{
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"), b = GOOD_SUBJECT("b.example"),
		       c = GOOD_SUBJECT("c.example"), any = GOOD_SUBJECT("*.example");

	use_certificates(r, &a, &c);
	assert_refused(r, "is not for \"b.example\"", "TLS: it refuses us");
	party_free(&r->a);
	party_free(&r->b);
	use_certificates(r, &c, &b);
	assert_refused(r, "TLS: it refuses us", "is not for \"a.example\"");
	party_free(&r->a);
	party_free(&r->b);
	use_certificates(r, &a, &any);
	assert_refused(r, "is not for \"b.example\"", "TLS: it refuses us");
}

static void a_certificate_for_callers_only_cannot_listen(void **state)
{
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"), b = GOOD_SUBJECT("b.example");

	b.purpose = GNUTLS_KP_TLS_WWW_CLIENT;
	use_certificates(r, &a, &b);
	assert_refused(r, "certificate", "TLS: it refuses us");
}

static void a_caller_without_a_certificate_is_refused(void **state)
{
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"), b = GOOD_SUBJECT("b.example");

	use_certificates(r, &a, &b);
	open_both(r);
	gnutls_certificate_free_keys(r->a.tls->cred.x509);
	assert_refused(r, "TLS: it refuses us", "it shows no certificate");
}

/* ---- other kinds ---- */

static void one_with_a_key_and_one_with_a_certificate_do_not_meet(void **state)
{
	struct rig *r = *state;
	struct subject b = GOOD_SUBJECT("b.example");

	use_psk(&r->a.config, "vm", KEY_A);
	use_x509(&r->b.config, "b", &r->ca, &r->ca, &b, "a.example");
	assert_refused(r, "Is tls = the same on both", "same tls = set on both hosts?");
}

static void replace_priority(struct party *p, const char *text)
{
	gnutls_priority_deinit(p->tls->cred.priority);
	assert_int_equal(gnutls_priority_init(&p->tls->cred.priority, text, NULL), 0);
}

static void older_versions_and_weaker_exchanges_are_not_taken(void **state)
{
	static const char *const weaker[] = {
		"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK:+ECDHE-PSK:+DHE-PSK",
		"NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+PSK",
		"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-CCM:-KX-ALL:+ECDHE-PSK",
	};
	struct rig *r = *state;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	open_both(r);
	for (size_t i = 0; i < ARRAY_SIZE(weaker); i++) {
		replace_priority(&r->a, weaker[i]);
		assert_refused(r, "TLS: ", "TLS: ");
	}
}

static void each_cipher_carries_bytes_both_ways(void **state)
{
	static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"};
	struct rig *r = *state;
	struct subject a = GOOD_SUBJECT("a.example"), b = GOOD_SUBJECT("b.example");
	char text[100];

	use_certificates(r, &a, &b);
	open_both(r);
	for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
		snprintf(text, sizeof(text), "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+%s",
			 ciphers[i]);
		replace_priority(&r->a, text);
		shake(r->loop, &r->a, &r->b);
		assert_string_equal(r->a.why, "");
		for (int n = 0; n < 10; n++) {
			assert_carries(r->loop, r->a.fd, r->b.fd, "to the listener");
			assert_carries(r->loop, r->b.fd, r->a.fd, "to the caller");
		}
		party_hang_up(&r->a);
		party_hang_up(&r->b);
	}
}

static void a_plain_caller_is_told_from_a_tls_caller(void **state)
{
	struct rig *r = *state;
	int fds[2];

	use_psk(&r->b.config, "vm", KEY_A);
	open_both(r);
	tcp_pair(fds);
	party_begin(&r->b, fds[1], TLS_LISTENER);
	raw_hello(fds[0], WIRE_HELLO, WIRE_CHANNEL_CONTROL, 1);
	turn_until(r->loop, r->b.done);
	assert_non_null(strstr(r->b.why, "does not speak TLS"));
	assert_int_equal(r->b.fd, -1);
	close(fds[0]);
}

static void a_plain_listener_is_told_from_a_tls_listener(void **state)
{
	struct rig *r = *state;
	int fds[2];

	use_psk(&r->a.config, "vm", KEY_A);
	open_both(r);
	tcp_pair(fds);
	party_begin(&r->a, fds[0], TLS_CALLER);
	raw_hello(fds[1], WIRE_WELCOME, WIRE_CHANNEL_CONTROL, 1);
	turn_until(r->loop, r->a.done);
	assert_non_null(strstr(r->a.why, "does not speak TLS"));
	close(fds[1]);
	tcp_pair(fds);
	party_begin(&r->a, fds[0], TLS_CALLER);
	close(fds[1]);
	turn_until(r->loop, r->a.done);
	assert_non_null(strstr(r->a.why, "hung up"));
}

static void without_tls_the_connection_itself_is_handed_on(void **state)
{
	struct rig *r = *state;
	int fds[2];

	party_open(&r->a, r->loop);
	assert_null(r->a.tls);
	tcp_pair(fds);
	party_begin(&r->a, fds[0], TLS_CALLER);
	assert_int_equal(r->a.done, 1);
	assert_int_equal(r->a.fd, fds[0]);
	assert_string_equal(r->a.who.name, "");
	close(fds[1]);
}

/* ---- half a handshake ---- */

static void a_handshake_can_be_given_up_at_any_point(void **state)
{
	struct rig *r = *state;
	uint8_t buf[RECORD_MAX];
	int to_b[2], to_a[2];
	size_t n;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	open_both(r);
	tcp_pair(to_a);
	party_begin(&r->a, to_a[0], TLS_CALLER);
	n = read_record(r->loop, to_a[1], buf);
	for (size_t len = 0; len < n; len += 41) {
		tcp_pair(to_b);
		party_begin(&r->b, to_b[1], TLS_LISTENER);
		assert_int_equal(io_write_full(to_b[0], buf, len), 0);
		while (loop_step(r->loop, 0) > 0)
			;
		assert_int_equal(r->b.done, 0);
		tls_cancel(&r->b.shake);
		turn_and_poll_until(r->loop, raw_ended(to_b[0]));
		close(to_b[0]);
	}
	tls_cancel(&r->a.shake);
	close(to_a[1]);
	assert_int_equal(open_descriptors(), r->descriptors);
	assert_int_equal(r->a.done + r->b.done, 0);
}

/* A recorded greeting of the right caller, said again by someone else. */
static void a_replayed_handshake_gets_nowhere(void **state)
{
	struct rig *r = *state;
	uint8_t hello[RECORD_MAX], buf[RECORD_MAX];
	int to_b[2], to_a[2];
	size_t n;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	open_both(r);
	tcp_pair(to_a);
	party_begin(&r->a, to_a[0], TLS_CALLER);
	n = read_record(r->loop, to_a[1], hello);
	tls_cancel(&r->a.shake);
	close(to_a[1]);
	tcp_pair(to_b);
	party_begin(&r->b, to_b[1], TLS_LISTENER);
	assert_int_equal(io_write_full(to_b[0], hello, n), 0);
	assert_true(read_record(r->loop, to_b[0], buf) > 0); /* the answer, which it cannot use */
	assert_int_equal(io_write_full(to_b[0], hello, n), 0);
	turn_until(r->loop, r->b.done);
	assert_int_equal(r->b.fd, -1);
	close(to_b[0]);
}

static void many_connections_leave_nothing(void **state)
{
	const char *count = getenv("COLOD_TEST_CONNECTIONS");
	int rounds = atoi(count ? count : "1000");
	struct rig *r = *state;

	use_psk(&r->a.config, "vm", KEY_A);
	use_psk(&r->b.config, "vm", KEY_A);
	open_both(r);
	for (int i = 0; i < rounds; i++) {
		shake(r->loop, &r->a, &r->b);
		assert_true(r->a.fd >= 0 && r->b.fd >= 0);
		if (i % 3 == 0)
			assert_carries(r->loop, r->a.fd, r->b.fd, "hello");
		party_hang_up(i % 2 ? &r->a : &r->b);
		turn_and_poll_until(r->loop, raw_ended(i % 2 ? r->b.fd : r->a.fd));
		party_hang_up(i % 2 ? &r->b : &r->a);
	}
	turn_until(r->loop, !r->a.tls->relay_count && !r->b.tls->relay_count);
	assert_int_equal(open_descriptors(), r->descriptors);
	assert_int_equal(r->a.notes + r->b.notes, 0);
}

/* ---- files ---- */

static void assert_check_says(const struct config *c, const char *words)
{
	struct err e;

	assert_true(tls_check(c, &e) < 0);
	if (!strstr(err_msg(&e), words))
		fail_msg("expected \"%s\" in: %s", words, err_msg(&e));
}

static void key_files_of_others_are_refused_with_the_way_out(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0660, 0602};
	struct rig *r = *state;
	struct subject s = GOOD_SUBJECT("a.example");
	struct config *c = &r->a.config;
	char chmod_psk[300], chmod_key[300];

	use_psk(c, "vm", KEY_A);
	use_x509(&r->b.config, "b", &r->ca, &r->ca, &s, "b.example");
	snprintf(chmod_psk, sizeof(chmod_psk), "run: chmod 600 %s", c->tls_psk_file);
	snprintf(chmod_key, sizeof(chmod_key), "run: chmod 600 %s", r->b.config.tls_key);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		chmod(c->tls_psk_file, modes[i]);
		chmod(r->b.config.tls_key, modes[i]);
		assert_check_says(c, chmod_psk);
		assert_check_says(&r->b.config, chmod_key);
	}
	chmod(c->tls_psk_file, 0400);
	assert_int_equal(tls_check(c, NULL), 0);
}

static void a_key_file_says_what_is_wrong_with_it(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "has no line \"vm:HEXKEY\""},
		{"vm2:" KEY_A "\nv:" KEY_A "\n", "has no line \"vm:HEXKEY\""},
		{"vm:" KEY_A "0\n", "hexadecimal digits"},
		{"vm:0123456789\n", "hexadecimal digits"},
		{"vm:" KEY_A KEY_A KEY_A "\n", "hexadecimal digits"},
		{"vm:" KEY_A "xy\n", "hexadecimal digits"},
		{"vm:\n", "hexadecimal digits"},
	};
	static const char *const good[] = {"vm:" KEY_A, "x:1\nvm:" KEY_A "\r\n",
					   "#c\n\nvm:" KEY_A KEY_B "\n"};
	struct rig *r = *state;
	struct config *c = &r->a.config;

	use_psk(c, "vm", KEY_A);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		free(c->tls_psk_file);
		c->tls_psk_file = key_file("keys", bad[i].text);
		assert_check_says(c, bad[i].why);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		free(c->tls_psk_file);
		c->tls_psk_file = key_file("keys", good[i]);
		assert_int_equal(tls_check(c, NULL), 0);
	}
	unlink(c->tls_psk_file);
	assert_check_says(c, "No such file");
}

static void certificate_files_say_what_is_wrong_with_them(void **state)
{
	struct rig *r = *state;
	struct subject s = GOOD_SUBJECT("a.example");
	struct config *c = &r->a.config, *d = &r->b.config;

	use_x509(c, "a", &r->ca, &r->ca, &s, "b.example");
	use_x509(d, "b", &r->ca, &r->ca, &s, "b.example");
	free(c->tls_key);
	c->tls_key = strdup(d->tls_key); /* not this certificate's */
	assert_check_says(c, "tls_cert = ");
	free(d->tls_ca);
	d->tls_ca = write_file("empty", "", 0, 0644);
	assert_check_says(d, "tls_ca = ");
	unlink(d->tls_ca);
	assert_check_says(d, "No such file");
}

static void without_encryption_only_this_host_is_reached(void **state)
{
	static const struct {
		const char *listen, *peer, *why;
	} cases[] = {
		{"127.0.0.1", "127.3.2.1", NULL},
		{"::1", "::ffff:127.0.0.1", NULL},
		{"192.0.2.1", "127.0.0.1", "listen = 192.0.2.1:1"},
		{"0.0.0.0", "127.0.0.1", "insecure = yes"},
		{"::", "::1", "tls = psk"},
		{"127.0.0.1", "192.0.2.1", "peer = 192.0.2.1:1"},
		{"127.0.0.1", "2001:db8::1", "peer = [2001:db8::1]:1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c = {.listen.port = "1", .peers[0].port = "1", .peer_count = 1};

		snprintf(c.listen.host, sizeof(c.listen.host), "%s", cases[i].listen);
		snprintf(c.peers[0].host, sizeof(c.peers[0].host), "%s", cases[i].peer);
		if (cases[i].why)
			assert_check_says(&c, cases[i].why);
		else
			assert_int_equal(tls_check(&c, NULL), 0);
		c.insecure = true;
		assert_int_equal(tls_check(&c, NULL), 0);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(the_same_key_lets_in),
		test(another_key_does_not),
		test(another_identity_does_not),
		test(a_refused_caller_may_come_back),
		test(certificates_of_one_authority_let_in),
		test(a_certificate_may_be_for_an_address),
		test(an_expired_certificate_is_refused_either_way),
		test(a_certificate_of_tomorrow_is_refused),
		test(a_certificate_of_another_authority_is_refused_either_way),
		test(a_certificate_for_another_name_is_refused_either_way),
		test(a_certificate_for_callers_only_cannot_listen),
		test(a_caller_without_a_certificate_is_refused),
		test(one_with_a_key_and_one_with_a_certificate_do_not_meet),
		test(older_versions_and_weaker_exchanges_are_not_taken),
		test(each_cipher_carries_bytes_both_ways),
		test(a_plain_caller_is_told_from_a_tls_caller),
		test(a_plain_listener_is_told_from_a_tls_listener),
		test(without_tls_the_connection_itself_is_handed_on),
		test(a_handshake_can_be_given_up_at_any_point),
		test(a_replayed_handshake_gets_nowhere),
		test(many_connections_leave_nothing),
		test(key_files_of_others_are_refused_with_the_way_out),
		test(a_key_file_says_what_is_wrong_with_it),
		test(certificate_files_say_what_is_wrong_with_them),
		test(without_encryption_only_this_host_is_reached),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
