// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP comparison: scripts of both guests' segments, and what becomes of the primary's. */
#include "tests/unit/compare-rig.h"

#define SYN    TCP_SYN
#define ACK    TCP_ACK
#define SYNACK (TCP_SYN | TCP_ACK)
#define FIN    (TCP_FIN | TCP_ACK)
#define RST    TCP_RST

/*
 * One step; the primary's segments are numbered 1, 2, ... "want" is what rig_text() says after it.
 * P, S: the primary's, the secondary's guest sends
 * I:    the peer sends
 * E, C: the epoch is closed, committed
 * T:    @n ms go by
 */
struct step {
	char who;
	unsigned flags;
	uint32_t seq, ack;
	unsigned n;
	const char *want;
	unsigned bad;    /* place of a wrong byte, from 1 */
	unsigned urgent; /* urgent pointer */
	uint32_t ts;
};

/* Segments carry the bytes of one endless stream; both count it from a number of their own. */
struct script {
	const char *name;
	uint32_t p_zero, s_zero;
	bool notes;
	struct step steps[16];
};

static const struct script scripts[] = {
	{"the same segments: the primary's goes when the secondary's comes",
	 .steps = {{'P', ACK, 100, 1, 50, ""}, {'S', ACK, 100, 1, 50, "1"}}},
	{"the secondary first: the primary's goes at once",
	 .steps = {{'S', ACK, 100, 1, 50, ""}, {'P', ACK, 100, 1, 50, "1"}}},
	{"other segmentation, smaller on the secondary", .steps = {{'P', ACK, 100, 1, 50, ""},
								   {'S', ACK, 100, 1, 20, ""},
								   {'S', ACK, 120, 1, 20, ""},
								   {'S', ACK, 140, 1, 20, "1"},
								   {'P', ACK, 150, 1, 10, "2"}}},
	{"other segmentation, larger on the secondary", .steps = {{'P', ACK, 100, 1, 10, ""},
								  {'P', ACK, 110, 1, 10, ""},
								  {'S', ACK, 100, 1, 30, "1 2"},
								  {'P', ACK, 120, 1, 10, "3"}}},
	{"a super-frame against single segments", .steps = {{'P', ACK, 100, 1, 4380, ""},
							    {'S', ACK, 100, 1, 1460, ""},
							    {'S', ACK, 1560, 1, 1460, ""},
							    {'S', ACK, 3020, 1, 1460, "1"}}},
	{"a retransmission of what was matched needs no counterpart",
	 .steps = {{'P', ACK, 100, 1, 50, ""},
		   {'S', ACK, 100, 1, 50, "1"},
		   {'P', ACK, 100, 1, 50, "2"},
		   {'S', ACK, 100, 1, 50, ""}}},
	{"a retransmission of what is not matched waits with it",
	 .steps = {{'P', ACK, 100, 1, 50, ""},
		   {'P', ACK, 100, 1, 50, ""},
		   {'S', ACK, 100, 1, 50, "1 2"}}},
	{"a retransmission with new data behind", .steps = {{'P', ACK, 100, 1, 50, ""},
							    {'P', ACK, 100, 1, 80, ""},
							    {'S', ACK, 100, 1, 50, "1"},
							    {'S', ACK, 150, 1, 30, "2"}}},
	{"the secondary out of order", .steps = {{'P', ACK, 100, 1, 60, ""},
						 {'S', ACK, 120, 1, 20, ""},
						 {'S', ACK, 140, 1, 20, ""},
						 {'S', ACK, 100, 1, 20, "1"}}},
	{"the primary out of order goes in order of arrival",
	 .steps = {{'P', ACK, 100, 1, 20, ""},
		   {'P', ACK, 140, 1, 20, ""},
		   {'P', ACK, 120, 1, 20, ""},
		   {'S', ACK, 100, 1, 40, "1"},
		   {'S', ACK, 140, 1, 20, "2 3"}}},
	{"the first data seen is not the first: what lies before waits for the commit",
	 .steps = {{'P', ACK, 140, 1, 20, ""},
		   {'S', ACK, 140, 1, 20, "1"},
		   {'P', ACK, 120, 1, 20, ""},
		   {'S', ACK, 120, 1, 20, ""},
		   {'T', .n = 2000, .want = "!timeout"},
		   {'E', .want = ""},
		   {'C', .want = "2c"}}},
	{"sequence numbers wrap", .p_zero = 0xfffffff0, .s_zero = 0xfffffff0,
	 .steps = {{'P', ACK, 0xfffffff0, 1, 40, ""},
		   {'S', ACK, 0xfffffff0, 1, 10, ""},
		   {'S', ACK, 0xfffffffa, 1, 30, "1"},
		   {'P', ACK, 24, 1, 10, ""},
		   {'S', ACK, 24, 1, 10, "2"}}},
	{"acks wrap", .steps = {{'S', ACK, 100, 0xfffffff0, 0, ""},
				{'P', ACK, 100, 0xfffffff0, 0, "1"},
				{'P', ACK, 100, 10, 0, ""},
				{'S', ACK, 100, 12, 0, "2"}}},
	{"a new connection: numbers differ, the offset is told before the SYN goes", .p_zero = 1001,
	 .s_zero = 5001, .notes = true,
	 .steps = {{'P', SYNACK, 1000, 77, 0, ""},
		   {'S', SYNACK, 5000, 77, 0, "offset:-4000:0 1 note:1001:0:0"},
		   {'P', ACK, 1001, 80, 50, ""},
		   {'S', ACK, 5001, 80, 50, "2 note:1051:0:0"}}},
	{"a new connection, the secondary first", .p_zero = 1001, .s_zero = 5001, .notes = true,
	 .steps = {{'S', SYNACK, 5000, 77, 0, "", .ts = 300},
		   {'S', ACK, 5001, 77, 20, "", .ts = 301},
		   {'P', SYNACK, 1000, 77, 0, "offset:-4000:100 1 note:1001:400:0", .ts = 400},
		   {'P', ACK, 1001, 77, 20, "2 note:1021:401:0", .ts = 401}}},
	{"numbers of a new connection wrap", .p_zero = 0, .s_zero = 0x80000001,
	 .steps = {{'P', SYNACK, 0xffffffff, 77, 0, ""},
		   {'S', SYNACK, 0x80000000, 77, 0, "1"},
		   {'S', ACK, 0x80000001, 77, 9, ""},
		   {'P', ACK, 0, 77, 9, "2"}}},
	{"a SYN is sent again, the offset stays", .p_zero = 1001, .s_zero = 5001, .notes = true,
	 .steps = {{'P', SYN, 1000, 0, 0, "", .ts = 100},
		   {'P', SYN, 1000, 0, 0, "", .ts = 1100},
		   {'S', SYN, 5000, 0, 0, "offset:-4000:-50 1 2 note:1001:1100:0", .ts = 150},
		   {'S', SYN, 5000, 0, 0, "", .ts = 1150},
		   {'P', SYN, 1000, 0, 0, "3 note:1001:2100:0", .ts = 2100}}},
	{"simultaneous open: SYN, then SYN and ACK with the same number", .p_zero = 1001,
	 .s_zero = 5001,
	 .steps = {{'P', SYN, 1000, 0, 0, ""},
		   {'S', SYN, 5000, 0, 0, "1"},
		   {'P', SYNACK, 1000, 33, 0, ""},
		   {'S', SYNACK, 5000, 33, 0, "2"}}},
	{"a port is used again", .p_zero = 9001, .s_zero = 7001,
	 .steps = {{'P', SYNACK, 1000, 77, 0, ""},
		   {'S', SYNACK, 5000, 77, 0, "1"},
		   {'P', FIN, 1001, 78, 0, ""},
		   {'S', FIN, 5001, 78, 0, "2"},
		   {'I', FIN, 78, 1002, .want = ""},
		   {'P', ACK, 1002, 79, 0, ""},
		   {'S', ACK, 5002, 79, 0, "3"},
		   {'S', SYNACK, 7000, 3, 0, ""},
		   {'P', SYNACK, 9000, 3, 0, "4"},
		   {'P', ACK, 9001, 3, 10, ""},
		   {'S', ACK, 7001, 3, 10, "5"}}},
	{"a new connection behind held packets of the last one waits for the commit",
	 .steps = {{'P', SYNACK, 1000, 77, 0, ""},
		   {'S', SYNACK, 5000, 77, 0, "1"},
		   {'P', ACK, 1001, 99, 0, ""},
		   {'P', SYNACK, 9000, 3, 0, "!flags"},
		   {'S', SYNACK, 7000, 3, 0, ""},
		   {'E', .want = ""},
		   {'C', .want = "2c 3c"}}},
	{"simultaneous close", .steps = {{'P', FIN, 100, 50, 0, ""},
					 {'S', FIN, 100, 50, 0, "1"},
					 {'P', FIN, 100, 51, 0, ""},
					 {'S', ACK, 101, 51, 0, "2"}}},
	{"FIN with data against data, then FIN alone", .steps = {{'P', FIN, 100, 50, 30, ""},
								 {'S', ACK, 100, 50, 30, ""},
								 {'S', FIN, 130, 50, 0, "1"}}},
	{"a FIN on one side only differs", .steps = {{'P', FIN, 100, 50, 30, ""},
						     {'S', ACK, 100, 50, 40, "!flags"},
						     {'E', .want = ""},
						     {'C', .want = "1c"}}},
	{"a reset waits for the other side's",
	 .steps = {{'P', RST, 100, 0, 0, ""}, {'S', RST, 100, 0, 0, "1"}}},
	{"a reset of an unknown connection, the secondary first; more of them pass",
	 .steps = {{'S', RST | ACK, 0, 9, 0, ""},
		   {'P', RST | ACK, 0, 9, 0, "1"},
		   {'P', RST | ACK, 0, 9, 0, "2"}}},
	{"a reset does not overtake data", .steps = {{'P', ACK, 100, 1, 20, ""},
						     {'P', RST, 120, 0, 0, ""},
						     {'S', RST, 120, 0, 0, ""},
						     {'S', ACK, 100, 1, 20, "1 2"}}},
	{"a reset on the primary only",
	 .steps = {{'P', RST, 100, 0, 0, ""}, {'T', .n = 1000, .want = "!timeout"}}},
	{"a zero window probe with the next byte", .steps = {{'P', ACK, 100, 1, 20, ""},
							     {'S', ACK, 100, 1, 20, "1"},
							     {'P', ACK, 120, 1, 1, ""},
							     {'S', ACK, 120, 1, 5, "2"},
							     {'P', ACK, 120, 1, 5, "3"}}},
	{"a zero window probe with an old number", .steps = {{'P', ACK, 100, 1, 20, ""},
							     {'S', ACK, 100, 1, 20, "1"},
							     {'P', ACK, 119, 1, 0, "2"}}},
	{"keep-alive, with and without its byte", .steps = {{'P', ACK, 100, 1, 20, ""},
							    {'S', ACK, 100, 1, 20, "1"},
							    {'P', ACK, 119, 1, 0, "2"},
							    {'P', ACK, 119, 1, 1, "3", .bad = 1},
							    {'S', ACK, 119, 1, 1, "", .bad = 1}}},
	{"a keep-alive is met first, then data", .steps = {{'P', ACK, 99, 1, 0, ""},
							   {'S', ACK, 99, 1, 0, "1"},
							   {'P', ACK, 100, 1, 20, ""},
							   {'S', ACK, 100, 1, 20, "2"}}},
	{"urgent pointers are equal, whatever segments carry them",
	 .steps = {{'P', ACK, 100, 1, 30, "", .urgent = 25},
		   {'S', ACK, 100, 1, 10, ""},
		   {'S', ACK, 110, 1, 20, "1", .urgent = 15}}},
	{"an urgent pointer on one side only differs",
	 .steps = {{'P', ACK, 100, 1, 30, "", .urgent = 25}, {'S', ACK, 100, 1, 30, "!flags"}}},
	{"urgent pointers differ", .steps = {{'P', ACK, 100, 1, 30, "", .urgent = 25},
					     {'S', ACK, 100, 1, 30, "!flags", .urgent = 24}}},
	{"an ack is held until the secondary acknowledges as much",
	 .steps = {{'P', ACK, 100, 1000, 0, ""},
		   {'S', ACK, 100, 900, 0, ""},
		   {'S', ACK, 100, 1100, 0, "1"},
		   {'P', ACK, 100, 1100, 0, "2"}}},
	{"data with an ack ahead waits for the ack, and what is behind it too",
	 .steps = {{'P', ACK, 100, 1000, 20, ""},
		   {'S', ACK, 100, 900, 20, ""},
		   {'P', ACK, 120, 1000, 20, ""},
		   {'S', ACK, 120, 900, 20, ""},
		   {'S', ACK, 140, 1000, 0, "1 2"}}},
	{"the secondary's extra acks are not missed", .steps = {{'S', ACK, 100, 900, 0, ""},
								{'S', ACK, 100, 950, 0, ""},
								{'S', ACK, 100, 1000, 0, ""},
								{'P', ACK, 100, 1000, 0, "1"}}},
	{"a wrong byte differs, and the flow waits for the commit",
	 .steps = {{'P', ACK, 100, 1, 50, ""},
		   {'S', ACK, 100, 1, 30, ""},
		   {'P', ACK, 150, 1, 50, ""},
		   {'S', ACK, 130, 1, 70, "!payload", .bad = 11},
		   {'P', ACK, 200, 1, 50, ""},
		   {'S', ACK, 200, 1, 50, ""},
		   {'E', .want = ""},
		   {'C', .want = "1c 2c 3c"}}},
	{"the next epoch begins where the primary stood", .p_zero = 1001, .s_zero = 5001,
	 .steps = {{'P', SYNACK, 1000, 77, 0, ""},
		   {'S', SYNACK, 5000, 77, 0, "1"},
		   {'P', ACK, 1001, 80, 50, ""},
		   {'E', .want = ""},
		   {'P', ACK, 1051, 80, 10, ""},
		   {'P', ACK, 1001, 80, 50, ""},
		   {'C', .want = "2c"},
		   /* now with the primary's numbers: .s_zero is not used below */
		   {'s', ACK, 1001, 80, 50, ""},
		   {'s', ACK, 1051, 80, 10, "3 4"},
		   {'s', SYNACK, 1000, 77, 0, ""},
		   {'P', ACK, 1061, 81, 0, ""},
		   {'s', ACK, 1061, 81, 0, "5"}}},
	{"the primary's ack of the last epoch holds for the next one",
	 .steps = {{'P', ACK, 100, 1000, 0, ""},
		   {'E', .want = ""},
		   {'P', ACK, 100, 1000, 0, ""},
		   {'P', ACK, 100, 1001, 0, ""},
		   {'C', .want = "1c 2"},
		   {'S', ACK, 100, 1001, 0, "3"}}},
	{"an ack waits when nothing is known of the secondary",
	 .steps = {{'P', ACK, 100, 0xfffffff0, 0, ""}, {'S', ACK, 100, 0xfffffff0, 0, "1"}}},
	{"an older ack of the secondary takes nothing back",
	 .steps = {{'S', ACK, 100, 1000, 0, ""},
		   {'S', ACK, 100, 900, 0, ""},
		   {'P', ACK, 100, 1000, 0, "1"}}},
	{"an older ack of the primary takes nothing back in the next epoch",
	 .steps = {{'P', ACK, 100, 1000, 0, ""},
		   {'P', ACK, 100, 900, 0, ""},
		   {'E', .want = ""},
		   {'C', .want = "1c 2c"},
		   {'P', ACK, 100, 1000, 0, "3"}}},
	{"a new connection of the secondary is not taken for the open one",
	 .steps = {{'P', ACK, 100, 1, 20, ""},
		   {'S', ACK, 100, 1, 20, "1"},
		   {'S', SYNACK, 120, 500, 0, ""},
		   {'P', ACK, 120, 400, 0, ""},
		   {'P', ACK, 120, 400, 10, ""},
		   {'T', .n = 1000, .want = "!timeout"}}},
	{"acks of an older connection do not count for the new one",
	 .steps = {{'P', ACK, 100, 9000, 0, ""},
		   {'S', ACK, 100, 9000, 0, "1"},
		   {'P', SYNACK, 1000, 50, 0, ""},
		   {'S', ACK, 100, 9000, 0, ""},
		   {'S', SYNACK, 2000, 50, 0, "2"},
		   {'P', ACK, 1001, 60, 0, ""},
		   {'E', .want = ""},
		   {'C', .want = "3c"},
		   {'P', ACK, 1001, 70, 0, ""}}},
	{"a reset of an older connection does not count for the new one",
	 .steps = {{'P', RST, 100, 0, 0, ""},
		   {'S', RST, 100, 0, 0, "1"},
		   {'P', SYNACK, 1000, 5, 0, ""},
		   {'S', SYNACK, 2000, 5, 0, "2"},
		   {'P', RST, 1001, 0, 0, ""},
		   {'S', RST, 2001, 0, 0, "3"}}},
	{"a reset of the last epoch needs no other", .steps = {{'P', RST, 100, 0, 0, ""},
							       {'E', .want = ""},
							       {'C', .want = "1c"},
							       {'P', RST, 100, 0, 0, "2"}}},
	{"a new connection with lower numbers than the one met half-way",
	 .steps = {{'P', ACK, 5000, 1, 10, ""},
		   {'S', ACK, 5000, 1, 10, "1"},
		   {'P', SYNACK, 1000, 5, 0, ""},
		   {'S', SYNACK, 2000, 5, 0, "2"}}},
	{"where a stream goes on is not known by a keep-alive",
	 .steps = {{'P', ACK, 99, 1, 0, ""},
		   {'E', .want = ""},
		   {'C', .want = "1c"},
		   {'P', ACK, 100, 1, 20, ""},
		   {'S', ACK, 100, 1, 20, "2"}}},
	{"after a difference nothing goes, not even what was matched before",
	 .steps = {{'P', ACK, 100, 1, 50, ""},
		   {'S', ACK, 100, 1, 50, "1"},
		   {'S', ACK, 150, 1, 50, "", .bad = 9},
		   {'P', ACK, 150, 1, 50, "!payload"},
		   {'P', ACK, 100, 1, 50, ""},
		   {'E', .want = ""},
		   {'C', .want = "2c 3c"}}},
	{"a difference keeps back what lies before it in the same call",
	 .steps = {{'P', ACK, 100, 1, 50, ""},
		   {'P', ACK, 150, 1, 50, ""},
		   {'S', ACK, 100, 1, 100, "!payload", .bad = 80}}},
	{"an urgent pointer to the end of a segment",
	 .steps = {{'P', ACK, 100, 1, 30, "", .urgent = 30}, {'S', ACK, 100, 1, 30, "!flags"}}},
	{"the note names the furthest end", .notes = true,
	 .steps = {{'P', ACK, 100, 1, 50, ""},
		   {'P', ACK, 100, 1, 20, ""},
		   {'S', ACK, 100, 1, 50, "1 2 note:150:0:0"}}},
	{"acks alone are noted now and then, for their timestamps", .notes = true,
	 .steps = {{'S', ACK, 100, 9000, 0, "", .ts = 1},
		   {'P', ACK, 100, 1000, 0, "1 note:100:500:0", .ts = 500},
		   {'P', ACK, 100, 1001, 0, "2", .ts = 599},
		   {'P', ACK, 100, 1002, 0, "3 note:100:600:0", .ts = 600}}},
};

