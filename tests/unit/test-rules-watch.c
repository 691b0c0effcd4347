// SPDX-License-Identifier: GPL-2.0-or-later
/* Rules that others remove: noticed, told from our own changes, and made again. */
#include "proxy/rules-internal.h"
#include "proxy/rules-watch.h"
#include "tests/unit/rules-rig.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

/* The ways of others; the tool that the rules are made with must be the one that removes them. */
static const char *const flushes_nft[] = {"nft flush ruleset", "nft flush table bridge colod-test",
					  "nft delete table bridge colod-test"};
static const char *const flushes_iptables[] = {
	"iptables -t mangle -F",
	"printf '*mangle\\n-F\\nCOMMIT\\n' | ip6tables-restore --noflush",
	"iptables -t mangle -F PREROUTING",
	"iptables -t mangle -F colod-test-o",
	"iptables -t mangle -F && iptables -t mangle -X",
	"printf '*mangle\\n-F PREROUTING\\n-A PREROUTING -j ACCEPT\\nCOMMIT\\n' |"
	"ip6tables-restore --noflush",
	"printf '*mangle\\nCOMMIT\\n' | iptables-restore",
	"! command -v nft >/dev/null || nft flush ruleset",
};

/* The i-th way, NULL after the last; COLOD_TEST_WAYS: only so many, where each takes long. */
static const char *way(const struct world *w, size_t i)
{
	const char *most = getenv("COLOD_TEST_WAYS");

	if (most && i >= strtoul(most, NULL, 10))
		return NULL;
	if (w->kind == RULES_NFT)
		return i < ARRAY_SIZE(flushes_nft) ? flushes_nft[i] : NULL;
	return i < ARRAY_SIZE(flushes_iptables) ? flushes_iptables[i] : NULL;
}

#define for_each_way(how, w) for (size_t i_ = 0; (how = way(w, i_)); i_++)

/* What an entry of the above put there itself. */
static void flush_all(void)
{
	sh("iptables -t mangle -F; printf '*mangle\\n-F\\nCOMMIT\\n' | ip6tables-restore "
	   "--noflush");
}

static bool is_legacy(const struct world *w)
{
	return w->kind == RULES_IPTABLES && system("iptables --version | grep -q legacy") == 0;
}

static int watch(struct world *w)
{
	struct err e = {};
	int fd = rules_watch_open(&e);

	if (fd < 0)
		fail_msg("%s", err_msg(&e));
	if (is_legacy(w)) {
		close(fd);
		skip();
	}
	return fd;
}

static bool deleted(int fd, const struct world *w)
{
	return rules_watch_read(fd, &w->rules);
}

static void every_way_of_removal_is_noticed_and_found(void **state)
{
	struct world *w = *state;
	const char *how;
	struct err e = {};
	int fd = watch(w);

	for_each_way(how, w)
	{
		install(w);
		set(w, RULES_QUEUE);
		deleted(fd, w);
		assert_false(deleted(fd, w));
		sh("%s", how);
		assert_true(deleted(fd, w));
		assert_int_equal(rules_check(&w->rules, &e), -ENOENT);
		assert_true(err_msg(&e)[0]);
		remove_rules(w);
	}
	close(fd);
}

static void what_others_do_elsewhere_is_not_taken_for_it(void **state)
{
	struct world *w = *state;
	struct err e = {};
	int fd = watch(w);

	install(w);
	set(w, RULES_QUEUE);
	deleted(fd, w);
	sh("iptables -A FORWARD -j ACCEPT && iptables -F FORWARD && iptables -N x && iptables -X "
	   "x");
	sh("iptables -t mangle -N y");
	assert_false(deleted(fd, w));
	assert_ok(rules_check(&w->rules, &e), &e);
	remove_rules(w);
	close(fd);
}

static void our_own_changes_pass_the_check(void **state)
{
	struct world *w = *state;
	struct err e = {};

	install(w);
	assert_ok(rules_check(&w->rules, &e), &e);
	for (int inbound = 0; inbound < 2; inbound++)
		for (int mode = RULES_OFF; mode <= RULES_BLOCK; mode++) {
			assert_ok(rules_set_all(&w->rules, mode, inbound, &e), &e);
			assert_ok(rules_check(&w->rules, &e), &e);
		}
	remove_rules(w);
	assert_int_equal(rules_check(&w->rules, &e), -ENOENT);
}

