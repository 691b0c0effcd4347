/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encryption of the link: what its configuration keys must have in common. Pure. */
#ifndef CORE_CONFIG_TLS_H
#define CORE_CONFIG_TLS_H

#include "colod/core/config.h"

/**
 * config_tls_finish() - fill in the default identity and see that what belongs to the kind of TLS
 * is set, and nothing else. The guest's name must be known. -EINVAL or -ENOMEM.
 */
int config_tls_finish(struct config *c, struct err *e);

/** config_tls_destroy() - free the keys' values. */
void config_tls_destroy(struct config *c);

#endif
