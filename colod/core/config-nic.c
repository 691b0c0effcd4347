// SPDX-License-Identifier: GPL-2.0-or-later
/* Parsers of the keys nic and bypass. */
#include "colod/core/config-nic.h"

#include "base/cleanup.h"
#include "colod/core/config.h"
#include "colod/core/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MTU_MIN 68 /* ETH_MIN_MTU */

/* A part of a nic line; what @set refuses reads on after the part. */
struct part {
	const char *name;
	int (*set)(struct config_nic *nic, const char *value, struct err *e);
};

/* What the kernel accepts (dev_valid_name()), less what no one would type into a file. */
static int set_interface(char name[16], const char *value, struct err *e)
{
	size_t len = strlen(value);

	if (!len || len > 15)
		return err_set(e, EINVAL, "is not an interface name of 1 to 15 characters");
	if (strspn(value, CONFIG_ALNUM "._-") != len || *value == '.' || *value == '-')
		return err_set(e, EINVAL, "has a character that an interface name may not have");
	memcpy(name, value, len + 1);
	return 0;
}

static int set_tap(struct config_nic *nic, const char *value, struct err *e)
{
	return set_interface(nic->tap, value, e);
}

static int set_bridge(struct config_nic *nic, const char *value, struct err *e)
{
	return set_interface(nic->bridge, value, e);
}

static int set_mac(struct config_nic *nic, const char *value, struct err *e)
{
	uint8_t mac[6];

	if (strlen(value) != 17)
		return err_set(e, EINVAL, "is not of the form XX:XX:XX:XX:XX:XX");
	for (int i = 0; i < 6; i++, value += 3) {
		if (!isxdigit((unsigned char)value[0]) || !isxdigit((unsigned char)value[1]) ||
		    value[2] != (i < 5 ? ':' : 0))
			return err_set(e, EINVAL, "is not of the form XX:XX:XX:XX:XX:XX");
		mac[i] = (uint8_t)strtoul((char[]){value[0], value[1], 0}, NULL, 16);
	}
	if (mac[0] & 1)
		return err_set(e, EINVAL, "is a multicast address; a card needs a unicast one");
	if (!memcmp(mac, (uint8_t[6]){}, 6))
		return err_set(e, EINVAL, "is no address; choose one, such as 52:54:00:12:34:56");
	memcpy(nic->mac, mac, 6);
	return 0;
}

static int set_model(struct config_nic *nic, const char *value, struct err *e)
{
	if (!isalnum((unsigned char)*value) || strspn(value, CONFIG_ALNUM "._-") != strlen(value))
		return err_set(e, EINVAL, "is not the name of a QEMU device");
	return value_replace(&nic->model, value);
}

static int set_mtu(struct config_nic *nic, const char *value, struct err *e)
{
	unsigned long mtu;

	if (!*value || strlen(value) > 5 || strspn(value, "0123456789") != strlen(value))
		return err_set(e, EINVAL, "is not a number");
	mtu = strtoul(value, NULL, 10);
	if (mtu < MTU_MIN || mtu > CONFIG_MTU_MAX)
		return err_set(e, EINVAL, "is not from %d to %d", MTU_MIN, CONFIG_MTU_MAX);
	nic->mtu = (uint32_t)mtu;
	return 0;
}

/* Properties that colod gives itself, or that would let something else move the packets. */
static const char *const own_properties[] = {"driver",   "id", "netdev",   "mac", "vlan",
					     "host_mtu", "mq", "failover", NULL};

static int check_property(const char *text, size_t len, struct err *e)
{
	const char *eq = memchr(text, '=', len);
	size_t key = eq ? (size_t)(eq - text) : 0;

	if (!key || key + 1 == len || strspn(text, CONFIG_ALNUM "._-") < key)
		return err_set(e, EINVAL, "is not of the form KEY=VALUE,KEY=VALUE");
	for (const char *const *own = own_properties; *own; own++)
		if (strlen(*own) == key && !memcmp(*own, text, key))
			return err_set(e, EINVAL, "sets %s, which is not for this place", *own);
	return 0;
}

static int set_device(struct config_nic *nic, const char *value, struct err *e)
{
	for (const char *p = value;; p++) {
		size_t len = strcspn(p, ",");
		int r = check_property(p, len, e);

		if (r)
			return r;
		p += len;
		if (!*p)
			return value_replace(&nic->extra, value);
	}
}

static const struct part parts[] = {
	{"tap", set_tap},     {"mac", set_mac}, {"bridge", set_bridge},
	{"model", set_model}, {"mtu", set_mtu}, {"device", set_device},
};

/* Words of a nic line seen so far: bit i is parts[i], the one behind them "routed". */
#define SEEN_TAP    BIT(0)
#define SEEN_MAC    BIT(1)
#define SEEN_BRIDGE BIT(2)
#define SEEN_ROUTED BIT(ARRAY_SIZE(parts))