static void make_segment(struct rig *r, const struct script *sc, const struct step *s)
{
	uint32_t data = s->seq + !!(s->flags & SYN);

	rig_tcp_start(r, s->flags, s->seq, s->ack);
	if (s->ts)
		mk_tcp_ts(&r->m, s->ts, 0);
	if (s->urgent)
		mk_tcp_urgent(&r->m, s->urgent);
	mk_fill(&r->m, 1, data - (s->who == 'S' ? sc->s_zero : sc->p_zero), s->n);
	if (s->bad)
		r->m.b[r->m.len - s->n + s->bad - 1] ^= 0x40;
	mk_end(&r->m);
}

static void do_step(struct rig *r, const struct script *sc, const struct step *s, uint32_t *id)
{
	switch (s->who) {
	case 'P':
		make_segment(r, sc, s);
		rig_primary(r, ++*id);
		break;
	case 'S':
	case 's':
		make_segment(r, sc, s);
		rig_secondary(r);
		break;
	case 'I':
		rig_inbound(r, s->flags, s->seq, s->ack);
		break;
	case 'E':
		rig_close(r, COMPARE_MATCH);
		break;
	case 'C':
		rig_commit(r);
		break;
	default:
		r->now += s->n * USEC_PER_MSEC;
		compare_tick(r->c, r->now);
	}
}

