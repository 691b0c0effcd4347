// SPDX-License-Identifier: GPL-2.0-or-later
/* Unreleased output: what the primary's notes take out, and what goes when memory is full. */
#include "tests/unit/unit.h"

#include "proxy/outbox.h"
#include "tests/unit/packet-make.h"

#define GUEST  "10.0.0.2"
#define CLIENT "10.0.0.9"
#define FRAMES 8
#define FLOWS  4

static struct outbox o;
static struct mk m;

static int fresh(void **state)
{
	(void)state;
	return outbox_init(&o, 1 << 20, FRAMES, FLOWS, 1);
}

static int done(void **state)
{
	(void)state;
	outbox_destroy(&o);
	return 0;
}

static struct flow_key add(void)
{
	struct pkt p = mk_parse(&m);
	struct flow_key k;

	outbox_add(&o, 0, m.b, m.len, &p, 0);
	flow_key_out(&k, &p, 0);
	return k;
}

static struct flow_key tcp(unsigned port, unsigned flags, uint32_t seq, size_t bytes)
{
	static const uint8_t data[100];

	mk_tcp_packet(&m, GUEST, 80, CLIENT, port, flags, seq, 0, data, bytes);
	return add();
}

static struct flow_key udp(unsigned port, const char *text)
{
	mk_udp_packet(&m, GUEST, 80, CLIENT, port, text, strlen(text));
	return add();
}

static void released_tcp(const struct flow_key *k, uint32_t seq)
{
	const struct flow_note n = {.kind = FLOW_RELEASED, .key = *k, .released_seq = seq};

	outbox_note(&o, &n, 0);
}

static void released_datagrams(const struct flow_key *k, uint32_t count)
{
	const struct flow_note n = {.kind = FLOW_RELEASED, .key = *k, .released_packets = count};

	outbox_note(&o, &n, 0);
}

/* The last payload byte of each frame, or for TCP the last digit of its sequence number. */
static void assert_left(const char *want)
{
	char got[FRAMES + 1] = "";
	size_t n = 0;

	for (struct kept *k = framebuf_first(&o.frames); k; k = framebuf_next(&o.frames, k)) {
		struct pkt p;

		pkt_parse_ip(&p, k->data, k->len, 0);
		got[n++] = p.kind == PKT_TCP ? (char)('0' + p.seq % 10) : (char)k->data[k->len - 1];
	}
	got[n] = 0;
	assert_string_equal(got, want);
}

static void segments_up_to_the_released_one_go_even_across_the_wrap(void **state)
{
	struct flow_key k;

	(void)state;
	k = tcp(1, TCP_ACK, 0xfffffff6, 10);
	tcp(1, TCP_ACK, 0, 11);
	tcp(1, TCP_ACK, 11, 10);
	tcp(2, TCP_ACK, 5, 10);
	assert_left("6015");
	released_tcp(&k, 0xfffffff6);
	assert_left("6015");
	released_tcp(&k, 10);
	assert_left("015");
	released_tcp(&k, 11);
	assert_left("15");
}

static void of_lone_acknowledgements_the_last_is_enough(void **state)
{
	struct flow_key k;

	(void)state;
	tcp(1, TCP_ACK, 1, 0);
	tcp(1, TCP_ACK, 2, 0);
	assert_left("2");
	k = tcp(1, TCP_ACK, 3, 5);
	assert_left("3");
	tcp(1, TCP_ACK, 8, 0);
	tcp(2, TCP_ACK, 7, 0);
	tcp(1, TCP_ACK, 9, 1);
	assert_left("379");
	tcp(1, TCP_RST, 4, 0);
	tcp(1, TCP_ACK, 5, 1);
	assert_left("37945");
	released_tcp(&k, 20);
	assert_left("7");
}

static void numbers_are_translated_by_the_offset_of_the_flow(void **state)
{
	struct flow_key k = tcp(1, TCP_SYN | TCP_ACK, 1, 0);
	const struct flow_note n = {
		.kind = FLOW_OFFSET, .key = k, .seq_offset = 1000, .ts_offset = 7};
	const struct rewrite *own;
	struct pkt p;

	(void)state;
	outbox_note(&o, &n, 0);
	tcp(1, TCP_ACK, 2, 5);
	released_tcp(&k, 1002);
	assert_left("2");
	mk_tcp_packet(&m, CLIENT, 1, GUEST, 80, TCP_ACK, 0, 0, NULL, 0);
	p = mk_parse(&m);
	own = outbox_to_guest(&o, 0, &p);
	assert_non_null(own);
	assert_int_equal(own->seq_offset, 1000);
	assert_int_equal(own->ts_offset, 7);
	assert_null(outbox_to_guest(&o, 1, &p));
	outbox_clear(&o);
	assert_null(outbox_to_guest(&o, 0, &p));
	assert_left("");
}

