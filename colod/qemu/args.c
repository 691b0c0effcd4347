// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's command line: refuses the user's words that cannot work, adds colod's own. */
#include "colod/qemu/args.h"

#include "base/cleanup.h"
#include "colod/core/words.h"
#include "colod/qemu/args-rules.h"
#include "colod/qemu/opts.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The name of an option without its one or two dashes, NULL for other words. */
static const char *option_name(const char *word)
{
	if (word[0] != '-' || !word[1])
		return NULL;
	word += word[1] == '-' ? 2 : 1;
	return *word ? word : NULL;
}

/* The word after an option is its value unless it is an option itself. Only a kernel command line
 * may look like one. "" when there is none. */
static const char *option_value(char *const *word)
{
	const char *name = option_name(*word);

	if (!word[1] || (option_name(word[1]) && strcmp(name, "append")))
		return "";
	return word[1];
}

static bool match(const char *pattern, const char *s)
{
	return !fnmatch(pattern, s, FNM_EXTMATCH);
}

static int refuse(const char *opt, const char *part, const struct arg_rule *rule, struct err *e)
{
	return err_set(e, EINVAL, "qemu_args: -%s%s%.120s: %s", opt, *part ? " " : "", part,
		       rule->why);
}

static int check_pairs(const char *opt, const struct opts *o, const struct arg_rule *rule,
		       struct err *e)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct opt_pair *p = &o->pairs[i];
		char part[128];

		if (!match(rule->key, p->key) || (rule->value && !match(rule->value, p->value)))
			continue;
		snprintf(part, sizeof(part), "%s%s%s", p->key, *p->key ? "=" : "", p->value);
		return refuse(opt, part, rule, e);
	}
	return 0;
}

static int check_value(const char *opt, const char *value, const struct arg_rule *rule,
		       struct err *e)
{
	struct opts o;
	int r = opts_parse(&o, value, e);

	if (r)
		return err_prefix(e, "qemu_args: -%s %.80s", opt, value);
	r = check_pairs(opt, &o, rule, e);
	opts_free(&o);
	return r;
}

static int check_option(const char *opt, const char *value, struct err *e)
{
	for (const struct arg_rule *rule = arg_rules; rule->opt; rule++) {
		int r;

		if (!match(rule->opt, opt))
			continue;
		if (!rule->key)
			return refuse(opt, "", rule, e);
		r = check_value(opt, value, rule, e);
		if (r)
			return r;
	}
	return 0;
}

int qemu_args_check(char *const *argv, struct err *e)
{
	for (; *argv; argv++) {
		const char *opt = option_name(*argv);
		const char *value;
		int r;

		if (!opt)
			continue;
		value = option_value(argv);
		r = check_option(opt, value, e);
		if (r)
			return r;
		argv += value == argv[1];
	}
	return 0;
}

/* Whether the user gave one of the options that match @pattern. */
static bool has_option(char *const *argv, const char *pattern)
{
	for (; *argv; argv++) {
		const char *opt = option_name(*argv);

		if (!opt)
			continue;
		if (match(pattern, opt))
			return true;
		argv += option_value(argv) == argv[1];
	}
	return false;
}

/* struct builder - a growing argv; the first failure sticks. */
struct builder {
	char **argv;
	size_t count;
	int r;
};

static void add(struct builder *b, const char *word)
{
	if (!b->r)
		b->r = strv_append(&b->argv, &b->count, word);
}

PRINTF_LIKE(3, 4)
static void add_option(struct builder *b, const char *opt, const char *fmt, ...)
{
	char value[1024];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(value, sizeof(value), fmt, ap) >= (int)sizeof(value) && !b->r)
		b->r = -E2BIG;
	va_end(ap);
	add(b, opt);
	if (*value)
		add(b, value);
}

/* A second -machine adds to the first one. Without suppress-vmdesc each snapshot-load would
 * complain on stderr that the saved state has no description section. Alignment gives every scan
 * thread whole page tables. */
static void add_memory(struct builder *b, const struct config *c, const struct qemu_fds *fds)
{
	add_option(b, "-object",
		   "memory-backend-file,id=colod-ram,size=%" PRIu64
		   ",mem-path=/proc/self/fd/%d,share=on,align=2M",
		   c->memory_bytes, fds->ram);
	add_option(b, "-machine", "memory-backend=colod-ram,suppress-vmdesc=on");
	add_option(b, "-m", "%" PRIu64 "K", (uint64_t)(c->memory_bytes / KIB));
}

static void add_control(struct builder *b, const struct qemu_fds *fds)
{
	add_option(b, "-chardev", "socket,id=colod-qmp,fd=%d,server=on,wait=off", fds->qmp);
	add_option(b, "-mon", "chardev=colod-qmp,mode=control");
	add_option(b, "-global", "migration.send-configuration=off");
	add(b, "-S");
	add(b, "-no-shutdown");
}

/*
 * QEMU itself moves the packets (vhost=off): the kernel would write into guest memory unseen. An
 * option ROM would be one more block of memory that must be alike on both hosts. QEMU 7.2 forgets a
 * virtio card's VLAN filter whenever it loads a state, so the card gets none: it takes all VLANs.
 * Nor is its guest to announce itself after each load; colod does, when it takes over.
 * What the user adds comes last and so overrides it.
 */
static void add_nic(struct builder *b, unsigned i, const struct config_nic *nic, int tap)
{
	const char *filter = nic_is_virtio(nic) ? ",ctrl_vlan=off,guest_announce=off" : "";
	char mtu[24] = "";

	if (nic->mtu)
		snprintf(mtu, sizeof(mtu), ",host_mtu=%u", nic->mtu);
	add_option(b, "-netdev", "tap,id=colod-net%u,fd=%d,vhost=off", i, tap);
	add_option(b, "-device",
		   "%s,netdev=colod-net%u,mac=" MAC_FMT ",id=colod-nic%u%s%s,romfile=%s%s",
		   nic->model, i, MAC_ARGS(nic->mac), i, filter, mtu, nic->extra ? "," : "",
		   nic->extra ?: "");
}

static void add_nics(struct builder *b, const struct config *c, const struct qemu_fds *fds)
{
	for (unsigned i = 0; i < c->nic_count; i++)
		add_nic(b, i, &c->nics[i], fds->taps[i]);
}

/* What the user left open and QEMU would fill with something that does not fit. */
static void add_defaults(struct builder *b, const struct config *c, char *const *user)
{
	if (!has_option(user, "name"))
		add_option(b, "-name", "%s", c->name);
	if (!has_option(user, "@(vga|nodefaults)"))
		add_option(b, "-vga", "none");
	if (!has_option(user, "@(display|vnc|spice|nographic|curses|sdl|gtk)"))
		add_option(b, "-display", "none");
	/* QEMU's own choice would be a card whose output nobody holds. */
	if (!c->nic_count && !has_option(user, "@(nic|net|nodefaults)"))
		add_option(b, "-nic", "none");
}

int qemu_args_build(char ***out, const struct config *c, char *const *user,
		    const struct qemu_fds *fds, struct err *e)
{
	struct builder b = {};

	add(&b, c->qemu);
	for (char *const *w = user; *w; w++)
		add(&b, *w);
	add_memory(&b, c, fds);
	add_control(&b, fds);
	add_nics(&b, c, fds);
	add_defaults(&b, c, user);
	if (b.r) {
		strv_free(b.argv);
		return err_errno(e, -b.r, "QEMU arguments");
	}
	*out = b.argv;
	return 0;
}
