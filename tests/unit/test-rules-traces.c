// SPDX-License-Identifier: GPL-2.0-or-later
/* The packet filter rules: no trace of them stays behind, and nobody else's are disturbed. */
#include "tests/unit/rules-rig.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void removal_leaves_no_trace_in_any_mode(void **state)
{
	struct world *w = *state;
	struct err e = {};

	for (int mode = RULES_OFF; mode <= RULES_BLOCK; mode++) {
		install(w);
		set(w, mode);
		assert_ok(rules_inbound(&w->rules, 0, true, &e), &e);
		remove_rules(w);
		expect_no_trace(w);
		send_all(w);
		expect_all(w);
	}
	remove_rules(w);
	expect_no_trace(w);
}

static void leave_as_a_killed_owner(struct world *w)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (rules_install(&w->rules, w->kind, "test", &w->nic, 1, NULL) ||
		    rules_set(&w->rules, 0, RULES_BLOCK, NULL) ||
		    rules_set(&w->rules, 0, RULES_QUEUE, NULL) ||
		    rules_inbound(&w->rules, 0, true, NULL))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* A colod that dies leaves its guest silent, and its traces are found again by the guest's name. */
static void what_a_killed_owner_left_holds_and_is_swept(void **state)
{
	struct world *w = *state;
	struct err e = {};

	leave_as_a_killed_owner(w);
	rig_send(w->rig.guest, (struct sent){1, UDP4});
	rig_expect_silence(&w->rig);
	assert_ok(rules_sweep("another", &e), &e);
	rig_send(w->rig.guest, (struct sent){1, UDP4});
	rig_expect_silence(&w->rig);
	assert_ok(rules_sweep("test", &e), &e);
	expect_no_trace(w);
	assert_ok(rules_sweep("test", &e), &e);
	rig_send(w->rig.guest, (struct sent){2, UDP4});
	rig_expect(&w->rig, 2);
}

/* Not one packet of a guest that talks all the while. */
static void what_a_killed_owner_held_is_taken_over_without_a_gap(void **state)
{
	struct world *w = *state;
	struct err e = {};
	pid_t talker;

	leave_as_a_killed_owner(w);
	talker = fork();
	if (talker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			rig_send(w->rig.guest, (struct sent){1, UDP4});
	}
	for (int i = 0; i < 5; i++)
		assert_ok(rules_take_over(&w->rules, w->kind, "test", &w->nic, 1, false, &e), &e);
	kill(talker, SIGKILL);
	assert_int_equal(waitpid(talker, NULL, 0), talker);
	rig_expect_silence(&w->rig);
	assert_true(nfqueue_read(w->q, on_packet, w) > 0);
	set(w, RULES_OFF);
	rig_send(w->rig.guest, (struct sent){2, UDP4});
	rig_expect(&w->rig, 2);
	remove_rules(w);
	expect_no_trace(w);
}

static void a_new_owner_of_the_name_starts_anew(void **state)
{
	struct world *w = *state;

	install(w);
	set(w, RULES_QUEUE);
	install(w);
	rig_send(w->rig.guest, (struct sent){1, UDP4});
	rig_expect(&w->rig, 1);
	remove_rules(w);
	expect_no_trace(w);
}

/* The first to go must not take the bridge's switches from the other; the last puts them back. */
static void guests_on_one_bridge_do_not_disturb_each_other(void **state)
{
	struct world *w = *state;
	struct rules_nic nic = w->nic;
	struct rules second;
	struct err e = {};

	snprintf(nic.tap, sizeof(nic.tap), "other");
	nic.queue = 1;
	for (int first = 0; first < 2; first++) {
		install(w);
		assert_ok(rules_install(&second, w->kind, "second", &nic, 1, &e), &e);
		set(w, RULES_QUEUE);
		assert_ok(rules_set(&second, 0, RULES_QUEUE, &e), &e);
		assert_ok(rules_remove(first ? &second : &w->rules, &e), &e);
		rig_send(first ? w->rig.other : w->rig.guest, (struct sent){1, UDP4, 3});
		rig_expect(&w->rig, 1);
		rig_send(first ? w->rig.guest : w->rig.other, (struct sent){2, UDP4, 3});
		rig_send(first ? w->rig.guest : w->rig.other, (struct sent){3, ARP});
		rig_expect(&w->rig, 3);
		assert_ok(rules_remove(first ? &w->rules : &second, &e), &e);
		expect_no_trace(w);
	}
}

