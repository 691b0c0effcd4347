// SPDX-License-Identifier: GPL-2.0-or-later
/* The secondary's journal as a file, and how an epoch gets through it onto the disks. */
#include "colod/disk/journal-file-priv.h"

#include "base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <xxhash.h>

#define BUF_BYTES (16 * KIB)

_Static_assert(BUF_BYTES >= JOURNAL_MARK_BYTES, "a mark fits");
_Static_assert(BUF_BYTES >= JOURNAL_HEAD_BYTES, "a head fits");

static int check_disk_size(const struct journal_target *t, struct err *e)
{
	off_t bytes = lseek(t->fd, 0, SEEK_END);

	if (bytes < 0)
		return err_errno(e, errno, "cannot find the size of %s", t->id.identity);
	if ((uint64_t)bytes != t->id.bytes)
		return err_set(e, EINVAL, "%s has %jd bytes, not %" PRIu64, t->id.identity,
			       (intmax_t)bytes, t->id.bytes);
	return 0;
}

/* So that the file is found again after a loss of power. */
static int sync_folder(const char *path)
{
	autofree char *copy = strdup(path);
	autoclose int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? -errno : 0;
}

static int open_file(struct journal_file *j, const char *path, struct err *e)
{
	struct stat st;

	j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->fd < 0)
		return err_errno(e, errno, "cannot open %s", path);
	if (fstat(j->fd, &st) || !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is no regular file", path);
	if (flock(j->fd, LOCK_EX | LOCK_NB))
		return err_set(e, EBUSY, "%s is in use by another process", path);
	if (j->sync == JOURNAL_SYNC_ALWAYS) {
		int r = sync_folder(path);

		if (r)
			return err_errno(e, -r, "cannot sync the folder of %s", path);
	}
	return 0;
}

int journal_open(struct journal_file *j, const char *path, enum journal_sync sync,
		 const struct journal_target *disks, uint32_t ndisks, struct err *e)
{
	int r = 0;

	assert(ndisks && ndisks <= DISKS_MAX);
	*j = (struct journal_file){.fd = -1, .sync = sync, .ndisks = ndisks};
	memcpy(j->disks, disks, ndisks * sizeof(*disks));
	for (uint32_t i = 0; i < ndisks && !r; i++)
		r = check_disk_size(&j->disks[i], e);
	if (!r)
		r = open_file(j, path, e);
	j->buf = malloc(BUF_BYTES);
	j->hash = XXH3_createState();
	if (!r && (!j->buf || !j->hash))
		r = err_errno(e, ENOMEM, "journal");
	if (r)
		journal_close(j);
	return r;
}

void journal_close(struct journal_file *j)
{
	free(steal_ptr(&j->buf));
	XXH3_freeState(steal_ptr(&j->hash));
	close_fd(&j->fd);
}

static int sync_fd(const struct journal_file *j, int fd)
{
	if (j->sync == JOURNAL_SYNC_NEVER)
		return 0;
	write_hook_call(&j->hook);
	return fdatasync(fd) ? -errno : 0;
}

/* A record on its way into the file, hashed as it goes. */
struct record_out {
	struct disk_writer w;
	XXH3_state_t *hash;
	uint64_t at;
};

static int out(struct record_out *o, const uint8_t *bytes, uint64_t len)
{
	int r = disk_writer_put(&o->w, EXTENT_DATA, o->at, len, bytes);

	o->at += len;
	return r;
}

static int out_hashed(struct record_out *o, const uint8_t *bytes, uint64_t len)
{
	XXH3_64bits_update(o->hash, bytes, len);
	return out(o, bytes, len);
}

/* All that is in buf from @buf on goes out, as it is used again then. */
static int out_buf(struct record_out *o, const uint8_t *buf, size_t len)
{
	return !len ? 0 : out_hashed(o, buf, len) ?: disk_writer_flush(&o->w);
}

static int out_entries(struct record_out *o, uint8_t *buf, const struct extents *maps,
		       uint32_t ndisks)
{
	size_t filled = 0;

	for (uint32_t i = 0; i < ndisks; i++)
		for (struct extent *x = extents_at(&maps[i], 0); x; x = extents_next(x)) {
			struct journal_entry entry = {x->offset, x->len, i, x->kind, NULL};
			int r = 0;

			journal_encode_entry(&entry, buf + filled);
			filled += JOURNAL_ENTRY_BYTES;
			if (filled + JOURNAL_ENTRY_BYTES > BUF_BYTES) {
				r = out_buf(o, buf, filled);
				filled = 0;
			}
			if (r)
				return r;
		}
	return out_buf(o, buf, filled);
}

static int out_data(struct record_out *o, const struct extents *maps, uint32_t ndisks)
{
	for (uint32_t i = 0; i < ndisks; i++)
		for (struct extent *x = extents_at(&maps[i], 0); x; x = extents_next(x)) {
			int r = x->kind == EXTENT_DATA ? out_hashed(o, x->data, x->len) : 0;

			if (r)
				return r;
		}
	return 0;
}

