// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD negotiation: the greeting, and a reply to each option. */
#include "colod/disk/nbd-options.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define INIT_MAGIC  UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define REPLY_MAGIC UINT64_C(0x0003e889045565a9)

enum {
	FLAG_FIXED_NEWSTYLE = 1, /* the same bits in both directions */
	FLAG_NO_ZEROES = 2,
};

enum {
	OPT_EXPORT_NAME = 1,
	OPT_ABORT = 2,
	OPT_LIST = 3,
	OPT_INFO = 6,
	OPT_GO = 7,
};

enum {
	REP_ACK = 1,
	REP_SERVER = 2,
	REP_INFO = 3,
};

#define REP_ERR_UNSUP    UINT32_C(0x80000001)
#define REP_ERR_INVALID  UINT32_C(0x80000003)
#define REP_ERR_UNKNOWN  UINT32_C(0x80000006)
#define REP_ERR_SHUTDOWN UINT32_C(0x80000007)

enum {
	INFO_EXPORT = 0,
	INFO_NAME = 1,
	INFO_BLOCK_SIZE = 3,
};

/* HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES. */
#define TRANSMISSION_FLAGS (1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6)

#define ZEROES_BYTES     124
#define REPLY_HEAD_BYTES 20
#define EXPORT_BYTES     12
#define BLOCK_SIZE_BYTES 14
/* The longest answer to one option: the list of all exports. */
#define LIST_MAX_BYTES ((NBD_EXPORTS_MAX + 1) * (REPLY_HEAD_BYTES + 4 + NBD_NAME_MAX))
_Static_assert(LIST_MAX_BYTES <= NBD_OUT_MAX, "a list of all exports has room");

static uint8_t *out_room(struct nbd_core *c, uint32_t bytes)
{
	uint8_t *at = c->out + c->out_len;

	assert(bytes <= sizeof(c->out) - c->out_len);
	c->out_len += bytes;
	return at;
}

/* The head of a reply with @bytes of data; returns where these go. */
static uint8_t *put_reply(struct nbd_core *c, uint32_t type, uint32_t bytes)
{
	uint8_t *at = out_room(c, REPLY_HEAD_BYTES + bytes);

	put_be64(at, REPLY_MAGIC);
	put_be32(at + 8, c->option);
	put_be32(at + 12, type);
	put_be32(at + 16, bytes);
	return at + REPLY_HEAD_BYTES;
}

static int refuse(struct nbd_core *c, uint32_t type, const char *why)
{
	uint32_t len = (uint32_t)strlen(why);

	memcpy(put_reply(c, type, len), why, len);
	return NBD_MORE;
}

