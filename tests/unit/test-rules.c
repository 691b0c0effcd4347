// SPDX-License-Identifier: GPL-2.0-or-later
/* The packet filter rules: what each mode lets through, from the guest and to it. */
#include "tests/unit/rules-rig.h"

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

static void inbound_queues_tcp_to_the_guest_and_neither_udp_nor_arp(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(off_lets_everything_pass),
		world_test(queue_holds_ip_tagged_or_not_and_lets_arp_pass),
		world_test(block_lets_nothing_pass),
		world_test(modes_can_be_changed_at_will),
		world_test(inbound_queues_tcp_to_the_guest_and_neither_udp_nor_arp),
		world_test(a_changed_inbound_packet_reaches_the_guest_as_changed),
		world_test(a_routed_tap_is_held_and_blocked_like_a_bridged_one),
		world_test(two_cards_of_a_guest_are_switched_alone_and_together),
		world_test(after_a_failed_change_the_same_mode_is_not_taken_as_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
