// SPDX-License-Identifier: GPL-2.0-or-later
/* A map of what was written to a disk: a balanced tree of extents. */
#include "colod/disk/extents.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* More than any call takes beside the extents that it puts: two ends to cut off, and one spare. */
#define SPARE_RECORDS 3

int extent_store_init(struct extent_store *s, uint64_t max_bytes, uint32_t max_extents)
{
	int r = pool_init(&s->records, max_extents, sizeof(struct extent));

	s->saved = 0;
	if (r)
		return r;
	r = arena_init(&s->arena, max_bytes);
	if (r)
		pool_destroy(&s->records);
	return r;
}

void extent_store_destroy(struct extent_store *s)
{
	arena_destroy(&s->arena);
	pool_destroy(&s->records);
}

void extents_init(struct extents *m, struct extent_store *store)
{
	*m = (struct extents){.store = store, .fill = ARENA_FILL_BEGIN};
	list_init(&m->unsent);
}

static struct extent *extent_of(struct tree_node *n)
{
	return n ? tree_entry(n, struct extent, node) : NULL;
}

struct extent *extents_next(const struct extent *e)
{
	return extent_of(tree_next(&e->node));
}

static struct extent *prev_of(const struct extent *e)
{
	return extent_of(tree_prev(&e->node));
}

struct extent *extents_at(const struct extents *m, uint64_t offset)
{
	struct extent *found = NULL;

	for (struct tree_node *n = m->tree.root; n;) {
		struct extent *e = extent_of(n);
		bool ends_behind = extent_end(e) > offset;

		if (ends_behind)
			found = e;
		n = n->child[!ends_behind];
	}
	return found;
}

static uint64_t data_bytes(const struct extent *e)
{
	return e->kind == EXTENT_DATA ? e->len : 0;
}

static void set_unsent(struct extents *m, struct extent *e)
{
	e->sent = 0;
	list_add_tail(&m->unsent, &e->unsent);
	m->unsent_bytes += data_bytes(e);
}

static void set_sent(struct extents *m, struct extent *e, uint64_t frame)
{
	e->sent = frame;
	list_del(&e->unsent);
	m->unsent_bytes -= data_bytes(e);
}

/* The caller has seen that there is a record. */
static struct extent *add_behind(struct extents *m, struct extent *at, const struct extent *what)
{
	struct extent *e = pool_get(&m->store->records);

	assert(e);
	*e = *what;
	list_init(&e->unsent);
	tree_insert_after(&m->tree, at ? &at->node : NULL, &e->node);
	m->count++;
	return e;
}

static void forget(struct extents *m, struct extent *e)
{
	tree_remove(&m->tree, &e->node);
	list_del(&e->unsent);
	pool_put(&m->store->records, e);
	m->count--;
}

static void drop(struct extents *m, struct extent *e)
{
	if (!e->sent) {
		m->unsent_bytes -= data_bytes(e);
		m->store->saved += data_bytes(e);
	}
	if (e->kind == EXTENT_DATA)
		arena_put(&m->store->arena, e->data, e->len);
	forget(m, e);
}

/* Cut @e in two before @at; returns the second, which waits right behind the first if that does. */
static struct extent *split(struct extents *m, struct extent *e, uint64_t at)
{
	uint64_t len = at - e->offset;
	struct extent tail = *e, *second;

	tail.offset = at;
	tail.len -= len;
	if (e->kind == EXTENT_DATA)
		tail.data += len;
	e->len = len;
	second = add_behind(m, e, &tail);
	if (!e->sent)
		list_add_tail(e->unsent.next, &second->unsent);
	return second;
}

static bool can_join(const struct extents *m, const struct extent *a, const struct extent *b)
{
	return a && b && a->kind == b->kind && extent_end(a) == b->offset && !a->sent == !b->sent &&
	       (a->kind != EXTENT_DATA ||
		arena_adjoins(&m->store->arena, a->data, a->len, b->data));
}

/* If one of both frames was lost, all is sent again. */
static struct extent *join(struct extents *m, struct extent *a, struct extent *b)
{
	if (!can_join(m, a, b))
		return b ? b : a;
	a->len += b->len;
	a->sent = MAX(a->sent, b->sent);
	forget(m, b);
	return a;
}

static void join_around(struct extents *m, struct extent *e)
{
	e = join(m, prev_of(e), e);
	join(m, e, extents_next(e));
}

/* Make room; returns the extent before it. Takes two records at most, for a while. */
static struct extent *carve(struct extents *m, uint64_t start, uint64_t end)
{
	struct extent *e = extents_at(m, start), *before, *next;

	if (e && e->offset < start)
		e = split(m, e, start);
	before = e ? prev_of(e) : extent_of(tree_last(&m->tree));
	for (; e && e->offset < end; e = next) {
		if (extent_end(e) > end)
			split(m, e, end);
		next = extents_next(e);
		drop(m, e);
	}
	return before;
}

static int put_plain(struct extents *m, enum extent_kind kind, uint64_t offset, uint64_t len)
{
	struct extent *e = extents_at(m, offset);
	struct extent what = {.offset = offset, .len = len, .kind = kind};

	if (e && e->kind == kind && e->offset <= offset && extent_end(e) >= offset + len)
		return 0;
	if (pool_left(&m->store->records) < SPARE_RECORDS)
		return -ENOSPC;
	e = add_behind(m, carve(m, offset, offset + len), &what);
	set_unsent(m, e);
	join_around(m, e);
	return 0;
}

