// SPDX-License-Identifier: GPL-2.0-or-later
/* Taking over a running QEMU: is it the one, its descriptors, its monitor. */
#include "colod/qemu/qemu-adopt.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/qemu/qemu-priv.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>

#define END_MS 10000

/* ---- the process ---- */

void process_boot_id(char id[40])
{
	autofree char *text = NULL;

	id[0] = 0;
	if (!io_read_file("/proc/sys/kernel/random/boot_id", &text, NULL))
		snprintf(id, 40, "%.*s", (int)strcspn(text, "\n"), text);
}

int process_started(pid_t pid, uint64_t *ticks)
{
	autofree char *text = NULL;
	char path[32];
	const char *at;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = io_read_file(path, &text, NULL);
	if (r)
		return r;
	at = strrchr(text, ')'); /* a process may be called anything */
	if (!at || sscanf(at,
			  ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			  "%*s %*s %*s %" SCNu64,
			  ticks) != 1)
		return -EPROTO;
	return 0;
}

bool qemu_has_ended(int pidfd, int wait_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, wait_ms) == 1;
}

int qemu_find(const struct statefile *s, struct err *e)
{
	autoclose int pidfd = pidfd_open(s->qemu_pid, 0);
	char boot_id[40];
	uint64_t started;
	int code = errno;

	process_boot_id(boot_id);
	if (pidfd < 0 && code != ESRCH)
		return err_errno(e, code, "cannot look for process %d", (int)s->qemu_pid);
	if (pidfd < 0 || strcmp(boot_id, s->boot_id) || process_started(s->qemu_pid, &started) ||
	    started != s->qemu_started || qemu_has_ended(pidfd, 0))
		return err_set(e, ESRCH, "QEMU (process %d) has ended", (int)s->qemu_pid);
	return steal_fd(&pidfd);
}

int qemu_end_found(int pidfd, struct err *e)
{
	if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return err_errno(e, errno, "cannot end QEMU");
	if (!qemu_has_ended(pidfd, END_MS))
		return err_set(e, ETIMEDOUT, "QEMU did not end when it was killed");
	return 0;
}

/* ---- descriptors ---- */

static int fetch(int *fd, int pidfd, int number, const char *what, struct err *e)
{
	if (*fd >= 0 || number < 0)
		return 0;
	*fd = pidfd_getfd(pidfd, number, 0);
	if (*fd < 0)
		return err_errno(e, errno, "cannot fetch %s from QEMU (its descriptor %d)", what,
				 number);
	return 0;
}

int qemu_fetch_fds(struct qemu_fds_kept *fds, const struct statefile *s, int pidfd, struct err *e)
{
	int r = fetch(&fds->ram, pidfd, s->ram_fd, "guest memory", e);

	if (!r)
		r = fetch(&fds->uffd, pidfd, s->uffd_fd, "the userfaultfd", e);
	for (unsigned i = 0; !r && i < s->nic_count; i++)
		r = fetch(&fds->taps[i], pidfd, s->nics[i].fd, s->nics[i].tap, e);
	return r;
}

/* ---- the start ---- */

static int adopt(struct qemu *q, const struct statefile *s, struct qemu_fds_kept *fds,
		 struct err *e)
{
	int r;

	q->guest.pid = s->qemu_pid;
	q->uffd.fd = steal_fd(&fds->uffd);
	r = qemu_ram_adopt(&q->ram, steal_fd(&fds->ram), q->loop, e);
	q->guest.ram = q->ram.map;
	if (!r)
		r = qemu_setup_files(&q->guest, e);
	if (!r)
		r = qemu_connect(q, e);
	return r ? r : qemu_watch(q, e);
}

int qemu_adopt(struct qemu **out, struct loop *l, const struct config *c, const struct statefile *s,
	       int pidfd, struct qemu_fds_kept *fds, const struct qemu_handlers *h, void *arg,
	       struct err *e)
{
	struct qemu *q;
	int r = qemu_new(&q, l, c, h, arg, e);

	if (r) {
		close_fd(&pidfd);
		close_fd(&fds->ram);
		close_fd(&fds->uffd);
		return r;
	}
	q->adopted = true;
	q->pidfd = pidfd;
	r = adopt(q, s, fds, e);
	if (r) {
		qemu_free(q);
		return r;
	}
	qemu_await(q);
	*out = q;
	return 0;
}
