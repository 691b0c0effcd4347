// SPDX-License-Identifier: GPL-2.0-or-later
/* The guest's pause: stop, then capture and save side by side, then cont. */
#include "colod/checkpoint/primary-priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_CALL_TIMEOUT_MS 30000

static void pause_fail(struct primary *p, const char *what, int status, const char *desc)
{
	if (!p->pause_failed)
		err_set(&p->last_err, -status, "%s: %s", what, desc);
	p->pause_failed = true;
}

static void on_status(struct primary *p, const struct qmp_reply *r)
{
	struct json_object *running;

	if (!r->status && json_object_object_get_ex(r->ret, "running", &running))
		p->was_running = json_object_get_boolean(running);
}

static void on_stop(struct primary *p, const struct qmp_reply *r)
{
	p->stopped_at_us = clock_now_us();
	if (r->status) {
		pause_fail(p, "QEMU could not stop the guest", r->status, r->desc);
		p->captured = p->packets_closed = true; /* nothing to capture */
		primary_pause_step(p);
		return;
	}
	p->sample.stop_us = (uint32_t)(p->stopped_at_us - p->stop_at_us);
	primary_submit(p, &p->ckpt_job, TX_CAPTURE);
	primary_packets_close(p);
}

static void on_save(struct primary *p, const struct qmp_reply *r)
{
	const struct guest *g = p->env->guest;
	off_t size = lseek(g->devstate_pos_fd, 0, SEEK_CUR);

	p->saved = true;
	p->devices_bytes = size > 0 ? (uint64_t)size : 0;
	if (r->status)
		pause_fail(p, "QEMU could not save the device state", r->status, r->desc);
	else if (!p->devices_bytes || p->devices_bytes > g->vmstate_max_bytes)
		pause_fail(p, "QEMU could not save the device state", -EFBIG,
			   "it is empty or larger than colod's room for it");
	else
		p->sample.save_us = (uint32_t)(clock_now_us() - p->stopped_at_us);
	primary_pause_step(p);
}

static void on_cont(struct primary *p, const struct qmp_reply *r)
{
	uint64_t now = clock_now_us();

	if (r->status) { /* the secondary's guest can run, ours cannot */
		ckpt_event(p->env, FSM_EV_QEMU_DEAD, "QEMU could not run the guest again: %s",
			   r->desc);
		return;
	}
	if (p->phase != PRIMARY_SEND)
		return;
	p->resumed = true;
	p->resumed_at_us = now;
	p->sample.pause_us = (uint32_t)(now - p->stop_at_us);
	p->sample.cont_us = (uint32_t)(now - p->cont_at_us);
	primary_send(p);
}

static void on_call(void *arg, const struct qmp_reply *r)
{
	static void (*const handlers[CALL_COUNT])(struct primary *, const struct qmp_reply *) = {
		[CALL_STATUS] = on_status,
		[CALL_STOP] = on_stop,
		[CALL_SAVE] = on_save,
		[CALL_CONT] = on_cont,
	};
	struct pause_slot *s = arg;
	struct primary *p = s->p;

	p->calls--;
	if (p->stale_calls) {
		p->stale_calls--;
		if (s->call == CALL_CONT && r->status == -EREMOTEIO)
			on_cont(p, r); /* the session is over, but the guest stands still */
		return;
	}
	handlers[s->call](p, r);
}

/* @args is taken over. A command that cannot be sent at all is answered like one that failed. */
static void send_call(struct primary *p, enum pause_call call, const char *name,
		      struct json_object *args)
{
	struct qmp_cmd cmd = {.name = name,
			      .args = args,
			      .fd = -1,
			      .timeout_ms = PAUSE_CALL_TIMEOUT_MS,
			      .fn = on_call,
			      .arg = &p->slots[call]};
	int r = qmp_loop_send(p->env->guest->qmp, &cmd);

	p->slots[call] = (struct pause_slot){.p = p, .call = call};
	if (!r)
		p->calls++;
	else
		pause_fail(p, name, r, "the QMP connection is closed");
}

static struct json_object *save_args(const struct guest *g)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "filename", json_object_new_string(g->devstate_path));
	/* Not live: else QEMU gives up its block devices, as if the guest went on elsewhere. */
	json_object_object_add(args, "live", json_object_new_boolean(false));
	return args;
}

/* Asked ahead of the pause: a guest that stands still for another reason is not ours to run. */
void primary_ask_status(struct primary *p)
{
	p->was_running = true;
	send_call(p, CALL_STATUS, "query-status", NULL);
	/* The next command is stop. Should the checkpoint end before, another one takes its place.
	 */
	qmp_loop_prime(p->env->guest->qmp);
}

void primary_pause(struct primary *p)
{
	p->phase = PRIMARY_PAUSE;
	p->pause_failed = false;
	p->sample = (struct ckpt_sample){};
	p->captured = p->hashed = p->saved = p->resumed = p->packets_closed = p->packets_left =
		false;
	p->holding = true;
	lseek(p->env->guest->devstate_pos_fd, 0, SEEK_SET);
	/* QEMU runs these in order; saving goes on while we scan and copy. */
	primary_packets_before_stop(p);
	p->stop_at_us = clock_now_us();
	send_call(p, CALL_STOP, "stop", NULL);
	send_call(p, CALL_SAVE, "xen-save-devices-state", save_args(p->env->guest));
	/* While QEMU saves: the next command is cont. */
	qmp_loop_prime(p->env->guest->qmp);
}

void primary_run_guest(struct primary *p)
{
	if (!p->holding)
		return;
	p->holding = false;
	p->cont_at_us = clock_now_us();
	if (p->was_running)
		send_call(p, CALL_CONT, "cont", NULL);
	else
		p->resumed = true;
}

/* Only when the guest runs again: sending would compete with the thread that resumes it. */
void primary_send(struct primary *p)
{
	if (p->phase != PRIMARY_SEND || !p->resumed || p->link != PRIMARY_LINKED)
		return;
	p->ckpt_job.flags = p->flags;
	p->ckpt_job.devices_bytes = p->devices_bytes;
	primary_set_peer_holds(p, true); /* whether we hear of it or not */
	primary_submit(p, &p->ckpt_job, TX_FINISH);
}

void primary_pause_step(struct primary *p)
{
	struct err why;

	if (p->phase != PRIMARY_PAUSE || !p->captured || !p->saved || !p->packets_closed)
		return;
	if (p->pause_failed) {
		why = p->last_err;
		primary_run_guest(p);
		primary_abort(p, "checkpoint failed", &why);
		primary_resume_step(p);
		return;
	}
	if ((p->flags & WIRE_EPOCH_VERIFY) && !p->hashed) {
		p->hashed = true;
		primary_submit(p, &p->ckpt_job, TX_HASH);
		return;
	}
	p->phase = PRIMARY_SEND;
	if (p->flags & WIRE_EPOCH_SWITCH)
		p->resumed = true; /* the guest goes on on the other host */
	else
		primary_run_guest(p);
	primary_send(p);
	primary_resume_step(p);
}
