// SPDX-License-Identifier: GPL-2.0-or-later
/* Epochs through the journal onto the disks, what is found at the next start, and what is refused. */
#include "tests/unit/journal-rig.h"

#include <signal.h>
#include <sys/resource.h>

static void epochs_one_after_the_other_reach_the_disks(void **state)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};
	uint64_t epoch;

	(void)state;
	open_journal(&j, JOURNAL_SYNC_ALWAYS);
	assert_ok(journal_recover(&j, &found, &e), &e);
	assert_int_equal(found.outcome, JOURNAL_NOTHING);
	/* Long records and short ones, more entries than a buffer holds, an empty one. */
	for (uint64_t i = 1; i <= 12; i++) {
		put_random_epoch(i % 4 == 3 ? 3000 : (unsigned)i % 4 * 20);
		run_epoch(&j, i);
		assert_true(disks_are(m.new));
		forget_epoch();
	}
	journal_close(&j);
	assert_int_equal(recover(&epoch), JOURNAL_DONE);
	assert_int_equal(epoch, 12);
	assert_true(disks_are(m.new));
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void an_epoch_that_writes_nothing_costs_next_to_nothing(void **state)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};
	uint64_t epoch;
	int calls = 0;

	(void)state;
	for (int records = 0; records < 2; records++) {
		open_journal(&j, JOURNAL_SYNC_ALWAYS);
		assert_ok(journal_recover(&j, &found, &e), &e);
		if (records)
			put_small_epoch();
		run_epoch(&j, 4);
		forget_epoch();
		calls = 0;
		j.hook = (struct write_hook){count, &calls};
		run_epoch(&j, 5);
		assert_int_equal(calls, 1);
		journal_close(&j);
		assert_int_equal(recover(&epoch), JOURNAL_DONE);
		assert_int_equal(epoch, 5);
		assert_true(disks_are(m.new));
	}
}

static void a_whole_record_is_applied_at_the_start_once(void **state)
{
	uint64_t epoch;

	(void)state;
	make_journal();
	assert_int_equal(recover(&epoch), JOURNAL_REAPPLIED);
	assert_int_equal(epoch, 8);
	assert_true(disks_are(m.new));
	/* The guest may have written since. */
	set_disks(m.old);
	assert_int_equal(recover(&epoch), JOURNAL_DONE);
	assert_int_equal(epoch, 8);
	assert_true(disks_are(m.old));
}

static void a_record_of_other_disks_is_refused_and_kept(void **state)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};
	uint64_t epoch;

	(void)state;
	make_journal();
	strcpy(m.disks[1].id.identity, "disk z");
	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_int_equal(journal_recover(&j, &found, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "disk z"));
	assert_non_null(strstr(e.msg, "epoch 8"));
	journal_close(&j);
	assert_true(disks_are(m.old));
	strcpy(m.disks[1].id.identity, "disk b");
	assert_int_equal(recover(&epoch), JOURNAL_REAPPLIED);
	assert_true(disks_are(m.new));
	/* Done, it is nobody's business any more. */
	strcpy(m.disks[1].id.identity, "disk z");
	assert_int_equal(recover(&epoch), JOURNAL_DONE);
}

static void a_disk_of_another_size_is_refused(void **state)
{
	struct journal_file j;
	struct err e = {};

	(void)state;
	assert_int_equal(ftruncate(m.disks[1].fd, BYTES - 1), 0);
	assert_int_equal(journal_open(&j, m.path, JOURNAL_SYNC_NEVER, m.disks, NDISKS, &e),
			 -EINVAL);
	assert_non_null(strstr(e.msg, "disk b"));
}

static void a_journal_has_one_user(void **state)
{
	struct journal_file j, second;
	struct err e = {};

	(void)state;
	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_int_equal(journal_open(&second, m.path, JOURNAL_SYNC_NEVER, m.disks, NDISKS, &e),
			 -EBUSY);
	journal_close(&j);
	open_journal(&second, JOURNAL_SYNC_NEVER);
	journal_close(&second);
}

static void a_cleared_journal_changes_nothing_at_the_start(void **state)
{
	struct journal_file j;
	struct err e = {};
	uint64_t epoch;

	(void)state;
	make_journal();
	open_journal(&j, JOURNAL_SYNC_ALWAYS);
	assert_ok(journal_clear(&j, &e), &e);
	journal_close(&j);
	assert_int_equal(recover(&epoch), JOURNAL_NOTHING);
	assert_true(disks_are(m.old));
}

static void an_epoch_beyond_a_disk_is_refused(void **state)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};

	(void)state;
	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_ok(journal_recover(&j, &found, &e), &e);
	assert_int_equal(extents_put(&m.maps[2], EXTENT_ZERO, BYTES - 1, 2, NULL), 0);
	assert_int_equal(journal_write(&j, SESSION, 1, m.maps, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "disk c"));
	journal_close(&j);
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = MIN(bytes, l.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_full_journal_leaves_the_old_disks_and_can_be_tried_again(void **state)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};
	uint64_t epoch;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_ok(journal_recover(&j, &found, &e), &e);
	run_epoch_7(&j);
	put_small_epoch();
	limit_file_size(10000);
	assert_int_equal(journal_write(&j, SESSION, 8, m.maps, &e), -EFBIG);
	limit_file_size(RLIM_INFINITY);
	assert_true(disks_are(m.old));
	run_epoch(&j, 8);
	assert_true(disks_are(m.new));
	journal_close(&j);
	assert_int_equal(recover(&epoch), JOURNAL_DONE);
	assert_int_equal(epoch, 8);
}

static void a_disk_that_failed_is_written_again_from_the_journal(void **state)
{
	struct journal_found found;
	struct journal_file j;
	struct err e = {};
	uint64_t epoch;

	(void)state;
	open_journal(&j, JOURNAL_SYNC_NEVER);
	assert_ok(journal_recover(&j, &found, &e), &e);
	put_small_epoch();
	assert_ok(journal_write(&j, SESSION, 8, m.maps, &e), &e);
	j.disks[2].fd = -1;
	assert_int_equal(journal_apply(&j, m.maps, &e), -EBADF);
	assert_non_null(strstr(e.msg, "disk c"));
	assert_false(disks_are(m.old));
	journal_close(&j);
	assert_int_equal(recover(&epoch), JOURNAL_REAPPLIED);
	assert_true(disks_are(m.new));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		journal_test(epochs_one_after_the_other_reach_the_disks),
		journal_test(an_epoch_that_writes_nothing_costs_next_to_nothing),
		journal_test(a_whole_record_is_applied_at_the_start_once),
		journal_test(a_record_of_other_disks_is_refused_and_kept),
		journal_test(a_disk_of_another_size_is_refused),
		journal_test(a_journal_has_one_user),
		journal_test(a_cleared_journal_changes_nothing_at_the_start),
		journal_test(an_epoch_beyond_a_disk_is_refused),
		journal_test(a_full_journal_leaves_the_old_disks_and_can_be_tried_again),
		journal_test(a_disk_that_failed_is_written_again_from_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
