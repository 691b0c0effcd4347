// SPDX-License-Identifier: GPL-2.0-or-later
/* Packet channel: the bytes of docs/protocol.md, round trips at every split, and that nothing broken is taken. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "proxy/chan.h"

#include <endian.h>

#define MSG_MAX (CHAN_HEADER_BYTES + CHAN_MAX_PAYLOAD)

/* What docs/protocol.md says of each type: number, name, header fields, payload of other than frames. */
#define NIC    BIT(0)
#define FLAGS  BIT(1)
#define NUMBER BIT(2)
#define MARK   BIT(3)
#define FRAME  BIT(4)

static const struct spec {
	enum chan_type type;
	unsigned number;
	const char *name;
	unsigned fields;
	uint32_t payload;
} specs[] = {
	{CHAN_FRAME_IN, 1, "FRAME_IN", NIC | NUMBER | FRAME, 0},
	{CHAN_FRAME_OUT, 2, "FRAME_OUT", NIC | NUMBER | FRAME, 0},
	{CHAN_EPOCH, 3, "EPOCH", NIC | NUMBER | MARK, 0},
	{CHAN_COMMITTED, 4, "COMMITTED", NUMBER, 0},
	{CHAN_FLOW, 5, "FLOW", NIC, 64},
	{CHAN_LOST, 6, "LOST", NIC | NUMBER, 0},
	{CHAN_REWRITE, 7, "REWRITE", NIC | FLAGS | NUMBER, 48},
	{CHAN_OWN_ADDRESS, 8, "OWN_ADDRESS", NIC, 18},
	{CHAN_LEFT, 9, "LEFT", NIC, 0},
	{CHAN_PING, 10, "PING", FLAGS | NUMBER | MARK, 0},
	{CHAN_MUTE, 11, "MUTE", 0, 0},
	{CHAN_JOINED, 12, "JOINED", 0, 0},
	{CHAN_GAP, 13, "GAP", NIC | NUMBER, 0},
};

#define for_each_spec(s) for (const struct spec *s = specs; s < specs + ARRAY_SIZE(specs); s++)

static void random_key(struct rng *r, struct flow_key *k, uint8_t nic)
{
	rng_fill(r, k, sizeof(*k));
	k->vlan &= 0xfff;
	k->nic = nic;
}

/* A message with every member that its type uses at random, and @payload behind it when it is a frame. */
static struct chan_msg random_message(struct rng *r, const struct spec *s, const uint8_t *payload,
				      uint32_t payload_len)
{
	struct chan_msg m = {.type = s->type};

	if (s->fields & NIC)
		m.nic = (uint8_t)rng_next(r);
	if (s->fields & NUMBER)
		m.number = rng_next(r) | 1;
	if (s->fields & MARK)
		m.mark = rng_next(r);
	if (s->fields & FLAGS)
		m.flags = rng_below(r, 2) ? CHAN_PING_ANSWER : 0;
	if (s->fields & FRAME) {
		m.payload = payload;
		m.payload_len = payload_len;
	} else if (s->type == CHAN_FLOW) {
		rng_fill(r, &m.note, sizeof(m.note));
		m.note.kind = rng_below(r, 2) ? FLOW_OFFSET : FLOW_RELEASED;
		m.note.has_ts = (m.note.released_seq & 1) != 0;
		random_key(r, &m.note.key, m.nic);
	} else if (s->type == CHAN_REWRITE) {
		rng_fill(r, &m.rewrite, sizeof(m.rewrite));
		random_key(r, &m.rewrite.key, m.nic);
	} else if (s->type == CHAN_OWN_ADDRESS) {
		rng_fill(r, &m.address, sizeof(m.address));
		m.vlan = (uint16_t)rng_below(r, 4096);
	}
	return m;
}

static void assert_note_equal(const struct flow_note *a, const struct flow_note *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_memory_equal(&a->key, &b->key, sizeof(a->key));
	assert_int_equal(a->seq_offset, b->seq_offset);
	assert_int_equal(a->ts_offset, b->ts_offset);
	assert_int_equal(a->has_ts, b->has_ts);
	assert_int_equal(a->released_seq, b->released_seq);
	assert_int_equal(a->released_ts, b->released_ts);
	assert_int_equal(a->released_packets, b->released_packets);
}

