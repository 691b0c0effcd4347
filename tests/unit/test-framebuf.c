// SPDX-License-Identifier: GPL-2.0-or-later
/* Frame buffer: order, content and memory against a plain list, through wraps and drops from anywhere. */
#include "tests/unit/unit.h"

#include "proxy/framebuf.h"

/* ---- the model: a list of what must be in the buffer ---- */

#define MODEL_MAX 4096

struct model_frame {
	uint64_t number;
	uint32_t len;
	struct kept *kept;
	bool gone;
};

/* [first, count): every frame since the oldest that is there. */
struct model {
	struct model_frame frames[MODEL_MAX];
	size_t first, count;
};

static uint8_t byte_of(uint64_t number, uint32_t i)
{
	return (uint8_t)(number * 31 + i * 7);
}

static struct kept *add(struct framebuf *b, uint64_t number, uint32_t len, uint32_t split)
{
	static uint8_t data[4096];
	struct kept *k;

	for (uint32_t i = 0; i < len; i++)
		data[i] = byte_of(number, i);
	k = framebuf_add(b, data, split, data + split, len - split);
	if (!k)
		return NULL;
	assert_int_equal((uintptr_t)k % 8, 0);
	assert_int_equal(k->len, len);
	assert_false(k->number || k->nic || k->gone);
	assert_false(k->user[0] || k->user[1] || k->user[2] || k->user[3]);
	k->number = number;
	k->nic = (uint8_t)number;
	memset(k->user, 0xff, sizeof(k->user));
	return k;
}

static void assert_content(const struct kept *k, uint64_t number, uint32_t len)
{
	assert_int_equal(k->number, number);
	assert_int_equal(k->nic, (uint8_t)number);
	assert_int_equal(k->len, len);
	for (uint32_t i = 0; i < len; i++)
		if (k->data[i] != byte_of(number, i))
			fail_msg("frame %u, byte %u", (unsigned)number, i);
}

static void assert_same(struct framebuf *b, const struct model *m)
{
	struct kept *k = framebuf_first(b);
	uint64_t used = 0;
	uint32_t live = 0;

	for (size_t i = m->first; i < m->count; i++) {
		const struct model_frame *f = &m->frames[i];

		used += framebuf_bytes_of(f->len);
		if (f->gone)
			continue;
		live++;
		assert_ptr_equal(k, f->kept);
		assert_content(k, f->number, f->len);
		k = framebuf_next(b, k);
	}
	assert_null(k);
	assert_int_equal(b->count, live);
	assert_int_equal(b->used_bytes, used);
	assert_int_equal(framebuf_is_empty(b), !live);
}

static void model_drop(struct model *m, size_t i)
{
	m->frames[i].gone = true;
	while (m->first < m->count && m->frames[m->first].gone)
		m->first++;
}

/* The @n-th frame that is there. */
static size_t model_pick(const struct model *m, uint64_t n)
{
	for (size_t i = m->first;; i++)
		if (!m->frames[i].gone && !n--)
			return i;
}

/* ---- tests ---- */

static void frames_come_out_as_they_went_in(void **state)
{
	struct framebuf b;
	struct kept *k;

	(void)state;
	assert_int_equal(framebuf_init(&b, 4096, 10), 0);
	assert_true(framebuf_is_empty(&b));
	assert_null(framebuf_first(&b));
	assert_non_null(add(&b, 1, 100, 0));
	assert_non_null(add(&b, 2, 0, 0));
	assert_non_null(add(&b, 3, 77, 77));
	assert_non_null(framebuf_add(&b, NULL, 0, NULL, 0));
	k = framebuf_first(&b);
	assert_content(k, 1, 100);
	k = framebuf_next(&b, k);
	assert_content(k, 2, 0);
	k = framebuf_next(&b, k);
	assert_content(k, 3, 77);
	k = framebuf_next(&b, k);
	assert_int_equal(k->len, 0);
	assert_null(framebuf_next(&b, k));
	framebuf_destroy(&b);
	assert_null(b.mem);
	framebuf_destroy(&b);
}

static void no_bytes_at_all_are_refused(void **state)
{
	struct framebuf b;

	(void)state;
	assert_int_equal(framebuf_init(&b, 0, 10), -EINVAL);
	assert_int_equal(framebuf_init(&b, 7, 10), -EINVAL);
	assert_int_equal(framebuf_init(&b, SIZE_MAX, 10), -ENOMEM);
	framebuf_destroy(&b);
}

