// SPDX-License-Identifier: GPL-2.0-or-later
/* The map of a disk's extents: at any time what a plain array of bytes says, and never more memory than was given. */
#include "tests/unit/unit.h"

#include "base/util.h"
#include "colod/disk/extents.h"

#include <inttypes.h>

#define BIG  (5 * ARENA_CHUNK)
#define NONE EXTENT_KINDS

/* What the map must say of each byte. */
struct cell {
	uint64_t sent;
	uint8_t kind, value; /* NONE: nothing was put there */
};

static struct {
	struct extent_store store;
	struct extents map;
	struct cell cell[BIG];
	uint64_t size;
	uint8_t *data; /* random bytes to write */
	struct rng rng;
} m;

static void begin(uint64_t size, uint64_t max_bytes, uint32_t max_extents)
{
	m.size = size;
	m.rng.state = size;
	assert_int_equal(extent_store_init(&m.store, max_bytes, max_extents), 0);
	extents_init(&m.map, &m.store);
	for (uint64_t i = 0; i < size; i++)
		m.cell[i] = (struct cell){.kind = NONE};
	m.data = malloc(BIG + 256);
	rng_fill(&m.rng, m.data, BIG + 256);
}

static void end(void)
{
	extents_clear(&m.map);
	assert_int_equal(m.store.records.used, 0);
	assert_int_equal(m.store.arena.live, 0);
	assert_int_equal(arena_used(&m.store.arena), 0);
	extent_store_destroy(&m.store);
	free(m.data);
}

static void check_extent(const struct extent *e, struct cell *cell, uint64_t size)
{
	assert_true(extent_end(e) <= size);
	for (uint64_t i = 0; i < e->len; i++) {
		const struct cell *c = &cell[e->offset + i];

		/* Pieces sent in several frames count as sent in the last. */
		if (c->kind != e->kind || (e->kind == EXTENT_DATA && c->value != e->data[i]) ||
		    !c->sent != !e->sent || c->sent > e->sent)
			fail_msg("byte %" PRIu64 " of %" PRIu64 "+%" PRIu64 " is wrong", i,
				 e->offset, e->len);
	}
}

static bool all_are(const struct cell *cell, uint64_t len, uint8_t kind)
{
	for (uint64_t i = 0; i < len; i++)
		if (cell[i].kind != kind)
			return false;
	return true;
}

static void check_map(struct extents *map, struct cell *cell, uint64_t size)
{
	uint64_t at = 0, count = 0, unsent = 0, unsent_bytes = 0, listed = 0;
	struct list *pos, *tmp;

	for (struct extent *e = extents_at(map, 0); e; e = extents_next(e)) {
		assert_true(e->offset >= at && e->len);
		assert_true(all_are(cell + at, e->offset - at, NONE));
		check_extent(e, cell, size);
		assert_ptr_equal(extents_at(map, e->offset), e);
		assert_ptr_equal(extents_at(map, extent_end(e) - 1), e);
		at = extent_end(e);
		count++;
		unsent += !e->sent;
		unsent_bytes += e->sent || e->kind != EXTENT_DATA ? 0 : e->len;
	}
	assert_true(all_are(cell + at, size - at, NONE));
	list_for_each_safe (pos, tmp, &map->unsent)
		listed += !list_entry(pos, struct extent, unsent)->sent;
	assert_int_equal(count, map->count);
	assert_int_equal(unsent, listed);
	assert_int_equal(unsent_bytes, map->unsent_bytes);
}

static uint64_t live_bytes(struct extents *map)
{
	uint64_t n = 0;

	for (struct extent *e = extents_at(map, 0); e; e = extents_next(e))
		n += e->kind == EXTENT_DATA ? e->len : 0;
	return n;
}

static void check(void)
{
	check_map(&m.map, m.cell, m.size);
	assert_int_equal(m.store.records.used, m.map.count);
	assert_int_equal(m.store.arena.live, live_bytes(&m.map));
	assert_true(m.store.arena.live <= arena_used(&m.store.arena));
}

