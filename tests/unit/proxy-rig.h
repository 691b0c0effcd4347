/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts with a proxy each, in network namespaces of their own; the test is all that is around. */
#ifndef TESTS_UNIT_PROXY_RIG_H
#define TESTS_UNIT_PROXY_RIG_H

#include "base/cleanup.h"
#include "proxy/chan.h"
#include "proxy/netlink.h"
#include "proxy/proxy.h"
#include "proxy/rules.h"
#include "proxy/tap.h"
#include "tests/unit/packet-make.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#define TAP        "gtap"
#define TAP2       "gtap2" /* of guests with two NICs */
#define BRIDGE     "br0"
#define GUEST      "10.0.0.2"
#define CLIENT     "10.0.0.9"
#define VNET_BYTES 10
#define FRAME_MAX  70000

static const uint8_t mac_of_tap2[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x57};

/*
 * Each host: a bridge with a link to the outside, on whose far end the client is, and a tap of
 * somebody else. The guest's tap joins when the proxy says so. The client is one and the same on
 * both hosts; which of its sockets a frame comes to says which host it came from.
 */
struct host {
	int netns, tap, tap2, other, client;
	struct proxy *proxy;
	struct proxy_call call;
	char *before; /* traces(), without a proxy */
	/* what the daemon was told */
	unsigned checkpoints, waits, lost, notes;
	enum mismatch_reason reason;
	uint64_t marked;
	char why[256];
	/* what the client was told */
	unsigned announced;
};

/* A frame that arrived: its number is -1 for one that has none. */
struct seen {
	int64_t number;
	size_t len;
	struct frame frame;
	struct pkt pkt;
	uint8_t data[FRAME_MAX];
};

struct world {
	struct loop *loop;
	unsigned nics;
	const char *bridge; /* "" for routed taps */
	struct host a, b;
	int peer; /* a packet connection whose other end is the test's own */
	uint8_t in[2 * CHAN_MAX_PAYLOAD];
	size_t in_len, taken;
	uint32_t fence;
	struct seen seen;
	struct mk m;
};

