// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: bytes from a control client, in pieces whose sizes the input chooses. */
#include "base/util.h"
#include "colod/control/control-parse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lists(struct json_object *o)
{
	struct control_mismatches m;
	struct err e = {};
	uint32_t count;

	if (!control_parse_mismatches(o, 64, &m, &e))
		assert(m.count >= 1 && m.count <= 64);
	else
		assert(e.msg[0]);
	if (!control_parse_flows(o, &count, &e))
		assert(count >= 1 && count <= CONTROL_FLOWS_MAX);
}

static void check_line(const char *line, size_t len)
{
	struct json_object *o = NULL;
	const char *cmd = NULL;
	struct err e = {};

	if (control_parse(line, len, &o, &cmd, &e)) {
		char reason[ERR_MSG_MAX];

		assert(e.msg[0]);
		memcpy(reason, e.msg, sizeof(reason));
		control_make_utf8(reason);
		return;
	}
	assert(cmd && strlen(cmd) <= CONTROL_CMD_MAX);
	check_lists(o);
	json_object_put(o);
}

static void drain(struct control_lines *l)
{
	enum control_line r;
	const char *line;
	size_t len;

	while ((r = control_lines_next(l, &line, &len)) != CONTROL_LINE_NONE) {
		if (r == CONTROL_LINE_TOO_LONG)
			continue;
		assert(len && len < CONTROL_LINE_MAX && !memchr(line, '\n', len));
		check_line(line, len);
	}
	assert(!control_lines_ready(l));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_lines *l = calloc(1, sizeof(*l));
	size_t piece = size ? data[0] + 1u : 1;

	assert(l);
	while (size) {
		char *at;
		size_t room = control_lines_room(l, &at);
		size_t n = MIN(MIN(piece, room), size);

		assert(room);
		memcpy(at, data, n);
		control_lines_filled(l, n);
		data += n;
		size -= n;
		drain(l);
	}
	free(l);
	return 0;
}
