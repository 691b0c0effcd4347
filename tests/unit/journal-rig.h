/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the journal's tests share: a journal, three disks, and an epoch that makes new ones of the old. */
#ifndef TESTS_UNIT_JOURNAL_RIG_H
#define TESTS_UNIT_JOURNAL_RIG_H

#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "colod/disk/journal-file.h"

#include <fcntl.h>
#include <sys/mman.h>

#define NDISKS  3
#define BYTES   (96 * 1024)
#define SESSION 0x1234

static struct {
	char path[64]; /* of the journal */
	struct journal_target disks[NDISKS];
	uint8_t old[NDISKS][BYTES], new[NDISKS][BYTES];
	struct extent_store store;
	struct extents maps[NDISKS];
	struct rng rng;
} m;

static inline void setup_disks(void)
{
	for (uint32_t i = 0; i < NDISKS; i++) {
		struct journal_target *t = &m.disks[i];

		t->fd = memfd_create("disk", MFD_CLOEXEC);
		assert_true(t->fd >= 0);
		t->id.bytes = BYTES;
		snprintf(t->id.identity, sizeof(t->id.identity), "disk %c", 'a' + (char)i);
		rng_fill(&m.rng, m.old[i], BYTES);
		assert_int_equal(pwrite(t->fd, m.old[i], BYTES, 0), BYTES);
	}
}

static inline int setup(void **state)
{
	int fd;

	(void)state;
	memset(&m, 0, sizeof(m));
	strcpy(m.path, "/tmp/colod-journal-XXXXXX");
	fd = mkostemp(m.path, O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	setup_disks();
	assert_int_equal(extent_store_init(&m.store, 64 * MIB, 5000), 0);
	for (int i = 0; i < NDISKS; i++)
		extents_init(&m.maps[i], &m.store);
	memcpy(m.new, m.old, sizeof(m.new));
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	unlink(m.path);
	for (int i = 0; i < NDISKS; i++)
		close(m.disks[i].fd);
	extent_store_destroy(&m.store);
	return 0;
}

static inline void put(uint32_t disk, enum extent_kind kind, uint64_t offset, uint64_t len)
{
	uint8_t data[BYTES];

	rng_fill(&m.rng, data, len);
	assert_int_equal(extents_put(&m.maps[disk], kind, offset, len, data), 0);
	if (kind == EXTENT_DATA)
		memcpy(m.new[disk] + offset, data, len);
	else
		memset(m.new[disk] + offset, 0, len);
}

static inline void put_small_epoch(void)
{
	put(0, EXTENT_DATA, 100, 50);
	put(0, EXTENT_DATA, 8192, 4096);
	put(0, EXTENT_TRIM, 16384, 8192);
	put(0, EXTENT_DATA, BYTES - 1, 1);
	put(2, EXTENT_ZERO, 1000, 10000);
	put(2, EXTENT_DATA, 40000, 3);
}

static inline void put_random_epoch(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t len = 1 + rng_below(&m.rng, i % 50 ? 30 : 20000);

		put((uint32_t)rng_below(&m.rng, NDISKS),
		    (enum extent_kind)(rng_below(&m.rng, 6) % 4 % 3),
		    rng_below(&m.rng, BYTES - len + 1), len);
	}
}

static inline void forget_epoch(void)
{
	for (int i = 0; i < NDISKS; i++)
		extents_clear(&m.maps[i]);
}

static inline bool disks_are(uint8_t (*want)[BYTES])
{
	static uint8_t got[BYTES];

	for (int i = 0; i < NDISKS; i++)
		if (pread(m.disks[i].fd, got, BYTES, 0) != BYTES || memcmp(got, want[i], BYTES) ||
		    lseek(m.disks[i].fd, 0, SEEK_END) != BYTES)
			return false;
	return true;
}

static inline void set_disks(uint8_t (*to)[BYTES])
{
	for (int i = 0; i < NDISKS; i++)
		assert_int_equal(pwrite(m.disks[i].fd, to[i], BYTES, 0), BYTES);
}

static inline void open_journal(struct journal_file *j, enum journal_sync sync)
{
	struct err e = {};

	assert_ok(journal_open(j, m.path, sync, m.disks, NDISKS, &e), &e);
}

/* As at a start: what was found, and where the disks stand. */
static inline enum journal_outcome recover(uint64_t *epoch)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};

	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_ok(journal_recover(&j, &found, &e), &e);
	assert_int_equal(j.state, JOURNAL_IDLE);
	journal_close(&j);
	assert_int_equal(found.session, found.epoch ? SESSION : 0);
	*epoch = found.epoch;
	return found.outcome;
}

static inline void run_epoch(struct journal_file *j, uint64_t epoch)
{
	struct err e = {};

	assert_ok(journal_write(j, SESSION, epoch, m.maps, &e), &e);
	assert_ok(journal_apply(j, m.maps, &e), &e);
}

/* Epoch 7 is done, its record is longer than the next; it has made m.old. */
static inline void run_epoch_7(struct journal_file *j)
{
	put_random_epoch(300);
	run_epoch(j, 7);
	forget_epoch();
	memcpy(m.old, m.new, sizeof(m.old));
}

/* A journal with epoch 8, which makes m.new of m.old, as it is before it is applied. */
static inline void make_journal(void)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};

	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_ok(journal_recover(&j, &found, &e), &e);
	run_epoch_7(&j);
	put_small_epoch();
	assert_ok(journal_write(&j, SESSION, 8, m.maps, &e), &e);
	journal_close(&j);
	assert_true(disks_are(m.old));
}

#define journal_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
