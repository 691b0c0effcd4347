// SPDX-License-Identifier: GPL-2.0-or-later
/* Reassembly: a flow table of datagrams, their bytes in blocks of one pool, a bit for 8 bytes. */
#include "proxy/reasm.h"

#include "base/bytes.h"
#include "proxy/flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNIT_BYTES      8 /* fragments begin at multiples of it */
#define DATAGRAM_BYTES  65536
#define DATAGRAM_UNITS  (DATAGRAM_BYTES / UNIT_BYTES)
#define DATAGRAM_BLOCKS (DATAGRAM_BYTES / REASM_BLOCK)
#define HEADER_MAX      256 /* IPv4 has at most 60 bytes, IPv6 with more is given up */
#define IP6_FIXED       40

/* An incomplete one; zeroed by the table. Key and time of the first fragment are in the node. */
struct datagram {
	struct flow_node node;
	uint32_t generation; /* never 0 while in use */
	bool given_up;
	bool split; /* given up by reasm_give_up_all() */
	uint8_t ip_version;
	uint32_t have, furthest;
	uint32_t end; /* 0 until the last fragment told */
	uint32_t header_len;
	uint8_t header[HEADER_MAX];
	uint32_t blocks[DATAGRAM_BLOCKS]; /* number + 1 of a block of the pool, 0 for none */
	uint64_t seen[DATAGRAM_UNITS / 64];
};

struct reasm {
	struct flow_table table;
	uint32_t generation;
	uint8_t *pool;
	uint32_t *free_blocks, free_count, block_count;
	uint8_t whole[HEADER_MAX + DATAGRAM_BYTES];
};

int reasm_new(struct reasm **out, uint32_t max_datagrams, uint64_t max_bytes, uint64_t seed)
{
	uint64_t blocks = MAX(max_bytes / REASM_BLOCK, (uint64_t)DATAGRAM_BLOCKS);
	struct reasm *r;
	int ret;

	if (!max_datagrams || blocks >= UINT32_MAX)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->block_count = (uint32_t)blocks;
	r->pool = malloc(blocks * REASM_BLOCK);
	r->free_blocks = calloc(blocks, sizeof(*r->free_blocks));
	ret = flow_table_init(&r->table, max_datagrams, sizeof(struct datagram), seed);
	if (ret || !r->pool || !r->free_blocks) {
		reasm_free(r);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < r->block_count; i++)
		r->free_blocks[r->free_count++] = r->block_count - 1 - i;
	*out = r;
	return 0;
}

void reasm_free(struct reasm *r)
{
	if (!r)
		return;
	flow_table_destroy(&r->table);
	free(r->pool);
	free(r->free_blocks);
	free(r);
}

static struct reasm_ref ref_of(const struct reasm *r, const struct datagram *d)
{
	return (struct reasm_ref){flow_index(&r->table, &d->node), d->generation};
}

static void release_blocks(struct reasm *r, struct datagram *d)
{
	for (size_t i = 0; i < DATAGRAM_BLOCKS; i++) {
		if (d->blocks[i])
			r->free_blocks[r->free_count++] = d->blocks[i] - 1;
		d->blocks[i] = 0;
	}
}

static void remove_datagram(struct reasm *r, struct datagram *d)
{
	release_blocks(r, d);
	d->generation = 0;
	flow_remove(&r->table, &d->node);
}

static void give_up(struct reasm *r, struct datagram *d)
{
	release_blocks(r, d);
	d->given_up = true;
}

/*
 * The numbers that name a datagram, in the form of a flow's key: RFC 791 counts the protocol in,
 * RFC 8200 does not. The version keeps IPv4 apart from IPv6 addresses that look like ours of IPv4.
 */
static void datagram_key(struct flow_key *k, const struct pkt *p, uint8_t nic)
{
	*k = (struct flow_key){
		.guest = p->src,
		.peer = p->dst,
		.guest_port = (uint16_t)(p->frag_id >> 16),
		.peer_port = (uint16_t)p->frag_id,
		.vlan = (uint16_t)(p->vlan | p->ip_version << 12),
		.proto = p->ip_version == 4 ? p->proto : 0,
		.nic = nic,
	};
}

static struct datagram *find_or_add(struct reasm *r, uint8_t nic, const struct pkt *p,
				    uint64_t now_us)
{
	struct datagram *d;
	struct flow_key k;

	datagram_key(&k, p, nic);
	d = flow_peek(&r->table, &k);
	if (d)
		return d;
	d = flow_add(&r->table, &k, now_us);
	if (d) {
		r->generation += r->generation == UINT32_MAX ? 2 : 1;
		d->generation = r->generation;
		d->ip_version = p->ip_version;
	}
	return d;
}

/* Can it belong to the datagram as known so far? */
static bool place_is_sane(struct datagram *d, const struct pkt *p)
{
	uint32_t n = p->payload_len, end;

	if (!n || n > PKT_MAX_BYTES || p->frag_off % UNIT_BYTES || (p->frag_more && n % UNIT_BYTES))
		return false;
	end = p->frag_off + n;
	if (end > PKT_MAX_BYTES || (d->end && end > d->end))
		return false;
	if (!p->frag_more) {
		if (d->furthest > end)
			return false;
		d->end = end;
	}
	d->furthest = MAX(d->furthest, end);
	return true;
}

/* False when one of these units came before. */
static bool note_units(struct datagram *d, uint32_t off, uint32_t n)
{
	uint32_t to = DIV_ROUND_UP(off + n, UNIT_BYTES);

	for (uint32_t u = off / UNIT_BYTES; u < to; u++) {
		uint64_t bit = UINT64_C(1) << u % 64;

		if (d->seen[u / 64] & bit)
			return false;
		d->seen[u / 64] |= bit;
	}
	return true;
}

