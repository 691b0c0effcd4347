// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD negotiation: each option by its bytes, and every limit. */
#include "tests/unit/nbd-core-rig.h"

/* Take one reply to an option off the front of what was heard; its data. */
static const uint8_t *next_reply(struct fixture *f, size_t *at, uint32_t option, uint32_t type,
				 uint32_t *len)
{
	const uint8_t *head = f->heard + *at;

	assert_true(*at + 20 <= f->n_heard);
	assert_true(get_be64(head) == NBD_REP_MAGIC);
	assert_int_equal(get_be32(head + 8), option);
	assert_int_equal(get_be32(head + 12), type);
	*len = get_be32(head + 16);
	*at += 20 + *len;
	assert_true(*at <= f->n_heard);
	return head + 20;
}

static void assert_refused(struct fixture *f, size_t at, uint32_t option, uint32_t type)
{
	uint32_t len;

	next_reply(f, &at, option, type, &len);
	assert_true(len > 0);
	assert_int_equal(at, f->n_heard);
	assert_int_equal(f->end, 0);
	assert_int_equal(f->attached, 0);
}

static void the_greeting_offers_fixed_newstyle_without_zeroes(void **state)
{
	struct fixture *f = *state;
	static const uint8_t want[] = "NBDMAGICIHAVEOPT\0\3";

	hear(f);
	assert_int_equal(f->n_heard, 18);
	assert_memory_equal(f->heard, want, 18);
}

static void nothing_is_read_while_an_answer_of_the_negotiation_waits(void **state)
{
	struct fixture *f = *state;
	uint8_t *at;

	assert_int_equal(nbd_core_room(&f->core, &at), 0);
	hear(f);
	assert_int_equal(nbd_core_room(&f->core, &at), 4);
}

static void flags_that_were_not_offered_end_the_connection(void **state)
{
	struct fixture *f = *state;

	for (uint32_t bit = 0; bit < 32; bit++) {
		begin(f);
		say_flags(f, 1u << bit);
		feed(f, 100);
		assert_int_equal(f->end, bit < 2 ? 0 : -EPROTO);
		assert_int_equal(f->e.msg[0] != 0, bit >= 2);
	}
}

static void go_tells_size_flags_and_block_sizes(void **state)
{
	struct fixture *f = *state;
	const uint8_t *data;
	size_t at = 18;
	uint32_t len;

	say_flags(f, 3);
	say_info(&f->said, NBD_OPT_GO, "other", 9999);
	feed(f, 100);
	data = next_reply(f, &at, NBD_OPT_GO, 3, &len);
	assert_int_equal(len, 12);
	assert_int_equal(get_be16(data), 0);
	assert_true(get_be64(data + 2) == OTHER_BYTES);
	assert_int_equal(get_be16(data + 10), FLAGS);
	data = next_reply(f, &at, NBD_OPT_GO, 3, &len);
	assert_int_equal(len, 14);
	assert_int_equal(get_be16(data), 3);
	assert_int_equal(get_be32(data + 2), 1);
	assert_int_equal(get_be32(data + 6), 4096);
	assert_int_equal(get_be32(data + 10), 2 * MIB);
	next_reply(f, &at, NBD_OPT_GO, 1, &len);
	assert_int_equal(len, 0);
	assert_int_equal(at, f->n_heard);
	assert_int_equal(f->attached, 1);
	assert_int_equal(nbd_core_export(&f->core), 1);
}

static void info_tells_the_same_and_the_name_if_asked_and_stays_in_the_negotiation(void **state)
{
	struct fixture *f = *state;
	const uint8_t *data;
	size_t at = 18;
	uint32_t len;

	say_flags(f, 3);
	say_info(&f->said, NBD_OPT_INFO, "disk0", 1);
	say_option(&f->said, NBD_OPT_LIST, 0);
	feed(f, 100);
	next_reply(f, &at, NBD_OPT_INFO, 3, &len);
	next_reply(f, &at, NBD_OPT_INFO, 3, &len);
	data = next_reply(f, &at, NBD_OPT_INFO, 3, &len);
	assert_int_equal(len, 7);
	assert_memory_equal(data, "\0\1disk0", 7);
	next_reply(f, &at, NBD_OPT_INFO, 1, &len);
	data = next_reply(f, &at, NBD_OPT_LIST, 2, &len);
	assert_int_equal(len, 9);
	assert_memory_equal(data, "\0\0\0\5disk0", 9);
	data = next_reply(f, &at, NBD_OPT_LIST, 2, &len);
	assert_memory_equal(data, "\0\0\0\5other", 9);
	data = next_reply(f, &at, NBD_OPT_LIST, 2, &len);
	assert_memory_equal(data, "\0\0\0\3cut", 7);
	next_reply(f, &at, NBD_OPT_LIST, 1, &len);
	assert_int_equal(at, f->n_heard);
	assert_int_equal(f->attached, 0);
	assert_true(nbd_core_export(&f->core) == NBD_EXPORT_UNKNOWN);
}

