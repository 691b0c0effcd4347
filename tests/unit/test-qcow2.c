// SPDX-License-Identifier: GPL-2.0-or-later
/* The vmstate container is a consistent qcow2 image: an independent walk finds every reference. */
#include "base/cleanup.h"
#include "colod/core/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER  65536ull
#define CLUSTERS 8192

/* struct image - the head, and the references found while walking it. */
struct image {
	uint8_t *head;
	struct qcow2_layout l;
	unsigned refs[CLUSTERS];
};

static void make(struct image *m, uint64_t bytes)
{
	memset(m, 0, sizeof(*m));
	assert_int_equal(qcow2_build(&m->head, &m->l, "colod", bytes, NULL), 0);
}

static uint64_t be(const struct image *m, uint64_t at, size_t bytes)
{
	uint64_t v = 0;

	assert_true(at + bytes <= m->l.head_bytes);
	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | m->head[at + i];
	return v;
}

static void refer(struct image *m, uint64_t at, uint64_t clusters)
{
	assert_int_equal(at % CLUSTER, 0);
	for (uint64_t c = at / CLUSTER; clusters--; c++) {
		assert_true(c < m->l.file_bytes / CLUSTER);
		m->refs[c]++;
	}
}

/* Offsets as in QEMU's docs/interop/qcow2.txt, not as in the code under test. */
static void walk_l1(struct image *m, uint64_t l1, uint64_t entries)
{
	refer(m, l1, 1);
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t l2 = be(m, l1 + 8 * i, 8);

		if (!l2)
			continue;
		refer(m, l2, 1);
		for (uint64_t j = 0; j < CLUSTER / 8; j++)
			if (be(m, l2 + 8 * j, 8))
				refer(m, be(m, l2 + 8 * j, 8), 1);
	}
}

static void walk(struct image *m)
{
	uint64_t snapshot = be(m, 64, 8);

	refer(m, 0, 1);
	refer(m, be(m, 48, 8), be(m, 56, 4));
	refer(m, be(m, be(m, 48, 8), 8), 1);
	walk_l1(m, be(m, 40, 8), be(m, 36, 4));
	refer(m, snapshot, 1);
	walk_l1(m, be(m, snapshot, 8), be(m, snapshot + 8, 4));
}

static void every_cluster_is_counted_as_often_as_it_is_used(void **state)
{
	static const uint64_t sizes[] = {1, CLUSTER, 64 * MIB, QCOW2_VMSTATE_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct image m;
		uint64_t block;

		make(&m, sizes[i]);
		walk(&m);
		block = be(&m, be(&m, 48, 8), 8);
		for (uint64_t c = 0; c < CLUSTER / 2; c++)
			assert_int_equal(be(&m, block + 2 * c, 2), c < CLUSTERS ? m.refs[c] : 0);
		for (uint64_t c = 0; c < m.l.file_bytes / CLUSTER; c++)
			assert_true(m.refs[c] > 0);
		free(m.head);
	}
}

static void the_vmstate_is_contiguous_where_the_layout_says(void **state)
{
	struct image m;
	uint64_t l1, l2;

	(void)state;
	make(&m, 64 * MIB);
	assert_int_equal(m.l.vmstate_bytes, 64 * MIB);
	assert_int_equal(m.l.vmstate_offset + m.l.vmstate_bytes, m.l.file_bytes);
	assert_true(m.l.head_bytes <= m.l.vmstate_offset);
	l1 = be(&m, be(&m, 64, 8), 8);
	/* Behind the one-cluster disk, at the next multiple of what an L2 table covers. */
	assert_int_equal(be(&m, l1, 8), 0);
	l2 = be(&m, l1 + 8, 8);
	for (uint64_t i = 0; i < 1024; i++)
		assert_int_equal(be(&m, l2 + 8 * i, 8), m.l.vmstate_offset + i * CLUSTER);
	assert_int_equal(be(&m, l2 + 8 * 1024, 8), 0);
	free(m.head);
}

static void the_snapshot_carries_name_and_size(void **state)
{
	struct image m;
	uint64_t at;

	(void)state;
	make(&m, 64 * MIB);
	assert_int_equal(be(&m, 60, 4), 1);
	at = be(&m, 64, 8);
	assert_int_equal(be(&m, at + 12, 2), 1);
	assert_int_equal(be(&m, at + 14, 2), 5);
	assert_int_equal(be(&m, at + 36, 4), 24);
	assert_int_equal(be(&m, at + 40, 8), 64 * MIB);
	assert_int_equal(be(&m, at + 48, 8), be(&m, 24, 8));
	assert_memory_equal(m.head + at + 64, "1colod", 6);
	free(m.head);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct qcow2_layout l;
	uint8_t *head = NULL;
	struct err e = {};
	char tag[300];

	(void)state;
	memset(tag, 'x', sizeof(tag));
	tag[sizeof(tag) - 1] = 0;
	assert_int_equal(qcow2_build(&head, &l, "t", 0, &e), -EINVAL);
	assert_int_equal(qcow2_build(&head, &l, "t", QCOW2_VMSTATE_MAX + 1, &e), -EINVAL);
	assert_int_equal(qcow2_build(&head, &l, "", 1, &e), -EINVAL);
	assert_int_equal(qcow2_build(&head, &l, tag, 1, &e), -EINVAL);
	assert_null(head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cluster_is_counted_as_often_as_it_is_used),
		cmocka_unit_test(the_vmstate_is_contiguous_where_the_layout_says),
		cmocka_unit_test(the_snapshot_carries_name_and_size),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
