// SPDX-License-Identifier: GPL-2.0-or-later
/* Wire format: the bytes of docs/protocol.md, round trips, and that no broken input is taken or read past. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "colod/core/wire.h"

#define FRAME_MAX (WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES)

/* What docs/protocol.md says of each type: number, name, fields. */
#define HELLO   BIT(0)
#define EPOCH   BIT(1)
#define FLAGS   BIT(2)
#define COUNTS  BIT(3)
#define DEVICES BIT(4)
#define TEXT    BIT(5)

static const struct spec {
	enum wire_type type;
	unsigned number;
	const char *name;
	unsigned fields;
} specs[] = {
	{WIRE_HELLO, 1, "HELLO", HELLO},
	{WIRE_WELCOME, 2, "WELCOME", HELLO},
	{WIRE_REJECT, 3, "REJECT", FLAGS | TEXT},
	{WIRE_HEARTBEAT, 4, "HEARTBEAT", EPOCH},
	{WIRE_READY, 5, "READY", EPOCH},
	{WIRE_NEW, 6, "NEW", EPOCH | FLAGS},
	{WIRE_SUSPENDED, 7, "SUSPENDED", EPOCH},
	{WIRE_RECEIVED, 8, "RECEIVED", EPOCH},
	{WIRE_LOADED, 9, "LOADED", EPOCH},
	{WIRE_FAILED, 10, "FAILED", EPOCH | TEXT},
	{WIRE_HANDOVER, 11, "HANDOVER", EPOCH},
	{WIRE_SWITCH_REQUEST, 12, "SWITCH_REQUEST", EPOCH},
	{WIRE_SWITCH_REFUSED, 13, "SWITCH_REFUSED", TEXT},
	{WIRE_VERIFIED, 14, "VERIFIED", EPOCH | COUNTS},
	{WIRE_GONE, 15, "GONE", TEXT},
	{WIRE_LEAVE, 16, "LEAVE", TEXT},
	{WIRE_STOP, 17, "STOP", TEXT},
	{WIRE_SEND, 18, "SEND", EPOCH | FLAGS | COUNTS | DEVICES},
	{WIRE_RESUME, 23, "RESUME", EPOCH | FLAGS},
	{WIRE_RESUME_ACK, 24, "RESUME_ACK", EPOCH},
	{WIRE_TAKEN, 25, "TAKEN", EPOCH},
	{WIRE_PAUSE, 26, "PAUSE", TEXT},
	{WIRE_UPLINK, 27, "UPLINK", FLAGS},
};

#define for_each_spec(s) for (const struct spec *s = specs; s < specs + ARRAY_SIZE(specs); s++)

static const struct {
	unsigned number;
	const char *name;
} bulk_frames[] = {{19, "PAGES"}, {20, "DEVICES"}, {21, "HASHES"}, {22, "RECV_BITMAP"}};

/* ---- numbers and bytes ---- */

static void types_keep_their_numbers_and_names(void **state)
{
	(void)state;
	for_each_spec(s)
	{
		assert_int_equal(s->type, s->number);
		assert_string_equal(wire_type_name(s->type), s->name);
		assert_false(wire_is_bulk_frame(s->type));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bulk_frames); i++) {
		assert_string_equal(wire_type_name((uint16_t)bulk_frames[i].number),
				    bulk_frames[i].name);
		assert_true(wire_is_bulk_frame((uint16_t)bulk_frames[i].number));
	}
	assert_int_equal(WIRE_TYPE_COUNT, 1 + ARRAY_SIZE(specs) + ARRAY_SIZE(bulk_frames));
	assert_string_equal(wire_type_name(0), "unknown");
	assert_string_equal(wire_type_name(WIRE_TYPE_COUNT), "unknown");
	assert_string_equal(wire_type_name(UINT16_MAX), "unknown");
	assert_false(wire_is_bulk_frame(0));
	assert_false(wire_is_bulk_frame(UINT16_MAX));
}

static void assert_encodes_to(const struct wire_msg *m, const void *want, size_t len)
{
	uint8_t buf[FRAME_MAX];

	assert_int_equal(wire_encode(m, buf), len);
	assert_memory_equal(buf, want, len);
}

#define NEW_BYTES                                                                                  \
	"COLO\0\2\0\6\0\0\0\14"                                                                    \
	"\1\2\3\4\5\6\7\10"                                                                        \
	"\0\0\0\3"
#define REJECT_BYTES                                                                               \
	"COLO\0\2\0\3\0\0\0\12"                                                                    \
	"\0\0\0\1"                                                                                 \
	"\0\0\0\2no"