static int out_seal(struct record_out *o, const struct journal_head *h, uint64_t *checksum)
{
	uint8_t seal[JOURNAL_SEAL_BYTES];

	journal_encode_seal(h, seal);
	XXH3_64bits_update(o->hash, seal, JOURNAL_SEALED_BYTES);
	*checksum = XXH3_64bits_digest(o->hash);
	journal_encode_checksum(*checksum, seal);
	return out(o, seal, sizeof(seal)) ?: disk_writer_flush(&o->w);
}

static int write_record(struct journal_file *j, const struct journal_head *h,
			const struct extents *maps)
{
	struct record_out o = {.at = JOURNAL_MARK_BYTES, .hash = j->hash};
	int r;

	disk_writer_init(&o.w, j->fd, &j->hook);
	XXH3_64bits_reset(o.hash);
	journal_encode_head(h, j->buf);
	r = out_buf(&o, j->buf, JOURNAL_HEAD_BYTES);
	if (!r)
		r = out_entries(&o, j->buf, maps, j->ndisks);
	if (!r)
		r = out_data(&o, maps, j->ndisks);
	if (!r)
		r = out_seal(&o, h, &j->record.checksum);
	return r ?: sync_fd(j, j->fd);
}

static int fill_head(const struct journal_file *j, struct journal_head *h,
		     const struct extents *maps, struct err *e)
{
	h->ndisks = j->ndisks;
	for (uint32_t i = 0; i < j->ndisks; i++) {
		struct extent *x = extents_at(&maps[i], 0);

		h->disks[i] = j->disks[i].id;
		h->extents += maps[i].count;
		for (; x; x = extents_next(x)) {
			if (extent_end(x) > h->disks[i].bytes)
				return err_set(e, EINVAL, "the epoch writes beyond the end of %s",
					       h->disks[i].identity);
			h->data_bytes += x->kind == EXTENT_DATA ? x->len : 0;
		}
	}
	return 0;
}

int journal_write(struct journal_file *j, uint64_t session, uint64_t epoch,
		  const struct extents *maps, struct err *e)
{
	struct journal_head h = {.session = session, .epoch = epoch};
	int r = fill_head(j, &h, maps, e);

	assert(j->state == JOURNAL_IDLE);
	if (r)
		return r;
	r = h.extents ? write_record(j, &h, maps) : 0;
	if (r)
		return err_errno(e, -r, "cannot write epoch %" PRIu64 " into the disks' journal",
				 epoch);
	j->record.any = true;
	j->record.session = session;
	j->record.epoch = epoch;
	j->empty = !h.extents;
	j->state = JOURNAL_WRITTEN;
	return 0;
}

static int write_mark(struct journal_file *j, const struct journal_mark *m)
{
	struct disk_writer w;

	disk_writer_init(&w, j->fd, &j->hook);
	journal_encode_mark(m, j->buf);
	return disk_writer_put(&w, EXTENT_DATA, 0, JOURNAL_MARK_BYTES, j->buf)
		       ?: disk_writer_flush(&w);
}

/*
 * It is durable before the next record is begun: should that be torn, it tells where the disks stand.
 * After an epoch without writes they stand where they stood.
 */
int journal_set_done(struct journal_file *j, struct err *e)
{
	int r = write_mark(j, &j->record);

	if (!r && !j->empty)
		r = sync_fd(j, j->fd);
	if (r)
		return err_errno(e, -r, "cannot mark the disks' journal as done");
	j->state = JOURNAL_IDLE;
	return 0;
}

int journal_finish_disk(struct journal_file *j, struct disk_writer *w)
{
	return disk_writer_flush(w) ?: sync_fd(j, w->fd);
}

static int apply_map(struct journal_file *j, struct disk_writer *w, const struct extents *map)
{
	for (struct extent *x = extents_at(map, 0); x; x = extents_next(x)) {
		int r = disk_writer_put(w, x->kind, x->offset, x->len, x->data);

		if (r)
			return r;
	}
	return map->count ? journal_finish_disk(j, w) : 0;
}

int journal_apply(struct journal_file *j, const struct extents *maps, struct err *e)
{
	assert(j->state == JOURNAL_WRITTEN);
	for (uint32_t i = 0; i < j->ndisks; i++) {
		struct disk_writer w;
		int r;

		disk_writer_init(&w, j->disks[i].fd, &j->hook);
		r = apply_map(j, &w, &maps[i]);
		if (r)
			return err_errno(e, -r, "cannot write to %s", j->disks[i].id.identity);
	}
	return journal_set_done(j, e);
}

int journal_clear(struct journal_file *j, struct err *e)
{
	int r;

	write_hook_call(&j->hook);
	if (ftruncate(j->fd, 0))
		return err_errno(e, errno, "cannot clear the disks' journal");
	j->record = (struct journal_mark){};
	r = write_mark(j, &j->record) ?: sync_fd(j, j->fd);
	if (r)
		return err_errno(e, -r, "cannot clear the disks' journal");
	j->state = JOURNAL_IDLE;
	return 0;
}
