// SPDX-License-Identifier: GPL-2.0-or-later
/* Which mirrored frame the guest's QEMU has read last: arithmetic over counters. Pure. */
#include "proxy/tapcount.h"

#include "base/util.h"

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void set_origin(struct tapcount *c, const struct tapcount_now *now)
{
	c->number = now->mirrored;
	c->read = now->read;
	c->dropped = now->dropped;
	c->lost = now->lost;
}

void tapcount_start(struct tapcount *c, const struct tapcount_now *now, uint32_t held)
{
	set_origin(c, now);
	c->given = now->mirrored;
	c->held = held;
}

/* A counter that ran backwards belongs to another tap or mirror. */
static bool ran_backwards(const struct tapcount *c, const struct tapcount_now *now)
{
	return now->mirrored < c->number || now->read < c->read || now->dropped < c->dropped ||
	       now->lost < c->lost;
}

/* Every frame mirrored or missed so far was read or dropped. */
static bool nothing_waits(const struct tapcount *c, const struct tapcount_now *now)
{
	return !ran_backwards(c, now) && now->mirrored - c->number + now->lost - c->lost ==
						 now->read - c->read + now->dropped - c->dropped;
}

/* All that was dropped may have come after the last one read; what the mirror missed has no
 * number; the owner may hold the last ones, be they from before the origin. */
static uint64_t surely_given(const struct tapcount *c, uint64_t read, uint64_t lost)
{
	if (read < c->held)
		return c->given;
	return MAX(less(c->number + read, lost + c->held), c->given);
}

struct tapcount_place tapcount_place(const struct tapcount *c, const struct tapcount_now *now)
{
	uint64_t read = less(now->read, c->read), dropped = less(now->dropped, c->dropped);
	uint64_t lost = less(now->lost, c->lost);
	uint64_t queued = less(now->mirrored, c->number) + lost;
	struct tapcount_place p = {
		.at_least = surely_given(c, read, lost),
		/* All that was dropped may have come before the last one read. */
		.at_most = MIN(c->number + read + dropped, now->mirrored),
		.waiting = less(queued, read + dropped),
	};

	if (!c->held && nothing_waits(c, now))
		p.at_least = p.at_most = now->mirrored;
	p.at_least = MIN(p.at_least, now->mirrored);
	p.at_most = MAX(p.at_most, p.at_least);
	p.is_exact = !ran_backwards(c, now) && queued >= read + dropped &&
		     p.at_most - p.at_least <= (dropped || lost ? 0 : c->held);
	return p;
}

uint64_t tapcount_due(const struct tapcount *c, const struct tapcount_now *now)
{
	return c->number + less(now->read, c->read) + less(now->dropped, c->dropped);
}

bool tapcount_settle(struct tapcount *c, const struct tapcount_now *now)
{
	if (!nothing_waits(c, now))
		return false;
	c->given = tapcount_place(c, now).at_least;
	set_origin(c, now);
	return true;
}
