/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A replica's packet core whose outputs are recorded, for the tests of its two directions. */
#ifndef TESTS_UNIT_REPLICA_NET_RIG_H
#define TESTS_UNIT_REPLICA_NET_RIG_H

#include "tests/unit/unit.h"

#include "proxy/replica-net.h"
#include "tests/unit/packet-make.h"

#define NICS     2
#define MAX_SEEN 4096
#define CLIENT   "10.0.0.9"
#define GUEST    "10.0.0.2"

/* What came out: the numbers that inbound frames carry, and the last frame of each kind. */
static struct out {
	uint64_t seen[NICS][MAX_SEEN];
	size_t seen_count[NICS];
	unsigned injected, to_primary, transmitted, lost_calls;
	uint64_t after, lost, marked;
	int inject_error;     /* on_inject() says this, */
	uint8_t inject_fails; /* of these NICs (bits) */
	struct mk last;
} out;

static struct replica_net *r;
static struct mk m;

static inline uint64_t number_in(const uint8_t *data, size_t len)
{
	uint64_t number;

	memcpy(&number, data + len - sizeof(number), sizeof(number));
	return number;
}

static inline void keep_last(const uint8_t *data, size_t len)
{
	mk_start(&out.last);
	out.last.l3 = 14;
	out.last.l4 = 34;
	out.last.proto = IPPROTO_TCP;
	mk_data(&out.last, data + REPLICA_VNET_BYTES, len - REPLICA_VNET_BYTES);
}

static inline int on_inject(void *arg, uint8_t nic, const uint8_t *data, size_t len)
{
	(void)arg;
	if (out.inject_fails & BIT(nic))
		return out.inject_error;
	out.injected++;
	keep_last(data, len);
	if (out.seen_count[nic] < MAX_SEEN)
		out.seen[nic][out.seen_count[nic]++] = number_in(data, len);
	return 0;
}

static inline void on_to_primary(void *arg, uint8_t nic, uint64_t after, const uint8_t *data,
				 size_t len)
{
	(void)arg;
	(void)nic;
	out.to_primary++;
	out.after = after;
	keep_last(data, len);
}

static inline void on_transmit(void *arg, uint8_t nic, const uint8_t *data, size_t len)
{
	struct pkt p;

	(void)arg;
	out.transmitted++;
	keep_last(data, len);
	pkt_parse_ip(&p, out.last.b + 14, out.last.len - 14, 0);
	rewrites_out(replica_net_rewrites(r), nic, out.last.b + 14, &p, data[0] & 1, 0);
}

static inline void on_lost(void *arg, uint64_t count)
{
	(void)arg;
	out.lost_calls++;
	out.lost += count;
}

static inline void on_marked(void *arg, uint64_t epoch)
{
	(void)arg;
	out.marked = epoch;
}

static const struct replica_net_ops ops = {on_inject, on_to_primary, on_transmit, on_lost,
					   on_marked};

static inline int fresh(void **state)
{
	struct replica_net_params p = {
		.nic_count = NICS,
		.inbox_bytes = 1 << 20,
		.outbox_bytes = 1 << 20,
		.inbox_frames = REPLICA_MIN_FRAMES,
		.outbox_frames = 100,
		.max_flows = 16,
	};

	(void)state;
	memcpy(p.macs[0], mk_mac_guest, 6);
	memset(&out, 0, offsetof(struct out, last));
	return replica_net_new(&r, &p, &ops, NULL);
}

static inline int done(void **state)
{
	(void)state;
	replica_net_free(r);
	return 0;
}

/* A vnet header before what follows. */
static inline void start(bool from_guest)
{
	mk_start(&m);
	mk_more(&m, REPLICA_VNET_BYTES);
	mk_eth(&m, from_guest ? mk_mac_peer : mk_mac_guest,
	       from_guest ? mk_mac_guest : mk_mac_peer);
}

static inline void mirror(uint8_t nic, uint64_t number)
{
	start(false);
	mk_ip(&m, CLIENT, GUEST, IPPROTO_UDP);
	mk_udp(&m, 7, 7);
	mk_data(&m, &number, sizeof(number));
	mk_end(&m);
	replica_net_mirrored(r, nic, number, m.b, m.len, 0);
}

static inline void mark_all(uint64_t epoch, uint64_t mark)
{
	for (uint8_t i = 0; i < NICS; i++)
		replica_net_mark(r, epoch, i, mark);
}

static inline void checkpoint(uint64_t epoch, uint64_t mark)
{
	mark_all(epoch, mark);
	replica_net_stopped(r);
	replica_net_committed(r, epoch);
	replica_net_loaded(r, epoch);
}

#define rule(f) cmocka_unit_test_setup_teardown(f, fresh, done)

#endif