/* Put data where none is. */
static void fill_gap(struct extents *m, uint64_t start, uint64_t end, const uint8_t *data)
{
	struct extent *before = carve(m, start, end);

	while (start < end) {
		struct extent what = {.offset = start, .len = end - start};

		what.data = arena_get(&m->store->arena, &m->fill, &what.len);
		assert(what.data);
		memcpy(what.data, data, what.len);
		if (can_join(m, before, &what)) {
			before->len += what.len;
			m->unsent_bytes += what.len;
		} else {
			before = add_behind(m, before, &what);
			set_unsent(m, before);
		}
		start += what.len;
		data += what.len;
	}
}

/* Write over data from @start to @end, all in @e: in place. */
static void write_over(struct extents *m, struct extent *e, uint64_t start, uint64_t end,
		       const uint8_t *data)
{
	if (e->sent) {
		if (e->offset < start)
			e = split(m, e, start);
		if (extent_end(e) > end)
			split(m, e, end);
		set_unsent(m, e);
	} else {
		m->store->saved += end - start;
	}
	memcpy(e->data + (start - e->offset), data, end - start);
}

static struct extent *next_data(struct extent *e, uint64_t end)
{
	while (e && e->offset < end && e->kind != EXTENT_DATA)
		e = extents_next(e);
	return e && e->offset < end ? e : NULL;
}

/* Records that put_data() takes at most; *bytes is what it needs of the arena. */
static uint64_t data_records(const struct extents *m, uint64_t offset, uint64_t end,
			     uint64_t *bytes)
{
	struct extent *e = next_data(extents_at(m, offset), end);
	uint64_t at = offset, gaps = 0;

	*bytes = end - offset;
	for (; e; e = next_data(extents_next(e), end)) {
		gaps += e->offset > at;
		at = MIN(extent_end(e), end);
		*bytes -= at - MAX(e->offset, offset);
	}
	gaps += at < end;
	return gaps + *bytes / ARENA_CHUNK + 1 + SPARE_RECORDS;
}

uint64_t extents_put_records(const struct extents *m, enum extent_kind kind, uint64_t offset,
			     uint64_t len)
{
	uint64_t bytes;

	return kind == EXTENT_DATA ? data_records(m, offset, offset + len, &bytes) : SPARE_RECORDS;
}

static int put_data(struct extents *m, uint64_t offset, uint64_t end, const uint8_t *data)
{
	uint64_t next, bytes;

	if (data_records(m, offset, end, &bytes) > pool_left(&m->store->records) ||
	    bytes > arena_room(&m->store->arena, &m->fill))
		return -ENOSPC;
	for (uint64_t at = offset; at < end; at = next) {
		struct extent *e = next_data(extents_at(m, at), end);

		if (e && e->offset <= at) {
			next = MIN(extent_end(e), end);
			write_over(m, e, at, next, data + (at - offset));
		} else {
			next = e ? e->offset : end;
			fill_gap(m, at, next, data + (at - offset));
		}
	}
	return 0;
}

int extents_put(struct extents *m, enum extent_kind kind, uint64_t offset, uint64_t len,
		const void *data)
{
	if (!len || len > UINT64_MAX - offset)
		return -EINVAL;
	if (kind == EXTENT_DATA)
		return put_data(m, offset, offset + len, data);
	return put_plain(m, kind, offset, len);
}

void extents_merge(struct extents *m, struct extents *newer)
{
	struct extent *e, *at;

	assert(newer->store == m->store);
	while ((e = extent_of(tree_first(&newer->tree)))) {
		tree_remove(&newer->tree, &e->node);
		list_del(&e->unsent);
		at = carve(m, e->offset, extent_end(e));
		tree_insert_after(&m->tree, at ? &at->node : NULL, &e->node);
		m->count++;
		set_unsent(m, e);
		join_around(m, e);
	}
	newer->count = newer->unsent_bytes = 0;
	list_init(&newer->unsent);
	arena_leave(&m->store->arena, &newer->fill);
}

void extents_clear(struct extents *m)
{
	struct tree_node *next;

	for (struct tree_node *n = tree_deepest(&m->tree); n; n = next) {
		struct extent *e = extent_of(n);

		next = tree_next_up(n);
		if (e->kind == EXTENT_DATA)
			arena_put(&m->store->arena, e->data, e->len);
		pool_put(&m->store->records, e);
	}
	arena_leave(&m->store->arena, &m->fill);
	extents_init(m, m->store);
}

struct extent *extents_unsent(const struct extents *m)
{
	return list_empty(&m->unsent) ? NULL : list_entry(m->unsent.next, struct extent, unsent);
}

void extents_sent(struct extents *m, struct extent *e, uint64_t frame)
{
	assert(frame && !e->sent);
	set_sent(m, e, frame);
	join_around(m, e);
}

void extents_resend(struct extents *m, uint64_t frame)
{
	for (struct extent *e = extents_at(m, 0); e; e = extents_next(e))
		if (e->sent > frame)
			set_unsent(m, e);
}

void extents_forget(struct extents *m, uint64_t frame)
{
	struct extent *next;

	for (struct extent *e = extents_at(m, 0); e; e = next) {
		next = extents_next(e);
		if (e->sent && e->sent <= frame)
			drop(m, e);
	}
}
