// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU jobs awaited by event: start, JOB_STATUS_CHANGE "concluded", fetch the result, dismiss. */
#include "base/cleanup.h"
#include "qmp-client/qmp-internal.h"

#include <errno.h>
#include <string.h>

/**
 * struct qmp_job - a job of ours in QEMU
 * @fn:        NULL once the caller was told that time is over: then only to be dismissed
 * @concluded: query-jobs and job-dismiss are on their way
 */
struct qmp_job {
	struct list link;
	struct qmp_client *c;
	uint64_t deadline_us;
	uint32_t timeout_ms;
	bool concluded;
	qmp_reply_fn fn;
	void *arg;
	char id[];
};

static struct qmp_job *find_job(const struct qmp_client *c, const char *id)
{
	for (struct list *l = c->jobs.next; l != &c->jobs; l = l->next) {
		struct qmp_job *j = list_entry(l, struct qmp_job, link);

		if (!strcmp(j->id, id))
			return j;
	}
	return NULL;
}

/* The start command, as long as it waits on our side. */
static struct qmp_pending *unsent_start(const struct qmp_job *j)
{
	for (struct list *l = j->c->unsent.next; l != &j->c->unsent; l = l->next) {
		struct qmp_pending *p = list_entry(l, struct qmp_pending, link);

		if (p->arg == j)
			return p;
	}
	return NULL;
}

/* No reply finds @j from here on. */
static void forget_commands(struct qmp_job *j)
{
	struct qmp_pending *p;

	for (struct list *l = j->c->sent.next; l != &j->c->sent; l = l->next) {
		p = list_entry(l, struct qmp_pending, link);
		if (p->arg != j)
			continue;
		p->fn = NULL;
		p->arg = NULL;
	}
	while ((p = unsent_start(j)))
		qmp_pending_free(p);
}

static void job_end(struct qmp_job *j, const struct qmp_reply *r)
{
	qmp_reply_fn fn = j->fn;
	void *arg = j->arg;

	forget_commands(j);
	list_del(&j->link);
	free(j);
	if (fn)
		fn(arg, r);
}

static void on_start(void *arg, const struct qmp_reply *r)
{
	if (r->status < 0)
		job_end(arg, r);
}

static const char *string_at(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

/* The entry of job @id in what query-jobs returned. */
static struct json_object *find_info(struct json_object *jobs, const char *id)
{
	if (!json_object_is_type(jobs, json_type_array))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		struct json_object *info = json_object_array_get_idx(jobs, i);
		const char *s = string_at(info, "id");

		if (s && !strcmp(s, id))
			return info;
	}
	return NULL;
}

static void on_query(void *arg, const struct qmp_reply *r)
{
	struct qmp_job *j = arg;
	struct qmp_reply end = *r;
	struct json_object *info;
	struct err e = {};

	if (!r->status) {
		info = find_info(r->ret, j->id);
		end.ret = NULL;
		end.desc = info ? string_at(info, "error") : NULL;
		if (!info) {
			err_set(&e, EREMOTEIO,
				"job '%s' was gone before its result could be read; start it with "
				"\"auto-dismiss\": false",
				j->id);
			end.desc = e.msg;
		}
		/* A job's error has no class of its own. */
		end.err_class = end.desc ? "GenericError" : NULL;
		end.status = end.desc ? -EREMOTEIO : 0;
	}
	job_end(j, &end);
}

static int enqueue_dismiss(struct qmp_job *j)
{
	struct qmp_cmd cmd = {.name = "job-dismiss", .args = json_object_new_object(), .fd = -1};

	if (!cmd.args)
		return -ENOMEM;
	json_object_object_add(cmd.args, "id", json_object_new_string(j->id));
	return qmp_enqueue(j->c, &cmd, UINT64_MAX, NULL);
}

/* One write, one round trip. QEMU works in order, so the result is read before the job goes, and
 * the job is gone for whatever is sent once the result is here. */