#define FAILED_BYTES                                                                               \
	"COLO\0\2\0\12\0\0\0\16"                                                                   \
	"\0\0\0\0\0\0\0\5"                                                                         \
	"\0\0\0\2no"
#define SEND_BYTES                                                                                 \
	"COLO\0\2\0\22\0\0\0\54"                                                                   \
	"\0\0\0\0\0\0\0\1"                                                                         \
	"\0\0\0\10"                                                                                \
	"\0\0\0\0\0\0\0\2"                                                                         \
	"\0\0\0\0\0\0\0\3"                                                                         \
	"\377\0\0\0\0\0\0\4"                                                                       \
	"\0\0\0\0\0\0\0\5"
#define RESUME_BYTES                                                                               \
	"COLO\0\2\0\27\0\0\0\14"                                                                   \
	"\0\0\0\0\0\0\0\10"                                                                        \
	"\0\0\0\3"
#define HELLO_BYTES                                                                                \
	"COLO\0\2\0\1\0\0\0\152"                                                                   \
	"\1\0\2"                                                                                   \
	"\0\0\0\0\0\0\0\14"                                                                        \
	"\1\2\3\4\5\6\7\10"                                                                        \
	"\0\0\0\0\0\0\0\11"                                                                        \
	"\0\0\0\0\100\0\0\0"                                                                       \
	"\0\0\20\0"                                                                                \
	"\0\0\0\2"                                                                                 \
	"\0\0\0\3web"                                                                              \
	"\0\0\0\6"                                                                                 \
	"7.2.22"                                                                                   \
	"\0\0\0\6pc-q35"                                                                           \
	"\0\0\0\3max"                                                                              \
	"\0\0\0\3tcg"                                                                              \
	"\0\0\0\1n"                                                                                \
	"\0\0\0\10etcd /co"                                                                        \
	"\0\0\0\1a"

/* The examples of docs/protocol.md. */
static void messages_have_the_documented_bytes(void **state)
{
	struct wire_msg fresh = {.type = WIRE_NEW, .epoch = 0x0102030405060708, .flags = 3};
	struct wire_msg reject = {.type = WIRE_REJECT, .flags = WIRE_REJECT_LIVE, .text = "no"};
	struct wire_msg failed = {.type = WIRE_FAILED, .epoch = 5, .text = "no"};
	struct wire_msg send = {.type = WIRE_SEND,
				.epoch = 1,
				.flags = WIRE_EPOCH_VERIFY,
				.entries = 2,
				.zero_entries = 3,
				.checksum = 0xff00000000000004,
				.devices_bytes = 5};
	struct wire_msg resume = {
		.type = WIRE_RESUME, .epoch = 8, .flags = WIRE_RESUME_CLOSED | WIRE_RESUME_RESTART};
	struct wire_msg hello = {.type = WIRE_HELLO,
				 .hello = {.channel = WIRE_CHANNEL_BULK,
					   .role = 0,
					   .live = WIRE_LIVE_GIVEN,
					   .resume = 12,
					   .session = 0x0102030405060708,
					   .epoch = 9,
					   .ram_bytes = GIB,
					   .host_page_bytes = 4096,
					   .vcpus = 2,
					   .name = "web",
					   .qemu_version = "7.2.22",
					   .machine = "pc-q35",
					   .cpu_model = "max",
					   .accel = "tcg",
					   .nics = "n",
					   .arbiter = "etcd /co",
					   .host = "a"}};

	(void)state;
	assert_encodes_to(&fresh, NEW_BYTES, sizeof(NEW_BYTES) - 1);
	assert_encodes_to(&reject, REJECT_BYTES, sizeof(REJECT_BYTES) - 1);
	assert_encodes_to(&failed, FAILED_BYTES, sizeof(FAILED_BYTES) - 1);
	assert_encodes_to(&send, SEND_BYTES, sizeof(SEND_BYTES) - 1);
	assert_encodes_to(&resume, RESUME_BYTES, sizeof(RESUME_BYTES) - 1);
	assert_encodes_to(&hello, HELLO_BYTES, sizeof(HELLO_BYTES) - 1);
}

static void flags_keep_their_bits(void **state)
{
	(void)state;
	assert_int_equal(WIRE_EPOCH_FIRST, 1);
	assert_int_equal(WIRE_EPOCH_RUN, 2);
	assert_int_equal(WIRE_EPOCH_SWITCH, 4);
	assert_int_equal(WIRE_EPOCH_VERIFY, 8);
	assert_int_equal(WIRE_RECV_COMPLETE, 1);
	assert_int_equal(WIRE_RECV_DIRECT, 2);
	assert_int_equal(WIRE_RESUME_CLOSED, 1);
	assert_int_equal(WIRE_RESUME_RESTART, 2);
	assert_true(WIRE_ZERO_PAGE == UINT64_C(0x8000000000000000));
}

