// SPDX-License-Identifier: GPL-2.0-or-later
/* An epoch through the journal: whoever dies wherever, the disks are the old ones or the new ones, byte for byte, and the new
 * ones exactly if the record was whole. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "colod/disk/journal-file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

static void setup_disks(void)
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

static int setup(void **state)
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

static int teardown(void **state)
{
	(void)state;
	unlink(m.path);
	for (int i = 0; i < NDISKS; i++)
		close(m.disks[i].fd);
	extent_store_destroy(&m.store);
	return 0;
}

static void put(uint32_t disk, enum extent_kind kind, uint64_t offset, uint64_t len)
{
	uint8_t data[BYTES];

	rng_fill(&m.rng, data, len);
	assert_int_equal(extents_put(&m.maps[disk], kind, offset, len, data), 0);
	if (kind == EXTENT_DATA)
		memcpy(m.new[disk] + offset, data, len);
	else
		memset(m.new[disk] + offset, 0, len);
}

static void put_small_epoch(void)
{
	put(0, EXTENT_DATA, 100, 50);
	put(0, EXTENT_DATA, 8192, 4096);
	put(0, EXTENT_TRIM, 16384, 8192);
	put(0, EXTENT_DATA, BYTES - 1, 1);
	put(2, EXTENT_ZERO, 1000, 10000);
	put(2, EXTENT_DATA, 40000, 3);
}

static void put_random_epoch(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t len = 1 + rng_below(&m.rng, i % 50 ? 30 : 20000);

		put((uint32_t)rng_below(&m.rng, NDISKS),
		    (enum extent_kind)(rng_below(&m.rng, 6) % 4 % 3),
		    rng_below(&m.rng, BYTES - len + 1), len);
	}
}

static void forget_epoch(void)
{
	for (int i = 0; i < NDISKS; i++)
		extents_clear(&m.maps[i]);
}

static bool disks_are(uint8_t (*want)[BYTES])
{
	static uint8_t got[BYTES];

	for (int i = 0; i < NDISKS; i++)
		if (pread(m.disks[i].fd, got, BYTES, 0) != BYTES || memcmp(got, want[i], BYTES) ||
		    lseek(m.disks[i].fd, 0, SEEK_END) != BYTES)
			return false;
	return true;
}

static void set_disks(uint8_t (*to)[BYTES])
{
	for (int i = 0; i < NDISKS; i++)
		assert_int_equal(pwrite(m.disks[i].fd, to[i], BYTES, 0), BYTES);
}

static void open_journal(struct journal_file *j, enum journal_sync sync)
{
	struct err e = {};

	assert_ok(journal_open(j, m.path, sync, m.disks, NDISKS, &e), &e);
}

/* As at a start: what was found, and where the disks stand. */
static enum journal_outcome recover(uint64_t *epoch)
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

static void run_epoch(struct journal_file *j, uint64_t epoch)
{
	struct err e = {};

	assert_ok(journal_write(j, SESSION, epoch, m.maps, &e), &e);
	assert_ok(journal_apply(j, m.maps, &e), &e);
}

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

/* Epoch 7 is done, its record is longer than the next; it has made m.old. */
static void run_epoch_7(struct journal_file *j)
{
	put_random_epoch(300);
	run_epoch(j, 7);
	forget_epoch();
	memcpy(m.old, m.new, sizeof(m.old));
}

/* A journal with epoch 8, which makes m.new of m.old, as it is before it is applied. */
static void make_journal(void)
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
#define journal_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		journal_test(epochs_one_after_the_other_reach_the_disks),
		journal_test(an_epoch_that_writes_nothing_costs_next_to_nothing),
		journal_test(a_whole_record_is_applied_at_the_start_once),
		journal_test(a_journal_that_is_cut_anywhere_leaves_the_old_disks),
		journal_test(a_record_with_any_byte_changed_leaves_the_old_disks),
		journal_test(who_dies_at_any_step_leaves_one_epoch_or_the_other),
		journal_test(who_dies_while_recovering_recovers_again),
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
