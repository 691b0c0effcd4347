// SPDX-License-Identifier: GPL-2.0-or-later
/* Mismatches as text: a head and both sides' bytes one below the other. */
#include "colo-ctl/format-mismatch.h"

#include "base/util.h"
#include "colo-ctl/hex.h"
#include "colo-ctl/units.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define CONTEXT_MAX 64 /* bytes of a side; the daemon keeps fewer */
#define ROW         16 /* columns */
#define LABEL       "  %-11s"

/**
 * struct context - one side's bytes around the offset
 * @at: which of them is the one at the offset; @len when the payload ends there
 */
struct context {
	uint8_t bytes[CONTEXT_MAX];
	unsigned len, at;
};

/**
 * struct dump - both sides in common columns
 * @lead:   columns before the offset
 * @offset: of the byte in column @lead
 * @first:  first column that differs, @columns when none does
 */
struct dump {
	struct context sides[2];
	unsigned lead, columns, first;
	uint64_t offset;
};

static const char *const side_names[] = {"primary", "secondary"};

static void read_context(struct context *c, struct json_object *side)
{
	int len = field_hex(side, "context", c->bytes, sizeof(c->bytes));
	uint64_t at = 0;

	c->len = (unsigned)MAX(len, 0);
	field_u64(side, "context_at", &at);
	c->at = (unsigned)MIN(at, c->len);
}

/* The byte of a side in @column, -1 when it has none there. */
static int byte_at(const struct dump *d, int side, unsigned column)
{
	const struct context *c = &d->sides[side];
	unsigned begin = d->lead - c->at;

	if (column < begin || column - begin >= c->len)
		return -1;
	return c->bytes[column - begin];
}

static void read_dump(struct dump *d, struct json_object *mismatch)
{
	uint64_t offset = 0;

	for (int s = 0; s < 2; s++)
		read_context(&d->sides[s], field(mismatch, side_names[s]));
	field_u64(mismatch, "offset", &offset);
	d->offset = offset;
	d->lead = MAX(d->sides[0].at, d->sides[1].at);
	for (int s = 0; s < 2; s++)
		d->columns = MAX(d->columns, d->lead + d->sides[s].len - d->sides[s].at);
	while (d->first < d->columns && byte_at(d, 0, d->first) == byte_at(d, 1, d->first))
		d->first++;
}

static void put_side(FILE *out, const struct dump *d, int side, unsigned row)
{
	fprintf(out, "%-10s", side_names[side]);
	for (unsigned c = row; c < row + ROW; c++) {
		int byte = byte_at(d, side, c);

		if (byte >= 0)
			fprintf(out, " %02x", (unsigned)byte);
		else
			fputs(c < d->columns ? " --" : "   ", out);
	}
	fputs("  |", out);
	for (unsigned c = row; c < row + ROW && c < d->columns; c++) {
		int byte = byte_at(d, side, c);

		fputc(byte < 0 ? ' ' : isprint(byte) && byte < 0x7f ? byte : '.', out);
	}
	fputs("|\n", out);
}

static void put_row(FILE *out, const struct dump *d, unsigned row)
{
	uint64_t begin = d->offset + row >= d->lead ? d->offset + row - d->lead : 0;

	fprintf(out, "  %-11" PRIu64, begin);
	put_side(out, d, 0, row);
	fprintf(out, "  %-11s", "");
	put_side(out, d, 1, row);
	if (d->first >= row && d->first < row + ROW && d->first < d->columns)
		fprintf(out, "%*s^^\n", (int)(24 + 3 * (d->first - row)), "");
}

static void put_bytes(FILE *out, struct json_object *mismatch)
{
	struct dump d = {};

	read_dump(&d, mismatch);
	for (unsigned row = 0; row < d.columns; row += ROW)
		put_row(out, &d, row);
}

static void put_length(FILE *out, struct json_object *mismatch, const char *side)
{
	uint64_t len;

	if (!field(mismatch, side))
		return;
	fprintf(out, LABEL, side);
	if (field_u64(field(mismatch, side), "len", &len) && len)
		fprintf(out, "packet of %" PRIu64 " bytes\n", len);
	else
		fputs("no packet\n", out);
}

static void put_place(FILE *out, struct json_object *mismatch)
{
	uint64_t n;

	fprintf(out, LABEL "offset %s, epoch %s", "where", field_count(mismatch, "offset").s,
		field_count(mismatch, "epoch").s);
	if (field_u64(mismatch, "checkpoint", &n) && n)
		fprintf(out, ", settled by checkpoint %" PRIu64, n);
	fputc('\n', out);
}

static void put_mismatch(FILE *out, struct json_object *o)
{
	fprintf(out, "mismatch %s, %s: %s\n", field_count(o, "number").s, field_str(o, "time").s,
		field_str(o, "reason").s);
	put_line(out, "  flow       ", field(o, "flow"));
	put_place(out, o);
	put_line(out, "  what       ", field(o, "what"));
	put_length(out, o, "primary");
	put_length(out, o, "secondary");
	put_bytes(out, o);
}

void format_mismatches(FILE *out, struct json_object *answer)
{
	struct json_object *list = field(answer, "mismatches");
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (!n)
		fputs("no mismatches\n", out);
	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc('\n', out);
		put_mismatch(out, json_object_array_get_idx(list, i));
	}
}
