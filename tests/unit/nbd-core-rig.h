/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An NBD core, fed with what a client says in pieces of any size, and what came out of it. */
#ifndef TESTS_UNIT_NBD_CORE_RIG_H
#define TESTS_UNIT_NBD_CORE_RIG_H

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

static inline void begin(struct fixture *f)
{
	nbd_core_init(&f->core, disks, ARRAY_SIZE(disks));
	f->said.len = f->n_heard = f->n_commands = f->left = 0;
	f->attached = f->bye = 0;
	f->end = 0;
	f->e = (struct err){};
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->buffer = malloc(NBD_BLOCK_MAX);
	assert_non_null(f->buffer);
	begin(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->buffer);
	free(f);
	return 0;
}

static inline void hear(struct fixture *f)
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

static inline void on_event(struct fixture *f, int event)
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

/* Room is within the core's own buffer or the request's. */
static inline void assert_room(const struct fixture *f, const uint8_t *at, size_t room)
{
	const uint8_t *in = f->core.in;

	if (at >= in && at <= in + sizeof(f->core.in))
		assert_true(room <= (size_t)(in + sizeof(f->core.in) - at));
	else
		assert_true(at >= f->buffer && at + room <= f->buffer + NBD_BLOCK_MAX);
}

/* Feed what was said in pieces of at most @piece bytes. */
static inline void feed(struct fixture *f, size_t piece)
{
	const uint8_t *from = f->said.bytes;

	f->left = f->said.len;
	hear(f);
	while (f->left) {
		uint8_t *at;
		size_t room = nbd_core_room(&f->core, &at);
		size_t n = MIN(MIN(room, piece), f->left);
		int r;

		if (!n)
			break;
		assert_room(f, at, room);
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

static inline void say_flags(struct fixture *f, uint32_t flags)
{
	say_be(&f->said, flags, 4);
}

/* Through the negotiation to the commands. */
static inline void attach(struct fixture *f, const char *name)
{
	begin(f);
	say_flags(f, 3);
	say_info(&f->said, NBD_OPT_GO, name, 3);
	feed(f, 1000);
	assert_int_equal(f->attached, 1);
	f->n_heard = 0;
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
