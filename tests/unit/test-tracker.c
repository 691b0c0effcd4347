// SPDX-License-Identifier: GPL-2.0-or-later
/* Dirty tracking against a real kernel: no write of another process is ever lost. */
/*
 * The same program tests each mechanism, on the kernel it is run on:
 *   COLOD_TEST_TRACKER=pagemap-scan|soft-dirty  fails unless this is what the kernel gives
 *   COLOD_TEST_HUGE=1                           guest RAM on 2 MB pages (64 must be free)
 *   COLOD_TEST_THP=1                            shared memory gets transparent huge pages
 *   COLOD_TEST_UNLOCKED=1                       RAM is not locked: fails under memory pressure
 *   COLOD_TEST_EPOCHS=N                         length of the runs with writers
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "colod/tracker/tracker.h"
#include "tests/unit/tracker-guest.h"

static enum track_kind kind;
static uint32_t page_bytes = PAGE_BYTES;
static uint64_t npages_host; /* 4 KB pages in a host page */

struct rig {
	struct guest g;
	struct tracker *t;
	struct bitmap written;
	uint8_t *copy;
	struct err e;
};

static struct rig rig;

static void rig_open(struct rig *r, unsigned threads)
{
	struct tracker_target target = {.pid = r->g.pid,
					.uffd = kind == TRACK_PAGEMAP_SCAN ? r->g.uffd : -1,
					.va = r->g.va,
					.bytes = r->g.bytes,
					.host_page_bytes = page_bytes,
					.threads = threads};

	if (tracker_open(&r->t, kind, &target, &r->e))
		fail_msg("%s", err_msg(&r->e));
}

static void rig_arm(struct rig *r)
{
	if (tracker_arm(r->t, &r->e))
		fail_msg("%s", err_msg(&r->e));
}

static void rig_start(struct rig *r, uint64_t bytes, unsigned threads, bool populate)
{
	r->g = (struct guest){.bytes = ALIGN_UP(bytes, page_bytes),
			      .page_bytes = page_bytes,
			      .lock = !getenv("COLOD_TEST_UNLOCKED"),
			      .populate = populate};
	guest_start(&r->g);
	assert_int_equal(bitmap_init(&r->written, r->g.bytes / PAGE_BYTES), 0);
	r->copy = calloc(1, r->g.bytes);
	assert_non_null(r->copy);
	/* Under memory pressure guest RAM is to suffer, if anything. */
	mlock(r->copy, r->g.bytes);
	rig_open(r, threads);
	rig_arm(r);
}

static int rig_end(void **state)
{
	(void)state;
	tracker_close(rig.t);
	if (rig.g.pid || rig.g.seen)
		guest_end(&rig.g);
	bitmap_destroy(&rig.written);
	free(rig.copy);
	rig = (struct rig){};
	return 0;
}

static void rig_collect(struct rig *r, bool stopped)
{
	bitmap_zero(&r->written);
	if (tracker_collect(r->t, stopped, &r->written, &r->e))
		fail_msg("%s", err_msg(&r->e));
}

static void rig_copy(struct rig *r)
{
	for (uint64_t p = bitmap_next(&r->written, 0); p < r->written.nbits;
	     p = bitmap_next(&r->written, p + 1))
		memcpy(r->copy + p * PAGE_BYTES, r->g.seen + p * PAGE_BYTES, PAGE_BYTES);
}

static void assert_copy_is_identical(struct rig *r, unsigned epoch)
{
	if (!memcmp(r->copy, r->g.seen, r->g.bytes))
		return;
	for (uint64_t p = 0; p < r->written.nbits; p++)
		if (memcmp(r->copy + p * PAGE_BYTES, r->g.seen + p * PAGE_BYTES, PAGE_BYTES))
			fail_msg("epoch %u: page %llu was written and not reported", epoch,
				 (unsigned long long)p);
}

/*
 * Exactly the host pages that hold these @count pages, @stride apart, are in the bitmap. A page
 * that compaction moves may lose its write protection and then counts as written, which costs a
 * copy and no more: seen on 6.12 and 6.18. Where COLOD_TEST_COMPACTION says that it runs, more
 * pages may be reported.
 */
