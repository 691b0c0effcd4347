// SPDX-License-Identifier: GPL-2.0-or-later
/* Bypass rules: parsing what the operator wrote, matching packets. Pure. */
#include "proxy/bypass.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define WORD_MAX 64 /* longer than any address with its prefix */

#define IP4_BITS 96 /* of ::ffff:0:0/96 */

/* Take the next word of *text into @word. 0, -ENOENT at the end, -EINVAL when it is too long. */
static int next_word(const char **text, char word[WORD_MAX], struct err *e)
{
	const char *start = *text + strspn(*text, " \t");
	size_t n = strcspn(start, " \t");

	*text = start + n;
	if (!n)
		return -ENOENT;
	if (n >= WORD_MAX)
		return err_set(e, EINVAL, "\"%.20s...\" is too long for a word of a bypass rule",
			       start);
	memcpy(word, start, n);
	word[n] = 0;
	return 0;
}

/* Decimal digits only, @min to @max. */
static int parse_number(const char *s, unsigned min, unsigned max, unsigned *out)
{
	unsigned v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s >= '0' && *s <= '9' && v <= max; s++)
		v = v * 10 + (unsigned)(*s - '0');
	if (*s || v < min || v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

static int parse_proto(struct bypass_rule *r, const char *value, struct err *e)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} names[] = {{"tcp", IPPROTO_TCP},
		     {"udp", IPPROTO_UDP},
		     {"icmp", IPPROTO_ICMP},
		     {"icmp6", IPPROTO_ICMPV6}};
	unsigned n;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i].name))
			continue;
		r->proto = names[i].proto;
		return 0;
	}
	if (parse_number(value, 1, 255, &n))
		return err_set(
			e, EINVAL,
			"proto \"%s\" is none of tcp, udp, icmp, icmp6 and no number 1 to 255",
			value);
	r->proto = (uint8_t)n;
	return 0;
}

/* IPv4 with 96 bits before it, so that all addresses are of one kind. */
static int parse_address(struct ip_addr *a, const char *text, unsigned *offset)
{
	uint8_t ip4[4];

	*offset = 0;
	if (inet_pton(AF_INET6, text, a->b) == 1)
		return 0;
	*offset = IP4_BITS;
	if (inet_pton(AF_INET, text, ip4) != 1)
		return -EINVAL;
	ip_addr_set_ip4(a, ip4);
	return 0;
}

/* Whether the first @bits of both are the same. */
static bool same_prefix(const struct ip_addr *a, const struct ip_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a->b, b->b, bytes) != 0)
		return false;
	return !rest || !((a->b[bytes] ^ b->b[bytes]) >> (8 - rest));
}