static void numbers_are_big_endian_at_any_address(void **state)
{
	uint8_t buf[16];

	(void)state;
	for (size_t at = 0; at < 8; at++) {
		put_be64(buf + at, 0x0123456789abcdef);
		assert_memory_equal(buf + at, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
		assert_true(get_be64(buf + at) == 0x0123456789abcdef);
		put_be32(buf + at, 0xfedcba98);
		assert_memory_equal(buf + at, "\xfe\xdc\xba\x98", 4);
		assert_int_equal(get_be32(buf + at), 0xfedcba98);
	}
}

/* ---- round trips ---- */

static void random_text(struct rng *r, char *s, size_t size)
{
	size_t len = rng_below(r, size);

	for (size_t i = 0; i < len; i++)
		s[i] = (char)(1 + rng_below(r, 255));
}

static void random_hello(struct rng *r, struct wire_hello *h)
{
	h->channel = (uint8_t)rng_next(r);
	h->role = (uint8_t)rng_next(r);
	h->live = (uint8_t)rng_next(r);
	h->resume = rng_next(r);
	h->session = rng_next(r);
	h->epoch = rng_next(r);
	h->ram_bytes = rng_next(r);
	h->host_page_bytes = (uint32_t)rng_next(r);
	h->vcpus = (uint32_t)rng_next(r);
	random_text(r, h->name, sizeof(h->name));
	random_text(r, h->qemu_version, sizeof(h->qemu_version));
	random_text(r, h->machine, sizeof(h->machine));
	random_text(r, h->cpu_model, sizeof(h->cpu_model));
	random_text(r, h->accel, sizeof(h->accel));
	random_text(r, h->nics, sizeof(h->nics));
	random_text(r, h->arbiter, sizeof(h->arbiter));
	random_text(r, h->host, sizeof(h->host));
}

/* Only the members that the type carries: the others must come back as zero. */
static struct wire_msg random_msg(struct rng *r, const struct spec *s)
{
	struct wire_msg m;

	memset(&m, 0, sizeof(m));
	m.type = s->type;
	if (s->fields & HELLO)
		random_hello(r, &m.hello);
	if (s->fields & EPOCH)
		m.epoch = rng_next(r);
	if (s->fields & FLAGS)
		m.flags = (uint32_t)rng_next(r);
	if (s->fields & COUNTS) {
		m.entries = rng_next(r);
		m.zero_entries = rng_next(r);
		m.checksum = rng_next(r);
	}
	if (s->fields & DEVICES)
		m.devices_bytes = rng_next(r);
	if (s->fields & TEXT)
		random_text(r, m.text, sizeof(m.text));
	return m;
}

/* Decode from memory of exactly the payload's size, so that a sanitizer sees a read beyond it. */
static int decode(struct wire_msg *m, const uint8_t *frame, uint32_t length, struct err *e)
{
	autofree uint8_t *payload = malloc(MAX(length, 1u));
	struct wire_header h;
	int r = wire_decode_header(&h, frame, e);

	assert_non_null(payload);
	memcpy(payload, frame + WIRE_HEADER_BYTES, length);
	if (r)
		return r;
	assert_int_equal(h.length, length);
	return wire_decode(m, &h, payload, e);
}

static void what_is_encoded_is_decoded(void **state)
{
	struct rng rng = {1};

	(void)state;
	for_each_spec(s)
	{
		for (int i = 0; i < 300; i++) {
			struct wire_msg m = random_msg(&rng, s), got;
			uint8_t buf[FRAME_MAX];
			size_t n = wire_encode(&m, buf);
			struct err e;

			assert_in_range(n, WIRE_HEADER_BYTES, sizeof(buf));
			assert_ok(decode(&got, buf, (uint32_t)(n - WIRE_HEADER_BYTES), &e), &e);
			assert_memory_equal(&got, &m, sizeof(m));
		}
	}
}

/* Shorter by any number of bytes, longer by any number, with a header that says so. */
static void a_wrong_length_is_refused(void **state)
{
	struct rng rng = {2};

	(void)state;
	for_each_spec(s)
	{
		struct wire_msg m = random_msg(&rng, s), got;
		uint8_t buf[FRAME_MAX] = {};
		uint32_t right = (uint32_t)(wire_encode(&m, buf) - WIRE_HEADER_BYTES);

		for (uint32_t len = 0; len <= WIRE_MSG_MAX_BYTES; len++) {
			struct err e = {};

			if (len == right)
				continue;
			put_be32(buf + 8, len);
			assert_int_equal(decode(&got, buf, len, &e), -EPROTO);
			assert_non_null(strstr(err_msg(&e), s->name));
		}
	}
}

/* A message that is taken has one encoding only: nothing in it went unread. */
static void check_taken(const struct wire_msg *m, const uint8_t *frame, size_t len)
{
	uint8_t again[FRAME_MAX];

	assert_int_equal(wire_encode(m, again), len);
	assert_memory_equal(again, frame, len);
}

static void any_corrupted_byte_is_refused_or_changes_the_message(void **state)
{
	struct rng rng = {3};

	(void)state;
	for_each_spec(s)
	{
		struct wire_msg m = random_msg(&rng, s), got;
		uint8_t buf[FRAME_MAX];
		size_t n = wire_encode(&m, buf);

		for (size_t at = 0; at < n; at++) {
			uint8_t right = buf[at];

			for (unsigned bit = 0; bit < 8; bit++) {
				struct wire_header h;
				struct err e = {};

				buf[at] = right ^ (uint8_t)BIT(bit);
				if (wire_decode_header(&h, buf, &e) || wire_is_bulk_frame(h.type) ||
				    h.length != n - WIRE_HEADER_BYTES) {
					assert_in_range(at, 0, WIRE_HEADER_BYTES - 1);
				} else if (decode(&got, buf, h.length, &e)) {
					assert_int_equal(e.code, EPROTO);
				} else {
					check_taken(&got, buf, n);
					assert_memory_not_equal(&got, &m, sizeof(m));
				}
			}
			buf[at] = right;
		}
	}
}

static void random_payloads_are_refused_or_mean_one_thing(void **state)
{
	struct rng rng = {4};

	(void)state;
	for (int i = 0; i < 100000; i++) {
		const struct spec *s = &specs[rng_below(&rng, ARRAY_SIZE(specs))];
		uint32_t len = (uint32_t)rng_below(&rng, 64);
		uint8_t buf[FRAME_MAX];
		struct wire_msg m;
		struct err e = {};

		wire_encode_header(buf, s->type, len);
		rng_fill(&rng, buf + WIRE_HEADER_BYTES, len);
		if (decode(&m, buf, len, &e))
			assert_int_equal(e.code, EPROTO);
		else
			check_taken(&m, buf, WIRE_HEADER_BYTES + len);
	}
}

/* ---- texts ---- */

/* A GONE whose text is said to have @len bytes, of which there are @there. */
static int decode_text(const char *text, uint32_t len, uint32_t there, struct err *e)
{
	uint8_t buf[FRAME_MAX] = {};
	struct wire_msg m;

	wire_encode_header(buf, WIRE_GONE, 4 + there);
	put_be32(buf + WIRE_HEADER_BYTES, len);
	memcpy(buf + WIRE_HEADER_BYTES + 4, text, there);
	return decode(&m, buf, 4 + there, e);
}

static void a_text_fits_its_member_and_holds_no_nul(void **state)
{
	char text[WIRE_TEXT_MAX + 1];
	struct err e;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(decode_text(text, 255, 255, &e), 0);
	assert_int_equal(decode_text(text, 0, 0, &e), 0);
	assert_int_equal(decode_text(text, 256, 256, &e), -EPROTO);
	assert_int_equal(decode_text(text, 255, 254, &e), -EPROTO);
	assert_int_equal(decode_text(text, 254, 255, &e), -EPROTO);
	assert_int_equal(decode_text(text, UINT32_MAX, 255, &e), -EPROTO);
	assert_int_equal(decode_text(text, 0x80000000, 255, &e), -EPROTO);
	assert_int_equal(decode_text("a\0b", 3, 3, &e), -EPROTO);
	assert_int_equal(decode_text("ab\0", 3, 3, &e), -EPROTO);
}

/* A HELLO whose text number @which has @len bytes; the others have none. */
static int decode_greeting(unsigned which, uint32_t len, struct err *e)
{
	uint8_t buf[FRAME_MAX] = {};
	size_t at = WIRE_HEADER_BYTES + 43;
	struct wire_msg m;

	for (unsigned i = 0; i < 8; i++, at += 4) {
		if (i != which)
			continue;
		put_be32(buf + at, len);
		memset(buf + at + 4, 'x', len);
		at += len;
	}
	wire_encode_header(buf, WIRE_HELLO, (uint32_t)(at - WIRE_HEADER_BYTES));
	return decode(&m, buf, (uint32_t)(at - WIRE_HEADER_BYTES), e);
}

static void each_text_of_a_greeting_has_its_bound(void **state)
{
	static const uint32_t most[] = {63, 63, 63, 63, 63, 199, 199, 71};
	struct err e;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(most); i++) {
		assert_ok(decode_greeting(i, most[i], &e), &e);
		assert_int_equal(decode_greeting(i, most[i] + 1, &e), -EPROTO);
		assert_int_equal(decode_greeting(i, 1000, &e), -EPROTO);
	}
}

