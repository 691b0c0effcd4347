// SPDX-License-Identifier: GPL-2.0-or-later
/* QMP commands that clean up a running QEMU behind a colod that is gone. */
#include "colod/qemu/qemu-leftover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JOB_AGAIN_US (2 * USEC_PER_MSEC)

static int odd_answer(const char *cmd, struct err *e)
{
	return err_set(e, EPROTO, "QEMU's answer to %s has an unknown form", cmd);
}

static const char *string_member(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

/* ---- answers ---- */

int leftover_take_status(struct qemu_leftover *o, struct json_object *ret, struct err *e)
{
	const char *status = string_member(ret, "status");

	if (!status || strlen(status) >= sizeof(o->runstate))
		return odd_answer("query-status", e);
	memcpy(o->runstate, status, strlen(status) + 1);
	return 0;
}

int leftover_take_jobs(struct qemu_leftover *o, struct json_object *ret, struct err *e)
{
	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-jobs", e);
	for (size_t i = 0; i < json_object_array_length(ret); i++) {
		struct json_object *job = json_object_array_get_idx(ret, i);
		const char *id = string_member(job, "id"), *type = string_member(job, "type"),
			   *status = string_member(job, "status");

		if (!id || !type || !status)
			return odd_answer("query-jobs", e);
		if (strcmp(type, "snapshot-load"))
			continue;
		if (strcmp(status, "concluded"))
			return -EAGAIN;
		if (strlen(id) >= sizeof(o->job))
			return odd_answer("query-jobs", e);
		memcpy(o->job, id, strlen(id) + 1);
		return 1;
	}
	return 0;
}

static bool is_ours(struct json_object *fdset)
{
	struct json_object *fds;

	if (!json_object_object_get_ex(fdset, "fds", &fds) ||
	    !json_object_is_type(fds, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(fds); i++) {
		const char *opaque = string_member(json_object_array_get_idx(fds, i), "opaque");

		if (opaque && !strcmp(opaque, FDSET_OPAQUE))
			return true;
	}
	return false;
}

int leftover_take_fdsets(struct qemu_leftover *o, struct json_object *ret, struct err *e)
{
	int64_t at, lowest = -1;

	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-fdsets", e);
	for (size_t i = 0; i < json_object_array_length(ret); i++) {
		struct json_object *set = json_object_array_get_idx(ret, i), *id;

		if (!json_object_object_get_ex(set, "fdset-id", &id) ||
		    !json_object_is_type(id, json_type_int))
			return odd_answer("query-fdsets", e);
		at = json_object_get_int64(id);
		if (is_ours(set) && at > o->fdset && (lowest < 0 || at < lowest))
			lowest = at;
	}
	if (lowest < 0)
		return 0;
	o->fdset = lowest;
	return 1;
}

/* ---- commands ---- */

static void finish(struct qemu_leftover *o, const struct err *reason)
{
	o->done(o->arg, reason);
}

static void command(struct qemu_leftover *o, const char *name, struct json_object *args,
		    qmp_reply_fn fn)
{
	struct qmp_cmd cmd = {.name = name, .args = args, .fd = -1, .fn = fn, .arg = o};
	int r = qmp_loop_send(o->guest->qmp, &cmd);
	struct err e = {};

	if (!r)
		return;
	err_errno(&e, -r, "QEMU: cannot send %s", name);
	finish(o, &e);
}

/* False after the end was told. */
static bool went_well(struct qemu_leftover *o, const char *name, const struct qmp_reply *r)
{
	struct err e = {};

	if (!r->status)
		return true;
	err_set(&e, -r->status, "QEMU: %s: %s", name, r->desc);
	finish(o, &e);
	return false;
}

static void query_jobs(void *arg);
static void query_fdsets(struct qemu_leftover *o);

static void on_fdset_removed(void *arg, const struct qmp_reply *r)
{
	if (went_well(arg, "remove-fd", r))
		query_fdsets(arg);
}

static void on_fdsets(void *arg, const struct qmp_reply *r)
{
	struct qemu_leftover *o = arg;
	struct json_object *args;
	struct err e = {};
	int n;

	if (!went_well(o, "query-fdsets", r))
		return;
	n = leftover_take_fdsets(o, r->ret, &e);
	if (n <= 0) {
		finish(o, n ? &e : NULL);
		return;
	}
	args = json_object_new_object();
	json_object_object_add(args, "fdset-id", json_object_new_int64(o->fdset));
	command(o, "remove-fd", args, on_fdset_removed);
}

static void query_fdsets(struct qemu_leftover *o)
{
	command(o, "query-fdsets", NULL, on_fdsets);
}

/* It may not have been made yet; what is wrong otherwise shows when it is made again. */
static void on_node_removed(void *arg, const struct qmp_reply *r)
{
	if (r->status == -EREMOTEIO || went_well(arg, "blockdev-del", r))
		query_fdsets(arg);
}

static void remove_node(struct qemu_leftover *o)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "node-name", json_object_new_string(GUEST_VMSTATE_NODE));
	command(o, "blockdev-del", args, on_node_removed);
}

static void on_status(void *arg, const struct qmp_reply *r)
{
	struct qemu_leftover *o = arg;
	struct err e = {};

	if (!went_well(o, "query-status", r))
		return;
	if (leftover_take_status(o, r->ret, &e))
		finish(o, &e);
	else
		remove_node(o);
}

/* One that dismissed itself meanwhile is no error. */
static void on_dismissed(void *arg, const struct qmp_reply *r)
{
	if (r->status == -EREMOTEIO || went_well(arg, "job-dismiss", r))
		query_jobs(arg);
}

static void on_jobs(void *arg, const struct qmp_reply *r)
{
	struct qemu_leftover *o = arg;
	struct json_object *args;
	struct err e = {};
	int n;

	if (!went_well(o, "query-jobs", r))
		return;
	n = leftover_take_jobs(o, r->ret, &e);
	if (n == -EAGAIN) {
		loop_timer_arm(o->timer, JOB_AGAIN_US);
	} else if (n < 0) {
		finish(o, &e);
	} else if (!n) {
		command(o, "query-status", NULL, on_status); /* now: a load changes it */
	} else {
		args = json_object_new_object();
		json_object_object_add(args, "id", json_object_new_string(o->job));
		command(o, "job-dismiss", args, on_dismissed);
	}
}

static void query_jobs(void *arg)
{
	command(arg, "query-jobs", NULL, on_jobs);
}

int qemu_leftover_init(struct qemu_leftover *o, struct loop *l, struct err *e)
{
	int r = loop_add_timer(l, &o->timer, query_jobs, o);

	o->fdset = -1;
	return r < 0 ? err_errno(e, -r, "event loop") : 0;
}

void qemu_leftover_destroy(struct qemu_leftover *o)
{
	loop_src_free(&o->timer);
}

void qemu_leftover_start(struct qemu_leftover *o)
{
	query_jobs(o);
}
