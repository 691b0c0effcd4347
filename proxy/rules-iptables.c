// SPDX-License-Identifier: GPL-2.0-or-later
/* Rules made with iptables-restore(8): mangle chains of our own, for IPv4 and IPv6. */
#include "proxy/rules-internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

/*
 * Three chains for each guest: LABEL-o, called from PREROUTING, for what it sends, LABEL-i, from
 * POSTROUTING, for TCP and ICMP errors to it; LABEL-u is never called and holds one comment for each
 * bridge: how its switches stood before the first guest. So the undo lives exactly as long as what
 * it undoes.
 */
#define UNDO      "colod-undo,"
#define UNDO_TEXT UNDO "%s,%u,%u,%u"
#define LINE_MAX_ 256

/* A kernel without IPv6 has no ip6tables either, and nothing to hold. */
const char *rules_iptables_family(unsigned int i)
{
	static const char *const families[] = {"iptables", "ip6tables"};

	if (i >= ARRAY_SIZE(families) || (i == 1 && access("/proc/sys/net/ipv6", F_OK)))
		return NULL;
	return families[i];
}

/* Two guests that come and go at once must not take turns in reading and writing a bridge's
 * switches. */
static int lock_namespace(struct err *e)
{
	autoclose int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX))
		return err_errno(e, errno, "lock of the network namespace");
	return steal_fd(&fd);
}

static int restore(const char *family, int text, struct err *e)
{
	char tool[32];
	const char *const argv[] = {tool, "--noflush", "-w", "5", NULL};

	snprintf(tool, sizeof(tool), "%s-restore", family);
	return rules_run(argv, text, NULL, e);
}

int rules_iptables_save(const char *family, char **text, struct err *e)
{
	char tool[32];
	const char *const argv[] = {tool, "-t", "mangle", NULL};

	snprintf(tool, sizeof(tool), "%s-save", family);
	return rules_run(argv, -1, text, e);
}

static const char *next_line(const char *line)
{
	line = strchr(line, '\n');
	return line && line[1] ? line + 1 : NULL;
}

static bool starts_with(const char *line, const char *start)
{
	return !strncmp(line, start, strlen(start));
}

/* The n-th comment in a chain ending in "-u" that is (not) @label's. */
static bool find_undo(const char *text, const char *label, bool own, unsigned int n,
		      struct rules_undo *u)
{
	char chain[LINE_MAX_];

	snprintf(chain, sizeof(chain), "-A %s-u ", label);
	for (const char *line = text; line; line = next_line(line)) {
		const char *end = strchrnul(line, '\n');
		const char *at = strstr(line, UNDO);

		if (!starts_with(line, "-A ") || !at || at > end || starts_with(line, chain) != own)
			continue;
		if (sscanf(at, UNDO "%15[^,],%u,%u,%u", u->bridge, &u->before.ipv4, &u->before.ipv6,
			   &u->before.vlan) == 4 &&
		    n-- == 0)
			return true;
	}
	return false;
}

/* What the other guests' comments say. True when one is about @bridge; @vlan is told by any. */
static bool others_undo(const char *text, const char *label, const char *bridge,
			struct rules_switches *before, bool *vlan_known)
{
	bool found = false;
	struct rules_undo u;

	*vlan_known = false;
	for (unsigned int i = 0; find_undo(text, label, false, i, &u); i++) {
		*vlan_known = true;
		before->vlan = u.before.vlan;
		if (strcmp(u.bridge, bridge))
			continue;
		before->ipv4 = u.before.ipv4;
		before->ipv6 = u.before.ipv6;
		found = true;
	}
	return found;
}

/* What a dead owner of @label noted. */
static bool own_undo(const char *text, const char *label, const char *bridge,
		     struct rules_switches *before)
{
	struct rules_undo u;

	for (unsigned int i = 0; find_undo(text, label, true, i, &u); i++) {
		if (strcmp(u.bridge, bridge))
			continue;
		*before = u.before;
		return true;
	}
	return false;
}

static void put_target(int fd, enum rules_mode mode, uint16_t queue)
{
	if (mode == RULES_BLOCK)
		dprintf(fd, "-j DROP\n");
	else
		dprintf(fd, "-j NFQUEUE --queue-num %u\n", queue);
}

/* See rules-nft.c for why not all of ICMP. */
static void put_inbound(int fd, const struct rules *r, const struct rules_nic *nic, bool v6)
{
	static const char *const what[2][5] = {
		{"tcp", "icmp --icmp-type 3", "icmp --icmp-type 11", "icmp --icmp-type 12"},
		{"tcp", "icmpv6 --icmpv6-type 1", "icmpv6 --icmpv6-type 2",
		 "icmpv6 --icmpv6-type 3", "icmpv6 --icmpv6-type 4"}};

	for (unsigned int i = 0; i < ARRAY_SIZE(what[0]) && what[v6][i]; i++) {
		dprintf(fd, "-A %s-i -p %s %s %s ", r->label, what[v6][i],
			nic->bridge[0] ? "-m physdev --physdev-out" : "-o", nic->tap);
		put_target(fd, RULES_QUEUE, nic->inbound_queue);
	}
}

