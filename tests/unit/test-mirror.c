// SPDX-License-Identifier: GPL-2.0-or-later
/* Copies of a tap's frames against the running kernel, in a network namespace of its own. */
#include "tests/unit/mirror-rig.h"

/* ---- copies ---- */

static void what_the_guest_gets_is_mirrored_once_and_byte_for_byte(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	autoclose int out = outside_socket();

	enslave(g->tap);
	take_offloads(g->tap);
	for (int kind = 0; kind < KINDS; kind++) {
		frame_of_kind(&g->sent, kind);
		assert_int_equal(send(out, g->sent.data, g->sent.len, 0), (ssize_t)g->sent.len);
		read_guest(g->tap, &g->got);
		copy_of(&g->m, &g->copy);
		assert_same_frame(&g->got, &g->sent, kind);
		assert_same_frame(&g->copy, &g->sent, kind);
		assert_header_hint(&g->copy);
	}
	assert_int_equal(g->m.frames, KINDS);
	assert_int_equal(mirror_lost(&g->m), 0);
	rig_free(g);
}

static void what_the_guest_sends_is_captured_byte_for_byte(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);

	for (int kind = 0; kind < KINDS; kind++) {
		frame_of_kind(&g->sent, kind);
		write_guest(g->tap, &g->sent);
		copy_of(&g->m, &g->copy);
		assert_same_frame(&g->copy, &g->sent, kind);
		assert_header_hint(&g->copy);
	}
	rig_free(g);
}

static void only_the_chosen_direction_is_copied(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	autoclose int out = outside_socket();
	struct mirror from;

	open_mirror(g->tap, &from, MIRROR_FROM_GUEST);
	enslave(g->tap);
	for (uint32_t i = 0; i < 10; i++) {
		plain(&g->sent, i);
		if (i & 1)
			write_guest(g->tap, &g->sent);
		else
			assert_int_equal(send(out, g->sent.data, g->sent.len, 0), PLAIN_BYTES);
		copy_of(i & 1 ? &from : &g->m, &g->copy);
		assert_int_equal(plain_number(g->copy.data, g->copy.len), i);
	}
	assert_int_equal(mirror_read(&g->m, keep, &g->copy), 0);
	assert_int_equal(mirror_read(&from, keep, &g->copy), 0);
	mirror_close(&from);
	rig_free(g);
}

static void check_segment(void *arg, const uint8_t *data, size_t len)
{
	struct frame_buf *f = calloc(1, sizeof(*f));

	(void)arg;
	memcpy(f->data, data, len);
	f->len = len;
	assert_int_equal(len, 10 + 54 + MSS);
	assert_checksum(f);
	free(f);
}

static void a_guest_without_offloads_gets_cut_frames_and_so_does_the_mirror(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	autoclose int out = outside_socket();

	enslave(g->tap);
	tcp_frame(&g->sent, 0, 5 * MSS);
	assert_int_equal(send(out, g->sent.data, g->sent.len, 0), (ssize_t)g->sent.len);
	for (int i = 0; i < 5; i++) {
		read_guest(g->tap, &g->got);
		assert_int_equal(g->got.len, 10 + 54 + MSS);
		assert_checksum(&g->got);
	}
	assert_int_equal(mirror_read(&g->m, check_segment, NULL), 5);
	rig_free(g);
}

/* ---- a real TCP connection ---- */

/* The guest's side of opening a connection: a SYN/ACK to the SYN in @f, made in place. */
static void answer_syn(struct frame_buf *f)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	uint8_t *eth = f->data + 10, *ip = eth + 14, *tcp = ip + 20, swap[6];
	uint32_t seq;

	memcpy(f->data, &h, sizeof(h));
	memcpy(swap, eth, 6);
	memcpy(eth, eth + 6, 6);
	memcpy(eth + 6, swap, 6);
	memcpy(swap, ip + 12, 4);
	memcpy(ip + 12, ip + 16, 4);
	memcpy(ip + 16, swap, 4);
	memcpy(swap, tcp, 2);
	memcpy(tcp, tcp + 2, 2);
	memcpy(tcp + 2, swap, 2);
	memcpy(&seq, tcp + 4, 4);
	seq = htonl(ntohl(seq) + 1);
	memcpy(tcp + 8, &seq, 4);
	tcp[12] = 6 << 4;
	tcp[13] = 0x12; /* SYN, ACK */
	put16(tcp + 14, 65535);
	memcpy(tcp + 20, "\2\4\5\264", 4); /* MSS 1460 */
	put16(ip + 2, 44);
	put16(ip + 10, 0);
	put16(ip + 10, ~sum16(ip, 20, 0) & 0xffff);
	put16(tcp + 16, sum16(ip + 12, 8, IPPROTO_TCP + 24));
	f->len = 10 + 14 + 44;
}

static bool is_tcp(const struct frame_buf *f)
{
	return f->len >= 10 + 54 && f->data[22] == 8 && f->data[23] == 0 && f->data[33] == 6;
}

/* What the guest is given and its copies come in the same order, the copies not later. */
struct lockstep {
	struct tap_rig *tap;
	struct frame_buf got, copy;
	size_t largest;
	bool saw_syn;
};

static void compare_with_guest(void *arg, const uint8_t *data, size_t len)
{
	struct lockstep *l = arg;

	memcpy(l->copy.data, data, len);
	l->copy.len = len;
	read_guest(l->tap, &l->got);
	assert_same_frame(&l->got, &l->copy, 0);
	if (!is_tcp(&l->got))
		return;
	l->largest = MAX(l->largest, l->got.len);
	if (l->saw_syn)
		return;
	l->saw_syn = true;
	answer_syn(&l->got);
	write_guest(l->tap, &l->got);
}

