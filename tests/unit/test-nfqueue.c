// SPDX-License-Identifier: GPL-2.0-or-later
/* The netfilter queue: what a guest sends is held, let go in order, changed; losses are counted. */
#include "tests/unit/queue-rig.h"

#define MAX_IDS 20000

/* A guest whose output waits in a queue, and the packets that were read. */
struct held {
	struct rig rig;
	struct rules rules;
	struct nfqueue *q;
	uint32_t count, ids[MAX_IDS];
	struct nfqueue_packet last;
	uint8_t data[70000];
};

static void on_packet(void *arg, const struct nfqueue_packet *p)
{
	struct held *h = arg;

	assert_true(h->count < MAX_IDS);
	h->ids[h->count++] = p->id;
	h->last = *p;
	memcpy(h->data, p->data, p->len);
}

/* Read until @count packets were seen in all. */
static void read_until(struct held *h, uint32_t count)
{
	struct pollfd p = {.fd = nfqueue_fd(h->q), .events = POLLIN};

	while (h->count < count) {
		assert_int_equal(poll(&p, 1, GIVE_UP_US / USEC_PER_MSEC), 1);
		assert_true(nfqueue_read(h->q, on_packet, h) >= 0);
	}
	assert_int_equal(h->count, count);
}

static const struct nfqueue_opts defaults = {.num = NFQUEUE_ANY,
					     .first = 0x9000,
					     .gso = true,
					     .rcvbuf_bytes = 32 << 20,
					     .max_packets = 30000};

static void hold_with(struct held *h, const struct nfqueue_opts *opts)
{
	struct rules_nic nic = {.tap = "guest", .bridge = "br0"};
	struct err e = {};
	int kind;

	rig_up(&h->rig);
	assert_ok(nfqueue_open(&h->q, opts, &e), &e);
	nic.queue = nfqueue_num(h->q);
	kind = rules_probe(RULES_ANY, &e);
	if (kind < 0)
		fail_msg("%s", err_msg(&e));
	assert_ok(rules_install(&h->rules, kind, "test", &nic, 1, &e), &e);
	assert_ok(rules_set(&h->rules, 0, RULES_QUEUE, &e), &e);
}

static int set_up(void **state)
{
	struct held *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	hold_with(h, &defaults);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct held *h = *state;
	struct err e = {};

	nfqueue_close(h->q);
	assert_ok(rules_remove(&h->rules, &e), &e);
	rig_down(&h->rig);
	free(h);
	return 0;
}

/* Released bit by bit: a burst of more than net.core.netdev_max_backlog may be lost in the veth. */
static void release_and_expect(struct held *h, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		assert_int_equal(nfqueue_accept(h->q, h->ids[i]), 0);
	assert_int_equal(nfqueue_flush(h->q), 0);
	for (uint32_t i = from; i < to; i++)
		rig_expect(&h->rig, i + 1);
}

