// SPDX-License-Identifier: GPL-2.0-or-later
/* LD_PRELOAD library: makes a userfaultfd inside QEMU before main() and hands it to colod. */
#include "colod/core/uffd-msg.h"
#include "colod/tracker/uffd-open.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LIBRARY_NAME "colod-preload.so"

/* A userfaultfd belongs to the address space that made it, so it must be made in here; QEMU's
 * seccomp sandbox starts in main(), later than this. */

static bool entry_is_ours(const char *entry, size_t len)
{
	const size_t name = sizeof(LIBRARY_NAME) - 1;

	return len >= name && !memcmp(entry + len - name, LIBRARY_NAME, name) &&
	       (len == name || entry[len - name - 1] == '/');
}

/* Leave LD_PRELOAD (ld.so(8): separated by colons or blanks), keep the user's own entries. */
static void forget_preload(void)
{
	const char *list = getenv("LD_PRELOAD");
	size_t used = 0;
	char *kept;

	if (!list)
		return;
	kept = malloc(strlen(list) + 1);
	if (!kept)
		return;
	while (*list) {
		size_t len = strcspn(list, ": ");

		if (len && !entry_is_ours(list, len)) {
			if (used)
				kept[used++] = ':';
			memcpy(kept + used, list, len);
			used += len;
		}
		list += len;
		list += strspn(list, ": ");
	}
	kept[used] = 0;
	if (!used || setenv("LD_PRELOAD", kept, 1))
		unsetenv("LD_PRELOAD");
	free(kept);
}

static void send_result(int sock, int uffd, int error)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct preload_msg m = {.magic = PRELOAD_MSG_MAGIC, .error = (uint32_t)error};
	struct iovec iov = {.iov_base = &m, .iov_len = sizeof(m)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (uffd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &uffd, sizeof(uffd));
	}
	/* When colod is gone nobody is left to tell; QEMU must run on. */
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

__attribute__((constructor)) static void colod_preload(void)
{
	const char *value = getenv(PRELOAD_ENV);
	int uffd, error = 0;
	char *end;
	long sock;

	/* A wrapper script around QEMU passes everything on: its shell is not what we want. */
	if (!value || strncmp(program_invocation_short_name, "qemu", 4))
		return;
	sock = strtol(value, &end, 10);
	if (end != value && !*end && sock > STDERR_FILENO && sock < 1 << 20) {
		uffd = uffd_create();
		if (uffd >= 0)
			error = -uffd_enable(uffd);
		else
			error = -uffd;
		send_result((int)sock, error ? -1 : uffd, error);
		/* QEMU's own copy, for a colod that comes later: in place of the socket. */
		if (error || dup3(uffd, (int)sock, O_CLOEXEC) < 0)
			close((int)sock);
		if (uffd >= 0)
			close(uffd);
	}
	/* What QEMU starts later (network scripts, helpers) must not do this again. */
	unsetenv(PRELOAD_ENV);
	forget_preload();
}
