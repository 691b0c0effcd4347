// SPDX-License-Identifier: GPL-2.0-or-later
/* Links and taps against the running kernel, in a network namespace of its own. */
#include "tests/unit/tap-rig.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

static void get(struct tap_rig *r, struct netlink_link *l)
{
	struct err e;

	assert_ok(netlink_get(&r->nl, RIG_TAP, l, &e), &e);
}

static void read_line(const char *path, char *buf, size_t len)
{
	autofclose FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_non_null(fgets(buf, (int)len, f));
}

/* ---- links ---- */

static void a_link_is_described_as_it_is(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l, by_index;
	char mac[32], want[32];
	struct err e;

	get(r, &l);
	assert_string_equal(l.name, RIG_TAP);
	assert_string_equal(l.kind, "tun");
	assert_int_equal(l.index, (int)if_nametoindex(RIG_TAP));
	assert_int_equal(l.mtu, 1500);
	assert_int_equal(l.txqueuelen, TAP_QUEUE_FRAMES);
	assert_string_not_equal(l.qdisc, "noqueue");
	assert_true(l.is_up && l.carrier);
	assert_int_equal(l.master, 0);
	read_line("/sys/class/net/" RIG_TAP "/address", want, sizeof(want));
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x\n", l.mac[0], l.mac[1], l.mac[2],
		 l.mac[3], l.mac[4], l.mac[5]);
	assert_string_equal(mac, want);
	assert_ok(netlink_get_index(&r->nl, l.index, &by_index, &e), &e);
	assert_memory_equal(&by_index, &l, sizeof(l));
	run("ip link set " RIG_TAP " mtu 9000");
	assert_ok(netlink_set_up(&r->nl, &l, false, &e), &e);
	get(r, &l);
	assert_int_equal(l.mtu, 9000);
	assert_false(l.is_up);
}

static void an_mtu_is_set_or_its_refusal_explained(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	assert_ok(netlink_set_mtu(&r->nl, &r->tap, 9000, &e), &e);
	get(r, &l);
	assert_int_equal(l.mtu, 9000);
	assert_int_equal(netlink_set_mtu(&r->nl, &r->tap, 65536, &e), -EINVAL);
	assert_non_null(strstr(err_msg(&e), "cannot set the MTU of " RIG_TAP " to 65536"));
	get(r, &l);
	assert_int_equal(l.mtu, 9000);
}

static void what_is_missing_is_named(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	assert_int_equal(netlink_get(&r->nl, "nobody", &l, &e), -ENODEV);
	assert_string_equal(err_msg(&e), "there is no network interface \"nobody\"");
	assert_int_equal(netlink_get_index(&r->nl, 123456, &l, &e), -ENODEV);
	assert_int_equal(netlink_get_index(&r->nl, 0, &l, &e), -ENODEV);
	assert_int_equal(netlink_get(&r->nl, "a-name-of-too-many-letters", &l, &e), -ENODEV);
	assert_int_equal(netlink_get(&r->nl, "", &l, &e), -ENODEV);
	assert_int_equal(netlink_get_bridge(&r->nl, "nobody", &l, &e), -ENODEV);
	assert_non_null(strstr(err_msg(&e), "there is no bridge \"nobody\": create it"));
	assert_int_equal(netlink_get_bridge(&r->nl, RIG_TAP, &l, &e), -EINVAL);
	assert_string_equal(err_msg(&e), "\"" RIG_TAP "\" is not a bridge but tun");
}

static void the_socket_is_usable_after_a_refusal(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	assert_int_equal(netlink_enslave(&r->nl, &r->bridge, &r->tap, &e), -EOPNOTSUPP);
	assert_non_null(strstr(err_msg(&e), "cannot put " RIG_BRIDGE " into bridge " RIG_TAP));
	get(r, &l);
	assert_int_equal(l.index, r->tap.index);
}

static void the_kernels_own_reason_is_kept(void **state)
{
	struct tap_rig *r = *state;
	struct err e;

	run("ip link add br1 type bridge");
	run("ip link set br1 master " RIG_BRIDGE " 2>/dev/null && exit 1 || exit 0");
	{
		struct netlink_link other;

		assert_ok(netlink_get(&r->nl, "br1", &other, &e), &e);
		assert_int_equal(netlink_enslave(&r->nl, &other, &r->bridge, &e), -ELOOP);
		assert_non_null(strstr(err_msg(&e), "kernel says \"Can not enslave a bridge"));
	}
	run("ip link del br1");
}

/* ---- bridge ports ---- */

