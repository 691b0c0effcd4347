// SPDX-License-Identifier: GPL-2.0-or-later
/* Writing extents: the bytes are right on every kind of file, zeroes take no space where that is possible, and what is
 * contiguous is written at once. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "colod/disk/disk-writer.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define BYTES (2 * 1024 * 1024)

static uint8_t want[BYTES], got[BYTES], data[BYTES];
static unsigned calls;

static void count(void *arg)
{
	(void)arg;
	calls++;
}

static const struct write_hook counting = {count, NULL};

static int file_in_tmp(void)
{
	char path[] = "/tmp/colod-disk-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void begin(struct disk_writer *w, int fd)
{
	struct rng rng = {1};

	rng_fill(&rng, data, sizeof(data));
	rng_fill(&rng, want, sizeof(want));
	assert_int_equal(pwrite(fd, want, BYTES, 0), BYTES);
	calls = 0;
	disk_writer_init(w, fd, &counting);
}

static void put(struct disk_writer *w, enum extent_kind kind, uint64_t offset, uint64_t len)
{
	assert_int_equal(disk_writer_put(w, kind, offset, len, data + offset), 0);
	if (kind == EXTENT_DATA)
		memcpy(want + offset, data + offset, len);
	else
		memset(want + offset, 0, len);
}

static void check(struct disk_writer *w)
{
	assert_int_equal(disk_writer_flush(w), 0);
	assert_int_equal(pread(w->fd, got, BYTES, 0), BYTES);
	assert_memory_equal(got, want, BYTES);
	assert_int_equal(lseek(w->fd, 0, SEEK_END), BYTES);
}

static void put_all_sorts(int fd)
{
	struct rng rng = {2};
	struct disk_writer w;

	begin(&w, fd);
	put(&w, EXTENT_ZERO, 0, 65536);
	put(&w, EXTENT_TRIM, 65536, 65536);
	put(&w, EXTENT_TRIM, BYTES - 4096 - 1, 4097);
	for (int i = 0; i < 300; i++) {
		uint64_t len = 1 + rng_below(&rng, i % 3 ? 9000 : 100000);
		uint64_t offset = 131072 + rng_below(&rng, BYTES - len - 131072);

		put(&w, (enum extent_kind)rng_below(&rng, 3), offset, len);
	}
	check(&w);
	begin(&w, fd);
	put(&w, EXTENT_TRIM, 1, BYTES - 2);
	put(&w, EXTENT_ZERO, 100, BYTES - 200);
	check(&w);
	/* Shorter than any range that could be unmapped. */
	begin(&w, fd);
	put(&w, EXTENT_ZERO, 4000, 200);
	put(&w, EXTENT_TRIM, 5000, 3000);
	check(&w);
}

static void a_file_gets_what_was_put(void **state)
{
	autoclose int fd = file_in_tmp();

	(void)state;
	put_all_sorts(fd);
}

/* tmpfs can punch holes only. */
static void a_file_that_cannot_zero_ranges_is_written_with_zeroes(void **state)
{
	autoclose int fd = memfd_create("disk", MFD_CLOEXEC);
	struct disk_writer w;

	(void)state;
	put_all_sorts(fd);
	begin(&w, fd);
	w.cannot[EXTENT_ZERO] = w.cannot[EXTENT_TRIM] = true;
	put(&w, EXTENT_ZERO, 100, BYTES / 2);
	put(&w, EXTENT_TRIM, BYTES / 2 + 100, 70000);
	put(&w, EXTENT_TRIM, BYTES / 2 + 70100, 70000);
	check(&w);
}

static int open_loop(int backing)
{
	autoclose int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config c = {.fd = (uint32_t)backing, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	char path[64];
	int n, fd;

	if (control < 0)
		return -1;
	/* Somebody else may take the same one. */
	for (int i = 0; i < 20; i++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(path, sizeof(path), "/dev/loop%d", n);
		fd = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -1;
		if (!ioctl(fd, LOOP_CONFIGURE, &c))
			return fd;
		close(fd);
	}
	return -1;
}

static void a_block_device_gets_what_was_put(void **state)
{
	autoclose int backing = file_in_tmp();
	autoclose int fd = -1;

	(void)state;
	assert_int_equal(ftruncate(backing, BYTES), 0);
	fd = open_loop(backing);
	if (fd < 0)
		skip();
	put_all_sorts(fd);
}

static void trimmed_space_is_given_back(void **state)
{
	autoclose int fd = memfd_create("disk", MFD_CLOEXEC);
	struct disk_writer w;
	struct stat st;

	(void)state;
	begin(&w, fd);
	put(&w, EXTENT_TRIM, 0, BYTES);
	check(&w);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
}

static void what_is_contiguous_is_written_at_once(void **state)
{
	autoclose int fd = file_in_tmp();
	struct disk_writer w;

	(void)state;
	begin(&w, fd);
	for (uint64_t at = 0; at < DISK_WRITER_IOV * UINT64_C(4096); at += 4096)
		put(&w, EXTENT_DATA, at, 4096);
	assert_int_equal(calls, 0);
	put(&w, EXTENT_DATA, DISK_WRITER_IOV * UINT64_C(4096), 512);
	assert_int_equal(calls, 1);
	put(&w, EXTENT_DATA, BYTES / 2, 512);
	assert_int_equal(calls, 2);
	check(&w);
	assert_int_equal(calls, 3);
}

static void errors_are_told_and_not_taken_for_a_missing_feature(void **state)
{
	autoclose int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct disk_writer w;
	const struct write_hook none = {};

	(void)state;
	disk_writer_init(&w, -1, &none);
	assert_int_equal(disk_writer_put(&w, EXTENT_TRIM, 0, 8192, NULL), -EBADF);
	assert_int_equal(disk_writer_put(&w, EXTENT_DATA, 0, 10, data), 0);
	assert_int_equal(disk_writer_put(&w, EXTENT_DATA, 100, 10, data), -EBADF);
	/* What was gathered before a range of zeroes. */
	disk_writer_init(&w, fd, &none);
	assert_int_equal(disk_writer_put(&w, EXTENT_DATA, 0, 10, data), 0);
	assert_int_equal(disk_writer_put(&w, EXTENT_ZERO, 4096, 8192, NULL), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_gets_what_was_put),
		cmocka_unit_test(a_file_that_cannot_zero_ranges_is_written_with_zeroes),
		cmocka_unit_test(a_block_device_gets_what_was_put),
		cmocka_unit_test(trimmed_space_is_given_back),
		cmocka_unit_test(what_is_contiguous_is_written_at_once),
		cmocka_unit_test(errors_are_told_and_not_taken_for_a_missing_feature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
