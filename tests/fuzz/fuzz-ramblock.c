// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: QEMU's list of RAM blocks and a /proc/PID/maps, both of any bytes. */
#include "colod/qemu/maps.h"
#include "colod/qemu/ramblock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct stat st = {.st_dev = 1, .st_ino = 4};
	char *text = malloc(size + 1);
	struct ramblock b;
	struct err e = {};
	uint64_t va;

	assert(text);
	memcpy(text, data, size);
	text[size] = 0;
	if (!ramblock_parse_line(&b, text, strlen(text), &e))
		assert(strlen(b.name) < sizeof(b.name) && b.name[0]);
	if (ramblock_check(text, 64 * MIB, &e))
		assert(e.msg[0]);
	if (maps_find(text, &st, 64 * MIB, &va, &e))
		assert(e.msg[0]);
	free(text);
	return 0;
}
