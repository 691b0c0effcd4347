/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an NBD client says, byte by byte. */
#ifndef TESTS_UNIT_NBD_CLIENT_H
#define TESTS_UNIT_NBD_CLIENT_H

#include "base/bytes.h"
#include "base/util.h"

#include <assert.h>
#include <stddef.h>

#define NBD_INIT_MAGIC   UINT64_C(0x4e42444d41474943)
#define NBD_OPT_MAGIC    UINT64_C(0x49484156454f5054)
#define NBD_REP_MAGIC    UINT64_C(0x0003e889045565a9)
#define NBD_CMD_MAGIC    UINT32_C(0x25609513)
#define NBD_SIMPLE_MAGIC UINT32_C(0x67446698)
#define NBD_HEAD_BYTES   28

enum {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
};

/* struct said - bytes for the server, in order. */
struct said {
	uint8_t bytes[1 << 16];
	size_t len;
};

static inline void say(struct said *s, const void *bytes, size_t len)
{
	assert(len <= sizeof(s->bytes) - s->len);
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
}

static inline void say_be(struct said *s, uint64_t v, unsigned bytes)
{
	uint8_t be[8];

	put_be64(be, v);
	say(s, be + 8 - bytes, bytes);
}

/* The head of an option; its data are said after it. */
static inline void say_option(struct said *s, uint32_t option, uint32_t len)
{
	say_be(s, NBD_OPT_MAGIC, 8);
	say_be(s, option, 4);
	say_be(s, len, 4);
}

/* INFO or GO for @name, asking for the information of number @info too. */
static inline void say_info(struct said *s, uint32_t option, const char *name, uint16_t info)
{
	uint32_t len = (uint32_t)strlen(name);

	say_option(s, option, 4 + len + 4);
	say_be(s, len, 4);
	say(s, name, len);
	say_be(s, 1, 2);
	say_be(s, info, 2);
}

/* The head of a command; a write's data are said after it. */
static inline void say_command(struct said *s, uint16_t type, uint16_t flags, uint64_t cookie,
			       uint64_t offset, uint32_t length)
{
	say_be(s, NBD_CMD_MAGIC, 4);
	say_be(s, flags, 2);
	say_be(s, type, 2);
	say_be(s, cookie, 8);
	say_be(s, offset, 8);
	say_be(s, length, 4);
}

#endif
