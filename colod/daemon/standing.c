// SPDX-License-Identifier: GPL-2.0-or-later
/* The state file: what this host's guest is, written before it comes true, for a colod after us. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/qemu/qemu-adopt.h"
#include "colod/qemu/qemu-spawn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An epoch that has moved on is no reason of its own to write sooner. */
#define EPOCH_US USEC_PER_SEC

int daemon_standing_init(struct daemon *d, struct err *e)
{
	if (asprintf(&d->state_path, "%s/%s.state", d->config->runtime_dir, d->config->name) < 0)
		d->state_path = NULL;
	if (asprintf(&d->flows_path, "%s/%s.flows", d->config->runtime_dir, d->config->name) < 0)
		d->flows_path = NULL;
	return d->state_path && d->flows_path ? 0 : err_errno(e, ENOMEM, "state file");
}

/*
 * Rather no file than a wrong one: a colod that finds none does not touch the QEMU that it finds, and
 * says so.
 */
static void write_noted(struct daemon *d)
{
	char text[STATEFILE_MAX];
	size_t len = statefile_format(&d->noted, text);
	int r = io_replace_file(d->state_path, text, len);

	d->noted_state_at_us = clock_now_us();
	if (!r)
		return;
	unlink(d->state_path);
	log_err("main",
		"cannot write %s (%s): if colod ends now, its QEMU is not found when it is started "
		"again",
		d->state_path, strerrorname_np(-r));
}

static bool has_changed(const struct statefile *a, const struct statefile *b)
{
	return a->standing != b->standing || a->guest_stopped != b->guest_stopped ||
	       a->link_paused != b->link_paused || a->session != b->session;
}

static bool has_whole_session(enum standing s)
{
	return s == STANDING_PROTECTED || s == STANDING_YIELDED;
}

static void note(struct daemon *d, enum standing s)
{
	struct statefile next = d->noted;

	if (!d->noted.qemu_pid || d->ending)
		return;
	next.standing = s;
	next.guest_stopped = d->guest_stopped;
	next.link_paused = d->by_order;
	next.session = has_whole_session(s) ? d->session : 0;
	next.epoch = d->guest ? daemon_epoch(d) : 0;
	if (!has_changed(&next, &d->noted) &&
	    (next.epoch == d->noted.epoch || clock_now_us() - d->noted_state_at_us < EPOCH_US))
		return;
	d->noted = next;
	write_noted(d);
}

void daemon_note_standing(struct daemon *d, enum standing s)
{
	/* Only a replica that goes live changes, whatever is said of what was before. */
	if (d->role == ROLE_SECONDARY && d->state != FSM_FAILOVER)
		s = STANDING_REPLICA;
	note(d, s);
}

void daemon_note(struct daemon *d)
{
	daemon_note_standing(d, d->noted.standing);
}

static void note_nics(struct statefile *s, const struct config *c)
{
	s->nic_count = c->nic_count;
	for (unsigned i = 0; i < c->nic_count; i++) {
		memcpy(s->nics[i].tap, c->nics[i].tap, sizeof(s->nics[i].tap));
		memcpy(s->nics[i].mac, c->nics[i].mac, sizeof(s->nics[i].mac));
		s->nics[i].mtu = c->nics[i].mtu;
		s->nics[i].fd = QEMU_FD_TAP + (int)i;
	}
}

void daemon_note_start(struct daemon *d)
{
	const struct config *c = d->config;
	struct statefile s = {.standing = STANDING_STARTING,
			      .qemu_pid = qemu_guest(d->qemu)->pid,
			      .ram_fd = QEMU_FD_RAM,
			      .uffd_fd = d->track_kind == TRACK_PAGEMAP_SCAN ? QEMU_FD_UFFD : -1,
			      .memory_bytes = c->memory_bytes,
			      .memory_page_bytes = c->memory_page_bytes,
			      .tracking = d->track_kind};

	process_boot_id(s.boot_id);
	if (process_started(s.qemu_pid, &s.qemu_started))
		return; /* it has ended; or /proc is not there, and it could not be found again */
	note_nics(&s, c);
	d->noted = s;
	write_noted(d);
}

void daemon_note_end(struct daemon *d)
{
	if (!d->noted.qemu_pid)
		return;
	d->noted = (struct statefile){};
	unlink(d->state_path);
	daemon_fds_forget(d);
}
