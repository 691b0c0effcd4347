// SPDX-License-Identifier: GPL-2.0-or-later
/* Rules made with nft(8): tables of our own in the families bridge, inet and arp. */
#include "proxy/rules-internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

/* Before all other rules of the host, which then see what was released; the last for inbound, as
 * the guest sees it. */
#define BEFORE_ALL (-450)
#define AFTER_ALL  450

/* Adding what may be there makes deleting safe: a table that is not there cannot be deleted. With a
 * hook go all packets that wait in any queue of the namespace (nf_queue_nf_hook_drop()). */
static void put_delete(int fd, const char *family, const char *label)
{
	dprintf(fd, "add table %s %s\ndelete table %s %s\n", family, label, family, label);
}

/* Its chains stay hooked: no packet that waits is lost. */
static void put_flush(int fd, const char *family, const char *label)
{
	dprintf(fd, "add table %s %s\nflush table %s %s\n", family, label, family, label);
}

static bool is_bridged(const struct rules *r, unsigned int nic)
{
	return r->nics[nic].bridge[0];
}

bool rules_any_nic(const struct rules *r, bool bridged)
{
	for (unsigned int i = 0; i < r->nic_count; i++)
		if (is_bridged(r, i) == bridged)
			return true;
	return false;
}

/* "meta protocol" is that behind the VLAN tag, "ether type" would be the tag's own. */
static void put_output(int fd, const struct rules *r, bool bridged)
{
	const char *ip = bridged ? "meta protocol { ip, ip6 } " : "";

	dprintf(fd, "chain output { type filter hook prerouting priority %d; policy accept;\n",
		BEFORE_ALL);
	for (unsigned int i = 0; i < r->nic_count; i++) {
		if (is_bridged(r, i) != bridged)
			continue;
		if (r->mode[i] == RULES_BLOCK)
			dprintf(fd, "iifname \"%s\" drop\n", r->nics[i].tap);
		if (r->mode[i] == RULES_QUEUE)
			dprintf(fd, "iifname \"%s\" %squeue num %u\n", r->nics[i].tap, ip,
				r->nics[i].queue);
	}
	dprintf(fd, "}\n");
}

/* TCP, and the ICMP errors that quote it. Echoes stay out: when these rules go, what came since
 * overtakes what waits, and only TCP puts itself in order again. */
static void put_inbound(int fd, const struct rules *r, bool bridged)
{
	const char *const what[] = {bridged ? "meta protocol { ip, ip6 } meta l4proto tcp"
					    : "meta l4proto tcp",
				    "meta protocol ip icmp type { 3, 11, 12 }",
				    "meta protocol ip6 icmpv6 type { 1, 2, 3, 4 }"};

	dprintf(fd, "chain inbound { type filter hook postrouting priority %d; policy accept;\n",
		AFTER_ALL);
	for (unsigned int i = 0; i < r->nic_count; i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(what); k++)
			if (r->inbound[i] && is_bridged(r, i) == bridged)
				dprintf(fd, "oifname \"%s\" %s queue num %u\n", r->nics[i].tap,
					what[k], r->nics[i].inbound_queue);
	dprintf(fd, "}\n");
}

/* What a routed guest says to its host in ARP; a bridged one's goes the bridge's way. */
static void put_arp(int fd, const struct rules *r)
{
	dprintf(fd, "table arp %s {\nchain output { type filter hook input priority 0;\n",
		r->label);
	for (unsigned int i = 0; i < r->nic_count; i++)
		if (r->mode[i] == RULES_BLOCK && !is_bridged(r, i))
			dprintf(fd, "iifname \"%s\" drop\n", r->nics[i].tap);
	dprintf(fd, "}\n}\n");
}

static void put_table(int fd, const struct rules *r, bool bridged, bool with_inbound)
{
	dprintf(fd, "table %s %s {\n", bridged ? "bridge" : "inet", r->label);
	put_output(fd, r, bridged);
	if (with_inbound)
		put_inbound(fd, r, bridged);
	dprintf(fd, "}\n");
}

static int run(int fd, bool check_only, struct err *e)
{
	/* By this name nft opens it as any file; /dev/stdin is missing in some containers. */
	const char *const apply[] = {"nft", "-f", "/proc/self/fd/0", NULL};
	const char *const check[] = {"nft", "-c", "-f", "/proc/self/fd/0", NULL};

	return rules_run(check_only ? check : apply, fd, NULL, e);
}

static int change(const struct rules *r, bool check_only, struct err *e)
{
	autoclose int fd = rules_text();

	if (fd < 0)
		return err_errno(e, -fd, "memory for rules");
	if (rules_any_nic(r, true)) {
		put_flush(fd, "bridge", r->label);
		put_table(fd, r, true, true);
	}
	if (rules_any_nic(r, false)) {
		put_flush(fd, "inet", r->label);
		put_flush(fd, "arp", r->label);
		put_table(fd, r, false, true);
		put_arp(fd, r);
	}
	return run(fd, check_only, e);
}

/* One transaction, whatever was there before. */
static int nft_apply(struct rules *r, struct err *e)
{
	return change(r, false, e);
}

int rules_nft_block(const struct rules *r, struct err *e)
{
	struct rules block = *r;
	bool any = false;
	autoclose int fd = rules_text();

	if (fd < 0)
		return err_errno(e, -fd, "memory for rules");
	for (unsigned int i = 0; i < r->nic_count; i++) {
		if (r->mode[i] == RULES_QUEUE)
			block.mode[i] = RULES_OFF;
		any |= r->mode[i] == RULES_BLOCK;
	}
	put_delete(fd, "bridge", r->label);
	put_delete(fd, "arp", r->label);
	if (any) {
		put_table(fd, &block, true, false);
		put_arp(fd, &block);
	}
	return run(fd, false, e);
}

/* nft -c has the kernel look at everything but the last step. */
static int nft_probe(struct err *e)
{
	static const struct rules probe = {
		.label = "colod-probe",
		.nic_count = 2,
		.nics = {{.tap = "colod-probe", .bridge = "colod-probe"}, {.tap = "colod-probe"}},
		.mode = {RULES_QUEUE, RULES_QUEUE},
		.inbound = {true, true},
	};

	return change(&probe, true, e);
}

static bool has_table(const char *tables, const char *family, const char *label)
{
	char line[RULES_LABEL_MAX + 32];
	const char *at;

	snprintf(line, sizeof(line), "table %s %s\n", family, label);
	at = strstr(tables, line);
	return at && (at == tables || at[-1] == '\n');
}

/* Where tables cannot even be listed there are none. */
static int nft_sweep(const char *label, struct err *e)
{
	static const char *const families[] = {"bridge", "inet", "arp"};
	static const char *const list[] = {"nft", "list", "tables", NULL};
	autofree char *tables = NULL;
	autoclose int fd = rules_text();
	bool any = false;

	if (fd < 0)
		return err_errno(e, -fd, "memory for rules");
	if (rules_run(list, -1, &tables, NULL))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (!has_table(tables, families[i], label))
			continue;
		put_delete(fd, families[i], label);
		any = true;
	}
	return any ? run(fd, false, e) : 0;
}

const struct rules_maker rules_nft = {
	.probe = nft_probe,
	.install = nft_apply,
	.apply = nft_apply,
	.restore = nft_apply,
	.check = rules_nft_check,
	.sweep = nft_sweep,
};