static void output_is_held_until_accepted_and_leaves_in_order(void **state)
{
	struct held *h = *state;
	const uint32_t n = 10000, burst = 500;

	for (uint32_t i = 1; i <= n; i++)
		rig_send(h->rig.guest, (struct sent){i, (int)(i & 1)});
	read_until(h, n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(h->ids[i], h->ids[0] + i);
	rig_expect_silence(&h->rig);
	for (uint32_t i = 0; i < n; i += burst)
		release_and_expect(h, i, i + burst);
	assert_int_equal(nfqueue_stats(h->q)->stale, 0);
	assert_int_equal(nfqueue_stats(h->q)->errors, 0);
}

static void packets_leave_in_the_order_of_verdicts_and_dropped_ones_do_not(void **state)
{
	struct held *h = *state;

	for (uint32_t i = 1; i <= 4; i++)
		rig_send(h->rig.guest, (struct sent){i, UDP4});
	read_until(h, 4);
	assert_int_equal(nfqueue_accept(h->q, h->ids[2]), 0);
	assert_int_equal(nfqueue_drop(h->q, h->ids[1]), 0);
	assert_int_equal(nfqueue_accept(h->q, h->ids[0]), 0);
	assert_int_equal(nfqueue_flush(h->q), 0);
	rig_expect(&h->rig, 3);
	rig_expect(&h->rig, 1);
	rig_expect_silence(&h->rig);
}

static void a_batch_verdict_releases_everything_up_to_its_packet(void **state)
{
	struct held *h = *state;

	for (uint32_t i = 1; i <= 5; i++)
		rig_send(h->rig.guest, (struct sent){i, UDP4});
	read_until(h, 5);
	assert_int_equal(nfqueue_accept_upto(h->q, h->ids[3]), 0);
	assert_int_equal(nfqueue_flush(h->q), 0);
	for (uint32_t i = 1; i <= 4; i++)
		rig_expect(&h->rig, i);
	rig_expect_silence(&h->rig);
}

static void a_packet_starts_at_its_ip_header_and_names_its_tap(void **state)
{
	struct held *h = *state;

	for (int kind = UDP4; kind <= TCP6; kind++) {
		struct sent s = {7, kind};
		uint8_t want[256];
		size_t len = rig_packet(want, &s, 64, false);

		rig_send(h->rig.guest, s);
		read_until(h, kind + 1);
		assert_int_equal(h->last.len, len);
		assert_int_equal(h->last.full_len, len);
		assert_memory_equal(h->data, want, len);
		assert_int_equal(h->last.ethertype, kind & 1 ? ETH_P_IPV6 : ETH_P_IP);
		assert_int_equal(h->last.indev, h->rig.guest_index);
		assert_false(h->last.gso);
	}
}

/* The tag of what leaves is the one it came with. */
static void a_tagged_packet_is_held_and_keeps_its_tag(void **state)
{
	struct held *h = *state;

	for (int kind = UDP4; kind <= UDP6; kind++) {
		rig_send(h->rig.guest, (struct sent){30 + kind, kind, .vlan = 5});
		read_until(h, kind + 1);
		assert_int_equal(h->data[0] >> 4, kind == UDP6 ? 6 : 4);
		if (h->rules.kind == RULES_NFT) {
			assert_true(h->last.vlan_known);
			assert_int_equal(h->last.vlan, 5);
		} else {
			assert_false(h->last.vlan_known);
		}
		rig_expect_silence(&h->rig);
		assert_int_equal(nfqueue_accept(h->q, h->last.id), 0);
		assert_int_equal(nfqueue_flush(h->q), 0);
		rig_expect(&h->rig, 30 + kind);
		assert_int_equal(h->rig.seen.vlan, 5);
	}
}

static void a_super_frame_comes_whole_with_a_partial_checksum(void **state)
{
	struct held *h = *state;

	rig_send_super(h->rig.guest, (struct sent){9, TCP4}, 40000);
	read_until(h, 1);
	assert_true(h->last.gso);
	assert_true(h->last.csum_partial);
	assert_int_equal(h->last.len, 40040);
	assert_int_equal(nfqueue_accept(h->q, h->last.id), 0);
	assert_int_equal(nfqueue_flush(h->q), 0);
	rig_expect(&h->rig, 9);
}

static void without_gso_a_super_frame_comes_in_pieces_with_complete_checksums(void **state)
{
	struct held *h = *state;

	assert_int_equal(nfqueue_set_gso(h->q, false), 0);
	rig_send_super(h->rig.guest, (struct sent){9, TCP4}, 2800);
	read_until(h, 2);
	assert_false(h->last.gso);
	assert_false(h->last.csum_partial);
	assert_int_equal(h->last.len, 1440);
	assert_int_equal(rig_l4_sum(h->data, h->last.len), 0xffff);
	assert_int_equal(nfqueue_set_gso(h->q, true), 0);
	rig_send_super(h->rig.guest, (struct sent){9, TCP4}, 2800);
	read_until(h, 3);
	assert_true(h->last.gso);
}

/* Longer and shorter than it was, with checksums of its own. */
static void a_changed_packet_arrives_as_changed(void **state)
{
	struct held *h = *state;

	for (uint32_t i = 0; i < 8; i++) {
		struct sent s = {100 + i, (int)(i % 4), i >= 4 ? 5 : 0};
		uint8_t ip[2048];
		size_t len = rig_packet(ip, &s, i & 1 ? 600 : 8, false);

		rig_send(h->rig.guest, (struct sent){1, s.kind, s.vlan});
		read_until(h, i + 1);
		assert_int_equal(nfqueue_accept_mangled(h->q, h->last.id, ip, len), 0);
		assert_int_equal(nfqueue_flush(h->q), 0);
		rig_expect(&h->rig, 100 + i);
		assert_true(h->rig.seen.csum_good);
		assert_int_equal(h->rig.seen.len, len + 14);
		assert_int_equal(h->rig.seen.vlan, s.vlan);
	}
}

/* Segments of a changed super-frame that the other guest, without offloads, gets. */
static void expect_good_segments(struct held *h, uint32_t number, size_t bytes)
{
	struct pollfd p = {.fd = h->rig.other, .events = POLLIN};
	struct seen *s = &h->rig.seen;
	uint8_t buf[4096];
	size_t got = 0;

	while (got < bytes) {
		ssize_t n = read(h->rig.other, buf, sizeof(buf));

		if (n < 0) {
			assert_int_equal(poll(&p, 1, GIVE_UP_US / USEC_PER_MSEC), 1);
			continue;
		}
		s->vlan = 0;
		memcpy(s->frame, buf + VNET_BYTES, n - VNET_BYTES);
		rig_understand(s, n - VNET_BYTES);
		if (!s->number)
			continue;
		if (got == 0)
			assert_int_equal(s->number, number);
		assert_true(s->csum_good);
		got += s->len - 14 - (s->frame[14] >> 4 == 6 ? 60 : 40);
	}
	assert_int_equal(got, bytes);
}

static void a_changed_super_frame_gets_its_checksums_from_the_kernel(void **state)
{
	struct held *h = *state;
	static uint8_t ip[70000];

	assert_int_equal(ioctl(h->rig.other, TUNSETOFFLOAD, 0), 0);
	for (int kind = TCP4; kind <= TCP6; kind++) {
		struct sent s = {200 + kind, kind};
		size_t len = rig_packet(ip, &s, 20000, false);

		rig_send_super(h->rig.guest, (struct sent){1, kind}, 20000);
		read_until(h, kind - TCP4 + 1);
		assert_true(h->last.gso);
		ip[rig_csum_at(ip)] ^= 0x55;
		assert_int_equal(nfqueue_accept_mangled(h->q, h->last.id, ip, len), 0);
		assert_int_equal(nfqueue_flush(h->q), 0);
		expect_good_segments(h, 200 + kind, 20000);
	}
}

static void a_changed_packet_beyond_the_limit_is_refused(void **state)
{
	struct held *h = *state;

	assert_int_equal(nfqueue_accept_mangled(h->q, 1, h->data, NFQUEUE_MAX_BYTES + 1),
			 -EMSGSIZE);
}

/* More bytes of verdicts than one send takes. */
static void many_changed_packets_go_out_in_order(void **state)
{
	struct held *h = *state;
	static uint8_t ip[2048];

	for (uint32_t i = 1; i <= 500; i++)
		rig_send(h->rig.guest, (struct sent){1, UDP4});
	read_until(h, 500);
	for (uint32_t i = 0; i < 500; i++) {
		struct sent s = {1000 + i, UDP4};
		size_t len = rig_packet(ip, &s, 1400, false);

		assert_int_equal(nfqueue_accept_mangled(h->q, h->ids[i], ip, len), 0);
	}
	assert_int_equal(nfqueue_flush(h->q), 0);
	for (uint32_t i = 0; i < 500; i++)
		rig_expect(&h->rig, 1000 + i);
}

/* The least buffer, which none of them fits in. */
static void set_send_buffer(struct held *h, int bytes)
{
	assert_int_equal(
		setsockopt(nfqueue_fd(h->q), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)), 0);
}

