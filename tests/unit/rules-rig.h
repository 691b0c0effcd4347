/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules of the packet filter for the guest of the queue rig, and a queue that reads what they hold. */
#ifndef TESTS_UNIT_RULES_RIG_H
#define TESTS_UNIT_RULES_RIG_H

#include "tests/unit/queue-rig.h"

/* COLOD_TEST_RULES=nft or =iptables: that one has to work. */
static inline enum rules_kind wanted(void)
{
	const char *name = getenv("COLOD_TEST_RULES");

	if (!name)
		return RULES_ANY;
	return strcmp(name, "nft") ? RULES_IPTABLES : RULES_NFT;
}

struct world {
	struct rig rig;
	struct nfqueue *q;
	enum rules_kind kind;
	struct rules_nic nic;
	struct rules rules;
	char *before;
	uint32_t count;
	struct nfqueue_packet last;
};

/* All that rules may leave behind: rules, chains, tables, the bridge's switches. */
static inline char *traces(void)
{
	return sh_text("(iptables-save; ip6tables-save) 2>/dev/null | grep -e ^- -e colod;"
		       "nft list tables 2>/dev/null | grep colod;"
		       "ip -d link show type bridge | grep -o 'nf_call_ip.*';"
		       "cat /proc/sys/net/bridge/* 2>/dev/null");
}

static inline void expect_no_trace(const struct world *w)
{
	char *after = traces();

	assert_string_equal(after, w->before);
	free(after);
}

static inline enum rules_kind probe(void)
{
	struct err e = {};
	int kind = rules_probe(wanted(), &e);

	if (kind < 0)
		fail_msg("%s", err_msg(&e));
	return kind;
}

static inline int set_up(void **state)
{
	struct nfqueue_opts opts = {.num = NFQUEUE_ANY,
				    .first = nfqueue_first("test"),
				    .gso = true,
				    .rcvbuf_bytes = 1 << 20,
				    .max_packets = 1000};
	struct world *w = calloc(1, sizeof(*w));
	struct err e = {};

	assert_non_null(w);
	rig_up(&w->rig);
	w->kind = probe();
	assert_ok(nfqueue_open(&w->q, &opts, &e), &e);
	w->nic = (struct rules_nic){.tap = "guest",
				    .bridge = "br0",
				    .queue = nfqueue_num(w->q),
				    .inbound_queue = nfqueue_num(w->q)};
	w->before = traces();
	*state = w;
	return 0;
}

static inline int tear_down(void **state)
{
	struct world *w = *state;

	nfqueue_close(w->q);
	rig_down(&w->rig);
	free(w->before);
	free(w);
	return 0;
}

static inline void install(struct world *w)
{
	struct err e = {};

	assert_ok(rules_install(&w->rules, w->kind, "test", &w->nic, 1, &e), &e);
}

static inline void set(struct world *w, enum rules_mode mode)
{
	struct err e = {};

	assert_ok(rules_set(&w->rules, 0, mode, &e), &e);
}

static inline void remove_rules(struct world *w)
{
	struct err e = {};

	assert_ok(rules_remove(&w->rules, &e), &e);
}

static inline void on_packet(void *arg, const struct nfqueue_packet *p)
{
	struct world *w = arg;

	w->count++;
	w->last = *p;
}

static inline void read_until(struct world *w, uint32_t count)
{
	struct pollfd p = {.fd = nfqueue_fd(w->q), .events = POLLIN};

	while (w->count < count) {
		assert_int_equal(poll(&p, 1, GIVE_UP_US / USEC_PER_MSEC), 1);
		assert_true(nfqueue_read(w->q, on_packet, w) >= 0);
	}
	assert_int_equal(w->count, count);
}

static const struct sent all_kinds[] = {
	{1, UDP4}, {2, UDP6}, {3, TCP4}, {4, TCP6}, {5, UDP4, 7}, {6, TCP6, 7}, {7, ARP},
};

static inline void send_all(struct world *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		rig_send(w->rig.guest, all_kinds[i]);
}

static inline void expect_all(struct world *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		rig_expect(&w->rig, all_kinds[i].number);
	rig_expect_silence(&w->rig);
}

/* The client's frames to the guest; what the guest's tap then has. */
static inline void send_to_guest(struct world *w, struct sent s)
{
	uint8_t f[2048];
	size_t n = rig_frame(f, &s, 64, true);

	assert_int_equal(write(w->rig.client, f, n), n);
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
