// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD connection as a stream: cuts it into pieces of known length, checks commands. */
#include "colod/disk/nbd-core.h"

#include "base/bytes.h"
#include "colod/disk/nbd-options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define REQUEST_MAGIC      UINT32_C(0x25609513)
#define SIMPLE_REPLY_MAGIC UINT32_C(0x67446698)

#define CLIENT_FLAGS_BYTES 4
#define OPTION_HEAD_BYTES  16
#define COMMAND_HEAD_BYTES 28

enum {
	CMD_FLAG_FUA = 1 << 0,
	CMD_FLAG_NO_HOLE = 1 << 1,
};

/* The protocol's own numbers; Linux has the same for these. */
enum {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

static void expect(struct nbd_core *c, enum nbd_state state, uint8_t *to, uint32_t bytes)
{
	c->state = state;
	c->to = to;
	c->have = 0;
	c->want = bytes;
}

static void expect_command(struct nbd_core *c)
{
	expect(c, NBD_COMMAND, c->in, COMMAND_HEAD_BYTES);
}

void nbd_core_init(struct nbd_core *c, const struct nbd_export *exports, unsigned n_exports)
{
	assert(n_exports <= NBD_EXPORTS_MAX);
	c->exports = exports;
	c->n_exports = n_exports;
	c->export = NBD_EXPORT_UNKNOWN;
	c->no_zeroes = false;
	c->option = 0;
	c->command = (struct nbd_command){};
	c->out_len = c->out_sent = 0;
	nbd_greet(c);
	expect(c, NBD_CLIENT_FLAGS, c->in, CLIENT_FLAGS_BYTES);
}

static int on_option_data(struct nbd_core *c, struct err *e)
{
	int r = nbd_option(c, c->want, e);

	if (r == NBD_ATTACHED)
		expect_command(c);
	else if (r == NBD_MORE)
		expect(c, NBD_OPTION, c->in, OPTION_HEAD_BYTES);
	return r;
}

static int on_option(struct nbd_core *c, struct err *e)
{
	uint64_t magic = get_be64(c->in);
	uint32_t len = get_be32(c->in + 12);

	c->option = get_be32(c->in + 8);
	if (magic != NBD_OPTION_MAGIC)
		return err_set(e, EPROTO, "NBD client sent %#" PRIx64 " where an option begins",
			       magic);
	if (len > sizeof(c->in))
		return err_set(e, EPROTO,
			       "NBD client sent option %u with %u bytes, at most %zu are taken",
			       c->option, len, sizeof(c->in));
	expect(c, NBD_OPTION_DATA, c->in, len);
	return len ? NBD_MORE : on_option_data(c, e);
}

static bool flags_ok(uint16_t type, uint16_t flags)
{
	uint16_t known = CMD_FLAG_FUA;

	if (type == NBD_CMD_WRITE_ZEROES)
		known |= CMD_FLAG_NO_HOLE;
	return !(flags & ~known);
}

/* What a command with a range is to be answered with at once. */
static uint32_t check_range(const struct nbd_command *cmd, uint64_t bytes, uint32_t beyond)
{
	bool has_data = cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_WRITE;

	if (!cmd->length || (has_data && cmd->length > NBD_BLOCK_MAX))
		return NBD_EINVAL;
	return cmd->offset > bytes || cmd->length > bytes - cmd->offset ? beyond : 0;
}

static uint32_t check_command(const struct nbd_core *c, uint16_t flags)
{
	const struct nbd_command *cmd = &c->command;
	uint64_t bytes = c->exports[c->export].bytes;

	if (!flags_ok(cmd->type, flags))
		return NBD_EINVAL;
	switch (cmd->type) {
	case NBD_CMD_READ:
	case NBD_CMD_TRIM:
		return check_range(cmd, bytes, NBD_EINVAL);
	case NBD_CMD_WRITE:
	case NBD_CMD_WRITE_ZEROES:
		return check_range(cmd, bytes, NBD_ENOSPC);
	case NBD_CMD_FLUSH:
		return cmd->offset || cmd->length ? NBD_EINVAL : 0;
	default:
		return NBD_EINVAL;
	}
}

static int on_command(struct nbd_core *c, struct err *e)
{
	uint32_t magic = get_be32(c->in);
	uint16_t flags = get_be16(c->in + 4);
	struct nbd_command *cmd = &c->command;

	if (magic != REQUEST_MAGIC)
		return err_set(e, EPROTO, "NBD client sent %#x where a command begins", magic);
	*cmd = (struct nbd_command){
		.type = get_be16(c->in + 6),
		.fua = flags & CMD_FLAG_FUA,
		.may_unmap = !(flags & CMD_FLAG_NO_HOLE),
		.cookie = get_be64(c->in + 8),
		.offset = get_be64(c->in + 16),
		.length = get_be32(c->in + 24),
	};
	if (cmd->type == NBD_CMD_DISC)
		return NBD_BYE;
	if (cmd->type == NBD_CMD_WRITE && cmd->length > NBD_SKIP_MAX)
		return err_set(e, EPROTO,
			       "NBD client writes %u bytes at once, at most %u are taken",
			       cmd->length, NBD_BLOCK_MAX);
	cmd->error = check_command(c, flags);
	c->state = NBD_UNTAKEN;
	return NBD_TAKE;
}

uint32_t nbd_command_buffer(const struct nbd_command *cmd)
{
	bool has_data = cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_WRITE;

	return has_data && !cmd->error ? cmd->length : 0;
}

enum nbd_event nbd_core_take(struct nbd_core *c, uint8_t *buffer)
{
	const struct nbd_command *cmd = &c->command;