/* Turn the daemon's loop until @cond holds, which may be about what another thread does. */
#define await(w, cond)                                                                             \
	do {                                                                                       \
		uint64_t end_ = clock_now_us() + GIVE_UP_US;                                       \
		while (!(cond)) {                                                                  \
			if (clock_now_us() > end_)                                                 \
				fail_msg("never: %s", #cond);                                      \
			assert_true(loop_step((w)->loop, USEC_PER_MSEC) >= 0);                     \
		}                                                                                  \
	} while (0)

static inline void run(const char *command)
{
	if (system(command)) /* NOLINT: a test's own fixed strings */
		fail_msg("failed: %s", command);
}

static inline void enter(const struct host *h)
{
	assert_int_equal(setns(h->netns, CLONE_NEWNET), 0);
}

/* Rules, switches of the bridge, queues: all that a proxy could leave behind. The caller frees it. */
static inline char *traces(const struct host *h)
{
	char *text = calloc(1, 65536);
	FILE *f;

	enter(h);
	f = popen("(iptables-save; ip6tables-save) 2>/dev/null | grep -e ^- -e colod;" /* NOLINT */
		  "nft list tables 2>/dev/null | grep colod;"
		  "ip -d link show type bridge | grep -o 'nf_call_ip[a-z0-9]* [01]';"
		  "cat /proc/net/netfilter/nfnetlink_queue",
		  "r");
	assert_non_null(text);
	assert_non_null(f);
	text[fread(text, 1, 65535, f)] = '\0';
	pclose(f);
	return text;
}

/* ---- the daemon ---- */

static inline void on_checkpoint(void *arg, enum mismatch_reason reason)
{
	struct host *h = arg;

	h->checkpoints++;
	h->reason = reason;
}

static inline void on_waiting(void *arg)
{
	((struct host *)arg)->waits++;
}

static inline void on_marked(void *arg, uint64_t epoch)
{
	((struct host *)arg)->marked = epoch;
}

static inline void on_lost(void *arg, const char *reason)
{
	struct host *h = arg;

	h->lost++;
	snprintf(h->why, sizeof(h->why), "%s", reason);
}

static inline void on_proxy_note(void *arg, const char *text)
{
	struct host *h = arg;

	h->notes++;
	snprintf(h->why, sizeof(h->why), "%s", text);
}

static const struct proxy_handlers rig_handlers = {.checkpoint = on_checkpoint,
						   .waiting = on_waiting,
						   .marked = on_marked,
						   .lost = on_lost,
						   .note = on_proxy_note};

static inline void carry_out(struct world *w, struct host *h, struct proxy_call c)
{
	h->call = c;
	proxy_submit(h->proxy, &h->call);
	turn_until(w->loop, !h->call.busy);
}

static inline void order(struct world *w, struct host *h, enum proxy_op op, uint64_t epoch,
			 bool runs)
{
	carry_out(w, h, (struct proxy_call){.op = op, .epoch = epoch, .runs = runs, .fd = -1});
}

static inline struct proxy_status status(struct host *h)
{
	struct proxy_status s;

	proxy_get_status(h->proxy, &s);
	return s;
}

static inline uint64_t held(struct host *h)
{
	return status(h).compare.held_packets;
}

/* ---- two hosts ---- */

static inline int packet_socket(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(name)};
	int rcvbuf = 32 << 20;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* The bridge knows where the client is, so that the guests are not told what is for it. */
static inline void make_links(struct host *h)
{
	struct err e;

	run("for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done;"
	    "for f in /proc/sys/net/bridge/bridge-nf-call-ip*; do"
	    "  [ ! -e $f ] || echo 0 >$f; done;"
	    "ip link set lo up && ip link add " BRIDGE " type bridge mcast_snooping 0 &&"
	    "ip link add wire mtu 60000 type veth peer name far mtu 60000 &&"
	    "ip link set " BRIDGE " up");
	h->tap = tap_create(TAP, TAP_HOST_SILENT, &e);
	h->tap2 = tap_create(TAP2, TAP_HOST_SILENT, &e);
	h->other = tap_create("other", 0, &e);
	if (h->tap < 0 || h->tap2 < 0 || h->other < 0)
		fail_msg("%s", err_msg(&e));
	run("for i in wire other; do ip link set $i master " BRIDGE " && ip link set $i up ||"
	    "  exit 1; done; ip link set far up && ip link set " TAP " mtu 60000 &&"
	    "bridge link set dev other flood off &&"
	    "bridge fdb add 52:54:00:aa:bb:cc dev wire master static &&"
	    "until ip -d link show wire | grep -q 'state forwarding' &&"
	    "      ip link show far | grep -q 'state UP' &&"
	    "      ip -d link show other | grep -q 'state forwarding'; do sleep 0.01; done");
	h->client = packet_socket("far");
}

/* A bypass rule for the worlds that are made from here on. */
static const char *rule_to_have;

static inline void make_proxy(struct world *w, struct host *h)
{
	struct proxy_config c = {
		.name = "test",
		.nics = {{.tap = TAP, .tap_fd = h->tap}, {.tap = TAP2, .tap_fd = h->tap2}},
		.nic_count = w->nics,
		.netfilter = RULES_ANY,
		.announce_count = w->nics == 1 ? 2 : 1,
		.limits = {.max_held_packets = 4096,
			   .max_held_bytes = 32 * MIB,
			   .max_flows = 256,
			   .max_half_open = 64,
			   .timeout_us = 2 * GIVE_UP_US,
			   .flow_idle_us = 2 * GIVE_UP_US}};
	struct err e = {};

	for (int i = 0; i < 2; i++)
		snprintf(c.nics[i].bridge, sizeof(c.nics[i].bridge), "%s", w->bridge);
	memcpy(c.nics[0].mac, mk_mac_guest, 6);
	memcpy(c.nics[1].mac, mac_of_tap2, 6);
	if (rule_to_have)
		assert_ok(bypass_add(&c.bypass, rule_to_have, &e), &e);
	/* Only now is it needed that /sys shows this namespace. */
	assert_int_equal(mount("sysfs", "/sys", "sysfs", 0, NULL), 0);
	assert_ok(proxy_new(&h->proxy, w->loop, &c, &rig_handlers, h, &e), &e);
	assert_int_equal(umount2("/sys", MNT_DETACH), 0);
}

static inline void host_up(struct world *w, struct host *h)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	h->netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(h->netns >= 0);
	make_links(h);
	h->before = traces(h);
	make_proxy(w, h);
}

/* Nothing of a proxy stays behind. */
static inline void host_down(struct host *h)
{
	autofree char *after = NULL;

	enter(h);
	proxy_free(h->proxy);
	after = traces(h);
	assert_string_equal(after, h->before);
	free(h->before);
	close(h->tap);
	close(h->tap2);
	close(h->other);
	close(h->client);
	close(h->netns);
}

static inline int world_of(void **state, unsigned nics, const char *bridge)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = {};

	assert_non_null(w);
	w->nics = nics;
	w->bridge = bridge;
	w->peer = -1;
	assert_ok(loop_new(&w->loop, &e), &e);
	host_up(w, &w->a);
	host_up(w, &w->b);
	*state = w;
	return 0;
}

