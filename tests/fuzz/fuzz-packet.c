// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a frame of any bytes; then the same as a row of packets, with reassembly. */
#include "proxy/flow.h"
#include "proxy/reasm.h"
#include "proxy/rewrite.h"
#include "tests/unit/packet-check.h"
#include "tests/unit/packet-make.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_frame(const uint8_t *data, size_t size)
{
	struct frame f;
	struct arp a;

	if (frame_parse(&f, data, size))
		return;
	assert(f.l3_off >= 14 && f.l3_off <= size && f.vlan < 4096);
	if (f.ethertype == ETHERTYPE_ARP_)
		(void)arp_parse(&a, data + f.l3_off, size - f.l3_off);
	if (frame_is_ip(&f))
		parse_exactly(data + f.l3_off, size - f.l3_off);
}

/* What a quote's parser says can be written to, and changing its numbers keeps within the packet. */
static void one_error(const struct pkt *p)
{
	const struct rewrite w = {1, 1};
	uint8_t *copy = malloc(p->len ? p->len : 1);
	struct pkt c, q;

	assert(copy);
	memcpy(copy, p->data, p->len);
	pkt_parse_ip(&c, copy, p->len, 0);
	if (pkt_parse_quote(&q, &c)) {
		assert(pkt_is_sane(&q, copy, p->len) && q.kind == PKT_TCP);
		assert(q.l4_off >= c.l4_off + 8 && q.len - q.l4_off >= 8 && q.len <= c.len);
		rewrite_quoted_in(&w, copy, &c, &q, false);
		rewrite_quoted_out(&w, copy, &c, &q, false);
	}
	free(copy);
}

static void check_whole(const struct reasm_result *res, const struct pkt *last)
{
	struct pkt p = parse_exactly(res->data, res->len);

	assert(p.ip_version == last->ip_version);
	/* The header was sound in the fragments, so the lengths are. */
	assert(p.len == res->len && p.len > last->payload_len);
	if (p.kind != PKT_OPAQUE)
		assert(!memcmp(&p.dst, &last->dst, sizeof(p.dst)));
}

/* Slots must be used as reasm.h says, or a caller's lists beside them go wrong. */
#define SLOTS 4
static void one_fragment(struct reasm *r, const struct pkt *p, uint64_t now_us,
			 uint32_t generations[SLOTS])
{
	struct reasm_result res;

	if (reasm_add(r, 0, p, now_us, &res) == REASM_FULL) {
		assert(reasm_waiting(r) == SLOTS);
		return;
	}
	assert(res.ref.slot < SLOTS && res.ref.generation >= generations[res.ref.slot]);
	generations[res.ref.slot] = res.ref.generation;
	assert(reasm_is_current(r, res.ref) == (res.state != REASM_WHOLE));
	if (res.state == REASM_WHOLE)
		check_whole(&res, p);
}

static void all_packets(struct reasm *r, const uint8_t *data, size_t size)
{
	uint32_t generations[SLOTS] = {};
	struct reasm_ref ref;
	uint64_t now_us = 0;

	/* A length byte before each; 255 says that the rest is one packet. */
	while (size > 1) {
		size_t len = data[0] == 255 || data[0] > size - 1 ? size - 1 : data[0];
		struct flow_key k;
		struct pkt p;
		char text[FLOW_TEXT_MAX];

		pkt_parse_ip(&p, data + 1, len, 0);
		assert(pkt_is_sane(&p, data + 1, len));
		flow_key_out(&k, &p, 0);
		assert(strlen(flow_key_text(&k, text)) > 5);
		if (p.kind == PKT_FRAGMENT)
			one_fragment(r, &p, ++now_us, generations);
		if (p.kind == PKT_ICMP)
			one_error(&p);
		data += 1 + len;
		size -= 1 + len;
	}
	while (reasm_expire(r, now_us, &ref))
		assert(!reasm_is_current(r, ref));
	reasm_give_up_all(r);
	assert(!reasm_expire(r, UINT64_MAX, &ref) && !reasm_waiting(r));
}

/* Four bytes for each fragment: more and last, id and family; place; length; what is in it. */
static void made_fragments(struct reasm *r, const uint8_t *data, size_t size)
{
	uint32_t generations[SLOTS] = {};
	static struct mk m;

	for (; size >= 4; data += 4, size -= 4) {
		bool v6 = data[0] & 2, more = data[0] & 1;
		struct pkt p;

		mk_start(&m);
		mk_ip(&m, v6 ? "fd00::1" : "10.0.0.2", v6 ? "fd00::2" : "10.0.0.9", IPPROTO_UDP);
		mk_fragment(&m, data[0] >> 5, data[1] % 16 * 8u, more);
		memset(mk_more(&m, data[2]), data[3], data[2]);
		mk_end(&m);
		p = mk_parse(&m);
		if (p.kind == PKT_FRAGMENT)
			one_fragment(r, &p, 0, generations);
	}
	reasm_clear(r);
	assert(!reasm_waiting(r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reasm *r;

	one_frame(data, size);
	if (reasm_new(&r, SLOTS, 2 * PKT_MAX_BYTES, 1))
		abort();
	all_packets(r, data, size);
	made_fragments(r, data, size);
	reasm_free(r);
	return 0;
}