static void assert_reported(struct rig *r, uint64_t page, uint64_t count, uint64_t stride)
{
	struct bitmap want;

	assert_int_equal(bitmap_init(&want, r->written.nbits), 0);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t p = page + i * stride;

		bitmap_set_range(&want, p - p % npages_host, npages_host);
	}
	for (uint64_t p = 0; p < want.nbits; p++) {
		if (bitmap_test(&want, p) && !bitmap_test(&r->written, p))
			fail_msg("page %llu is missing", (unsigned long long)p);
		if (!bitmap_test(&want, p) && bitmap_test(&r->written, p) &&
		    !getenv("COLOD_TEST_COMPACTION"))
			fail_msg("page %llu is reported without a write", (unsigned long long)p);
	}
	bitmap_destroy(&want);
}

static unsigned epochs(unsigned usual)
{
	const char *s = getenv("COLOD_TEST_EPOCHS");

	return s ? (unsigned)atoi(s) : usual;
}

/* What a checkpointer does: rounds while the guest runs, the rest while it stands still. */
static void checkpoint_epochs(struct rig *r, unsigned n)
{
	uint64_t stopped_pages = 0;

	memcpy(r->copy, r->g.seen, r->g.bytes);
	for (unsigned epoch = 0; epoch < n; epoch++) {
		for (unsigned round = 0; round < epoch % 3; round++) {
			guest_wait_writes(&r->g, 50);
			rig_collect(r, false);
			rig_copy(r);
		}
		guest_wait_writes(&r->g, 100);
		guest_freeze(&r->g);
		rig_collect(r, true);
		rig_copy(r);
		stopped_pages += bitmap_count(&r->written);
		assert_copy_is_identical(r, epoch);
		guest_thaw(&r->g);
	}
	assert_true(stopped_pages > n);
}

static void writes_of_running_threads_are_never_lost(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB + 5 * PAGE_BYTES, 1, true);
	guest_do(&rig.g, GUEST_RUN, 0, 3, 0);
	checkpoint_epochs(&rig, epochs(60));
}

static void writes_are_never_lost_with_several_scan_threads(void **state)
{
	(void)state;
	rig_start(&rig, 100 * MIB + 3 * PAGE_BYTES, 3, true);
	guest_do(&rig.g, GUEST_RUN, 0, 3, 0);
	checkpoint_epochs(&rig, epochs(30));
}

static void writes_by_the_kernel_are_never_lost(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	guest_do(&rig.g, GUEST_RUN_KERNEL, 0, 3, 0);
	checkpoint_epochs(&rig, epochs(60));
}

static void writes_to_pages_never_touched_before_are_never_lost(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, false);
	guest_do(&rig.g, GUEST_RUN_KERNEL, 0, 3, 0);
	checkpoint_epochs(&rig, epochs(60));
}

static void exactly_the_written_pages_are_reported(void **state)
{
	static const enum guest_op ops[] = {GUEST_WRITE, GUEST_READ_INTO, GUEST_VM_WRITEV};

	(void)state;
	rig_start(&rig, 24 * MIB + 7 * PAGE_BYTES, 1, true);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		guest_do(&rig.g, ops[i], 0, 1, 1);
		rig_collect(&rig, true);
		assert_reported(&rig, 0, 1, 1);
		guest_do(&rig.g, ops[i], rig.written.nbits - 70, 70, 1);
		rig_collect(&rig, true);
		assert_reported(&rig, rig.written.nbits - 70, 70, 1);
		guest_do(&rig.g, ops[i], 3, 5, 1000);
		rig_collect(&rig, true);
		assert_reported(&rig, 3, 5, 1000);
	}
}

static void a_write_by_another_process_through_the_guests_mapping_is_reported(void **state)
{
	uint64_t page = 1234;
	struct iovec src = {&page, sizeof(page)}, dst;

	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	dst = (struct iovec){(void *)(uintptr_t)(rig.g.va + page * PAGE_BYTES), sizeof(page)};
	assert_int_equal(process_vm_writev(rig.g.pid, &src, 1, &dst, 1, 0), sizeof(page));
	rig_collect(&rig, true);
	assert_reported(&rig, page, 1, 1);
}

