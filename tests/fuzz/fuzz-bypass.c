// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a bypass rule of any bytes, then packets of any bytes matched against it. */
#include "base/cleanup.h"
#include "proxy/bypass.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rule(const struct bypass_rule *r)
{
	assert(r->action == BYPASS_RELEASE || r->action == BYPASS_COMMIT);
	assert(r->peer_prefix <= 128);
	assert(r->proto || r->peer_prefix || r->guest_port || r->peer_port);
}

/* The text ends at the first NUL; what follows is a packet. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = strnlen((const char *)data, size);
	autofree char *text = malloc(n + 1);
	struct bypass b = {};
	struct err e = {};
	struct pkt p;

	assert(text);
	memcpy(text, data, n);
	text[n] = 0;
	if (bypass_add(&b, text, &e)) {
		assert(e.code == EINVAL && e.msg[0] && !b.count);
		return 0;
	}
	assert(b.count == 1);
	check_rule(&b.rules[0]);
	pkt_parse_ip(&p, data + n, size - n, 0);
	for (int out = 0; out <= 1; out++) {
		enum bypass_action a = bypass_match(&b, &p, out);

		assert(a == BYPASS_NO || (a == b.rules[0].action && p.kind != PKT_OPAQUE));
	}
	return 0;
}
