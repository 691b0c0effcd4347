// SPDX-License-Identifier: GPL-2.0-or-later
/* A session outlives its packet connection: what a break does to each side, and how it goes on. */
#include "proxy/proxy-priv.h"

#include "base/cleanup.h"

/*
 * What was on its way when the connection broke is lost, in both directions, and so is what either
 * guest was given or said until there is another one. None of it is said again:
 *
 * - What the primary's guest says is held, of an epoch that is closed for that one's commit, all else
 *   for the commit of the next (S1). Nothing is compared until that is closed: a packet of the
 *   secondary might be taken for another one that is missing, and the secondary might not hear how
 *   its numbers differ in a connection that begins.
 * - The secondary keeps what its guest says, and sends at a take-over what the primary is not known
 *   to have let out. The frames to the primary's guest count on, so that it knows which it misses.
 * - Of an epoch that is closed and not committed, all that it must know before the commit is said
 *   again: it may have come or not, and changes nothing if it has.
 */

/* With a reason to look again at all that the daemon may have been told while it could do nothing. */
static void ask_again(struct proxy *p)
{
	compare_suspend(p->compare);
	compare_lost(p->compare, "the link was broken", clock_now_us());
	p->told_waiting = false;
	primary_side_tell_waiting(p);
}

void link_was_cut(struct proxy *p)
{
	p->cut = false;
	if (p->side != SIDE_PRIMARY)
		return;
	compare_suspend(p->compare);
	p->compares = false;
}

void link_end(struct proxy *p)
{
	relay_end(p);
	if (p->side == SIDE_SECONDARY)
		chan_io_drain(p); /* what has come counts */
	chan_io_flush(p);
	chan_io_close(p);
}

void link_rejoin(struct proxy *p)
{
	struct err e = {};

	if (ports_join(p, &e))
		proxy_complain(p, &e);
	ports_announce(p);
}

static void resume_primary(struct proxy *p)
{
	uint64_t awaited = compare_awaited(p->compare);

	p->cut = p->compares = false;
	if (awaited && p->closed)
		primary_side_tell_closed(p, awaited);
	for (unsigned i = 0; i < p->config.nic_count; i++)
		primary_side_tell_again(&p->ports[i]);
	ask_again(p);
}

void link_resume(struct proxy *p, struct proxy_call *c)
{
	if (p->side != SIDE_PRIMARY && p->side != SIDE_SECONDARY) {
		close_fd(&c->fd);
		proxy_tell(p, TALE_LOST, 0, "no session that could go on");
		return;
	}
	p->peer_mute = false;
	if (chan_io_open(p, c->fd)) {
		chan_io_close(p);
		proxy_tell(p, TALE_LOST, 0, "no memory for the packet connection");
		return;
	}
	if (p->side == SIDE_PRIMARY)
		resume_primary(p);
}

void link_shut(struct proxy *p)
{
	struct err e = {};

	if (p->side == SIDE_SECONDARY || p->side == SIDE_RELAY)
		return; /* it is not heard */
	p->shut = true;
	compare_unseen(p->compare);
	ports_shut(p, &e);
	if (e.code)
		proxy_complain(p, &e);
}

void link_unshut(struct proxy *p)
{
	uint64_t due = p->commit_due;

	if (!p->shut)
		return;
	p->shut = false;
	p->commit_due = 0;
	compare_unseen(p->compare);
	compare_lost(p->compare, "the guest was shut off from the network", clock_now_us());
	link_rejoin(p);
	if (due)
		primary_side_commit(p, due);
}
