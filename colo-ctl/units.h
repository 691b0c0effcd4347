/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Figures with units for people, and members of JSON answers that may be missing. Pure. */
#ifndef COLO_CTL_UNITS_H
#define COLO_CTL_UNITS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/** struct text - room for one figure, returned by value. */
struct text {
	char s[64];
};

/** fmt_us() - "850 us", "2.1 ms", "1.25 s", "3 min". */
struct text fmt_us(uint64_t us);

/** fmt_bytes() - "4096 B", "12.3 MB": decimal units, as network and disk rates are given. */
struct text fmt_bytes(uint64_t bytes);

/** fmt_memory() - "512 MiB", "1.5 GiB": binary units, as memory is given. */
struct text fmt_memory(uint64_t bytes);

/** field() - the member at "a.b.c", NULL when any part is missing or null. */
struct json_object *field(struct json_object *o, const char *path);

/** field_u64() - false when it is missing, no number or negative. */
bool field_u64(struct json_object *o, const char *path, uint64_t *out);

/** field_bool() - false also when it is missing. */
bool field_bool(struct json_object *o, const char *path);

/** field_str() - its text, control characters made harmless, cut to fit; "-" when there is none. */
struct text field_str(struct json_object *o, const char *path);

/** put_string() - @before and the string @v whole, control characters made harmless; false, and nothing printed,
 * when it is no string or empty. */
bool put_string(FILE *out, const char *before, struct json_object *v);

/** put_line() - the same and the end of the line. */
void put_line(FILE *out, const char *before, struct json_object *v);

/** field_us(), field_count() - a duration or plain number as text; "-" when missing. */
struct text field_us(struct json_object *o, const char *path);
struct text field_count(struct json_object *o, const char *path);

/** sync_text() - "42 %, 12 s to go": the object "sync" of a status, a first copy. */
struct text sync_text(struct json_object *sync);

#endif