static bool is_network(const struct ip_addr *a, unsigned bits)
{
	for (unsigned i = bits; i < 128; i++)
		if (a->b[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

static int parse_peer(struct bypass_rule *r, char *value, struct err *e)
{
	char *slash = strchr(value, '/');
	unsigned offset, bits;

	if (slash)
		*slash = 0;
	if (parse_address(&r->peer, value, &offset))
		return err_set(e, EINVAL, "peer \"%s\" is no IPv4 or IPv6 address", value);
	bits = 128 - offset;
	if (slash && parse_number(slash + 1, 0, bits, &bits))
		return err_set(e, EINVAL, "peer \"%s/%s\": the prefix is no number 0 to %u", value,
			       slash + 1, bits);
	if (!is_network(&r->peer, offset + bits))
		return err_set(e, EINVAL, "peer \"%s/%u\" has bits set behind the first %u", value,
			       bits, bits);
	if (!(offset + bits))
		return err_set(e, EINVAL, "peer \"%s/0\" is everybody: leave it out", value);
	r->peer_prefix = (uint8_t)(offset + bits);
	return 0;
}

static int parse_port(uint16_t *port, const char *name, const char *value, struct err *e)
{
	unsigned n;

	if (parse_number(value, 1, 65535, &n))
		return err_set(e, EINVAL, "%s \"%s\" is no number 1 to 65535", name, value);
	*port = (uint16_t)n;
	return 0;
}

static const char *const conditions[] = {"proto", "peer", "guest-port", "peer-port"};

static int parse_condition(struct bypass_rule *r, unsigned which, char *value, struct err *e)
{
	switch (which) {
	case 0:
		return parse_proto(r, value, e);
	case 1:
		return parse_peer(r, value, e);
	case 2:
		return parse_port(&r->guest_port, conditions[which], value, e);
	default:
		return parse_port(&r->peer_port, conditions[which], value, e);
	}
}

static int parse_action(struct bypass_rule *r, const char *word, struct err *e)
{
	if (!strcmp(word, "release"))
		r->action = BYPASS_RELEASE;
	else if (!strcmp(word, "commit"))
		r->action = BYPASS_COMMIT;
	else
		return err_set(e, EINVAL,
			       "a bypass rule begins with \"release\" or \"commit\", not \"%s\"",
			       word);
	return 0;
}

static unsigned find_condition(const char *word)
{
	unsigned i = 0;

	while (i < ARRAY_SIZE(conditions) && strcmp(word, conditions[i]) != 0)
		i++;
	return i;
}

/* All conditions; -EINVAL, also when there is none. */
static int parse_conditions(struct bypass_rule *r, const char *text, struct err *e)
{
	char name[WORD_MAX], value[WORD_MAX];
	unsigned seen = 0, i;
	int err;

	while (!(err = next_word(&text, name, e))) {
		i = find_condition(name);
		if (i == ARRAY_SIZE(conditions))
			return err_set(e, EINVAL,
				       "\"%s\" is none of proto, peer, guest-port and peer-port",
				       name);
		if (seen & BIT(i))
			return err_set(e, EINVAL, "%s stands twice in a bypass rule", name);
		seen |= BIT(i);
		err = next_word(&text, value, e);
		if (err == -ENOENT)
			return err_set(e, EINVAL, "%s has no value", name);
		if (err || (err = parse_condition(r, i, value, e)))
			return err;
	}
	if (err != -ENOENT)
		return err;
	if (!seen)
		return err_set(e, EINVAL,
			       "a bypass rule needs one of proto, peer, guest-port, peer-port");
	return 0;
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

int bypass_add(struct bypass *b, const char *text, struct err *e)
{
	struct bypass_rule r = {};
	char word[WORD_MAX];
	int err = next_word(&text, word, e);

	if (err == -ENOENT)
		return err_set(e, EINVAL, "the bypass rule is empty");
	if (err || (err = parse_action(&r, word, e)) || (err = parse_conditions(&r, text, e)))
		return err;
	if (r.proto && !has_ports(r.proto) && (r.guest_port || r.peer_port))
		return err_set(e, EINVAL, "%s needs proto tcp or udp",
			       r.guest_port ? "guest-port" : "peer-port");
	if (b->count == BYPASS_MAX_RULES)
		return err_set(e, ENOSPC, "more than %u bypass rules", BYPASS_MAX_RULES);
	b->rules[b->count++] = r;
	return 0;
}

static bool peer_fits(const struct bypass_rule *r, const struct ip_addr *peer, bool ip4)
{
	if (!r->peer_prefix)
		return true;
	if (ip4 && r->peer_prefix < IP4_BITS)
		return false;
	return same_prefix(&r->peer, peer, r->peer_prefix);
}

static bool ports_fit(const struct bypass_rule *r, const struct pkt *p, bool out)
{
	uint16_t guest = out ? p->sport : p->dport;
	uint16_t peer = out ? p->dport : p->sport;

	if (!r->guest_port && !r->peer_port)
		return true;
	/* Of an ICMP echo they hold its identifier. */
	if (p->kind != PKT_TCP && p->kind != PKT_UDP)
		return false;
	return (!r->guest_port || r->guest_port == guest) &&
	       (!r->peer_port || r->peer_port == peer);
}

enum bypass_action bypass_match(const struct bypass *b, const struct pkt *p, bool out)
{
	const struct ip_addr *peer = out ? &p->dst : &p->src;

	if (p->kind == PKT_OPAQUE)
		return BYPASS_NO;
	for (unsigned i = 0; i < b->count; i++) {
		const struct bypass_rule *r = &b->rules[i];

		if ((!r->proto || r->proto == p->proto) && peer_fits(r, peer, p->ip_version == 4) &&
		    ports_fit(r, p, out))
			return r->action;
	}
	return BYPASS_NO;
}
