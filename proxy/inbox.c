// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers and marks of kept frames: which ones are forgotten, and which ones a replica is given. */
#include "proxy/inbox.h"

#include "base/util.h"

#include <string.h>

int inbox_init(struct inbox *in, unsigned nic_count, size_t bytes, uint32_t frames)
{
	*in = (struct inbox){.nic_count = nic_count};
	return framebuf_init(&in->frames, bytes, frames);
}

void inbox_destroy(struct inbox *in)
{
	framebuf_destroy(&in->frames);
}

void inbox_attach(struct inbox *in, uint64_t epoch)
{
	framebuf_clear(&in->frames);
	memset(in->nics, 0, sizeof(in->nics));
	memset(in->marks, 0, sizeof(in->marks));
	in->committed = in->loaded = in->settled = epoch;
	in->unmarked = false;
	in->losses = 0;
}

/* Below the youngest mark it is most likely part of the checkpoint to come. */
static void forget_oldest(struct inbox *in)
{
	struct kept *k = framebuf_first(&in->frames);
	struct inbox_nic *n = &in->nics[k->nic];

	n->forgotten = k->number;
	if (k->number > n->injected && k->number > n->marked) {
		n->counted = k->number;
		in->losses++;
	}
	framebuf_drop(&in->frames, k);
}

/* Frames before @number that the connection had no room for. As above those up to the youngest mark
 * are no loss yet; inbox_count_missed() finds them if a replica would need them after all. */
static void note_gap(struct inbox *in, struct inbox_nic *n, uint64_t number)
{
	uint64_t from = MAX(n->last, n->marked), upto = number - 1;

	if (upto == n->last)
		return;
	n->forgotten = upto;
	if (upto <= from)
		return;
	n->counted = upto;
	in->losses += upto - from;
}

bool inbox_add(struct inbox *in, uint8_t nic, uint64_t number, const void *data, size_t len)
{
	struct inbox_nic *n = &in->nics[nic];
	struct kept *k;

	if (number <= n->last)
		return false;
	note_gap(in, n, number);
	n->last = number;
	if (number <= n->base)
		return false;
	while (!(k = framebuf_add(&in->frames, data, len, NULL, 0)) &&
	       !framebuf_is_empty(&in->frames))
		forget_oldest(in);
	if (!k) {
		n->forgotten = number;
		return true;
	}
	k->nic = nic;
	k->number = number;
	return true;
}

void inbox_skip(struct inbox *in, uint8_t nic, uint64_t number)
{
	struct inbox_nic *n = &in->nics[nic];

	if (number > n->last)
		n->last = n->forgotten = n->counted = number;
}

bool inbox_is_due(const struct inbox *in, uint8_t nic, uint64_t number)
{
	return number > in->nics[nic].injected;
}

void inbox_given(struct inbox *in, uint8_t nic, uint64_t number)
{
	in->nics[nic].injected = MAX(in->nics[nic].injected, number);
}

struct kept *inbox_next(struct inbox *in, struct kept *k)
{
	k = k ? framebuf_next(&in->frames, k) : framebuf_first(&in->frames);
	while (k && !inbox_is_due(in, k->nic, k->number))
		k = framebuf_next(&in->frames, k);
	return k;
}

void inbox_count_missed(struct inbox *in)
{
	for (unsigned i = 0; i < in->nic_count; i++) {
		struct inbox_nic *n = &in->nics[i];
		uint64_t from = MAX(n->injected, n->counted);

		if (n->forgotten <= from)
			continue;
		in->losses += n->forgotten - from;
		n->counted = n->forgotten;
	}
}

static bool is_complete(const struct inbox *in, const struct inbox_marks *m)
{
	return m && m->nics == BIT(in->nic_count) - 1;
}

static const struct inbox_marks *find(const struct inbox *in, uint64_t epoch)
{
	for (unsigned i = 0; i < INBOX_MARKS; i++)
		if (in->marks[i].epoch == epoch)
			return &in->marks[i];
	return NULL;
}

/* The marks of @epoch; new ones in place of the oldest. NULL: of no use any more. */
static struct inbox_marks *get(struct inbox *in, uint64_t epoch)
{
	struct inbox_marks *m = in->marks;

	for (unsigned i = 0; i < INBOX_MARKS; i++) {
		if (in->marks[i].epoch == epoch)
			return &in->marks[i];
		if (in->marks[i].epoch < m->epoch)
			m = &in->marks[i];
	}
	if (m->epoch > epoch)
		return NULL;
	*m = (struct inbox_marks){.epoch = epoch};
	return m;
}

/* No guest will need frames up to the marks of a committed checkpoint. */
static void settle(struct inbox *in, const struct inbox_marks *m)
{
	struct kept *k = framebuf_first(&in->frames), *next;

	for (unsigned i = 0; m && i < in->nic_count; i++)
		if (m->nics & BIT(i))
			in->nics[i].base = MAX(in->nics[i].base, m->mark[i]);
	if (in->nic_count == 0 || is_complete(in, m))
		in->settled = in->committed;
	for (; k; k = next) {
		next = framebuf_next(&in->frames, k);
		if (k->number <= in->nics[k->nic].base)
			framebuf_drop(&in->frames, k);
	}
}

/* The replica has read just what its checkpoint's marks say: it is the last one committed. */
static void place(struct inbox *in, const struct inbox_marks *m)
{
	for (unsigned i = 0; i < in->nic_count; i++)
		in->nics[i].injected = in->nics[i].base;
	in->unmarked = in->loaded > in->settled && !is_complete(in, m);
}

/* Losses up to now are made up for by this checkpoint, but for those above its marks. */
static void excuse(struct inbox *in, const struct inbox_marks *m)
{
	in->losses = 0;
	for (unsigned i = 0; i < in->nic_count; i++)
		in->nics[i].counted = MIN(in->nics[i].counted, m->mark[i]);
}

bool inbox_mark(struct inbox *in, uint64_t epoch, uint8_t nic, uint64_t mark)
{
	struct inbox_marks *m;
	bool again;

	if (epoch <= in->settled || !(m = get(in, epoch)))
		return false;
	again = is_complete(in, m);
	m->nics |= BIT(nic);
	m->mark[nic] = mark;
	in->nics[nic].marked = MAX(in->nics[nic].marked, mark);
	if (!is_complete(in, m))
		return false;
	if (!again)
		excuse(in, m);
	if (epoch == in->committed)
		settle(in, m);
	if (epoch == in->loaded && in->unmarked)
		place(in, m);
	return true;
}

void inbox_unmark(struct inbox *in, uint64_t epoch)
{
	for (unsigned i = 0; i < INBOX_MARKS; i++)
		if (epoch > in->committed && in->marks[i].epoch == epoch)
			in->marks[i].nics = 0;
}

bool inbox_is_marked(const struct inbox *in, uint64_t epoch)
{
	return !in->nic_count || epoch <= in->settled || is_complete(in, find(in, epoch));
}

void inbox_commit(struct inbox *in, uint64_t epoch)
{
	if (epoch <= in->committed)
		return;
	in->committed = epoch;
	settle(in, find(in, epoch));
}

void inbox_load(struct inbox *in, uint64_t epoch)
{
	in->loaded = epoch;
	place(in, find(in, epoch));
}