static void all_exports_with_the_longest_names_fit_into_a_list(void **state)
{
	struct fixture *f = *state;
	struct nbd_export many[NBD_EXPORTS_MAX];
	char names[NBD_EXPORTS_MAX][NBD_NAME_MAX + 1];
	size_t at = 18;
	uint32_t len;

	for (unsigned i = 0; i < NBD_EXPORTS_MAX; i++) {
		memset(names[i], 'a' + (int)i, NBD_NAME_MAX);
		names[i][NBD_NAME_MAX] = 0;
		many[i] = (struct nbd_export){names[i], 512};
		assert_true(nbd_name_ok(names[i]));
	}
	nbd_core_init(&f->core, many, NBD_EXPORTS_MAX);
	say_flags(f, 3);
	say_option(&f->said, NBD_OPT_LIST, 0);
	feed(f, 100);
	for (unsigned i = 0; i < NBD_EXPORTS_MAX; i++)
		assert_memory_equal(next_reply(f, &at, NBD_OPT_LIST, 2, &len) + 4, names[i],
				    NBD_NAME_MAX);
	next_reply(f, &at, NBD_OPT_LIST, 1, &len);
	assert_int_equal(at, f->n_heard);
	assert_false(nbd_name_ok(""));
	assert_false(
		nbd_name_ok("0123456789012345678901234567890123456789012345678901234567890123"));
}

static void export_name_attaches_with_zeroes_unless_declined(void **state)
{
	struct fixture *f = *state;
	static const uint8_t zeroes[124];

	for (uint32_t flags = 1; flags <= 3; flags += 2) {
		begin(f);
		say_flags(f, flags);
		say_option(&f->said, NBD_OPT_EXPORT_NAME, 5);
		say(&f->said, "disk0", 5);
		feed(f, 100);
		assert_int_equal(f->attached, 1);
		assert_int_equal(f->n_heard, 18 + 10 + (flags == 1 ? 124 : 0));
		assert_true(get_be64(f->heard + 18) == DISK_BYTES);
		assert_int_equal(get_be16(f->heard + 26), FLAGS);
		if (flags == 1)
			assert_memory_equal(f->heard + 28, zeroes, sizeof(zeroes));
		assert_int_equal(nbd_core_export(&f->core), 0);
	}
}

/* Not the beginning of a name, not more than it, not an empty one. */
static const char *const unknown[] = {"", "disk", "disk00", "Disk0", "xother"};

static void an_unknown_export_is_refused_and_another_can_be_asked_for(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		begin(f);
		say_flags(f, 3);
		say_info(&f->said, i % 2 ? NBD_OPT_GO : NBD_OPT_INFO, unknown[i], 3);
		feed(f, 100);
		assert_refused(f, 18, i % 2 ? NBD_OPT_GO : NBD_OPT_INFO, ERR(6));
		say_info(&f->said, NBD_OPT_GO, "disk0", 3);
		feed(f, 100);
		assert_int_equal(f->attached, 1);
	}
}

static void an_unknown_export_by_export_name_ends_the_connection(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		begin(f);
		say_flags(f, 3);
		say_option(&f->said, NBD_OPT_EXPORT_NAME, (uint32_t)strlen(unknown[i]));
		say(&f->said, unknown[i], strlen(unknown[i]));
		feed(f, 100);
		assert_int_equal(f->end, -ENOENT);
		assert_int_equal(f->n_heard, 18);
		assert_true(f->e.msg[0]);
	}
}