/* Naming a chain makes it, or empties it. */
static void put_rules(int fd, const struct rules *r, const char *family)
{
	bool v6 = strcmp(family, rules_iptables_family(0));

	dprintf(fd, ":%s-o - [0:0]\n:%s-i - [0:0]\n", r->label, r->label);
	for (unsigned int i = 0; i < r->nic_count; i++) {
		const struct rules_nic *nic = &r->nics[i];
		bool bridged = nic->bridge[0];

		if (r->mode[i] != RULES_OFF) {
			dprintf(fd, "-A %s-o %s %s ", r->label,
				bridged ? "-m physdev --physdev-in" : "-i", nic->tap);
			put_target(fd, r->mode[i], nic->queue);
		}
		if (r->inbound[i])
			put_inbound(fd, r, nic, v6);
	}
}

static void put_undo(int fd, const struct rules *r)
{
	dprintf(fd, ":%s-u - [0:0]\n", r->label);
	for (unsigned int i = 0; i < r->undo_count; i++)
		dprintf(fd, "-A %s-u -m comment --comment " UNDO_TEXT "\n", r->label,
			r->undo[i].bridge, r->undo[i].before.ipv4, r->undo[i].before.ipv6,
			r->undo[i].before.vlan);
}

/*
 * The chain is called first, as an ACCEPT of the host's own would let the guest's output slip by.
 * Calls that the listing @text shows go; without one there is exactly one: if it is not there, all
 * fails, and nobody takes what is never called for protection.
 */
static void put_call(int fd, const char *chain, const char *label, char suffix, const char *text)
{
	char call[LINE_MAX_];

	snprintf(call, sizeof(call), "-A %s -j %s-%c\n", chain, label, suffix);
	if (!text)
		dprintf(fd, "-D%s", call + 2);
	for (const char *line = text; line; line = next_line(line))
		if (starts_with(line, call))
			dprintf(fd, "-D%s", call + 2);
	dprintf(fd, "-I%s", call + 2);
}

static int apply_family(const struct rules *r, const char *family, const char *text, bool undo,
			struct err *e)
{
	autoclose int fd = rules_text();

	if (fd < 0)
		return err_errno(e, -fd, "memory for rules");
	dprintf(fd, "*mangle\n");
	put_rules(fd, r, family);
	if (undo)
		put_undo(fd, r);
	put_call(fd, "PREROUTING", r->label, 'o', text);
	put_call(fd, "POSTROUTING", r->label, 'i', text);
	dprintf(fd, "COMMIT\n");
	return restore(family, fd, e);
}

/* One entry for each bridge; -errno. */
static int collect_undo(struct rules *r, struct err *e)
{
	autofree char *text = NULL;
	int ret = rules_iptables_save(rules_iptables_family(0), &text, e);

	for (unsigned int i = 0; !ret && i < r->nic_count; i++) {
		struct rules_switches before;
		const char *bridge = r->nics[i].bridge;
		struct rules_undo *u = &r->undo[r->undo_count];
		bool vlan_known, seen = !bridge[0];

		for (unsigned int k = 0; k < r->undo_count; k++)
			seen |= !strcmp(r->undo[k].bridge, bridge);
		if (seen)
			continue;
		ret = rules_switches_get(bridge, &u->before, e);
		before = u->before;
		if (own_undo(text, r->label, bridge, &before) ||
		    others_undo(text, r->label, bridge, &before, &vlan_known))
			u->before = before;
		else if (vlan_known)
			u->before.vlan = before.vlan;
		memcpy(u->bridge, bridge, sizeof(u->bridge));
		r->undo_count++;
	}
	return ret;
}

/* From whatever is there to all that should be. The comments come before what they undo. */
static int make(const struct rules *r, struct err *e)
{
	static const struct rules_switches on = {1, 1, 1};
	const char *family;
	int ret = 0;

	for (unsigned int i = 0; !ret && (family = rules_iptables_family(i)); i++) {
		autofree char *text = NULL;

		ret = rules_iptables_save(family, &text, e);
		if (!ret)
			ret = apply_family(r, family, text, i == 0, e);
	}
	for (unsigned int i = 0; !ret && i < r->undo_count; i++)
		ret = rules_switches_put(r->undo[i].bridge, &on, e);
	return ret;
}

static int iptables_install(struct rules *r, struct err *e)
{
	autoclose int lock = lock_namespace(e);
	int ret = MIN(lock, 0);

	if (!ret && rules_any_nic(r, true))
		ret = rules_switches_load(e);
	if (!ret)
		ret = collect_undo(r, e);
	return ret ?: make(r, e);
}

static int apply_block(struct rules *r, struct err *e)
{
	bool block = false;

	for (unsigned int i = 0; i < r->nic_count; i++)
		block |= r->mode[i] == RULES_BLOCK;
	if (!block && !r->nft_blocks)
		return 0;
	if (rules_nft_block(r, e)) {
		err_prefix(e, "ARP and all else that is not IP cannot be blocked");
		return -EOPNOTSUPP;
	}
	r->nft_blocks = block;
	return 0;
}

