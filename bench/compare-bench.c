// SPDX-License-Identifier: GPL-2.0-or-later
/* Packets and bytes a second through the comparing core alone, on one core. */
/*
 * usage: compare-bench FILE [ROUNDS]    appends JSON lines to FILE
 *
 * Both guests send the same; packets are parsed beforehand, so that only the core is measured. Each
 * value is the rate of one round over all flows, of which there are 200 or ROUNDS.
 */
#include "base/cleanup.h"
#include "base/quantile.h"
#include "proxy/compare.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define ROUNDS  200
#define FLOWS   64
#define HEADERS 52 /* IPv4 and TCP with timestamps */

/* More than the caches of a core hold: packets come from elsewhere. */
#define SOURCE_BYTES (16 * MIB)
#define SOURCE_SLOT  (64 * KIB)

/* @burst: packets of one guest before the other one's come */
struct bench_case {
	const char *name;
	uint32_t bytes; /* of a packet, headers included */
	uint32_t packets, burst;
	bool primary_first, udp;
	enum compare_mode mode;
};

static const struct bench_case cases[] = {
	{"64-byte TCP, primary first", 64, 20000, 64, true, false, COMPARE_MATCH},
	{"64-byte TCP, secondary first", 64, 20000, 64, false, false, COMPARE_MATCH},
	{"64-byte UDP, primary first", 64, 20000, 64, true, true, COMPARE_MATCH},
	{"64 KB TCP, primary first", 65483, 1000, 1, true, false, COMPARE_MATCH},
	{"64 KB TCP, secondary first", 65483, 1000, 1, false, false, COMPARE_MATCH},
	{"64 KB TCP, primary 16 ahead", 65483, 1000, 16, true, false, COMPARE_MATCH},
	{"64 KB TCP, periodic", 65483, 1000, 16, true, false, COMPARE_HOLD},
};

