// SPDX-License-Identifier: GPL-2.0-or-later
/* Dirty tracking: checks of the target, slices and threads, dispatch to the mechanism. */
#include "colod/tracker/tracker.h"

#include "base/cleanup.h"
#include "colod/tracker/scan-pool.h"
#include "colod/tracker/tracker-ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

/* Slices are whole 2 MB so that no word of the bitmap belongs to two threads; below 32 MB a slice
 * takes less time than waking a thread for it. */
#define SLICE_ALIGN     (2 * MIB)
#define SLICE_MIN_BYTES (32 * MIB)

static void scan_one(void *arg, unsigned slice)
{
	struct tracker *t = arg;
	struct scan_slice *s = &t->slices[slice];

	s->rc = t->ops->scan(t, s, t->written);
}

static int check_target(const struct tracker_target *g, struct err *e)
{
	if (g->host_page_bytes != PAGE_BYTES && g->host_page_bytes != 2 * MIB)
		return err_set(e, EINVAL, "cannot track RAM on host pages of %u bytes",
			       g->host_page_bytes);
	if (!g->bytes || g->va % g->host_page_bytes || g->bytes % g->host_page_bytes ||
	    g->va + g->bytes < g->va)
		return err_set(e, EINVAL,
			       "guest RAM at 0x%" PRIx64 ", %" PRIu64
			       " bytes, is not made of whole pages of %u bytes",
			       g->va, g->bytes, g->host_page_bytes);
	return 0;
}

static int open_pagemap(struct tracker *t, struct err *e)
{
	int pid = (int)t->target.pid;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	t->pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (t->pagemap_fd < 0 && errno == ENOENT)
		return err_set(e, ESRCH, "process %d has ended", pid);
	if (t->pagemap_fd < 0)
		return err_errno(e, errno,
				 "cannot open %s: colod needs QEMU's user or CAP_SYS_PTRACE", path);
	return 0;
}

static int make_slices(struct tracker *t, struct err *e)
{
	const struct tracker_target *g = &t->target;
	/* Huge pages of one file are walked under one lock: threads only wait for each other. */
	bool huge = g->host_page_bytes != PAGE_BYTES;
	uint64_t most = MAX(g->bytes / SLICE_MIN_BYTES, 1);
	unsigned n = huge ? 1 : (unsigned)MIN(MAX(g->threads, 1u), most);
	uint64_t each = ALIGN_UP(g->bytes / n, SLICE_ALIGN);

	t->slices = calloc(n, sizeof(*t->slices));
	if (!t->slices)
		return err_errno(e, ENOMEM, "dirty tracking");
	t->nslices = n;
	for (unsigned i = 0; i < n; i++) {
		struct scan_slice *s = &t->slices[i];

		s->start = g->va + MIN(i * each, g->bytes);
		s->end = g->va + MIN((i + 1) * each, g->bytes);
		s->buf = malloc(t->ops->buf_bytes);
		if (!s->buf)
			return err_errno(e, ENOMEM, "dirty tracking");
	}
	return scan_pool_start(&t->pool, n, scan_one, t, e);
}

static int tracker_setup(struct tracker *t, struct err *e)
{
	int r = check_target(&t->target, e);

	r = r ?: open_pagemap(t, e);
	r = r ?: make_slices(t, e);
	r = r ?: t->ops->attach(t, e);
	t->attached = !r;
	return r;
}

int tracker_open(struct tracker **out, enum track_kind kind, const struct tracker_target *target,
		 struct err *e)
{
	struct tracker *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_errno(e, ENOMEM, "dirty tracking");
	/* TRACK_AUTO is for tracker_probe() to resolve; without that the best is tried. */
	t->ops = kind == TRACK_SOFT_DIRTY ? &tracker_softdirty_ops : &tracker_pagemap_ops;
	t->target = *target;
	t->pagemap_fd = t->clear_refs_fd = -1;
	r = tracker_setup(t, e);
	if (r) {
		err_prefix(e, "dirty tracking (%s)", t->ops->name);
		tracker_close(t);
		return r;
	}
	*out = t;
	return 0;
}

void tracker_close(struct tracker *t)
{
	if (!t)
		return;
	scan_pool_stop(t->pool);
	if (t->attached)
		t->ops->detach(t);
	for (unsigned i = 0; i < t->nslices; i++)
		free(t->slices[i].buf);
	free(t->slices);
	close_fd(&t->clear_refs_fd);
	close_fd(&t->pagemap_fd);
	free(t);
}

/* The pagemap file outlives the process, and a scan of a dead one may find nothing: that must not
 * read as "nothing was written". Reading entries of a dead process is an end of file. */
static int check_alive(struct tracker *t, struct err *e)
{
	off_t first = (off_t)(t->target.va >> PAGE_SHIFT) * 8;
	uint64_t entry;

	if (pread(t->pagemap_fd, &entry, sizeof(entry), first) != sizeof(entry))
		return err_set(e, ESRCH, "process %d has ended", (int)t->target.pid);
	return 0;
}

int tracker_arm(struct tracker *t, struct err *e)
{
	int r = check_alive(t, e);

	return r ?: t->ops->arm(t, e);
}

static int scan_all(struct tracker *t, struct bitmap *written, struct err *e)
{
	t->written = written;
	scan_pool_run(t->pool);
	for (unsigned i = 0; i < t->nslices; i++)
		if (t->slices[i].rc) {
			if (e)
				*e = t->slices[i].err;
			return t->slices[i].rc;
		}
	return check_alive(t, e);
}

int tracker_collect(struct tracker *t, bool stopped, struct bitmap *written, struct err *e)
{
	uint64_t npages = t->target.bytes >> PAGE_SHIFT;
	int r;

	if (written->nbits < npages)
		return err_set(e, EINVAL, "bitmap of %" PRIu64 " bits for %" PRIu64 " pages",
			       written->nbits, npages);
	r = scan_all(t, written, e);
	if (!r && stopped && t->ops->cumulative)
		r = t->ops->arm(t, e);
	/* A scan that broke off may have forgotten pages that it never reported. */
	if (r)
		bitmap_set_range(written, 0, npages);
	return r;
}

bool tracker_is_cumulative(const struct tracker *t)
{
	return t->ops->cumulative;
}

const char *tracker_name(const struct tracker *t)
{
	return t->ops->name;
}