static void an_enslaved_tap_forwards_at_once_and_a_released_one_not(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	for (int i = 0; i < 3; i++) {
		assert_ok(netlink_enslave(&r->nl, &r->tap, &r->bridge, &e), &e);
		get(r, &l);
		assert_int_equal(l.master, r->bridge.index);
		assert_int_equal(l.port_state, NETLINK_PORT_FORWARDING);
		assert_ok(netlink_enslave(&r->nl, &r->tap, &r->bridge, &e), &e);
		assert_ok(netlink_release(&r->nl, &r->tap, &e), &e);
		get(r, &l);
		assert_int_equal(l.master, 0);
		assert_ok(netlink_release(&r->nl, &r->tap, &e), &e);
	}
}

static void a_port_can_be_silenced_and_speaks_again_after_a_link_loss(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	assert_ok(netlink_enslave(&r->nl, &r->tap, &r->bridge, &e), &e);
	assert_ok(netlink_set_port_state(&r->nl, &r->tap, NETLINK_PORT_DISABLED, &e), &e);
	get(r, &l);
	assert_int_equal(l.port_state, NETLINK_PORT_DISABLED);
	assert_ok(netlink_set_port_state(&r->nl, &r->tap, NETLINK_PORT_FORWARDING, &e), &e);
	get(r, &l);
	assert_int_equal(l.port_state, NETLINK_PORT_FORWARDING);
	assert_ok(netlink_set_port_state(&r->nl, &r->tap, NETLINK_PORT_DISABLED, &e), &e);
	assert_ok(netlink_set_up(&r->nl, &r->tap, false, &e), &e);
	assert_ok(netlink_set_up(&r->nl, &r->tap, true, &e), &e);
	get(r, &l);
	assert_int_equal(l.port_state, NETLINK_PORT_FORWARDING);
}

static void a_bridges_spanning_tree_delay_is_known(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	assert_int_equal(r->bridge.bridge_delay_ms, 0);
	run("ip link set " RIG_BRIDGE " type bridge stp_state 1 forward_delay 400");
	assert_ok(netlink_get_bridge(&r->nl, RIG_BRIDGE, &l, &e), &e);
	assert_int_equal(l.bridge_delay_ms, 8000);
	assert_ok(netlink_enslave(&r->nl, &r->tap, &r->bridge, &e), &e);
	assert_int_equal(netlink_set_port_state(&r->nl, &r->tap, NETLINK_PORT_FORWARDING, &e),
			 -EBUSY);
}

/* ---- events ---- */

struct heard {
	int changes, gone;
	struct netlink_link last;
};

static void hear(void *arg, const struct netlink_event *ev)
{
	struct heard *h = arg;

	if (strcmp(ev->link.name, RIG_TAP) != 0)
		return;
	if (ev->gone)
		h->gone++;
	else
		h->changes++;
	h->last = ev->link;
}

/* Requests are carried out when they return, and so are their events. */
static struct heard listen_to(struct netlink_monitor *m)
{
	struct heard h = {};

	assert_int_equal(netlink_monitor_read(m, hear, &h), 0);
	return h;
}

static void events_tell_of_carrier_and_master_and_removal(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_monitor m;
	struct heard h;
	int carrier = 0;
	struct err e;

	assert_ok(netlink_monitor_open(&m, &e), &e);
	h = listen_to(&m);
	assert_int_equal(h.changes + h.gone, 0);

	assert_ok(netlink_enslave(&r->nl, &r->tap, &r->bridge, &e), &e);
	assert_true(is_readable(netlink_monitor_fd(&m), 0));
	assert_int_equal(listen_to(&m).last.master, r->bridge.index);
	assert_ok(netlink_release(&r->nl, &r->tap, &e), &e);
	h = listen_to(&m);
	assert_int_equal(h.last.master, 0);
	assert_int_equal(h.gone, 0); /* leaving a bridge is no removal */

	assert_int_equal(ioctl(r->fd, TUNSETCARRIER, &carrier), 0);
	assert_true(is_readable(netlink_monitor_fd(&m), (int)(GIVE_UP_US / USEC_PER_MSEC)));
	h = listen_to(&m);
	assert_true(h.changes > 0 && !h.last.carrier && h.last.is_up);

	close_fd(&r->fd);
	h = listen_to(&m);
	assert_int_equal(h.gone, 1);
	assert_int_equal(h.last.index, r->tap.index);
	netlink_monitor_close(&m);
}