static void the_longest_message_fits_the_limit(void **state)
{
	uint8_t buf[FRAME_MAX];

	(void)state;
	for_each_spec(s)
	{
		struct wire_msg m;

		memset(&m, 'x', sizeof(m)); /* no text is terminated */
		m.type = s->type;
		assert_in_range(wire_encode(&m, buf), WIRE_HEADER_BYTES, sizeof(buf));
	}
}

/* ---- headers ---- */

static int decode_header(uint32_t magic, uint32_t version, uint32_t type, uint32_t length,
			 struct err *e)
{
	uint8_t buf[WIRE_HEADER_BYTES];
	struct wire_header h;

	put_be32(buf, magic);
	put_be32(buf + 4, version << 16 | type);
	put_be32(buf + 8, length);
	return wire_decode_header(&h, buf, e);
}

static void strangers_and_other_versions_are_told_apart(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(decode_header(0x434f4c4f, 2, 4, 8, &e), 0);
	assert_int_equal(decode_header(0x47455420, 2, 4, 8, &e), -EPROTO);
	assert_non_null(strstr(err_msg(&e), "does not speak"));
	assert_non_null(strstr(err_msg(&e), "47 45 54 20"));
	assert_int_equal(decode_header(0x434f4c4f, 1, 4, 8, &e), -EPROTO);
	assert_non_null(strstr(err_msg(&e), "version 1, this colod speaks 2"));
	assert_int_equal(decode_header(0x434f4c4f, 0, 4, 8, &e), -EPROTO);
	assert_int_equal(decode_header(0x434f4c4f, 2, 0, 8, &e), -EPROTO);
	assert_int_equal(decode_header(0x434f4c4f, 2, WIRE_TYPE_COUNT, 8, &e), -EPROTO);
	assert_int_equal(decode_header(0x434f4c4f, 2, 0xffff, 8, &e), -EPROTO);
}