static void a_new_connection_has_no_last_timestamp(void **state)
{
	struct flow_key k = tcp(1, TCP_ACK, 1, 1);
	struct flow_note n = {.kind = FLOW_RELEASED, .key = k, .has_ts = true, .released_ts = 9};
	struct outbox_flow *f;

	(void)state;
	outbox_note(&o, &n, 0);
	f = flow_peek(&o.flows, &k);
	assert_true(f->has_ts);
	assert_int_equal(f->released_ts, 9);
	n.has_ts = false;
	outbox_note(&o, &n, 0);
	assert_true(f->has_ts);
	n.kind = FLOW_OFFSET;
	outbox_note(&o, &n, 0);
	assert_false(f->has_ts);
}

static void the_first_datagrams_of_the_flow_go(void **state)
{
	struct flow_key k = udp(1, "a");

	(void)state;
	udp(2, "x");
	udp(1, "b");
	udp(1, "c");
	released_datagrams(&k, 2);
	assert_left("xc");
	released_datagrams(&k, 5);
	assert_left("x");
}

static void the_oldest_go_when_memory_is_full_and_count_as_released_first(void **state)
{
	struct flow_key k = udp(1, "a");

	(void)state;
	for (const char *c = "b\0c\0d\0e\0f\0g\0h\0i\0j\0"; *c; c += 2)
		udp(1, c);
	assert_int_equal(o.evicted, 2);
	assert_left("cdefghij");
	released_datagrams(&k, 1);
	assert_left("cdefghij");
	released_datagrams(&k, 2);
	assert_left("defghij");
}

static void fragments_are_not_kept(void **state)
{
	static struct mk part;

	(void)state;
	mk_udp_packet(&m, GUEST, 80, CLIENT, 1, "0123456789abcdef", 16);
	mk_cut(&part, &m, 7, 0, 8);
	m = part;
	add();
	assert_left("");
	assert_int_equal(o.flows.used, 0);
}

static void a_full_table_forgets_what_nobody_misses_only(void **state)
{
	struct flow_key k[FLOWS], closed;
	struct flow_note n = {.kind = FLOW_OFFSET, .seq_offset = 1};

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++) {
		k[i] = tcp(10 + i, TCP_ACK, i, 1);
		n.key = k[i];
		outbox_note(&o, &n, 0);
	}
	tcp(20, TCP_ACK, 9, 1); /* all have frames */
	assert_int_equal(o.untracked, 1);
	released_tcp(&k[0], 2);
	tcp(20, TCP_ACK, 9, 1); /* one is open, with an offset */
	assert_int_equal(o.untracked, 2);
	closed = tcp(11, TCP_FIN | TCP_ACK, 5, 0);
	tcp(11, TCP_ACK, 6, 0);
	released_tcp(&closed, 7);
	tcp(11, TCP_SYN, 7, 0); /* again open */
	released_tcp(&closed, 9);
	tcp(20, TCP_ACK, 9, 1);
	assert_int_equal(o.untracked, 3);
	tcp(11, TCP_RST, 8, 0);
	released_tcp(&closed, 9);
	tcp(20, TCP_ACK, 9, 1);
	assert_int_equal(o.untracked, 3);
	assert_null(flow_peek(&o.flows, &closed));
	assert_non_null(flow_peek(&o.flows, &k[0]));
	assert_left("239");
}

/* Against lists of numbers: any order of sending, releasing and overflow leaves the flows' youngest. */
static void chains_hold_what_the_buffer_holds(void **state)
{
	struct rng r = {.state = 5};
	uint32_t sent[FLOWS] = {}, released[FLOWS] = {};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint32_t f = (uint32_t)rng_below(&r, FLOWS), left[FLOWS] = {}, total = 0;
		struct flow_key k;

		if (rng_below(&r, 3)) {
			tcp(f + 1, TCP_ACK, sent[f], 1);
			sent[f]++;
		} else if (sent[f]) {
			k = tcp(f + 1, TCP_ACK, sent[f], 0);
			released[f] += (uint32_t)rng_below(&r, sent[f] - released[f] + 1);
			released_tcp(&k, released[f]);
		}
		for (struct kept *at = framebuf_first(&o.frames); at;
		     at = framebuf_next(&o.frames, at)) {
			struct pkt p;

			pkt_parse_ip(&p, at->data, at->len, 0);
			assert_true(p.seq + p.seq_len > released[p.dport - 1] || !p.seq_len);
			left[p.dport - 1]++;
			total++;
		}
		assert_int_equal(total, o.frames.count);
		for (struct list *at = o.flows.by_age.next; at != &o.flows.by_age; at = at->next) {
			struct outbox_flow *e = list_entry(at, struct outbox_flow, node.age);

			assert_int_equal(!e->first, !left[e->node.key.peer_port - 1]);
			assert_int_equal(!e->first, !e->last);
		}
	}
}

#define rule(f) cmocka_unit_test_setup_teardown(f, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rule(segments_up_to_the_released_one_go_even_across_the_wrap),
		rule(of_lone_acknowledgements_the_last_is_enough),
		rule(numbers_are_translated_by_the_offset_of_the_flow),
		rule(a_new_connection_has_no_last_timestamp),
		rule(the_first_datagrams_of_the_flow_go),
		rule(the_oldest_go_when_memory_is_full_and_count_as_released_first),
		rule(fragments_are_not_kept),
		rule(a_full_table_forgets_what_nobody_misses_only),
		rule(chains_hold_what_the_buffer_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