static int put_into(struct extents *map, struct cell *cell, uint8_t kind, uint64_t offset,
		    uint64_t len)
{
	const uint8_t *data = m.data + rng_below(&m.rng, 256);
	struct extent *e = extents_at(map, offset);
	bool same = kind != EXTENT_DATA && all_are(cell + offset, len, kind) && e &&
		    e->offset <= offset && extent_end(e) >= offset + len;
	int r = extents_put(map, kind, offset, len, data);

	if (r || same)
		return r;
	for (uint64_t i = 0; i < len; i++)
		cell[offset + i] = (struct cell){.kind = kind, .value = data[i]};
	return 0;
}

static int put(uint8_t kind, uint64_t offset, uint64_t len)
{
	return put_into(&m.map, m.cell, kind, offset, len);
}

static void send_one(uint64_t frame)
{
	struct extent *e = extents_unsent(&m.map);

	if (!e)
		return;
	for (uint64_t i = e->offset; i < extent_end(e); i++)
		m.cell[i].sent = frame;
	extents_sent(&m.map, e, frame);
}

static void resend(uint64_t frame)
{
	/* What was joined is sent again as a whole. */
	for (struct extent *e = extents_at(&m.map, 0); e; e = extents_next(e))
		for (uint64_t i = e->offset; i < extent_end(e); i++)
			m.cell[i].sent = e->sent > frame ? 0 : e->sent;
	extents_resend(&m.map, frame);
}

static void forget_all(void)
{
	extents_clear(&m.map);
	for (uint64_t i = 0; i < m.size; i++)
		m.cell[i] = (struct cell){.kind = NONE};
}

/* All rows of three puts on a disk of four bytes, with the second sent or not. */
static void every_row_of_three_puts_is_right(void **state)
{
	const uint8_t at[] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 3}, len[] = {1, 2, 3, 4, 1, 2, 3, 1, 2, 1};
	const unsigned n = ARRAY_SIZE(at) * 3;

	(void)state;
	begin(4, ARENA_CHUNK, 16);
	for (unsigned way = 0; way < n * n * n * 4; way++) {
		unsigned rest = way / 4;

		for (int i = 0; i < 3; i++, rest /= n) {
			unsigned k = rest % n;

			assert_int_equal(put((uint8_t)(k % 3), at[k / 3], len[k / 3]), 0);
			if (way >> i & 1 && i < 2)
				send_one((uint64_t)i + 1);
		}
		check();
		forget_all();
	}
	end();
}

static uint64_t random_len(uint64_t max)
{
	switch (rng_below(&m.rng, 4)) {
	case 0:
		return 1 + rng_below(&m.rng, MIN(max, 700));
	case 1:
		return MIN(max, 512);
	case 2:
		return MIN(max, 4096);
	default:
		return 1 + rng_below(&m.rng, max);
	}
}

static void forget(uint64_t frame)
{
	for (struct extent *e = extents_at(&m.map, 0); e; e = extents_next(e))
		for (uint64_t i = e->offset; e->sent && e->sent <= frame && i < extent_end(e); i++)
			m.cell[i] = (struct cell){.kind = NONE};
	extents_forget(&m.map, frame);
}

static void random_step(uint64_t frame)
{
	uint64_t offset = rng_below(&m.rng, m.size), len = random_len(m.size - offset);

	switch (rng_below(&m.rng, 12)) {
	case 0:
		if (rng_below(&m.rng, 2))
			resend(rng_below(&m.rng, frame));
		else
			forget(rng_below(&m.rng, frame));
		break;
	case 1:
	case 2:
	case 3:
		send_one(frame);
		break;
	case 4:
		assert_int_equal(put(EXTENT_ZERO, offset, len), 0);
		break;
	case 5:
		assert_int_equal(put(EXTENT_TRIM, offset, len), 0);
		break;
	default:
		assert_int_equal(put(EXTENT_DATA, offset, len), 0);
	}
}

static void a_small_disk_is_what_was_put(void **state)
{
	(void)state;
	begin(61, 64 * ARENA_CHUNK, 200);
	for (uint64_t i = 1; i < 30000; i++) {
		random_step(i);
		check();
	}
	end();
}