static void what_should_hold_in_the_struct_alone_is_found_missing(void **state)
{
	struct world *w = *state;
	struct rules other;
	struct err e = {};

	install(w);
	set(w, RULES_QUEUE);
	other = w->rules;
	other.nics[0].queue++;
	assert_int_equal(rules_check(&other, &e), -ENOENT);
	other = w->rules;
	other.mode[0] = RULES_BLOCK;
	assert_int_equal(rules_check(&other, &e), -ENOENT);
	other = w->rules;
	other.inbound[0] = true;
	assert_int_equal(rules_check(&other, &e), -ENOENT);
	other = w->rules;
	snprintf(other.nics[0].tap, IFNAMSIZ, "gues");
	assert_int_equal(rules_check(&other, &e), -ENOENT);
	assert_ok(rules_check(&w->rules, &e), &e);
	remove_rules(w);
}

static void restored_rules_hold_again_and_leave_no_trace(void **state)
{
	struct world *w = *state;
	const char *how;
	struct err e = {};

	for_each_way(how, w)
	{
		uint32_t count = w->count;

		install(w);
		assert_ok(rules_set_all(&w->rules, RULES_QUEUE, true, &e), &e);
		sh("%s", how);
		assert_ok(rules_restore(&w->rules, &e), &e);
		assert_ok(rules_check(&w->rules, &e), &e);
		rig_send(w->rig.guest, (struct sent){1, UDP4});
		rig_send(w->rig.guest, (struct sent){2, UDP6});
		rig_send(w->rig.guest, (struct sent){3, ARP});
		rig_expect(&w->rig, 3);
		rig_expect_silence(&w->rig);
		send_to_guest(w, (struct sent){4, TCP4});
		read_until(w, count + 3);
		assert_int_equal(nfqueue_accept_upto(w->q, w->last.id), 0);
		assert_int_equal(nfqueue_flush(w->q), 0);
		rig_expect(&w->rig, 1);
		rig_expect(&w->rig, 2);
		remove_rules(w);
		flush_all();
	}
}

/* A change that is asked for by its mode alone must not rely on what is gone. */
static void a_mode_set_after_a_removal_holds(void **state)
{
	struct world *w = *state;
	struct err e = {};
	const char *how;

	for_each_way(how, w)
	{
		uint32_t count = w->count;

		install(w);
		sh("%s", how);
		assert_ok(rules_set(&w->rules, 0, RULES_QUEUE, &e), &e);
		assert_int_equal(e.code, 0);
		rig_send(w->rig.guest, (struct sent){1, UDP4});
		rig_expect_silence(&w->rig);
		read_until(w, count + 1);
		remove_rules(w);
	}
}

static void a_removal_before_ours_leaves_no_trace(void **state)
{
	struct world *w = *state;
	const char *how;

	for_each_way(how, w)
	{
		install(w);
		set(w, RULES_QUEUE);
		sh("%s", how);
		remove_rules(w);
		flush_all();
	}
}

/* A kernel drops what waits in any queue when a hook goes; our changes must not take one away. */
static void a_change_or_a_restoration_loses_nothing_that_waits(void **state)
{
	struct world *w = *state;
	struct err e = {};

	install(w);
	set(w, RULES_QUEUE);
	rig_send(w->rig.guest, (struct sent){1, UDP4});
	read_until(w, 1);
	assert_ok(rules_inbound(&w->rules, 0, true, &e), &e);
	assert_ok(rules_inbound(&w->rules, 0, false, &e), &e);
	assert_ok(rules_restore(&w->rules, &e), &e);
	rig_send(w->rig.guest, (struct sent){2, UDP4});
	read_until(w, 2);
	assert_int_equal(nfqueue_accept_upto(w->q, w->last.id), 0);
	assert_int_equal(nfqueue_flush(w->q), 0);
	rig_expect(&w->rig, 1);
	rig_expect(&w->rig, 2);
	remove_rules(w);
}

/* ---- without a kernel ---- */

static size_t event(uint8_t *buf, int type, const char *table)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	mnl_nlmsg_put_extra_header(h, sizeof(struct nfgenmsg));
	if (table)
		mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
	return h->nlmsg_len;
}

static void only_deletions_where_our_rules_are_count(void **state)
{
	uint8_t buf[512] __attribute__((aligned(8))) = {};
	struct rules nft = {.kind = RULES_NFT, .label = "colod-test"};
	struct rules iptables = {.kind = RULES_IPTABLES, .label = "colod-test"};
	size_t n;

	(void)state;
	assert_false(rules_watch_deletes(buf, 0, &nft));
	n = event(buf, NFT_MSG_NEWRULE, "colod-test");
	assert_false(rules_watch_deletes(buf, n, &nft));
	n = event(buf, NFT_MSG_DELRULE, "mangle");
	assert_false(rules_watch_deletes(buf, n, &nft));
	assert_true(rules_watch_deletes(buf, n, &iptables));
	n += event(buf + n, NFT_MSG_DELTABLE, "colod-test");
	assert_true(rules_watch_deletes(buf, n, &nft));
	n = event(buf, NFT_MSG_DELCHAIN, "colod-test");
	assert_true(rules_watch_deletes(buf, n, &nft));
}

