// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether rules are still in force: what the tools list against what should be there. */
#include "proxy/rules-internal.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* A line that begins and ends so; the blanks before it do not count. */
static bool has_line(const char *text, const char *start, const char *end)
{
	size_t start_len = strlen(start), end_len = strlen(end);

	while (*text) {
		const char *line_end = strchrnul(text, '\n'), *line = text;

		while (line < line_end && isblank(*line))
			line++;
		if ((size_t)(line_end - line) >= MAX(start_len, end_len) &&
		    !memcmp(line, start, start_len) && !memcmp(line_end - end_len, end, end_len))
			return true;
		text = *line_end ? line_end + 1 : line_end;
	}
	return false;
}

static int missing(const struct rules_nic *nic, const char *what, struct err *e)
{
	return err_set(e, ENOENT, "the rule for %s of %s is missing", what, nic->tap);
}

/* ---- nft ---- */

/* Older ones say "queue num", newer ones "queue to". */
static bool nft_queues(const char *text, const char *start, uint16_t queue)
{
	char to[32], num[32];

	snprintf(to, sizeof(to), " queue to %u", queue);
	snprintf(num, sizeof(num), " queue num %u", queue);
	return has_line(text, start, to) || has_line(text, start, num);
}

static int nft_shows_nic(const struct rules *r, unsigned int i, const char *text, struct err *e)
{
	const struct rules_nic *nic = &r->nics[i];
	char from[32], to[32];

	snprintf(from, sizeof(from), "iifname \"%s\" ", nic->tap);
	snprintf(to, sizeof(to), "oifname \"%s\" ", nic->tap);
	if (r->mode[i] == RULES_QUEUE && !nft_queues(text, from, nic->queue))
		return missing(nic, "output", e);
	if (r->mode[i] == RULES_BLOCK && !has_line(text, from, " drop"))
		return missing(nic, "output", e);
	if (r->inbound[i] && !nft_queues(text, to, nic->inbound_queue))
		return missing(nic, "input", e);
	return 0;
}

int rules_nft_shows(const struct rules *r, const char *text, bool bridged, struct err *e)
{
	int ret = 0;

	if (!has_line(text, "type filter hook prerouting ", "") ||
	    !has_line(text, "type filter hook postrouting ", ""))
		return err_set(e, ENOENT, "a chain of table %s is missing", r->label);
	for (unsigned int i = 0; !ret && i < r->nic_count; i++)
		if ((r->nics[i].bridge[0] != '\0') == bridged)
			ret = nft_shows_nic(r, i, text, e);
	return ret;
}

static int list_table(const char *family, const char *label, char **text, struct err *e)
{
	const char *const argv[] = {"nft", "list", "table", family, label, NULL};
	struct err words = {};
	int r = rules_run(argv, -1, text, &words);

	if (!r)
		return 0;
	if (r == -EINVAL && strstr(err_msg(&words), "No such file"))
		return err_set(e, ENOENT, "table %s %s is missing", family, label);
	return err_set(e, -r, "%s", err_msg(&words));
}

int rules_nft_check(const struct rules *r, struct err *e)
{
	int ret = 0;

	for (int bridged = 0; !ret && bridged < 2; bridged++) {
		autofree char *text = NULL, *arp = NULL;

		if (!rules_any_nic(r, bridged))
			continue;
		ret = list_table(bridged ? "bridge" : "inet", r->label, &text, e);
		if (!ret)
			ret = rules_nft_shows(r, text, bridged, e);
		if (!ret && !bridged)
			ret = list_table("arp", r->label, &arp, e);
	}
	return ret;
}

/* ---- iptables ---- */

static int iptables_shows_nic(const struct rules *r, unsigned int i, const char *text,
			      struct err *e)
{
	const struct rules_nic *nic = &r->nics[i];
	bool bridged = nic->bridge[0], drops = r->mode[i] == RULES_BLOCK;
	char start[RULES_LABEL_MAX + 8], end[96];

	snprintf(start, sizeof(start), "-A %s-o ", r->label);
	snprintf(end, sizeof(end), " %s %s -j NFQUEUE --queue-num %u",
		 bridged ? "--physdev-in" : "-i", nic->tap, nic->queue);
	if (drops)
		snprintf(end, sizeof(end), " %s %s -j DROP", bridged ? "--physdev-in" : "-i",
			 nic->tap);
	if (r->mode[i] != RULES_OFF && !has_line(text, start, end))
		return missing(nic, "output", e);
	snprintf(start, sizeof(start), "-A %s-i ", r->label);
	snprintf(end, sizeof(end), " -j NFQUEUE --queue-num %u", nic->inbound_queue);
	if (r->inbound[i] && !has_line(text, start, end))
		return missing(nic, "input", e);
	return 0;
}

int rules_iptables_shows(const struct rules *r, const char *text, struct err *e)
{
	char call_o[64], call_i[64];
	int ret = 0;

	snprintf(call_o, sizeof(call_o), "-A PREROUTING -j %s-o", r->label);
	snprintf(call_i, sizeof(call_i), "-A POSTROUTING -j %s-i", r->label);
	if (!has_line(text, call_o, call_o) || !has_line(text, call_i, call_i))
		return err_set(e, ENOENT, "the call of %s-o or -i is missing", r->label);
	for (unsigned int i = 0; !ret && i < r->nic_count; i++)
		ret = iptables_shows_nic(r, i, text, e);
	return ret;
}

/* The comments of how the bridges' switches stood, and the switches. */
static int check_switches(const struct rules *r, const char *text, struct err *e)
{
	char start[RULES_LABEL_MAX + 8];

	snprintf(start, sizeof(start), "-A %s-u ", r->label);
	if (r->undo_count && !has_line(text, start, ""))
		return err_set(e, ENOENT, "chain %s-u is empty", r->label);
	for (unsigned int i = 0; i < r->undo_count; i++) {
		struct rules_switches now;
		int ret = rules_switches_get(r->undo[i].bridge, &now, e);

		if (ret)
			return ret;
		if (!now.ipv4 || !now.ipv6 || !now.vlan)
			return err_set(e, ENOENT,
				       "bridge %s does not send its frames through iptables",
				       r->undo[i].bridge);
	}
	return 0;
}

int rules_iptables_check(const struct rules *r, struct err *e)
{
	const char *family;
	int ret = 0;

	for (unsigned int i = 0; !ret && (family = rules_iptables_family(i)); i++) {
		autofree char *text = NULL;

		ret = rules_iptables_save(family, &text, e);
		if (!ret)
			ret = rules_iptables_shows(r, text, e);
		if (!ret && i == 0)
			ret = check_switches(r, text, e);
		if (ret)
			err_prefix(e, "%s", family);
	}
	return ret;
}