static void verdicts_that_could_not_be_sent_wait_and_are_counted(void **state)
{
	struct held *h = *state;
	struct sent s = {7, UDP4};
	uint8_t ip[8192];
	size_t len = rig_packet(ip, &s, 6000, false);

	rig_send(h->rig.guest, (struct sent){1, UDP4});
	rig_send(h->rig.guest, (struct sent){2, UDP4});
	read_until(h, 2);
	set_send_buffer(h, 0);
	assert_int_equal(nfqueue_accept_mangled(h->q, h->ids[0], ip, len), 0);
	assert_true(nfqueue_flush(h->q) < 0);
	assert_int_equal(nfqueue_stats(h->q)->unsent, 1);
	assert_int_equal(nfqueue_accept(h->q, h->ids[1]), 0);
	assert_true(nfqueue_flush(h->q) < 0);
	assert_int_equal(nfqueue_stats(h->q)->unsent, 2);
	rig_expect_silence(&h->rig);
	set_send_buffer(h, 1 << 20);
	assert_int_equal(nfqueue_flush(h->q), 0);
	rig_expect(&h->rig, 2); /* the other one is longer than the link takes */
}

static void a_verdict_on_a_packet_that_is_gone_is_counted(void **state)
{
	struct held *h = *state;

	rig_send(h->rig.guest, (struct sent){1, UDP4});
	read_until(h, 1);
	assert_int_equal(nfqueue_accept(h->q, h->ids[0]), 0);
	assert_int_equal(nfqueue_accept(h->q, h->ids[0]), 0);
	assert_int_equal(nfqueue_accept(h->q, h->ids[0] + 100), 0);
	assert_int_equal(nfqueue_flush(h->q), 0);
	assert_int_equal(nfqueue_read(h->q, on_packet, h), 0);
	assert_int_equal(nfqueue_stats(h->q)->stale, 2);
	rig_expect(&h->rig, 1);
}

