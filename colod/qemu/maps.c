// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the mapping of guest RAM inside QEMU by device and inode. */
#include "colod/qemu/maps.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* One line of the maps that belongs to the file. */
struct mapping {
	uint64_t start, end, offset;
};

static bool parse_mapping(const char *line, const struct stat *st, struct mapping *m)
{
	unsigned dev_major, dev_minor;
	uint64_t inode;

	return sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %" SCNx64 " %x:%x %" SCNu64, &m->start,
		      &m->end, &m->offset, &dev_major, &dev_minor, &inode) == 6 &&
	       inode == st->st_ino && dev_major == major(st->st_dev) &&
	       dev_minor == minor(st->st_dev);
}

int maps_find(const char *maps, const struct stat *st, uint64_t bytes, uint64_t *va, struct err *e)
{
	uint64_t start = 0, seen = 0;

	for (const char *line = maps; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		struct mapping m;

		if (!parse_mapping(line, st, &m))
			continue;
		if (!seen)
			start = m.start;
		if (m.offset != seen || m.start != start + seen || m.end <= m.start)
			return err_set(e, EINVAL,
				       "QEMU did not map guest memory in one piece; remove what "
				       "changes memory from qemu_args");
		seen += m.end - m.start;
	}
	if (!seen)
		return err_set(e, ENOENT,
			       "QEMU did not map colod's memory; remove what changes memory from "
			       "qemu_args");
	if (seen != bytes)
		return err_set(e, EINVAL, "QEMU mapped %" PRIu64 " of %" PRIu64 " bytes of memory",
			       seen, bytes);
	*va = start;
	return 0;
}

int maps_find_in(pid_t pid, int fd, uint64_t bytes, uint64_t *va, struct err *e)
{
	autofree char *maps = NULL;
	struct stat st;
	char path[32];
	int r;

	if (fstat(fd, &st))
		return err_errno(e, errno, "guest memory");
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	r = io_read_file(path, &maps, e);
	return r ? r : maps_find(maps, &st, bytes, va, e);
}
