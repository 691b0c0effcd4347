// SPDX-License-Identifier: GPL-2.0-or-later
/* The epoch log: what arrives of an epoch makes the peer's disks what the primary's were at the cut, whatever is lost,
 * aborted or written meanwhile, and within the memory that was given. */
#include "tests/unit/unit.h"

#include "colod/disk/epochlog.h"

#define NDISKS 3
#define BYTES  (64 * 1024)

static struct {
	struct epochlog log;
	struct rng rng;
	/* The primary's disks: now, and when the closing epoch was cut. The peer's: committed, and with what came. */
	uint8_t now[NDISKS][BYTES], cut[NDISKS][BYTES], peer[NDISKS][BYTES], came[NDISKS][BYTES];
	uint64_t epoch, arrived; /* that travels; frames of it that arrived */
	bool closing;
	uint8_t data[DISK_WIRE_DATA_MAX];
	struct disk_frame frame;
} m;

static void begin(uint64_t bytes, uint32_t extents)
{
	struct epochlog_limits limits = {bytes, extents, 75};
	struct err e = {};

	memset(&m, 0, sizeof(m));
	m.rng.state = extents;
	m.epoch = 5;
	assert_ok(epochlog_init(&m.log, NDISKS, 5, &limits, &e), &e);
}

static void end(void)
{
	epochlog_clear(&m.log, 99);
	assert_int_equal(m.log.store.records.used, 0);
	assert_int_equal(arena_used(&m.log.store.arena), 0);
	epochlog_destroy(&m.log);
}

static int write_at(uint32_t disk, uint64_t offset, uint64_t len)
{
	uint8_t data[BYTES];
	int r;

	rng_fill(&m.rng, data, len);
	r = epochlog_write(&m.log, disk, offset, len, data);
	if (!r)
		memcpy(m.now[disk] + offset, data, len);
	return r;
}

static int zero_at(uint32_t disk, uint64_t offset, uint64_t len)
{
	int r = epochlog_zero(&m.log, disk, offset, len, rng_below(&m.rng, 2));

	if (!r)
		memset(m.now[disk] + offset, 0, len);
	return r;
}

static int guest_writes(void)
{
	uint32_t disk = (uint32_t)rng_below(&m.rng, NDISKS);
	uint64_t len = 1 + rng_below(&m.rng, rng_below(&m.rng, 2) ? 64 : 5000);
	uint64_t offset = rng_below(&m.rng, BYTES - len + 1);

	return rng_below(&m.rng, 5) ? write_at(disk, offset, len) : zero_at(disk, offset, len);
}

/* False: there was none. @lost: it was sent and does not arrive. */
static bool send_one(bool lost)
{
	const uint8_t *data = m.data;
	uint64_t frames, epoch;

	if (!epochlog_next(&m.log, &m.frame, m.data, ARENA_CHUNK))
		return false;
	epoch = epochlog_sending(&m.log, &frames);
	assert_int_equal(m.frame.epoch, m.epoch);
	assert_int_equal(m.frame.epoch, epoch);
	assert_in_range(m.frame.count, 1, DISK_WIRE_EXTENTS_MAX);
	assert_in_range(m.frame.data_bytes, 0, ARENA_CHUNK);
	if (lost)
		return true;
	assert_int_equal(frames, ++m.arrived);
	for (uint32_t i = 0; i < m.frame.count; i++) {
		const struct disk_extent *x = &m.frame.extents[i];
		uint8_t *to = m.came[m.frame.disk] + x->offset;

		assert_true(x->len && x->offset <= BYTES && x->len <= BYTES - x->offset);
		if (x->kind != EXTENT_DATA) {
			memset(to, 0, x->len);
			continue;
		}
		memcpy(to, data, x->len);
		data += x->len;
	}
	assert_int_equal(data - m.data, m.frame.data_bytes);
	return true;
}

static void send_all(void)
{
	while (send_one(false))
		;
}

static void cut(void)
{
	epochlog_cut(&m.log);
	memcpy(m.cut, m.now, sizeof(m.now));
	m.closing = true;
}

static void commit(void)
{
	send_all();
	assert_memory_equal(m.came, m.cut, sizeof(m.cut));
	epochlog_commit(&m.log);
	memcpy(m.peer, m.came, sizeof(m.came));
	m.closing = false;
	m.epoch++;
	m.arrived = 0;
}

static void abort_epoch(void)
{
	epochlog_abort(&m.log);
	m.closing = false;
}

/* Frames behind those that arrived are lost, or the peer has lost all. */
static void lose_link(void)
{
	for (uint64_t i = rng_below(&m.rng, 4); i; i--)
		send_one(true);
	if (rng_below(&m.rng, 3) == 0) {
		m.arrived = 0;
		memcpy(m.came, m.peer, sizeof(m.came));
	}
	epochlog_resend(&m.log, m.arrived);
}

