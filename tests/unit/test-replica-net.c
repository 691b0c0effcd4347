// SPDX-License-Identifier: GPL-2.0-or-later
/* The replica's packets: S5 against a model of what guests have read, take-over, neighbours. */
#include "tests/unit/unit.h"

#include "proxy/replica-net.h"
#include "tests/unit/packet-make.h"

#define NICS     2
#define MAX_SEEN 4096
#define CLIENT   "10.0.0.9"
#define GUEST    "10.0.0.2"

/* What came out: the numbers that inbound frames carry, and the last frame of each kind. */
static struct out {
	uint64_t seen[NICS][MAX_SEEN];
	size_t seen_count[NICS];
	unsigned injected, to_primary, transmitted, lost_calls;
	uint64_t after, lost, marked;
	struct mk last;
} out;

static struct replica_net *r;
static struct mk m;

static uint64_t number_in(const uint8_t *data, size_t len)
{
	uint64_t number;

	memcpy(&number, data + len - sizeof(number), sizeof(number));
	return number;
}

static void keep_last(const uint8_t *data, size_t len)
{
	mk_start(&out.last);
	out.last.l3 = 14;
	out.last.l4 = 34;
	out.last.proto = IPPROTO_TCP;
	mk_data(&out.last, data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES);
}

static void on_inject(void *arg, uint8_t nic, const uint8_t *data, size_t len)
{
	(void)arg;
	out.injected++;
	keep_last(data, len);
	if (out.seen_count[nic] < MAX_SEEN)
		out.seen[nic][out.seen_count[nic]++] = number_in(data, len);
}

static void on_to_primary(void *arg, uint8_t nic, uint64_t after, const uint8_t *data, size_t len)
{
	(void)arg;
	(void)nic;
	out.to_primary++;
	out.after = after;
	keep_last(data, len);
}

static void on_transmit(void *arg, uint8_t nic, const uint8_t *data, size_t len)
{
	(void)arg;
	(void)nic;
	out.transmitted++;
	keep_last(data, len);
}

static void on_lost(void *arg, uint64_t count)
{
	(void)arg;
	out.lost_calls++;
	out.lost += count;
}

static void on_marked(void *arg, uint64_t epoch)
{
	(void)arg;
	out.marked = epoch;
}

static const struct replica_net_ops ops = {on_inject, on_to_primary, on_transmit, on_lost,
					   on_marked};

static int fresh(void **state)
{
	struct replica_net_params p = {
		.nic_count = NICS,
		.inbox_bytes = 1 << 20,
		.outbox_bytes = 1 << 20,
		.inbox_frames = REPLICA_MIN_FRAMES,
		.outbox_frames = 100,
		.max_flows = 16,
	};

	(void)state;
	memcpy(p.macs[0], mk_mac_guest, 6);
	memset(&out, 0, offsetof(struct out, last));
	return replica_net_new(&r, &p, &ops, NULL);
}

static int done(void **state)
{
	(void)state;
	replica_net_free(r);
	return 0;
}

/* A vnet header before what follows. */
static void start(bool from_guest)
{
	mk_start(&m);
	mk_more(&m, REPLICA_VNET_BYTES);
	mk_eth(&m, from_guest ? mk_mac_peer : mk_mac_guest,
	       from_guest ? mk_mac_guest : mk_mac_peer);
}

static void mirror(uint8_t nic, uint64_t number)
{
	start(false);
	mk_ip(&m, CLIENT, GUEST, IPPROTO_UDP);
	mk_udp(&m, 7, 7);
	mk_data(&m, &number, sizeof(number));
	mk_end(&m);
	replica_net_mirrored(r, nic, number, m.b, m.len, 0);
}

static void mark_all(uint64_t epoch, uint64_t mark)
{
	for (uint8_t i = 0; i < NICS; i++)
		replica_net_mark(r, epoch, i, mark);
}

static void checkpoint(uint64_t epoch, uint64_t mark)
{
	mark_all(epoch, mark);
	replica_net_stopped(r);
	replica_net_committed(r, epoch);
	replica_net_loaded(r, epoch);
}

static void guest_tcp(unsigned flags, uint32_t seq, uint32_t tsval, size_t bytes)
{
	start(true);
	mk_ip(&m, GUEST, CLIENT, IPPROTO_TCP);
	mk_tcp(&m, 80, 4000, flags, seq, 1);
	if (tsval)
		mk_tcp_ts(&m, tsval, 9);
	mk_fill(&m, 1, 0, bytes);
	mk_end(&m);
	replica_net_out(r, 0, m.b, m.len, 0);
}

