// SPDX-License-Identifier: GPL-2.0-or-later
/* The arbiters none and exec: who wins without being asked, what a command's end means. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/arbiter/arbiter.h"

#include <signal.h>
#include <sys/wait.h>

struct rig {
	struct loop *loop;
	struct config config;
	struct arbiter *arbiter;
	int won, lost, unknown, hold, ended;
	bool in_call; /* handlers must not be called from within */
	char reason[ERR_MSG_MAX];
	char folder[32], path[64];
};

static void took(struct rig *r, int *count, const char *reason)
{
	assert_false(r->in_call);
	++*count;
	snprintf(r->reason, sizeof(r->reason), "%s", reason);
}

static void on_won(void *arg)
{
	struct rig *r = arg;

	took(r, &r->won, "");
}

static void on_lost(void *arg, const char *reason)
{
	struct rig *r = arg;

	took(r, &r->lost, reason);
}

static void on_ended(void *arg, const char *reason)
{
	struct rig *r = arg;

	took(r, &r->ended, reason);
}

static void on_unknown(void *arg, const char *reason)
{
	struct rig *r = arg;

	took(r, &r->unknown, reason);
}

static void on_hold(void *arg, const char *reason)
{
	struct rig *r = arg;

	took(r, &r->hold, reason);
}

static const struct arbiter_handlers handlers = {
	.won = on_won, .lost = on_lost, .ended = on_ended, .unknown = on_unknown, .hold = on_hold};

static void rig_open(struct rig *r, enum arbiter_kind kind, const char *command)
{
	struct err e;

	*r = (struct rig){.config = {.name = "web",
				     .arbiter = kind,
				     .arbiter_timeout_ms = 60000,
				     .peers[0] = {.host = "fe80::1", .port = "9000"}}};
	strcpy(r->folder, "/tmp/test-arbiter-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->path, sizeof(r->path), "%s/out", r->folder);
	setenv("OUT", r->path, 1);
	r->config.arbiter_command = command ? strdup(command) : NULL;
	assert_ok(loop_new(&r->loop, &e), &e);
	assert_ok(arbiter_new(&r->arbiter, r->loop, &r->config, &handlers, r, &e), &e);
}

static void rig_close(struct rig *r)
{
	arbiter_free(r->arbiter);
	loop_free(r->loop);
	free(r->config.arbiter_command);
	unlink(r->path);
	assert_int_equal(rmdir(r->folder), 0);
}

static void claim(struct rig *r, const struct arbiter_claim *c)
{
	r->in_call = true;
	arbiter_claim(r->arbiter, c);
	r->in_call = false;
}

static int answers(const struct rig *r)
{
	return r->won + r->lost + r->unknown + r->hold + r->ended;
}

static void expect_unknown(struct rig *r, const char *part)
{
	turn_until(r->loop, answers(r));
	assert_int_equal(r->unknown, 1);
	assert_int_equal(answers(r), 1);
	if (!strstr(r->reason, part))
		fail_msg("\"%s\" does not say \"%s\"", r->reason, part);
}

static void expect_won(struct rig *r)
{
	turn_until(r->loop, answers(r));
	assert_int_equal(r->won, 1);
	assert_int_equal(answers(r), 1);
}

/* Whether the command ran: it writes a file. */
static bool ran(const struct rig *r)
{
	return !access(r->path, F_OK);
}

static char *written(const struct rig *r)
{
	char *text;
	struct err e;

	assert_ok(io_read_file(r->path, &text, &e), &e);
	return text;
}

static const struct arbiter_claim silent = {.session = 7, .reason = ARBITER_SILENT};

/* ---- none ---- */

static void none_wins_only_what_is_certain_or_new(void **state)
{
	static const struct arbiter_claim winning[] = {
		{.certain = true}, {.fresh = true}, {.force = true}};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(winning); i++) {
		rig_open(&r, ARBITER_NONE, NULL);
		claim(&r, &winning[i]);
		expect_won(&r);
		rig_close(&r);
	}
	rig_open(&r, ARBITER_NONE, NULL);
	claim(&r, &silent);
	expect_unknown(&r, "failover --force");
	arbiter_share(r.arbiter, 7);
	arbiter_resign(r.arbiter);
	arbiter_end(r.arbiter, 7);
	assert_true(arbiter_flush(r.arbiter, 0));
	assert_string_equal(arbiter_state(r.arbiter), "");
	rig_close(&r);
}

