/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the core's files: the negotiation. */
#ifndef DISK_NBD_OPTIONS_H
#define DISK_NBD_OPTIONS_H

#include "colod/disk/nbd-core.h"

/** nbd_greet() - queue the server's first bytes. */
void nbd_greet(struct nbd_core *c);

/** nbd_client_flags() - -EPROTO for a flag that was not offered. */
int nbd_client_flags(struct nbd_core *c, uint32_t flags, struct err *e);

/**
 * nbd_option() - answer c->option, whose data are the first @len bytes of c->in. NBD_MORE,
 * NBD_ATTACHED, NBD_BYE, or as nbd_core_filled().
 */
int nbd_option(struct nbd_core *c, uint32_t len, struct err *e);

#define NBD_OPTION_MAGIC UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */

#endif