static void build_client_tcp(uint32_t ack, uint32_t tsecr)
{
	start(false);
	mk_ip(&m, CLIENT, GUEST, IPPROTO_TCP);
	mk_tcp(&m, 4000, 80, TCP_ACK, 1, ack);
	mk_tcp_ts(&m, 9, tsecr);
	mk_end(&m);
}

static struct flow_note note(enum flow_note_kind kind)
{
	struct mk key;
	struct flow_note n = {.kind = kind};
	struct pkt p;

	mk_tcp_packet(&key, GUEST, 80, CLIENT, 4000, 0, 0, 0, NULL, 0);
	p = mk_parse(&key);
	flow_key_out(&n.key, &p, 0);
	return n;
}

static struct pkt last(void)
{
	assert_true(mk_checksums_ok(&out.last));
	return mk_parse(&out.last);
}

/*
 * The model. The primary's guest has been given @given frames of a NIC and read @read of them. Of
 * the replica's guest only what it has been given since its checkpoint is real: its history is the
 * frames up to the checkpoint's mark, and then what was injected.
 */
struct model {
	struct rng rng;
	uint64_t given[NICS], read[NICS];
	uint64_t arrived[NICS]; /* the packet connection has brought the frames up to here */
	uint64_t epoch, mark[NICS];
	bool runs;
};

static void history_is_a_prefix_of(uint8_t nic, uint64_t mark)
{
	out.seen_count[nic] = 0;
	for (uint64_t i = 1; i <= mark; i++)
		out.seen[nic][out.seen_count[nic]++] = i;
}

static void assert_history(uint8_t nic, uint64_t upto)
{
	assert_int_equal(out.seen_count[nic], upto);
	for (uint64_t i = 0; i < upto; i++)
		assert_int_equal(out.seen[nic][i], i + 1);
}

/* Bring frames over the connection, up to frame @upto of @nic. */
static void arrive(struct model *o, uint8_t nic, uint64_t upto)
{
	while (o->arrived[nic] < upto)
		mirror(nic, ++o->arrived[nic]);
}

/* One checkpoint with everything that may happen between its messages. */
static void model_checkpoint(struct model *o, bool colo)
{
	bool aborted = !rng_below(&o->rng, 4), late_marks = !rng_below(&o->rng, 3);
	uint64_t epoch = o->epoch + 1, mark[NICS];

	for (uint8_t i = 0; i < NICS; i++)
		mark[i] = o->read[i];
	replica_net_stopped(r);
	if (!late_marks)
		for (uint8_t i = 0; i < NICS; i++) {
			arrive(o, i, mark[i]);
			replica_net_mark(r, epoch, i, mark[i]);
		}
	for (uint8_t i = 0; i < NICS; i++)
		arrive(o, i, o->arrived[i] + rng_below(&o->rng, o->given[i] - o->arrived[i] + 1));
	if (aborted) { /* the replica goes on where it stood */
		replica_net_unmark(r, epoch);
		if (o->runs)
			replica_net_running(r);
		return;
	}
	assert_int_equal(replica_net_is_marked(r, epoch), !late_marks);
	replica_net_committed(r, epoch);
	replica_net_loaded(r, epoch);
	for (uint8_t i = 0; i < NICS; i++)
		history_is_a_prefix_of(i, mark[i]);
	o->runs = colo;
	if (colo)
		replica_net_running(r);
	if (late_marks)
		for (uint8_t i = 0; i < NICS; i++) {
			arrive(o, i, MAX(mark[i], o->arrived[i]));
			replica_net_mark(r, epoch, i, mark[i]);
		}
	o->epoch = epoch;
	memcpy(o->mark, mark, sizeof(mark));
}

static void model_step(struct model *o)
{
	uint8_t nic = (uint8_t)rng_below(&o->rng, NICS);

	switch (rng_below(&o->rng, 8)) {
	case 0:
		model_checkpoint(o, rng_below(&o->rng, 2));
		break;
	case 1:
	case 2:
		o->read[nic] += rng_below(&o->rng, o->given[nic] - o->read[nic] + 1);
		break;
	case 3:
		arrive(o, nic,
		       o->arrived[nic] + rng_below(&o->rng, o->given[nic] - o->arrived[nic] + 1));
		break;
	default:
		o->given[nic] += rng_below(&o->rng, 5);
	}
}

/* As the guest that runs has it: all that arrived, in order; one that stands still has nothing more. */
static void model_check(const struct model *o)
{
	for (uint8_t i = 0; i < NICS; i++)
		if (o->runs)
			assert_history(i, o->arrived[i]);
		else
			assert_history(i, out.seen_count[i]);
}

