// SPDX-License-Identifier: GPL-2.0-or-later
/* Mismatches: the ring of the last ones, and their packets as pcap. Pure. */
#include "proxy/mismatch.h"

#include <endian.h>
#include <string.h>

#define PCAP_MAGIC    0xa1b2c3d4u /* microseconds */
#define PCAP_LINK_RAW 101         /* begins with the IPv4 or IPv6 header */

const char *mismatch_reason_name(enum mismatch_reason r)
{
	static const char *const names[MISMATCH_REASONS] = {
		[MISMATCH_PAYLOAD] = "payload", [MISMATCH_LENGTH] = "length",
		[MISMATCH_FLAGS] = "flags",     [MISMATCH_TIMEOUT] = "timeout",
		[MISMATCH_FULL] = "full",       [MISMATCH_FLOWS] = "flows",
		[MISMATCH_LOST] = "lost",
	};

	return (unsigned)r < MISMATCH_REASONS ? names[r] : "unknown";
}

struct mismatch *mismatch_next(struct mismatch_ring *r)
{
	struct mismatch *m = &r->entries[r->count % MISMATCH_RING];

	memset(m, 0, sizeof(*m));
	m->number = ++r->count;
	return m;
}

void mismatch_side_set(struct mismatch_side *s, const struct pkt *p, uint32_t at)
{
	uint32_t start;

	s->len = p->len;
	s->kept = MIN(p->len, MISMATCH_SNAPSHOT);
	memcpy(s->packet, p->data, s->kept);
	at = MIN(at, p->payload_len);
	start = at - MIN(at, MISMATCH_CONTEXT / 2);
	s->context_at = (uint8_t)(at - start);
	s->context_len = (uint8_t)MIN(p->payload_len - start, MISMATCH_CONTEXT);
	memcpy(s->context, p->data + p->payload_off + start, s->context_len);
}

void mismatch_resolved(struct mismatch_ring *r, uint64_t epoch)
{
	for (uint64_t i = 0; i < MIN(r->count, MISMATCH_RING); i++) {
		struct mismatch *m = &r->entries[i];

		if (!m->checkpoint && m->epoch <= epoch)
			m->checkpoint = epoch;
	}
}

const struct mismatch *mismatch_get(const struct mismatch_ring *r, unsigned back)
{
	if (back >= MIN(r->count, MISMATCH_RING))
		return NULL;
	return &r->entries[(r->count - 1 - back) % MISMATCH_RING];
}

static uint8_t *put_u16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

size_t mismatch_pcap_header(uint8_t *buf)
{
	uint8_t *p = put_u32(buf, PCAP_MAGIC);

	p = put_u16(p, 2); /* version 2.4 */
	p = put_u16(p, 4);
	p = put_u32(p, 0); /* time zone: UTC */
	p = put_u32(p, 0); /* accuracy: always 0 */
	p = put_u32(p, MISMATCH_SNAPSHOT);
	p = put_u32(p, PCAP_LINK_RAW);
	return (size_t)(p - buf);
}

size_t mismatch_pcap_record(const struct mismatch *m, const struct mismatch_side *s, uint8_t *buf)
{
	uint8_t *p = buf;

	if (!s->kept)
		return 0;
	p = put_u32(p, (uint32_t)(m->realtime_us / USEC_PER_SEC));
	p = put_u32(p, (uint32_t)(m->realtime_us % USEC_PER_SEC));
	p = put_u32(p, s->kept);
	p = put_u32(p, s->len);
	memcpy(p, s->packet, s->kept);
	return (size_t)(p - buf) + s->kept;
}
