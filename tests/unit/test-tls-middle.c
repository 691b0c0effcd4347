// SPDX-License-Identifier: GPL-2.0-or-later
/* A man in the middle of an encrypted connection alters, repeats, reorders, cuts: nothing of it is believed. */
#include "tests/unit/tls-pair-rig.h"

/* Without the kernel's help there are relays to be asked and heard. */
static bool by_relay(const struct rig *r)
{
	return r->b.tls->relay_count > 0;
}

#define MESSAGES 4
#define MESSAGE  100

/* The records of so many messages of a, taken off the wire. */
static void take_records(struct rig *r, uint8_t rec[][RECORD_MAX], size_t len[], int count)
{
	shake_through(r->loop, &r->m, &r->a, &r->b);
	for (int i = 0; i < count; i++) {
		write_all(r->a.fd, (size_t)i * MESSAGE, MESSAGE);
		len[i] = read_record(r->loop, r->m.a, rec[i]);
		assert_true(len[i] > MESSAGE);
	}
}

/* @before: messages that are still believed. After that b hears nothing more, and says why. */
static void assert_broken_off(struct rig *r, int before, const char *note)
{
	assert_int_equal(read_to_the_end(r->loop, r->b.fd), before * MESSAGE);
	if (by_relay(r) && note)
		turn_until(r->loop, r->b.notes);
	if (by_relay(r) && note && !strstr(r->b.note, note))
		fail_msg("noted: %s", r->b.note);
	party_hang_up(&r->b);
	turn_and_poll_until(r->loop, raw_ended(r->m.b));
}

static void put(struct rig *r, const uint8_t *record, size_t len)
{
	assert_int_equal(send(r->m.b, record, len, MSG_NOSIGNAL), len);
}

static void no_flipped_bit_is_believed(void **state)
{
	/* Length and contents; type and version say nothing that counts (RFC 8446, 5.1 and 5.2). */
	static const size_t at[] = {3, 4, 5, 50, 104, 105, 121};
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		take_records(r, rec, len, MESSAGES);
		put(r, rec[0], len[0]);
		rec[1][at[i]] ^= (uint8_t)(1 << i % 8);
		put(r, rec[1], len[1]);
		put(r, rec[2], len[2]);
		shutdown(r->m.b, SHUT_WR);
		assert_broken_off(r, 1,
				  at[i] == 3 || at[i] == 4 ? NULL : "TLS: connection broken off");
		party_hang_up(&r->a);
		middle_close(&r->m);
		r->b.notes = 0;
	}
}

static void no_record_is_believed_twice(void **state)
{
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	take_records(r, rec, len, MESSAGES);
	put(r, rec[0], len[0]);
	put(r, rec[1], len[1]);
	put(r, rec[1], len[1]);
	put(r, rec[2], len[2]);
	assert_broken_off(r, 2, "TLS: connection broken off");
}

static void no_record_is_believed_out_of_order(void **state)
{
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	take_records(r, rec, len, MESSAGES);
	put(r, rec[0], len[0]);
	put(r, rec[2], len[2]);
	put(r, rec[1], len[1]);
	assert_broken_off(r, 1, "TLS: connection broken off");
}

static void a_record_sent_back_to_its_sender_is_not_believed(void **state)
{
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	take_records(r, rec, len, 1);
	assert_int_equal(send(r->m.a, rec[0], len[0], MSG_NOSIGNAL), len[0]);
	assert_int_equal(read_to_the_end(r->loop, r->a.fd), 0);
}

static void a_record_of_another_connection_is_not_believed(void **state)
{
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	take_records(r, rec, len, MESSAGES);
	party_hang_up(&r->a);
	party_hang_up(&r->b);
	middle_close(&r->m);
	shake_through(r->loop, &r->m, &r->a, &r->b);
	put(r, rec[0], len[0]);
	assert_broken_off(r, 0, "TLS: connection broken off");
}

/* Neither an announced end nor an alert can be forged: both would have to be encrypted. */
static void a_forged_end_is_not_taken_for_an_announced_one(void **state)
{
	static const uint8_t close_notify[] = {21, 3, 3, 0, 2, 1, 0};
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	take_records(r, rec, len, MESSAGES);
	put(r, rec[0], len[0]);
	put(r, close_notify, sizeof(close_notify));
	assert_broken_off(r, 1, "TLS: connection broken off");
}

static void a_stream_that_is_cut_ends_where_it_was_cut(void **state)
{
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	for (size_t cut = 0; cut < 2 * MESSAGE; cut += 33) {
		take_records(r, rec, len, MESSAGES);
		put(r, rec[0], len[0]);
		if (cut)
			put(r, rec[1], MIN(cut, len[1] - 1));
		shutdown(r->m.b, SHUT_WR);
		assert_broken_off(r, 1, NULL);
		party_hang_up(&r->a);
		middle_close(&r->m);
	}
}

static void the_other_end_hears_that_it_was_not_believed(void **state)
{
	static uint8_t rec[MESSAGES][RECORD_MAX];
	struct rig *r = *state;
	size_t len[MESSAGES];

	take_records(r, rec, len, 2);
	put(r, rec[1], len[1]);
	turn_and_poll_until(r->loop, raw_readable(r->b.fd));
	party_hang_up(&r->b);
	turn_and_poll_until(r->loop, raw_readable(r->m.b));
	shutdown(r->m.a, SHUT_WR);
	assert_int_equal(read_to_the_end(r->loop, r->a.fd), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(no_flipped_bit_is_believed),
		test(no_record_is_believed_twice),
		test(no_record_is_believed_out_of_order),
		test(a_record_sent_back_to_its_sender_is_not_believed),
		test(a_record_of_another_connection_is_not_believed),
		test(a_forged_end_is_not_taken_for_an_announced_one),
		test(a_stream_that_is_cut_ends_where_it_was_cut),
		test(the_other_end_hears_that_it_was_not_believed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
