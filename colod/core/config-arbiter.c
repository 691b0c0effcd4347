// SPDX-License-Identifier: GPL-2.0-or-later
/* Arbitration's keys: their parsers and what they need of each other. */
#include "colod/core/config-arbiter.h"

#include "base/cleanup.h"
#include "colod/core/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENDPOINTS 16

int value_host(const struct config_key *k, void *field, const char *value, struct err *e)
{
	size_t len = strlen(value);

	(void)k;
	if (!len || len > CONFIG_HOST_MAX)
		return err_set(e, EINVAL, "has %zu characters", len);
	if (strspn(value, CONFIG_ALNUM "._-") != len || !strchr(CONFIG_ALNUM, *value))
		return err_set(e, EINVAL, "has a character that the name of a host may not have");
	if (!strcmp(value, "localhost"))
		return err_set(e, EINVAL, "does not tell one host from the other");
	memcpy(field, value, len + 1);
	return 0;
}

static int check_url(const char *url, struct err *e)
{
	const char *rest;

	if (!strncmp(url, "http://", 7))
		rest = url + 7;
	else if (!strncmp(url, "https://", 8))
		rest = url + 8;
	else
		return err_set(e, EINVAL, "does not begin with http:// or https://");
	if (!*rest || strlen(url) > 255)
		return err_set(e, EINVAL, "names no host, or is longer than 255 characters");
	if (strspn(rest, CONFIG_ALNUM "._-:[]%") != strlen(rest))
		return err_set(e, EINVAL, "has more than a host and a port in it");
	return 0;
}

int value_urls(const struct config_key *k, void *field, const char *value, struct err *e)
{
	_cleanup_(cleanup_strv) char **urls = NULL;
	char ***out = field;
	size_t n = 0;
	int r = words_split(&urls, value, e);

	(void)k;
	for (; !r && urls[n]; n++)
		r = check_url(urls[n], e);
	if (!r && n > MAX_ENDPOINTS)
		r = err_set(e, EINVAL, "has more than %d URLs", MAX_ENDPOINTS);
	if (r)
		return r;
	strv_free(*out);
	*out = steal_ptr(&urls);
	return 0;
}

int value_etcd_prefix(const struct config_key *k, void *field, const char *value, struct err *e)
{
	size_t len = strlen(value);

	(void)k;
	if (*value != '/' || len < 2 || value[len - 1] == '/' || len > 128)
		return err_set(e, EINVAL, "does not begin with /, ends in one, or is too long");
	if (strspn(value, CONFIG_ALNUM "._-/") != len)
		return err_set(e, EINVAL, "has a character that a prefix may not have");
	return value_replace(field, value);
}

static int check_command(const struct config *c, struct err *e)
{
	_cleanup_(cleanup_strv) char **words = NULL;
	int r;

	if (c->arbiter != ARBITER_EXEC)
		return c->arbiter_command ? err_set(e, EINVAL,
						    "arbiter_command: is run only with arbiter = "
						    "exec; set that or remove it")
					  : 0;
	if (!c->arbiter_command)
		return err_set(e, EINVAL,
			       "arbiter: exec needs arbiter_command = PROGRAM ARGUMENTS, which "
			       "exits with 0 when this host may go on alone");
	r = words_split(&words, c->arbiter_command, e);
	if (r)
		return r;
	return words[0] ? 0 : err_set(e, EINVAL, "arbiter_command: is empty; name a program");
}

static bool all_https(char *const *urls)
{
	for (; *urls; urls++)
		if (strncmp(*urls, "https://", 8))
			return false;
	return true;
}

static int check_tls(const struct config *c, struct err *e)
{
	bool any = c->etcd_cafile || c->etcd_certfile || c->etcd_keyfile;

	if (!c->etcd_certfile != !c->etcd_keyfile)
		return err_set(e, EINVAL,
			       "etcd_certfile and etcd_keyfile belong together: %s is missing",
			       c->etcd_certfile ? "etcd_keyfile" : "etcd_certfile");
	if (any && !all_https(c->etcd_endpoints))
		return err_set(e, EINVAL,
			       "etcd_endpoints: etcd_cafile, etcd_certfile and etcd_keyfile are "
			       "of use with https:// only; write https:// in every URL");
	return 0;
}

static int check_etcd(const struct config *c, struct err *e)
{
	if (c->arbiter == ARBITER_ETCD)
		return c->etcd_endpoints
			       ? check_tls(c, e)
			       : err_set(e, EINVAL,
					 "arbiter: etcd needs etcd_endpoints = URL ..., such as "
					 "https://10.0.0.3:2379");
	if (c->etcd_endpoints || c->etcd_cafile || c->etcd_certfile || c->etcd_keyfile)
		return err_set(e, EINVAL,
			       "etcd_endpoints, etcd_cafile, etcd_certfile and etcd_keyfile are "
			       "used only with arbiter = etcd; set that or remove them");
	return 0;
}

int config_check_arbiter(const struct config *c, struct err *e)
{
	int r = check_command(c, e);

	return r ? r : check_etcd(c, e);
}

void config_arbiter_destroy(struct config *c)
{
	free(c->arbiter_command);
	strv_free(c->etcd_endpoints);
	free(c->etcd_prefix);
	free(c->etcd_cafile);
	free(c->etcd_certfile);
	free(c->etcd_keyfile);
}
