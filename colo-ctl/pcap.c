// SPDX-License-Identifier: GPL-2.0-or-later
/* The classic pcap file format. */
#include "colo-ctl/pcap.h"

#include "base/cleanup.h"
#include "colo-ctl/hex.h"
#include "colo-ctl/units.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define PCAP_MAGIC     0xa1b2c3d4 /* microseconds */
#define PCAP_MAJOR     2
#define PCAP_MINOR     4
#define PCAP_LINK_RAW  101
#define PACKET_MAX     65535
#define PCAP_SNAP_SIZE 65535

static bool put_words(FILE *out, const uint32_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t le = htole32(words[i]);

		if (fwrite(&le, sizeof(le), 1, out) != 1)
			return false;
	}
	return true;
}

static bool put_header(FILE *out)
{
	const uint32_t words[] = {PCAP_MAGIC,   PCAP_MINOR << 16 | PCAP_MAJOR, 0, 0, PCAP_SNAP_SIZE,
				  PCAP_LINK_RAW};

	return put_words(out, words, ARRAY_SIZE(words));
}

/* "2026-11-21T13:00:01.123456Z" (RFC 3339) in microseconds since 1970; 0 for other strings. */
static uint64_t read_time(struct json_object *v)
{
	const char *s = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
	struct tm tm = {};
	uint64_t us = 0, unit = USEC_PER_SEC;
	time_t seconds;

	s = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	seconds = s ? timegm(&tm) : 0;
	if (!s || seconds < 0)
		return 0;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9' && unit > 1; s++) {
			unit /= 10;
			us += unit * (uint64_t)(*s - '0');
		}
	return (uint64_t)seconds * USEC_PER_SEC + us;
}

/* One side's packet. 1, 0 when there is none, or -errno. */
static int put_packet(FILE *out, struct json_object *mismatch, const char *side, uint8_t *buf)
{
	struct json_object *o = field(mismatch, side);
	int kept = field_hex(o, "packet", buf, PACKET_MAX);
	uint64_t at_us, len = 0;
	uint32_t head[4];

	if (kept <= 0)
		return kept ? -EPROTO : 0;
	at_us = read_time(field(mismatch, "time"));
	field_u64(o, "len", &len);
	head[0] = (uint32_t)(at_us / USEC_PER_SEC);
	head[1] = (uint32_t)(at_us % USEC_PER_SEC);
	head[2] = (uint32_t)kept;
	head[3] = (uint32_t)MAX((uint64_t)kept, MIN(len, UINT32_MAX));
	if (!put_words(out, head, ARRAY_SIZE(head)) ||
	    fwrite(buf, 1, (size_t)kept, out) != (size_t)kept)
		return -EIO;
	return 1;
}

static int put_all(FILE *out, struct json_object *list, uint8_t *buf)
{
	static const char *const sides[] = {"primary", "secondary"};
	int count = 0;

	if (!put_header(out))
		return -EIO;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *mismatch = json_object_array_get_idx(list, i);

		for (size_t s = 0; s < ARRAY_SIZE(sides); s++) {
			int r = put_packet(out, mismatch, sides[s], buf);

			if (r < 0)
				return r;
			count += r;
		}
	}
	return fflush(out) ? -EIO : count;
}

int pcap_write(FILE *out, struct json_object *answer, struct err *e)
{
	struct json_object *list = field(answer, "mismatches");
	autofree uint8_t *buf = malloc(PACKET_MAX);
	int r;

	if (!buf)
		return err_errno(e, ENOMEM, "capture file");
	if (!json_object_is_type(list, json_type_array))
		return err_set(e, EPROTO, "the daemon's answer has no list of mismatches");
	r = put_all(out, list, buf);
	if (r == -EPROTO)
		return err_set(e, EPROTO, "the daemon's answer has a packet that is none");
	return r < 0 ? err_errno(e, -r, "cannot write the capture file") : r;
}
