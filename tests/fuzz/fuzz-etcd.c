// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: what comes back from etcd's gateway; the first byte chooses what was asked. */
#include "colod/arbiter/etcd-json.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	assert(memchr(text, 0, size));
	for (; *text; text++)
		assert(*text >= ' ' && *text <= '~');
}

static void check_view(const struct etcd_view *v)
{
	check_text(v->owner, sizeof(v->owner));
	check_text(v->live, sizeof(v->live));
	assert(v->owner_rev >= 0 && v->live_rev >= 0 && v->live_lease >= 0);
	assert(v->owner_rev || !*v->owner);
	assert(v->live_rev || !*v->live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct etcd_request q = {.lease = 77, .owner_rev = 5, .owner = "host a"};
	struct etcd_keys keys;
	struct etcd_reply r;

	if (!size)
		return 0;
	q.kind = data[0] & 3;
	etcd_keys_init(&keys, "/c", "g", "a");
	etcd_json_reply(&r, &keys, &q, data[0] & 4 ? 404 : 200, (const char *)data + 1, size - 1);
	switch (r.outcome) {
	case ETCD_DONE:
		assert(q.kind != ETCD_GRANT || (r.lease > 0 && r.ttl_s));
		assert(q.kind != ETCD_RENEW || (r.lease == 77 && r.ttl_s));
		check_view(&r.view);
		break;
	case ETCD_BEHIND:
		assert(q.kind == ETCD_WRITE);
		check_view(&r.view);
		break;
	case ETCD_GONE:
		assert(q.kind != ETCD_GRANT);
		break;
	case ETCD_FAILED:
		assert(*r.why);
		check_text(r.why, sizeof(r.why));
		break;
	}
	return 0;
}
