// SPDX-License-Identifier: GPL-2.0-or-later
/* The rules of one guest: what they should be, and whom to have make them so. */
#include "proxy/rules.h"

#include "proxy/rules-internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define LABEL_STEM  "colod-"
#define NAME_ROOM   (RULES_LABEL_MAX - sizeof(LABEL_STEM))
#define HASHED_PART 11

static const struct rules_maker *maker(enum rules_kind kind)
{
	return kind == RULES_NFT ? &rules_nft : &rules_iptables;
}

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if (!isascii(*s) || (!isalnum(*s) && !strchr("._-", *s)))
			return false;
	return true;
}

static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

/* Names that are too long for iptables, or that it might take for something else, get a hash. */
static void make_label(char label[RULES_LABEL_MAX], const char *name)
{
	int n;

	if (is_plain(name) && strlen(name) <= NAME_ROOM) {
		snprintf(label, RULES_LABEL_MAX, LABEL_STEM "%s", name);
		return;
	}
	n = snprintf(label, RULES_LABEL_MAX, LABEL_STEM "%.*s+%08x", HASHED_PART, name, hash(name));
	for (int i = 0; i < n; i++)
		if (!isascii(label[i]) || (!isalnum(label[i]) && !strchr("._-", label[i])))
			label[i] = '_';
}

int rules_probe(enum rules_kind want, struct err *e)
{
	struct err nft = {}, iptables = {};

	if (want != RULES_IPTABLES && !rules_nft.probe(&nft))
		return RULES_NFT;
	if (want != RULES_NFT && !rules_iptables.probe(&iptables))
		return RULES_IPTABLES;
	if (want == RULES_ANY)
		return err_set(e, EOPNOTSUPP,
			       "packets cannot be queued here, neither with nft (%.200s) nor with "
			       "iptables (%.200s)",
			       err_msg(&nft), err_msg(&iptables));
	return err_set(e, EOPNOTSUPP, "packets cannot be queued here: %.400s",
		       err_msg(want == RULES_NFT ? &nft : &iptables));
}

/* No more than the tools take as a plain name: + and * are wildcards to them. */
static int check_interface(const char *name, struct err *e)
{
	bool ok = name[0] && name[0] != '-' && strnlen(name, IFNAMSIZ) < IFNAMSIZ;

	for (const char *p = name; ok && *p; p++)
		ok = isascii(*p) && (isalnum(*p) || strchr("._-:@", *p));
	return ok ? 0
		  : err_set(e, EINVAL,
			    "interface name \"%.15s\": accepted: up to 15 of A-Z a-z 0-9 . _ - : @",
			    name);
}

static int fill(struct rules *r, enum rules_kind kind, const char *name,
		const struct rules_nic *nics, unsigned int n, struct err *e)
{
	int ret = 0;

	*r = (struct rules){.kind = kind, .nic_count = n};
	if (kind != RULES_NFT && kind != RULES_IPTABLES)
		return err_set(e, EINVAL, "no such kind of rules");
	if (!n || n > RULES_MAX_NICS)
		return err_set(e, EINVAL, "rules for %u network cards: 1 to %u can be had", n,
			       RULES_MAX_NICS);
	make_label(r->label, name);
	for (unsigned int i = 0; !ret && i < n; i++) {
		r->nics[i] = nics[i];
		ret = check_interface(nics[i].tap, e);
		if (!ret && nics[i].bridge[0])
			ret = check_interface(nics[i].bridge, e);
	}
	return ret;
}

static int sweep_label(const char *label, struct err *e)
{
	int r = rules_nft.sweep(label, e);

	return r ?: rules_iptables.sweep(label, e);
}

int rules_sweep(const char *name, struct err *e)
{
	char label[RULES_LABEL_MAX];

	make_label(label, name);
	return sweep_label(label, e);
}

int rules_install(struct rules *r, enum rules_kind kind, const char *name,
		  const struct rules_nic *nics, unsigned int n, struct err *e)
{
	int ret = fill(r, kind, name, nics, n, e);

	if (!ret)
		ret = sweep_label(r->label, e);
	if (ret)
		return ret;
	ret = maker(kind)->install(r, e);
	if (ret)
		sweep_label(r->label, NULL);
	return ret;
}

int rules_take_over(struct rules *r, enum rules_kind kind, const char *name,
		    const struct rules_nic *nics, unsigned int n, bool inbound, struct err *e)
{
	int ret = fill(r, kind, name, nics, n, e);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < n; i++) {
		r->mode[i] = RULES_QUEUE;
		r->inbound[i] = inbound;
	}
	ret = maker(kind)->install(r, e);
	if (!ret) /* he may have used the other tool */
		ret = maker(kind == RULES_NFT ? RULES_IPTABLES : RULES_NFT)->sweep(r->label, e);
	return ret;
}

/* No run of the tool for what is so already. */
static int change_to(struct rules *r, struct rules *next, struct err *e)
{
	bool same = !memcmp(r->mode, next->mode, sizeof(r->mode)) &&
		    !memcmp(r->inbound, next->inbound, sizeof(r->inbound));
	int ret;

	if (same && !r->unsure)
		return 0;
	ret = maker(r->kind)->apply(next, e);
	if (!ret)
		*r = *next;
	r->unsure = ret;
	return ret;
}

int rules_check(const struct rules *r, struct err *e)
{
	return maker(r->kind)->check(r, e);
}

int rules_restore(struct rules *r, struct err *e)
{
	int ret = maker(r->kind)->restore(r, e);

	r->unsure = ret;
	return ret;
}

static bool is_meant(unsigned int wanted, unsigned int nic)
{
	return wanted == RULES_ALL_NICS || wanted == nic;
}

int rules_set(struct rules *r, unsigned int nic, enum rules_mode mode, struct err *e)
{
	struct rules next = *r;

	for (unsigned int i = 0; i < r->nic_count; i++)
		if (is_meant(nic, i))
			next.mode[i] = mode;
	return change_to(r, &next, e);
}

int rules_inbound(struct rules *r, unsigned int nic, bool on, struct err *e)
{
	struct rules next = *r;

	for (unsigned int i = 0; i < r->nic_count; i++)
		if (is_meant(nic, i))
			next.inbound[i] = on;
	return change_to(r, &next, e);
}

int rules_set_all(struct rules *r, enum rules_mode mode, bool inbound, struct err *e)
{
	struct rules next = *r;

	for (unsigned int i = 0; i < r->nic_count; i++) {
		next.mode[i] = mode;
		next.inbound[i] = inbound;
	}
	return change_to(r, &next, e);
}

/* A bridge's switches are put back by what the rules say: those that are gone come back first. */
int rules_remove(struct rules *r, struct err *e)
{
	if (r->undo_count && rules_check(r, NULL) == -ENOENT)
		rules_restore(r, NULL);
	return sweep_label(r->label, e);
}
