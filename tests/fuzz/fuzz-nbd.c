// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: an NBD client of any bytes. What comes out of them does not depend on how they are cut, a command that is
 * to be carried out lies within its export, and its data stay within their buffer. */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "colod/disk/nbd-core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAGIC = 1,    /* wherever an option or a command begins, its magic is put right */
	ATTACHED = 2, /* the negotiation is over; the rest of that byte chooses the export */
};

/* What a run gave, mixed into numbers. */
struct heard {
	uint64_t out, commands;
	unsigned n_commands;
	int end;
};

static const struct nbd_export disks[] = {
	{"a", UINT64_MAX}, {"b", 0}, {"c", 8 * MIB}, {"d", 512, true}};

static uint64_t mix(uint64_t h, const uint8_t *p, size_t n)
{
	while (n--)
		h = (h ^ *p++) * UINT64_C(0x100000001b3);
	return h;
}

static void drain(struct nbd_core *c, struct heard *h)
{
	const uint8_t *at;
	size_t n = nbd_core_out(c, &at);

	h->out = mix(h->out, at, n);
	nbd_core_sent(c, n);
}

static void on_command(struct nbd_core *c, struct heard *h, const uint8_t *buffer)
{
	const struct nbd_command *cmd = nbd_core_command(c);
	uint64_t bytes = disks[nbd_core_export(c)].bytes;

	h->n_commands++;
	h->commands = mix(h->commands, (const uint8_t *)&cmd->cookie, 8) + cmd->error;
	if (cmd->error)
		return;
	assert(cmd->type <= NBD_CMD_WRITE_ZEROES && cmd->type != 5 && cmd->type != NBD_CMD_DISC);
	assert(cmd->offset <= bytes && cmd->length <= bytes - cmd->offset);
	assert(nbd_command_buffer(cmd) <= NBD_BLOCK_MAX);
	if (cmd->type == NBD_CMD_WRITE)
		h->commands = mix(h->commands, buffer, cmd->length);
}

static void correct(struct nbd_core *c)
{
	if (c->state == NBD_OPTION && c->have >= 8)
		put_be64(c->in, UINT64_C(0x49484156454f5054));
	if (c->state == NBD_COMMAND && c->have >= 4)
		put_be32(c->in, UINT32_C(0x25609513));
}

static void attach(struct nbd_core *c, struct heard *h, unsigned export)
{
	uint8_t hello[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\1a";
	const uint8_t *from = hello;

	hello[sizeof(hello) - 2] += (uint8_t)(export % 3);

	while (nbd_core_export(c) == NBD_EXPORT_UNKNOWN) {
		uint8_t *at;
		size_t n;

		drain(c, h);
		n = nbd_core_room(c, &at);
		memcpy(at, from, n);
		from += n;
		assert(nbd_core_filled(c, n, NULL) >= 0);
	}
}

static void feed(struct heard *h, unsigned how, const uint8_t *data, size_t size, size_t piece)
{
	static struct nbd_core c;
	/* Exactly as large, so that the sanitizer sees a byte beyond. */
	autofree uint8_t *buffer = NULL;
	struct err e;
	uint8_t *at;
	size_t room;

	nbd_core_init(&c, disks, ARRAY_SIZE(disks));
	if (how & ATTACHED)
		attach(&c, h, how >> 2);
	drain(&c, h);
	while (size && (room = nbd_core_room(&c, &at))) {
		size_t n = MIN(MIN(room, piece), size);
		int r;

		memcpy(at, data, n);
		/* The last piece only: until then the bytes are not looked at. */
		if (how & MAGIC && c.have + n == c.want) {
			c.have += (uint32_t)n;
			correct(&c);
			c.have -= (uint32_t)n;
		}
		data += n;
		size -= n;
		e = (struct err){};
		r = nbd_core_filled(&c, n, &e);
		if (r == NBD_TAKE) {
			free(buffer);
			buffer = malloc(MAX(nbd_command_buffer(nbd_core_command(&c)), 1));
			r = nbd_core_take(&c, buffer);
		}
		if (r == NBD_TAKEN)
			on_command(&c, h, buffer);
		assert(r >= 0 || e.msg[0]);
		h->end = MIN(r, h->end);
		drain(&c, h);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct heard whole = {}, pieces = {};

	if (size < 2)
		return 0;
	feed(&whole, data[0], data + 2, size - 2, size);
	feed(&pieces, data[0], data + 2, size - 2, data[1] + 1u);
	assert(whole.out == pieces.out && whole.commands == pieces.commands);
	assert(whole.n_commands == pieces.n_commands && whole.end == pieces.end);
	return 0;
}
