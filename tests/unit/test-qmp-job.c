// SPDX-License-Identifier: GPL-2.0-or-later
/* QMP jobs: they end by event, once, with their own error. */
#include "tests/unit/qmp-peer.h"

#define JOB_EVENT(status)                                                                          \
	"{\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"status\": \"" status                      \
	"\", \"id\": \"l1\"}, \"timestamp\": {\"seconds\": 1, \"microseconds\": 0}}\r\n"
#define JOB_END                                                                                    \
	"{\"id\":3,\"execute\":\"query-jobs\"}\n"                                                  \
	"{\"id\":4,\"execute\":\"job-dismiss\",\"arguments\":{\"id\":\"l1\"}}\n"
#define JOB_GOOD                                                                                   \
	"{\"return\": [{\"id\": \"other\", \"status\": \"running\", \"error\": \"not mine\"}, "    \
	"{\"id\": \"l1\", \"status\": \"concluded\"}], \"id\": 3}\r\n"
#define JOB_START "{\"id\":2,\"execute\":\"snapshot-load\",\"arguments\":{\"job-id\":\"l1\"}}\n"

static void job_ends_when_concluded_comes_after_the_reply(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	assert_int_equal(run_job(p, "l1", &j), 0);
	wrote(p, JOB_START);
	say(p, JOB_EVENT("created") JOB_EVENT("running") "{\"return\": {}, \"id\": 2}");
	say(p, JOB_EVENT("waiting") JOB_EVENT("pending"));
	wrote(p, "");
	say(p, JOB_EVENT("concluded"));
	assert_int_equal(p->writes, 1);
	wrote(p, JOB_END);
	assert_int_equal(j.calls, 0);
	say(p, JOB_GOOD);
	assert_int_equal(j.calls, 1);
	assert_int_equal(j.status, 0);
	say(p, JOB_EVENT("null") "{\"return\": {}, \"id\": 4}");
	assert_int_equal(j.calls, 1);
	assert_int_equal(p->closed, 0);
}

static void job_ends_when_concluded_comes_before_the_reply(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	run_job(p, "l1", &j);
	wrote(p, JOB_START);
	say(p, JOB_EVENT("concluded"));
	wrote(p, JOB_END);
	say(p, JOB_EVENT("concluded") "{\"return\": {}, \"id\": 2}");
	wrote(p, "");
	assert_int_equal(j.calls, 0);
	say(p, JOB_GOOD "{\"return\": {}, \"id\": 4}");
	assert_int_equal(j.calls, 1);
	assert_int_equal(j.status, 0);
}

static void failed_job_carries_its_own_error(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	run_job(p, "l1", &j);
	say(p, "{\"return\": {}, \"id\": 2}" JOB_EVENT("aborting") JOB_EVENT("concluded"));
	say(p, "{\"return\": [{\"id\": \"l1\", \"status\": \"concluded\", "
	       "\"error\": \"Error -5 while loading VM state\"}], \"id\": 3}");
	assert_int_equal(j.status, -EREMOTEIO);
	assert_string_equal(j.text, "GenericError: Error -5 while loading VM state");
	say(p, "{\"return\": {}, \"id\": 4}");
	assert_int_equal(j.calls, 1);
}

static void job_that_cannot_start_ends_at_once(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	run_job(p, "l1", &j);
	say(p, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Job ID 'l1' already in use\"}"
	       ", \"id\": 2}");
	assert_int_equal(j.calls, 1);
	assert_int_equal(j.status, -EREMOTEIO);
	assert_string_equal(j.text, "GenericError: Job ID 'l1' already in use");
	wrote(p, JOB_START);
	assert_int_equal(run_job(p, "l1", &j), 0);
	hang_up(p);
}

static void job_that_dismissed_itself_is_an_error(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	run_job(p, "l1", &j);
	say(p, "{\"return\": {}, \"id\": 2}" JOB_EVENT("concluded") JOB_EVENT("null"));
	say(p, "{\"return\": [], \"id\": 3}{\"error\": {\"class\": \"DeviceNotFound\", "
	       "\"desc\": \"Job not found\"}, \"id\": 4}");
	assert_int_equal(j.calls, 1);
	assert_int_equal(j.status, -EREMOTEIO);
	assert_non_null(strstr(j.text, "auto-dismiss"));
	assert_int_equal(p->closed, 0);
}

static void job_that_outlives_its_deadline_is_dismissed_later(void **state)
{
	struct peer *p = *state;
	struct end j = {}, again = {};
	uint64_t d = T0 + QMP_DEFAULT_TIMEOUT_MS * USEC_PER_MSEC;

	run_job(p, "l1", &j);
	say(p, "{\"return\": {}, \"id\": 2}");
	wrote(p, JOB_START);
	assert_int_equal(qmp_client_deadline(p->c), d);
	assert_int_equal(qmp_client_tick(p->c, d), UINT64_MAX);
	assert_int_equal(j.status, -ETIMEDOUT);
	assert_int_equal(run_job(p, "l1", &again), -EEXIST);
	say(p, JOB_EVENT("concluded"));
	wrote(p, JOB_END);
	say(p, JOB_GOOD "{\"return\": {}, \"id\": 4}");
	assert_int_equal(j.calls, 1);
	assert_int_equal(run_job(p, "l1", &again), 0);
	hang_up(p);
}

static void job_that_expires_unsent_is_never_started(void **state)
{
	struct peer *p = *state;
	struct end j = {};

	run_job(p, "l1", &j);
	/* Somebody else's job of that name is not ours. */
	say(p, JOB_EVENT("concluded"));
	assert_int_equal(j.calls, 0);
	qmp_client_tick(p->c, T0 + QMP_DEFAULT_TIMEOUT_MS * USEC_PER_MSEC);
	assert_int_equal(j.status, -ETIMEDOUT);
	say(p, GREETING_NO_OOB);
	wrote(p, "{\"id\":1,\"execute\":\"qmp_capabilities\"}\n");
	say(p, "{\"return\": {}, \"id\": 1}");
	assert_int_equal(p->ready, 1);
	wrote(p, "");
}

static void job_without_id_is_refused(void **state)
{
	struct peer *p = *state;
	struct qmp_cmd cmd = {.name = "snapshot-load", .fd = -1};

	assert_int_equal(qmp_client_run_job(p->c, &cmd, T0), -EINVAL);
	cmd.args = json_object_new_object();
	json_object_object_add(cmd.args, "job-id", json_object_new_int(1));
	assert_int_equal(qmp_client_run_job(p->c, &cmd, T0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_ready(job_ends_when_concluded_comes_after_the_reply),
		t_ready(job_ends_when_concluded_comes_before_the_reply),
		t_ready(failed_job_carries_its_own_error),
		t_ready(job_that_cannot_start_ends_at_once),
		t_ready(job_that_dismissed_itself_is_an_error),
		t_ready(job_that_outlives_its_deadline_is_dismissed_later),
		t_new(job_that_expires_unsent_is_never_started),
		t_ready(job_without_id_is_refused),
	};

	return cmocka_run_group_tests_name("qmp-job", tests, NULL, NULL);
}