static void assert_message_equal(const struct chan_msg *a, const struct chan_msg *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->nic, b->nic);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->number, b->number);
	assert_int_equal(a->mark, b->mark);
	assert_int_equal(a->payload_len, b->payload_len);
	if (b->payload_len)
		assert_memory_equal(a->payload, b->payload, b->payload_len);
	else
		assert_null(a->payload);
	assert_note_equal(&a->note, &b->note);
	assert_memory_equal(&a->rewrite, &b->rewrite, sizeof(a->rewrite));
	assert_memory_equal(&a->address, &b->address, sizeof(a->address));
	assert_int_equal(a->vlan, b->vlan);
}

/* The whole message, as a sender puts it on the connection; freed by the caller. */
static uint8_t *message_bytes(const struct chan_msg *m, size_t *len)
{
	uint8_t head[CHAN_ENCODE_MAX];
	uint8_t *all;
	size_t n;

	memset(head, 0xaa, sizeof(head));
	n = chan_encode(m, head);
	assert_in_range(n, CHAN_HEADER_BYTES, sizeof(head));
	for (size_t i = n; i < sizeof(head); i++)
		assert_int_equal(head[i], 0xaa);
	*len = n + m->payload_len;
	all = malloc(*len);
	assert_non_null(all);
	memcpy(all, head, n);
	if (m->payload_len)
		memcpy(all + n, m->payload, m->payload_len);
	return all;
}

/* Decode a copy of exactly @len bytes, so that the sanitizer sees a read beyond it. */
static ssize_t decode_exactly(struct chan_msg *m, const uint8_t *buf, size_t len, struct err *e)
{
	static uint8_t *last;

	free(last);
	last = malloc(len ? len : 1);
	assert_non_null(last);
	memcpy(last, buf, len);
	return chan_decode(m, last, len, e);
}

/* ---- numbers and bytes ---- */

static void types_keep_their_numbers_and_names(void **state)
{
	(void)state;
	for_each_spec(s)
	{
		assert_int_equal(s->type, s->number);
		assert_string_equal(chan_type_name(s->type), s->name);
	}
	assert_int_equal(CHAN_TYPES, 1 + ARRAY_SIZE(specs));
	assert_string_equal(chan_type_name(0), "unknown");
	assert_string_equal(chan_type_name(CHAN_TYPES), "unknown");
	assert_string_equal(chan_type_name(UINT32_MAX), "unknown");
}

static const struct flow_key example_key = {
	.guest.b = {[10] = 0xff, 0xff, 10, 0, 0, 2},
	.peer.b = {[10] = 0xff, 0xff, 10, 0, 0, 9},
	.guest_port = 80,
	.peer_port = 0xa112,
	.vlan = 5,
	.proto = 6,
	.nic = 1,
};

/* The examples of docs/protocol.md. */
static void messages_have_the_documented_bytes(void **state)
{
	static const uint8_t epoch[] = {0, 0, 0, 0, 3, 1, 0, 0, 1, 2, 3, 4,
					5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 4, 0};
	static const uint8_t flow[] = {
		0, 0,    0,    0x40, 5,    1,    0,    0,    0,    0, 0, 0, 0,  0,    0,
		0, 0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0, 0,  0,    0,
		0, 0,    0,    0,    0xff, 0xff, 10,   0,    0,    2, 0, 0, 0,  0,    0,
		0, 0,    0,    0,    0,    0xff, 0xff, 10,   0,    0, 9, 0, 80, 0xa1, 0x12,
		0, 5,    6,    0,    1,    1,    0,    0,    0,    0, 0, 0, 0,  0,    0,
		0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 3};
	static const uint8_t rewrite_tail[] = {0, 80, 0xa1, 0x12, 0, 5,    6,    0,
					       1, 2,  3,    4,    5, 0xfe, 0xdc, 0xba};
	static const uint8_t address_tail[] = {10, 0, 0, 2, 0x0f, 0xff};
	const struct chan_msg e = {
		.type = CHAN_EPOCH, .nic = 1, .number = 0x0102030405060708, .mark = 1024};
	const struct chan_msg f = {.type = CHAN_FLOW,
				   .note = {.kind = FLOW_RELEASED,
					    .key = example_key,
					    .has_ts = true,
					    .released_seq = 0x11223344,
					    .released_ts = 0x55667788,
					    .released_packets = 3}};
	const struct chan_msg r = {
		.type = CHAN_REWRITE, .flags = 3, .rewrite = {example_key, 0x01020304, 0x05fedcba}};
	const struct chan_msg a = {
		.type = CHAN_OWN_ADDRESS, .address = example_key.guest, .vlan = 4095};
	uint8_t buf[CHAN_ENCODE_MAX];
	struct chan_msg got;
	struct err none = {};

	(void)state;
	assert_int_equal(chan_encode(&e, buf), sizeof(epoch));
	assert_memory_equal(buf, epoch, sizeof(epoch));
	assert_int_equal(chan_encode(&f, buf), sizeof(flow));
	assert_memory_equal(buf, flow, sizeof(flow));
	assert_int_equal(chan_encode(&r, buf), CHAN_HEADER_BYTES + 48);
	assert_memory_equal(buf + CHAN_HEADER_BYTES + 32, rewrite_tail, sizeof(rewrite_tail));
	assert_int_equal(buf[5], example_key.nic);
	assert_int_equal(buf[6], 3);
	assert_int_equal(chan_encode(&a, buf), CHAN_HEADER_BYTES + 18);
	assert_memory_equal(buf + CHAN_HEADER_BYTES + 12, address_tail, sizeof(address_tail));
	assert_int_equal(chan_decode(&got, buf, sizeof(buf), &none), CHAN_HEADER_BYTES + 18);
	assert_int_equal(got.vlan, 4095);
}

