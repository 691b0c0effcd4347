/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of one protected guest: struct config, its parser and its run-time keys. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CONFIG_NAME_MAX   32
#define CONFIG_MAX_NICS   8
#define CONFIG_MAX_PEERS  4
#define CONFIG_MAX_BYPASS 64
#define CONFIG_MAX_UPLINK 8
#define CONFIG_HOST_MAX   64

enum ckpt_mode {
	CKPT_MODE_COLO,      /* both guests run, their output is compared; at most colo_period_ms */
	CKPT_MODE_PERIODIC,  /* a checkpoint every period_ms */
	CKPT_MODE_AUTO,      /* colo while checkpoints are rare, else periodic */
	CKPT_MODE_ON_DEMAND, /* only by colo-ctl checkpoint and guest events */
};

enum track_kind {
	TRACK_AUTO,
	TRACK_PAGEMAP_SCAN, /* Linux 6.7+ */
	TRACK_SOFT_DIRTY,
};

/* What holds the guest's output: the packet filter's tool. */
enum netfilter_kind {
	NETFILTER_AUTO,
	NETFILTER_NFT,
	NETFILTER_IPTABLES,
};

/* Who decides which host's guest is live when the hosts do not hear each other. */
enum arbiter_kind {
	ARBITER_NONE, /* nobody: certain death or the operator's word */
	ARBITER_EXEC, /* a command */
	ARBITER_ETCD,
};

/* How the connections between the hosts are encrypted and their ends known to each other. */
enum tls_kind {
	TLS_NONE,
	TLS_PSK,  /* a key that both hosts have in a file */
	TLS_X509, /* certificates of both hosts */
};

/* A MAC address in the usual notation, 17 characters. */
#define MAC_FMT     "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARGS(m) (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]

/**
 * struct config_nic - one network card of the guest
 * @tap:    this host's tap
 * @bridge: this host's bridge that the tap is a port of; "" for a routed tap
 * @mac:    the guest's address, the same on both hosts
 * @model:  QEMU device
 * @extra:  further properties of the device, "KEY=VALUE,...", or NULL
 * @mtu:    what the guest is told, 0: nothing; the daemon asks the bridge when it is not set
 */
struct config_nic {
	char tap[16];
	char bridge[16];
	uint8_t mac[6];
	char *model;
	char *extra;
	uint32_t mtu;
};

#define CONFIG_MTU_MAX 65521 /* of a tap: 65535 less an Ethernet header */

/** nic_is_virtio() - whether QEMU's device is a virtio-net card. */
static inline bool nic_is_virtio(const struct config_nic *nic)
{
	return !strncmp(nic->model, "virtio-net", 10);
}

/** struct endpoint - "HOST:PORT" or "[V6]:PORT", split; host is an address or a name. */
struct endpoint {
	char host[256];
	char port[6];
};

struct config {
	char name[CONFIG_NAME_MAX + 1];
	struct endpoint listen;                  /* where this host accepts its peer */
	struct endpoint peers[CONFIG_MAX_PEERS]; /* where the peer accepts, by one way or another */
	unsigned peer_count;
	char *qemu;      /* binary, absolute or looked up in PATH */
	char *qemu_args; /* the user's arguments, shell-quoted, all lines joined by spaces */
	uint64_t memory_bytes;
	uint32_t memory_page_bytes; /* 4096 or 2 MiB */
	enum track_kind tracking;
	enum ckpt_mode mode;
	uint32_t period_ms;       /* 0: as fast as possible */
	bool run_secondary;       /* the secondary's guest runs between checkpoints */
	uint64_t bandwidth_Bps;   /* bound for copying while the guest runs; 0: none */
	uint32_t peer_timeout_ms; /* silence after which the link counts as lost */
	uint32_t
		recover_timeout_ms; /* for how long a lost link may come back before the arbiter is asked */
	char *runtime_dir;
	char *socket_path;   /* control socket */
	char *control_group; /* group that may use the control socket besides root, or NULL */
	enum log_prio log_level;
	uint32_t scan_threads; /* 0: as many as there are cores, at most 4 */

	struct config_nic nics[CONFIG_MAX_NICS]; /* nic 0, 1, ... in the order of the file */
	unsigned nic_count;
	char **bypass; /* the texts of the rules, for proxy/bypass.h; NULL-terminated unless NULL */
	unsigned bypass_count;
	enum netfilter_kind netfilter;
	uint32_t colo_period_ms;     /* the longest epoch in mode colo */
	uint32_t hold_ms;            /* periodic: longest wait before output begins a checkpoint */
	uint32_t pause_percent;      /* what such checkpoints may take of the guest's time */
	uint32_t compare_timeout_ms; /* a packet without counterpart for so long is a mismatch */
	uint32_t max_held_packets;
	uint64_t max_held_bytes;
	uint32_t max_flows, max_half_open;
	bool solo_allowed;       /* a primary without its peer goes on and lets its output out */
	uint32_t announce_count; /* how often a new host announces the guest's addresses */

	char uplinks[CONFIG_MAX_UPLINK][16]; /* interfaces whose carrier the guest needs */
	unsigned uplink_count;
	uint32_t uplink_delay_ms; /* dead for so long, and the peer's alive: the guest goes there */

	enum arbiter_kind arbiter;
	char host[CONFIG_HOST_MAX + 1]; /* who this host is among those that share an arbiter */
	char *arbiter_command;          /* of ARBITER_EXEC: shell-quoted words, else NULL */
	uint32_t arbiter_timeout_ms;    /* an answer that takes longer is none */
	char **etcd_endpoints;          /* URLs, NULL-terminated unless NULL */
	char *etcd_prefix;
	uint32_t etcd_ttl_ms;
	char *etcd_cafile, *etcd_certfile, *etcd_keyfile; /* or NULL */

	enum tls_kind tls;
	bool insecure;                     /* TLS_NONE is meant, beyond this host too */
	char *tls_psk_file;                /* lines IDENTITY:HEXKEY */
	char *tls_psk_identity;            /* the line that both hosts use */
	char *tls_ca, *tls_cert, *tls_key; /* PEM files */
	char *tls_peer_name;               /* in the peer's certificate, NULL: peer's hosts */
};

/**
 * config_parse() - fill @c from the text of a file; @path is only for messages ("PATH:LINE: ...").
 * Pure: reads nothing but @text (@len bytes, need not be terminated). On error @c is empty.
 */
int config_parse(struct config *c, const char *path, const char *text, size_t len, struct err *e);

/**
 * config_load() - read @path and config_parse() it. A @host that is not set becomes the machine's
 * host name; with arbiter = etcd one that does not tell hosts apart is refused.
 */
int config_load(struct config *c, const char *path, struct err *e);
void config_destroy(struct config *c);

/**
 * config_set() - change a key that may change at run time (mode, period_ms, colo_period_ms,
 * compare_timeout_ms, solo, bandwidth, peer_timeout_ms, uplink_delay_ms, log_level). -EPERM for a
 * key that may not, -EINVAL for an unknown key or a bad value; the reason names it.
 */
int config_set(struct config *c, const char *key, const char *value, struct err *e);

/** config_compares() - the mode has the secondary's guest run so that outputs can be compared. */
static inline bool config_compares(const struct config *c)
{
	return c->mode == CKPT_MODE_COLO || c->mode == CKPT_MODE_AUTO;
}

const char *ckpt_mode_name(enum ckpt_mode m);
const char *track_kind_name(enum track_kind k);
const char *netfilter_kind_name(enum netfilter_kind k);
const char *arbiter_kind_name(enum arbiter_kind k);
const char *tls_kind_name(enum tls_kind k);

#endif
