/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two makers of rules share: running tools, the switches of a bridge. */
#ifndef PROXY_RULES_INTERNAL_H
#define PROXY_RULES_INTERNAL_H

#include "proxy/rules.h"

#include <stdio.h>

/** rules_tool() - find a tool where systems keep theirs. False when it is not installed. */
bool rules_tool(const char *name, char path[64]);

/**
 * rules_run() - run a tool without a shell and wait for it, for 10 s at most.
 * @argv:  a name for rules_tool() and arguments, NULL at the end
 * @input: descriptor of what it reads (rules_text()), or -1
 * @output: NULL, or where what it printed goes; the caller frees it
 *
 * 0; -ENOENT when there is no such tool; -EINVAL with its own words in @e when it failed.
 */
int rules_run(const char *const argv[], int input, char **output, struct err *e);

/** rules_text() - a file in memory to write a tool's input into; its descriptor or -errno. */
int rules_text(void);

/** rules_switches_load() - have br_netfilter in the kernel, without an effect on any bridge. */
int rules_switches_load(struct err *e);

/** rules_switches_get(), rules_switches_put() - -ENODEV when there is no bridge of that name. */
int rules_switches_get(const char *bridge, struct rules_switches *s, struct err *e);
int rules_switches_put(const char *bridge, const struct rules_switches *s, struct err *e);

/* One maker: @apply makes the kernel's rules those of the struct, @restore does so whatever is
 * left of them; @sweep finds nothing wrong with a host where its tool cannot work at all. */
struct rules_maker {
	int (*probe)(struct err *e);
	int (*install)(struct rules *r, struct err *e);
	int (*apply)(struct rules *r, struct err *e);
	int (*restore)(struct rules *r, struct err *e);
	int (*check)(const struct rules *r, struct err *e);
	int (*sweep)(const char *label, struct err *e);
};

extern const struct rules_maker rules_nft, rules_iptables;

/* rules-check.c */
int rules_nft_check(const struct rules *r, struct err *e);
int rules_iptables_check(const struct rules *r, struct err *e);

/**
 * rules_nft_shows(), rules_iptables_shows() - whether a listing has the rules of all NICs that are
 * bridged, or not; of all NICs. 0 or -ENOENT. Pure.
 * @text: of "nft list table", of "iptables-save -t mangle"
 */
int rules_nft_shows(const struct rules *r, const char *text, bool bridged, struct err *e);
int rules_iptables_shows(const struct rules *r, const char *text, struct err *e);

/** rules_iptables_family() - "iptables", "ip6tables" if there is IPv6, then NULL. */
const char *rules_iptables_family(unsigned int i);

/** rules_iptables_save() - the mangle table in words; the caller frees it. */
int rules_iptables_save(const char *family, char **text, struct err *e);

/** rules_any_nic() - whether a NIC is bridged, or is not. */
bool rules_any_nic(const struct rules *r, bool bridged);

/** rules_nft_block() - nothing but what drops all frames of NICs in RULES_BLOCK. */
int rules_nft_block(const struct rules *r, struct err *e);

#endif