static void no_inbound_frame_is_lost_or_reordered(void **state)
{
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct model o = {.rng = {seed}};
		uint64_t steps = rng_below(&o.rng, 120);

		assert_int_equal(fresh(state), 0);
		replica_net_attach(r, 0);
		while (steps--) {
			model_step(&o);
			model_check(&o);
		}
		for (uint8_t i = 0; i < NICS; i++)
			arrive(&o, i, o.given[i]);
		if (rng_below(&o.rng, 2))
			replica_net_stopped(r);
		replica_net_take_over(r, 0);
		for (uint8_t i = 0; i < NICS; i++)
			assert_history(i, o.given[i]);
		assert_int_equal(out.lost, 0);
		done(state);
	}
}

static void frames_of_a_committed_checkpoint_are_forgotten(void **state)
{
	struct replica_net_stats s;

	(void)state;
	for (uint64_t i = 1; i <= 10; i++)
		mirror(0, i);
	mark_all(1, 7);
	assert_int_equal(out.marked, 1);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.kept_frames, 10);
	replica_net_committed(r, 1);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.kept_frames, 3);
}

static void marks_of_every_nic_are_awaited_before_anything_is_injected(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		mirror(0, i);
	replica_net_committed(r, 1);
	replica_net_loaded(r, 1);
	replica_net_running(r);
	assert_int_equal(out.injected, 0);
	replica_net_mark(r, 1, 0, 3);
	assert_int_equal(out.injected, 0);
	assert_int_equal(out.marked, 0);
	replica_net_mark(r, 1, 1, 0);
	assert_int_equal(out.injected, 1);
	assert_int_equal(out.seen[0][0], 4);
	assert_int_equal(out.marked, 1);
}

static void a_checkpoint_tried_again_has_new_marks(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		mirror(0, i);
	mark_all(1, 1);
	replica_net_mark(r, 1, 0, 3);
	assert_false(replica_net_is_marked(r, 1));
	replica_net_mark(r, 1, 1, 0);
	assert_true(replica_net_is_marked(r, 1));
	replica_net_committed(r, 1);
	replica_net_loaded(r, 1);
	replica_net_running(r);
	assert_int_equal(out.injected, 1);
}

static void a_frame_seen_twice_or_of_no_nic_is_ignored(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	mirror(0, 1);
	mirror(0, 1);
	mirror(NICS, 1);
	replica_net_mark(r, 2, NICS, 1);
	replica_net_mirrored(r, 0, 2, m.b, REPLICA_VNET_BYTES + 13, 0);
	assert_int_equal(out.injected, 1);
}

static void forgotten_frames_are_no_loss_when_the_guest_had_them(void **state)
{
	const uint64_t count = REPLICA_MIN_FRAMES + 50;

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	for (uint64_t i = 1; i <= count; i++)
		mirror(0, i);
	assert_int_equal(out.injected, count);
	checkpoint(2, 50);
	replica_net_running(r);
	assert_int_equal(out.lost, 0);
	assert_int_equal(out.injected, count + REPLICA_MIN_FRAMES);
}

static void a_checkpoint_that_needs_forgotten_frames_is_a_loss(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	checkpoint(2, 40);
	assert_int_equal(out.lost, 10);
	replica_net_running(r);
	assert_int_equal(out.lost, 10);
}

static void a_replica_standing_still_reports_a_loss_once_for_each_checkpoint(void **state)
{
	(void)state;
	checkpoint(1, 0);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	assert_int_equal(out.lost_calls, 1);
	checkpoint(2, REPLICA_MIN_FRAMES + 50);
	assert_int_equal(out.lost_calls, 1);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 1; i++)
		mirror(0, REPLICA_MIN_FRAMES + 50 + i);
	assert_int_equal(out.lost_calls, 2);
}

static void output_goes_to_the_primary_as_it_is_with_its_epoch(void **state)
{
	struct flow_note offset = note(FLOW_OFFSET);

	(void)state;
	checkpoint(3, 0);
	replica_net_running(r);
	offset.seq_offset = 1000;
	replica_net_note(r, &offset, 0);
	guest_tcp(TCP_ACK, 500, 0, 10);
	assert_int_equal(out.to_primary, 1);
	assert_int_equal(out.after, 3);
	assert_int_equal(last().seq, 500);
	assert_int_equal(out.transmitted, 0);
}