/* ---- round trips ---- */

static void every_message_survives_the_journey_at_every_split(void **state)
{
	struct rng r = {1};
	uint8_t frame[200];

	(void)state;
	rng_fill(&r, frame, sizeof(frame));
	for_each_spec(s)
	{
		for (int round = 0; round < 20; round++) {
			uint32_t n = (uint32_t)(CHAN_MIN_PAYLOAD + rng_below(&r, 100));
			struct chan_msg m = random_message(&r, s, frame, n), got;
			struct err e = {};
			size_t len;
			autofree uint8_t *all = message_bytes(&m, &len);

			for (size_t part = 0; part < len; part++)
				assert_int_equal(decode_exactly(&got, all, part, &e), 0);
			assert_int_equal(decode_exactly(&got, all, len, &e), len);
			assert_message_equal(&got, &m);
		}
	}
}

static void the_largest_and_the_smallest_frame_pass(void **state)
{
	static uint8_t frame[CHAN_MAX_PAYLOAD];
	static const uint32_t lengths[] = {CHAN_MIN_PAYLOAD, CHAN_MAX_PAYLOAD};
	struct rng r = {2};

	(void)state;
	rng_fill(&r, frame, sizeof(frame));
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct chan_msg m = random_message(&r, &specs[i], frame, lengths[i]), got;
		struct err e = {};
		size_t len;
		autofree uint8_t *all = message_bytes(&m, &len);

		assert_int_equal(decode_exactly(&got, all, len - 1, &e), 0);
		assert_int_equal(decode_exactly(&got, all, len, &e), len);
		assert_message_equal(&got, &m);
	}
}

static void a_frame_that_no_message_can_carry_is_not_encoded(void **state)
{
	uint8_t buf[CHAN_ENCODE_MAX];
	struct chan_msg m = {.type = CHAN_FRAME_OUT, .payload = buf};

	(void)state;
	assert_int_equal(chan_encode(&m, buf), 0);
	m.payload_len = CHAN_MIN_PAYLOAD - 1;
	assert_int_equal(chan_encode(&m, buf), 0);
	m.payload_len = CHAN_MAX_PAYLOAD + 1;
	assert_int_equal(chan_encode(&m, buf), 0);
	m.payload_len = CHAN_MAX_PAYLOAD;
	assert_int_equal(chan_encode(&m, buf), CHAN_HEADER_BYTES);
}

static void messages_that_follow_each_other_are_taken_one_by_one(void **state)
{
	static uint8_t stream[1 << 20];
	struct chan_msg sent[300], got;
	struct rng r = {3};
	uint8_t frame[500];
	size_t len = 0, at = 0;
	struct err e = {};

	(void)state;
	rng_fill(&r, frame, sizeof(frame));
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		const struct spec *s = &specs[rng_below(&r, ARRAY_SIZE(specs))];
		uint32_t n = (uint32_t)(CHAN_MIN_PAYLOAD + rng_below(&r, 400));
		size_t one;

		sent[i] = random_message(&r, s, frame, n);
		autofree uint8_t *all = message_bytes(&sent[i], &one);

		memcpy(stream + len, all, one);
		len += one;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		ssize_t n = chan_decode(&got, stream + at, len - at, &e);

		assert_true(n > 0);
		assert_message_equal(&got, &sent[i]);
		at += (size_t)n;
	}
	assert_int_equal(at, len);
}