void nbd_greet(struct nbd_core *c)
{
	uint8_t *at = out_room(c, 18);

	put_be64(at, INIT_MAGIC);
	put_be64(at + 8, NBD_OPTION_MAGIC);
	put_be16(at + 16, FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
}

int nbd_client_flags(struct nbd_core *c, uint32_t flags, struct err *e)
{
	if (flags & ~(uint32_t)(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES))
		return err_set(e, EPROTO, "NBD client set unknown flags %#x", flags);
	c->no_zeroes = flags & FLAG_NO_ZEROES;
	return NBD_MORE;
}

static unsigned find_export(const struct nbd_core *c, const uint8_t *name, uint32_t len)
{
	for (unsigned i = 0; i < c->n_exports; i++) {
		const char *its = c->exports[i].name;

		if (strlen(its) == len && !memcmp(its, name, len))
			return i;
	}
	return NBD_EXPORT_UNKNOWN;
}

static int do_export_name(struct nbd_core *c, uint32_t len, struct err *e)
{
	unsigned i = find_export(c, c->in, len);
	uint32_t zeroes = c->no_zeroes ? 0 : ZEROES_BYTES;
	uint8_t *at;

	/* This option knows no reply that refuses. */
	if (i == NBD_EXPORT_UNKNOWN || c->exports[i].closed)
		return err_set(e, ENOENT, "NBD client asked for an export that is not served");
	at = out_room(c, 10 + zeroes);
	put_be64(at, c->exports[i].bytes);
	put_be16(at + 8, TRANSMISSION_FLAGS);
	memset(at + 10, 0, zeroes);
	c->export = i;
	return NBD_ATTACHED;
}

static int do_list(struct nbd_core *c, uint32_t len)
{
	if (len)
		return refuse(c, REP_ERR_INVALID, "LIST has no data");
	for (unsigned i = 0; i < c->n_exports; i++) {
		uint32_t name_len = (uint32_t)strlen(c->exports[i].name);
		uint8_t *at = put_reply(c, REP_SERVER, 4 + name_len);

		put_be32(at, name_len);
		memcpy(at + 4, c->exports[i].name, name_len);
	}
	put_reply(c, REP_ACK, 0);
	return NBD_MORE;
}

static void put_name(struct nbd_core *c, const char *name)
{
	uint32_t len = (uint32_t)strlen(name);
	uint8_t *at = put_reply(c, REP_INFO, 2 + len);

	put_be16(at, INFO_NAME);
	memcpy(at + 2, name, len);
}

/* A client that did not ask for the block sizes is told nonetheless, as the protocol allows. */
static void put_export(struct nbd_core *c, const struct nbd_export *x)
{
	uint8_t *at = put_reply(c, REP_INFO, EXPORT_BYTES);

	put_be16(at, INFO_EXPORT);
	put_be64(at + 2, x->bytes);
	put_be16(at + 10, TRANSMISSION_FLAGS);
	at = put_reply(c, REP_INFO, BLOCK_SIZE_BYTES);
	put_be16(at, INFO_BLOCK_SIZE);
	put_be32(at + 2, NBD_BLOCK_MIN);
	put_be32(at + 6, NBD_BLOCK_WANTED);
	put_be32(at + 10, NBD_BLOCK_MAX);
}

/* INFO and GO: length of the name, name, count of informations wanted, their numbers. */
static int do_info(struct nbd_core *c, uint32_t len)
{
	static const char invalid[] = "lengths in the option do not fit";
	bool want_name = false;
	const uint8_t *asked;
	uint32_t name_len, n;
	unsigned i;

	if (len < 6)
		return refuse(c, REP_ERR_INVALID, invalid);
	name_len = get_be32(c->in);
	if (name_len > len - 6)
		return refuse(c, REP_ERR_INVALID, invalid);
	asked = c->in + 4 + name_len;
	n = get_be16(asked);
	if (len != 6 + name_len + 2 * n)
		return refuse(c, REP_ERR_INVALID, invalid);
	i = find_export(c, c->in + 4, name_len);
	if (i == NBD_EXPORT_UNKNOWN)
		return refuse(c, REP_ERR_UNKNOWN, "no such export is served here");
	if (c->exports[i].closed)
		return refuse(c, REP_ERR_SHUTDOWN, "its clients have been cut off");
	while (n)
		want_name |= get_be16(asked + 2 * (size_t)n--) == INFO_NAME;
	put_export(c, &c->exports[i]);
	if (want_name)
		put_name(c, c->exports[i].name);
	put_reply(c, REP_ACK, 0);
	if (c->option != OPT_GO)
		return NBD_MORE;
	c->export = i;
	return NBD_ATTACHED;
}

int nbd_option(struct nbd_core *c, uint32_t len, struct err *e)
{
	switch (c->option) {
	case OPT_EXPORT_NAME:
		return do_export_name(c, len, e);
	case OPT_ABORT:
		put_reply(c, REP_ACK, 0);
		return NBD_BYE;
	case OPT_LIST:
		return do_list(c, len);
	case OPT_INFO:
	case OPT_GO:
		return do_info(c, len);
	default:
		return refuse(c, REP_ERR_UNSUP, "not served here");
	}
}
