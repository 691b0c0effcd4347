/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control requests: bytes cut into lines, a line checked and parsed. Pure. */
#ifndef CONTROL_PARSE_H
#define CONTROL_PARSE_H

#include "base/err.h"
#include "colod/core/config.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_LINE_MAX 65536 /* longest request, its newline included */
#define CONTROL_CMD_MAX  32    /* longest command name */

/** struct control_lines - received bytes not yet taken; all zero at the start. */
struct control_lines {
	size_t start, end; /* buf[start..end) is waiting */
	bool skipping;     /* inside a line that was too long */
	char buf[CONTROL_LINE_MAX];
};

enum control_line {
	CONTROL_LINE_NONE, /* no whole line yet */
	CONTROL_LINE_WHOLE,
	CONTROL_LINE_TOO_LONG, /* reported once; the rest of that line is dropped as it comes */
};

/**
 * control_lines_room() - where the next bytes go and how many fit; never 0 after
 * control_lines_next() has returned CONTROL_LINE_NONE. Moves what is waiting.
 */
size_t control_lines_room(struct control_lines *l, char **at);
void control_lines_filled(struct control_lines *l, size_t len);

/** control_lines_ready() - control_lines_next() would get further without more bytes. */
bool control_lines_ready(const struct control_lines *l);

/**
 * control_lines_next() - the next line without its newline, valid until control_lines_room().
 * Empty lines are passed over.
 */
enum control_line control_lines_next(struct control_lines *l, const char **line, size_t *len);

/**
 * control_parse() - one request line: a JSON object with a string member "cmd".
 * @out: the object, the caller's reference
 * @cmd: points into it
 *
 * -EINVAL with a reason fit to be sent back.
 */
int control_parse(const char *line, size_t len, struct json_object **out, const char **cmd,
		  struct err *e);

/**
 * control_parse_count() - the optional member "count" of a request for a list: how many entries at
 * most. @max when it is missing or larger; -EINVAL for what is no number from 1.
 */
int control_parse_count(struct json_object *args, uint32_t max, uint32_t *count, struct err *e);

/** control_parse_flag() - an optional boolean member, false when it is missing. */
int control_parse_flag(struct json_object *args, const char *key, bool *out, struct err *e);

/**
 * struct control_mismatches - the request "mismatches"
 * @count: of the newest
 * @packets: with both sides' packets, not only what surrounds the difference
 */
struct control_mismatches {
	uint32_t count;
	bool packets;
};

int control_parse_mismatches(struct json_object *args, uint32_t max, struct control_mismatches *out,
			     struct err *e);

/** control_parse_recover() - the optional member "address" of the request "recover": HOST:PORT. @given:
 * there is one. */
int control_parse_recover(struct json_object *args, struct endpoint *address, bool *given,
			  struct err *e);

/** CONTROL_FLOWS_MAX - of the request "flows": an answer that a client takes (16 MB), and that is
 * made within milliseconds. */
#define CONTROL_FLOWS_MAX 4096

/** control_parse_flows() - how many of the youngest. */
int control_parse_flows(struct json_object *args, uint32_t *count, struct err *e);

/**
 * control_make_utf8() - replace every byte of @s that is not part of well-formed UTF-8 (RFC 3629,
 * section 4) by '?': error texts are cut to length and may quote what others sent.
 */
void control_make_utf8(char *s);

#endif
