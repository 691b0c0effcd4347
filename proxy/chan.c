// SPDX-License-Identifier: GPL-2.0-or-later
/* Packet channel: one table says what each message carries; encoding and strict decoding. Pure. */
#include "proxy/chan.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Header fields that a type uses; the others stand as zero. */
#define F_NIC    BIT(0)
#define F_FLAGS  BIT(1)
#define F_NUMBER BIT(2)
#define F_MARK   BIT(3)
#define F_FRAME  BIT(4) /* not a field: the payload is a frame */

#define KEY_BYTES     40
#define NOTE_BYTES    (KEY_BYTES + 24)
#define REWRITE_BYTES (KEY_BYTES + 8)
#define ADDRESS_BYTES 18

#define VLAN_MAX 4095 /* 12 bits, IEEE 802.1Q */

static const struct {
	const char *name;
	unsigned fields;
	uint32_t min, max; /* payload */
} types[CHAN_TYPES] = {
	[CHAN_FRAME_IN] = {"FRAME_IN", F_NIC | F_NUMBER | F_FRAME, CHAN_MIN_PAYLOAD,
			   CHAN_MAX_PAYLOAD},
	[CHAN_FRAME_OUT] = {"FRAME_OUT", F_NIC | F_NUMBER | F_FRAME, CHAN_MIN_PAYLOAD,
			    CHAN_MAX_PAYLOAD},
	[CHAN_EPOCH] = {"EPOCH", F_NIC | F_NUMBER | F_MARK, 0, 0},
	[CHAN_COMMITTED] = {"COMMITTED", F_NUMBER, 0, 0},
	[CHAN_FLOW] = {"FLOW", F_NIC, NOTE_BYTES, NOTE_BYTES},
	[CHAN_LOST] = {"LOST", F_NIC | F_NUMBER, 0, 0},
	[CHAN_REWRITE] = {"REWRITE", F_NIC | F_FLAGS | F_NUMBER, REWRITE_BYTES, REWRITE_BYTES},
	[CHAN_OWN_ADDRESS] = {"OWN_ADDRESS", F_NIC, ADDRESS_BYTES, ADDRESS_BYTES},
	[CHAN_LEFT] = {"LEFT", F_NIC, 0, 0},
	[CHAN_PING] = {"PING", F_FLAGS | F_NUMBER | F_MARK, 0, 0},
	[CHAN_MUTE] = {"MUTE", 0, 0, 0},
	[CHAN_JOINED] = {"JOINED", 0, 0, 0},
	[CHAN_GAP] = {"GAP", F_NIC | F_NUMBER, 0, 0},
};

_Static_assert(CHAN_HEADER_BYTES + NOTE_BYTES <= CHAN_ENCODE_MAX, "a note is the longest");

const char *chan_type_name(unsigned type)
{
	return type < CHAN_TYPES && types[type].name ? types[type].name : "unknown";
}

/* The key's NIC stands in the header, so that there is one place for it. */
static void put_key(uint8_t *p, const struct flow_key *k)
{
	memcpy(p, k->guest.b, 16);
	memcpy(p + 16, k->peer.b, 16);
	put_be16(p + 32, k->guest_port);
	put_be16(p + 34, k->peer_port);
	put_be16(p + 36, k->vlan);
	p[38] = k->proto;
	p[39] = 0;
}

static int check_vlan(const char *name, uint16_t vlan, struct err *e)
{
	if (vlan <= VLAN_MAX)
		return 0;
	return err_set(e, EPROTO, "%s: VLAN %u is above %u", name, vlan, VLAN_MAX);
}

static int check_zero(const char *name, const char *what, uint64_t value, struct err *e)
{
	if (!value)
		return 0;
	return err_set(e, EPROTO, "%s: %s is %#llx, must be 0", name, what,
		       (unsigned long long)value);
}

static int get_key(struct flow_key *k, const uint8_t *p, uint8_t nic, const char *name,
		   struct err *e)
{
	memcpy(k->guest.b, p, 16);
	memcpy(k->peer.b, p + 16, 16);
	k->guest_port = get_be16(p + 32);
	k->peer_port = get_be16(p + 34);
	k->vlan = get_be16(p + 36);
	k->proto = p[38];
	k->nic = nic;
	return check_vlan(name, k->vlan, e)
		       ?: check_zero(name, "the key's reserved byte", p[39], e);
}

static void put_note(uint8_t *p, const struct flow_note *n)
{
	put_key(p, &n->key);
	p += KEY_BYTES;
	p[0] = (uint8_t)n->kind;
	p[1] = n->has_ts;
	put_be16(p + 2, 0);
	put_be32(p + 4, n->seq_offset);
	put_be32(p + 8, n->ts_offset);
	put_be32(p + 12, n->released_seq);
	put_be32(p + 16, n->released_ts);
	put_be32(p + 20, n->released_packets);
}

static int get_note(struct flow_note *n, const uint8_t *p, uint8_t nic, struct err *e)
{
	int r = get_key(&n->key, p, nic, "FLOW", e);

	if (r)
		return r;
	p += KEY_BYTES;
	if (p[0] != FLOW_OFFSET && p[0] != FLOW_RELEASED)
		return err_set(e, EPROTO, "FLOW: kind %u is unknown", p[0]);
	if (p[1] > 1)
		return err_set(e, EPROTO, "FLOW: has-timestamp is %u, must be 0 or 1", p[1]);
	n->kind = (enum flow_note_kind)p[0];
	n->has_ts = p[1];
	n->seq_offset = get_be32(p + 4);
	n->ts_offset = get_be32(p + 8);
	n->released_seq = get_be32(p + 12);
	n->released_ts = get_be32(p + 16);
	n->released_packets = get_be32(p + 20);
	return check_zero("FLOW", "the reserved field", get_be16(p + 2), e);
}

