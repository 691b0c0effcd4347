// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest taps: /dev/net/tun, the host's per-link settings in /proc, counters in sysfs. */
#include "proxy/tap.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Longest number in /proc and sysfs, and its newline. */
#define NUMBER_MAX 24

/* What the kernel takes (dev_valid_name()), without the % that it would replace by a number. */
static bool name_is_valid(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && !strpbrk(name, "/:% \t\n\v\f\r") &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int explain_refusal(const char *name, int code, struct err *e)
{
	switch (code) {
	case EBUSY:
		return err_set(
			e, EBUSY,
			"tap %s is in use by another process: is another colod or QEMU running "
			"with it?",
			name);
	case EINVAL:
		return err_set(
			e, EINVAL,
			"there is an interface \"%s\" that is not a tap of one queue: remove "
			"it or name another",
			name);
	case EPERM:
		return err_set(e, EPERM,
			       "not allowed to open tap %s: it takes root or CAP_NET_ADMIN", name);
	default:
		return err_errno(e, code, "cannot create tap %s", name);
	}
}

static int queue_ioctl(const char *name, unsigned long request, int *frames)
{
	autoclose int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_qlen = *frames};

	if (s < 0)
		return -errno;
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(s, request, &ifr))
		return -errno;
	*frames = ifr.ifr_qlen;
	return 0;
}

int tap_set_queue(const char *name, uint32_t frames, struct err *e)
{
	int n = (int)frames, r;

	if (!frames || frames > INT32_MAX)
		return err_set(e, EINVAL, "tap %s: the queue must hold at least one frame", name);
	r = queue_ioctl(name, SIOCSIFTXQLEN, &n);
	return r ? err_errno(e, -r, "cannot set the queue of tap %s to %u frames", name, frames)
		 : 0;
}

static int grow_queue(const char *name, struct err *e)
{
	int have = 0, r = queue_ioctl(name, SIOCGIFTXQLEN, &have);

	if (r)
		return err_errno(e, -r, "cannot get the length of the queue of tap %s", name);
	return have < TAP_QUEUE_FRAMES ? tap_set_queue(name, TAP_QUEUE_FRAMES, e) : 0;
}

int tap_create(const char *name, unsigned int flags, struct err *e)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	autoclose int fd = -1;
	int r;

	if (!name_is_valid(name))
		return err_set(e, EINVAL, "\"%s\" is no name for a tap (1 to %d characters)", name,
			       IFNAMSIZ - 1);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_errno(e, errno, "cannot open /dev/net/tun (is the module tun there?)");
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &ifr))
		return explain_refusal(name, errno, e);
	tap_set_filter(fd, false); /* of a persistent tap, whose last user was killed */
	r = grow_queue(name, e);
	if (!r && flags & TAP_HOST_SILENT)
		r = tap_set_host_silent(name, true, e);
	return r ? r : steal_fd(&fd);
}

int tap_set_filter(int fd, bool on)
{
	_Alignas(struct tun_filter) uint8_t mem[sizeof(struct tun_filter) + ETH_ALEN] = {};
	struct tun_filter *f = (struct tun_filter *)mem;

	/* Locally administered and of nobody; broadcasts and groups do not match it either. */
	f->count = on;
	f->addr[0][0] = 2;
	return ioctl(fd, TUNSETTXFILTER, f) < 0 ? -errno : 0;
}

/* ---- the host's own stack ---- */

static int read_number(const char *path, char buf[NUMBER_MAX])
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, NUMBER_MAX - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

static int write_number(const char *path, const char *value)
{
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static const struct host_setting {
	const char *family, *key, *silent;
} host_settings[] = {
	{"ipv6", "disable_ipv6", "1"},
	{"ipv4", "arp_ignore", "8"}, /* no answer for any local address, ip-sysctl.rst */
	{"ipv4", "rp_filter", "1"},
};

static int apply_setting(const struct host_setting *s, const char *name, bool silent)
{
	char path[128], value[NUMBER_MAX];
	int r;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf", s->family);
	if (access(path, F_OK)) /* a host without IPv6 is silent on it */
		return 0;
	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/default/%s", s->family, s->key);
	r = silent ? 0 : read_number(path, value);
	if (r)
		return r;
	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", s->family, name, s->key);
	return write_number(path, silent ? s->silent : value);
}

int tap_set_host_silent(const char *name, bool silent, struct err *e)
{
	if (!name_is_valid(name))
		return err_set(e, EINVAL, "\"%s\" is no name of a tap", name);
	for (size_t i = 0; i < ARRAY_SIZE(host_settings); i++) {
		int r = apply_setting(&host_settings[i], name, silent);

		if (r)
			return err_errno(e, -r, "cannot set net.%s.conf.%s.%s",
					 host_settings[i].family, name, host_settings[i].key);
	}
	return 0;
}

/* ---- counters ---- */

static int pread_u64(int fd, uint64_t *out)
{
	char buf[NUMBER_MAX];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	*out = strtoull(buf, NULL, 10);
	return 0;
}

static int open_in_sysfs(const char *name, const char *file)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* sysfs shows the network namespace of whoever mounted it. */
static bool sysfs_is_ours(const char *name, int ifindex)
{
	autoclose int fd = open_in_sysfs(name, "ifindex");
	uint64_t n = 0;

	return fd >= 0 && !pread_u64(fd, &n) && n == (uint64_t)ifindex;
}

int tap_counters_open(struct tap_counters *c, const char *name, int ifindex, struct err *e)
{
	int failed;

	c->fd_read = c->fd_dropped = -1;
	if (!name_is_valid(name))
		return err_set(e, EINVAL, "\"%s\" is no name of a tap", name);
	if (!sysfs_is_ours(name, ifindex))
		return err_set(e, ENODEV,
			       "/sys does not show tap %s: in a network namespace of its own colod "
			       "needs that namespace's sysfs on /sys (ip netns exec mounts it)",
			       name);
	c->fd_read = open_in_sysfs(name, "statistics/tx_packets");
	c->fd_dropped = open_in_sysfs(name, "statistics/tx_dropped");
	failed = MIN(c->fd_read, c->fd_dropped);
	if (failed >= 0)
		return 0;
	tap_counters_close(c);
	return err_errno(e, -failed, "cannot open the counters of tap %s", name);
}

void tap_counters_close(struct tap_counters *c)
{
	close_fd(&c->fd_read);
	close_fd(&c->fd_dropped);
}

int tap_counters_read(const struct tap_counters *c, uint64_t *read, uint64_t *dropped)
{
	int r = pread_u64(c->fd_read, read);

	return r ? r : pread_u64(c->fd_dropped, dropped);
}
