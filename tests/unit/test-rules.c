// SPDX-License-Identifier: GPL-2.0-or-later
/* The packet filter rules: what each mode lets through, and that no trace of them stays behind. */
#include "tests/unit/queue-rig.h"

#include <signal.h>
#include <sys/wait.h>

/* COLOD_TEST_RULES=nft or =iptables: that one has to work. */
static enum rules_kind wanted(void)
{
	const char *name = getenv("COLOD_TEST_RULES");

	if (!name)
		return RULES_ANY;
	return strcmp(name, "nft") ? RULES_IPTABLES : RULES_NFT;
}

struct world {
	struct rig rig;
	struct nfqueue *q;
	enum rules_kind kind;
	struct rules_nic nic;
	struct rules rules;
	char *before;
	uint32_t count;
	struct nfqueue_packet last;
};

/* All that rules may leave behind: rules, chains, tables, the bridge's switches. */
static char *traces(void)
{
	return sh_text("(iptables-save; ip6tables-save) 2>/dev/null | grep -e ^- -e colod;"
		       "nft list tables 2>/dev/null | grep colod;"
		       "ip -d link show type bridge | grep -o 'nf_call_ip.*';"
		       "cat /proc/sys/net/bridge/* 2>/dev/null");
}

static void expect_no_trace(const struct world *w)
{
	char *after = traces();

	assert_string_equal(after, w->before);
	free(after);
}

static enum rules_kind probe(void)
{
	struct err e = {};
	int kind = rules_probe(wanted(), &e);

	if (kind < 0)
		fail_msg("%s", err_msg(&e));
	return kind;
}

static int set_up(void **state)
{
	struct nfqueue_opts opts = {.num = NFQUEUE_ANY,
				    .first = nfqueue_first("test"),
				    .gso = true,
				    .rcvbuf_bytes = 1 << 20,
				    .max_packets = 1000};
	struct world *w = calloc(1, sizeof(*w));
	struct err e = {};

	assert_non_null(w);
	rig_up(&w->rig);
	w->kind = probe();
	assert_ok(nfqueue_open(&w->q, &opts, &e), &e);
	w->nic = (struct rules_nic){.tap = "guest",
				    .bridge = "br0",
				    .queue = nfqueue_num(w->q),
				    .inbound_queue = nfqueue_num(w->q)};
	w->before = traces();
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	nfqueue_close(w->q);
	rig_down(&w->rig);
	free(w->before);
	free(w);
	return 0;
}

static void install(struct world *w)
{
	struct err e = {};

	assert_ok(rules_install(&w->rules, w->kind, "test", &w->nic, 1, &e), &e);
}

static void set(struct world *w, enum rules_mode mode)
{
	struct err e = {};

	assert_ok(rules_set(&w->rules, 0, mode, &e), &e);
}

static void remove_rules(struct world *w)
{
	struct err e = {};

	assert_ok(rules_remove(&w->rules, &e), &e);
}

static void on_packet(void *arg, const struct nfqueue_packet *p)
{
	struct world *w = arg;

	w->count++;
	w->last = *p;
}

static void read_until(struct world *w, uint32_t count)
{
	struct pollfd p = {.fd = nfqueue_fd(w->q), .events = POLLIN};

	while (w->count < count) {
		assert_int_equal(poll(&p, 1, GIVE_UP_US / USEC_PER_MSEC), 1);
		assert_true(nfqueue_read(w->q, on_packet, w) >= 0);
	}
	assert_int_equal(w->count, count);
}

static const struct sent all_kinds[] = {
	{1, UDP4}, {2, UDP6}, {3, TCP4}, {4, TCP6}, {5, UDP4, 7}, {6, TCP6, 7}, {7, ARP},
};

static void send_all(struct world *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		rig_send(w->rig.guest, all_kinds[i]);
}

static void expect_all(struct world *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		rig_expect(&w->rig, all_kinds[i].number);
	rig_expect_silence(&w->rig);
}