static void a_type_bounds_its_length(void **state)
{
	static const struct {
		uint32_t type, least, most;
	} bounds[] = {
		{WIRE_HELLO, 0, 2048},
		{WIRE_SEND, 0, 2048},
		{WIRE_PAGES, 12 + 8, 12 + 64 * (8 + 4096)},
		{WIRE_DEVICES, 8 + 1, 8 + (256 << 20)},
		{WIRE_HASHES, 20 + 8, 20 + 8 * 4096},
		{WIRE_RECV_BITMAP, 48 + 1, 48 + 65536},
		{WIRE_RESUME, 0, 2048},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		uint32_t type = bounds[i].type;

		assert_int_equal(decode_header(WIRE_MAGIC, 2, type, bounds[i].least, &e), 0);
		assert_int_equal(decode_header(WIRE_MAGIC, 2, type, bounds[i].most, &e), 0);
		assert_int_equal(decode_header(WIRE_MAGIC, 2, type, bounds[i].most + 1, &e),
				 -EPROTO);
		assert_int_equal(decode_header(WIRE_MAGIC, 2, type, UINT32_MAX, &e), -EPROTO);
		if (bounds[i].least)
			assert_int_equal(
				decode_header(WIRE_MAGIC, 2, type, bounds[i].least - 1, &e),
				-EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_keep_their_numbers_and_names),
		cmocka_unit_test(messages_have_the_documented_bytes),
		cmocka_unit_test(flags_keep_their_bits),
		cmocka_unit_test(numbers_are_big_endian_at_any_address),
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(a_wrong_length_is_refused),
		cmocka_unit_test(any_corrupted_byte_is_refused_or_changes_the_message),
		cmocka_unit_test(random_payloads_are_refused_or_mean_one_thing),
		cmocka_unit_test(a_text_fits_its_member_and_holds_no_nul),
		cmocka_unit_test(each_text_of_a_greeting_has_its_bound),
		cmocka_unit_test(the_longest_message_fits_the_limit),
		cmocka_unit_test(strangers_and_other_versions_are_told_apart),
		cmocka_unit_test(a_type_bounds_its_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