static void more_runs_than_fit_one_call_are_all_reported(void **state)
{
	(void)state;
	rig_start(&rig, 48 * MIB, 1, true);
	guest_do(&rig.g, GUEST_WRITE, 1, 6143, 2);
	rig_collect(&rig, true);
	assert_reported(&rig, 1, 6143, 2);
	rig_collect(&rig, true);
	assert_reported(&rig, 0, 0, 1);
}

static void nothing_written_is_nothing_reported(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 2, true);
	for (int i = 0; i < 5; i++) {
		rig_collect(&rig, i & 1);
		assert_reported(&rig, 0, 0, 1);
	}
}

static void a_page_written_again_is_reported_again(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	for (int i = 0; i < 20; i++) {
		guest_do(&rig.g, GUEST_WRITE, 77, 1, 1);
		guest_do(&rig.g, GUEST_WRITE, 77, 1, 1);
		rig_collect(&rig, true);
		assert_reported(&rig, 77, 1, 1);
	}
	rig_collect(&rig, true);
	assert_reported(&rig, 0, 0, 1);
}

static void a_cumulative_tracker_repeats_itself_until_the_guest_is_stopped(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	guest_do(&rig.g, GUEST_WRITE, 77, 1, 1);
	rig_collect(&rig, false);
	assert_reported(&rig, 77, 1, 1);
	rig_collect(&rig, false);
	assert_reported(&rig, 77, tracker_is_cumulative(rig.t), 1);
	rig_collect(&rig, true);
	assert_reported(&rig, 77, tracker_is_cumulative(rig.t), 1);
	rig_collect(&rig, true);
	assert_reported(&rig, 0, 0, 1);
}

static void bits_already_set_stay_set(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	bitmap_set(&rig.written, 9);
	assert_int_equal(tracker_collect(rig.t, true, &rig.written, &rig.e), 0);
	assert_int_equal(bitmap_count(&rig.written), 1);
	assert_true(bitmap_test(&rig.written, 9));
}

static void arming_forgets_what_was_written(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	guest_do(&rig.g, GUEST_WRITE, 0, 3000, 1);
	rig_arm(&rig);
	rig_collect(&rig, true);
	assert_reported(&rig, 0, 0, 1);
}

/* Why vhost-user backends and virtiofsd cannot be protected. */
static void a_write_through_another_mapping_is_not_seen(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	rig.g.seen[50 * PAGE_BYTES] = 1;
	/* A hugetlbfs file has no write(2). */
	if (page_bytes == PAGE_BYTES)
		assert_int_equal(pwrite(rig.g.memfd, "x", 1, 60 * PAGE_BYTES), 1);
	rig_collect(&rig, true);
	assert_reported(&rig, 0, 0, 1);
}

static void writes_after_a_fork_of_the_guest_are_reported(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	guest_do(&rig.g, GUEST_WRITE, 10, 4, 1);
	guest_do(&rig.g, GUEST_FORK, 0, 0, 0);
	guest_do(&rig.g, GUEST_WRITE, 12, 4, 1);
	rig_collect(&rig, true);
	assert_reported(&rig, 10, 6, 1);
}

/* The balloon punches holes. What was there is gone, so nobody needs it; what comes next counts. */
static void a_write_after_a_discard_is_reported(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	guest_do(&rig.g, GUEST_WRITE, 0, 4096, 1);
	rig_collect(&rig, true);
	assert_int_equal(fallocate(rig.g.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(4 * MIB), (off_t)(8 * MIB)),
			 0);
	rig_collect(&rig, true);
	guest_do(&rig.g, GUEST_WRITE, 1100, 3, 1);
	rig_collect(&rig, true);
	for (uint64_t p = 1100; p < 1103; p++)
		assert_true(bitmap_test(&rig.written, p));
}

/* Dropping the mapping of shared pages drops their marks and keeps their content: what was written
 * before may be lost, so QEMU must not do it. What is written afterwards is not. */
