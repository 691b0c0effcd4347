// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames injected on a tap, their order and their count, against the running kernel. */
#include "proxy/tapcount.h"
#include "tests/unit/mirror-rig.h"

#include <pthread.h>

static void injected(struct rig *g)
{
	take_offloads(g->tap);
	for (int kind = 0; kind < KINDS; kind++) {
		frame_of_kind(&g->sent, kind);
		assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
		read_guest(g->tap, &g->got);
		assert_same_frame(&g->got, &g->sent, kind);
	}
}

static void an_injected_frame_reaches_the_guest_byte_for_byte(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);

	injected(g);
	assert_int_equal(mirror_read(&g->m, keep, &g->copy), 0);
	rig_free(g);
}

static void a_frame_injected_beside_others_is_mirrored_in_its_place(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	autoclose int out = outside_socket();

	enslave(g->tap);
	for (uint32_t i = 0; i < 20; i++) {
		plain(&g->sent, i);
		if (i & 1)
			assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
		else
			assert_int_equal(send(out, g->sent.data, g->sent.len, 0), PLAIN_BYTES);
		read_guest(g->tap, &g->got);
		assert_int_equal(plain_number(g->got.data, g->got.len), i);
		copy_of(&g->m, &g->copy);
		assert_int_equal(plain_number(g->copy.data, g->copy.len), i);
	}
	rig_free(g);
}

static void an_injected_super_frame_is_cut_for_a_guest_without_offloads(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);

	tcp_frame(&g->sent, 0, 5 * MSS);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
	tcp_frame(&g->sent, 0, 300);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
	for (int i = 0; i < 6; i++) {
		read_guest(g->tap, &g->got);
		assert_int_equal(g->got.len, 10 + 54 + (i < 5 ? MSS : 300));
		assert_checksum(&g->got);
	}
	rig_free(g);
}

static void a_full_tap_refuses_a_frame_and_takes_it_when_there_is_room(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);
	struct err e;

	assert_ok(tap_set_queue(RIG_TAP, 10, &e), &e);
	for (uint32_t i = 0; i < 10; i++) {
		plain(&g->sent, i);
		assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
	}
	plain(&g->sent, 10);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), -ENOBUFS);
	read_guest(g->tap, &g->got);
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
	for (uint32_t i = 1; i <= 10; i++) {
		read_guest(g->tap, &g->got);
		assert_int_equal(plain_number(g->got.data, g->got.len), i);
	}
	rig_free(g);
}

static void super_frames_and_others_keep_their_order(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);

	take_offloads(g->tap);
	for (uint32_t i = 0; i < 200; i++) {
		if (i % 3 == 0)
			tcp_frame(&g->sent, 0, 2 * MSS + i);
		else
			plain(&g->sent, i);
		assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
	}
	for (uint32_t i = 0; i < 200; i++) {
		read_guest(g->tap, &g->got);
		if (i % 3 == 0)
			assert_int_equal(g->got.len, 10 + 54 + 2 * MSS + i);
		else
			assert_int_equal(plain_number(g->got.data, g->got.len), i);
	}
	rig_free(g);
}

static void what_is_no_frame_is_refused(void **state)
{
	struct rig *g = rig_new(state, MIRROR_FROM_GUEST);

	plain(&g->sent, 1);
	for (size_t len = 0; len < MIRROR_VNET_BYTES + 14; len++)
		assert_int_equal(mirror_inject(&g->m, g->sent.data, len), -EINVAL);
	tcp_frame(&g->sent, 0, 600);
	g->sent.data[6] = 0xff; /* checksum far behind the end */
	g->sent.data[7] = 0xff;
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), -EINVAL);
	tcp_frame(&g->sent, 0, 900);
	g->sent.data[1] = 0x7f; /* unknown GSO type */
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), -EINVAL);
	tcp_frame(&g->sent, 0, 3000);
	g->sent.data[1] = VIRTIO_NET_HDR_GSO_NONE;
	assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), -EMSGSIZE);
	assert_false(is_readable(g->tap->fd, 0));
	rig_free(g);
}

/* ---- order and counts ---- */

#define BURST 4000

struct sender {
	int ifindex;
	uint32_t first;
};

static void *send_burst(void *arg)
{
	struct sender *s = arg;
	uint8_t frame[PLAIN_BYTES];
	struct mirror m;
	struct err e;

	if (mirror_open(&m, s->ifindex, MIRROR_TO_GUEST, 4096, &e))
		return s;
	for (uint32_t i = 0; i < BURST; i++) {
		plain_frame(frame, s->first + i);
		if (mirror_inject(&m, frame, sizeof(frame)))
			return s;
	}
	mirror_close(&m);
	return NULL;
}

