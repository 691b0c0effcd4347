/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the preload library inside QEMU tells colod: one message, the userfaultfd attached. */
#ifndef CORE_UFFD_MSG_H
#define CORE_UFFD_MSG_H

#include <stdint.h>

#define PRELOAD_ENV       "COLOD_UFFD_FD" /* number of the inherited unix socket */
#define PRELOAD_MSG_MAGIC 0xc01ddff0u

/**
 * struct preload_msg - sent once over the socket named by PRELOAD_ENV, in whose place the
 * library then keeps a copy of the userfaultfd
 * @magic: PRELOAD_MSG_MAGIC
 * @error: 0 and a descriptor comes along (SCM_RIGHTS), else a positive errno and none comes
 *
 * An end of file without a message: the library was not loaded (it was not found, or the binary has
 * file capabilities or is set-uid, which makes ld.so(8) ignore LD_PRELOAD), or what ran never was a
 * program whose name starts with "qemu".
 */
struct preload_msg {
	uint32_t magic;
	uint32_t error;
};

#endif
