// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: what comes back from etcd's gateway. The first byte chooses what was asked, and whether
 * the rest is the reply or says which bytes of a good one are others. */
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

#define VIEW                                                                                       \
	"\"responses\":[{\"response_range\":{\"header\":{\"revision\":\"2\"},\"kvs\":[{\"key\":"   \
	"\"L2MvZy9vd25lcg==\",\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\"," \
	"\"value\":\"aG9zdCBh\"}],\"count\":\"1\"}},{\"response_range\":{\"header\":{},\"kvs\":[{" \
	"\"key\":\"L2MvZy9saXZl\",\"mod_revision\":\"2\",\"value\":\"YQ==\",\"lease\":\"77\"}]}}]" \
	"}"

static const char *const good[] = {
	[ETCD_GRANT] = "{\"header\":{},\"ID\":\"4111120154260699653\",\"TTL\":\"5\"}",
	[ETCD_RENEW] = "{\"result\":{\"header\":{},\"ID\":\"77\",\"TTL\":\"5\"}}\n",
	[ETCD_READ] = "{\"header\":{},\"succeeded\":true," VIEW,
	[ETCD_WRITE] = "{\"header\":{}," VIEW,
};

/* Each three bytes: a place and what stands there. */
static size_t spoil(char *text, const uint8_t *data, size_t size)
{
	size_t len = strlen(text);

	for (; size >= 3; data += 3, size -= 3)
		text[(data[0] << 8 | data[1]) % len] = (char)data[2];
	return size ? data[0] % (len + 1) : len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[1024];
	struct etcd_request q = {.lease = 77, .owner_rev = 5, .owner = "host a"};
	struct etcd_keys keys;
	struct etcd_reply r;

	if (!size)
		return 0;
	q.kind = data[0] & 3;
	etcd_keys_init(&keys, "/c", "g", "a");
	if (data[0] & 8) {
		strcpy(text, good[q.kind]);
		size = spoil(text, data + 1, size - 1) + 1;
	}
	etcd_json_reply(&r, &keys, &q, data[0] & 4 ? 404 : 200,
			data[0] & 8 ? text : (const char *)data + 1, size - 1);
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