/* Its packets must not be let go when the tap is taken away from the bridge's host either. */
static void when_the_reader_ends_its_packets_are_dropped_and_the_guest_stays_silent(void **state)
{
	struct held *h = *state;

	rig_send(h->rig.guest, (struct sent){1, UDP4});
	read_until(h, 1);
	nfqueue_close(h->q);
	h->q = NULL;
	rig_send(h->rig.guest, (struct sent){2, UDP4});
	rig_expect_silence(&h->rig);
}

static void a_full_queue_drops_and_says_so(void **state)
{
	struct held *h = calloc(1, sizeof(*h));
	struct nfqueue_opts opts = defaults;
	struct nfqueue_drops d;

	assert_non_null(h);
	opts.max_packets = 10;
	hold_with(h, &opts);
	for (uint32_t i = 1; i <= 15; i++)
		rig_send(h->rig.guest, (struct sent){i, UDP4});
	read_until(h, 10);
	assert_int_equal(nfqueue_drops(h->q, &d), 0);
	assert_int_equal(d.waiting, 10);
	assert_int_equal(d.full, 5);
	assert_int_equal(d.unread, 0);
	*state = h;
	tear_down(state);
}

/* Lost are some; those that came can still be let go, and new ones come. */
static void a_full_socket_is_loss_and_not_the_end(void **state)
{
	struct held *h = calloc(1, sizeof(*h));
	struct nfqueue_opts opts = defaults;
	struct nfqueue_drops d;
	uint32_t got;

	assert_non_null(h);
	opts.rcvbuf_bytes = 64 << 10;
	hold_with(h, &opts);
	for (uint32_t i = 1; i <= 2000; i++)
		rig_send(h->rig.guest, (struct sent){i, UDP4});
	while (nfqueue_read(h->q, on_packet, h) > 0)
		;
	got = h->count;
	assert_true(got > 0 && got < 2000);
	assert_true(nfqueue_stats(h->q)->overruns > 0);
	assert_int_equal(nfqueue_drops(h->q, &d), 0);
	assert_int_equal(d.unread, 2000 - got);
	rig_send(h->rig.guest, (struct sent){5000, UDP4});
	read_until(h, got + 1);
	assert_int_equal(nfqueue_accept_upto(h->q, h->last.id), 0);
	assert_int_equal(nfqueue_flush(h->q), 0);
	for (uint32_t i = 1; i <= got; i++)
		rig_next(&h->rig);
	rig_expect(&h->rig, 5000);
	*state = h;
	tear_down(state);
}

