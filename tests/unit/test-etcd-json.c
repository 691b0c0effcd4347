// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON of etcd's gateway: what is sent, and that nothing but the expected answer is believed. The
 * good replies are etcd 3.4's own. */
#include "tests/unit/unit.h"

#include "colod/arbiter/etcd-json.h"

/* base64 of /c/g/owner, /c/g/live, "host a", "a" */
#define OWNER "L2MvZy9vd25lcg=="
#define LIVE  "L2MvZy9saXZl"
#define HOSTA "aG9zdCBh"
#define A     "YQ=="
#define HEAD                                                                                       \
	"\"header\":{\"cluster_id\":\"15118495548433857066\",\"member_id\":\"1366803315117190\","  \
	"\"revision\":\"2\",\"raft_term\":\"2\"}"
#define EMPTY "{\"response_range\":{\"header\":{\"revision\":\"1\"}}}"
#define KV(key, value, more)                                                                       \
	"{\"response_range\":{\"header\":{\"revision\":\"2\"},\"kvs\":[{\"key\":\"" key            \
	"\",\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"" value \
	"\"" more "}],\"count\":\"1\"}}"

static struct etcd_keys keys;

static int setup(void **state)
{
	(void)state;
	etcd_keys_init(&keys, "/c", "g", "a");
	return 0;
}

static struct etcd_reply reply_to(const struct etcd_request *q, long status, const char *body)
{
	struct etcd_reply r;

	memset(&r, 0xaa, sizeof(r));
	etcd_json_reply(&r, &keys, q, status, body, strlen(body));
	return r;
}

static const struct etcd_request grant = {.kind = ETCD_GRANT, .ttl_s = 5};
static const struct etcd_request renew = {.kind = ETCD_RENEW, .lease = 77};
static const struct etcd_request read_keys = {.kind = ETCD_READ};
static const struct etcd_request take = {
	.kind = ETCD_WRITE, .lease = 77, .owner_rev = 5, .owner = "host a"};
static const struct etcd_request give = {
	.kind = ETCD_WRITE, .owner_rev = 5, .live_rev = 6, .owner = "nobody"};

static void keys_are_paths_in_base64(void **state)
{
	(void)state;
	assert_string_equal(keys.owner, OWNER);
	assert_string_equal(keys.live, LIVE);
	assert_string_equal(keys.host, A);
}

static void requests_say_what_is_wanted(void **state)
{
	char body[ETCD_BODY_MAX];

	(void)state;
	etcd_json_request(body, &keys, &grant);
	assert_string_equal(body, "{\"TTL\":\"5\",\"ID\":\"0\"}");
	etcd_json_request(body, &keys, &renew);
	assert_string_equal(body, "{\"ID\":\"77\"}");
	etcd_json_request(body, &keys, &read_keys);
	assert_string_equal(body, "{\"success\":[{\"requestRange\":{\"key\":\"" OWNER "\"}},"
				  "{\"requestRange\":{\"key\":\"" LIVE "\"}}]}");
	etcd_json_request(body, &keys, &take);
	assert_string_equal(
		body,
		"{\"compare\":[{\"key\":\"" OWNER
		"\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"modRevision\":\"5\"},"
		"{\"key\":\"" LIVE
		"\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"modRevision\":\"0\"}],"
		"\"success\":[{\"requestPut\":{\"key\":\"" OWNER "\",\"value\":\"" HOSTA "\"}},"
		"{\"requestPut\":{\"key\":\"" LIVE "\",\"value\":\"" A "\",\"lease\":\"77\"}}],"
		"\"failure\":[{\"requestRange\":{\"key\":\"" OWNER "\"}},"
		"{\"requestRange\":{\"key\":\"" LIVE "\"}}]}");
	etcd_json_request(body, &keys, &give);
	assert_non_null(strstr(body, "{\"requestDeleteRange\":{\"key\":\"" LIVE "\"}}]"));
	assert_null(strstr(body, "lease"));
	assert_string_equal(etcd_json_path(ETCD_GRANT), "/v3/lease/grant");
	assert_string_equal(etcd_json_path(ETCD_RENEW), "/v3/lease/keepalive");
	assert_string_equal(etcd_json_path(ETCD_READ), "/v3/kv/txn");
}

/* The longest names still fit: the body ends as it should. */
static void the_longest_names_fit(void **state)
{
	char prefix[129], name[CONFIG_NAME_MAX + 1], host[CONFIG_HOST_MAX + 1];
	struct etcd_request q = {.kind = ETCD_WRITE,
				 .lease = INT64_MAX,
				 .owner_rev = INT64_MAX,
				 .live_rev = INT64_MAX};
	char body[ETCD_BODY_MAX];
	struct etcd_keys k;

	(void)state;
	memset(prefix, '/', 128);
	memset(name, 'n', CONFIG_NAME_MAX);
	memset(host, 'h', CONFIG_HOST_MAX);
	prefix[128] = name[CONFIG_NAME_MAX] = host[CONFIG_HOST_MAX] = 0;
	etcd_keys_init(&k, prefix, name, host);
	assert_non_null(strstr(k.owner, "vb3duZXI=")); /* "/owner" at its end */
	etcd_owner_host(q.owner, host);
	assert_string_equal(q.owner + 5, host);
	etcd_json_request(body, &k, &q);
	assert_string_equal(body + strlen(body) - 4, "}}]}");
}

