/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a process has mapped a file, from its /proc/PID/maps. */
#ifndef QEMU_MAPS_H
#define QEMU_MAPS_H

#include "base/err.h"

#include <sys/stat.h>
#include <sys/types.h>

/**
 * maps_find() - where the file @st lies in the text of proc_pid_maps(5). Pure.
 *
 * It may consist of several adjacent mappings, but must be there once, in one piece, from offset 0
 * on, @bytes long. -ENOENT when it is not there, -EINVAL when it is there otherwise.
 */
int maps_find(const char *maps, const struct stat *st, uint64_t bytes, uint64_t *va, struct err *e);

/** maps_find_in() - the same for process @pid and the file behind @fd. */
int maps_find_in(pid_t pid, int fd, uint64_t bytes, uint64_t *va, struct err *e);

#endif
