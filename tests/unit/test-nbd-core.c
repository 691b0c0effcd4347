// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD protocol core: each option and command by its bytes, every limit, any split of the stream. */
#include "base/cleanup.h"
#include "colod/disk/nbd-core.h"
#include "tests/unit/nbd-client.h"
#include "tests/unit/unit.h"

#define DISK_BYTES   (64 * MIB + 512)
#define OTHER_BYTES  UINT64_C(0x7ffffffffffffe00)
#define FLAGS        0x6d /* of an export: flags, flush, FUA, trim, zeroes */
#define ERR(n)       (UINT32_C(0x80000000) + (n))
#define COMMANDS_MAX 64

static const struct nbd_export disks[] = {
	{"disk0", DISK_BYTES}, {"other", OTHER_BYTES}, {"cut", DISK_BYTES, .closed = true}};

/* A connection, what came out of it, and the client's bytes that it did not want any more. */
struct fixture {
	struct nbd_core core;
	struct said said;
	struct nbd_command commands[COMMANDS_MAX];
	unsigned n_commands;
	uint8_t heard[1 << 16];
	size_t n_heard, left;
	uint8_t *buffer;
	unsigned attached, bye;
	int end;
	struct err e;
};

static void begin(struct fixture *f)
{
	nbd_core_init(&f->core, disks, ARRAY_SIZE(disks));
	f->said.len = f->n_heard = f->n_commands = f->left = 0;
	f->attached = f->bye = 0;
	f->end = 0;
	f->e = (struct err){};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->buffer = malloc(NBD_BLOCK_MAX);
	assert_non_null(f->buffer);
	begin(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->buffer);
	free(f);
	return 0;
}

static void hear(struct fixture *f)
{
	const uint8_t *at;
	size_t n;

	while ((n = nbd_core_out(&f->core, &at))) {
		n = MIN(n, 7);
		assert_true(f->n_heard + n <= sizeof(f->heard));
		memcpy(f->heard + f->n_heard, at, n);
		f->n_heard += n;
		nbd_core_sent(&f->core, n);
	}
}

static void on_event(struct fixture *f, int event)
{
	if (event == NBD_TAKE) {
		uint8_t *at;

		assert_int_equal(nbd_core_room(&f->core, &at), 0);
		event = nbd_core_take(&f->core, f->buffer);
	}
	if (event == NBD_TAKEN) {
		assert_true(f->n_commands < COMMANDS_MAX);
		f->commands[f->n_commands++] = *nbd_core_command(&f->core);
	}
	f->attached += event == NBD_ATTACHED;
	f->bye += event == NBD_BYE;
}

/* Feed what was said in pieces of at most @piece bytes. */
static void feed(struct fixture *f, size_t piece)
{
	const uint8_t *from = f->said.bytes;

	f->left = f->said.len;
	hear(f);
	while (f->left) {
		uint8_t *at;
		size_t n = MIN(MIN(nbd_core_room(&f->core, &at), piece), f->left);
		int r;

		if (!n)
			break;
		memcpy(at, from, n);
		from += n;
		f->left -= n;
		r = nbd_core_filled(&f->core, n, &f->e);
		if (r < 0)
			f->end = r;
		else
			on_event(f, r);
		hear(f);
	}
	f->said.len = 0;
}

static void say_flags(struct fixture *f, uint32_t flags)
{
	say_be(&f->said, flags, 4);
}

/* Through the negotiation to the commands. */
static void attach(struct fixture *f, const char *name)
{
	begin(f);
	say_flags(f, 3);
	say_info(&f->said, NBD_OPT_GO, name, 3);
	feed(f, 1000);
	assert_int_equal(f->attached, 1);
	f->n_heard = 0;
}

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

static void wrong_magic_ends_the_connection(void **state)
{
	struct fixture *f = *state;

	say_flags(f, 3);
	say_be(&f->said, NBD_OPT_MAGIC + 1, 8);
	say_be(&f->said, 0, 8);
	feed(f, 100);
	assert_int_equal(f->end, -EPROTO);
	assert_non_null(strstr(f->e.msg, "option begins"));
	attach(f, "disk0");
	say_be(&f->said, NBD_CMD_MAGIC ^ 0x80000000, 4);
	say_be(&f->said, 0, 8);
	say_be(&f->said, 0, 8);
	say_be(&f->said, 0, 8);
	feed(f, 100);
	assert_int_equal(f->end, -EPROTO);
	assert_non_null(strstr(f->e.msg, "command begins"));
	assert_int_equal(f->n_commands, 0);
}

