// SPDX-License-Identifier: GPL-2.0-or-later
/* The file of rewritten connections: what was saved is rewritten by the next, odd files change nothing. */
#include "proxy/flowfile.h"

#include "proxy/chan.h"
#include "tests/unit/unit.h"

#include <fcntl.h>

#define NICS 2

struct world {
	char dir[32], path[64];
	struct rewrites w, next;
};

static struct flow_key key(unsigned n)
{
	struct flow_key k = {.nic = n % NICS, .proto = 6, .guest_port = 80};

	k.peer_port = (uint16_t)(1000 + n);
	ip_addr_set_ip4(&k.guest, (const uint8_t[]){10, 0, 0, 2});
	ip_addr_set_ip4(&k.peer, (const uint8_t[]){10, 0, 0, 1});
	return k;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	strcpy(w->dir, "/tmp/colod-unit-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/flows", w->dir);
	assert_int_equal(rewrites_init(&w->w, 100, 1), 0);
	assert_int_equal(rewrites_init(&w->next, 100, 2), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	rewrites_destroy(&w->w);
	rewrites_destroy(&w->next);
	unlink(w->path);
	assert_int_equal(rmdir(w->dir), 0); /* no other file was left */
	free(w);
	return 0;
}

static void fill(struct world *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct flow_key k = key(i);
		struct rewrite own = {i + 1, 2 * i};

		rewrites_carry_on(&w->w, &k, &own, NULL, i % 4, 1);
	}
}

struct sum {
	uint64_t seq, ts, ends, ports, count;
};

static void add(void *arg, const struct flow_key *k, const struct rewrite *r, uint8_t ends)
{
	struct sum *s = arg;

	s->seq += (uint64_t)r->seq_offset * k->peer_port;
	s->ts += (uint64_t)r->ts_offset * k->peer_port;
	s->ends += (uint64_t)ends * k->peer_port;
	s->ports += k->peer_port + k->nic;
	s->count++;
}

static struct sum sum_of(const struct rewrites *w)
{
	struct sum s = {};

	rewrites_each(w, add, &s);
	return s;
}

static void what_was_saved_is_rewritten_again(void **state)
{
	struct world *w = *state;
	struct sum before, after;
	struct err e = {};

	fill(w, 100);
	assert_int_equal(flowfile_save(w->path, &w->w), 0);
	assert_ok(flowfile_load(w->path, &w->next, NICS, 5, &e), &e);
	before = sum_of(&w->w);
	after = sum_of(&w->next);
	assert_int_equal(before.count, 100);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void without_connections_there_is_no_file(void **state)
{
	struct world *w = *state;
	struct err e = {};

	fill(w, 3);
	assert_int_equal(flowfile_save(w->path, &w->w), 0);
	assert_int_equal(access(w->path, F_OK), 0);
	rewrites_clear(&w->w);
	assert_int_equal(flowfile_save(w->path, &w->w), 0);
	assert_int_equal(access(w->path, F_OK), -1);
	assert_int_equal(flowfile_save(w->path, &w->w), 0);
	assert_ok(flowfile_load(w->path, &w->next, NICS, 5, &e), &e);
	assert_int_equal(w->next.flows.used, 0);
}

static void each_change_is_counted(void **state)
{
	struct world *w = *state;
	uint64_t seen;

	fill(w, 1);
	seen = w->w.changes;
	assert_true(seen > 0);
	rewrites_tick(&w->w, 2);
	assert_int_equal(w->w.changes, seen);
	rewrites_tick(&w->w, 2 + REWRITES_IDLE_US);
	assert_true(w->w.changes > seen);
}

static void an_odd_file_is_refused(void **state)
{
	struct world *w = *state;
	struct chan_msg epoch = {.type = CHAN_EPOCH, .number = 1};
	uint8_t buf[CHAN_ENCODE_MAX], text[4096];
	ssize_t len;
	struct err e = {};
	int fd;

	fill(w, 3);
	assert_int_equal(flowfile_save(w->path, &w->w), 0);
	fd = open(w->path, O_RDONLY);
	len = read(fd, text, sizeof(text));
	close(fd);
	assert_true(len > 3);
	assert_int_equal(flowfile_parse(text, (size_t)len, &w->next, NICS, 5, &e), 0);
	assert_int_equal(flowfile_parse(text, (size_t)len - 1, &w->next, NICS, 5, &e), -EPROTO);
	assert_int_equal(flowfile_parse(text, (size_t)len, &w->next, 1, 5, &e), -EPROTO);
	assert_int_equal(flowfile_parse(buf, chan_encode(&epoch, buf), &w->next, NICS, 5, &e),
			 -EPROTO);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(flowfile_parse(buf, sizeof(buf), &w->next, NICS, 5, &e), -EPROTO);
}

#define FLOW_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FLOW_TEST(what_was_saved_is_rewritten_again),
		FLOW_TEST(without_connections_there_is_no_file),
		FLOW_TEST(each_change_is_counted),
		FLOW_TEST(an_odd_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
