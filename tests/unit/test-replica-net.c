// SPDX-License-Identifier: GPL-2.0-or-later
/* The replica's packets: its output, rewriting, take-over, neighbours. */
#include "tests/unit/replica-net-rig.h"

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

static void build_client_flags(unsigned flags, uint32_t ack, uint32_t tsecr)
{
	start(false);
	mk_ip(&m, CLIENT, GUEST, IPPROTO_TCP);
	mk_tcp(&m, 4000, 80, flags, 1, ack);
	mk_tcp_ts(&m, 9, tsecr);
	mk_end(&m);
}

static void build_client_tcp(uint32_t ack, uint32_t tsecr)
{
	build_client_flags(TCP_ACK, ack, tsecr);
}

static void client_tcp(uint64_t number, unsigned flags)
{
	build_client_flags(flags, 1501, 40);
	replica_net_mirrored(r, 0, number, m.b, m.len, 0);
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

/* A router's frag needed about the guest's segment @seq, as the network has seen it. */
static void mirror_error_about(uint64_t number, uint32_t seq)
{
	static struct mk about;

	mk_tcp_packet(&about, GUEST, 80, CLIENT, 4000, TCP_ACK, seq, 1, "0123456789", 10);
	start(false);
	mk_ip(&m, CLIENT, GUEST, IPPROTO_ICMP);
	mk_icmp(&m, 3, 4, 0, 1300);
	mk_data(&m, about.b, about.len);
	mk_end(&m);
	replica_net_mirrored(r, 0, number, m.b, m.len, 0);
}

static uint32_t quoted_seq(void)
{
	struct pkt p, q;

	out.last.proto = IPPROTO_ICMP;
	p = last();
	assert_true(pkt_parse_quote(&q, &p));
	return q.seq;
}

static void an_error_about_a_connection_of_the_epoch_is_rewritten_until_the_load(void **state)
{
	struct flow_note offset = note(FLOW_OFFSET);

	(void)state;
	checkpoint(1, 0);
	replica_net_running(r);
	offset.seq_offset = 1000;
	replica_net_note(r, &offset, 0);
	mirror_error_about(1, 1600);
	assert_int_equal(quoted_seq(), 600);
	checkpoint(2, 0);
	replica_net_running(r);
	assert_int_equal(quoted_seq(), 1600);
}

static void what_the_primary_did_not_release_is_sent_at_take_over(void **state)
{
	struct flow_note released = note(FLOW_RELEASED), offset = note(FLOW_OFFSET);
	struct pkt in;

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
	pkt_parse_ip(&in, m.b + REPLICA_VNET_BYTES + 14, m.len - REPLICA_VNET_BYTES - 14, 0);
	assert_true(rewrites_in(replica_net_rewrites(r), 0, m.b + REPLICA_VNET_BYTES + 14, &in,
				false, 0));
	pkt_parse_ip(&in, m.b + REPLICA_VNET_BYTES + 14, m.len - REPLICA_VNET_BYTES - 14, 0);
	assert_int_equal(in.ack, 540);
	assert_int_equal(in.tsecr, 52);
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
	replica_net_inherit(r, 1, &offset.key, &inherited, 0, 0);
	replica_net_inherit(r, 1, &gone.key, &other, 0, 0);
	checkpoint(1, 0);
	replica_net_inherit(r, 2, &offset.key, &inherited, 0, 0);
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

/* Rewritten by 1000, opened in this epoch. */
static void opened(void)
{
	struct flow_note offset = note(FLOW_OFFSET);

	checkpoint(1, 0);
	replica_net_running(r);
	offset.seq_offset = 1000;
	replica_net_note(r, &offset, 0);
}

static uint32_t rewritten_after(uint64_t now_us)
{
	replica_net_tick(r, now_us);
	return replica_net_rewrites(r)->flows.used;
}

static void what_ended_before_the_take_over_is_rewritten_for_a_minute_only(void **state)
{
	struct flow_note released = note(FLOW_RELEASED);

	(void)state;
	opened();
	guest_tcp(TCP_FIN | TCP_ACK, 500, 40, 0);
	released.released_seq = 1501;
	replica_net_note(r, &released, 0);
	client_tcp(1, TCP_FIN | TCP_ACK);
	replica_net_take_over(r, 0);
	guest_tcp(TCP_ACK, 501, 40, 0);
	assert_int_equal(last().seq, 1501);
	assert_int_equal(rewritten_after(REWRITES_CLOSED_US), 1);
	assert_int_equal(rewritten_after(REWRITES_CLOSED_US + 1), 0);
}

static void what_one_side_ended_before_the_take_over_is_open(void **state)
{
	(void)state;
	opened();
	client_tcp(1, TCP_FIN | TCP_ACK);
	guest_tcp(TCP_ACK, 500, 40, 10);
	client_tcp(2, TCP_FIN | TCP_ACK);
	replica_net_take_over(r, 0);
	assert_int_equal(rewritten_after(REWRITES_CLOSED_US + 1), 1);
}

static void what_began_anew_before_the_take_over_is_open(void **state)
{
	(void)state;
	opened();
	guest_tcp(TCP_FIN | TCP_ACK, 500, 40, 0);
	client_tcp(1, TCP_FIN | TCP_ACK);
	client_tcp(2, TCP_SYN);
	guest_tcp(TCP_SYN | TCP_ACK, 700, 40, 0);
	replica_net_take_over(r, 0);
	assert_int_equal(rewritten_after(REWRITES_CLOSED_US + 1), 1);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		rule(output_goes_to_the_primary_as_it_is_with_its_epoch),
		rule(inbound_of_a_connection_of_the_epoch_is_rewritten_until_the_load),
		rule(an_error_about_a_connection_of_the_epoch_is_rewritten_until_the_load),
		rule(what_the_primary_did_not_release_is_sent_at_take_over),
		rule(a_load_takes_back_what_was_said),
		rule(own_and_inherited_offsets_add_up),
		rule(what_ended_before_the_take_over_is_rewritten_for_a_minute_only),
		rule(what_one_side_ended_before_the_take_over_is_open),
		rule(what_began_anew_before_the_take_over_is_open),
		rule(a_rewritten_frame_is_kept_as_it_came),
		rule(a_take_over_begins_at_the_last_committed_checkpoint),
		rule(unusable_sizes_are_refused),
		rule(its_questions_about_neighbours_are_answered_here),
		rule(nothing_but_its_packets_moves_a_live_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
