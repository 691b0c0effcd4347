// SPDX-License-Identifier: GPL-2.0-or-later
/* Frame buffer: a ring of records of any size, each in one piece. */
#include "proxy/framebuf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Used memory is [head, tail), or, while wrap is not 0, [head, wrap) and [0, tail). Records stand
 * back to back, so that each one's length leads to the next. The first record is never a gone one.
 */

int framebuf_init(struct framebuf *b, size_t bytes, uint32_t max_count)
{
	void *p;

	*b = (struct framebuf){.max_count = max_count, .bytes = bytes / 8 * 8};
	p = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	b->mem = p;
	return 0;
}

void framebuf_destroy(struct framebuf *b)
{
	if (b->mem)
		munmap(b->mem, b->bytes);
	*b = (struct framebuf){};
}

void framebuf_clear(struct framebuf *b)
{
	b->head = b->tail = b->wrap = 0;
	b->count = 0;
	b->used_bytes = 0;
}

static struct kept *at(const struct framebuf *b, size_t offset)
{
	return (struct kept *)(void *)(b->mem + offset);
}

static size_t offset_of(const struct framebuf *b, const struct kept *k)
{
	return (size_t)((const uint8_t *)k - b->mem);
}

/* Make [tail, tail + need) free memory, by a wrap where that helps. */
static bool find_room(struct framebuf *b, size_t need)
{
	if (b->wrap)
		return b->head - b->tail >= need;
	if (b->bytes - b->tail >= need)
		return true;
	if (b->head < need)
		return false;
	b->wrap = b->tail;
	b->tail = 0;
	return true;
}

struct kept *framebuf_add(struct framebuf *b, const void *p1, size_t n1, const void *p2, size_t n2)
{
	bool fits = n1 <= b->bytes && n2 <= b->bytes - n1 && n1 + n2 <= UINT32_MAX;
	size_t need = framebuf_bytes_of(n1 + n2);
	struct kept *k;

	if (!fits || b->count >= b->max_count || !find_room(b, need)) {
		b->dropped++;
		return NULL;
	}
	k = at(b, b->tail);
	*k = (struct kept){.len = (uint32_t)(n1 + n2)};
	if (n1)
		memcpy(k->data, p1, n1);
	if (n2)
		memcpy(k->data + n1, p2, n2);
	b->tail += need;
	b->count++;
	b->used_bytes += need;
	return k;
}

struct kept *framebuf_first(struct framebuf *b)
{
	return b->count ? at(b, b->head) : NULL;
}

static bool is_used(const struct framebuf *b, size_t offset)
{
	if (b->wrap)
		return offset < b->tail || (offset >= b->head && offset < b->wrap);
	return offset >= b->head && offset < b->tail;
}

/* Behind the record at @offset; equal to the tail behind the youngest. */
static size_t behind(const struct framebuf *b, size_t offset)
{
	offset += framebuf_bytes_of(at(b, offset)->len);
	return b->wrap && offset == b->wrap ? 0 : offset;
}

struct kept *framebuf_next(struct framebuf *b, struct kept *k)
{
	size_t offset = offset_of(b, k);

	/* Dropped, and all before it are gone as well: what is there is younger. */
	if (!is_used(b, offset))
		return framebuf_first(b);
	while ((offset = behind(b, offset)) != b->tail)
		if (!at(b, offset)->gone)
			return at(b, offset);
	return NULL;
}

void framebuf_drop(struct framebuf *b, struct kept *k)
{
	if (k->gone)
		return;
	k->gone = true;
	b->count--;
	if (!b->count) {
		framebuf_clear(b);
		return;
	}
	while (at(b, b->head)->gone) {
		size_t next = behind(b, b->head);

		b->used_bytes -= framebuf_bytes_of(at(b, b->head)->len);
		if (next < b->head)
			b->wrap = 0;
		b->head = next;
	}
}
