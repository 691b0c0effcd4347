/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rewritten connections in a file, for a proxy that comes after us. */
#ifndef PROXY_FLOWFILE_H
#define PROXY_FLOWFILE_H

#include "base/err.h"
#include "proxy/chan.h"
#include "proxy/rewrites.h"

/** flowfile_msg() - how one connection is told to who goes on with it: as of epoch 0. */
struct chan_msg flowfile_msg(const struct flow_key *k, const struct rewrite *r, uint8_t ends);

/**
 * flowfile_save() - write all of @w to @path, by another name first; without any the file is removed.
 * 0 or -errno. On a memory file system, as /run is: some 20 us and 10 us more for each hundred.
 */
int flowfile_save(const char *path, const struct rewrites *w);

/** flowfile_load() - add what @path has to @w; no file: nothing. 0, or -EPROTO for a file that is none
 * of ours, or -errno. */
int flowfile_load(const char *path, struct rewrites *w, unsigned nic_count, uint64_t now_us,
		  struct err *e);

/** flowfile_parse() - the same of its @len bytes. Pure. */
int flowfile_parse(const uint8_t *text, size_t len, struct rewrites *w, unsigned nic_count,
		   uint64_t now_us, struct err *e);

#endif
