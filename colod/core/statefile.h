/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one colod leaves for the next about its running guest: struct statefile and its text. Pure. */
#ifndef CORE_STATEFILE_H
#define CORE_STATEFILE_H

#include "colod/core/config.h"
#include "colod/core/fsm.h"

#include <sys/types.h>

/* What this host's guest is; it decides what may be done with it after a restart (S3). */
enum standing {
	STANDING_STARTING,  /* QEMU was started and has never run the guest */
	STANDING_REPLICA,   /* it is not to be heard */
	STANDING_ALONE,     /* runs here, and no other host can bring it to life */
	STANDING_PROTECTED, /* runs here; the peer may hold a whole checkpoint */
	STANDING_YIELDED,   /* stands still here, the peer was told to run it */
	STANDING_COUNT,
};

const char *standing_name(enum standing s);

/** standing_role() - which of the two hosts of the guest one with this standing is. */
enum role standing_role(enum standing s);

/** struct statefile_nic - a card as QEMU was given it; its tap is descriptor @fd there */
struct statefile_nic {
	char tap[16];
	uint8_t mac[6];
	uint32_t mtu; /* that the guest was told, 0: none */
	int fd;
};

/**
 * struct statefile - the running QEMU, and what its guest is
 * @boot_id, @qemu_started: of the host's boot and in its clock ticks (field 22 of
 *               proc_pid_stat(5)): with them a process number is nobody else's
 * @ram_fd, @uffd_fd: descriptor numbers in QEMU; @uffd_fd is -1 when it has none
 * @guest_stopped: it stands still by somebody else's word, not for a checkpoint
 * @link_paused: the operator wants no connection to the peer
 * @session:     number of the replication session whose whole checkpoint both hosts have, 0: none
 * @epoch:       a checkpoint that was committed; later ones may have been, too
 */
struct statefile {
	enum standing standing;
	char boot_id[40];
	pid_t qemu_pid;
	uint64_t qemu_started;
	int ram_fd, uffd_fd;
	uint64_t memory_bytes;
	uint32_t memory_page_bytes;
	enum track_kind tracking; /* what QEMU was started for */
	bool guest_stopped, link_paused;
	uint64_t session, epoch;
	struct statefile_nic nics[CONFIG_MAX_NICS];
	unsigned nic_count;
};

#define STATEFILE_MAX 4096

/** statefile_format() - its text, at most STATEFILE_MAX bytes with the final NUL; the length. */
size_t statefile_format(const struct statefile *s, char text[STATEFILE_MAX]);

/**
 * statefile_parse() - the reverse; @text is terminated. -EINVAL with a reason, also for the file of a
 * colod that writes another format.
 */
int statefile_parse(struct statefile *s, const char *text, struct err *e);

/**
 * statefile_fits() - whether the configuration @c is still one for this QEMU: the same memory and the
 * same cards. -EINVAL with a reason that names the key.
 */
int statefile_fits(const struct statefile *s, const struct config *c, struct err *e);

#endif
