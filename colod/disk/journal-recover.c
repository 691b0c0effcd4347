// SPDX-License-Identifier: GPL-2.0-or-later
/* What a journal holds when it is opened: the epoch that somebody died in is finished, or was never begun. */
#include "colod/disk/journal-file-priv.h"

#include "base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int apply_record(struct journal_file *j, const struct journal_record *rec, struct err *e)
{
	struct disk_writer w[DISKS_MAX];
	struct journal_walk walk = {};
	struct journal_entry x;

	for (uint32_t i = 0; i < j->ndisks; i++)
		disk_writer_init(&w[i], j->disks[i].fd, &j->hook);
	while (journal_next(rec, &walk, &x)) {
		int r = disk_writer_put(&w[x.disk], x.kind, x.offset, x.len, x.data);

		if (r)
			return err_errno(e, -r, "cannot write to %s", j->disks[x.disk].id.identity);
	}
	for (uint32_t i = 0; i < j->ndisks; i++) {
		int r = journal_finish_disk(j, &w[i]);

		if (r)
			return err_errno(e, -r, "cannot write to %s", j->disks[i].id.identity);
	}
	return 0;
}

static int read_at(int fd, void *buf, size_t len, off_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (uint8_t *)buf + done, len - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

static int take_record(struct journal_file *j, struct journal_found *found,
		       const struct journal_mark *mark, const struct journal_record *rec,
		       struct err *e)
{
	struct journal_disk disks[DISKS_MAX];
	int r;

	j->record = (struct journal_mark){true, rec->head.session, rec->head.epoch, rec->checksum};
	if (mark->any && mark->checksum == rec->checksum) {
		j->record = *mark;
		*found = (struct journal_found){JOURNAL_DONE, mark->session, mark->epoch};
		j->state = JOURNAL_IDLE;
		return 0;
	}
	for (uint32_t i = 0; i < j->ndisks; i++)
		disks[i] = j->disks[i].id;
	r = journal_check_disks(&rec->head, disks, j->ndisks, e);
	if (r)
		return err_prefix(e,
				  "the disks' journal holds epoch %" PRIu64
				  ", which may be applied in part",
				  rec->head.epoch);
	j->state = JOURNAL_WRITTEN;
	*found = (struct journal_found){JOURNAL_REAPPLIED, rec->head.session, rec->head.epoch};
	return apply_record(j, rec, e) ?: journal_set_done(j, e);
}

/* No record, but maybe epochs that wrote nothing. */
static void set_found_mark(struct journal_file *j, struct journal_found *found,
			   const struct journal_mark *mark)
{
	if (mark->any)
		*found = (struct journal_found){JOURNAL_DONE, mark->session, mark->epoch};
	j->record = *mark;
	j->state = JOURNAL_IDLE;
}

/* The disks were not touched since the record before. */
static void set_torn(struct journal_file *j, struct journal_found *found,
		     const struct journal_mark *mark)
{
	*found = (struct journal_found){JOURNAL_TORN, mark->session, mark->epoch};
	j->record = *mark;
	j->state = JOURNAL_IDLE;
}

/* @bytes: of the file behind the mark. A file that cannot be read is not one that is torn. */
static int read_record(struct journal_file *j, struct journal_found *found,
		       const struct journal_mark *mark, uint64_t bytes, struct err *e)
{
	struct journal_record rec = {};
	uint8_t *map;
	int r;

	map = map_pages(bytes);
	if (!map)
		return err_errno(e, ENOMEM, "journal of %" PRIu64 " bytes", bytes);
	r = read_at(j->fd, map, bytes, JOURNAL_MARK_BYTES);
	if (r)
		r = err_errno(e, -r, "cannot read the disks' journal");
	else if (journal_decode(&rec, map, bytes, NULL))
		set_torn(j, found, mark);
	else
		r = take_record(j, found, mark, &rec, e);
	munmap(map, bytes);
	return r;
}

/* How much of the file the record takes, if there is one. */
static int record_bytes(struct journal_file *j, uint64_t file_bytes, uint64_t *bytes, struct err *e)
{
	struct journal_head h;
	int r;

	*bytes = file_bytes - JOURNAL_MARK_BYTES;
	if (*bytes < JOURNAL_HEAD_BYTES)
		return 0;
	r = read_at(j->fd, j->buf, JOURNAL_HEAD_BYTES, JOURNAL_MARK_BYTES);
	if (r)
		return err_errno(e, -r, "cannot read the disks' journal");
	if (journal_decode_head(&h, j->buf, NULL))
		*bytes = JOURNAL_HEAD_BYTES;
	else
		*bytes = MIN(*bytes, journal_record_bytes(&h));
	return 0;
}

int journal_recover(struct journal_file *j, struct journal_found *found, struct err *e)
{
	struct journal_mark mark = {};
	uint64_t bytes;
	struct stat st;
	int r;

	*found = (struct journal_found){.outcome = JOURNAL_NOTHING};
	if (fstat(j->fd, &st))
		return err_errno(e, errno, "disks' journal");
	if (st.st_size >= JOURNAL_MARK_BYTES) {
		r = read_at(j->fd, j->buf, JOURNAL_MARK_BYTES, 0);
		if (r)
			return err_errno(e, -r, "cannot read the disks' journal");
		if (journal_decode_mark(&mark, j->buf, e))
			return err_prefix(e, "the disks' journal cannot be read");
	}
	if (st.st_size < JOURNAL_MARK_BYTES)
		return journal_clear(j, e);
	if (st.st_size == JOURNAL_MARK_BYTES) {
		set_found_mark(j, found, &mark);
		return 0;
	}
	r = record_bytes(j, (uint64_t)st.st_size, &bytes, e);
	return r ?: read_record(j, found, &mark, bytes, e);
}
