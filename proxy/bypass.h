/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bypass rules: traffic that is not compared. */
#ifndef PROXY_BYPASS_H
#define PROXY_BYPASS_H

#include "base/err.h"
#include "proxy/packet.h"

enum bypass_action {
	BYPASS_NO,
	BYPASS_RELEASE, /* let out at once: S1 is given up for it */
	BYPASS_COMMIT,  /* hold until the next checkpoint, never compare */
};

#define BYPASS_MAX_RULES 64

/**
 * struct bypass_rule - all conditions must hold
 * @peer_prefix: bits of @peer that count, 0: any. Of an IPv4 network it is 96 or more; a shorter one
 * is of IPv6 only, although IPv4 addresses lie within ::ffff:0:0/96.
 * @guest_port, @peer_port: 0: any; else TCP and UDP only
 */
struct bypass_rule {
	enum bypass_action action;
	uint8_t proto; /* 0: any */
	struct ip_addr peer;
	uint8_t peer_prefix;
	uint16_t guest_port, peer_port;
};

struct bypass {
	struct bypass_rule rules[BYPASS_MAX_RULES];
	unsigned count;
};

/**
 * bypass_add() - parse one rule and append it: "release|commit [proto udp|tcp|icmp|icmp6|N] [peer
 * ADDR[/BITS]] [guest-port N] [peer-port N]", conditions in any order, at least one. -EINVAL with a
 * reason that names the word that is wrong, -ENOSPC for one rule too many; the rules stay as they
 * were then.
 */
int bypass_add(struct bypass *b, const char *text, struct err *e);

/**
 * bypass_match() - first rule that fits a packet sent by the guest (@out) or to it. A fragment has
 * no ports: match the datagram. PKT_OPAQUE fits no rule.
 */
enum bypass_action bypass_match(const struct bypass *b, const struct pkt *p, bool out);

#endif