	assert(c->state == NBD_UNTAKEN);
	if (cmd->type != NBD_CMD_WRITE || !cmd->length) {
		expect_command(c);
		return NBD_TAKEN;
	}
	if (cmd->error)
		expect(c, NBD_SKIPPED_PAYLOAD, c->in, cmd->length);
	else
		expect(c, NBD_PAYLOAD, buffer, cmd->length);
	return NBD_MORE;
}

size_t nbd_core_room(struct nbd_core *c, uint8_t **at)
{
	if (c->out_len || c->state == NBD_UNTAKEN || c->state == NBD_OVER)
		return 0;
	if (c->state == NBD_SKIPPED_PAYLOAD) {
		*at = c->in;
		return MIN(c->want - c->have, sizeof(c->in));
	}
	*at = c->to + c->have;
	return c->want - c->have;
}

/* The piece is whole. */
static int on_whole(struct nbd_core *c, struct err *e)
{
	switch (c->state) {
	case NBD_CLIENT_FLAGS:
		expect(c, NBD_OPTION, c->in, OPTION_HEAD_BYTES);
		return nbd_client_flags(c, get_be32(c->in), e);
	case NBD_OPTION:
		return on_option(c, e);
	case NBD_OPTION_DATA:
		return on_option_data(c, e);
	case NBD_COMMAND:
		return on_command(c, e);
	case NBD_PAYLOAD:
	case NBD_SKIPPED_PAYLOAD:
		expect_command(c);
		return NBD_TAKEN;
	case NBD_UNTAKEN:
	case NBD_OVER:
		break;
	}
	return NBD_MORE;
}

int nbd_core_filled(struct nbd_core *c, size_t n, struct err *e)
{
	int r;

	assert(c->state != NBD_UNTAKEN && c->state != NBD_OVER && n <= c->want - c->have);
	c->have += (uint32_t)n;
	if (c->have < c->want)
		return NBD_MORE;
	r = on_whole(c, e);
	if (r < 0 || r == NBD_BYE)
		c->state = NBD_OVER;
	return r;
}

size_t nbd_core_out(const struct nbd_core *c, const uint8_t **at)
{
	*at = c->out + c->out_sent;
	return c->out_len - c->out_sent;
}

void nbd_core_sent(struct nbd_core *c, size_t n)
{
	assert(n <= c->out_len - c->out_sent);
	c->out_sent += (uint32_t)n;
	if (c->out_sent == c->out_len)
		c->out_sent = c->out_len = 0;
}

void nbd_encode_reply(uint8_t *buf, uint64_t cookie, uint32_t error)
{
	put_be32(buf, SIMPLE_REPLY_MAGIC);
	put_be32(buf + 4, error);
	put_be64(buf + 8, cookie);
}

uint32_t nbd_error(int error)
{
	switch (error < 0 ? -error : error) {
	case 0:
		return 0;
	case EPERM:
	case EACCES:
	case EROFS:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
		return NBD_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NBD_ENOSPC;
	case EOVERFLOW:
		return NBD_EOVERFLOW;
	case EOPNOTSUPP:
		return NBD_ENOTSUP;
	case ESHUTDOWN:
	case ECANCELED:
		return NBD_ESHUTDOWN;
	default:
		return NBD_EIO;
	}
}

bool nbd_name_ok(const char *name)
{
	return *name && strlen(name) <= NBD_NAME_MAX;
}