static void an_answer_that_was_not_told_yet_can_be_dropped(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, ARBITER_NONE, NULL);
	claim(&r, &silent);
	arbiter_drop(r.arbiter);
	while (loop_step(r.loop, 0) == 1)
		;
	assert_int_equal(answers(&r), 0);
	claim(&r, &silent);
	claim(&r, &(struct arbiter_claim){.certain = true}); /* replaces the one before */
	expect_won(&r);
	rig_close(&r);
}

/* ---- exec ---- */

static void exec_status_0_wins(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, ARBITER_EXEC, "true");
	claim(&r, &silent);
	assert_string_equal(arbiter_state(r.arbiter), "asking");
	expect_won(&r);
	assert_string_equal(arbiter_state(r.arbiter), "");
	rig_close(&r);
}

static void exec_other_ends_are_unknown_with_status_and_last_words(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, ARBITER_EXEC, "sh -c 'echo first >&2; echo fence: no answer >&2; exit 3'");
	claim(&r, &silent);
	expect_unknown(&r, "status 3: fence: no answer");
	rig_close(&r);
	rig_open(&r, ARBITER_EXEC, "sh -c 'printf \"no\\\\033newline\" >&2; exit 1'");
	claim(&r, &silent);
	expect_unknown(&r, "status 1: no?newline");
	rig_close(&r);
	rig_open(&r, ARBITER_EXEC, "sh -c 'kill -9 $$'");
	claim(&r, &silent);
	expect_unknown(&r, "signal 9");
	rig_close(&r);
	rig_open(&r, ARBITER_EXEC, "/nonexistent/fence now");
	claim(&r, &silent);
	expect_unknown(&r, "cannot run arbiter_command /nonexistent/fence: No such file");
	rig_close(&r);
}

/* A line of 201 characters, whose last is another one. */
static void exec_last_words_are_cut_to_their_bound(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, ARBITER_EXEC, "sh -c 'printf \"%0200d\" 0 >&2; echo x >&2; exit 1'");
	claim(&r, &silent);
	expect_unknown(&r, "status 1: 000");
	assert_null(strchr(strstr(r.reason, "000"), 'x'));
	assert_int_equal(strlen(strstr(r.reason, "000")), 200);
	rig_close(&r);
}

static void exec_is_not_asked_when_the_answer_is_known(void **state)
{
	static const struct arbiter_claim winning[] = {
		{.certain = true}, {.fresh = true}, {.force = true}};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(winning); i++) {
		rig_open(&r, ARBITER_EXEC, "sh -c 'echo >$OUT; exit 1'");
		claim(&r, &winning[i]);
		expect_won(&r);
		assert_false(ran(&r));
		rig_close(&r);
	}
}

/* It would take it for the question, and cut the power of a host that is needed. */
static void exec_is_not_run_at_the_end(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, ARBITER_EXEC, "sh -c 'echo >$OUT'");
	arbiter_end(r.arbiter, 7);
	assert_true(arbiter_flush(r.arbiter, 0));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_false(ran(&r));
	rig_close(&r);
}

static void exec_tells_the_command_who_asks_and_why(void **state)
{
	static const struct {
		struct arbiter_claim claim;
		const char *words;
	} cases[] = {
		{{.session = 0xabc, .reason = ARBITER_SILENT},
		 "web secondary [fe80::1]:9000 silent 0000000000000abc\n"},
		{{.reason = ARBITER_LOST, .primary = true},
		 "web primary [fe80::1]:9000 lost 0000000000000000\n"},
		{{.reason = ARBITER_START},
		 "web secondary [fe80::1]:9000 start 0000000000000000\n"},
	};
	struct rig r;

	(void)state;
	setenv("COLOD_NAME", "another", 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *text = NULL;

		rig_open(&r, ARBITER_EXEC,
			 "sh -c 'echo $COLOD_NAME $COLOD_ROLE $COLOD_PEER $COLOD_REASON "
			 "$COLOD_SESSION "
			 ">$OUT'");
		claim(&r, &cases[i].claim);
		expect_won(&r);
		text = written(&r);
		assert_string_equal(text, cases[i].words);
		rig_close(&r);
	}
	unsetenv("COLOD_NAME");
}

