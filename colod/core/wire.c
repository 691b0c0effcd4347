// SPDX-License-Identifier: GPL-2.0-or-later
/* Wire format: one table says which fields a message carries, one walker encodes and decodes them.
 */
#include "colod/core/wire.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Fields in the order in which they stand in a payload. */
#define F_HELLO   BIT(0)
#define F_EPOCH   BIT(1)
#define F_FLAGS   BIT(2)
#define F_ENTRIES BIT(3) /* entries, zero_entries, checksum */
#define F_DEVICES BIT(4)
#define F_TEXT    BIT(5)
#define F_BULK    BIT(6) /* not a message: a frame with data */

static const struct {
	const char *name;
	unsigned fields;
} types[WIRE_TYPE_COUNT] = {
	[WIRE_HELLO] = {"HELLO", F_HELLO},
	[WIRE_WELCOME] = {"WELCOME", F_HELLO},
	[WIRE_REJECT] = {"REJECT", F_FLAGS | F_TEXT},
	[WIRE_HEARTBEAT] = {"HEARTBEAT", F_EPOCH},
	[WIRE_READY] = {"READY", F_EPOCH},
	[WIRE_NEW] = {"NEW", F_EPOCH | F_FLAGS},
	[WIRE_SUSPENDED] = {"SUSPENDED", F_EPOCH},
	[WIRE_RECEIVED] = {"RECEIVED", F_EPOCH},
	[WIRE_LOADED] = {"LOADED", F_EPOCH},
	[WIRE_FAILED] = {"FAILED", F_EPOCH | F_TEXT},
	[WIRE_HANDOVER] = {"HANDOVER", F_EPOCH},
	[WIRE_SWITCH_REQUEST] = {"SWITCH_REQUEST", F_EPOCH},
	[WIRE_SWITCH_REFUSED] = {"SWITCH_REFUSED", F_TEXT},
	[WIRE_VERIFIED] = {"VERIFIED", F_EPOCH | F_ENTRIES},
	[WIRE_GONE] = {"GONE", F_TEXT},
	[WIRE_LEAVE] = {"LEAVE", F_TEXT},
	[WIRE_STOP] = {"STOP", F_TEXT},
	[WIRE_SEND] = {"SEND", F_EPOCH | F_FLAGS | F_ENTRIES | F_DEVICES},
	[WIRE_PAGES] = {"PAGES", F_BULK},
	[WIRE_DEVICES] = {"DEVICES", F_BULK},
	[WIRE_HASHES] = {"HASHES", F_BULK},
	[WIRE_RECV_BITMAP] = {"RECV_BITMAP", F_BULK},
	[WIRE_RESUME] = {"RESUME", F_EPOCH | F_FLAGS},
	[WIRE_RESUME_ACK] = {"RESUME_ACK", F_EPOCH},
	[WIRE_TAKEN] = {"TAKEN", F_EPOCH},
	[WIRE_PAUSE] = {"PAUSE", F_TEXT},
	[WIRE_UPLINK] = {"UPLINK", F_FLAGS},
};

/*
 * A cursor over a payload. With @encode it writes the members' values, else it reads into them, so
 * that both directions follow the same order of fields by construction.
 */
struct cursor {
	uint8_t *p, *end;
	bool encode, bad;
};

