/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A qcow2 image that is nothing but one internal snapshot with a contiguous vmstate area. Pure. */
#ifndef CORE_QCOW2_H
#define CORE_QCOW2_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* QEMU's default cluster; larger ones make snapshot-load slower (3.5 ms with 64K, 5 ms with 2M). */
#define QCOW2_CLUSTER_BITS  16
#define QCOW2_CLUSTER_BYTES (1ull << QCOW2_CLUSTER_BITS)

/* What one table cluster each of refcounts and L2 entries can describe. */
#define QCOW2_VMSTATE_MAX (256 * MIB)

/**
 * struct qcow2_layout - where things lie in the image
 * @head_bytes:     length of the metadata that qcow2_build() makes
 * @vmstate_offset: where the vmstate begins; it is contiguous, so that a device state is put into
 *                  the snapshot by one pwrite(2) here
 * @vmstate_bytes:  its length, a multiple of the cluster
 * @file_bytes:     length of the whole file; everything behind the head may be a hole
 */
struct qcow2_layout {
	uint64_t head_bytes;
	uint64_t vmstate_offset;
	uint64_t vmstate_bytes;
	uint64_t file_bytes;
};

/**
 * qcow2_build() - the metadata of an image whose only snapshot, named @tag, holds @vmstate_bytes of
 * preallocated vmstate (rounded up to clusters).
 *
 * *head is malloc'ed and goes to offset 0. Format: QEMU's docs/interop/qcow2.txt. The guest-visible
 * disk is one empty cluster. -EINVAL when @tag or the size does not fit.
 */
int qcow2_build(uint8_t **head, struct qcow2_layout *l, const char *tag, uint64_t vmstate_bytes,
		struct err *e);

#endif