static void grants_have_a_lease_and_a_time(void **state)
{
	struct etcd_reply r =
		reply_to(&grant, 200, "{" HEAD ",\"ID\":\"4111120154260699653\",\"TTL\":\"5\"}");

	(void)state;
	assert_int_equal(r.outcome, ETCD_DONE);
	assert_int_equal(r.lease, 4111120154260699653);
	assert_int_equal(r.ttl_s, 5);
}

static void a_lease_without_a_time_is_gone(void **state)
{
	struct etcd_reply r;

	(void)state;
	r = reply_to(&renew, 200, "{\"result\":{" HEAD ",\"ID\":\"77\",\"TTL\":\"2\"}}\n");
	assert_int_equal(r.outcome, ETCD_DONE);
	assert_int_equal(r.ttl_s, 2);
	r = reply_to(&renew, 200, "{\"result\":{" HEAD ",\"ID\":\"77\"}}\n");
	assert_int_equal(r.outcome, ETCD_GONE);
	r = reply_to(&take, 404,
		     "{\"error\":\"etcdserver: requested lease not found\",\"message\":"
		     "\"etcdserver: requested lease not found\",\"code\":5}");
	assert_int_equal(r.outcome, ETCD_GONE);
}

static void a_view_has_what_is_there(void **state)
{
	struct etcd_reply r;

	(void)state;
	r = reply_to(&read_keys, 200,
		     "{" HEAD ",\"succeeded\":true,\"responses\":[" EMPTY "," EMPTY "]}");
	assert_int_equal(r.outcome, ETCD_DONE);
	assert_int_equal(r.view.owner_rev, 0);
	assert_int_equal(r.view.live_rev, 0);
	assert_string_equal(r.view.owner, "");
	r = reply_to(&read_keys, 200,
		     "{" HEAD ",\"succeeded\":true,\"responses\":[" KV(OWNER, HOSTA, "") "," KV(
			     LIVE, A, ",\"lease\":\"77\"") "]}");
	assert_int_equal(r.outcome, ETCD_DONE);
	assert_int_equal(r.view.owner_rev, 2);
	assert_string_equal(r.view.owner, "host a");
	assert_int_equal(r.view.live_rev, 2);
	assert_int_equal(r.view.live_lease, 77);
	assert_string_equal(r.view.live, "a");
}

static void a_write_is_done_or_shows_what_is_there_instead(void **state)
{
	struct etcd_reply r;

	(void)state;
	r = reply_to(&take, 200,
		     "{" HEAD ",\"succeeded\":true,\"responses\":[{\"response_put\":{}},"
		     "{\"response_put\":{}}]}");
	assert_int_equal(r.outcome, ETCD_DONE);
	r = reply_to(&take, 200, "{" HEAD ",\"responses\":[" KV(OWNER, HOSTA, "") "," EMPTY "]}");
	assert_int_equal(r.outcome, ETCD_BEHIND);
	assert_string_equal(r.view.owner, "host a");
	assert_int_equal(r.view.live_rev, 0);
}

static void values_of_others_are_made_harmless(void **state)
{
	struct etcd_reply r;

	(void)state;
	/* "\x01\xff\x00z" */
	r = reply_to(&read_keys, 200,
		     "{" HEAD
		     ",\"succeeded\":true,\"responses\":[" KV(OWNER, "Af8Aeg==", "") "," EMPTY
										     "]}");
	assert_int_equal(r.outcome, ETCD_DONE);
	assert_string_equal(r.view.owner, "???z");
	/* 99 times "a" */
	r = reply_to(&read_keys, 200,
		     "{" HEAD ",\"succeeded\":true,\"responses\":[" KV(
			     OWNER,
			     "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
			     "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
			     "YWFh",
			     "") "," EMPTY "]}");
	assert_int_equal(r.outcome, ETCD_DONE);
	assert_int_equal(strlen(r.view.owner), ETCD_VALUE_MAX - 1);
}