enum {
	FUA = 1,
	NO_HOLE = 2,
	DF = 4,
	REQ_ONE = 8,
	FAST_ZERO = 16,
	PAYLOAD_LEN = 32,
};

static void a_command_comes_with_all_that_it_says(void **state)
{
	struct fixture *f = *state;
	const struct nbd_command *cmd = f->commands;

	attach(f, "disk0");
	say_command(&f->said, NBD_CMD_WRITE, FUA, 0x1122334455667788, 0x1000, 5);
	say(&f->said, "bytes", 5);
	say_command(&f->said, NBD_CMD_READ, 0, 2, 512, NBD_BLOCK_MAX);
	say_command(&f->said, NBD_CMD_WRITE_ZEROES, NO_HOLE, 3, 0, DISK_BYTES);
	say_command(&f->said, NBD_CMD_WRITE_ZEROES, 0, 4, 1, 1);
	say_command(&f->said, NBD_CMD_TRIM, 0, 5, DISK_BYTES - 1, 1);
	say_command(&f->said, NBD_CMD_FLUSH, 0, 6, 0, 0);
	feed(f, 1000);
	assert_int_equal(f->n_commands, 6);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(cmd[i].error, 0);
		assert_true(cmd[i].cookie == (i ? i + 1 : 0x1122334455667788));
		assert_int_equal(cmd[i].fua, i == 0);
	}
	assert_memory_equal(f->buffer, "bytes", 5);
	assert_int_equal(cmd[0].type, NBD_CMD_WRITE);
	assert_int_equal(cmd[0].offset, 0x1000);
	assert_int_equal(cmd[0].length, 5);
	assert_int_equal(nbd_command_buffer(&cmd[0]), 5);
	assert_int_equal(nbd_command_buffer(&cmd[1]), NBD_BLOCK_MAX);
	assert_int_equal(nbd_command_buffer(&cmd[2]), 0);
	assert_false(cmd[2].may_unmap);
	assert_true(cmd[3].may_unmap);
	assert_int_equal(cmd[4].type, NBD_CMD_TRIM);
	assert_int_equal(cmd[5].type, NBD_CMD_FLUSH);
}

/* One command of the client, and what it is to be answered with. */
struct verdict {
	uint16_t type, flags;
	uint64_t offset;
	uint32_t length, error;
};

static void assert_verdict(struct fixture *f, const struct verdict *v)
{
	static const uint8_t data[512];
	uint32_t left = v->type == NBD_CMD_WRITE ? v->length : 0;

	attach(f, "disk0");
	say_command(&f->said, v->type, v->flags, 9, v->offset, v->length);
	feed(f, 100);
	for (; left; left -= MIN(left, sizeof(data))) {
		say(&f->said, data, MIN(left, sizeof(data)));
		feed(f, 512);
	}
	/* The stream is still understood. */
	say_command(&f->said, NBD_CMD_FLUSH, 0, 10, 0, 0);
	feed(f, 100);
	assert_int_equal(f->end, 0);
	assert_int_equal(f->n_commands, 2);
	assert_int_equal(f->commands[0].cookie, 9);
	assert_int_equal(f->commands[0].error, v->error);
	assert_int_equal(f->commands[1].cookie, 10);
}