static void what_cannot_be_read_counts(void **state)
{
	uint8_t buf[512] __attribute__((aligned(8))) = {};
	struct rules r = {.kind = RULES_NFT, .label = "colod-test"};
	size_t n = event(buf, NFT_MSG_DELRULE, NULL);

	(void)state;
	assert_true(rules_watch_deletes(buf, n, &r));
	n = event(buf, NFT_MSG_NEWRULE, "another");
	assert_true(rules_watch_deletes(buf, n - 4, &r));
	((struct nlmsghdr *)buf)->nlmsg_len = 4;
	assert_true(rules_watch_deletes(buf, n, &r));
	event(buf, NFT_MSG_DELRULE, NULL);
	((struct nlmsghdr *)buf)->nlmsg_len = NLMSG_HDRLEN + 2;
	assert_true(rules_watch_deletes(buf, NLMSG_HDRLEN + 2, &r));
}

static void lists_of_several_tools_versions_are_understood(void **state)
{
	static const struct rules r = {
		.label = "colod-x",
		.nic_count = 1,
		.nics = {{.tap = "t0", .bridge = "br0", .queue = 5, .inbound_queue = 6}},
		.mode = {RULES_QUEUE},
		.inbound = {true}};
	static const char head[] =
		"table bridge colod-x {\n\tchain output {\n"
		"\t\ttype filter hook prerouting priority -450; policy accept;\n";
	static const char middle[] =
		"\t}\n\tchain inbound {\n"
		"\t\ttype filter hook postrouting priority 450; policy accept;\n";
	static const char *const verb[] = {"to", "num"};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(verb); i++) {
		for (unsigned q = 5; q < 60; q += 50) {
			snprintf(text, sizeof(text),
				 "%s\t\tiifname \"t0\" meta protocol { ip, ip6 } queue %s %u\n"
				 "%s\t\toifname \"t0\" meta l4proto tcp queue %s 6\n\t}\n}\n",
				 head, verb[i], q, middle, verb[i]);
			assert_int_equal(rules_nft_shows(&r, text, true, NULL),
					 q == 5 ? 0 : -ENOENT);
		}
	}
	for (size_t i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
			 "-A PREROUTING -j colod-x-o\n-A POSTROUTING -j colod-x-i\n"
			 "-A colod-x-i -p tcp -m physdev %s--physdev-out t0 -j NFQUEUE --queue-num "
			 "6\n"
			 "-A colod-x-o -m physdev %s--physdev-in t0 -j NFQUEUE --queue-num 5",
			 i ? " " : "", i ? " " : "");
		assert_int_equal(rules_iptables_shows(&r, text, NULL), 0);
		text[strlen(text) - 1] = '\0';
		assert_int_equal(rules_iptables_shows(&r, text, NULL), -ENOENT);
	}
}

static void frames_that_go_past_the_queue_are_noticed(void **state)
{
	struct rules_traffic last = {};

	(void)state;
	assert_false(rules_bypassed(&last, (struct rules_traffic){100, 1}));
	assert_false(rules_bypassed(&last, (struct rules_traffic){101, 1}));
	assert_true(rules_bypassed(&last, (struct rules_traffic){200, 1}));
	assert_false(rules_bypassed(&last, (struct rules_traffic){300, 2}));
	assert_false(rules_bypassed(&last, (struct rules_traffic){0, 2}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(every_way_of_removal_is_noticed_and_found),
		world_test(what_others_do_elsewhere_is_not_taken_for_it),
		world_test(our_own_changes_pass_the_check),
		world_test(what_should_hold_in_the_struct_alone_is_found_missing),
		world_test(restored_rules_hold_again_and_leave_no_trace),
		world_test(a_mode_set_after_a_removal_holds),
		world_test(a_removal_before_ours_leaves_no_trace),
		world_test(a_change_or_a_restoration_loses_nothing_that_waits),
		cmocka_unit_test(only_deletions_where_our_rules_are_count),
		cmocka_unit_test(what_cannot_be_read_counts),
		cmocka_unit_test(lists_of_several_tools_versions_are_understood),
		cmocka_unit_test(frames_that_go_past_the_queue_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