static void put_payload(const struct chan_msg *m, uint8_t *p)
{
	switch (m->type) {
	case CHAN_FLOW:
		put_note(p, &m->note);
		break;
	case CHAN_REWRITE:
		put_key(p, &m->rewrite.key);
		put_be32(p + KEY_BYTES, m->rewrite.seq_offset);
		put_be32(p + KEY_BYTES + 4, m->rewrite.ts_offset);
		break;
	case CHAN_OWN_ADDRESS:
		memcpy(p, m->address.b, 16);
		put_be16(p + 16, m->vlan);
		break;
	default: /* nothing, or a frame, which the caller sends */
		break;
	}
}

static int get_payload(struct chan_msg *m, const uint8_t *p, uint32_t len, struct err *e)
{
	switch (m->type) {
	case CHAN_FLOW:
		return get_note(&m->note, p, m->nic, e);
	case CHAN_REWRITE:
		m->rewrite.seq_offset = get_be32(p + KEY_BYTES);
		m->rewrite.ts_offset = get_be32(p + KEY_BYTES + 4);
		return get_key(&m->rewrite.key, p, m->nic, "REWRITE", e);
	case CHAN_OWN_ADDRESS:
		memcpy(m->address.b, p, 16);
		m->vlan = get_be16(p + 16);
		return check_vlan("OWN_ADDRESS", m->vlan, e);
	default:
		if (!len)
			return 0;
		m->payload = p;
		m->payload_len = len;
		return 0;
	}
}

static uint8_t nic_of(const struct chan_msg *m)
{
	if (m->type == CHAN_FLOW)
		return m->note.key.nic;
	return m->type == CHAN_REWRITE ? m->rewrite.key.nic : m->nic;
}

size_t chan_encode(const struct chan_msg *m, uint8_t buf[CHAN_ENCODE_MAX])
{
	unsigned fields = types[m->type].fields;
	bool frame = fields & F_FRAME;
	uint32_t len = frame ? m->payload_len : types[m->type].max;

	if (len < types[m->type].min || len > types[m->type].max)
		return 0;
	put_be32(buf, len);
	buf[4] = (uint8_t)m->type;
	buf[5] = fields & F_NIC ? nic_of(m) : 0;
	buf[6] = fields & F_FLAGS ? m->flags : 0;
	buf[7] = 0;
	put_be64(buf + 8, fields & F_NUMBER ? m->number : 0);
	put_be64(buf + 16, fields & F_MARK ? m->mark : 0);
	put_payload(m, buf + CHAN_HEADER_BYTES);
	return CHAN_HEADER_BYTES + (frame ? 0 : len);
}

static int check_length(uint8_t type, uint32_t len, struct err *e)
{
	if (len >= types[type].min && len <= types[type].max)
		return 0;
	if (types[type].min == types[type].max)
		return err_set(e, EPROTO, "%s: payload of %u bytes, must be %u", types[type].name,
			       len, types[type].max);
	return err_set(e, EPROTO, "%s: payload of %u bytes, must be %u to %u", types[type].name,
		       len, types[type].min, types[type].max);
}

static int get_header(struct chan_msg *m, uint32_t *len, const uint8_t *buf, struct err *e)
{
	uint8_t type = buf[4];
	unsigned fields, known;
	const char *name;
	int r;

	*len = get_be32(buf);
	if (type >= CHAN_TYPES || !types[type].name)
		return err_set(e, EPROTO, "type %u is unknown", type);
	*m = (struct chan_msg){.type = (enum chan_type)type, .nic = buf[5], .flags = buf[6]};
	m->number = get_be64(buf + 8);
	m->mark = get_be64(buf + 16);
	fields = types[type].fields;
	name = types[type].name;
	if ((r = check_length(type, *len, e)) || (r = check_zero(name, "reserved", buf[7], e)))
		return r;
	if (!(fields & F_NIC) && (r = check_zero(name, "nic", m->nic, e)))
		return r;
	if (!(fields & F_NUMBER) && (r = check_zero(name, "number", m->number, e)))
		return r;
	if (!(fields & F_MARK) && (r = check_zero(name, "mark", m->mark, e)))
		return r;
	if (!(fields & F_FLAGS))
		return check_zero(name, "flags", m->flags, e);
	known = type == CHAN_REWRITE ? CHAN_REWRITE_ENDS : CHAN_PING_ANSWER;
	return check_zero(name, "an unknown flag", m->flags & ~known, e);
}

ssize_t chan_decode(struct chan_msg *m, const uint8_t *buf, size_t len, struct err *e)
{
	uint32_t payload_len;
	int r;

	if (len < CHAN_HEADER_BYTES)
		return 0;
	r = get_header(m, &payload_len, buf, e);
	if (r)
		return r;
	if (m->type == CHAN_FRAME_IN && !m->number)
		return err_set(e, EPROTO, "FRAME_IN: number is 0, frames count from 1");
	if (len - CHAN_HEADER_BYTES < payload_len)
		return 0;
	r = get_payload(m, buf + CHAN_HEADER_BYTES, payload_len, e);
	return r ? r : (ssize_t)(CHAN_HEADER_BYTES + payload_len);
}