/* The switch for tags is one for all bridges. */
static void guests_on_two_bridges_do_not_disturb_each_other(void **state)
{
	struct world *w = *state;
	struct rules_nic nic = w->nic;
	struct rules second;
	struct err e = {};

	sh("ip link add br1 type bridge");
	free(w->before);
	w->before = traces();
	snprintf(nic.bridge, sizeof(nic.bridge), "br1");
	for (int first = 0; first < 2; first++) {
		install(w);
		assert_ok(rules_install(&second, w->kind, "second", &nic, 1, &e), &e);
		set(w, RULES_QUEUE);
		if (first)
			remove_rules(w);
		else
			assert_ok(rules_remove(&second, &e), &e);
		rig_send(w->rig.guest, (struct sent){1, UDP4, 3});
		if (first)
			rig_expect(&w->rig, 1);
		rig_expect_silence(&w->rig);
		assert_ok(rules_remove(first ? &second : &w->rules, &e), &e);
		expect_no_trace(w);
	}
}

static void the_hosts_own_rules_stay_and_open_no_gap(void **state)
{
	struct world *w = *state;
	char *with_rules;

	sh("iptables -t mangle -A PREROUTING -j ACCEPT && iptables -t mangle -N keep &&"
	   "iptables -t mangle -A keep -m comment --comment 'a b' -j RETURN");
	free(w->before);
	w->before = traces();
	install(w);
	set(w, RULES_QUEUE);
	rig_send(w->rig.guest, (struct sent){1, UDP4});
	rig_expect_silence(&w->rig);
	read_until(w, 1);
	with_rules = traces();
	assert_non_null(strstr(with_rules, "-A PREROUTING -j ACCEPT"));
	assert_non_null(strstr(with_rules, "-A keep"));
	free(with_rules);
	remove_rules(w);
	expect_no_trace(w);
}

static void names_of_any_length_and_kind_are_told_apart(void **state)
{
	static const char *const names[] = {
		"a-guest-with-quite-a-long-name-1",
		"a-guest-with-quite-a-long-name-2",
		"exactly-twenty-chars",
		"exactly-twenty-one-ch",
		"b\xc3\xa4r",
		"b r\"{}",
		".",
		"1",
	};
	struct world *w = *state;
	struct rules rules[ARRAY_SIZE(names)];
	struct err e = {};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_ok(rules_install(&rules[i], w->kind, names[i], &w->nic, 1, &e), &e);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(rules[i].label, rules[k].label);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_ok(rules_sweep(names[i], &e), &e);
	expect_no_trace(w);
}

static void interface_names_that_the_tools_would_misread_are_refused(void **state)
{
	static const char *const bad[] = {"",
					  "tap*",
					  "tap+",
					  "a b",
					  "a\"b",
					  "-tap",
					  "a;b",
					  "sixteen-charact"
					  "ers"};
	struct world *w = *state;
	struct err e = {};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rules_nic nic = w->nic;

		memset(nic.tap, 0, sizeof(nic.tap));
		memcpy(nic.tap, bad[i], MIN(strlen(bad[i]), sizeof(nic.tap)));
		assert_int_equal(rules_install(&w->rules, w->kind, "test", &nic, 1, &e), -EINVAL);
	}
	assert_int_equal(rules_install(&w->rules, w->kind, "test", &w->nic, 0, &e), -EINVAL);
	expect_no_trace(w);
}

static void a_failed_installation_leaves_no_trace(void **state)
{
	struct world *w = *state;
	struct rules_nic nics[2] = {w->nic, w->nic};
	struct err e = {};

	if (w->kind == RULES_NFT)
		skip(); /* rules of nft need no bridge */
	snprintf(nics[1].bridge, sizeof(nics[1].bridge), "missing");
	assert_int_equal(rules_install(&w->rules, w->kind, "test", nics, 2, &e), -ENODEV);
	assert_non_null(strstr(err_msg(&e), "missing"));
	expect_no_trace(w);
	snprintf(nics[1].bridge, sizeof(nics[1].bridge), "client");
	assert_int_equal(rules_install(&w->rules, w->kind, "test", nics, 2, &e), -ENODEV);
	assert_non_null(strstr(err_msg(&e), "not a bridge"));
	expect_no_trace(w);
}

static void a_refusal_says_what_is_missing(void **state)
{
	struct world *w = *state;
	struct err e = {};
	int kind = rules_probe(RULES_NFT, &e);

	(void)w;
	if (kind == RULES_NFT)
		skip();
	assert_int_equal(kind, -EOPNOTSUPP);
	assert_non_null(strstr(err_msg(&e), "nft"));
	assert_non_null(strstr(err_msg(&e), "queue"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(removal_leaves_no_trace_in_any_mode),
		world_test(what_a_killed_owner_left_holds_and_is_swept),
		world_test(what_a_killed_owner_held_is_taken_over_without_a_gap),
		world_test(a_new_owner_of_the_name_starts_anew),
		world_test(guests_on_one_bridge_do_not_disturb_each_other),
		world_test(guests_on_two_bridges_do_not_disturb_each_other),
		world_test(the_hosts_own_rules_stay_and_open_no_gap),
		world_test(names_of_any_length_and_kind_are_told_apart),
		world_test(interface_names_that_the_tools_would_misread_are_refused),
		world_test(a_failed_installation_leaves_no_trace),
		world_test(a_refusal_says_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