static void the_super_frames_of_a_local_connection_are_mirrored_whole(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	struct lockstep *l = calloc(1, sizeof(*l));
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x0a0b0c02)};
	autoclose int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	static const uint8_t data[10000];

	l->tap = g->tap;
	enslave(g->tap);
	take_offloads(g->tap);
	run("ip addr add 10.11.12.1/24 dev " RIG_BRIDGE);
	run("ip neigh add 10.11.12.2 lladdr 02:00:00:00:00:22 dev " RIG_BRIDGE " nud permanent");
	assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	while (l->largest < 2 * 1460) {
		assert_true(is_readable(mirror_fd(&g->m), (int)(GIVE_UP_US / USEC_PER_MSEC)));
		assert_true(mirror_read(&g->m, compare_with_guest, l) >= 0);
		(void)!send(s, data, sizeof(data), 0); /* refused until it is connected */
	}
	free(l);
	rig_free(g);
}

/* ---- loss, links that come and go ---- */

struct sequence {
	int64_t last;
	uint64_t frames;
};

static void in_sequence(void *arg, const uint8_t *data, size_t len)
{
	struct sequence *s = arg;

	assert_true(plain_number(data, len) > s->last);
	s->last = plain_number(data, len);
	s->frames++;
}

static void every_frame_is_either_copied_or_counted_as_lost(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));
	struct sequence seq = {.last = -1};
	struct err e;

	g->tap = *state;
	assert_ok(mirror_open(&g->m, g->tap->tap.index, MIRROR_FROM_GUEST, 64 * 1024, &e), &e);
	for (uint32_t i = 0; i < 1000; i++) {
		plain(&g->sent, i);
		write_guest(g->tap, &g->sent);
	}
	while (mirror_read(&g->m, in_sequence, &seq) > 0)
		;
	assert_true(seq.frames > 0 && seq.frames < 1000);
	assert_int_equal(seq.frames, g->m.frames);
	assert_int_equal(seq.frames + mirror_lost(&g->m), 1000);
	assert_int_equal(seq.frames + mirror_lost(&g->m), 1000);
	rig_free(g);
}

static void a_mirror_outlives_a_link_that_was_down_and_tells_of_one_that_is_gone(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);
	struct err e;

	plain(&g->sent, 1);
	write_guest(g->tap, &g->sent);
	assert_ok(netlink_set_up(&g->tap->nl, &g->tap->tap, false, &e), &e);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), -ENETDOWN);
	copy_of(&g->m, &g->copy); /* it was there before */
	assert_int_equal(mirror_read(&g->m, keep, &g->copy), 0);
	assert_ok(netlink_set_up(&g->tap->nl, &g->tap->tap, true, &e), &e);
	assert_int_equal(mirror_read(&g->m, keep, &g->copy), 0);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
	read_guest(g->tap, &g->got);
	plain(&g->sent, 2);
	write_guest(g->tap, &g->sent);
	copy_of(&g->m, &g->copy);
	assert_int_equal(plain_number(g->copy.data, g->copy.len), 2);

	plain(&g->sent, 3);
	write_guest(g->tap, &g->sent);
	close_fd(&g->tap->fd);
	copy_of(&g->m, &g->copy);
	assert_int_equal(mirror_read(&g->m, keep, &g->copy), -ENODEV);
	assert_int_equal(mirror_read(&g->m, keep, &g->copy), -ENODEV);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), -ENXIO);
	rig_free(g);
}

static void a_filtered_tap_gives_its_guest_nothing_and_is_mirrored(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	autoclose int out = outside_socket();

	enslave(g->tap);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(tap_set_filter(g->tap->fd, i & 1), 0);
		plain(&g->sent, i);
		memset(g->sent.data + 10, i & 2 ? 0xff : 2, 6);
		assert_int_equal(send(out, g->sent.data, g->sent.len, 0), PLAIN_BYTES);
		copy_of(&g->m, &g->copy);
		assert_int_equal(plain_number(g->copy.data, g->copy.len), i);
		if (i & 1)
			assert_false(is_readable(g->tap->fd, 20));
		else
			read_guest(g->tap, &g->got);
	}
	rig_free(g);
}

static void a_missing_link_is_refused(void **state)
{
	struct mirror m;
	struct err e;

	(void)state;
	assert_int_equal(mirror_open(&m, 123456, MIRROR_TO_GUEST, MIRROR_RCVBUF_BYTES, &e),
			 -ENODEV);
	assert_non_null(strstr(err_msg(&e), "cannot mirror interface number 123456"));
	mirror_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(what_the_guest_gets_is_mirrored_once_and_byte_for_byte),
		RIG_TEST(what_the_guest_sends_is_captured_byte_for_byte),
		RIG_TEST(only_the_chosen_direction_is_copied),
		RIG_TEST(a_guest_without_offloads_gets_cut_frames_and_so_does_the_mirror),
		RIG_TEST(the_super_frames_of_a_local_connection_are_mirrored_whole),
		RIG_TEST(every_frame_is_either_copied_or_counted_as_lost),
		RIG_TEST(a_mirror_outlives_a_link_that_was_down_and_tells_of_one_that_is_gone),
		RIG_TEST(a_filtered_tap_gives_its_guest_nothing_and_is_mirrored),
		RIG_TEST(a_missing_link_is_refused),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