static void members_that_a_type_does_not_use_are_not_sent(void **state)
{
	uint8_t full[CHAN_ENCODE_MAX];
	struct rng r = {4};

	(void)state;
	for_each_spec(s)
	{
		struct chan_msg m, got;
		struct err e = {};
		uint8_t frame[CHAN_MIN_PAYLOAD] = {};
		size_t n;

		rng_fill(&r, &m, sizeof(m));
		m.type = s->type;
		m.flags = CHAN_PING_ANSWER;
		m.note.kind = FLOW_OFFSET;
		m.note.has_ts = false;
		m.vlan = m.note.key.vlan = m.rewrite.key.vlan = 1;
		m.payload = frame;
		m.payload_len = sizeof(frame);
		n = chan_encode(&m, full);
		if (s->fields & FRAME)
			n += sizeof(frame);
		assert_int_equal(decode_exactly(&got, full, n, &e), n);
		assert_int_equal(got.number, s->fields & NUMBER ? m.number : 0);
		assert_int_equal(got.mark, s->fields & MARK ? m.mark : 0);
		assert_int_equal(got.flags, s->fields & FLAGS ? m.flags : 0);
	}
}

/* ---- refusals ---- */

/* A message with @value at offset @at is refused with @words in the reason. */
static void assert_refused(const struct chan_msg *m, size_t at, uint8_t value, const char *words)
{
	struct chan_msg got;
	struct err e = {};
	size_t len;
	autofree uint8_t *all = message_bytes(m, &len);

	all[at] = value;
	assert_int_equal(decode_exactly(&got, all, len, &e), -EPROTO);
	assert_int_equal(e.code, EPROTO);
	if (!strstr(e.msg, words))
		fail_msg("\"%s\" is not in \"%s\"", words, e.msg);
	if (at >= CHAN_HEADER_BYTES)
		return;
	e = (struct err){};
	assert_int_equal(decode_exactly(&got, all, CHAN_HEADER_BYTES, &e), -EPROTO);
}

static void an_unknown_type_is_refused(void **state)
{
	const struct chan_msg m = {.type = CHAN_COMMITTED, .number = 1};

	(void)state;
	assert_refused(&m, 4, 0, "type 0 is unknown");
	for (unsigned type = CHAN_TYPES; type < 256; type++)
		assert_refused(&m, 4, (uint8_t)type, "is unknown");
}

static void a_length_that_the_type_cannot_have_is_refused(void **state)
{
	static uint8_t frame[CHAN_MIN_PAYLOAD];
	struct rng r = {5};

	(void)state;
	for_each_spec(s)
	{
		struct chan_msg m = random_message(&r, s, frame, sizeof(frame));
		uint32_t right = s->fields & FRAME ? CHAN_MIN_PAYLOAD : s->payload;

		assert_refused(&m, 3, (uint8_t)(right - 1), s->name);
		assert_refused(&m, 3, (uint8_t)(right - 1), "bytes, must be");
		assert_refused(&m, 0, 0xff, "bytes, must be");
		assert_refused(&m, 1, CHAN_MAX_PAYLOAD >> 16 | 2, "bytes, must be");
		if (!(s->fields & FRAME))
			assert_refused(&m, 3, (uint8_t)(right + 1), "bytes, must be");
	}
}

static void a_frame_longer_than_any_is_refused_before_it_comes(void **state)
{
	uint8_t head[CHAN_HEADER_BYTES] = {[4] = CHAN_FRAME_OUT};
	uint32_t len = htobe32(CHAN_MAX_PAYLOAD + 1);
	struct chan_msg got;
	struct err e = {};

	(void)state;
	memcpy(head, &len, sizeof(len));
	assert_int_equal(decode_exactly(&got, head, sizeof(head), &e), -EPROTO);
	len = htobe32(CHAN_MAX_PAYLOAD);
	memcpy(head, &len, sizeof(len));
	assert_int_equal(decode_exactly(&got, head, sizeof(head), &e), 0);
}

