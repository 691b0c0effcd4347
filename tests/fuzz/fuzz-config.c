// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a configuration file of any bytes; then the same bytes as a run-time value. */
#include "colod/core/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_all(struct config *c, const char *value)
{
	static const char *const keys[] = {"mode",      "period_ms", "bandwidth", "peer_timeout_ms",
					   "log_level", "memory",    "perod_ms"};
	struct err e = {};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (config_set(c, keys[i], value, &e))
			assert(e.msg[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] = "listen=a:1\npeer=b:2\nmemory=1G\n";
	size_t len = sizeof(head) - 1 + size;
	char *text = malloc(len + 1);
	struct config c;
	struct err e = {};

	assert(text);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + sizeof(head) - 1, data, size);
	text[len] = 0;
	if (config_parse(&c, "fuzz.conf", (const char *)data, size, &e))
		assert(e.msg[0] && !c.qemu);
	config_destroy(&c);
	if (!config_parse(&c, "fuzz.conf", text, len, &e)) {
		assert(c.memory_bytes >= 16 * MIB && c.period_ms <= 60000 && c.name[0]);
		set_all(&c, text + sizeof(head) - 1);
		assert(c.period_ms <= 60000 && c.peer_timeout_ms >= 100);
	}
	config_destroy(&c);
	free(text);
	return 0;
}