static void all_memory_can_be_used(void **state)
{
	size_t one = framebuf_bytes_of(100);
	struct framebuf b;

	(void)state;
	assert_int_equal(framebuf_init(&b, 4 * one, 100), 0);
	for (uint64_t i = 1; i <= 4; i++)
		assert_non_null(add(&b, i, 100, 50));
	assert_null(add(&b, 5, 0, 0));
	assert_int_equal(b.dropped, 1);
	/* One goes in front: its place is enough for one as large, and the ring is full again. */
	framebuf_drop(&b, framebuf_first(&b));
	assert_null(add(&b, 5, 105, 50));
	assert_non_null(add(&b, 5, 100, 50));
	assert_null(add(&b, 6, 0, 0));
	assert_int_equal(b.dropped, 3);
	for (uint64_t i = 2; i <= 5; i++) {
		assert_content(framebuf_first(&b), i, 100);
		framebuf_drop(&b, framebuf_first(&b));
	}
	assert_true(framebuf_is_empty(&b));
	framebuf_destroy(&b);
}

static void a_frame_larger_than_the_buffer_is_refused(void **state)
{
	static const uint8_t data[8192];
	struct framebuf b;

	(void)state;
	assert_int_equal(framebuf_init(&b, 4096, 10), 0);
	assert_null(framebuf_add(&b, data, 4096, NULL, 0));
	assert_null(framebuf_add(&b, data, 2048, data, 2048));
	assert_null(framebuf_add(&b, data, SIZE_MAX, data, 1));
	assert_null(framebuf_add(&b, data, 8, data, SIZE_MAX - 4));
	assert_null(framebuf_add(&b, data, 4096 - framebuf_bytes_of(0) + 1, NULL, 0));
	assert_int_equal(b.dropped, 5);
	assert_non_null(framebuf_add(&b, data, 4096 - framebuf_bytes_of(0), NULL, 0));
	framebuf_destroy(&b);
}

static void the_number_of_frames_is_bounded(void **state)
{
	struct framebuf b;

	(void)state;
	assert_int_equal(framebuf_init(&b, 65536, 3), 0);
	for (uint64_t i = 1; i <= 3; i++)
		assert_non_null(add(&b, i, 1, 0));
	assert_null(add(&b, 4, 1, 0));
	/* One gone from the middle makes room, though its memory is not free yet. */
	framebuf_drop(&b, framebuf_next(&b, framebuf_first(&b)));
	assert_int_equal(b.used_bytes, 3 * framebuf_bytes_of(1));
	assert_non_null(add(&b, 4, 1, 0));
	assert_null(add(&b, 5, 1, 0));
	framebuf_destroy(&b);
}

static void an_empty_buffer_starts_anew(void **state)
{
	struct framebuf b;
	struct kept *first, *second;

	(void)state;
	assert_int_equal(framebuf_init(&b, 4096, 10), 0);
	first = add(&b, 1, 10, 5);
	second = add(&b, 2, 10, 5);
	framebuf_drop(&b, second);
	framebuf_drop(&b, second);
	assert_int_equal(b.count, 1);
	framebuf_drop(&b, first);
	assert_int_equal(b.used_bytes, 0);
	assert_ptr_equal(add(&b, 3, 10, 5), first);
	framebuf_clear(&b);
	assert_true(framebuf_is_empty(&b));
	assert_null(framebuf_first(&b));
	assert_ptr_equal(add(&b, 4, 10, 5), first);
	framebuf_destroy(&b);
}