static uint8_t *take(struct cursor *c, size_t n)
{
	uint8_t *p = c->p;

	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

static void field_u8(struct cursor *c, uint8_t *v)
{
	uint8_t *p = take(c, 1);

	if (!p)
		return;
	if (c->encode)
		*p = *v;
	else
		*v = *p;
}

static void field_u32(struct cursor *c, uint32_t *v)
{
	uint8_t *p = take(c, 4);

	if (!p)
		return;
	if (c->encode)
		put_be32(p, *v);
	else
		*v = get_be32(p);
}

static void field_u64(struct cursor *c, uint64_t *v)
{
	uint8_t *p = take(c, 8);

	if (!p)
		return;
	if (c->encode)
		put_be64(p, *v);
	else
		*v = get_be64(p);
}

/* Strings: u32 length, then the bytes; a longer one than @size - 1 or one with a NUL is malformed.
 */
static void field_text(struct cursor *c, char *s, size_t size)
{
	uint32_t len = c->encode ? (uint32_t)strnlen(s, size - 1) : 0;
	uint8_t *p;

	field_u32(c, &len);
	if (len >= size) {
		c->bad = true;
		return;
	}
	p = take(c, len);
	if (!p)
		return;
	if (c->encode) {
		memcpy(p, s, len);
		return;
	}
	memcpy(s, p, len);
	s[len] = 0;
	if (strlen(s) != len)
		c->bad = true;
}

static void field_hello(struct cursor *c, struct wire_hello *h)
{
	field_u8(c, &h->channel);
	field_u8(c, &h->role);
	field_u8(c, &h->live);
	field_u64(c, &h->resume);
	field_u64(c, &h->session);
	field_u64(c, &h->epoch);
	field_u64(c, &h->ram_bytes);
	field_u32(c, &h->host_page_bytes);
	field_u32(c, &h->vcpus);
	field_text(c, h->name, sizeof(h->name));
	field_text(c, h->qemu_version, sizeof(h->qemu_version));
	field_text(c, h->machine, sizeof(h->machine));
	field_text(c, h->cpu_model, sizeof(h->cpu_model));
	field_text(c, h->accel, sizeof(h->accel));
	field_text(c, h->nics, sizeof(h->nics));
	field_text(c, h->arbiter, sizeof(h->arbiter));
	field_text(c, h->host, sizeof(h->host));
}

static void walk(struct cursor *c, struct wire_msg *m)
{
	unsigned f = types[m->type].fields;

	if (f & F_HELLO)
		field_hello(c, &m->hello);
	if (f & F_EPOCH)
		field_u64(c, &m->epoch);
	if (f & F_FLAGS)
		field_u32(c, &m->flags);
	if (f & F_ENTRIES) {
		field_u64(c, &m->entries);
		field_u64(c, &m->zero_entries);
		field_u64(c, &m->checksum);
	}
	if (f & F_DEVICES)
		field_u64(c, &m->devices_bytes);
	if (f & F_TEXT)
		field_text(c, m->text, sizeof(m->text));
}

bool wire_is_bulk_frame(uint16_t type)
{
	return type < WIRE_TYPE_COUNT && (types[type].fields & F_BULK);
}

const char *wire_type_name(uint16_t type)
{
	if (type >= WIRE_TYPE_COUNT || !types[type].name)
		return "unknown";
	return types[type].name;
}

void wire_encode_header(uint8_t *buf, enum wire_type type, uint32_t length)
{
	put_be32(buf, WIRE_MAGIC);
	put_be32(buf + 4, WIRE_VERSION << 16 | type);
	put_be32(buf + 8, length);
}

size_t wire_encode(const struct wire_msg *m, uint8_t *buf)
{
	struct cursor c = {.p = buf + WIRE_HEADER_BYTES,
			   .end = buf + WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES,
			   .encode = true};

	walk(&c, (struct wire_msg *)(uintptr_t)m); /* only read while encoding */
	wire_encode_header(buf, m->type, (uint32_t)(c.p - buf - WIRE_HEADER_BYTES));
	return (size_t)(c.p - buf);
}

/* Shortest and longest payload that a type can have. */
static bool length_fits(uint16_t type, uint32_t len)
{
	switch (type) {
	case WIRE_PAGES:
		return len >= WIRE_PAGES_HEAD_BYTES + 8 &&
		       len <= WIRE_PAGES_HEAD_BYTES + WIRE_PAGES_MAX * (8 + PAGE_BYTES);
	case WIRE_HASHES:
		return len >= WIRE_HASHES_HEAD_BYTES + 8 &&
		       len <= WIRE_HASHES_HEAD_BYTES + WIRE_HASHES_MAX * 8;
	case WIRE_DEVICES:
		return len > WIRE_DEVICES_HEAD_BYTES &&
		       len <= WIRE_DEVICES_HEAD_BYTES + WIRE_DEVICES_MAX;
	case WIRE_RECV_BITMAP:
		return len > WIRE_BITMAP_HEAD_BYTES &&
		       len <= WIRE_BITMAP_HEAD_BYTES + WIRE_BITMAP_PAGES_MAX / 8;
	default:
		return len <= WIRE_MSG_MAX_BYTES;
	}
}

int wire_decode_header(struct wire_header *h, const uint8_t *buf, struct err *e)
{
	uint32_t word = get_be32(buf + 4);

	if (get_be32(buf) != WIRE_MAGIC)
		return err_set(
			e, EPROTO,
			"peer does not speak colod's protocol (first bytes %02x %02x %02x %02x)",
			buf[0], buf[1], buf[2], buf[3]);
	if (word >> 16 != WIRE_VERSION)
		return err_set(e, EPROTO,
			       "peer speaks protocol version %u, this colod speaks %u: install the "
			       "same version on both hosts",
			       word >> 16, WIRE_VERSION);
	h->type = (uint16_t)word;
	h->length = get_be32(buf + 8);
	if (h->type >= WIRE_TYPE_COUNT || !types[h->type].name)
		return err_set(e, EPROTO, "peer sent a message of unknown type %u", h->type);
	if (!length_fits(h->type, h->length))
		return err_set(e, EPROTO, "peer sent %s with the impossible length %u",
			       types[h->type].name, h->length);
	return 0;
}

int wire_decode(struct wire_msg *m, const struct wire_header *h, const uint8_t *payload,
		struct err *e)
{
	/* Only read while decoding. */
	struct cursor c = {.p = (uint8_t *)(uintptr_t)payload,
			   .end = (uint8_t *)(uintptr_t)payload + h->length};

	memset(m, 0, sizeof(*m));
	m->type = h->type;
	walk(&c, m);
	if (c.bad || c.p != c.end)
		return err_set(e, EPROTO, "peer sent a malformed %s of %u bytes",
			       types[h->type].name, h->length);
	return 0;
}