static void a_disk_of_several_chunks_is_what_was_put(void **state)
{
	(void)state;
	begin(BIG, 64 * ARENA_CHUNK, 20000);
	for (uint64_t i = 1; i < 1500; i++) {
		random_step(i);
		if (i % 25 == 0)
			check();
	}
	check();
	end();
}

static void writes_in_sequence_are_one_extent(void **state)
{
	(void)state;
	begin(BIG, BIG, 100);
	for (uint64_t at = 0; at < 2 * ARENA_CHUNK; at += 4096)
		assert_int_equal(put(EXTENT_DATA, at, 4096), 0);
	check();
	assert_int_equal(m.map.count, 2); /* chunks are never crossed */
	for (uint64_t at = BIG - 512; at >= BIG - 4096; at -= 512)
		assert_int_equal(put(EXTENT_ZERO, at, 512), 0);
	assert_int_equal(m.map.count, 3);
	end();
}

static void data_written_over_takes_no_more_memory(void **state)
{
	(void)state;
	begin(2 * ARENA_CHUNK, 2 * ARENA_CHUNK, 1000);
	assert_int_equal(put(EXTENT_DATA, 0, m.size), 0);
	for (int i = 0; i < 500; i++)
		assert_int_equal(put(EXTENT_DATA, rng_below(&m.rng, m.size / 512) * 512, 512), 0);
	assert_int_equal(m.store.saved, 500 * 512);
	assert_int_equal(m.map.count, 2);
	check();
	/* What was sent and then written over is sent again, that part alone. */
	while (extents_unsent(&m.map))
		send_one(1);
	assert_int_equal(m.map.unsent_bytes, 0);
	assert_int_equal(put(EXTENT_DATA, 4096, 512), 0);
	assert_int_equal(m.map.unsent_bytes, 512);
	assert_int_equal(m.store.saved, 500 * 512);
	check();
	send_one(2);
	assert_int_equal(m.map.count, 2);
	check();
	end();
}

static void unsent_extents_are_given_in_the_order_of_their_writes(void **state)
{
	const uint64_t offset[] = {9000, 100, 5000, 40};

	(void)state;
	begin(10000, ARENA_CHUNK, 100);
	for (size_t i = 0; i < ARRAY_SIZE(offset); i++)
		assert_int_equal(put(EXTENT_DATA, offset[i], 10), 0);
	for (size_t i = 0; i < ARRAY_SIZE(offset); i++) {
		assert_int_equal(extents_unsent(&m.map)->offset, offset[i]);
		send_one(i + 1);
	}
	assert_null(extents_unsent(&m.map));
	/* What is cut in two keeps its place. */
	assert_int_equal(put(EXTENT_DATA, 7000, 30), 0);
	assert_int_equal(put(EXTENT_DATA, 20, 10), 0);
	assert_int_equal(put(EXTENT_ZERO, 7010, 10), 0);
	assert_int_equal(extents_unsent(&m.map)->offset, 7000);
	send_one(5);
	assert_int_equal(extents_unsent(&m.map)->offset, 7020);
	send_one(5);
	assert_int_equal(extents_unsent(&m.map)->offset, 20);
	extents_clear(&m.map);
	for (size_t i = 0; i < ARRAY_SIZE(offset); i++) {
		assert_int_equal(put(EXTENT_DATA, offset[i], 10), 0);
		send_one(i + 1);
	}
	resend(2);
	assert_int_equal(extents_unsent(&m.map)->offset, 40);
	end();
}

static void fill_until_refused(uint64_t max_bytes, uint32_t max_extents)
{
	unsigned refused = 0;

	begin(BIG, max_bytes, max_extents);
	for (uint64_t i = 1; refused < 100; i++) {
		uint64_t offset = rng_below(&m.rng, m.size);
		uint64_t len = random_len(MIN(m.size - offset, 30000));
		int r = put((uint8_t)(rng_below(&m.rng, 6) % 4 % 3), offset, len);

		assert_true(!r || r == -ENOSPC);
		if (rng_below(&m.rng, 3) == 0)
			send_one(i);
		if (!r)
			continue;
		check();
		if (++refused % 25 == 0)
			forget_all();
	}
	end();
}

