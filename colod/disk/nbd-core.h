/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Server's side of the NBD protocol without I/O: bytes in, bytes and commands out. */
#ifndef DISK_NBD_CORE_H
#define DISK_NBD_CORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The protocol: doc/proto.md of github.com/NetworkBlockDevice/nbd. Fixed newstyle negotiation with
 * NO_ZEROES; options EXPORT_NAME, ABORT, LIST, INFO and GO, any other is answered with ERR_UNSUP, so
 * that every reply is a simple one. Structured replies would let a read fail half way or skip
 * holes; ours are whole in memory before their reply begins.
 *
 * Limits, all that a client can make us keep or wait for:
 *
 * ===================  ========  ===============================================================
 * what                 limit     beyond it
 * ===================  ========  ===============================================================
 * option's data        8 KiB     the connection ends
 * read, write          2 MiB     EINVAL; a write's data is skipped first
 * write to be skipped  32 MiB    the connection ends; what a client may send unless told less
 * zeroes, trim         export    ENOSPC, EINVAL; there is no data, so the block size does not bind
 * ===================  ========  ===============================================================
 */
#define NBD_EXPORTS_MAX    8
#define NBD_NAME_MAX       63
#define NBD_OPTION_MAX     8192
#define NBD_BLOCK_MIN      1u
#define NBD_BLOCK_WANTED   4096u
#define NBD_BLOCK_MAX      (2u << 20)
#define NBD_SKIP_MAX       (32u << 20)
#define NBD_OUT_MAX        1024
#define NBD_REPLY_BYTES    16
#define NBD_EXPORT_UNKNOWN ((unsigned)-1)

/**
 * struct nbd_export - a disk that clients ask for
 * @name:   at most NBD_NAME_MAX bytes, not empty
 * @closed: it is not to be had now; may change at any time
 */
struct nbd_export {
	const char *name;
	uint64_t bytes;
	bool closed;
};

/* Numbers are the protocol's. */
enum nbd_type {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_WRITE_ZEROES = 6,
};

/**
 * struct nbd_command - one command of a client, checked
 * @fua:       to be on stable storage before it is answered
 * @may_unmap: zeroes need not be allocated
 * @error:     what to answer it with (an error of the protocol); 0: it can be carried out, lies
 *             within the export, and its type is READ, WRITE, FLUSH, TRIM or WRITE_ZEROES
 * @cookie:    names it in the reply
 */
struct nbd_command {
	uint16_t type;
	bool fua, may_unmap;
	uint32_t error;
	uint32_t length;
	uint64_t offset;
	uint64_t cookie;
};

enum nbd_state {
	NBD_CLIENT_FLAGS,
	NBD_OPTION,
	NBD_OPTION_DATA,
	NBD_COMMAND,
	NBD_UNTAKEN, /* a command waits for nbd_core_take() */
	NBD_PAYLOAD,
	NBD_SKIPPED_PAYLOAD,
	NBD_OVER,
};

/** struct nbd_core - one connection; nobody but the core looks inside */
struct nbd_core {
	const struct nbd_export *exports;
	unsigned n_exports, export;
	enum nbd_state state;
	bool no_zeroes;
	uint32_t option;
	struct nbd_command command;
	uint8_t *to;         /* the piece that is being read, ... */
	uint32_t have, want; /* ... its bytes so far and in all */
	uint32_t out_len, out_sent;
	uint8_t in[NBD_OPTION_MAX];
	uint8_t out[NBD_OUT_MAX];
};

/** What nbd_core_filled() and nbd_core_take() tell. */
enum nbd_event {
	NBD_MORE,     /* nothing; read on */
	NBD_ATTACHED, /* the client has chosen an export */
	NBD_TAKE,     /* a command has begun: nbd_core_take() it, nothing is read before */
	NBD_TAKEN,    /* the command taken is whole, with its data */
	NBD_BYE, /* the client ends the connection in peace; commands in work may be answered */
};

/**
 * nbd_core_init() - a new connection; the greeting is ready in nbd_core_out()
 *
 * @exports are borrowed; at most NBD_EXPORTS_MAX.
 */
void nbd_core_init(struct nbd_core *c, const struct nbd_export *exports, unsigned n_exports);

/**
 * nbd_core_room() - where the client's next bytes belong; a write's data straight into its buffer
 *
 * Returns how many at most; 0 while a command waits to be taken, output of the negotiation waits
 * to be sent (the client has to wait for it too) or the connection is over.
 */
size_t nbd_core_room(struct nbd_core *c, uint8_t **at);

/**
 * nbd_core_filled() - the first @n bytes of that room were filled
 *
 * Returns an enum nbd_event, or -EPROTO when the connection has to end and -ENOENT when that is
 * because of the export asked for; nothing is read any more then.
 */
int nbd_core_filled(struct nbd_core *c, size_t n, struct err *e);

/** nbd_core_command() - the one that was told of last. */
static inline const struct nbd_command *nbd_core_command(const struct nbd_core *c)
{
	return &c->command;
}

/** nbd_core_export() - index of the export chosen, or NBD_EXPORT_UNKNOWN. */
static inline unsigned nbd_core_export(const struct nbd_core *c)
{
	return c->export;
}

/** nbd_command_buffer() - bytes of data that @cmd brings or asks for, 0 when it gets an error. */
uint32_t nbd_command_buffer(const struct nbd_command *cmd);

/**
 * nbd_core_take() - go on after NBD_TAKE; @buffer gets a write's data and belongs to the core until
 * NBD_TAKEN. Not used when nbd_command_buffer() is 0. Returns NBD_TAKEN, or NBD_MORE when it comes
 * later.
 */
enum nbd_event nbd_core_take(struct nbd_core *c, uint8_t *buffer);

/** nbd_core_out() - bytes to send to the client; only while it negotiates. */
size_t nbd_core_out(const struct nbd_core *c, const uint8_t **at);
void nbd_core_sent(struct nbd_core *c, size_t n);

/** nbd_encode_reply() - the head of a reply, NBD_REPLY_BYTES; a read's data follow it when @error is 0. */
void nbd_encode_reply(uint8_t *buf, uint64_t cookie, uint32_t error);

/** nbd_error() - the protocol's error for an errno, of either sign; 0 for 0. */
uint32_t nbd_error(int error);

/** nbd_name_ok() - whether an export may be called that. */
bool nbd_name_ok(const char *name);

#endif