static int iptables_restore(struct rules *r, struct err *e)
{
	autoclose int lock = lock_namespace(e);
	int ret = MIN(lock, 0);

	if (!ret && rules_any_nic(r, true))
		ret = rules_switches_load(e);
	if (!ret)
		ret = make(r, e);
	return ret ?: apply_block(r, e);
}

/* What is refused may have been removed by others. */
static int iptables_apply(struct rules *r, struct err *e)
{
	struct err refusal = {};
	const char *family;
	int ret = 0;

	for (unsigned int i = 0; !ret && (family = rules_iptables_family(i)); i++)
		ret = apply_family(r, family, NULL, false, &refusal);
	if (ret == -EINVAL)
		return iptables_restore(r, e);
	return ret ? err_set(e, -ret, "%s", err_msg(&refusal)) : apply_block(r, e);
}

/* Commands that undo what the listing @text shows; false when it shows nothing. */
static bool put_removal(int fd, const char *text, const char *label)
{
	char call_o[LINE_MAX_], call_i[LINE_MAX_], chain[LINE_MAX_];
	bool any = false;

	snprintf(call_o, sizeof(call_o), "-A PREROUTING -j %s-o\n", label);
	snprintf(call_i, sizeof(call_i), "-A POSTROUTING -j %s-i\n", label);
	snprintf(chain, sizeof(chain), ":%s-", label);
	dprintf(fd, "*mangle\n");
	for (const char *line = text; line; line = next_line(line)) {
		if (starts_with(line, call_o))
			dprintf(fd, "-D%s", call_o + 2);
		if (starts_with(line, call_i))
			dprintf(fd, "-D%s", call_i + 2);
	}
	for (const char *line = text; line; line = next_line(line)) {
		const char *suffix = line + strlen(chain);

		if (!starts_with(line, chain) || !strchr("oiu", suffix[0]) || suffix[1] != ' ')
			continue;
		dprintf(fd, "-F %s-%c\n-X %s-%c\n", label, suffix[0], label, suffix[0]);
		any = true;
	}
	dprintf(fd, "COMMIT\n");
	return any;
}

/* Back to what was before the first guest, unless another one still needs it. */
static int put_back(const char *text, const char *label, const struct rules_undo *u, struct err *e)
{
	struct rules_switches other, s = u->before;
	bool vlan_needed;
	int r;

	if (others_undo(text, label, u->bridge, &other, &vlan_needed))
		return 0;
	if (vlan_needed)
		s.vlan = 1;
	r = rules_switches_put(u->bridge, &s, e);
	return r == -ENODEV ? 0 : r;
}

static int sweep_family(const char *family, const char *text, const char *label, struct err *e)
{
	autoclose int fd = rules_text();

	if (fd < 0)
		return err_errno(e, -fd, "memory for rules");
	return put_removal(fd, text, label) ? restore(family, fd, e) : 0;
}

/* IPv4 goes last, as it has the comments: a sweep that ends half-way can be done again. */
static int iptables_sweep(const char *label, struct err *e)
{
	autoclose int lock = lock_namespace(e);
	const char *const families[] = {rules_iptables_family(0), rules_iptables_family(1)};
	autofree char *ipv4 = NULL, *ipv6 = NULL;
	struct rules_undo u;
	int r = 0;

	if (lock < 0)
		return lock;
	if (rules_iptables_save(families[0], &ipv4, NULL))
		return 0;
	if (families[1] && !rules_iptables_save(families[1], &ipv6, NULL))
		r = sweep_family(families[1], ipv6, label, e);
	for (unsigned int i = 0; !r && find_undo(ipv4, label, true, i, &u); i++)
		r = put_back(ipv4, label, &u, e);
	return r ?: sweep_family(families[0], ipv4, label, e);
}

/* Made and taken away: iptables-restore --test does not ask the kernel. */
static int probe_family(const char *family, struct err *e)
{
	autoclose int fd = rules_text();

	if (fd < 0)
		return err_errno(e, -fd, "memory for rules");
	dprintf(fd,
		"*mangle\n:colod-probe-%d - [0:0]\n"
		"-A colod-probe-%d -m physdev --physdev-in colod-probe -j NFQUEUE --queue-num 0\n"
		"COMMIT\n*mangle\n-F colod-probe-%d\n-X colod-probe-%d\nCOMMIT\n",
		getpid(), getpid(), getpid(), getpid());
	return restore(family, fd, e);
}

static int iptables_probe(struct err *e)
{
	const char *family;
	int r = rules_switches_load(e);

	for (unsigned int i = 0; !r && (family = rules_iptables_family(i)); i++)
		r = probe_family(family, e);
	return r;
}

const struct rules_maker rules_iptables = {
	.probe = iptables_probe,
	.install = iptables_install,
	.apply = iptables_apply,
	.restore = iptables_restore,
	.check = rules_iptables_check,
	.sweep = iptables_sweep,
};
