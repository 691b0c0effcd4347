// SPDX-License-Identifier: GPL-2.0-or-later
/* Figures with units for people; tolerant access to JSON members. */
#include "colo-ctl/units.h"

#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct text fmt_us(uint64_t us)
{
	struct text t;

	if (us < 1000)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " us", us);
	else if (us < 100 * USEC_PER_MSEC)
		snprintf(t.s, sizeof(t.s), "%.1f ms", (double)us / 1e3);
	else if (us < USEC_PER_SEC)
		snprintf(t.s, sizeof(t.s), "%.0f ms", (double)us / 1e3);
	else if (us < 120 * USEC_PER_SEC)
		snprintf(t.s, sizeof(t.s), "%.2f s", (double)us / 1e6);
	else
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " min", us / (60 * USEC_PER_SEC));
	return t;
}

static struct text fmt_scaled(uint64_t value, double step, const char *const *units, int n)
{
	double v = (double)value;
	struct text t;
	int i = 0;

	for (; v >= step && i < n - 1; i++)
		v /= step;
	/* Whole numbers need no fraction, and neither do long ones. */
	snprintf(t.s, sizeof(t.s),
		 i && v < 100 && v - (double)(uint64_t)v > 0 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return t;
}

struct text fmt_bytes(uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};

	return fmt_scaled(bytes, 1000, units, ARRAY_SIZE(units));
}

struct text fmt_memory(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

	return fmt_scaled(bytes, 1024, units, ARRAY_SIZE(units));
}

struct json_object *field(struct json_object *o, const char *path)
{
	while (o) {
		char key[64];
		size_t len = strcspn(path, ".");

		if (!json_object_is_type(o, json_type_object) || len >= sizeof(key))
			return NULL;
		memcpy(key, path, len);
		key[len] = 0;
		if (!json_object_object_get_ex(o, key, &o))
			return NULL;
		if (!path[len])
			return o;
		path += len + 1;
	}
	return NULL;
}

bool field_u64(struct json_object *o, const char *path, uint64_t *out)
{
	struct json_object *v = field(o, path);

	if (json_object_is_type(v, json_type_double) && json_object_get_double(v) >= 0 &&
	    json_object_get_double(v) < 1e19) {
		*out = (uint64_t)json_object_get_double(v);
		return true;
	}
	if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0)
		return false;
	*out = json_object_get_uint64(v);
	return true;
}

bool field_bool(struct json_object *o, const char *path)
{
	struct json_object *v = field(o, path);

	return json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}

static const struct text missing = {"-"};

struct text field_str(struct json_object *o, const char *path)
{
	struct json_object *v = field(o, path);
	struct text t;

	if (!v || json_object_is_type(v, json_type_object) ||
	    json_object_is_type(v, json_type_array))
		return missing;
	snprintf(t.s, sizeof(t.s), "%s", json_object_get_string(v));
	if (!t.s[0])
		return missing;
	for (char *p = t.s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	return t;
}

bool put_string(FILE *out, const char *before, struct json_object *v)
{
	const char *s = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";

	if (!s[0])
		return false;
	fputs(before, out);
	for (; *s; s++)
		fputc((unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s, out);
	return true;
}

void put_line(FILE *out, const char *before, struct json_object *v)
{
	if (put_string(out, before, v))
		fputc('\n', out);
}

struct text field_us(struct json_object *o, const char *path)
{
	uint64_t us;

	return field_u64(o, path, &us) ? fmt_us(us) : missing;
}

struct text sync_text(struct json_object *sync)
{
	struct text t;
	uint64_t s;

	bool known = field_u64(sync, "seconds_left", &s);
	uint64_t percent = 0;

	field_u64(sync, "percent", &percent);
	if (!known)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " %%, time to go unknown", percent);
	else if (s < 120)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " %%, %" PRIu64 " s to go", percent, s);
	else
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " %%, %" PRIu64 " min to go", percent,
			 DIV_ROUND_UP(s, 60));
	return t;
}

struct text field_count(struct json_object *o, const char *path)
{
	struct text t;
	uint64_t n;

	if (!field_u64(o, path, &n))
		return missing;
	snprintf(t.s, sizeof(t.s), "%" PRIu64, n);
	return t;
}