static void run_script(const struct script *sc)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	uint32_t id = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(sc->steps) && sc->steps[i].who; i++) {
		const char *got;

		do_step(r, sc, &sc->steps[i], &id);
		got = rig_text(r, sc->notes);
		if (strcmp(got, sc->steps[i].want) != 0)
			fail_msg("%s: step %u (%c): \"%s\" instead of \"%s\"", sc->name, i + 1,
				 sc->steps[i].who, got, sc->steps[i].want);
	}
	rig_free(r);
}

static void segments_are_released_as_the_scripts_say(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(scripts); i++)
		run_script(&scripts[i]);
}

static void a_difference_is_recorded_with_its_place_and_both_sides(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	const struct mismatch *m;
	struct compare_stats st;

	(void)state;
	rig_tcp(r, ACK, 100, 1, 0, 200);
	rig_primary(r, 1);
	rig_tcp(r, ACK, 100, 1, 0, 90);
	rig_secondary(r);
	rig_tcp(r, ACK, 190, 1, 0, 110);
	r->m.b[r->m.len - 110 + 7] ^= 1;
	rig_secondary(r);
	rig_saw(r, "!payload");
	rig_tcp(r, ACK, 300, 1, 0, 110);
	rig_secondary(r);
	compare_get_stats(r->c, &st);
	assert_int_equal(st.held_bytes, 0); /* of what waits for the commit nothing is kept */
	m = mismatch_get(&r->ring, 0);
	assert_non_null(m);
	assert_int_equal(r->ring.count, 1);
	assert_int_equal(m->reason, MISMATCH_PAYLOAD);
	assert_int_equal(m->offset, 97);
	assert_int_equal(m->at_us, r->now);
	assert_int_equal(m->epoch, 2);
	assert_int_equal(m->checkpoint, 0);
	assert_true(m->has_flow);
	assert_int_equal(m->key.peer_port, 40000);
	assert_int_equal(m->primary.len, 240);
	assert_int_equal(m->secondary.len, 150);
	assert_int_equal(m->primary.context[MISMATCH_CONTEXT / 2] ^ 1, m->secondary.context[7]);
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	assert_int_equal(m->checkpoint, 2);
	rig_free(r);
}