static void off_lets_everything_pass(void **state)
{
	struct world *w = *state;

	install(w);
	send_all(w);
	expect_all(w);
	assert_int_equal(nfqueue_read(w->q, on_packet, w), 0);
}

static void queue_holds_ip_tagged_or_not_and_lets_arp_pass(void **state)
{
	struct world *w = *state;

	install(w);
	set(w, RULES_QUEUE);
	send_all(w);
	rig_expect(&w->rig, 7);
	rig_expect_silence(&w->rig);
	read_until(w, 6);
}

static void block_lets_nothing_pass(void **state)
{
	struct world *w = *state;

	install(w);
	set(w, RULES_BLOCK);
	send_all(w);
	rig_expect_silence(&w->rig);
	assert_int_equal(nfqueue_read(w->q, on_packet, w), 0);
}

static void modes_can_be_changed_at_will(void **state)
{
	static const enum rules_mode order[] = {RULES_QUEUE, RULES_BLOCK, RULES_OFF,   RULES_BLOCK,
						RULES_QUEUE, RULES_OFF,   RULES_QUEUE, RULES_QUEUE};
	struct world *w = *state;

	install(w);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		set(w, order[i]);
		rig_send(w->rig.guest, (struct sent){100, UDP4});
		rig_send(w->rig.guest, (struct sent){101, ARP});
		if (order[i] == RULES_OFF)
			rig_expect(&w->rig, 100);
		if (order[i] != RULES_BLOCK)
			rig_expect(&w->rig, 101);
		rig_expect_silence(&w->rig);
	}
	read_until(w, 4);
	remove_rules(w);
	expect_no_trace(w);
}

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