static void a_write_after_a_dropped_mapping_is_reported(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	guest_do(&rig.g, GUEST_WRITE, 512, 512, 1);
	assert_int_equal(guest_do(&rig.g, GUEST_MADVISE, 512, 512, 1), 0);
	guest_do(&rig.g, GUEST_WRITE, 600, 3, 1);
	rig_collect(&rig, true);
	for (uint64_t p = 600; p < 603; p++)
		assert_true(bitmap_test(&rig.written, p));
}

static void a_tracker_can_be_opened_again_after_its_close(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 2, true);
	for (int i = 0; i < 5; i++) {
		guest_do(&rig.g, GUEST_WRITE, 5, 1, 1);
		rig_collect(&rig, true);
		assert_reported(&rig, 5, 1, 1);
		tracker_close(rig.t);
		rig.t = NULL;
		guest_do(&rig.g, GUEST_WRITE, 6, 1, 1);
		rig_open(&rig, 2);
		rig_arm(&rig);
	}
}

static void a_guest_that_has_ended_is_an_error_and_marks_every_page(void **state)
{
	(void)state;
	rig_start(&rig, 24 * MIB, 2, true);
	guest_kill(&rig.g);
	assert_int_equal(tracker_collect(rig.t, false, &rig.written, &rig.e), -ESRCH);
	assert_non_null(strstr(err_msg(&rig.e), "has ended"));
	assert_int_equal(bitmap_count(&rig.written), rig.written.nbits);
	assert_int_equal(tracker_arm(rig.t, NULL), -ESRCH);
}

static void open_target(struct tracker_target *target, int want, const char *text)
{
	struct tracker *t = NULL;
	struct err e = {};

	assert_int_equal(tracker_open(&t, kind, target, &e), want);
	assert_null(t);
	if (!strstr(err_msg(&e), text))
		fail_msg("\"%s\" does not say \"%s\"", err_msg(&e), text);
	assert_int_equal(tracker_open(&t, kind, target, NULL), want);
}

static void a_target_that_cannot_be_tracked_is_refused(void **state)
{
	struct tracker_target good, bad;

	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	good = (struct tracker_target){.pid = rig.g.pid,
				       .uffd = rig.g.uffd,
				       .va = rig.g.va,
				       .bytes = rig.g.bytes,
				       .host_page_bytes = page_bytes};
	bad = good;
	bad.host_page_bytes = 8192;
	open_target(&bad, -EINVAL, "8192");
	bad = good;
	bad.va++;
	open_target(&bad, -EINVAL, "whole pages");
	bad = good;
	bad.bytes = 0;
	open_target(&bad, -EINVAL, "whole pages");
	bad = good;
	bad.pid = 0x7ffffff;
	open_target(&bad, -ESRCH, "has ended");
	bad = good;
	bad.uffd = -1;
	if (kind == TRACK_PAGEMAP_SCAN)
		open_target(&bad, -EINVAL, "userfaultfd");
}

/* Seen on Linux 6.1: khugepaged collapses locked shared memory, and all its soft-dirty bits are
 * gone. */
static void soft_dirty_refuses_ram_that_khugepaged_may_collapse(void **state)
{
	struct tracker_target target;

	(void)state;
	rig.g = (struct guest){.bytes = 24 * MIB, .page_bytes = PAGE_BYTES};
	guest_start(&rig.g);
	target = (struct tracker_target){.pid = rig.g.pid,
					 .uffd = -1,
					 .va = rig.g.va,
					 .bytes = rig.g.bytes,
					 .host_page_bytes = PAGE_BYTES};
	open_target(&target, -EPERM, "shmem_enabled");
}

static void a_bitmap_that_is_too_small_is_refused(void **state)
{
	struct bitmap small;

	(void)state;
	rig_start(&rig, 24 * MIB, 1, true);
	assert_int_equal(bitmap_init(&small, 100), 0);
	assert_int_equal(tracker_collect(rig.t, true, &small, &rig.e), -EINVAL);
	assert_int_equal(bitmap_count(&small), 0);
	bitmap_destroy(&small);
}