static void a_number_has_one_owner_and_any_finds_the_next_free_one(void **state)
{
	_cleanup_(cleanup_nfqueue) struct nfqueue *a = NULL, *b = NULL, *c = NULL;
	struct nfqueue_opts opts = defaults;
	struct err e = {};

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	opts.num = 77;
	assert_ok(nfqueue_open(&a, &opts, &e), &e);
	assert_int_equal(nfqueue_open(&b, &opts, &e), -EBUSY);
	assert_non_null(strstr(err_msg(&e), "77"));
	opts.num = NFQUEUE_ANY;
	opts.first = 77;
	assert_ok(nfqueue_open(&b, &opts, &e), &e);
	assert_int_equal(nfqueue_num(b), 78);
	opts.first = UINT16_MAX;
	assert_ok(nfqueue_open(&c, &opts, &e), &e);
	assert_int_equal(nfqueue_num(c), UINT16_MAX);
	nfqueue_close(c);
	c = NULL;
	opts.num = 77;
	nfqueue_close(steal_ptr(&a));
	assert_ok(nfqueue_open(&a, &opts, &e), &e);
}

static void where_to_look_for_a_number_depends_on_the_name(void **state)
{
	(void)state;
	assert_int_not_equal(nfqueue_first("vm1"), nfqueue_first("vm2"));
	assert_int_equal(nfqueue_first("vm1"), nfqueue_first("vm1"));
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "vm%d", i);
		assert_true(nfqueue_first(name) >= 0x8000);
	}
}

#define held_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		held_test(output_is_held_until_accepted_and_leaves_in_order),
		held_test(packets_leave_in_the_order_of_verdicts_and_dropped_ones_do_not),
		held_test(a_batch_verdict_releases_everything_up_to_its_packet),
		held_test(a_packet_starts_at_its_ip_header_and_names_its_tap),
		held_test(a_tagged_packet_is_held_and_keeps_its_tag),
		held_test(a_super_frame_comes_whole_with_a_partial_checksum),
		held_test(without_gso_a_super_frame_comes_in_pieces_with_complete_checksums),
		held_test(a_changed_packet_arrives_as_changed),
		held_test(a_changed_super_frame_gets_its_checksums_from_the_kernel),
		held_test(a_changed_packet_beyond_the_limit_is_refused),
		held_test(many_changed_packets_go_out_in_order),
		held_test(verdicts_that_could_not_be_sent_wait_and_are_counted),
		held_test(a_verdict_on_a_packet_that_is_gone_is_counted),
		held_test(when_the_reader_ends_its_packets_are_dropped_and_the_guest_stays_silent),
		cmocka_unit_test(a_full_queue_drops_and_says_so),
		cmocka_unit_test(a_full_socket_is_loss_and_not_the_end),
		cmocka_unit_test(a_number_has_one_owner_and_any_finds_the_next_free_one),
		cmocka_unit_test(where_to_look_for_a_number_depends_on_the_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
