// SPDX-License-Identifier: GPL-2.0-or-later
/* Parsers of configuration values and the string helpers around them. */
#include "colod/core/config-value.h"

#include "base/cleanup.h"
#include "colod/core/config.h"
#include "colod/core/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

char *trim_left(char *s)
{
	return s + strspn(s, " \t");
}

char *trim(char *s)
{
	char *end;

	s = trim_left(s);
	end = s + strlen(s);
	while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = 0;
	return s;
}

void cut_comment(char *s)
{
	for (char *p = s; *p; p++)
		if (*p == '#' && (p == s || p[-1] == ' ' || p[-1] == '\t')) {
			*p = 0;
			return;
		}
}

unsigned edit_distance(const char *a, const char *b)
{
	enum { LONGEST = 40 };
	size_t la = strlen(a), lb = strlen(b);
	unsigned row[LONGEST + 1];

	if (la > LONGEST || lb > LONGEST)
		return LONGEST;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[lb];
}

int value_name(const struct config_key *k, void *field, const char *value, struct err *e)
{
	size_t len = strlen(value);

	(void)k;
	if (!len || len > CONFIG_NAME_MAX)
		return err_set(e, EINVAL, "has %zu characters", len);
	if (strspn(value, CONFIG_ALNUM "._-") != len || !isalnum((unsigned char)*value))
		return err_set(e, EINVAL, "has a character that a name may not have");
	memcpy(field, value, len + 1);
	return 0;
}

static int parse_port(const char *s, char port[6])
{
	size_t len = strlen(s);

	if (!len || len > 5 || strspn(s, "0123456789") != len)
		return -EINVAL;
	if (!atoi(s) || atoi(s) > 65535)
		return -EINVAL;
	memcpy(port, s, len + 1);
	return 0;
}

int value_endpoint(const struct config_key *k, void *field, const char *value, struct err *e)
{
	bool v6 = *value == '[';
	const char *host = value + v6;
	const char *end = v6 ? strchr(host, ']') : strrchr(host, ':');
	const char *colon = end && v6 ? end + 1 : end;
	size_t len = end ? (size_t)(end - host) : 0;
	struct endpoint ep = {};

	(void)k;
	if (!len || len >= sizeof(ep.host) || *colon != ':')
		return err_set(e, EINVAL, "is not an address with a port");
	if (!v6 && memchr(host, ':', len))
		return err_set(e, EINVAL, "has an IPv6 address without brackets");
	if (strspn(host, CONFIG_ALNUM "._-:%") < len)
		return err_set(e, EINVAL, "has a character that a host may not have");
	if (parse_port(colon + 1, ep.port))
		return err_set(e, EINVAL, "has no port from 1 to 65535");
	memcpy(ep.host, host, len);
	memcpy(field, &ep, sizeof(ep));
	return 0;
}

int value_replace(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int value_string(const struct config_key *k, void *field, const char *value, struct err *e)
{
	(void)k;
	if (strpbrk(value, " \t"))
		return err_set(e, EINVAL, "contains a blank");
	return value_replace(field, value);
}

int value_path(const struct config_key *k, void *field, const char *value, struct err *e)
{
	(void)k;
	if (*value != '/')
		return err_set(e, EINVAL, "does not begin with /");
	return value_replace(field, value);
}

/* Lines add up; the quoting is checked now, while the line number is known. */
int value_words(const struct config_key *k, void *field, const char *value, struct err *e)
{
	_cleanup_(cleanup_strv) char **words = NULL;
	char **args = field, *joined;
	int r = words_split(&words, value, e);

	(void)k;
	if (r)
		return r;
	if (asprintf(&joined, "%s%s%s", *args ? *args : "", *args && **args ? " " : "", value) < 0)
		return -ENOMEM;
	free(*args);
	*args = joined;
	return 0;
}

static int parse_number(const char **s, uint64_t *out)
{
	uint64_t n = 0;

	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(**s - '0'), &n))
			return -ERANGE;
	*out = n;
	return 0;
}

static int check_range(const struct config_key *k, uint64_t n, struct err *e)
{
	if (n < k->min)
		return err_set(e, EINVAL, "is too small");
	if (n > k->max)
		return err_set(e, EINVAL, "is too large");
	return 0;
}

int value_size(const struct config_key *k, void *field, const char *value, struct err *e)
{
	static const char units[] = "KMGT";
	const char *p = value, *unit;
	uint64_t n, factor = 1;
	int r = parse_number(&p, &n);

	if (r == -ERANGE)
		return err_set(e, EINVAL, "is too large");
	if (r)
		return err_set(e, EINVAL, "is not a number");
	unit = *p ? strchr(units, *p) : NULL;
	if (*p && (!unit || p[1]))
		return err_set(e, EINVAL, "has an unknown unit");
	if (unit)
		factor <<= 10 * (unit - units + 1);
	if (__builtin_mul_overflow(n, factor, &n))
		return err_set(e, EINVAL, "is too large");
	r = check_range(k, n, e);
	if (!r)
		memcpy(field, &n, sizeof(n));
	return r;
}

int value_uint32(const struct config_key *k, void *field, const char *value, struct err *e)
{
	const char *p = value;
	uint64_t n;
	uint32_t v;
	int r = parse_number(&p, &n);

	if (r == -ERANGE)
		return err_set(e, EINVAL, "is too large");
	if (r || *p)
		return err_set(e, EINVAL, "is not a whole number");
	r = check_range(k, n, e);
	v = (uint32_t)n;
	if (!r)
		memcpy(field, &v, sizeof(v));
	return r;
}

static const struct choice *find_choice(const struct config_key *k, const char *value,
					struct err *e)
{
	for (const struct choice *c = k->choices; c->name; c++)
		if (!strcmp(c->name, value))
			return c;
	err_set(e, EINVAL, "is not one of the choices");
	return NULL;
}

int value_choice32(const struct config_key *k, void *field, const char *value, struct err *e)
{
	const struct choice *c = find_choice(k, value, e);
	uint32_t v;

	if (!c)
		return -EINVAL;
	v = (uint32_t)c->value;
	memcpy(field, &v, sizeof(v));
	return 0;
}

int value_bool(const struct config_key *k, void *field, const char *value, struct err *e)
{
	const struct choice *c = find_choice(k, value, e);

	if (!c)
		return -EINVAL;
	*(bool *)field = c->value;
	return 0;
}
