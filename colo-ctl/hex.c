// SPDX-License-Identifier: GPL-2.0-or-later
/* Hexadecimal digits to bytes. */
#include "colo-ctl/hex.h"

#include "colo-ctl/units.h"

#include <errno.h>
#include <string.h>

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int field_hex(struct json_object *o, const char *path, uint8_t *buf, size_t size)
{
	struct json_object *v = field(o, path);
	const char *s;
	size_t len;

	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_string))
		return -EINVAL;
	s = json_object_get_string(v);
	len = strlen(s);
	if (len % 2 || len / 2 > size)
		return -EINVAL;
	for (size_t i = 0; i < len / 2; i++) {
		int high = digit(s[2 * i]), low = digit(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		buf[i] = (uint8_t)(high << 4 | low);
	}
	return (int)(len / 2);
}