static void random_step(void)
{
	switch (rng_below(&m.rng, 40)) {
	case 0:
		lose_link();
		break;
	case 1:
		if (m.closing)
			abort_epoch();
		break;
	case 2:
	case 3:
		if (m.closing)
			commit();
		else
			cut();
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		send_one(false);
		break;
	default:
		/* A full log: the epoch must end. */
		if (guest_writes() == 0)
			break;
		if (!m.closing)
			cut();
		commit();
	}
}

static void check_figures(void)
{
	struct epochlog_report r;
	uint64_t held = 0, unsent = 0, extents = 0;

	epochlog_report(&m.log, &r);
	for (int g = 0; g < 2; g++)
		for (int i = 0; i < NDISKS; i++)
			for (struct extent *x = extents_at(&m.log.gen[g][i], 0); x;
			     x = extents_next(x)) {
				extents++;
				held += x->kind == EXTENT_DATA ? x->len : 0;
				unsent += x->kind == EXTENT_DATA && !x->sent ? x->len : 0;
			}
	assert_int_equal(r.held_bytes, held);
	assert_int_equal(r.unsent_bytes, unsent);
	assert_int_equal(r.extents, extents);
	assert_true(r.used_bytes >= held);
}

static void committed_disks_are_those_of_the_cut(uint64_t bytes, uint32_t extents)
{
	begin(bytes, extents);
	for (int i = 0; i < 20000; i++) {
		random_step();
		if (i % 100 == 0)
			check_figures();
	}
	if (!m.closing)
		cut();
	commit();
	cut();
	commit();
	assert_memory_equal(m.peer, m.now, sizeof(m.now));
	end();
}

static void each_commit_brings_the_disks_as_they_were_at_its_cut(void **state)
{
	(void)state;
	committed_disks_are_those_of_the_cut(64 * MIB, 10000);
}

static void a_log_that_is_full_all_the_time_loses_nothing(void **state)
{
	(void)state;
	committed_disks_are_those_of_the_cut(NDISKS * EPOCHLOG_MIN_BYTES, 50);
	committed_disks_are_those_of_the_cut(NDISKS * EPOCHLOG_MIN_BYTES, 500);
}

/* The open epoch is written in ever smaller pieces between what the closing one holds. */
static void an_abort_has_room_however_full_the_log_is(void **state)
{
	int r = 0;

	(void)state;
	begin(64 * MIB, 300);
	for (uint64_t at = 0; at + 64 <= 140 * 64; at += 64)
		assert_int_equal(write_at(0, at, 60), 0);
	cut();
	for (uint64_t at = 20; !r; at += 64)
		r = write_at(0, at % BYTES, 3);
	assert_int_equal(r, -ENOSPC);
	/* Writes over many gaps make many extents at once. */
	r = write_at(0, 0, 140 * 64);
	assert_true(!r || r == -ENOSPC);
	abort_epoch();
	check_figures();
	cut();
	commit();
	assert_memory_equal(m.peer, m.now, sizeof(m.now));
	end();
}

static void writes_travel_before_the_cut_and_only_once(void **state)
{
	struct epochlog_report r;

	(void)state;
	begin(64 * MIB, 1000);
	for (uint64_t at = 0; at < 32768; at += 4096)
		assert_int_equal(write_at(1, at, 4096), 0);
	send_all();
	assert_int_equal(write_at(1, 8192, 512), 0);
	cut();
	epochlog_report(&m.log, &r);
	assert_int_equal(r.unsent_bytes, 512);
	send_all();
	epochlog_report(&m.log, &r);
	assert_int_equal(r.sent_bytes, 32768 + 512);
	assert_int_equal(r.saved_bytes, 0);
	commit();
	/* What is written over before it was sent is not sent. */
	assert_int_equal(write_at(1, 0, 4096), 0);
	assert_int_equal(write_at(1, 1024, 1024), 0);
	assert_int_equal(zero_at(1, 2048, 2048), 0);
	cut();
	commit();
	epochlog_report(&m.log, &r);
	assert_int_equal(r.sent_bytes, 32768 + 512 + 2048);
	assert_int_equal(r.saved_bytes, 1024 + 2048);
	end();
}