static void every_bound_of_a_range_is_checked(void **state)
{
	static const struct verdict v[] = {
		{NBD_CMD_READ, 0, DISK_BYTES - 512, 512, 0},
		{NBD_CMD_READ, 0, DISK_BYTES - 511, 512, 22},
		{NBD_CMD_READ, 0, DISK_BYTES, 1, 22},
		{NBD_CMD_READ, 0, UINT64_MAX, 1, 22},
		{NBD_CMD_READ, 0, UINT64_MAX - 511, 512, 22},
		{NBD_CMD_READ, 0, 0, NBD_BLOCK_MAX, 0},
		{NBD_CMD_READ, 0, 0, NBD_BLOCK_MAX + 1, 22},
		{NBD_CMD_READ, 0, 0, UINT32_MAX, 22},
		{NBD_CMD_READ, 0, 0, 0, 22},
		{NBD_CMD_WRITE, 0, DISK_BYTES - 512, 512, 0},
		{NBD_CMD_WRITE, 0, DISK_BYTES - 511, 512, 28},
		{NBD_CMD_WRITE, 0, UINT64_MAX - 511, 512, 28},
		{NBD_CMD_WRITE, 0, 0, NBD_BLOCK_MAX, 0},
		{NBD_CMD_WRITE, 0, 0, NBD_BLOCK_MAX + 1, 22},
		{NBD_CMD_WRITE, 0, 0, NBD_SKIP_MAX, 22},
		{NBD_CMD_WRITE, 0, 0, 0, 22},
		{NBD_CMD_WRITE_ZEROES, 0, 0, DISK_BYTES, 0},
		{NBD_CMD_WRITE_ZEROES, 0, 1, DISK_BYTES, 28},
		{NBD_CMD_WRITE_ZEROES, 0, UINT64_MAX - 1, UINT32_MAX, 28},
		{NBD_CMD_WRITE_ZEROES, 0, 0, 0, 22},
		{NBD_CMD_TRIM, 0, 0, DISK_BYTES, 0},
		{NBD_CMD_TRIM, 0, 1, DISK_BYTES, 22},
		{NBD_CMD_TRIM, 0, UINT64_MAX, UINT32_MAX, 22},
		{NBD_CMD_TRIM, 0, 0, 0, 22},
		{NBD_CMD_FLUSH, 0, 1, 0, 22},
		{NBD_CMD_FLUSH, 0, 0, 1, 22},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(v); i++)
		assert_verdict(*state, &v[i]);
}

static void a_flag_is_taken_only_where_it_means_something(void **state)
{
	static const uint16_t types[] = {NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_FLUSH, NBD_CMD_TRIM,
					 NBD_CMD_WRITE_ZEROES};

	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		for (unsigned bit = 0; bit < 16; bit++) {
			uint16_t flag = (uint16_t)(1u << bit);
			bool ok = flag == FUA ||
				  (flag == NO_HOLE && types[t] == NBD_CMD_WRITE_ZEROES);
			struct verdict v = {types[t], flag, 0, types[t] == NBD_CMD_FLUSH ? 0 : 512,
					    ok ? 0 : 22};

			assert_verdict(*state, &v);
		}
	}
}

static void unknown_commands_are_answered_and_have_no_data(void **state)
{
	static const uint16_t types[] = {5, 7, 8, 255, 0xffff};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct verdict v = {types[i], 0, 0, 4096, 22};

		assert_verdict(*state, &v);
	}
}

static void a_write_that_is_too_long_to_be_skipped_ends_the_connection(void **state)
{
	struct fixture *f = *state;

	attach(f, "other");
	say_command(&f->said, NBD_CMD_WRITE, 0, 1, 0, NBD_SKIP_MAX + 1);
	feed(f, 100);
	assert_int_equal(f->end, -EPROTO);
	assert_non_null(strstr(f->e.msg, "33554433"));
	assert_int_equal(f->n_commands, 0);
}

static void disconnect_ends_it_and_nothing_after_it_is_read(void **state)
{
	struct fixture *f = *state;
	uint8_t *at;

	attach(f, "disk0");
	say_command(&f->said, NBD_CMD_DISC, 0, 1, 0, 0);
	say_command(&f->said, NBD_CMD_FLUSH, 0, 2, 0, 0);
	feed(f, 100);
	assert_int_equal(f->bye, 1);
	assert_int_equal(f->n_commands, 0);
	assert_int_equal(f->left, NBD_HEAD_BYTES);
	assert_int_equal(nbd_core_room(&f->core, &at), 0);
}