static void whatever_is_not_the_whole_answer_is_a_failure(void **state)
{
	static const struct {
		const struct etcd_request *request;
		long status;
		const char *body;
	} bad[] = {
		{&grant, 200, ""},
		{&grant, 200, "{"},
		{&grant, 200, "[]"},
		{&grant, 200, "null"},
		{&grant, 200, "{" HEAD "}"},
		{&grant, 200, "{\"ID\":\"7\"}"},
		{&grant, 200, "{\"ID\":\"0\",\"TTL\":\"5\"}"},
		{&grant, 200, "{\"ID\":\"-7\",\"TTL\":\"5\"}"},
		{&grant, 200, "{\"ID\":\"7\",\"TTL\":\"-5\"}"},
		{&grant, 200, "{\"ID\":\"7\",\"TTL\":\"5s\"}"},
		{&grant, 200, "{\"ID\":\"99999999999999999999\",\"TTL\":\"5\"}"},
		{&grant, 200, "{\"ID\":\"\",\"TTL\":\"5\"}"},
		{&grant, 200, "{\"ID\":true,\"TTL\":\"5\"}"},
		{&grant, 500, "{\"ID\":\"7\",\"TTL\":\"5\"}"},
		{&grant, 200, "{\"ID\":\"7\",\"TTL\":\"5\",\"error\":\"no leader\"}"},
		{&grant, 404, "{\"error\":\"requested lease not found\"}"},
		{&renew, 200, "{}"},
		{&renew, 200, "{\"result\":{}}"},
		{&renew, 200, "{\"result\":{\"ID\":\"78\",\"TTL\":\"2\"}}"},
		{&renew, 200, "{\"result\":{\"ID\":\"78\"}}"},
		{&renew, 200, "{\"error\":{\"message\":\"etcdserver: no leader\"}}"},
		{&renew, 503, "{\"error\":{\"message\":\"etcdserver: no leader\"}}"},
		{&read_keys, 200, "{}"},
		{&read_keys, 200, "{" HEAD ",\"succeeded\":true}"},
		{&read_keys, 200, "{" HEAD ",\"succeeded\":true,\"responses\":[" EMPTY "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[" EMPTY "," EMPTY "," EMPTY "]}"},
		{&read_keys, 200, "{" HEAD ",\"responses\":[" EMPTY "," EMPTY "]}"},
		{&read_keys, 200, "{\"succeeded\":true,\"responses\":[" EMPTY "," EMPTY "]}"},
		{&read_keys, 200, "{" HEAD ",\"succeeded\":true,\"responses\":[{},{}]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[{\"response_range\":{}}," EMPTY "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"header\":{},"
		 "\"count\":\"1\"}}," EMPTY "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"header\":{},"
		 "\"kvs\":[]}}," EMPTY "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[" KV(LIVE, A, "") "," EMPTY "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[" KV(OWNER, "YQ=", "") "," EMPTY
										     "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[" KV(OWNER, "Y===", "") "," EMPTY
										      "]}"},
		{&read_keys, 200,
		 "{" HEAD ",\"succeeded\":true,\"responses\":[" KV(OWNER, "YQ==YQ==", "") "," EMPTY
											  "]}"},
		{&take, 200, "{}"},
		{&take, 200, "{\"succeeded\":true}"},
		{&take, 200, "{" HEAD ",\"succeeded\":\"true\"}"},
		{&take, 200, "{" HEAD "}"},
		{&take, 200, "{" HEAD ",\"succeeded\":false}"},
		{&take, 500, "{" HEAD ",\"succeeded\":true}"},
		{&give, 404, "{\"error\":\"requested lease not found\"}"},
		{&take, 200, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct etcd_reply r = reply_to(bad[i].request, bad[i].status, bad[i].body);

		if (r.outcome != ETCD_FAILED || !*r.why)
			fail_msg("%s is believed", bad[i].body);
	}
}

/* Blanks in front are no part of the JSON, but of the reply. */
static void a_reply_has_its_bound(void **state)
{
	static const char good[] = "{" HEAD ",\"ID\":\"77\",\"TTL\":\"5\"}";
	char body[ETCD_REPLY_MAX + 2];

	(void)state;
	memset(body, ' ', sizeof(body));
	memcpy(body + ETCD_REPLY_MAX + 1 - strlen(good), good, sizeof(good));
	assert_int_equal(strlen(body), ETCD_REPLY_MAX + 1);
	assert_int_equal(reply_to(&grant, 200, body).outcome, ETCD_FAILED);
	assert_int_equal(reply_to(&grant, 200, body + 1).outcome, ETCD_DONE);
}

static void reasons_are_etcds_own_and_printable(void **state)
{
	struct etcd_reply r =
		reply_to(&grant, 503, "{\"error\":{\"message\":\"no\\u0007 leader\"}}");

	(void)state;
	assert_string_equal(r.why, "HTTP status 503: no? leader");
	r = reply_to(&grant, 400, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}");
	assert_string_equal(r.why, "HTTP status 400: etcdserver: user name is empty");
	r = reply_to(&grant, 404, "Not Found");
	assert_non_null(strstr(r.why, "404"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_paths_in_base64),
		cmocka_unit_test(requests_say_what_is_wanted),
		cmocka_unit_test(the_longest_names_fit),
		cmocka_unit_test(grants_have_a_lease_and_a_time),
		cmocka_unit_test(a_lease_without_a_time_is_gone),
		cmocka_unit_test(a_view_has_what_is_there),
		cmocka_unit_test(a_write_is_done_or_shows_what_is_there_instead),
		cmocka_unit_test(values_of_others_are_made_harmless),
		cmocka_unit_test(whatever_is_not_the_whole_answer_is_a_failure),
		cmocka_unit_test(a_reply_has_its_bound),
		cmocka_unit_test(reasons_are_etcds_own_and_printable),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