static void no_frame_brings_more_than_was_asked_for(void **state)
{
	unsigned n = 0, extents = 0;

	(void)state;
	begin(64 * MIB, 1000);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(epochlog_write(&m.log, 1, i * 100000, 50000, m.data), 0);
	for (; epochlog_next(&m.log, &m.frame, m.data, ARENA_CHUNK); n++)
		assert_in_range(m.frame.data_bytes, 1, ARENA_CHUNK);
	assert_in_range(n, 3, 4);
	for (uint64_t i = 0; i < DISK_WIRE_EXTENTS_MAX + 10; i++)
		assert_int_equal(epochlog_zero(&m.log, 1, i * 10, 5, true), 0);
	for (n = 0; epochlog_next(&m.log, &m.frame, m.data, ARENA_CHUNK); n++)
		extents += m.frame.count;
	assert_int_equal(n, 2);
	assert_int_equal(extents, DISK_WIRE_EXTENTS_MAX + 10);
	end();
}

static void a_first_copy_may_be_larger_than_the_log(void **state)
{
	struct epochlog_report r;
	int full = 0;

	(void)state;
	begin(NDISKS * EPOCHLOG_MIN_BYTES, 200);
	for (int i = 0; i < 3000; i++) {
		if (guest_writes() == 0)
			continue;
		send_one(false);
		lose_link();
		send_all();
		epochlog_forget(&m.log, m.arrived);
		memcpy(m.peer, m.came, sizeof(m.came));
		epochlog_report(&m.log, &r);
		assert_int_equal(r.extents, 0);
		full++;
	}
	assert_true(full > 10);
	send_all();
	assert_memory_equal(m.came, m.now, sizeof(m.now));
	end();
}

static void nothing_of_the_next_epoch_travels_before_the_commit(void **state)
{
	(void)state;
	begin(64 * MIB, 1000);
	assert_int_equal(write_at(0, 0, 100), 0);
	cut();
	assert_int_equal(write_at(0, 50, 100), 0);
	send_all();
	assert_false(epochlog_next(&m.log, &m.frame, m.data, ARENA_CHUNK));
	commit();
	assert_true(send_one(false));
	end();
}

static void the_high_water_mark_is_told_by_bytes_and_by_extents(void **state)
{
	struct epochlog_report r;
	uint64_t at;

	(void)state;
	begin(NDISKS * EPOCHLOG_MIN_BYTES, 1000);
	assert_false(epochlog_is_high(&m.log));
	for (at = 0; !epochlog_is_high(&m.log); at += 3) {
		assert_true(m.log.store.records.used <= 750);
		assert_int_equal(write_at(2, at, 1), 0);
		assert_true(at < BYTES - 10);
	}
	assert_int_equal(m.log.store.records.used, 751);
	epochlog_clear(&m.log, 9);
	assert_false(epochlog_is_high(&m.log));
	for (at = 0; !epochlog_is_high(&m.log); at += ARENA_CHUNK)
		assert_int_equal(epochlog_write(&m.log, 2, at, 100000, m.data), 0);
	epochlog_report(&m.log, &r);
	assert_true(r.high);
	assert_in_range(r.used_bytes, NDISKS * EPOCHLOG_MIN_BYTES * 3 / 4,
			NDISKS * EPOCHLOG_MIN_BYTES * 3 / 4 + ARENA_CHUNK);
	end();
}

static void wrong_calls_are_refused(void **state)
{
	struct epochlog_limits small = {NDISKS * EPOCHLOG_MIN_BYTES - 1, 100, 50};
	struct epochlog l;
	struct err e = {};

	(void)state;
	begin(64 * MIB, 100);
	assert_int_equal(epochlog_write(&m.log, NDISKS, 0, 1, m.data), -EINVAL);
	assert_int_equal(epochlog_write(&m.log, 0, 0, 0, m.data), -EINVAL);
	assert_int_equal(epochlog_zero(&m.log, 0, 2, UINT64_MAX - 1, true), -EINVAL);
	assert_int_equal(epochlog_write(&m.log, 0, UINT64_MAX, 1, m.data), -EINVAL);
	assert_false(send_one(false));
	end();
	assert_int_equal(epochlog_init(&l, NDISKS, 1, &small, &e), -EINVAL);
	assert_true(e.msg[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_commit_brings_the_disks_as_they_were_at_its_cut),
		cmocka_unit_test(a_log_that_is_full_all_the_time_loses_nothing),
		cmocka_unit_test(an_abort_has_room_however_full_the_log_is),
		cmocka_unit_test(writes_travel_before_the_cut_and_only_once),
		cmocka_unit_test(no_frame_brings_more_than_was_asked_for),
		cmocka_unit_test(a_first_copy_may_be_larger_than_the_log),
		cmocka_unit_test(nothing_of_the_next_epoch_travels_before_the_commit),
		cmocka_unit_test(the_high_water_mark_is_told_by_bytes_and_by_extents),
		cmocka_unit_test(wrong_calls_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