static bool is_alive(pid_t pid)
{
	char path[64];
	autofree char *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (io_read_file(path, &text, NULL))
		return false;
	return !strstr(text, ") Z ");
}

/* The command's child, which it has named in its file. */
static pid_t wait_for_child(struct rig *r)
{
	autofree char *text = NULL;

	while (!text || !strchr(text, '\n')) {
		free(text);
		text = NULL;
		assert_true(loop_step(r->loop, 1000) >= 0);
		if (ran(r))
			text = written(r);
	}
	return (pid_t)atoi(text);
}

#define SLEEPER "sh -c 'sleep 1000 & echo $! >$OUT; wait'"

static void exec_that_takes_too_long_is_killed_with_its_children(void **state)
{
	struct rig r;
	pid_t child;

	(void)state;
	rig_open(&r, ARBITER_EXEC, SLEEPER);
	r.config.arbiter_timeout_ms = 300;
	claim(&r, &silent);
	child = wait_for_child(&r);
	expect_unknown(&r, "more than arbiter_timeout_ms = 300");
	while (is_alive(child))
		usleep(1000);
	/* Its end, which is still to come, answers nothing; the next claim starts it anew. */
	claim(&r, &silent);
	turn_until(r.loop, r.unknown == 2);
	rig_close(&r);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombies */
}

static void exec_runs_once_for_claims_that_come_while_it_runs(void **state)
{
	autofree char *text = NULL;
	struct rig r;

	(void)state;
	rig_open(&r, ARBITER_EXEC, "sh -c 'echo run >>$OUT; sleep 0.1'");
	claim(&r, &silent);
	claim(&r, &silent);
	expect_won(&r);
	text = written(&r);
	assert_string_equal(text, "run\n");
	rig_close(&r);
}

static void exec_is_ended_by_drop_by_certainty_and_by_the_end(void **state)
{
	struct rig r;
	pid_t child;

	(void)state;
	rig_open(&r, ARBITER_EXEC, SLEEPER);
	claim(&r, &silent);
	child = wait_for_child(&r);
	arbiter_drop(r.arbiter);
	while (is_alive(child))
		loop_step(r.loop, 1000);
	unlink(r.path);
	claim(&r, &silent);
	child = wait_for_child(&r);
	claim(&r, &(struct arbiter_claim){.certain = true});
	expect_won(&r);
	while (is_alive(child))
		loop_step(r.loop, 1000);
	unlink(r.path);
	claim(&r, &silent);
	child = wait_for_child(&r);
	rig_close(&r);
	while (is_alive(child))
		usleep(1000);
	assert_int_equal(answers(&r), 1);
}

/* A child that goes on with our pipe in its hands must not keep the answer back. */
static void exec_is_over_when_the_command_itself_ends(void **state)
{
	struct rig r;
	pid_t child;

	(void)state;
	rig_open(&r, ARBITER_EXEC, "sh -c 'sleep 1000 & echo $! >$OUT'");
	claim(&r, &silent);
	expect_won(&r);
	child = wait_for_child(&r);
	assert_true(is_alive(child));
	kill(child, SIGKILL);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_wins_only_what_is_certain_or_new),
		cmocka_unit_test(an_answer_that_was_not_told_yet_can_be_dropped),
		cmocka_unit_test(exec_status_0_wins),
		cmocka_unit_test(exec_other_ends_are_unknown_with_status_and_last_words),
		cmocka_unit_test(exec_last_words_are_cut_to_their_bound),
		cmocka_unit_test(exec_is_not_asked_when_the_answer_is_known),
		cmocka_unit_test(exec_is_not_run_at_the_end),
		cmocka_unit_test(exec_tells_the_command_who_asks_and_why),
		cmocka_unit_test(exec_that_takes_too_long_is_killed_with_its_children),
		cmocka_unit_test(exec_runs_once_for_claims_that_come_while_it_runs),
		cmocka_unit_test(exec_is_ended_by_drop_by_certainty_and_by_the_end),
		cmocka_unit_test(exec_is_over_when_the_command_itself_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
