/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes in JSON answers, written as hexadecimal digits. Pure. */
#ifndef COLO_CTL_HEX_H
#define COLO_CTL_HEX_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

/**
 * field_hex() - the bytes of the string at @path. Returns how many, 0 when it is missing, or -EINVAL
 * when it is no even number of hexadecimal digits or longer than @size bytes.
 */
int field_hex(struct json_object *o, const char *path, uint8_t *buf, size_t size);

#endif