static void inbound_of_a_connection_of_the_epoch_is_rewritten_until_the_load(void **state)
{
	struct flow_note offset = note(FLOW_OFFSET);

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	offset.seq_offset = 1000;
	offset.ts_offset = 50;
	replica_net_note(r, &offset, 0);
	build_client_tcp(1600, 350);
	replica_net_mirrored(r, 0, 1, m.b, m.len, 0);
	assert_int_equal(last().ack, 600);
	assert_int_equal(last().tsecr, 300);
	checkpoint(2, 0);
	replica_net_running(r);
	assert_int_equal(out.injected, 2);
	assert_int_equal(last().ack, 1600);
	assert_int_equal(last().tsecr, 350);
}

static void what_the_primary_did_not_release_is_sent_at_take_over(void **state)
{
	struct flow_note released = note(FLOW_RELEASED), offset = note(FLOW_OFFSET);

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	offset.seq_offset = 1000;
	replica_net_note(r, &offset, 0);
	guest_tcp(TCP_ACK, 500, 40, 10);
	guest_tcp(TCP_ACK, 510, 41, 10);
	guest_tcp(TCP_ACK, 520, 42, 10);
	released.released_seq = 1520;
	released.has_ts = true;
	released.released_ts = 47;
	replica_net_note(r, &released, 0);
	replica_net_take_over(r, 0);
	assert_int_equal(out.transmitted, 1);
	assert_int_equal(last().seq, 1520);
	assert_int_equal(last().tsval, 47);
	/* The shift stays as it is, and is taken back from the echo. */
	guest_tcp(TCP_ACK, 530, 52, 10);
	assert_int_equal(last().seq, 1530);
	assert_int_equal(last().tsval, 57);
	build_client_tcp(1540, 57);
	replica_net_in(r, 0, m.b, m.len, 0);
	assert_int_equal(last().ack, 540);
	assert_int_equal(last().tsecr, 52);
}

static void a_load_takes_back_what_was_said(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	guest_tcp(TCP_ACK, 500, 40, 10);
	checkpoint(2, 0);
	replica_net_running(r);
	replica_net_take_over(r, 0);
	assert_int_equal(out.transmitted, 0);
}

static void own_and_inherited_offsets_add_up(void **state)
{
	struct flow_note offset = note(FLOW_OFFSET);
	const struct rewrite inherited = {7, 3}, other = {1, 1};
	struct flow_note gone = offset;

	(void)state;
	gone.key.guest_port = 81;
	replica_net_inherit(r, 1, &offset.key, &inherited, 0);
	replica_net_inherit(r, 1, &gone.key, &other, 0);
	checkpoint(1, 0);
	replica_net_inherit(r, 2, &offset.key, &inherited, 0);
	checkpoint(2, 0);
	assert_int_equal(replica_net_rewrites(r)->flows.used, 1);
	replica_net_running(r);
	offset.seq_offset = 1000;
	offset.ts_offset = 50;
	replica_net_note(r, &offset, 0);
	guest_tcp(TCP_ACK, 500, 40, 10);
	assert_int_equal(last().seq, 500);
	replica_net_take_over(r, 0);
	assert_int_equal(last().seq, 1507);
	assert_int_equal(last().tsval, 93);
	assert_int_equal(replica_net_rewrites(r)->flows.used, 1);
}

static void a_rewritten_frame_is_kept_as_it_came(void **state)
{
	struct flow_note offset = note(FLOW_OFFSET);

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	offset.seq_offset = 1000;
	replica_net_note(r, &offset, 0);
	replica_net_stopped(r);
	build_client_tcp(1600, 350);
	replica_net_mirrored(r, 0, 1, m.b, m.len, 0);
	replica_net_running(r); /* that checkpoint failed */
	assert_int_equal(last().ack, 600);
	checkpoint(2, 0);
	replica_net_running(r);
	assert_int_equal(last().ack, 1600);
}

static void a_take_over_begins_at_the_last_committed_checkpoint(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	guest_tcp(TCP_ACK, 500, 40, 10);
	mirror(0, 1);
	mirror(0, 2);
	mark_all(2, 1);
	replica_net_stopped(r);
	replica_net_committed(r, 2);
	replica_net_take_over(r, 0);
	assert_int_equal(out.transmitted, 0);
	assert_int_equal(out.injected, 3);
	assert_int_equal(out.seen[0][2], 2);
}

static void a_late_frame_of_a_committed_checkpoint_is_not_kept(void **state)
{
	struct replica_net_stats s;

	(void)state;
	checkpoint(1, 5);
	mirror(0, 5);
	mirror(0, 6);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.kept_frames, 1);
	assert_int_equal(s.mirrored, 2);
}

static void a_lost_frame_is_counted_once(void **state)
{
	struct replica_net_stats s;

	(void)state;
	checkpoint(1, 0);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	replica_net_take_over(r, 0);
	replica_net_get_stats(r, &s);
	assert_int_equal(s.lost, 50);
	assert_int_equal(out.injected, REPLICA_MIN_FRAMES);
}