static void soft_dirty_refuses_huge_pages(void **state)
{
	struct tracker_target target = {.pid = getpid(),
					.uffd = -1,
					.va = 1 << 30,
					.bytes = 4 * MIB,
					.host_page_bytes = 2 * MIB};
	struct tracker *t = NULL;
	enum track_kind chosen;
	struct err e = {};

	(void)state;
	assert_int_equal(tracker_probe(TRACK_SOFT_DIRTY, 2 * MIB, &chosen, &e), -EOPNOTSUPP);
	assert_non_null(strstr(err_msg(&e), "huge pages"));
	assert_int_equal(tracker_open(&t, TRACK_SOFT_DIRTY, &target, &e), -EOPNOTSUPP);
	assert_non_null(strstr(err_msg(&e), "huge pages"));
}

static void a_mechanism_this_kernel_lacks_is_refused_with_the_way_out(void **state)
{
	enum track_kind chosen;
	struct err e = {};

	(void)state;
	if (tracker_probe(TRACK_PAGEMAP_SCAN, PAGE_BYTES, &chosen, &e)) {
		assert_int_equal(kind, TRACK_SOFT_DIRTY);
		assert_non_null(strstr(err_msg(&e), "soft-dirty"));
		assert_non_null(strstr(err_msg(&e), "6.7"));
	}
	if (tracker_probe(TRACK_SOFT_DIRTY, PAGE_BYTES, &chosen, &e)) {
		assert_int_equal(kind, TRACK_PAGEMAP_SCAN);
		assert_non_null(strstr(err_msg(&e), "pagemap-scan"));
	}
}

static int choose_kind(void)
{
	const char *want = getenv("COLOD_TEST_TRACKER");
	const char *name;
	struct err e = {};

	if (getenv("COLOD_TEST_HUGE"))
		page_bytes = 2 * MIB;
	npages_host = page_bytes / PAGE_BYTES;
	if (tracker_probe(TRACK_AUTO, page_bytes, &kind, &e)) {
		fprintf(stderr, "%s\n", err_msg(&e));
		return -1;
	}
	name = kind == TRACK_SOFT_DIRTY ? "soft-dirty" : "pagemap-scan";
	fprintf(stderr, "tracker: %s, %u byte pages\n", name, page_bytes);
	if (want && strcmp(want, name)) {
		fprintf(stderr, "this kernel gives %s, not %s\n", name, want);
		return -1;
	}
	return 0;
}

#define T(fn) cmocka_unit_test_teardown(fn, rig_end)

int main(void)
{
	const struct CMUnitTest collapsing[] = {
		T(soft_dirty_refuses_ram_that_khugepaged_may_collapse),
	};
	const struct CMUnitTest tests[] = {
		T(writes_of_running_threads_are_never_lost),
		T(writes_are_never_lost_with_several_scan_threads),
		T(writes_by_the_kernel_are_never_lost),
		T(writes_to_pages_never_touched_before_are_never_lost),
		T(exactly_the_written_pages_are_reported),
		T(a_write_by_another_process_through_the_guests_mapping_is_reported),
		T(more_runs_than_fit_one_call_are_all_reported),
		T(nothing_written_is_nothing_reported),
		T(a_page_written_again_is_reported_again),
		T(a_cumulative_tracker_repeats_itself_until_the_guest_is_stopped),
		T(bits_already_set_stay_set),
		T(arming_forgets_what_was_written),
		T(a_write_through_another_mapping_is_not_seen),
		T(writes_after_a_fork_of_the_guest_are_reported),
		T(a_write_after_a_discard_is_reported),
		T(a_write_after_a_dropped_mapping_is_reported),
		T(a_tracker_can_be_opened_again_after_its_close),
		T(a_guest_that_has_ended_is_an_error_and_marks_every_page),
		T(a_target_that_cannot_be_tracked_is_refused),
		T(a_bitmap_that_is_too_small_is_refused),
		cmocka_unit_test(soft_dirty_refuses_huge_pages),
		cmocka_unit_test(a_mechanism_this_kernel_lacks_is_refused_with_the_way_out),
	};

	/* As colod does for itself and for QEMU. */
	if (choose_kind() || prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		return 1;
	if (getenv("COLOD_TEST_THP") && kind == TRACK_SOFT_DIRTY)
		return cmocka_run_group_tests(collapsing, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
