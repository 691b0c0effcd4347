// SPDX-License-Identifier: GPL-2.0-or-later
/* Starting QEMU: its memory, its sockets, its command line, its process. */
#include "base/cleanup.h"
#include "colod/core/words.h"
#include "colod/qemu/args.h"
#include "colod/qemu/qemu-priv.h"
#include "colod/qemu/qemu-spawn.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static int build_args(char ***argv, const struct config *c, char *const *user, struct err *e)
{
	struct qemu_fds fds = {.ram = QEMU_FD_RAM, .qmp = QEMU_FD_QMP};

	for (unsigned i = 0; i < c->nic_count; i++)
		fds.taps[i] = QEMU_FD_TAP + (int)i;
	return qemu_args_build(argv, c, user, &fds, e);
}

static int launch(struct qemu *q, const struct config *c, char *const *user, const int *tap_fds,
		  struct err *e)
{
	_cleanup_(cleanup_strv) char **argv = NULL;
	autoclose int listener = -1, uffd_end = -1;
	struct qemu_spawn s;
	int r = build_args(&argv, c, user, e);

	if (!r && q->wants_uffd)
		r = qemu_uffd_await(&q->uffd, q->loop, &uffd_end, e);
	if (r)
		return r;
	listener = qmp_listen(&q->files, c, e);
	if (listener < 0)
		return listener;
	s = (struct qemu_spawn){argv, q->ram.fd, listener, uffd_end, tap_fds, c->nic_count};
	r = qemu_connect(q, e);
	if (!r)
		r = qemu_spawn(&q->guest.pid, &s, e);
	if (!r)
		r = qemu_watch(q, e);
	if (r)
		qemu_files_unlink(&q->files);
	return r;
}

/* Undo a start that failed half way: nobody will hear of this process, so wait for its end here. */
static void discard(struct qemu *q)
{
	if (q->guest.pid > 0) {
		kill(q->guest.pid, SIGKILL);
		waitpid(q->guest.pid, NULL, 0);
	}
	qemu_free(q);
}

static int start(struct qemu *q, const struct config *c, const int *tap_fds, struct err *e)
{
	_cleanup_(cleanup_strv) char **user = NULL;
	int r = words_split(&user, c->qemu_args, e);

	if (r)
		return err_prefix(e, "qemu_args");
	if (c->nic_count && !tap_fds)
		return err_set(e, EINVAL, "nic: the tap \"%s\" is not open", c->nics[0].tap);
	r = qemu_args_check(user, e);
	if (!r)
		r = qemu_ram_open(&q->ram, q->loop, e);
	q->guest.ram = q->ram.map;
	if (!r)
		r = qemu_setup_files(&q->guest, e);
	return r ? r : launch(q, c, user, tap_fds, e);
}

int qemu_start(struct qemu **out, struct loop *l, const struct config *c, enum track_kind kind,
	       const int *tap_fds, const struct qemu_handlers *h, void *arg, struct err *e)
{
	struct qemu *q;
	int r = qemu_new(&q, l, c, h, arg, e);

	if (r)
		return r;
	q->wants_uffd = kind == TRACK_PAGEMAP_SCAN;
	r = start(q, c, tap_fds, e);
	if (r) {
		discard(q);
		return r;
	}
	qemu_await(q);
	*out = q;
	return 0;
}
