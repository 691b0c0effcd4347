// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a configuration file of any bytes; then the same bytes as a run-time value. */
#include "colod/core/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_all(struct config *c, const char *value)
{
	static const char *const keys[] = {
		"mode",     "period_ms", "bandwidth", "peer_timeout_ms",   "log_level", "memory",
		"perod_ms", "nic",       "solo",      "compare_timeout_ms"};
	struct err e = {};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (config_set(c, keys[i], value, &e))
			assert(e.msg[0]);
}

static bool is_text(const char *s, size_t size)
{
	return *s && memchr(s, 0, size);
}

static void check_nics(const struct config *c)
{
	assert(c->nic_count <= CONFIG_MAX_NICS && c->bypass_count <= CONFIG_MAX_BYPASS);
	assert(!config_compares(c) || c->nic_count);
	for (unsigned i = 0; i < c->nic_count; i++) {
		const struct config_nic *n = &c->nics[i];

		assert(is_text(n->tap, sizeof(n->tap)) && memchr(n->bridge, 0, sizeof(n->bridge)));
		assert(!(n->mac[0] & 1) && *n->model && (!n->extra || strchr(n->extra, '=')));
		for (unsigned j = 0; j < i; j++)
			assert(strcmp(n->tap, c->nics[j].tap) && memcmp(n->mac, c->nics[j].mac, 6));
	}
	for (unsigned i = 0; i < c->bypass_count; i++)
		assert(*c->bypass[i]);
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
		check_nics(&c);
		assert(c.period_ms <= 60000 && c.peer_timeout_ms >= 100);
	}
	config_destroy(&c);
	free(text);
	return 0;
}