/* Far more than its window could be: the sender is mad, memory is not to grow with it. */
static void a_secondary_far_ahead_is_cut_off_and_a_checkpoint_asked(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;

	(void)state;
	rig_tcp(r, ACK, 0, 1, 0, 1000);
	rig_primary(r, 1);
	rig_tcp(r, ACK, 0, 1, 0, 1000);
	rig_secondary(r);
	rig_saw(r, "1");
	for (uint32_t i = 1; i < 2000; i++) {
		rig_tcp(r, ACK, i * 1000, 1, 0, 1000);
		rig_secondary(r);
	}
	rig_saw(r, "!full");
	compare_get_stats(r->c, &st);
	assert_in_range(st.held_bytes, 1, r->limits.max_held_bytes / 4);
	assert_true(st.secondary_dropped > 0);
	rig_tcp(r, ACK, 1000, 1, 0, 1000);
	rig_primary(r, 2);
	rig_saw(r, "2");
	rig_close(r, COMPARE_MATCH);
	rig_commit(r);
	compare_get_stats(r->c, &st);
	assert_int_equal(st.held_bytes, 0);
	rig_tcp(r, ACK, 2000, 1, 0, 9000);
	rig_secondary(r);
	rig_tcp(r, ACK, 2000, 1, 0, 9000);
	rig_primary(r, 3);
	rig_saw(r, "3"); /* there is room again */
	rig_free(r);
}