/* A colod that dies leaves its guest silent, and its traces are found again by the guest's name. */
static void what_a_killed_owner_left_holds_and_is_swept(void **state)
{
	struct world *w = *state;
	struct err e = {};
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

/* The client's frames to the guest; what the guest's tap then has. */
static void send_to_guest(struct world *w, struct sent s)
{
	uint8_t f[2048];
	size_t n = rig_frame(f, &s, 64, true);

	assert_int_equal(write(w->rig.client, f, n), n);
}

static uint32_t guest_next(struct world *w)
{
	struct pollfd p = {.fd = w->rig.guest, .events = POLLIN};
	struct seen *s = &w->rig.seen;
	uint8_t buf[4096];

	for (;;) {
		ssize_t n = read(w->rig.guest, buf, sizeof(buf));

		if (n < 0) {
			assert_int_equal(poll(&p, 1, GIVE_UP_US / USEC_PER_MSEC), 1);
			continue;
		}
		s->vlan = 0;
		memcpy(s->frame, buf + VNET_BYTES, n - VNET_BYTES);
		rig_understand(s, n - VNET_BYTES);
		if (s->number)
			return s->number;
	}
}

static void inbound_queues_tcp_to_the_guest_and_nothing_else(void **state)
{
	struct world *w = *state;
	struct err e = {};

	install(w);
	assert_ok(rules_inbound(&w->rules, 0, true, &e), &e);
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		send_to_guest(w, all_kinds[i]);
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		if (all_kinds[i].kind != TCP4 && all_kinds[i].kind != TCP6)
			assert_int_equal(guest_next(w), all_kinds[i].number);
	read_until(w, 3);
	assert_int_equal(w->last.outdev, w->rig.guest_index);
	assert_int_equal(nfqueue_accept_upto(w->q, w->last.id), 0);
	assert_int_equal(nfqueue_flush(w->q), 0);
	assert_int_equal(guest_next(w), 3);
	assert_int_equal(guest_next(w), 4);
	assert_int_equal(guest_next(w), 6);
	assert_int_equal(w->rig.seen.vlan, 7);
	assert_ok(rules_inbound(&w->rules, 0, false, &e), &e);
	send_to_guest(w, (struct sent){8, TCP4});
	assert_int_equal(guest_next(w), 8);
	rig_send(w->rig.guest, (struct sent){9, TCP4});
	rig_expect(&w->rig, 9);
}

static void a_changed_inbound_packet_reaches_the_guest_as_changed(void **state)
{
	struct world *w = *state;
	struct err e = {};
	uint8_t ip[2048];

	install(w);
	assert_ok(rules_inbound(&w->rules, 0, true, &e), &e);
	for (int kind = TCP4; kind <= TCP6; kind++) {
		struct sent s = {50 + kind, kind};
		size_t len = rig_packet(ip, &s, 64, true);

		send_to_guest(w, (struct sent){1, kind});
		read_until(w, kind - TCP4 + 1);
		assert_int_equal(nfqueue_accept_mangled(w->q, w->last.id, ip, len), 0);
		assert_int_equal(nfqueue_flush(w->q), 0);
		assert_int_equal(guest_next(w), 50 + kind);
		assert_true(w->rig.seen.csum_good);
	}
}

/* The kernel handles a tap's frame within write(2): its answer is there when that returns. */
static bool host_answers_arp(struct world *w)
{
	uint8_t f[VNET_BYTES + 42] = {};
	uint8_t *arp = f + VNET_BYTES + rig_ether(f + VNET_BYTES, &(struct sent){1, ARP});
	uint8_t got[2048];
	bool answered = false;

	memcpy(arp, "\0\1\x08\0\6\4\0\1\2\0\0\0\0\2" GUEST_IP "\0\0\0\0\0\0" CLIENT_IP, 28);
	while (read(w->rig.guest, got, sizeof(got)) > 0)
		;
	assert_int_equal(write(w->rig.guest, f, sizeof(f)), sizeof(f));
	while (read(w->rig.guest, got, sizeof(got)) > 0)
		answered |= !memcmp(got + VNET_BYTES + 12, "\x08\x06\0\1\x08\0\6\4\0\2", 10);
	return answered;
}

static void a_routed_tap_is_held_and_blocked_like_a_bridged_one(void **state)
{
	struct world *w = *state;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(DATA_PORT)};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd p = {.fd = sock, .events = POLLIN};
	struct err e = {};

	sh("ip link set guest nomaster && ip addr add 10.9.0.1/24 dev guest &&"
	   "ip link set guest address 02:00:00:00:00:01");
	assert_int_equal(bind(sock, (struct sockaddr *)&at, sizeof(at)), 0);
	w->nic.bridge[0] = '\0';
	free(w->before);
	w->before = traces();
	install(w);
	for (int mode = RULES_OFF; mode <= RULES_BLOCK; mode++) {
		uint8_t f[512] = {};
		size_t n;

		set(w, mode);
		assert_int_equal(host_answers_arp(w), mode != RULES_BLOCK);
		n = rig_frame(f + VNET_BYTES, &(struct sent){1, UDP4}, 64, false);
		memcpy(f + VNET_BYTES, "\2\0\0\0\0\1", 6);
		assert_int_equal(write(w->rig.guest, f, VNET_BYTES + n), VNET_BYTES + n);
		assert_int_equal(poll(&p, 1, 0), mode == RULES_OFF);
		if (mode == RULES_QUEUE) {
			read_until(w, 1);
			assert_int_equal(w->last.indev, w->rig.guest_index);
			assert_int_equal(nfqueue_accept(w->q, w->last.id), 0);
			assert_int_equal(nfqueue_flush(w->q), 0);
		}
		if (mode != RULES_BLOCK)
			assert_int_equal(recv(sock, f, sizeof(f), 0), 64);
	}
	assert_ok(rules_inbound(&w->rules, 0, true, &e), &e);
	remove_rules(w);
	expect_no_trace(w);
	close(sock);
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

static void two_cards_of_a_guest_are_switched_alone_and_together(void **state)
{
	struct world *w = *state;
	struct rules_nic nics[2] = {w->nic, w->nic};
	struct err e = {};

	snprintf(nics[1].tap, sizeof(nics[1].tap), "other");
	assert_ok(rules_install(&w->rules, w->kind, "test", nics, 2, &e), &e);
	assert_ok(rules_set(&w->rules, 1, RULES_QUEUE, &e), &e);
	rig_send(w->rig.other, (struct sent){1, UDP4});
	rig_send(w->rig.guest, (struct sent){2, UDP4});
	rig_expect(&w->rig, 2);
	assert_ok(rules_set(&w->rules, RULES_ALL_NICS, RULES_QUEUE, &e), &e);
	rig_send(w->rig.guest, (struct sent){3, UDP4});
	rig_send(w->rig.other, (struct sent){4, UDP4});
	assert_ok(rules_set(&w->rules, 0, RULES_OFF, &e), &e);
	rig_send(w->rig.guest, (struct sent){5, UDP4});
	rig_expect(&w->rig, 5);
	read_until(w, 3);
	assert_ok(rules_set_all(&w->rules, RULES_BLOCK, true, &e), &e);
	rig_send(w->rig.guest, (struct sent){6, ARP});
	rig_send(w->rig.other, (struct sent){7, ARP});
	send_to_guest(w, (struct sent){8, TCP4});
	assert_ok(rules_set_all(&w->rules, RULES_OFF, true, &e), &e);
	rig_expect_silence(&w->rig);
	read_until(w, 3 + 2);
	remove_rules(w);
	expect_no_trace(w);
}

/* The tool refuses a label that it cannot read. */
static void after_a_failed_change_the_same_mode_is_not_taken_as_given(void **state)
{
	struct world *w = *state;
	struct err e = {};
	struct rules broken;

	install(w);
	set(w, RULES_QUEUE);
	broken = w->rules;
	snprintf(broken.label, sizeof(broken.label), "colod-\nx");
	assert_int_equal(rules_set(&broken, 0, RULES_OFF, &e), -EINVAL);
	assert_int_equal(broken.mode[0], RULES_QUEUE);
	sh("iptables -t mangle -F colod-test-o 2>/dev/null;"
	   "nft flush table bridge colod-test 2>/dev/null; true");
	memcpy(broken.label, w->rules.label, sizeof(broken.label));
	assert_ok(rules_set(&broken, 0, RULES_QUEUE, &e), &e);
	rig_send(w->rig.guest, (struct sent){1, UDP4});
	rig_expect_silence(&w->rig);
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

#define world_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(off_lets_everything_pass),
		world_test(queue_holds_ip_tagged_or_not_and_lets_arp_pass),
		world_test(block_lets_nothing_pass),
		world_test(modes_can_be_changed_at_will),
		world_test(removal_leaves_no_trace_in_any_mode),
		world_test(what_a_killed_owner_left_holds_and_is_swept),
		world_test(a_new_owner_of_the_name_starts_anew),
		world_test(guests_on_one_bridge_do_not_disturb_each_other),
		world_test(guests_on_two_bridges_do_not_disturb_each_other),
		world_test(the_hosts_own_rules_stay_and_open_no_gap),
		world_test(inbound_queues_tcp_to_the_guest_and_nothing_else),
		world_test(a_changed_inbound_packet_reaches_the_guest_as_changed),
		world_test(a_routed_tap_is_held_and_blocked_like_a_bridged_one),
		world_test(names_of_any_length_and_kind_are_told_apart),
		world_test(interface_names_that_the_tools_would_misread_are_refused),
		world_test(a_failed_installation_leaves_no_trace),
		world_test(two_cards_of_a_guest_are_switched_alone_and_together),
		world_test(after_a_failed_change_the_same_mode_is_not_taken_as_given),
		world_test(a_refusal_says_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
