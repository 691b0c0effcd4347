// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD protocol core: each command by its bytes, every limit, any split of the stream. */
#include "tests/unit/nbd-core-rig.h"

#include "base/cleanup.h"

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
	static const uint8_t data[32 * KIB]; /* more than is skipped at once */
	uint32_t left = v->type == NBD_CMD_WRITE ? v->length : 0;

	attach(f, "disk0");
	say_command(&f->said, v->type, v->flags, 9, v->offset, v->length);
	feed(f, 100);
	for (; left; left -= MIN(left, sizeof(data))) {
		say(&f->said, data, MIN(left, sizeof(data)));
		feed(f, SIZE_MAX);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
