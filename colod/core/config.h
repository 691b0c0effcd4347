/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of one protected guest: struct config, its parser and its run-time keys. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_NAME_MAX 32

enum ckpt_mode {
	CKPT_MODE_PERIODIC,  /* a checkpoint every period_ms */
	CKPT_MODE_ON_DEMAND, /* only by colo-ctl checkpoint and guest events */
};

enum track_kind {
	TRACK_AUTO,
	TRACK_PAGEMAP_SCAN, /* Linux 6.7+ */
	TRACK_SOFT_DIRTY,
};

/** struct endpoint - "HOST:PORT" or "[V6]:PORT", split; host is an address or a name. */
struct endpoint {
	char host[256];
	char port[6];
};

struct config {
	char name[CONFIG_NAME_MAX + 1];
	struct endpoint listen; /* where this host accepts its peer */
	struct endpoint peer;   /* where the peer accepts */
	char *qemu;             /* binary, absolute or looked up in PATH */
	char *qemu_args;        /* the user's arguments, shell-quoted, all lines joined by spaces */
	uint64_t memory_bytes;
	uint32_t memory_page_bytes; /* 4096 or 2 MiB */
	enum track_kind tracking;
	enum ckpt_mode mode;
	uint32_t period_ms;       /* 0: as fast as possible */
	bool run_secondary;       /* the secondary's guest runs between checkpoints */
	uint64_t bandwidth_Bps;   /* bound for copying while the guest runs; 0: none */
	uint32_t peer_timeout_ms; /* silence after which the peer counts as gone */
	char *runtime_dir;
	char *socket_path;   /* control socket */
	char *control_group; /* group that may use the control socket besides root, or NULL */
	enum log_prio log_level;
	uint32_t scan_threads; /* 0: as many as there are cores, at most 4 */
};

/**
 * config_parse() - fill @c from the text of a file; @path is only for messages ("PATH:LINE: ...").
 * Pure: reads nothing but @text (@len bytes, need not be terminated). On error @c is empty.
 */
int config_parse(struct config *c, const char *path, const char *text, size_t len, struct err *e);

/** config_load() - read @path and config_parse() it. */
int config_load(struct config *c, const char *path, struct err *e);
void config_destroy(struct config *c);

/**
 * config_set() - change a key that may change at run time (mode, period_ms, bandwidth,
 * peer_timeout_ms, log_level). -EPERM for a key that may not, -EINVAL for an unknown key or a bad
 * value; the reason names it.
 */
int config_set(struct config *c, const char *key, const char *value, struct err *e);

const char *ckpt_mode_name(enum ckpt_mode m);
const char *track_kind_name(enum track_kind k);

#endif