static void conclude(struct qmp_job *j)
{
	struct qmp_cmd query = {.name = "query-jobs", .fd = -1, .fn = on_query, .arg = j};
	struct qmp_client *c = j->c;
	struct err e = {};
	int r;

	j->concluded = true;
	r = qmp_enqueue(c, &query, UINT64_MAX, NULL);
	if (!r)
		r = enqueue_dismiss(j);
	if (!r)
		r = qmp_pump(c);
	if (r < 0) {
		err_errno(&e, -r, "cannot ask for the result of a QMP job");
		qmp_fail(c, -ECONNRESET, &e);
	}
}

void qmp_job_event(struct qmp_client *c, const char *event, struct json_object *data)
{
	const char *id, *status;
	struct qmp_job *j;

	if (strcmp(event, "JOB_STATUS_CHANGE") || !data || list_empty(&c->jobs))
		return;
	id = string_at(data, "id");
	status = string_at(data, "status");
	j = id ? find_job(c, id) : NULL;
	if (!j || !status || strcmp(status, "concluded") || j->concluded)
		return;
	/* A start that QEMU has not seen: this is about somebody else's job. */
	if (!unsent_start(j))
		conclude(j);
}

static int job_new(struct qmp_job **out, struct qmp_client *c, const struct qmp_cmd *cmd,
		   uint64_t now_us)
{
	const char *id = cmd->args ? string_at(cmd->args, "job-id") : NULL;
	struct qmp_job *j;

	if (!id || !*id || cmd->oob)
		return -EINVAL;
	if (find_job(c, id))
		return -EEXIST;
	j = calloc(1, sizeof(*j) + strlen(id) + 1);
	if (!j)
		return -ENOMEM;
	memcpy(j->id, id, strlen(id));
	j->c = c;
	j->fn = cmd->fn;
	j->arg = cmd->arg;
	j->deadline_us = qmp_cmd_deadline(cmd, now_us);
	j->timeout_ms = cmd->timeout_ms ?: QMP_DEFAULT_TIMEOUT_MS;
	list_add_tail(&c->jobs, &j->link);
	*out = j;
	return 0;
}

int qmp_client_run_job(struct qmp_client *c, const struct qmp_cmd *cmd, uint64_t now_us)
{
	struct qmp_cmd start = *cmd;
	struct qmp_job *j;
	int r = job_new(&j, c, cmd, now_us);

	if (r < 0) {
		json_object_put(cmd->args);
		return r;
	}
	start.fn = on_start;
	start.arg = j;
	/* The job's own deadline covers its commands. */
	r = qmp_enqueue(c, &start, UINT64_MAX, NULL);
	r = r ?: qmp_pump(c);
	if (r < 0) {
		j->fn = NULL;
		job_end(j, NULL);
	}
	return r;
}

static void expire(struct qmp_job *j)
{
	struct qmp_reply r = {.status = -ETIMEDOUT};
	qmp_reply_fn fn = j->fn;
	struct err e = {};

	err_set(&e, ETIMEDOUT, "job '%s' did not end within %u ms", j->id, j->timeout_ms);
	r.desc = e.msg;
	if (unsent_start(j)) {
		job_end(j, &r);
		return;
	}
	j->fn = NULL;
	j->deadline_us = UINT64_MAX;
	if (fn)
		fn(j->arg, &r);
}

void qmp_job_expire(struct qmp_client *c, uint64_t now_us)
{
	struct list *l = c->jobs.next;

	while (l != &c->jobs) {
		struct qmp_job *j = list_entry(l, struct qmp_job, link);

		if (j->deadline_us > now_us) {
			l = l->next;
			continue;
		}
		expire(j);
		/* The callback may have changed the list; whoever expired is not found again. */
		l = c->jobs.next;
	}
}

uint64_t qmp_job_deadline(const struct qmp_client *c)
{
	uint64_t first = UINT64_MAX;

	for (struct list *l = c->jobs.next; l != &c->jobs; l = l->next)
		first = MIN(first, list_entry(l, struct qmp_job, link)->deadline_us);
	return first;
}

void qmp_job_end_all(struct qmp_client *c, const struct qmp_reply *r)
{
	while (!list_empty(&c->jobs))
		job_end(list_entry(c->jobs.next, struct qmp_job, link), r);
}