static void lost_events_are_told(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_monitor m;
	struct heard h = {};
	struct err e;
	int rc = 0, bytes = 1;

	assert_ok(netlink_monitor_open(&m, &e), &e);
	setsockopt(netlink_monitor_fd(&m), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	for (int i = 0; i < 50; i++)
		assert_ok(netlink_set_up(&r->nl, &r->tap, i & 1, &e), &e);
	for (int i = 0; i < 50 && !rc; i++)
		rc = netlink_monitor_read(&m, hear, &h);
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(netlink_monitor_read(&m, hear, &h), 0);
	netlink_monitor_close(&m);
}

/* ---- taps ---- */

static void a_tap_in_use_is_refused(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(tap_create(RIG_TAP, 0, &e), -EBUSY);
	assert_non_null(strstr(err_msg(&e), "tap " RIG_TAP " is in use by another process"));
}

static void what_is_not_a_tap_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "a-name-of-16-chr", "a/b", "a b", "a:b", "tap%d", ".", ".."};
	struct err e;

	(void)state;
	assert_int_equal(tap_create(RIG_BRIDGE, 0, &e), -EINVAL);
	assert_non_null(strstr(err_msg(&e), "\"" RIG_BRIDGE "\" that is not a tap"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(tap_create(bad[i], 0, &e), -EINVAL);
		assert_non_null(strstr(err_msg(&e), "is no name for a tap"));
	}
}

static void a_tap_lives_as_long_as_a_descriptor(void **state)
{
	struct tap_rig *r = *state;
	int qemu = dup(r->fd);
	struct netlink_link l;
	struct err e;

	close_fd(&r->fd);
	get(r, &l);
	close(qemu);
	assert_int_equal(netlink_get(&r->nl, RIG_TAP, &l, &e), -ENODEV);
}

static void a_persistent_tap_of_the_administrator_is_taken_as_it_is(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct ifreq ifr = {};
	struct err e;
	int fd;

	run("ip tuntap add ptap mode tap; ip link set ptap txqueuelen 5000");
	fd = tap_create("ptap", 0, &e);
	assert_true(fd >= 0);
	assert_ok(netlink_get(&r->nl, "ptap", &l, &e), &e);
	assert_int_equal(l.txqueuelen, 5000);
	assert_int_equal(ioctl(fd, TUNGETIFF, &ifr), 0);
	assert_true(ifr.ifr_flags & IFF_VNET_HDR);
	assert_true(ifr.ifr_flags & IFF_NO_PI);
	close(fd);
	assert_ok(netlink_get(&r->nl, "ptap", &l, &e), &e);
	assert_false(l.carrier);
	run("ip link del ptap");
}

static void the_queue_can_be_set_but_not_to_nothing(void **state)
{
	struct tap_rig *r = *state;
	struct netlink_link l;
	struct err e;

	assert_ok(tap_set_queue(RIG_TAP, 20000, &e), &e);
	get(r, &l);
	assert_int_equal(l.txqueuelen, 20000);
	assert_int_equal(tap_set_queue(RIG_TAP, 0, &e), -EINVAL);
	assert_int_equal(tap_set_queue("nobody", 10, &e), -ENODEV);
	assert_non_null(strstr(err_msg(&e), "nobody"));
}

static int setting(const char *family, const char *key)
{
	char path[128], buf[32];

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/" RIG_TAP "/%s", family, key);
	read_line(path, buf, sizeof(buf));
	return atoi(buf); /* NOLINT(cert-err34-c) */
}

/* Ask for an address of the host's over the tap; the host takes the frame within write(). */
static bool host_answers_arp(struct tap_rig *r, int timeout_ms)
{
	static const uint8_t ask[] = {
		/* vnet header, broadcast from the guest, who has 10.11.12.1 tell 10.11.12.2 */
		0, 0,    0,  0,    0,    0,    0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,
		0, 0,    0,  0x22, 0x08, 0x06, 0, 1, 8, 0, 6,    4,    0,    1,    2,    0,    0, 0,
		0, 0x22, 10, 11,   12,   2,    0, 0, 0, 0, 0,    0,    10,   11,   12,   1,
	};
	uint8_t buf[FRAME_MAX];

	assert_int_equal(write(r->fd, ask, sizeof(ask)), sizeof(ask));
	while (is_readable(r->fd, timeout_ms))
		if (read(r->fd, buf, sizeof(buf)) > 32 && buf[22] == 0x08 && buf[23] == 0x06 &&
		    buf[31] == 2)
			return true;
	return false;
}

static void the_host_does_not_speak_on_a_silent_tap(void **state)
{
	struct tap_rig *r = *state;
	struct err e;

	assert_int_equal(setting("ipv6", "disable_ipv6"), 1);
	assert_int_equal(setting("ipv4", "rp_filter"), 1);
	run("ip addr add 10.11.12.1/24 dev lo");
	run("echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter");
	assert_false(host_answers_arp(r, 50));
	run("echo 0 >/proc/sys/net/ipv4/conf/" RIG_TAP "/rp_filter");
	assert_false(host_answers_arp(r, 50));
	assert_ok(tap_set_host_silent(RIG_TAP, false, &e), &e);
	run("echo 0 >/proc/sys/net/ipv4/conf/" RIG_TAP "/rp_filter");
	assert_true(host_answers_arp(r, (int)(GIVE_UP_US / USEC_PER_MSEC)));
	assert_int_equal(setting("ipv4", "arp_ignore"), 0);
	run("ip addr del 10.11.12.1/24 dev lo");
	assert_int_equal(tap_set_host_silent("nobody", true, &e), -ENOENT);
	assert_non_null(strstr(err_msg(&e), "net.ipv6.conf.nobody.disable_ipv6"));
}

