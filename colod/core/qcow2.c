// SPDX-License-Identifier: GPL-2.0-or-later
/* Builds a qcow2 image (version 3, QEMU's docs/interop/qcow2.txt) around one preallocated vmstate.
 */
#include "colod/core/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One cluster each, in this order; the vmstate follows. */
enum cluster {
	CLUSTER_HEADER,
	CLUSTER_REFTABLE,
	CLUSTER_REFBLOCK,
	CLUSTER_ACTIVE_L1,
	CLUSTER_SNAPSHOT_L1,
	CLUSTER_SNAPSHOT_TABLE,
	CLUSTER_L2,
	CLUSTER_VMSTATE,
};

#define MAGIC              0x514649fbu /* "QFI\xfb" */
#define VERSION            3
#define REFCOUNT_ORDER     4 /* 16 bits each */
#define DISK_BYTES         QCOW2_CLUSTER_BYTES
#define ENTRIES_PER_L2     (QCOW2_CLUSTER_BYTES / sizeof(uint64_t))
#define ENTRIES_PER_REFBLK (QCOW2_CLUSTER_BYTES / sizeof(uint16_t))

/* The vmstate lies in the guest address space behind the disk, rounded up to a whole L2 table: one
 * table for the disk, one for the vmstate. */
#define L1_VMSTATE 1
#define L1_ENTRIES 2

_Static_assert(QCOW2_VMSTATE_MAX / QCOW2_CLUSTER_BYTES <= ENTRIES_PER_L2, "one L2 table");
_Static_assert(CLUSTER_VMSTATE + QCOW2_VMSTATE_MAX / QCOW2_CLUSTER_BYTES <= ENTRIES_PER_REFBLK,
	       "one refcount block");

struct header {
	uint32_t magic, version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size, cluster_bits;
	uint64_t disk_bytes;
	uint32_t crypt_method, l1_entries;
	uint64_t l1_offset, reftable_offset;
	uint32_t reftable_clusters, snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, header_bytes;
} __attribute__((packed));

struct snapshot {
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint16_t id_len, name_len;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock_nsec;
	uint32_t vmstate_bytes32; /* superseded by vmstate_bytes */
	uint32_t extra_bytes;
	uint64_t vmstate_bytes, disk_bytes, icount;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == 104, "as in the specification, version 3");
_Static_assert(sizeof(struct snapshot) == 64, "as in the specification, all extra data");

#define NO_ICOUNT UINT64_MAX

static uint64_t offset_of(uint64_t cluster)
{
	return cluster << QCOW2_CLUSTER_BITS;
}

static void put_header(uint8_t *img)
{
	struct header h = {
		.magic = htobe32(MAGIC),
		.version = htobe32(VERSION),
		.cluster_bits = htobe32(QCOW2_CLUSTER_BITS),
		.disk_bytes = htobe64(DISK_BYTES),
		.l1_entries = htobe32(L1_ENTRIES),
		.l1_offset = htobe64(offset_of(CLUSTER_ACTIVE_L1)),
		.reftable_offset = htobe64(offset_of(CLUSTER_REFTABLE)),
		.reftable_clusters = htobe32(1),
		.snapshots = htobe32(1),
		.snapshots_offset = htobe64(offset_of(CLUSTER_SNAPSHOT_TABLE)),
		.refcount_order = htobe32(REFCOUNT_ORDER),
		.header_bytes = htobe32(sizeof(h)),
	};

	memcpy(img + offset_of(CLUSTER_HEADER), &h, sizeof(h));
}

static void put_snapshot(uint8_t *img, const char *tag, uint64_t vmstate_bytes)
{
	static const char id[] = "1";
	struct snapshot s = {
		.l1_offset = htobe64(offset_of(CLUSTER_SNAPSHOT_L1)),
		.l1_entries = htobe32(L1_ENTRIES),
		.id_len = htobe16(sizeof(id) - 1),
		.name_len = htobe16((uint16_t)strlen(tag)),
		.vmstate_bytes32 = htobe32((uint32_t)vmstate_bytes),
		.extra_bytes = htobe32(sizeof(s) - offsetof(struct snapshot, vmstate_bytes)),
		.vmstate_bytes = htobe64(vmstate_bytes),
		.disk_bytes = htobe64(DISK_BYTES),
		.icount = htobe64(NO_ICOUNT),
	};
	uint8_t *p = img + offset_of(CLUSTER_SNAPSHOT_TABLE);

	memcpy(p, &s, sizeof(s));
	memcpy(p + sizeof(s), id, sizeof(id) - 1);
	memcpy(p + sizeof(s) + sizeof(id) - 1, tag, strlen(tag));
}

static void put_be64(uint8_t *img, enum cluster table, uint64_t index, uint64_t value)
{
	value = htobe64(value);
	memcpy(img + offset_of(table) + index * sizeof(value), &value, sizeof(value));
}

static void put_refcount(uint8_t *img, uint64_t cluster, uint16_t count)
{
	count = htobe16(count);
	memcpy(img + offset_of(CLUSTER_REFBLOCK) + cluster * sizeof(count), &count, sizeof(count));
}

/* The active L1 is as if the snapshot had just been loaded: both tables lead to one L2, so that it
 * and the vmstate count two references and no entry carries the COPIED flag. */
static void put_tables(uint8_t *img, uint64_t vmstate_clusters)
{
	put_be64(img, CLUSTER_REFTABLE, 0, offset_of(CLUSTER_REFBLOCK));
	put_be64(img, CLUSTER_ACTIVE_L1, L1_VMSTATE, offset_of(CLUSTER_L2));
	put_be64(img, CLUSTER_SNAPSHOT_L1, L1_VMSTATE, offset_of(CLUSTER_L2));
	for (uint64_t i = 0; i < CLUSTER_L2; i++)
		put_refcount(img, i, 1);
	put_refcount(img, CLUSTER_L2, 2);
	for (uint64_t i = 0; i < vmstate_clusters; i++) {
		put_be64(img, CLUSTER_L2, i, offset_of(CLUSTER_VMSTATE + i));
		put_refcount(img, CLUSTER_VMSTATE + i, 2);
	}
}

int qcow2_build(uint8_t **head, struct qcow2_layout *l, const char *tag, uint64_t vmstate_bytes,
		struct err *e)
{
	uint64_t clusters = DIV_ROUND_UP(vmstate_bytes, QCOW2_CLUSTER_BYTES);
	uint8_t *img;

	if (!vmstate_bytes || vmstate_bytes > QCOW2_VMSTATE_MAX)
		return err_set(e, EINVAL, "a vmstate of %llu bytes does not fit into the container",
			       (unsigned long long)vmstate_bytes);
	if (!*tag || strlen(tag) > UINT8_MAX)
		return err_set(e, EINVAL, "a snapshot name has 1 to 255 characters");
	img = calloc(CLUSTER_VMSTATE, QCOW2_CLUSTER_BYTES);
	if (!img)
		return err_errno(e, ENOMEM, "vmstate container");
	put_header(img);
	put_snapshot(img, tag, clusters * QCOW2_CLUSTER_BYTES);
	put_tables(img, clusters);
	l->head_bytes = offset_of(CLUSTER_VMSTATE);
	l->vmstate_offset = offset_of(CLUSTER_VMSTATE);
	l->vmstate_bytes = clusters * QCOW2_CLUSTER_BYTES;
	l->file_bytes = offset_of(CLUSTER_VMSTATE + clusters);
	*head = img;
	return 0;
}