static void only_the_running_epochs_output_of_the_secondary_counts(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_stats st;
	struct pkt p;

	(void)state;
	rig_tcp(r, ACK, 100, 1, 0, 10);
	rig_primary(r, 1);
	p = mk_parse(&r->m);
	compare_secondary(r->c, 0, r->epoch - 1, &p, r->now);
	compare_secondary(r->c, 0, r->epoch + 1, &p, r->now);
	rig_saw(r, "");
	compare_get_stats(r->c, &st);
	assert_int_equal(st.secondary_dropped, 2);
	compare_secondary(r->c, 0, r->epoch, &p, r->now);
	rig_saw(r, "1");
	rig_free(r);
}

/* S1: it could not go on with the connection. */
static void a_new_connection_that_the_secondary_cannot_be_told_of_waits_for_the_commit(void **state)
{
	(void)state;
	for (int s_first = 0; s_first <= 1; s_first++) {
		struct rig *r = rig_new(NULL, COMPARE_MATCH);

		r->deaf = true;
		for (int i = 0; i < 2; i++) {
			rig_tcp(r, SYNACK, i == s_first ? 1000 : 5000, 77, 0, 0);
			if (i == s_first)
				rig_primary(r, 1);
			else
				rig_secondary(r);
		}
		rig_tcp(r, ACK, 1001, 77, 1001, 9);
		rig_primary(r, 2);
		rig_tcp(r, ACK, 5001, 77, 5001, 9);
		rig_secondary(r);
		rig_saw(r, "");
		rig_close(r, COMPARE_MATCH);
		rig_commit(r);
		rig_saw(r, "1c 2c");
		rig_free(r);
	}
}