/* ---- counters ---- */

/* From outside to the guest. */
static void send_plain(int packet_fd, uint32_t number)
{
	uint8_t frame[PLAIN_BYTES];

	plain_frame(frame, number);
	assert_int_equal(send(packet_fd, frame + 10, PLAIN_BYTES - 10, 0), PLAIN_BYTES - 10);
}

static int packet_socket_on(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	struct sockaddr_ll {
		uint16_t family, protocol;
		int ifindex;
		uint8_t rest[12];
	} to = {.family = AF_PACKET, .ifindex = (int)if_nametoindex(name)};

	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void a_frame_counts_as_read_when_the_guest_reads_it(void **state)
{
	struct tap_rig *r = *state;
	autoclose int out = packet_socket_on(RIG_TAP);
	uint8_t buf[FRAME_MAX];
	struct tap_counters c;
	uint64_t n, dropped;
	struct err e;

	assert_ok(tap_counters_open(&c, RIG_TAP, r->tap.index, &e), &e);
	for (uint32_t i = 0; i < 5; i++)
		send_plain(out, i);
	assert_int_equal(tap_counters_read(&c, &n, &dropped), 0);
	assert_int_equal(n, 0);
	for (uint32_t i = 1; i <= 5; i++) {
		guest_read(r, buf);
		assert_int_equal(tap_counters_read(&c, &n, &dropped), 0);
		assert_int_equal(n, i);
	}
	assert_int_equal(dropped, 0);
	close_fd(&r->fd);
	assert_int_equal(tap_counters_read(&c, &n, &dropped), -ENODEV);
	tap_counters_close(&c);
	tap_counters_close(&c);
}

static void a_full_queue_counts_what_it_drops(void **state)
{
	struct tap_rig *r = *state;
	autoclose int out = packet_socket_on(RIG_TAP);
	uint8_t buf[FRAME_MAX];
	struct tap_counters c;
	uint64_t n, dropped;
	struct err e;

	assert_ok(tap_set_queue(RIG_TAP, 20, &e), &e);
	assert_ok(tap_counters_open(&c, RIG_TAP, r->tap.index, &e), &e);
	for (uint32_t i = 0; i < 50; i++)
		send_plain(out, i);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(plain_number(buf, guest_read(r, buf)), i);
	assert_false(is_readable(r->fd, 0));
	assert_int_equal(tap_counters_read(&c, &n, &dropped), 0);
	assert_int_equal(n, 20);
	assert_int_equal(dropped, 30);
	tap_counters_close(&c);
}

static void counters_of_another_namespace_are_refused(void **state)
{
	struct tap_rig *r = *state;
	struct tap_counters c;
	struct err e;

	assert_int_equal(tap_counters_open(&c, RIG_TAP, r->tap.index + 1, &e), -ENODEV);
	assert_non_null(strstr(err_msg(&e), "/sys does not show tap " RIG_TAP));
	assert_int_equal(tap_counters_open(&c, "nobody", 1, &e), -ENODEV);
	assert_int_equal(tap_counters_open(&c, "../lo", 1, &e), -EINVAL);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_link_is_described_as_it_is),
		RIG_TEST(an_mtu_is_set_or_its_refusal_explained),
		RIG_TEST(what_is_missing_is_named),
		RIG_TEST(the_socket_is_usable_after_a_refusal),
		RIG_TEST(the_kernels_own_reason_is_kept),
		RIG_TEST(an_enslaved_tap_forwards_at_once_and_a_released_one_not),
		RIG_TEST(a_port_can_be_silenced_and_speaks_again_after_a_link_loss),
		RIG_TEST(a_bridges_spanning_tree_delay_is_known),
		RIG_TEST(events_tell_of_carrier_and_master_and_removal),
		RIG_TEST(lost_events_are_told),
		RIG_TEST(a_tap_in_use_is_refused),
		RIG_TEST(what_is_not_a_tap_is_refused),
		RIG_TEST(a_tap_lives_as_long_as_a_descriptor),
		RIG_TEST(a_persistent_tap_of_the_administrator_is_taken_as_it_is),
		RIG_TEST(the_queue_can_be_set_but_not_to_nothing),
		RIG_TEST(the_host_does_not_speak_on_a_silent_tap),
		RIG_TEST(a_frame_counts_as_read_when_the_guest_reads_it),
		RIG_TEST(a_full_queue_counts_what_it_drops),
		RIG_TEST(counters_of_another_namespace_are_refused),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