/* Drop every frame whose number is odd (or all) while going over them; a wrap lies in between. */
static void the_frame_at_hand_may_be_dropped(void **state)
{
	size_t one = framebuf_bytes_of(100);

	(void)state;
	for (unsigned front = 0; front <= 6; front++) {
		for (unsigned all = 0; all <= 1; all++) {
			struct framebuf b;
			uint64_t want = front + 1, seen = 0;

			assert_int_equal(framebuf_init(&b, 6 * one, 100), 0);
			for (uint64_t i = 1; i <= 6; i++)
				assert_non_null(add(&b, i, 100, 50));
			for (unsigned i = 0; i < front; i++)
				framebuf_drop(&b, framebuf_first(&b));
			for (uint64_t i = 7; i < 7 + front; i++)
				assert_non_null(add(&b, i, 100, 50));
			for (struct kept *k = framebuf_first(&b); k; k = framebuf_next(&b, k)) {
				assert_content(k, want++, 100);
				seen++;
				if (all || k->number & 1)
					framebuf_drop(&b, k);
			}
			assert_int_equal(seen, 6);
			assert_int_equal(b.count, all ? 0 : 3);
			framebuf_destroy(&b);
		}
	}
}

/* Whether @m's buffer must have room: the free memory in one piece, told from the frames' places. */
static bool must_fit(const struct framebuf *b, const struct model *m, size_t need)
{
	size_t first, end;

	if (m->first == m->count)
		return need <= b->bytes;
	first = (size_t)((uint8_t *)m->frames[m->first].kept - b->mem);
	end = (size_t)((uint8_t *)m->frames[m->count - 1].kept - b->mem) +
	      framebuf_bytes_of(m->frames[m->count - 1].len);
	if (end <= first)
		return need <= first - end;
	return need <= b->bytes - end || need <= first;
}

static void random_use_is_like_a_list(uint64_t seed, size_t bytes, uint32_t max_count,
				      unsigned drops)
{
	struct model *m = calloc(1, sizeof(*m));
	struct rng r = {seed};
	struct framebuf b;
	unsigned added = 0, refused = 0;

	assert_non_null(m);
	assert_int_equal(framebuf_init(&b, bytes, max_count), 0);
	while (m->count < MODEL_MAX) {
		if (rng_below(&r, 100) >= drops) {
			struct model_frame *f = &m->frames[m->count];
			uint32_t len = (uint32_t)rng_below(&r, rng_below(&r, 4) ? 60 : 1500);
			bool fits = b.count < max_count && must_fit(&b, m, framebuf_bytes_of(len));

			*f = (struct model_frame){.number = rng_next(&r), .len = len};
			f->kept = add(&b, f->number, len, (uint32_t)rng_below(&r, len + 1));
			assert_int_equal(f->kept != NULL, fits);
			m->count += fits;
			added += fits;
			refused += !fits;
		} else if (b.count) {
			/* Mostly the oldest, as in real use. */
			uint64_t n = rng_below(&r, 3) ? 0 : rng_below(&r, b.count);
			size_t i = model_pick(m, n);

			framebuf_drop(&b, m->frames[i].kept);
			model_drop(m, i);
		} else {
			continue;
		}
		assert_same(&b, m);
	}
	assert_int_equal(b.dropped, refused);
	assert_int_equal(added, MODEL_MAX);
	if (drops < 50)
		assert_true(refused > 100);
	framebuf_destroy(&b);
	free(m);
}

static void a_buffer_that_is_mostly_full_is_like_a_list(void **state)
{
	(void)state;
	random_use_is_like_a_list(1, 8192, 1000, 45);
}

static void a_buffer_that_is_often_empty_is_like_a_list(void **state)
{
	(void)state;
	random_use_is_like_a_list(2, 8192, 1000, 55);
}

static void a_buffer_of_few_frames_is_like_a_list(void **state)
{
	(void)state;
	random_use_is_like_a_list(3, 100000, 20, 45);
}

static void a_tiny_buffer_is_like_a_list(void **state)
{
	(void)state;
	random_use_is_like_a_list(4, 2000, 20, 45);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_went_in),
		cmocka_unit_test(no_bytes_at_all_are_refused),
		cmocka_unit_test(all_memory_can_be_used),
		cmocka_unit_test(a_frame_larger_than_the_buffer_is_refused),
		cmocka_unit_test(the_number_of_frames_is_bounded),
		cmocka_unit_test(an_empty_buffer_starts_anew),
		cmocka_unit_test(the_frame_at_hand_may_be_dropped),
		cmocka_unit_test(a_buffer_that_is_mostly_full_is_like_a_list),
		cmocka_unit_test(a_buffer_that_is_often_empty_is_like_a_list),
		cmocka_unit_test(a_buffer_of_few_frames_is_like_a_list),
		cmocka_unit_test(a_tiny_buffer_is_like_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
