/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network namespace with a bridge, a tap and a link to the outside; the test is the guest. */
#ifndef TESTS_UNIT_TAP_RIG_H
#define TESTS_UNIT_TAP_RIG_H

#include "base/cleanup.h"
#include "proxy/netlink.h"
#include "proxy/tap.h"
#include "tests/unit/unit.h"

#include <poll.h>
#include <sched.h>
#include <sys/mount.h>

#define RIG_TAP    "gtap"
#define RIG_BRIDGE "br0"

#define FRAME_MAX (128 * 1024)

/* br0 with the tap's neighbour "wire"; its other end, "far", is the outside. */
struct tap_rig {
	struct netlink nl;
	struct netlink_link tap, bridge;
	int fd; /* what QEMU would have */
};

static inline void run(const char *command)
{
	if (system(command)) /* NOLINT: a test's own fixed strings */
		fail_msg("failed: %s", command);
}

/* Once for each process; the kernel removes all when it ends. */
static inline int enter_namespace(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL)) {
		perror("a network namespace of its own (takes root)");
		return -1;
	}
	run("ip link set lo up");
	return 0;
}

/* The kernel turns a new link's carrier into a forwarding port in its own time; newer ones do it at
 * once for whom asks over netlink, and within a second else. */
static inline void wait_for_wire(struct tap_rig *r)
{
	struct netlink_link l;
	struct err e;

	do {
		usleep(1000);
		assert_ok(netlink_get(&r->nl, "wire", &l, &e), &e);
	} while (l.port_state != NETLINK_PORT_FORWARDING);
	run("until ip link show far | grep -q 'state UP' &&"
	    " ip link show " RIG_BRIDGE " | grep -q 'state UP'; do sleep 0.01; done");
}

static inline int rig_setup(void **state)
{
	struct tap_rig *r = calloc(1, sizeof(*r));
	struct err e;

	run("ip link add " RIG_BRIDGE " type bridge mcast_snooping 0; ip link set " RIG_BRIDGE
	    " up");
	run("ip link add wire type veth peer name far");
	run("for i in all default wire far " RIG_BRIDGE "; do "
	    "echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done");
	run("ip link set wire master " RIG_BRIDGE "; ip link set wire up; ip link set far up");
	assert_ok(netlink_open(&r->nl, &e), &e);
	wait_for_wire(r);
	r->fd = tap_create(RIG_TAP, TAP_HOST_SILENT, &e);
	if (r->fd < 0)
		fail_msg("%s", err_msg(&e));
	assert_ok(netlink_get(&r->nl, RIG_TAP, &r->tap, &e), &e);
	assert_ok(netlink_get_bridge(&r->nl, RIG_BRIDGE, &r->bridge, &e), &e);
	assert_ok(netlink_set_up(&r->nl, &r->tap, true, &e), &e);
	*state = r;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct tap_rig *r = *state;

	close_fd(&r->fd);
	netlink_close(&r->nl);
	run("ip link del wire; ip link del " RIG_BRIDGE);
	free(r);
	return 0;
}

static inline bool is_readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && p.revents & POLLIN;
}

/* The next frame that reaches the guest, with its vnet header. */
static inline size_t guest_read(struct tap_rig *r, uint8_t *buf)
{
	ssize_t n;

	if (!is_readable(r->fd, (int)(GIVE_UP_US / USEC_PER_MSEC)))
		fail_msg("no frame for the guest");
	n = read(r->fd, buf, FRAME_MAX);
	assert_true(n > 0);
	return (size_t)n;
}

/* A plain frame to the guest of a local experimental type; @number tells it from others. The vnet
 * header in front is zero. */
#define PLAIN_BYTES (10 + 60)
static inline void plain_frame(uint8_t buf[PLAIN_BYTES], uint32_t number)
{
	static const uint8_t head[] = {
		2, 0, 0, 0, 0, 0x22, 2, 0, 0, 0, 0, 0x11, 0x88, 0xb5,
	};

	memset(buf, 0, PLAIN_BYTES);
	memcpy(buf + 10, head, sizeof(head));
	memcpy(buf + 10 + sizeof(head), &number, sizeof(number));
}

/* The number of such a frame, or -1 for another. */
static inline int64_t plain_number(const uint8_t *buf, size_t len)
{
	uint32_t number;

	if (len != PLAIN_BYTES || buf[22] != 0x88 || buf[23] != 0xb5)
		return -1;
	memcpy(&number, buf + 24, sizeof(number));
	return number;
}

#endif
