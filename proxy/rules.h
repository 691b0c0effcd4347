/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packet filter rules that hand a guest's packets to netfilter queues, with nft or iptables. */
#ifndef PROXY_RULES_H
#define PROXY_RULES_H

#include "base/err.h"

#include <net/if.h>
#include <stdbool.h>

#define RULES_MAX_NICS  8
#define RULES_LABEL_MAX 27 /* with its NUL: iptables takes 28 characters, of which 2 are a suffix */

/* Which tool the rules are made with. */
enum rules_kind {
	RULES_ANY, /* as a wish only: nft, else iptables */
	RULES_NFT,
	RULES_IPTABLES,
};

/* What happens to packets that the guest sends. */
enum rules_mode {
	RULES_OFF,   /* nothing */
	RULES_QUEUE, /* IP waits in the queue; the rest (ARP) passes */
	RULES_BLOCK, /* all is dropped */
};

/**
 * struct rules_nic - one network card of the guest
 * @tap:     its tap; need not exist yet
 * @bridge:  the bridge that the tap is, or will be, a port of; empty for a routed tap
 * @queue:   number of the queue for what the guest sends, bound beforehand (nfqueue.h): as long
 * as nobody has it open, packets for it are dropped
 * @inbound_queue: number of the queue for TCP and ICMP errors to the guest, see rules_inbound()
 */
struct rules_nic {
	char tap[IFNAMSIZ], bridge[IFNAMSIZ];
	uint16_t queue, inbound_queue;
};

/** struct rules_switches - of a bridge and of its namespace, each 0 or 1 */
struct rules_switches {
	unsigned int ipv4, ipv6, vlan;
};

/** struct rules_undo - how a bridge's switches stood before the first guest; iptables only */
struct rules_undo {
	char bridge[IFNAMSIZ];
	struct rules_switches before;
};

/** struct rules - the rules of one guest in the calling thread's network namespace. */
struct rules {
	enum rules_kind kind;
	char label[RULES_LABEL_MAX]; /* "colod-NAME": nft's tables, stem of iptables' chains */
	unsigned int nic_count;
	struct rules_nic nics[RULES_MAX_NICS];
	enum rules_mode mode[RULES_MAX_NICS];
	bool inbound[RULES_MAX_NICS];
	bool nft_blocks; /* iptables: nft has a part in RULES_BLOCK */
	bool unsure;     /* the last change failed: some of it may be in force */
	unsigned int undo_count;
	struct rules_undo undo[RULES_MAX_NICS];
};

/**
 * rules_probe() - find out which tool works here with this kernel, by really asking both.
 *
 * Returns RULES_NFT or RULES_IPTABLES, or -EOPNOTSUPP with the reasons of each that was tried.
 * Needs CAP_NET_ADMIN. What the tools can do:
 *
 * nft (kernel with nft_queue; Debian 12 and 13): bridge and inet tables of our own. Packets tagged
 * once (802.1Q) are held too; packets tagged twice pass like any unknown ethertype. Traffic between
 * guest and host is seen like any other, in both directions. Other rules of the host run as ever.
 *
 * iptables (either variant): mangle chains of our own. For a bridged tap br_netfilter is loaded
 * when it is not there (then its "for all bridges" switches are turned off first), and the bridge's
 * nf_call_iptables and nf_call_ip6tables, for tags bridge-nf-filter-vlan-tagged, are switched on
 * while rules exist. Limits: fragments arrive reassembled when conntrack is in use; the VLAN tag is
 * not told; TCP to the guest that the host itself sends or routes is not seen by the inbound queue;
 * mangle rules of the host behind ours are not run for packets that were queued; RULES_BLOCK needs
 * nft for all that is not IP.
 *
 * Routed taps: VLAN interfaces on top of the tap are not covered by either.
 */
int rules_probe(enum rules_kind want, struct err *e);

/**
 * rules_install() - start with all @nics in RULES_OFF, inbound off, after undoing what a dead owner
 * of the same @name left. @kind as rules_probe() found it; on error nothing is left behind.
 *
 * This and the calls below run a tool each time and take 5 to 30 ms, with other rule changes on the
 * host more; at most 10 s. Not for the middle of a data path.
 */
int rules_install(struct rules *r, enum rules_kind kind, const char *name,
		  const struct rules_nic *nics, unsigned int n, struct err *e);

/**
 * rules_take_over() - as rules_install(), but without a moment in which less is held or blocked than by
 * what a dead owner of the same @name left: his rules become these, all @nics in RULES_QUEUE, and
 * rules_inbound() if @inbound. On error his, or some of these, are still there.
 */
int rules_take_over(struct rules *r, enum rules_kind kind, const char *name,
		    const struct rules_nic *nics, unsigned int n, bool inbound, struct err *e);

/**
 * rules_set() - change what happens to packets of NIC @nic, or of all with @nic RULES_ALL_NICS.
 *
 * nft changes all in one transaction; iptables IPv4 and IPv6 one after the other. On error the mode
 * is as before (iptables: perhaps not for one of the two), and the next call runs the tool in any
 * case. From QUEUE to OFF, packets that still wait in the queue are overtaken by new ones: release
 * them right before. -EOPNOTSUPP for RULES_BLOCK under iptables without nft: then IP is blocked, and
 * nothing else.
 */
#define RULES_ALL_NICS (~0u)
int rules_set(struct rules *r, unsigned int nic, enum rules_mode mode, struct err *e);

/** rules_inbound() - have TCP and ICMP errors, which are about TCP, to the guest wait in
 * @inbound_queue, or not; like rules_set(). */
int rules_inbound(struct rules *r, unsigned int nic, bool on, struct err *e);

/** rules_set_all() - rules_set() and rules_inbound() of all NICs with one run of the tool. */
int rules_set_all(struct rules *r, enum rules_mode mode, bool inbound, struct err *e);

/**
 * rules_check() - whether the kernel still has what should be there: others can remove it, with
 * "nft flush ruleset" or "iptables -t mangle -F". Runs the tool to list, 5 to 20 ms.
 *
 * 0; -ENOENT with what is missing; another -errno when it cannot be found out.
 */
int rules_check(const struct rules *r, struct err *e);

/**
 * rules_restore() - make all again that rules_check() may have missed, in the modes wanted, without
 * a moment in which more is open than before. Packets that waited in a queue are lost if the hook
 * itself was taken away: the kernel drops them then.
 */
int rules_restore(struct rules *r, struct err *e);

/** rules_remove() - undo everything; the last guest on a bridge puts its switches back. */
int rules_remove(struct rules *r, struct err *e);

/**
 * rules_sweep() - remove what a dead owner of @name left behind, with whichever tool it was made. 0
 * also when there is nothing.
 */
int rules_sweep(const char *name, struct err *e);

#endif