/* The header of the whole comes from the first fragment, without the fragment header of IPv6. */
static bool keep_header(struct datagram *d, const struct pkt *p)
{
	bool v6 = p->ip_version == 6;

	d->header_len = p->l4_off - (v6 ? 8 : 0);
	if (d->header_len > HEADER_MAX)
		return false;
	memcpy(d->header, p->data, d->header_len);
	if (v6)
		d->header[p->frag_next_off] = p->proto;
	return true;
}

static bool keep_bytes(struct reasm *r, struct datagram *d, const struct pkt *p)
{
	const uint8_t *from = p->data + p->payload_off;
	uint32_t at = p->frag_off, end = at + p->payload_len;

	while (at < end) {
		uint32_t *block = &d->blocks[at / REASM_BLOCK], in = at % REASM_BLOCK;
		uint32_t n = MIN(end - at, REASM_BLOCK - in);

		if (!*block) {
			if (!r->free_count)
				return false;
			*block = r->free_blocks[--r->free_count] + 1;
		}
		memcpy(r->pool + (size_t)(*block - 1) * REASM_BLOCK + in, from, n);
		from += n;
		at += n;
	}
	d->have += p->payload_len;
	return true;
}

static bool take(struct reasm *r, struct datagram *d, const struct pkt *p)
{
	if (!place_is_sane(d, p) || !note_units(d, p->frag_off, p->payload_len))
		return false;
	if (!p->frag_off && !keep_header(d, p))
		return false;
	return keep_bytes(r, d, p);
}

static void complete_ip4_header(uint8_t *h, uint32_t header_len, uint32_t total)
{
	uint32_t sum = 0;

	put_be16(h + 2, (uint16_t)total);
	h[6] &= 0xc0; /* "don't fragment" stays as it was */
	h[7] = 0;
	put_be16(h + 10, 0);
	for (uint32_t i = 0; i < header_len; i += 2)
		sum += get_be16(h + i);
	sum = (sum & 0xffff) + (sum >> 16);
	put_be16(h + 10, (uint16_t) ~(sum + (sum >> 16)));
}

/* Header and blocks into r->whole; false when the packet would be longer than any can be. */
static bool assemble(struct reasm *r, const struct datagram *d, uint32_t *len)
{
	uint32_t total = d->header_len + d->end, fixed = d->ip_version == 6 ? IP6_FIXED : 0;

	if (total - fixed > PKT_MAX_BYTES)
		return false;
	memcpy(r->whole, d->header, d->header_len);
	for (uint32_t at = 0; at < d->end; at += REASM_BLOCK)
		memcpy(r->whole + d->header_len + at,
		       r->pool + (size_t)(d->blocks[at / REASM_BLOCK] - 1) * REASM_BLOCK,
		       MIN(d->end - at, REASM_BLOCK));
	if (fixed)
		put_be16(r->whole + 4, (uint16_t)(total - fixed));
	else
		complete_ip4_header(r->whole, d->header_len, total);
	*len = total;
	return true;
}

enum reasm_state reasm_add(struct reasm *r, uint8_t nic, const struct pkt *p, uint64_t now_us,
			   struct reasm_result *out)
{
	struct datagram *d = find_or_add(r, nic, p, now_us);
	bool whole;

	assert(p->kind == PKT_FRAGMENT);
	*out = (struct reasm_result){.state = REASM_FULL};
	if (!d)
		return out->state;
	out->ref = ref_of(r, d);
	out->state = d->split ? REASM_REST : REASM_GIVEN_UP;
	if (d->given_up)
		return out->state;
	if (!take(r, d, p)) {
		give_up(r, d);
		return out->state;
	}
	whole = d->end && d->have == d->end;
	if (whole && !assemble(r, d, &out->len)) {
		give_up(r, d);
		return out->state;
	}
	out->state = whole ? REASM_WHOLE : REASM_PART;
	if (whole) {
		out->data = r->whole;
		remove_datagram(r, d);
	}
	return out->state;
}

bool reasm_expire(struct reasm *r, uint64_t before_us, struct reasm_ref *out)
{
	struct datagram *d;

	while ((d = flow_oldest(&r->table)) && d->node.used_us < before_us) {
		bool known = d->given_up;

		*out = ref_of(r, d);
		remove_datagram(r, d);
		if (!known)
			return true;
	}
	return false;
}

uint64_t reasm_oldest_us(const struct reasm *r)
{
	const struct datagram *d = flow_oldest(&r->table);

	return d ? d->node.used_us : UINT64_MAX;
}

void reasm_clear(struct reasm *r)
{
	struct datagram *d;

	while ((d = flow_oldest(&r->table)))
		remove_datagram(r, d);
}

void reasm_give_up_all(struct reasm *r)
{
	struct list *at, *next;

	list_for_each_safe (at, next, &r->table.by_age) {
		struct datagram *d = list_entry(at, struct datagram, node.age);

		give_up(r, d);
		d->split = true;
	}
}

bool reasm_is_rest(const struct reasm *r, uint8_t nic, const struct pkt *p)
{
	const struct datagram *d;
	struct flow_key k;

	datagram_key(&k, p, nic);
	d = flow_peek(&r->table, &k);
	return d && d->split;
}

bool reasm_is_current(const struct reasm *r, struct reasm_ref ref)
{
	const struct datagram *d = flow_at(&r->table, ref.slot);

	return d && ref.generation && d->generation == ref.generation;
}

uint32_t reasm_waiting(const struct reasm *r)
{
	return r->table.used;
}
