// SPDX-License-Identifier: GPL-2.0-or-later
/* The guest's life as QEMU reports it: runs, stops, resets, shutdown, panic. */
#include "colod/daemon/daemon-priv.h"

#include <errno.h>
#include <string.h>

static void on_run_reply(void *arg, const struct qmp_reply *r)
{
	struct daemon *d = arg;

	if (r->status && !d->ending) {
		char reason[ERR_MSG_MAX];

		snprintf(reason, sizeof(reason), "QEMU could not run the guest: %s", r->desc);
		daemon_event(d, FSM_EV_QEMU_DEAD, reason);
	}
}

void daemon_run_guest(struct daemon *d)
{
	struct qmp_cmd cmd = {.name = "cont", .fd = -1, .fn = on_run_reply, .arg = d};
	struct qmp_reply gone = {.status = -ECONNRESET, .desc = "the QMP connection is closed"};

	if (qmp_loop_send(d->guest->qmp, &cmd))
		on_run_reply(d, &gone);
}

static void on_stop_reply(void *arg, const struct qmp_reply *r)
{
	struct daemon *d = arg;

	if (r->status && !d->ending)
		log_err("guest", "QEMU could not stop the guest: %s", r->desc);
}

void daemon_stop_guest(struct daemon *d)
{
	struct qmp_cmd cmd = {.name = "stop", .fd = -1, .fn = on_stop_reply, .arg = d};

	/* A connection that is gone is noticed elsewhere. */
	qmp_loop_send(d->guest->qmp, &cmd);
}

static void on_resume(void *arg, const char *event, struct json_object *data, uint64_t at_us)
{
	struct daemon *d = arg;

	(void)event, (void)data, (void)at_us;
	d->guest_runs = true;
	d->guest_stopped = false;
	daemon_note(d);
}

static void on_stop(void *arg, const char *event, struct json_object *data, uint64_t at_us)
{
	struct daemon *d = arg;

	(void)event, (void)data, (void)at_us;
	d->guest_runs = false;
	d->guest_stopped = d->role == ROLE_PRIMARY && d->state != FSM_GIVEN &&
			   !primary_holds_guest(d->primary);
	if (d->guest_stopped) /* a checkpoint's pause has no time for it */
		daemon_note(d);
}

static void on_reset(void *arg, const char *event, struct json_object *data, uint64_t at_us)
{
	struct daemon *d = arg;

	(void)event, (void)data, (void)at_us;
	d->guest_panicked = false;
	if (d->role != ROLE_PRIMARY) {
		secondary_guest_was_reset(d->secondary);
		return;
	}
	log_notice("guest", "reset");
	primary_trigger(d->primary, CKPT_BY_GUEST_RESET);
}

static bool is_reason(struct json_object *data, const char *text)
{
	struct json_object *reason;

	return json_object_object_get_ex(data, "reason", &reason) &&
	       !strcmp(json_object_get_string(reason), text);
}

/* A "shutdown" that QEMU makes because it is ending itself is told by its exit. */
static bool is_guests_doing(struct json_object *data)
{
	return !is_reason(data, "host-qmp-quit") && !is_reason(data, "host-signal");
}

static void on_shutdown(void *arg, const char *event, struct json_object *data, uint64_t at_us)
{
	struct daemon *d = arg;

	(void)event, (void)at_us;
	if (d->ending || !is_guests_doing(data))
		return;
	if (d->role == ROLE_SECONDARY && is_reason(data, "host-qmp-system-reset")) {
		secondary_reset_was_a_shutdown(d->secondary);
		return;
	}
	if (d->role == ROLE_SECONDARY)
		secondary_guest_was_shut_down(d->secondary);
	daemon_event(d, FSM_EV_GUEST_SHUTDOWN, "the guest shut down");
}

static void on_panic(void *arg, const char *event, struct json_object *data, uint64_t at_us)
{
	struct daemon *d = arg;

	(void)event, (void)data, (void)at_us;
	if (d->role != ROLE_PRIMARY)
		return;
	d->guest_panicked = true;
	log_warn(
		"guest",
		"the guest's kernel panicked; its secondary has the same kernel in the same state");
}

void daemon_guest_init(struct daemon *d)
{
	static const struct {
		const char *event;
		qmp_event_fn fn;
	} wanted[DAEMON_QMP_EVENTS] = {
		{"RESUME", on_resume},        {"STOP", on_stop},
		{"RESET", on_reset},          {"SHUTDOWN", on_shutdown},
		{"GUEST_PANICKED", on_panic},
	};

	for (int i = 0; i < DAEMON_QMP_EVENTS; i++) {
		d->subs[i].event = wanted[i].event;
		d->subs[i].fn = wanted[i].fn;
		d->subs[i].arg = d;
		qmp_client_subscribe(qmp_loop_client(d->guest->qmp), &d->subs[i]);
	}
}