static void a_write_takes_no_byte_beyond_its_own(void **state)
{
	struct fixture *f = *state;
	autofree uint8_t *exact = malloc(10);

	attach(f, "disk0");
	free(f->buffer);
	f->buffer = steal_ptr(&exact); /* the sanitizer sees a byte beyond */
	say_command(&f->said, NBD_CMD_WRITE, 0, 1, 0, 10);
	say(&f->said, "0123456789", 10);
	say_command(&f->said, NBD_CMD_FLUSH, 0, 2, 0, 0);
	feed(f, 1000);
	assert_int_equal(f->n_commands, 2);
	assert_memory_equal(f->buffer, "0123456789", 10);
}

static void say_everything(struct fixture *f)
{
	say_flags(f, 1);
	say_option(&f->said, NBD_OPT_STRUCTURED_REPLY, 0);
	say_option(&f->said, NBD_OPT_LIST, 0);
	say_info(&f->said, NBD_OPT_INFO, "other", 1);
	say_info(&f->said, NBD_OPT_GO, "nothing", 1);
	say_info(&f->said, NBD_OPT_GO, "disk0", 3);
	say_command(&f->said, NBD_CMD_WRITE, 0, 1, 77, 9);
	say(&f->said, "some data", 9);
	say_command(&f->said, NBD_CMD_WRITE, 0, 2, UINT64_MAX, 9);
	say(&f->said, "more data", 9);
	say_command(&f->said, 99, 0, 3, 0, 0);
	say_command(&f->said, NBD_CMD_TRIM, FUA, 4, 512, 512);
	say_command(&f->said, NBD_CMD_DISC, 0, 0, 0, 0);
}

static void the_split_of_the_stream_makes_no_difference(void **state)
{
	struct fixture *f = *state;
	autofree struct fixture *whole = calloc(1, sizeof(*whole));

	assert_non_null(whole);
	begin(whole);
	whole->buffer = f->buffer;
	say_everything(whole);
	feed(whole, SIZE_MAX);
	assert_int_equal(whole->bye, 1);
	assert_int_equal(whole->n_commands, 4);
	for (size_t piece = 1; piece < 64; piece++) {
		begin(f);
		say_everything(f);
		feed(f, piece);
		assert_int_equal(f->bye, 1);
		assert_int_equal(f->n_heard, whole->n_heard);
		assert_memory_equal(f->heard, whole->heard, whole->n_heard);
		assert_int_equal(f->n_commands, whole->n_commands);
		assert_memory_equal(f->commands, whole->commands,
				    whole->n_commands * sizeof(whole->commands[0]));
		assert_memory_equal(f->buffer, "some data", 9);
	}
}

static void a_reply_names_its_command_and_an_error_of_the_protocol(void **state)
{
	static const int errors[][2] = {
		{0, 0},           {EPERM, 1},       {EROFS, 1},      {EACCES, 1},
		{EIO, 5},         {ENOMEM, 12},     {EINVAL, 22},    {ENOSPC, 28},
		{EDQUOT, 28},     {EFBIG, 28},      {EOVERFLOW, 75}, {ENOTSUP, 95},
		{ESHUTDOWN, 108}, {ECANCELED, 108}, {EBADF, 5},      {ETIMEDOUT, 5},
	};
	uint8_t buf[NBD_REPLY_BYTES];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		assert_int_equal(nbd_error(errors[i][0]), errors[i][1]);
		assert_int_equal(nbd_error(-errors[i][0]), errors[i][1]);
	}
	nbd_encode_reply(buf, 0x0102030405060708, 28);
	assert_memory_equal(buf, "\x67\x44\x66\x98\0\0\0\x1c\1\2\3\4\5\6\7\10", 16);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
		t(wrong_magic_ends_the_connection),
		t(a_command_comes_with_all_that_it_says),
		t(every_bound_of_a_range_is_checked),
		t(a_flag_is_taken_only_where_it_means_something),
		t(unknown_commands_are_answered_and_have_no_data),
		t(a_write_that_is_too_long_to_be_skipped_ends_the_connection),
		t(disconnect_ends_it_and_nothing_after_it_is_read),
		t(a_write_takes_no_byte_beyond_its_own),
		t(the_split_of_the_stream_makes_no_difference),
		t(a_reply_names_its_command_and_an_error_of_the_protocol),
	};

	return cmocka_run_group_tests_name("nbd-core", tests, NULL, NULL);
}