static void a_put_without_room_changes_nothing(void **state)
{
	(void)state;
	fill_until_refused(2 * ARENA_CHUNK, 10000);
	fill_until_refused(2 * BIG, 60);
	fill_until_refused(2 * ARENA_CHUNK, 40);
}

static void memory_is_used_to_the_last_byte_and_no_further(void **state)
{
	(void)state;
	begin(BIG, 2 * ARENA_CHUNK, 100);
	assert_int_equal(put(EXTENT_DATA, 0, 1000), 0);
	assert_int_equal(put(EXTENT_DATA, 5000, 2 * ARENA_CHUNK - 999), -ENOSPC);
	/* What is written over in place needs none. */
	assert_int_equal(put(EXTENT_DATA, 500, 2 * ARENA_CHUNK - 500), 0);
	assert_int_equal(m.store.arena.live, 2 * ARENA_CHUNK);
	assert_int_equal(put(EXTENT_DATA, 2 * ARENA_CHUNK, 1), -ENOSPC);
	assert_int_equal(put(EXTENT_DATA, 0, 2 * ARENA_CHUNK), 0);
	check();
	end();
}

static void an_extent_that_is_none_is_refused(void **state)
{
	(void)state;
	begin(16, ARENA_CHUNK, 8);
	assert_int_equal(put(EXTENT_DATA, 3, 0), -EINVAL);
	assert_int_equal(extents_put(&m.map, EXTENT_ZERO, 1, UINT64_MAX, NULL), -EINVAL);
	assert_int_equal(extents_put(&m.map, EXTENT_ZERO, UINT64_MAX, 1, NULL), -EINVAL);
	check();
	/* A whole disk may be zeroed at once. */
	assert_int_equal(extents_put(&m.map, EXTENT_TRIM, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(m.map.count, 1);
	end();
}

/* Of a disk of this size, so that both maps are dense. */
#define MERGED 97
static void a_merge_never_fails_for_want_of_records(void **state)
{
	static struct cell newer_cell[MERGED];
	struct extents newer;

	(void)state;
	begin(MERGED, 4 * ARENA_CHUNK, 80);
	extents_init(&newer, &m.store);
	for (int round = 0; round < 400; round++) {
		for (int i = 0; i < MERGED; i++)
			newer_cell[i] = (struct cell){.kind = NONE};
		for (uint64_t i = 1; i < 60; i++) {
			bool into = rng_below(&m.rng, 2);
			uint64_t offset = rng_below(&m.rng, MERGED);
			uint64_t len = 1 + rng_below(&m.rng, MIN(MERGED - offset, 7));
			uint8_t kind = (uint8_t)rng_below(&m.rng, 3);

			if (pool_left(&m.store.records) <= extents_merge_records(&newer) + 8)
				break;
			assert_int_equal(put_into(into ? &newer : &m.map,
						  into ? newer_cell : m.cell, kind, offset, len),
					 0);
			if (rng_below(&m.rng, 3) == 0)
				send_one(i);
		}
		check_map(&newer, newer_cell, MERGED);
		/* No more than what was promised. */
		while (pool_left(&m.store.records) > extents_merge_records(&newer))
			m.store.records.count--;
		extents_merge(&m.map, &newer);
		m.store.records.count = 80;
		for (int i = 0; i < MERGED; i++)
			if (newer_cell[i].kind != NONE)
				m.cell[i] = newer_cell[i];
		check();
		assert_int_equal(newer.count, 0);
		assert_null(extents_at(&newer, 0));
		if (round % 3 == 0)
			forget_all();
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_three_puts_is_right),
		cmocka_unit_test(a_small_disk_is_what_was_put),
		cmocka_unit_test(a_disk_of_several_chunks_is_what_was_put),
		cmocka_unit_test(writes_in_sequence_are_one_extent),
		cmocka_unit_test(data_written_over_takes_no_more_memory),
		cmocka_unit_test(unsent_extents_are_given_in_the_order_of_their_writes),
		cmocka_unit_test(a_put_without_room_changes_nothing),
		cmocka_unit_test(memory_is_used_to_the_last_byte_and_no_further),
		cmocka_unit_test(an_extent_that_is_none_is_refused),
		cmocka_unit_test(a_merge_never_fails_for_want_of_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
