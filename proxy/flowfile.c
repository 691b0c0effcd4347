// SPDX-License-Identifier: GPL-2.0-or-later
/* A file of CHAN_REWRITE messages, as the packet connection has them. */
#include "proxy/flowfile.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- writing ---- */

struct chan_msg flowfile_msg(const struct flow_key *k, const struct rewrite *r, uint8_t ends)
{
	return (struct chan_msg){.type = CHAN_REWRITE,
				 .nic = k->nic,
				 .flags = ends,
				 .rewrite = {*k, r->seq_offset, r->ts_offset}};
}

struct writer {
	uint8_t *text;
	size_t used;
};

static void put(void *arg, const struct flow_key *k, const struct rewrite *r, uint8_t ends)
{
	struct chan_msg m = flowfile_msg(k, r, ends);
	struct writer *w = arg;

	w->used += chan_encode(&m, w->text + w->used);
}

int flowfile_save(const char *path, const struct rewrites *w)
{
	autofree uint8_t *text = NULL;
	struct writer writer = {};

	if (w->flows.used)
		text = malloc((size_t)w->flows.used * CHAN_ENCODE_MAX);
	if (w->flows.used && !text)
		return -ENOMEM;
	writer.text = text;
	rewrites_each(w, put, &writer);
	if (writer.used)
		return io_replace_file(path, text, writer.used);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

/* ---- reading ---- */

int flowfile_parse(const uint8_t *text, size_t len, struct rewrites *w, unsigned nic_count,
		   uint64_t now_us, struct err *e)
{
	struct chan_msg m;

	while (len) {
		ssize_t n = chan_decode(&m, text, len, e);

		if (n < 0)
			return (int)n;
		if (!n)
			return err_set(e, EPROTO, "it ends in the middle");
		if (m.type != CHAN_REWRITE || m.rewrite.key.nic >= nic_count)
			return err_set(e, EPROTO, "it holds something else than connections");
		rewrites_inherit(w, &m.rewrite.key,
				 &(struct rewrite){m.rewrite.seq_offset, m.rewrite.ts_offset},
				 m.flags, UINT64_MAX, now_us);
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int flowfile_load(const char *path, struct rewrites *w, unsigned nic_count, uint64_t now_us,
		  struct err *e)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	autofree uint8_t *text = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "cannot open %s", path);
	if (fstat(fd, &st))
		return err_errno(e, errno, "cannot read %s", path);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_errno(e, ENOMEM, "%s", path);
	r = io_read_full(fd, text, (size_t)st.st_size);
	if (r)
		return err_errno(e, -r, "cannot read %s", path);
	r = flowfile_parse(text, (size_t)st.st_size, w, nic_count, now_us, e);
	return r ? err_prefix(e, "%s", path) : 0;
}
