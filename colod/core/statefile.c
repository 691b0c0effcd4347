// SPDX-License-Identifier: GPL-2.0-or-later
/* The state file: lines of "key = value", written as a whole and read strictly. */
#include "colod/core/statefile.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD "colod-state 1"

static const char *const standing_names[STANDING_COUNT] = {
	[STANDING_STARTING] = "starting",   [STANDING_REPLICA] = "replica",
	[STANDING_ALONE] = "alone",         [STANDING_PROTECTED] = "protected",
	[STANDING_YIELDED] = "handed-over",
};

const char *standing_name(enum standing s)
{
	return standing_names[s];
}

enum role standing_role(enum standing s)
{
	return s == STANDING_REPLICA ? ROLE_SECONDARY : ROLE_PRIMARY;
}

/* ---- fields ---- */

enum field_type {
	FIELD_STANDING,
	FIELD_TRACKING,
	FIELD_BOOT_ID,
	FIELD_INT, /* -1 and up */
	FIELD_U32,
	FIELD_U64,
	FIELD_BOOL,
};

struct field {
	const char *key;
	enum field_type type;
	size_t offset;
};

#define FIELD(key_, type_)                                                                         \
	{                                                                                          \
		.key = #key_, .type = FIELD_##type_, .offset = offsetof(struct statefile, key_)    \
	}

_Static_assert(sizeof(pid_t) == sizeof(int), "qemu_pid is a FIELD_INT");

static const struct field fields[] = {
	FIELD(standing, STANDING), FIELD(boot_id, BOOT_ID),
	FIELD(qemu_pid, INT),      FIELD(qemu_started, U64),
	FIELD(ram_fd, INT),        FIELD(uffd_fd, INT),
	FIELD(memory_bytes, U64),  FIELD(memory_page_bytes, U32),
	FIELD(tracking, TRACKING), FIELD(guest_stopped, BOOL),
	FIELD(link_paused, BOOL),  FIELD(session, U64),
	FIELD(epoch, U64),
};

_Static_assert(ARRAY_SIZE(fields) < 32, "one bit for each in what was seen");

/* ---- writing ---- */

struct writer {
	char *text;
	size_t used;
};

PRINTF_LIKE(2, 3)
static void put(struct writer *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->text + w->used, STATEFILE_MAX - w->used, fmt, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < STATEFILE_MAX - w->used);
	w->used += (size_t)n;
}

static void put_field(struct writer *w, const struct statefile *s, const struct field *f)
{
	const void *at = (const char *)s + f->offset;

	put(w, "%s = ", f->key);
	switch (f->type) {
	case FIELD_STANDING:
		put(w, "%s\n", standing_name(*(const enum standing *)at));
		break;
	case FIELD_TRACKING:
		put(w, "%s\n", track_kind_name(*(const enum track_kind *)at));
		break;
	case FIELD_BOOT_ID:
		put(w, "%s\n", (const char *)at);
		break;
	case FIELD_INT:
		put(w, "%d\n", *(const int *)at);
		break;
	case FIELD_U32:
		put(w, "%" PRIu32 "\n", *(const uint32_t *)at);
		break;
	case FIELD_U64:
		put(w, "%" PRIu64 "\n", *(const uint64_t *)at);
		break;
	case FIELD_BOOL:
		put(w, "%s\n", *(const bool *)at ? "yes" : "no");
		break;
	}
}

size_t statefile_format(const struct statefile *s, char text[STATEFILE_MAX])
{
	struct writer w = {.text = text};

	put(&w, HEAD "\n");
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		put_field(&w, s, &fields[i]);
	for (unsigned i = 0; i < s->nic_count; i++) {
		const struct statefile_nic *n = &s->nics[i];

		put(&w, "nic = %s " MAC_FMT " %" PRIu32 " %d\n", n->tap, MAC_ARGS(n->mac), n->mtu,
		    n->fd);
	}
	return w.used;
}

/* ---- reading ---- */

static bool read_u64(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !*end && !errno && *out <= max;
}

static bool read_int(const char *text, int *out)
{
	uint64_t n;

	if (!strcmp(text, "-1")) {
		*out = -1;
		return true;
	}
	if (!read_u64(text, INT32_MAX, &n))
		return false;
	*out = (int)n;
	return true;
}