struct bench {
	struct compare *c;
	struct mismatch_ring ring;
	const struct bench_case *k;
	uint64_t released, asked, epoch;
	uint32_t seq[FLOWS];
	uint8_t *primary, *secondary;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_release(void *arg, uint8_t nic, uint32_t id, enum release_cause cause)
{
	(void)nic;
	(void)id;
	(void)cause;
	((struct bench *)arg)->released++;
}

static void on_drop(void *arg, uint8_t nic, uint32_t id)
{
	(void)arg;
	(void)nic;
	(void)id;
}

static void on_checkpoint(void *arg, enum mismatch_reason reason)
{
	(void)reason;
	((struct bench *)arg)->asked++;
}

static bool on_note(void *arg, const struct flow_note *n)
{
	(void)arg;
	(void)n;
	return true;
}

/* What the parser would have made of the packet @i of the case. */
static void make_packet(const struct bench *b, struct pkt *p, const uint8_t *data, uint32_t i)
{
	uint32_t flow = i / b->k->burst % FLOWS;

	*p = (struct pkt){
		.data = data + i * (b->k->bytes > 1500 ? SOURCE_SLOT : 64) % SOURCE_BYTES,
		.len = b->k->bytes,
		.kind = b->k->udp ? PKT_UDP : PKT_TCP,
		.ip_version = 4,
		.proto = b->k->udp ? 17 : 6,
		.src = {.b = {[10] = 0xff, 0xff, 10, 0, 0, 2}},
		.dst = {.b = {[10] = 0xff, 0xff, 10, 0, 0, 9}},
		.l4_off = 20,
		.payload_off = HEADERS,
		.payload_len = b->k->bytes - HEADERS,
		.sport = 80,
		.dport = (uint16_t)(10000 + flow),
		.seq = b->seq[flow],
		.seq_len = b->k->bytes - HEADERS,
		.ack = 1,
		.tcp_flags = TCP_ACK,
		.ts_off = 40,
		.tsval = 1,
	};
}

static void send_burst(struct bench *b, uint32_t first, bool primary)
{
	const struct bench_case *k = b->k;
	uint32_t flow = first / k->burst % FLOWS, start = b->seq[flow];

	for (uint32_t i = first; i < first + k->burst; i++) {
		struct pkt p;

		make_packet(b, &p, primary ? b->primary : b->secondary, i);
		if (primary)
			compare_primary(b->c, 0, i, &p, 1);
		else
			compare_secondary(b->c, 0, b->epoch, &p, 1);
		b->seq[flow] += p.seq_len;
	}
	if (primary != k->primary_first)
		return;
	b->seq[flow] = start;
}

static void run_round(struct bench *b)
{
	const struct bench_case *k = b->k;

	for (uint32_t i = 0; i < k->packets; i += k->burst) {
		send_burst(b, i, k->primary_first);
		send_burst(b, i, !k->primary_first);
	}
	if (k->mode == COMPARE_MATCH)
		return;
	compare_close_epoch(b->c, ++b->epoch, k->mode, 1);
	compare_commit(b->c, b->epoch, 1);
}

static void print_line(FILE *out, const struct bench_case *k, const char *metric, const char *unit,
		       const struct quantile *q, double scale)
{
	struct quantile_view v;

	quantile_view(q, &v);
	fprintf(out,
		"{\"bench\":\"compare\",\"case\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\",\"n\":"
		"%" PRIu64 ",\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n",
		k->name, metric, unit, v.count, (double)v.p50 * scale, (double)v.p99 * scale,
		(double)v.max * scale);
	fflush(out);
}

static int run_case(FILE *out, const struct bench_case *k, uint8_t *primary, uint8_t *secondary,
		    long rounds)
{
	static const struct compare_limits limits = {
		.max_held_packets = 32768,
		.max_held_bytes = 64 * MIB,
		.max_flows = 4096,
		.max_half_open = 1024,
		.timeout_us = USEC_PER_SEC,
		.flow_idle_us = 300 * USEC_PER_SEC,
		.seed = 1,
	};
	static const struct compare_ops ops = {on_release, on_drop, on_checkpoint, on_note};
	struct quantile kpps = {}, mbits = {};
	autofree struct bench *b = calloc(1, sizeof(*b));
	uint32_t rounded = k->packets - k->packets % k->burst;

	if (!b)
		return -1;
	b->primary = primary;
	b->secondary = secondary;
	if (compare_new(&b->c, &limits, NULL, &b->ring, &ops, b))
		return -1;
	b->k = k;
	compare_close_epoch(b->c, ++b->epoch, k->mode, 1);
	compare_commit(b->c, b->epoch, 1);
	for (long i = 0; i < rounds; i++) {
		uint64_t start = now_ns(), took, want = b->released + rounded;

		run_round(b);
		took = now_ns() - start;
		if (b->asked || b->released < want) {
			fprintf(stderr, "compare-bench: %s: not all was released\n", k->name);
			compare_free(b->c);
			return -1;
		}
		quantile_add(&kpps, (uint64_t)rounded * 1000000 / took);
		quantile_add(&mbits, (uint64_t)rounded * k->bytes * 8 * 1000 / took);
	}
	print_line(out, k, "packets", "Mpps", &kpps, 0.001);
	print_line(out, k, "bytes", "Gbit/s", &mbits, 0.001);
	compare_free(b->c);
	return 0;
}

int main(int argc, char **argv)
{
	autofclose FILE *out = argc > 1 ? fopen(argv[1], "ae") : NULL;
	autofree uint8_t *primary = malloc(SOURCE_BYTES), *secondary = malloc(SOURCE_BYTES);
	long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : ROUNDS;

	if (!out || !primary || !secondary || rounds < 1) {
		fprintf(stderr, "usage: compare-bench FILE [ROUNDS]\n");
		return 2;
	}
	memset(primary, 0x5a, SOURCE_BYTES);
	memset(secondary, 0x5a, SOURCE_BYTES);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		if (run_case(out, &cases[i], primary, secondary, rounds))
			return 1;
	return 0;
}
