/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of the configuration that say who decides which host is live. Pure. */
#ifndef CORE_CONFIG_ARBITER_H
#define CORE_CONFIG_ARBITER_H

#include "colod/core/config-value.h"
#include "colod/core/config.h"

#define ACCEPTS_URLS "http:// or https:// URLs without a path, with blanks between them"

/** value_urls() - the words of @value are URLs of servers; *field is a vector that is replaced. */
int value_urls(const struct config_key *k, void *field, const char *value, struct err *e);

/** value_host() - a host's name, at most CONFIG_HOST_MAX characters. */
int value_host(const struct config_key *k, void *field, const char *value, struct err *e);

/** value_etcd_prefix() - an absolute path without a slash at its end. */
int value_etcd_prefix(const struct config_key *k, void *field, const char *value, struct err *e);

/** config_check_arbiter() - refuse what cannot work together, with a sentence that names a key. */
int config_check_arbiter(const struct config *c, struct err *e);

/** config_arbiter_destroy() - free what these keys own. */
void config_arbiter_destroy(struct config *c);

#endif
