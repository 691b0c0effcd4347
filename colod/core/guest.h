/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the layers above know of a running QEMU: its memory, its QMP connection, its state files. */
#ifndef CORE_GUEST_H
#define CORE_GUEST_H

#include "qmp-client/qmp-loop.h"

#include <stdint.h>
#include <sys/types.h>

#define GUEST_VMSTATE_NODE "colod-vs" /* block node that snapshot-load reads from */
#define GUEST_VMSTATE_TAG  "colod"    /* name of the one internal snapshot in it */

/**
 * struct guest - one running QEMU, filled by qemu_start(), valid until qemu_free()
 * @ram:            guest RAM mapped into colod (shared with QEMU)
 * @ram_va:         the same RAM in QEMU's address space
 * @uffd:           userfaultfd made inside QEMU; -1 when the tracker needs none
 * @devstate_fd:    memfd that xen-save-devices-state writes into; read or map it from here
 * @devstate_pos_fd: the same file, write-only (QEMU takes no other), sharing its file offset with
 *                  QEMU's descriptor: lseek to 0 before each save, the offset afterwards is the
 *                  size
 * @devstate_path:  the name of that file for QEMU, "/dev/fdset/N"
 * @vmstate_fd:     the qcow2 container behind node GUEST_VMSTATE_NODE
 * @vmstate_offset: where the snapshot's vmstate begins in it, contiguous
 * @vmstate_max_bytes: room for one device state
 */
struct guest {
	struct qmp_loop *qmp;
	pid_t pid;
	uint8_t *ram;
	uint64_t ram_bytes;
	uint32_t host_page_bytes;
	uint64_t ram_va;
	int uffd;
	int devstate_fd;
	int devstate_pos_fd;
	char devstate_path[32];
	int vmstate_fd;
	uint64_t vmstate_offset;
	uint64_t vmstate_max_bytes;
	char version[32];   /* "7.2.22", from the QMP greeting */
	char machine[64];   /* canonical machine type, e.g. "pc-q35-7.2" */
	char cpu_model[64]; /* QOM type of the first CPU */
	char accel[16];     /* "tcg" or "kvm" */
	uint32_t vcpus;
};

#endif