static void header_fields_without_meaning_must_be_zero(void **state)
{
	static uint8_t frame[CHAN_MIN_PAYLOAD];
	struct rng r = {6};

	(void)state;
	for_each_spec(s)
	{
		struct chan_msg m = random_message(&r, s, frame, sizeof(frame));

		assert_refused(&m, 7, 1, "reserved");
		if (!(s->fields & NIC))
			assert_refused(&m, 5, 1, "nic");
		if (s->fields & FLAGS)
			assert_refused(&m, 6, 8, "unknown flag");
		else
			assert_refused(&m, 6, 1, "flags");
		for (size_t i = 8; i < 16 && !(s->fields & NUMBER); i++)
			assert_refused(&m, i, 1, "number");
		for (size_t i = 16; i < 24 && !(s->fields & MARK); i++)
			assert_refused(&m, i, 1, "mark");
	}
}

static void payload_fields_out_of_range_are_refused(void **state)
{
	const struct chan_msg f = {.type = CHAN_FLOW};
	const struct chan_msg r = {.type = CHAN_REWRITE};
	const struct chan_msg a = {.type = CHAN_OWN_ADDRESS};

	(void)state;
	assert_refused(&f, CHAN_HEADER_BYTES + 36, 0x10, "FLOW: VLAN 4096");
	assert_refused(&f, CHAN_HEADER_BYTES + 39, 1, "reserved");
	assert_refused(&f, CHAN_HEADER_BYTES + 40, 2, "kind 2");
	assert_refused(&f, CHAN_HEADER_BYTES + 41, 2, "has-timestamp");
	assert_refused(&f, CHAN_HEADER_BYTES + 42, 1, "reserved");
	assert_refused(&f, CHAN_HEADER_BYTES + 43, 1, "reserved");
	assert_refused(&r, CHAN_HEADER_BYTES + 36, 0x10, "REWRITE: VLAN 4096");
	assert_refused(&r, CHAN_HEADER_BYTES + 39, 1, "reserved");
	assert_refused(&a, CHAN_HEADER_BYTES + 16, 0x10, "OWN_ADDRESS: VLAN 4096");
}

static void mirrored_frames_count_from_one(void **state)
{
	static uint8_t frame[CHAN_MIN_PAYLOAD];
	const struct chan_msg m = {
		.type = CHAN_FRAME_IN, .number = 1, .payload = frame, .payload_len = sizeof(frame)};

	(void)state;
	assert_refused(&m, 15, 0, "number is 0");
}

static void what_is_taken_is_what_would_be_sent(void **state)
{
	static uint8_t frame[CHAN_MIN_PAYLOAD + 10];
	struct rng r = {7};
	unsigned taken = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		const struct spec *s = &specs[rng_below(&r, ARRAY_SIZE(specs))];
		struct chan_msg m = random_message(&r, s, frame, sizeof(frame)), got;
		struct err e = {};
		size_t len, again_len;
		autofree uint8_t *all = message_bytes(&m, &len);
		ssize_t n;

		all[rng_below(&r, len)] ^= (uint8_t)(1 << rng_below(&r, 8));
		n = decode_exactly(&got, all, len, &e);
		if (n < 0)
			assert_true(n == -EPROTO && e.msg[0]);
		if (n <= 0)
			continue;
		autofree uint8_t *again = message_bytes(&got, &again_len);

		assert_int_equal(again_len, n);
		assert_memory_equal(again, all, again_len);
		taken++;
	}
	assert_true(taken > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_keep_their_numbers_and_names),
		cmocka_unit_test(messages_have_the_documented_bytes),
		cmocka_unit_test(every_message_survives_the_journey_at_every_split),
		cmocka_unit_test(the_largest_and_the_smallest_frame_pass),
		cmocka_unit_test(a_frame_that_no_message_can_carry_is_not_encoded),
		cmocka_unit_test(messages_that_follow_each_other_are_taken_one_by_one),
		cmocka_unit_test(members_that_a_type_does_not_use_are_not_sent),
		cmocka_unit_test(an_unknown_type_is_refused),
		cmocka_unit_test(a_length_that_the_type_cannot_have_is_refused),
		cmocka_unit_test(a_frame_longer_than_any_is_refused_before_it_comes),
		cmocka_unit_test(header_fields_without_meaning_must_be_zero),
		cmocka_unit_test(payload_fields_out_of_range_are_refused),
		cmocka_unit_test(mirrored_frames_count_from_one),
		cmocka_unit_test(what_is_taken_is_what_would_be_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