static inline int world_with(void **state, unsigned nics)
{
	return world_of(state, nics, BRIDGE);
}

static inline int world_up(void **state)
{
	return world_with(state, 1);
}

static inline int world_down(void **state)
{
	struct world *w = *state;

	host_down(&w->a);
	host_down(&w->b);
	close_fd(&w->peer);
	loop_free(w->loop);
	free(w);
	return 0;
}

/* ---- frames ---- */

static inline void take_number(struct seen *s)
{
	const uint8_t *p;

	s->number = -1;
	s->pkt = (struct pkt){.kind = PKT_OPAQUE};
	if (frame_parse(&s->frame, s->data, s->len) || !frame_is_ip(&s->frame))
		return;
	pkt_parse_ip(&s->pkt, s->data + s->frame.l3_off, s->len - s->frame.l3_off, 0);
	if (s->pkt.kind == PKT_OPAQUE || s->pkt.payload_len < 4)
		return;
	p = s->pkt.data + s->pkt.payload_off;
	s->number = (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static inline void write_frame(int tap, const struct mk *m)
{
	uint8_t buf[FRAME_MAX] = {};

	memcpy(buf + VNET_BYTES, m->b, m->len);
	assert_int_equal(write(tap, buf, VNET_BYTES + m->len), VNET_BYTES + m->len);
}

static inline void send_frame(struct host *h, const struct mk *m)
{
	assert_int_equal(send(h->client, m->b, m->len, 0), m->len);
}

static inline void start_frame(struct world *w, bool to_guest, uint8_t proto)
{
	mk_start(&w->m);
	mk_eth(&w->m, to_guest ? mk_mac_guest : mk_mac_peer, to_guest ? mk_mac_peer : mk_mac_guest);
	mk_ip(&w->m, to_guest ? CLIENT : GUEST, to_guest ? GUEST : CLIENT, proto);
}

static inline void add_number(struct world *w, uint32_t number)
{
	mk_put32(mk_more(&w->m, 4), number);
}

/* A datagram with @number and @more bytes behind it. */
static inline void datagram(struct world *w, bool to_guest, uint32_t number, size_t more)
{
	start_frame(w, to_guest, IPPROTO_UDP);
	mk_udp(&w->m, to_guest ? 4000 : 53, to_guest ? 53 : 4000);
	add_number(w, number);
	mk_fill(&w->m, number, 0, more);
	mk_end(&w->m);
}

static inline void guest_says(struct world *w, struct host *h, uint32_t number)
{
	datagram(w, false, number, 16);
	write_frame(h->tap, &w->m);
}

static inline void client_says(struct world *w, struct host *h, uint32_t number)
{
	datagram(w, true, number, 16);
	send_frame(h, &w->m);
}

static inline bool can_read(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

/* The next frame at the client but for ARP and RARP, which are counted; false when none is there. */
static inline bool client_take(struct world *w, struct host *h)
{
	for (;;) {
		ssize_t n = recv(h->client, w->seen.data, FRAME_MAX, 0);

		if (n <= 0)
			return false;
		w->seen.len = (size_t)n;
		take_number(&w->seen);
		if (frame_is_ip(&w->seen.frame))
			return true;
		h->announced++;
	}
}

static inline void client_next(struct world *w, struct host *h)
{
	while (!client_take(w, h))
		if (!can_read(h->client, (int)(GIVE_UP_US / USEC_PER_MSEC)))
			fail_msg("no frame for the client");
}

static inline void client_expect(struct world *w, struct host *h, uint32_t number)
{
	client_next(w, h);
	assert_int_equal(w->seen.number, number);
}

/* Nothing but what was taken has got through so far: what somebody else sends now is the next. */
static inline void client_expect_nothing(struct world *w, struct host *h)
{
	uint32_t number = 0xffff0000 + w->fence++;

	datagram(w, false, number, 16);
	memcpy(w->m.b + 6, "\2\0\0\0\0\7", 6);
	write_frame(h->other, &w->m);
	client_expect(w, h, number);
}

/* The next frame for the guest; false when none waits. */
static inline bool guest_take(struct world *w, struct host *h)
{
	uint8_t buf[FRAME_MAX];
	ssize_t n = read(h->tap, buf, sizeof(buf));

	if (n <= VNET_BYTES)
		return false;
	w->seen.len = (size_t)n - VNET_BYTES;
	memcpy(w->seen.data, buf + VNET_BYTES, w->seen.len);
	take_number(&w->seen);
	return true;
}

static inline void guest_next(struct world *w, struct host *h)
{
	if (!can_read(h->tap, (int)(GIVE_UP_US / USEC_PER_MSEC)) || !guest_take(w, h))
		fail_msg("no frame for the guest");
}

static inline void guest_expect(struct world *w, struct host *h, uint32_t number)
{
	guest_next(w, h);
	assert_int_equal(w->seen.number, number);
}

/* ---- sessions ---- */

/* Both hosts, the guest of @p runs already. */
static inline void attach(struct world *w, struct host *p, struct host *s)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	order(w, p, PROXY_PASS, 0, false);
	carry_out(w, p, (struct proxy_call){.op = PROXY_ATTACH_PRIMARY, .fd = fd[0]});
	carry_out(w, s, (struct proxy_call){.op = PROXY_ATTACH_SECONDARY, .fd = fd[1]});
}

/* One host, and the test itself at the other end of its packet connection. */
static inline void attach_to_test(struct world *w, struct host *h, enum proxy_op op)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	w->peer = fd[1];
	if (op == PROXY_ATTACH_PRIMARY)
		order(w, h, PROXY_PASS, 0, false);
	carry_out(w, h, (struct proxy_call){.op = op, .fd = fd[0]});
}

/* The guest of @h is told to stop: what was read until now it has been given. */
static inline struct proxy_call about_to_stop(struct host *h)
{
	struct proxy_call c = {.op = PROXY_CLOSE, .ran = true, .fd = -1};

	proxy_before_stop(h->proxy, &c);
	return c;
}

/* The guest of @p stands still for @epoch, @stop was noted before. */
static inline void close_at(struct world *w, struct host *p, uint64_t epoch, bool runs,
			    struct proxy_call stop)
{
	stop.epoch = epoch;
	stop.runs = runs;
	carry_out(w, p, stop);
}

/* Nothing was read since the guest of @p was told to stop. */
static inline void close_now(struct world *w, struct host *p, uint64_t epoch, bool runs)
{
	close_at(w, p, epoch, runs, about_to_stop(p));
}

/* Both guests stand still for @epoch, and the secondary knows all that belongs to it. */
static inline void close_epoch(struct world *w, struct host *p, struct host *s, uint64_t epoch,
			       bool runs)
{
	order(w, s, PROXY_STOPPED, 0, false);
	close_now(w, p, epoch, runs);
	await(w, s->marked == epoch);
}

static inline void commit_epoch(struct world *w, struct host *p, struct host *s, uint64_t epoch,
				bool runs)
{
	order(w, s, PROXY_COMMITTED, epoch, false);
	order(w, p, PROXY_COMMIT, epoch, false);
	order(w, s, PROXY_LOADED, epoch, runs);
}

static inline void checkpoint(struct world *w, struct host *p, struct host *s, uint64_t epoch,
			      bool runs)
{
	close_epoch(w, p, s, epoch, runs);
	commit_epoch(w, p, s, epoch, runs);
}

/* The next message for the test's own end. */
static inline void peer_next(struct world *w, struct chan_msg *m)
{
	struct err e = {};
	ssize_t n;

	w->in_len -= w->taken;
	memmove(w->in, w->in + w->taken, w->in_len);
	w->taken = 0;
	while (!(n = chan_decode(m, w->in, w->in_len, &e))) {
		if (!can_read(w->peer, (int)(GIVE_UP_US / USEC_PER_MSEC)))
			fail_msg("no message");
		n = recv(w->peer, w->in + w->in_len, sizeof(w->in) - w->in_len, 0);
		if (n <= 0)
			fail_msg("the proxy closed the packet connection");
		w->in_len += (size_t)n;
	}
	if (n < 0)
		fail_msg("%s", err_msg(&e));
	w->taken = (size_t)n;
}

static inline void peer_expect(struct world *w, struct chan_msg *m, enum chan_type type)
{
	do
		peer_next(w, m);
	while (m->type != type);
}

/* ---- a program of such tests ---- */

#define PROXY_TEST(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

static inline void takes_root(void **state)
{
	(void)state;
	print_message("skipped: network namespaces, taps and netfilter queues take root\n");
	skip();
}

/* Mounts are the process's own from here on. */
static inline int own_mounts(void **state)
{
	(void)state;
	if (!unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 0;
	perror("mounts of its own");
	return -1;
}

#define run_as_root(tests)                                                                         \
	({                                                                                         \
		const struct CMUnitTest none_[] = {cmocka_unit_test(takes_root)};                  \
		geteuid() ? cmocka_run_group_tests(none_, NULL, NULL)                              \
			  : cmocka_run_group_tests(tests, own_mounts, NULL);                       \
	})

#endif