static int set_word(struct config_nic *nic, const char *word, unsigned *seen, struct err *e)
{
	unsigned bit = SEEN_ROUTED;
	size_t i = 0, len = 0;
	int r = 0;

	if (strcmp(word, "routed")) {
		len = strcspn(word, "=");
		while (i < ARRAY_SIZE(parts) && (strlen(parts[i].name) != len ||
						 memcmp(parts[i].name, word, len) || !word[len]))
			i++;
		if (i == ARRAY_SIZE(parts))
			return err_set(e, EINVAL, "has the unknown part \"%.40s\"", word);
		bit = BIT(i);
	}
	if (*seen & bit)
		return err_set(e, EINVAL, "says %.*s twice", (int)strcspn(word, "="), word);
	*seen |= bit;
	if (bit != SEEN_ROUTED)
		r = parts[i].set(nic, word + len + 1, e);
	return r == -EINVAL ? err_prefix(e, "is refused: \"%.60s\"", word) : r;
}

static int check_whole(const struct config_nic *nic, unsigned seen, struct err *e)
{
	if (!(seen & SEEN_TAP))
		return err_set(e, EINVAL, "has no tap=NAME");
	if (!(seen & SEEN_MAC))
		return err_set(e, EINVAL, "has no mac= (it must be the same on both hosts)");
	if (seen & SEEN_BRIDGE && seen & SEEN_ROUTED)
		return err_set(e, EINVAL, "says bridge= and routed; keep one of them");
	if (!strcmp(nic->tap, nic->bridge))
		return err_set(e, EINVAL, "gives tap and bridge the same name");
	if (nic->mtu && !nic_is_virtio(nic))
		return err_set(e, EINVAL,
			       "sets mtu, of which only a virtio-net card can tell the guest");
	return 0;
}

static int check_unique(const struct config *c, const struct config_nic *nic, struct err *e)
{
	if (c->nic_count == CONFIG_MAX_NICS)
		return err_set(e, EINVAL, "is one card too many: a guest has at most %d",
			       CONFIG_MAX_NICS);
	for (unsigned i = 0; i < c->nic_count; i++) {
		if (!strcmp(c->nics[i].tap, nic->tap))
			return err_set(e, EINVAL, "uses the tap of nic %u again", i);
		if (!memcmp(c->nics[i].mac, nic->mac, 6))
			return err_set(e, EINVAL, "has the mac of nic %u again", i);
	}
	return 0;
}

static int parse_nic(struct config_nic *nic, const char *value, struct err *e)
{
	_cleanup_(cleanup_strv) char **words = NULL;
	unsigned seen = 0;
	int r = words_split(&words, value, e);

	if (!r)
		r = value_replace(&nic->model, "virtio-net-pci");
	for (char **w = words; !r && *w; w++)
		r = set_word(nic, *w, &seen, e);
	return r ? r : check_whole(nic, seen, e);
}

int value_nic(const struct config_key *k, void *field, const char *value, struct err *e)
{
	struct config *c = container_of(field, struct config, nics);
	struct config_nic nic = {};
	int r = parse_nic(&nic, value, e);

	(void)k;
	if (!r)
		r = check_unique(c, &nic, e);
	if (!r) {
		c->nics[c->nic_count++] = nic;
		return 0;
	}
	free(nic.model);
	free(nic.extra);
	return r;
}

int value_peer(const struct config_key *k, void *field, const char *value, struct err *e)
{
	struct config *c = container_of(field, struct config, peers);
	int r;

	if (c->peer_count == CONFIG_MAX_PEERS)
		return err_set(e, EINVAL, "is one address too many");
	r = value_endpoint(k, &c->peers[c->peer_count], value, e);
	c->peer_count += !r;
	return r;
}

int value_uplink(const struct config_key *k, void *field, const char *value, struct err *e)
{
	struct config *c = container_of(field, struct config, uplinks);
	char name[16];
	int r = set_interface(name, value, e);

	(void)k;
	if (r)
		return r;
	for (unsigned i = 0; i < c->uplink_count; i++)
		if (!strcmp(c->uplinks[i], name))
			return err_set(e, EINVAL, "is named already");
	if (c->uplink_count == CONFIG_MAX_UPLINK)
		return err_set(e, EINVAL, "is one interface too many");
	memcpy(c->uplinks[c->uplink_count++], name, sizeof(name));
	return 0;
}

int value_bypass(const struct config_key *k, void *field, const char *value, struct err *e)
{
	struct config *c = container_of(field, struct config, bypass);
	size_t n = c->bypass_count;
	int r;

	(void)k;
	if (n == CONFIG_MAX_BYPASS)
		return err_set(e, EINVAL, "is one rule too many");
	r = strv_append(&c->bypass, &n, value);
	c->bypass_count = (unsigned)n;
	return r;
}
