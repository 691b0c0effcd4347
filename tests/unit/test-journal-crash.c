// SPDX-License-Identifier: GPL-2.0-or-later
/* Whoever dies wherever while an epoch goes through the journal, the disks are the old ones or the new ones, byte for byte, and
 * the new ones exactly if the record was whole. */
#include "tests/unit/journal-rig.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static size_t read_journal(uint8_t **bytes)
{
	autoclose int fd = open(m.path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	*bytes = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, *bytes, (size_t)st.st_size), st.st_size);
	return (size_t)st.st_size;
}

/* Where the record ends that make_journal() leaves. */
static size_t end_of_record(const uint8_t *bytes)
{
	struct journal_head h;

	assert_int_equal(journal_decode_head(&h, bytes + JOURNAL_MARK_BYTES, NULL), 0);
	assert_int_equal(h.epoch, 8);
	return JOURNAL_MARK_BYTES + journal_record_bytes(&h);
}

static void write_journal(const uint8_t *bytes, size_t len)
{
	autoclose int fd = open(m.path, O_WRONLY | O_CLOEXEC);

	/* Cut behind: some filesystems sync a file that was emptied first. */
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
}

static void a_journal_that_is_cut_anywhere_leaves_the_old_disks(void **state)
{
	autofree uint8_t *bytes = NULL;
	size_t len;

	(void)state;
	make_journal();
	read_journal(&bytes);
	len = end_of_record(bytes);
	for (size_t n = 0; n < len; n += n < 4000 ? 97 : 1) {
		enum journal_outcome o;
		uint64_t epoch;

		write_journal(bytes, n);
		o = recover(&epoch);
		assert_int_equal(o, n < JOURNAL_MARK_BYTES   ? JOURNAL_NOTHING
				    : n > JOURNAL_MARK_BYTES ? JOURNAL_TORN
							     : JOURNAL_DONE);
		assert_int_equal(epoch, n < JOURNAL_MARK_BYTES ? 0 : 7);
		assert_true(disks_are(m.old));
	}
}

static void a_record_with_any_byte_changed_leaves_the_old_disks(void **state)
{
	autofree uint8_t *bytes = NULL;
	size_t len;

	(void)state;
	make_journal();
	read_journal(&bytes);
	len = end_of_record(bytes);
	for (size_t at = JOURNAL_MARK_BYTES; at < len; at++) {
		uint8_t flip = (uint8_t)(1 + rng_below(&m.rng, 255));
		uint64_t epoch;

		bytes[at] ^= flip;
		write_journal(bytes, len);
		assert_int_equal(recover(&epoch), JOURNAL_TORN);
		assert_int_equal(epoch, 7);
		bytes[at] ^= flip;
	}
	assert_true(disks_are(m.old));
	/* A mark that is lost says of no record that it is done. */
	for (size_t at = 0; at < 64; at++) {
		uint64_t epoch;

		bytes[at] ^= 0xff;
		write_journal(bytes, len);
		assert_int_equal(recover(&epoch), JOURNAL_REAPPLIED);
		assert_true(disks_are(m.new));
		bytes[at] ^= 0xff;
		set_disks(m.old);
	}
}

/* Whoever calls it the @calls-th time, dies. */
static void die_in_time(void *arg)
{
	int *calls = arg;

	if (!(*calls)--)
		raise(SIGKILL);
}

/* In a child: an epoch, or the start after it. True: it was done before the @calls-th step. */
static bool survives(int calls, enum journal_sync sync, bool epoch)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct journal_found found;
		struct journal_file j;
		int r = journal_open(&j, m.path, sync, m.disks, NDISKS, NULL);

		if (!epoch)
			j.hook = (struct write_hook){die_in_time, &calls};
		r = r ?: journal_recover(&j, &found, NULL);
		j.hook = (struct write_hook){die_in_time, &calls};
		if (epoch)
			r = r ?: journal_write(&j, SESSION, 8, m.maps, NULL);
		if (epoch)
			r = r ?: journal_apply(&j, m.maps, NULL);
		_exit(r ? 1 : 0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	else
		assert_int_equal(WTERMSIG(status), SIGKILL);
	return WIFEXITED(status);
}

static bool record_is_whole(void)
{
	autofree uint8_t *bytes = NULL;
	size_t len = read_journal(&bytes);
	struct journal_record r;

	return len > JOURNAL_MARK_BYTES &&
	       !journal_decode(&r, bytes + JOURNAL_MARK_BYTES, len - JOURNAL_MARK_BYTES, NULL) &&
	       r.head.epoch == 8;
}

static void back_to_epoch_7(const uint8_t *journal, size_t len)
{
	set_disks(m.old);
	write_journal(journal, len);
}

/* Epoch 7 is done, and whoever applies epoch 8 dies at each of its steps. */
static unsigned die_at_each_step(enum journal_sync sync)
{
	autofree uint8_t *journal = NULL;
	unsigned whole = 0, torn = 0;
	struct journal_found found;
	struct journal_file j;
	struct err e = {};
	size_t len;
	bool done = false;

	open_journal(&j, sync);
	assert_ok(journal_recover(&j, &found, &e), &e);
	run_epoch_7(&j);
	journal_close(&j);
	len = read_journal(&journal);
	put_small_epoch();
	put_random_epoch(220);
	for (int calls = 0; !done; calls++) {
		bool is_whole;
		uint64_t epoch;

		back_to_epoch_7(journal, len);
		done = survives(calls, sync, true);
		is_whole = record_is_whole();
		whole += is_whole;
		torn += !is_whole;
		recover(&epoch);
		assert_true(disks_are(is_whole ? m.new : m.old));
		if (is_whole)
			assert_int_equal(epoch, 8);
		else
			assert_true(epoch == 7);
		/* And for good. */
		recover(&epoch);
		assert_true(disks_are(is_whole ? m.new : m.old));
	}
	assert_true(torn > 3 && whole > 50);
	return torn + whole;
}

static void who_dies_at_any_step_leaves_one_epoch_or_the_other(void **state)
{
	unsigned without, with;

	(void)state;
	without = die_at_each_step(JOURNAL_SYNC_NEVER);
	teardown(state);
	setup(state);
	with = die_at_each_step(JOURNAL_SYNC_ALWAYS);
	/* The journal, its disks, the mark. */
	assert_int_equal(with, without + 2 + NDISKS);
}

static void who_dies_while_recovering_recovers_again(void **state)
{
	autofree uint8_t *journal = NULL;
	bool done = false;
	int deaths = 0;
	size_t len;

	(void)state;
	make_journal();
	len = read_journal(&journal);
	for (int calls = 0; !done; calls++, deaths += !done) {
		uint64_t epoch;

		back_to_epoch_7(journal, len);
		done = survives(calls, JOURNAL_SYNC_ALWAYS, false);
		recover(&epoch);
		assert_int_equal(epoch, 8);
		assert_true(disks_are(m.new));
	}
	assert_true(deaths > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		journal_test(a_journal_that_is_cut_anywhere_leaves_the_old_disks),
		journal_test(a_record_with_any_byte_changed_leaves_the_old_disks),
		journal_test(who_dies_at_any_step_leaves_one_epoch_or_the_other),
		journal_test(who_dies_while_recovering_recovers_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