static void a_closed_export_is_refused_whichever_way_it_is_asked_for(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		begin(f);
		say_flags(f, 3);
		say_info(&f->said, i ? NBD_OPT_GO : NBD_OPT_INFO, "cut", 3);
		feed(f, 100);
		assert_refused(f, 18, i ? NBD_OPT_GO : NBD_OPT_INFO, ERR(7));
	}
	begin(f);
	say_flags(f, 3);
	say_option(&f->said, NBD_OPT_EXPORT_NAME, 3);
	say(&f->said, "cut", 3);
	feed(f, 100);
	assert_int_equal(f->end, -ENOENT);
}

static void lengths_that_do_not_fit_are_invalid(void **state)
{
	/* length of the option, of the name, count of informations: one is wrong in each */
	static const uint32_t bad[][3] = {{5, 0, 0},           {0, 0, 0},       {11, 6, 0},
					  {11, 4, 0},          {11, 5, 1},      {13, 5, 0},
					  {11, 0xffffffff, 0}, {11, 5, 0xffff}, {12, 5, 0}};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct said data = {};

		begin(f);
		say_be(&data, bad[i][1], 4);
		say(&data, "disk0", 5);
		say_be(&data, bad[i][2], 2);
		say_be(&data, 3, 2);
		say_flags(f, 3);
		say_option(&f->said, NBD_OPT_GO, bad[i][0]);
		say(&f->said, data.bytes, bad[i][0]);
		feed(f, 100);
		assert_refused(f, 18, NBD_OPT_GO, ERR(3));
	}
	begin(f);
	say_flags(f, 3);
	say_option(&f->said, NBD_OPT_LIST, 1);
	say_be(&f->said, 0, 1);
	feed(f, 100);
	assert_refused(f, 18, NBD_OPT_LIST, ERR(3));
}

static void every_other_option_is_unsupported(void **state)
{
	static const uint32_t options[] = {0, 4, 5, 8, 9, 10, 11, 12, 0x80000007, 0xffffffff};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		begin(f);
		say_flags(f, 3);
		say_option(&f->said, options[i], i);
		say(&f->said, "0123456789", i);
		feed(f, 100);
		assert_refused(f, 18, options[i], ERR(1));
	}
}

static void an_option_may_have_as_much_data_as_the_limit_and_no_more(void **state)
{
	struct fixture *f = *state;
	uint8_t data[NBD_OPTION_MAX] = {};

	say_flags(f, 3);
	say_option(&f->said, 77, NBD_OPTION_MAX);
	say(&f->said, data, sizeof(data));
	feed(f, 1000);
	assert_refused(f, 18, 77, ERR(1));
	say_option(&f->said, 78, NBD_OPTION_MAX + 1);
	feed(f, 1000);
	assert_int_equal(f->end, -EPROTO);
	assert_non_null(strstr(f->e.msg, "78"));
}

static void abort_is_acknowledged_and_ends_it(void **state)
{
	struct fixture *f = *state;
	size_t at = 18;
	uint32_t len;
	uint8_t *room;

	say_flags(f, 3);
	say_option(&f->said, NBD_OPT_ABORT, 0);
	say_option(&f->said, NBD_OPT_LIST, 0);
	feed(f, 100);
	next_reply(f, &at, NBD_OPT_ABORT, 1, &len);
	assert_int_equal(at, f->n_heard);
	assert_int_equal(f->bye, 1);
	assert_int_equal(f->left, 16);
	assert_int_equal(nbd_core_room(&f->core, &room), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(the_greeting_offers_fixed_newstyle_without_zeroes),
		t(nothing_is_read_while_an_answer_of_the_negotiation_waits),
		t(flags_that_were_not_offered_end_the_connection),
		t(go_tells_size_flags_and_block_sizes),
		t(info_tells_the_same_and_the_name_if_asked_and_stays_in_the_negotiation),
		t(all_exports_with_the_longest_names_fit_into_a_list),
		t(export_name_attaches_with_zeroes_unless_declined),
		t(an_unknown_export_is_refused_and_another_can_be_asked_for),
		t(an_unknown_export_by_export_name_ends_the_connection),
		t(a_closed_export_is_refused_whichever_way_it_is_asked_for),
		t(lengths_that_do_not_fit_are_invalid),
		t(every_other_option_is_unsupported),
		t(an_option_may_have_as_much_data_as_the_limit_and_no_more),
		t(abort_is_acknowledged_and_ends_it),
	};

	return cmocka_run_group_tests_name("nbd-options", tests, NULL, NULL);
}