static bool read_u32(const char *text, uint32_t *out)
{
	uint64_t n;

	if (!read_u64(text, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool read_standing(const char *text, enum standing *out)
{
	for (enum standing s = 0; s < STANDING_COUNT; s++) {
		if (strcmp(text, standing_names[s]))
			continue;
		*out = s;
		return true;
	}
	return false;
}

static bool read_tracking(const char *text, enum track_kind *out)
{
	static const enum track_kind kinds[] = {TRACK_PAGEMAP_SCAN, TRACK_SOFT_DIRTY};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(text, track_kind_name(kinds[i])))
			continue;
		*out = kinds[i];
		return true;
	}
	return false;
}

static bool read_boot_id(const char *text, char out[40])
{
	size_t len = strlen(text);

	if (!len || len >= 40 || strspn(text, "0123456789abcdef-") != len)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

static bool read_bool(const char *text, bool *out)
{
	*out = !strcmp(text, "yes");
	return *out || !strcmp(text, "no");
}

static bool read_field(struct statefile *s, const struct field *f, const char *text)
{
	void *at = (char *)s + f->offset;

	switch (f->type) {
	case FIELD_STANDING:
		return read_standing(text, at);
	case FIELD_TRACKING:
		return read_tracking(text, at);
	case FIELD_BOOT_ID:
		return read_boot_id(text, at);
	case FIELD_INT:
		return read_int(text, at);
	case FIELD_U32:
		return read_u32(text, at);
	case FIELD_U64:
		return read_u64(text, UINT64_MAX, at);
	case FIELD_BOOL:
		return read_bool(text, at);
	}
	return false;
}

static bool read_nic(struct statefile *s, const char *text)
{
	struct statefile_nic *n = &s->nics[s->nic_count];
	unsigned mac[6];
	char mtu[12], fd[12];
	int end = 0;

	if (s->nic_count == CONFIG_MAX_NICS ||
	    sscanf(text, "%15s %2x:%2x:%2x:%2x:%2x:%2x %11s %11s%n", n->tap, &mac[0], &mac[1],
		   &mac[2], &mac[3], &mac[4], &mac[5], mtu, fd, &end) != 9 ||
	    text[end] || !read_u32(mtu, &n->mtu) || !read_int(fd, &n->fd) || n->fd < 0)
		return false;
	for (int i = 0; i < 6; i++)
		n->mac[i] = (uint8_t)mac[i];
	s->nic_count++;
	return true;
}

/* A later colod may have more keys; what this one does not know it does not need. */
static int read_line(struct statefile *s, char *line, uint32_t *seen, struct err *e)
{
	char *value = strstr(line, " = ");
	bool good = value;

	if (value) {
		*value = 0;
		value += 3;
	}
	for (size_t i = 0; good && i < ARRAY_SIZE(fields); i++) {
		if (strcmp(line, fields[i].key))
			continue;
		good = !(*seen & BIT(i)) && read_field(s, &fields[i], value);
		*seen |= BIT(i);
	}
	if (good && !strcmp(line, "nic"))
		good = read_nic(s, value);
	return good ? 0 : err_set(e, EINVAL, "\"%.60s\" makes no sense", line);
}

static int check_whole(const struct statefile *s, uint32_t seen, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!(seen & BIT(i)))
			return err_set(e, EINVAL, "\"%s\" is missing", fields[i].key);
	if (s->qemu_pid <= 1 || s->ram_fd < 0)
		return err_set(e, EINVAL, "it names no process");
	return 0;
}

int statefile_parse(struct statefile *s, const char *text, struct err *e)
{
	char copy[STATEFILE_MAX], *line, *state;
	size_t len = strlen(text);
	uint32_t seen = 0;
	int r = 0;

	*s = (struct statefile){};
	if (len >= sizeof(copy))
		return err_set(e, EINVAL, "it is too long");
	memcpy(copy, text, len + 1);
	line = strtok_r(copy, "\n", &state);
	if (!line || strcmp(line, HEAD))
		return err_set(e, EINVAL, "it does not begin with \"" HEAD "\"");
	while (!r && (line = strtok_r(NULL, "\n", &state)))
		r = read_line(s, line, &seen, e);
	return r ? r : check_whole(s, seen, e);
}

/* ---- comparing ---- */

int statefile_fits(const struct statefile *s, const struct config *c, struct err *e)
{
	if (s->memory_bytes != c->memory_bytes)
		return err_set(e, EINVAL,
			       "memory: the running QEMU has %" PRIu64
			       " MB, the configuration says "
			       "%" PRIu64,
			       s->memory_bytes / MIB, c->memory_bytes / MIB);
	if (s->memory_page_bytes != c->memory_page_bytes)
		return err_set(e, EINVAL,
			       "memory_page_size: the running QEMU has %" PRIu32
			       " bytes, the configuration says %" PRIu32,
			       s->memory_page_bytes, c->memory_page_bytes);
	if (s->nic_count != c->nic_count)
		return err_set(e, EINVAL,
			       "nic: the running QEMU has %u cards, the configuration names %u",
			       s->nic_count, c->nic_count);
	for (unsigned i = 0; i < s->nic_count; i++)
		if (strcmp(s->nics[i].tap, c->nics[i].tap) ||
		    memcmp(s->nics[i].mac, c->nics[i].mac, 6))
			return err_set(e, EINVAL,
				       "nic %u: the running QEMU has tap=%s mac=" MAC_FMT
				       ", the configuration says tap=%s mac=" MAC_FMT,
				       i, s->nics[i].tap, MAC_ARGS(s->nics[i].mac), c->nics[i].tap,
				       MAC_ARGS(c->nics[i].mac));
	return 0;
}