static void a_loss_above_the_marks_is_not_made_up_for(void **state)
{
	(void)state;
	checkpoint(1, 0);
	for (uint64_t i = 1; i <= REPLICA_MIN_FRAMES + 50; i++)
		mirror(0, i);
	assert_int_equal(out.lost_calls, 1);
	checkpoint(2, 40);
	assert_int_equal(out.lost_calls, 2);
	assert_int_equal(out.lost, 1 + 10);
}

static void unusable_sizes_are_refused(void **state)
{
	struct replica_net_params p = {.nic_count = REPLICA_MAX_NICS + 1,
				       .inbox_bytes = 1 << 20,
				       .outbox_bytes = 1 << 20,
				       .inbox_frames = REPLICA_MIN_FRAMES,
				       .max_flows = 1};
	struct replica_net *none;

	(void)state;
	assert_int_equal(replica_net_new(&none, &p, &ops, NULL), -EINVAL);
	p.nic_count = 0;
	p.inbox_frames--;
	assert_int_equal(replica_net_new(&none, &p, &ops, NULL), -EINVAL);
	p.inbox_frames++;
	p.outbox_bytes = 4096;
	assert_int_equal(replica_net_new(&none, &p, &ops, NULL), -EINVAL);
}

static void its_questions_about_neighbours_are_answered_here(void **state)
{
	static const uint8_t none[6];
	struct arp a;

	(void)state;
	start(false);
	mk_arp(&m, 1, mk_mac_peer, CLIENT, none, GUEST);
	replica_net_mirrored(r, 0, 1, m.b, m.len, 0);
	checkpoint(1, 1);
	replica_net_running(r);
	start(true);
	mk_arp(&m, 1, mk_mac_guest, GUEST, none, CLIENT);
	replica_net_out(r, 0, m.b, m.len, 0);
	assert_int_equal(out.to_primary, 0);
	assert_int_equal(out.injected, 1);
	assert_int_equal(arp_parse(&a, out.last.b + 14, out.last.len - 14), 0);
	assert_int_equal(a.op, 2);
	assert_memory_equal(a.sender_mac, mk_mac_peer, 6);
	assert_int_equal(replica_net_neigh(r, 0)->own_count, 1);
	/* In the network's eyes it speaks for itself. */
	replica_net_take_over(r, 0);
	replica_net_out(r, 0, m.b, m.len, 0);
	assert_int_equal(out.transmitted, 1);
}

static void nothing_but_its_packets_moves_a_live_guest(void **state)
{
	(void)state;
	checkpoint(1, 0);
	replica_net_take_over(r, 0);
	mirror(0, 1);
	checkpoint(2, 0);
	replica_net_running(r);
	replica_net_take_over(r, 0);
	mirror(0, 2);
	assert_int_equal(out.injected, 0);
	replica_net_attach(r, 2);
	mirror(0, 1);
	replica_net_running(r);
	assert_int_equal(out.injected, 1);
}

#define rule(f) cmocka_unit_test_setup_teardown(f, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_inbound_frame_is_lost_or_reordered),
		rule(frames_of_a_committed_checkpoint_are_forgotten),
		rule(marks_of_every_nic_are_awaited_before_anything_is_injected),
		rule(a_checkpoint_tried_again_has_new_marks),
		rule(a_frame_seen_twice_or_of_no_nic_is_ignored),
		rule(forgotten_frames_are_no_loss_when_the_guest_had_them),
		rule(a_checkpoint_that_needs_forgotten_frames_is_a_loss),
		rule(a_replica_standing_still_reports_a_loss_once_for_each_checkpoint),
		rule(output_goes_to_the_primary_as_it_is_with_its_epoch),
		rule(inbound_of_a_connection_of_the_epoch_is_rewritten_until_the_load),
		rule(what_the_primary_did_not_release_is_sent_at_take_over),
		rule(a_load_takes_back_what_was_said),
		rule(own_and_inherited_offsets_add_up),
		rule(a_rewritten_frame_is_kept_as_it_came),
		rule(a_take_over_begins_at_the_last_committed_checkpoint),
		rule(a_late_frame_of_a_committed_checkpoint_is_not_kept),
		rule(a_lost_frame_is_counted_once),
		rule(a_loss_above_the_marks_is_not_made_up_for),
		rule(unusable_sizes_are_refused),
		rule(its_questions_about_neighbours_are_answered_here),
		rule(nothing_but_its_packets_moves_a_live_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