/* Both wait for each other then: the client has got nothing of it to acknowledge. */
static void a_packet_of_which_the_secondary_sent_a_part_is_named_as_such(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	rig_tcp(r, ACK, 100, 1, 100, 60);
	rig_primary(r, 1);
	rig_tcp(r, ACK, 100, 1, 100, 20);
	rig_secondary(r);
	r->now += r->limits.timeout_us;
	compare_tick(r->c, r->now);
	rig_saw(r, "!timeout");
	assert_string_equal(mismatch_get(&r->ring, 0)->what,
			    "no data of the secondary behind the first 20 bytes, at 120");
	rig_free(r);
}

static void flows_are_listed_with_their_state(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);
	struct compare_flow f[4];

	(void)state;
	rig_tcp(r, SYNACK, 1000, 7, 0, 0);
	rig_primary(r, 1);
	rig_tcp(r, SYNACK, 900, 7, 0, 0);
	rig_secondary(r);
	r->now += 5;
	r->peer_port++;
	rig_udp(r, "x", 1);
	rig_primary(r, 2);
	assert_int_equal(compare_list_flows(r->c, f, 4, r->now), 2);
	assert_string_equal(f[0].state, "datagram");
	assert_int_equal(f[0].held_packets, 1);
	assert_string_equal(f[1].state, "syn");
	assert_int_equal(f[1].seq_offset, 100);
	assert_int_equal(f[1].idle_us, 5);
	assert_int_equal(f[1].packets, 1);
	r->peer_port--;
	rig_inbound(r, ACK, 8, 1001);
	assert_int_equal(compare_list_flows(r->c, f, 4, r->now), 2);
	assert_string_equal(f[1].state, "open");
	rig_inbound(r, FIN, 8, 1001);
	assert_int_equal(compare_list_flows(r->c, f, 1, r->now), 1);
	compare_list_flows(r->c, f, 4, r->now);
	assert_string_equal(f[1].state, "closing");
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_released_as_the_scripts_say),
		cmocka_unit_test(a_difference_is_recorded_with_its_place_and_both_sides),
		cmocka_unit_test(a_secondary_far_ahead_is_cut_off_and_a_checkpoint_asked),
		cmocka_unit_test(only_the_running_epochs_output_of_the_secondary_counts),
		cmocka_unit_test(
			a_new_connection_that_the_secondary_cannot_be_told_of_waits_for_the_commit),
		cmocka_unit_test(a_packet_of_which_the_secondary_sent_a_part_is_named_as_such),
		cmocka_unit_test(flows_are_listed_with_their_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
