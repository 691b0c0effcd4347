// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: frames of any bytes, to and from a guest; every answer must itself be understood. */
#include "proxy/neigh.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(struct neigh *n, const uint8_t *reply, int len)
{
	struct frame f;
	struct arp a;
	struct pkt p;

	assert(len >= 60 && len <= NEIGH_FRAME_MAX);
	assert(!frame_parse(&f, reply, (size_t)len));
	if (f.ethertype == ETHERTYPE_ARP_) {
		assert(!arp_parse(&a, reply + f.l3_off, (size_t)len - f.l3_off));
	} else {
		assert(f.ethertype == ETHERTYPE_IPV6);
		pkt_parse_ip(&p, reply + f.l3_off, (size_t)len - f.l3_off, f.vlan);
		assert(p.kind == PKT_NEIGHBOUR);
	}
	neigh_learn_in(n, reply, (size_t)len);
}

/* Frames, each behind a byte that says its length. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	uint8_t reply[NEIGH_FRAME_MAX];
	static struct neigh n;
	int answer;

	neigh_init(&n, mac);
	while (size) {
		size_t len = data[0] < size ? data[0] : size - 1;

		neigh_learn_in(&n, data + 1, len);
		neigh_learn_out(&n, data + 1, len);
		answer = neigh_filter_out(&n, data + 1, len, reply);
		assert(answer >= -1);
		if (answer > 0)
			check_answer(&n, reply, answer);
		data += 1 + len;
		size -= 1 + len;
	}
	for (unsigned i = 0; i <= n.own_count; i++)
		assert(neigh_announcement(&n, i, reply) >= 60);
	return 0;
}
