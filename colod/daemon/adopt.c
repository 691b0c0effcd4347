// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest that an earlier colod left running: found, taken over, gone on with as what it was. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A killed QEMU gives back its memory: 0.1 s for each GB. */
#define DYING_MS 10000

/* ---- finding ---- */

/*
 * Nobody knows how it ended. If the other host could have gone on from a checkpoint, a guest that
 * is started here may be the second one, and a restart by itself is no operator's word (S3).
 */
static int check_gone(struct daemon *d, const struct statefile *s, struct err *e)
{
	bool elsewhere = s->standing != STANDING_STARTING && s->standing != STANDING_ALONE;

	if (d->role == ROLE_PRIMARY && elsewhere && d->config->arbiter == ARBITER_NONE)
		return err_set(e, EEXIST,
			       "the guest was \"%s\" here when colod and QEMU ended, so it may run "
			       "on the other host: start with --secondary; or, if it runs nowhere, "
			       "remove %s",
			       standing_name(s->standing), d->state_path);
	unlink(d->state_path);
	return 0;
}

/* Nobody has seen anything of it. */
static int end_unused(struct daemon *d, int pidfd, struct err *e)
{
	int r = qemu_end_found(pidfd, e);

	if (!r)
		unlink(d->state_path);
	return r;
}

static int cannot(const struct statefile *s, struct err *e)
{
	return err_prefix(e,
			  "QEMU (process %d) runs this guest and is left alone: it cannot be taken "
			  "over. Mend this and start again, or end it",
			  (int)s->qemu_pid);
}

/* The taps go where those of a new guest do. */
static int fetch(struct daemon *d, const struct statefile *s, int pidfd, struct err *e)
{
	struct qemu_fds_kept *fds = &d->found_fds;
	int r;

	memset(fds, -1, sizeof(*fds));
	daemon_fds_take(d, s);
	d->found_kept = fds->ram >= 0;
	r = qemu_fetch_fds(fds, s, pidfd, e);
	memcpy(d->tap_fds, fds->taps, sizeof(d->tap_fds));
	if (!r)
		return 0;
	close_fd(&fds->ram);
	close_fd(&fds->uffd);
	daemon_taps_close(d);
	return r;
}

int daemon_find(struct daemon *d, struct err *e)
{
	autofree char *text = NULL;
	autoclose int pidfd = -1;
	struct statefile s;
	int r = io_read_file(d->state_path, &text, e);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (statefile_parse(&s, text, e))
		return err_prefix(e, "%s, which tells of a running QEMU", d->state_path);
	pidfd = qemu_find(&s, e);
	if (pidfd == -ESRCH)
		return check_gone(d, &s, e);
	if (pidfd < 0)
		return pidfd;
	if (s.standing == STANDING_STARTING)
		return end_unused(d, pidfd, e);
	if (statefile_fits(&s, d->config, e))
		return cannot(&s, e);
	if (fetch(d, &s, pidfd, e))
		return qemu_has_ended(pidfd, DYING_MS) ? check_gone(d, &s, e) : cannot(&s, e);
	d->found_pidfd = steal_fd(&pidfd);
	d->noted = s;
	return 1;
}

int daemon_adopt(struct daemon *d, const struct qemu_handlers *h, struct err *e)
{
	struct statefile *s = &d->noted;

	if (standing_role(s->standing) != d->role)
		log_notice("main", "the guest that runs here makes this host the %s",
			   role_name(standing_role(s->standing)));
	d->role = standing_role(s->standing);
	d->track_kind = s->tracking;
	for (unsigned i = 0; i < s->nic_count; i++)
		d->config->nics[i].mtu = s->nics[i].mtu;
	log_notice("qemu", "found pid=%d standing=%s epoch=%llu descriptors=%s", (int)s->qemu_pid,
		   standing_name(s->standing), (unsigned long long)s->epoch,
		   d->found_kept ? "systemd" : "process");
	d->found = true;
	if (qemu_adopt(&d->qemu, d->loop, d->config, s, steal_fd(&d->found_pidfd), &d->found_fds, h,
		       d, e))
		return cannot(s, e);
	return 0;
}

void daemon_left(struct daemon *d, const struct err *why)
{
	d->result_err = *why;
	d->result = cannot(&d->noted, &d->result_err);
}

/* ---- going on ---- */

enum proxy_found daemon_packets_found(const struct daemon *d)
{
	if (!d->found)
		return PROXY_FOUND_NOTHING;
	switch (d->noted.standing) {
	case STANDING_REPLICA:
		return PROXY_FOUND_REPLICA;
	case STANDING_ALONE: /* unless somebody else has to say so again */
		return d->config->arbiter == ARBITER_NONE ? PROXY_FOUND_PASSING : PROXY_FOUND_HELD;
	default:
		return PROXY_FOUND_HELD;
	}
}

static bool is_one_of(const char *state, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(state, *list))
			return true;
	return false;
}