struct order {
	uint32_t n, number[2 * BURST];
};

static void note_order(void *arg, const uint8_t *data, size_t len)
{
	struct order *o = arg;

	assert_true(o->n < 2 * BURST);
	o->number[o->n++] = (uint32_t)plain_number(data, len);
}

static void the_mirrors_order_is_the_taps_order_whoever_sends(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	struct sender s[2] = {{.ifindex = g->tap->tap.index},
			      {.ifindex = g->tap->tap.index, .first = BURST}};
	struct order *o = calloc(1, sizeof(*o));
	pthread_t t[2];
	struct err e;
	void *failed;

	assert_ok(tap_set_queue(RIG_TAP, 2 * BURST, &e), &e);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, send_burst, &s[i]), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(t[i], &failed), 0);
		assert_null(failed);
	}
	while (mirror_read(&g->m, note_order, o) > 0)
		;
	assert_int_equal(o->n, 2 * BURST);
	for (uint32_t i = 0; i < 2 * BURST; i++) {
		read_guest(g->tap, &g->got);
		assert_int_equal(plain_number(g->got.data, g->got.len), o->number[i]);
	}
	free(o);
	rig_free(g);
}

/* As a checkpoint does it: counters, then the mirror to its end. */
static struct tapcount_now count_now(struct rig *g, const struct tap_counters *c)
{
	struct tapcount_now now;

	assert_int_equal(tap_counters_read(c, &now.read, &now.dropped), 0);
	do
		g->copy.len = 0;
	while (mirror_read(&g->m, keep, &g->copy) > 0);
	now.mirrored = g->m.frames;
	now.lost = mirror_lost(&g->m);
	return now;
}

static void inject_plain(struct rig *g, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		plain(&g->sent, i);
		assert_int_equal(mirror_inject(&g->m, g->sent.data, g->sent.len), 0);
		copy_of(&g->m, &g->copy);
	}
}

static void the_number_of_the_last_frame_that_was_read_is_known(void **state)
{
	struct rig *g = rig_new(state, MIRROR_TO_GUEST);
	struct tapcount_now now;
	struct tapcount_place p;
	struct tap_counters c;
	struct tapcount tc;
	struct err e;

	assert_ok(tap_set_queue(RIG_TAP, 10, &e), &e);
	assert_ok(tap_counters_open(&c, RIG_TAP, g->tap->tap.index, &e), &e);
	now = count_now(g, &c);
	tapcount_start(&tc, &now, 0);
	inject_plain(g, 8);
	for (uint64_t i = 0; i <= 8; i++) {
		now = count_now(g, &c);
		p = tapcount_place(&tc, &now);
		assert_true(p.is_exact && p.at_least == i && p.at_most == i && p.waiting == 8 - i);
		if (i < 8)
			read_guest(g->tap, &g->got);
	}
	inject_plain(g, 13); /* 9 to 21, of which 19 to 21 are dropped */
	for (int i = 0; i < 4; i++)
		read_guest(g->tap, &g->got);
	now = count_now(g, &c);
	p = tapcount_place(&tc, &now);
	assert_true(!p.is_exact && p.at_least == 12 && p.at_most == 15 && p.waiting == 6);
	assert_false(tapcount_settle(&tc, &now));
	for (int i = 0; i < 6; i++)
		read_guest(g->tap, &g->got);
	now = count_now(g, &c);
	assert_true(tapcount_settle(&tc, &now));
	inject_plain(g, 3);
	read_guest(g->tap, &g->got);
	now = count_now(g, &c);
	p = tapcount_place(&tc, &now);
	assert_true(p.is_exact && p.at_least == 22 && p.at_most == 22 && p.waiting == 2);
	tap_counters_close(&c);
	rig_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(an_injected_frame_reaches_the_guest_byte_for_byte),
		RIG_TEST(a_frame_injected_beside_others_is_mirrored_in_its_place),
		RIG_TEST(an_injected_super_frame_is_cut_for_a_guest_without_offloads),
		RIG_TEST(a_full_tap_refuses_a_frame_and_takes_it_when_there_is_room),
		RIG_TEST(super_frames_and_others_keep_their_order),
		RIG_TEST(what_is_no_frame_is_refused),
		RIG_TEST(the_mirrors_order_is_the_taps_order_whoever_sends),
		RIG_TEST(the_number_of_the_last_frame_that_was_read_is_known),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
