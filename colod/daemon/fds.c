// SPDX-License-Identifier: GPL-2.0-or-later
/* Descriptors that systemd keeps for the next colod: sd_pid_notify_with_fds(3), FDSTORE. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "colod/core/words.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define NAME_RAM  "colod-ram"
#define NAME_UFFD "colod-uffd"
#define NAME_TAP  "colod-tap" /* and its number */

#define FORGET_US (5 * USEC_PER_SEC)

/* Without FDPOLL=0 systemd drops a tap that is down. Without systemd all of this does nothing. */
static void keep(const char *name, int fd)
{
	char text[80];

	if (fd < 0)
		return;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	sd_pid_notify_with_fds(0, 0, text, &fd, 1);
}

static void tap_name(char name[24], unsigned i)
{
	snprintf(name, 24, NAME_TAP "%u", i);
}

void daemon_fds_keep(struct daemon *d)
{
	char name[24];

	keep(NAME_RAM, qemu_ram_fd(d->qemu));
	keep(NAME_UFFD, d->guest->uffd);
	for (unsigned i = 0; i < d->config->nic_count; i++) {
		tap_name(name, i);
		keep(name, d->tap_fds[i]);
	}
}

void daemon_fds_drop(struct daemon *d)
{
	int n = sd_listen_fds(1); /* none any more when they were taken */

	if (n <= 0 && !d->fds_taken)
		return;
	for (int i = 0; i < n; i++)
		close(SD_LISTEN_FDS_START + i);
	daemon_fds_forget(d);
	sd_notify_barrier(0, FORGET_US); /* its own copies are closed then */
}

/* A tap that is kept open could not be made anew. */
void daemon_fds_forget(struct daemon *d)
{
	char name[24];

	sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" NAME_RAM);
	sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" NAME_UFFD);
	for (unsigned i = 0; i < d->config->nic_count; i++) {
		tap_name(name, i);
		sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
	}
}

static bool is_file_of(int fd, pid_t pid, int number)
{
	struct stat ours, theirs;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, number);
	return !fstat(fd, &ours) && !stat(path, &theirs) && ours.st_dev == theirs.st_dev &&
	       ours.st_ino == theirs.st_ino;
}

static bool is_tap(int fd, const char *name)
{
	struct ifreq ifr = {};

	return !ioctl(fd, TUNGETIFF, &ifr) && !strcmp(ifr.ifr_name, name);
}

static void take(struct qemu_fds_kept *fds, const struct statefile *s, const char *name, int fd)
{
	autoclose int got = fd;
	char tap[24];

	if (!strcmp(name, NAME_RAM) && fds->ram < 0)
		fds->ram = steal_fd(&got);
	else if (!strcmp(name, NAME_UFFD) && fds->uffd < 0)
		fds->uffd = steal_fd(&got);
	for (unsigned i = 0; got >= 0 && i < s->nic_count; i++) {
		tap_name(tap, i);
		if (!strcmp(name, tap) && fds->taps[i] < 0 && is_tap(got, s->nics[i].tap))
			fds->taps[i] = steal_fd(&got);
	}
}

/* All that is kept belongs to one QEMU, whose memory tells which it is. */
void daemon_fds_take(struct daemon *d, const struct statefile *s)
{
	_cleanup_(cleanup_strv) char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);
	struct qemu_fds_kept *fds = &d->found_fds;

	d->fds_taken = n > 0;
	for (int i = 0; i < n; i++)
		take(fds, s, names[i], SD_LISTEN_FDS_START + i);
	if (fds->ram >= 0 && is_file_of(fds->ram, s->qemu_pid, s->ram_fd))
		return;
	close_fd(&fds->ram);
	close_fd(&fds->uffd);
	for (unsigned i = 0; i < CONFIG_MAX_NICS; i++)
		close_fd(&fds->taps[i]);
}