/* QEMU lets no guest run that ended so before it has been reset. */
static bool needs_reset(const char *state)
{
	static const char *const list[] = {"guest-panicked", "internal-error", "shutdown", NULL};

	return is_one_of(state, list);
}

/* What stands still for a checkpoint; not for an error, and not by its own will. */
static bool is_paused(const char *state)
{
	static const char *const list[] = {"paused", "prelaunch", "restore-vm", "save-vm", NULL};

	return is_one_of(state, list);
}

/* The guest of this host is the one that lives. */
static void run_again(struct daemon *d)
{
	const char *state = qemu_runstate(d->qemu);

	d->guest_stopped = d->noted.guest_stopped;
	d->guest_runs = !strcmp(state, "running");
	d->guest_panicked = !strcmp(state, "guest-panicked");
	if (is_paused(state) && !d->guest_stopped)
		daemon_run_guest(d);
	else if (!d->guest_runs)
		log_notice("guest", "stands still: %s", state);
}

/* Output waits already; what comes in reaches the guest, and is counted for the session to come. */
static void go_on_held(struct daemon *d)
{
	d->start_epoch = d->epoch;
	daemon_packets_attach(d);
	daemon_session_found(d);
}

static void go_on_alone(struct daemon *d)
{
	if (d->config->arbiter == ARBITER_NONE) {
		d->state = FSM_SOLO;
		d->alone = true;
		daemon_packets_pass(d);
		run_again(d);
		link_dial(d->link);
		return;
	}
	d->state = FSM_PAUSED;
	go_on_held(d);
	run_again(d);
	daemon_ask(d, ASKS);
}

static void go_on_as_primary(struct daemon *d)
{
	enum standing was = d->noted.standing;

	primary_set_peer_holds(d->primary, true);
	daemon_note_standing(d, was);
	d->state = was == STANDING_YIELDED ? FSM_GIVEN : FSM_PAUSED;
	go_on_held(d);
	if (d->state == FSM_PAUSED) {
		run_again(d);
		return;
	}
	daemon_packets_shut(d);
	if (!strcmp(qemu_runstate(d->qemu), "running"))
		daemon_stop_guest(d);
}

static void go_on_as_secondary(struct daemon *d)
{
	const char *state = qemu_runstate(d->qemu);

	d->session = 0;
	if (!strcmp(state, "running"))
		daemon_stop_guest(d);
	else if (needs_reset(state))
		secondary_guest_was_shut_down(d->secondary);
}

void daemon_go_on(struct daemon *d)
{
	enum standing s = d->noted.standing;

	d->started = true;
	d->epoch = d->noted.epoch;
	d->session = d->noted.session;
	d->by_order = d->noted.link_paused && s == STANDING_PROTECTED;
	if (s == STANDING_REPLICA)
		go_on_as_secondary(d);
	else if (s == STANDING_ALONE)
		go_on_alone(d);
	else
		go_on_as_primary(d);
	log_notice("main", "goes on as %s, state %s", role_name(d->role), fsm_state_name(d->state));
	if (s != STANDING_REPLICA && !strcmp(qemu_runstate(d->qemu), "shutdown"))
		daemon_event(d, FSM_EV_GUEST_SHUTDOWN, "the guest shut down while colod was away");
}

/* ---- another version of colod ---- */

#define UPGRADE_AGAIN_US (2 * USEC_PER_MSEC)
#define UPGRADE_TRIES    250

/*
 * The process goes on as another program, which finds the guest as after a crash: with one way
 * there is one to get right. Better not while the guest stands still for a checkpoint.
 */
static void on_upgrade(void *arg)
{
	struct daemon *d = arg;

	if (d->ending)
		return;
	if (primary_holds_guest(d->primary) && d->upgrade_tries++ < UPGRADE_TRIES) {
		loop_timer_arm(d->upgrade_timer, UPGRADE_AGAIN_US);
		return;
	}
	daemon_note(d);
	log_notice("main", "is started anew from %s", d->program->path);
	close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	execv(d->program->path, d->program->argv);
	log_err("main", "cannot run %s: %s; this colod goes on", d->program->path,
		strerrorname_np(errno));
}

int daemon_upgrade(struct daemon *d, struct err *e)
{
	if (access(d->program->path, X_OK))
		return err_errno(e, errno, "cannot run %s", d->program->path);
	if (!d->noted.qemu_pid)
		return err_set(e, EBUSY, "%s could not be written", d->state_path);
	if (d->state == FSM_HANDOVER || d->state == FSM_GIVEN || d->state == FSM_FAILOVER ||
	    d->ending)
		return err_set(e, EBUSY, "not in state %s: try again", fsm_state_name(d->state));
	d->upgrade_tries = 0;
	loop_timer_arm(d->upgrade_timer, UPGRADE_AGAIN_US);
	return 0;
}

int daemon_upgrade_init(struct daemon *d)
{
	return loop_add_timer(d->loop, &d->upgrade_timer, on_upgrade, d);
}
