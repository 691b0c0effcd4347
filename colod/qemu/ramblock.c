// SPDX-License-Identifier: GPL-2.0-or-later
/* RAM blocks of a running QEMU: only main memory may be writable, since only it is replicated. */
#include "colod/qemu/ramblock.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS     " \t\r"
#define MAX_FIELDS 24

/* Blocks that the guest cannot write, for a QEMU that does not say so itself; names as seen with
 * the machines pc and q35 of QEMU 7.2 and 10.0, which shows all of them as "ro". With other
 * machines pc.bios and pc.rom may be writable: check_machine() refuses those. */
static const struct {
	const char *name, *why;
} read_only_blocks[] = {
	{"pc.bios", "the firmware's image"},
	{"pc.rom", "shadow area of option ROMs"},
	/* The firmware reads these once while it boots; QEMU makes their content anew from its
	 * configuration at the first read after each reset. */
	{"/rom@*", "files for the firmware: ACPI tables and their loader script"},
	{"*/*.rom", "option ROM of a PCI device"},
};

/* What is known to have writable memory of its own. */
static const struct {
	const char *name, *owner, *advice;
} writable_blocks[] = {
	{"*@(vga.vram|vga_vram|qxl*|*vmsvga*|bochs-display-vram)", "video memory",
	 "use -vga none and no display device"},
	{"system.flash*", "flash memory of the firmware", "give the firmware with -bios"},
	{"tpm*", "a TPM", "remove the device"},
	{"*ivshmem*", "memory shared with another process", "remove the device"},
	{"pc.ram", "main memory that colod did not provide",
	 "remove what sets the guest's memory from qemu_args"},
};

/* Cut @line (a copy) into at most MAX_FIELDS fields. */
static size_t split_fields(char *line, char **field)
{
	size_t n = 0;
	char *state;

	for (char *f = strtok_r(line, BLANKS, &state); f && n < MAX_FIELDS;
	     f = strtok_r(NULL, BLANKS, &state))
		field[n++] = f;
	return n;
}

static bool is_number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

static bool is_unit(const char *s)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(s, units[i]))
			return true;
	return false;
}

static bool parse_hex(const char *s, uint64_t *out)
{
	char *end;

	if (strncmp(s, "0x", 2) || strlen(s) > 18 || !s[2])
		return false;
	*out = strtoull(s + 2, &end, 16);
	return !*end && strspn(s + 2, "0123456789abcdefABCDEF") == strlen(s + 2);
}

/* Where the page size stands: behind a name that may hold blanks, before three hex numbers. */
static size_t find_page_size(char **field, size_t n, struct ramblock *b)
{
	uint64_t offset;

	for (size_t i = 1; i + 4 < n; i++)
		if (is_number(field[i]) && is_unit(field[i + 1]) &&
		    parse_hex(field[i + 2], &offset) && parse_hex(field[i + 3], &b->used_bytes) &&
		    parse_hex(field[i + 4], &b->total_bytes))
			return i;
	return 0;
}

static enum ramblock_access find_access(char **field, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(field[i], "ro"))
			return RAMBLOCK_READ_ONLY;
		if (!strcmp(field[i], "rw"))
			return RAMBLOCK_WRITABLE;
	}
	return RAMBLOCK_UNSAID;
}

static int unknown_form(const char *line, size_t len, struct err *e)
{
	return err_set(e, EPROTO,
		       "QEMU lists its memory in a form that this colod does not know: \"%.*s\"; "
		       "use QEMU 7.2 to 10.0",
		       (int)MIN(len, 80), line);
}

int ramblock_parse_line(struct ramblock *b, const char *line, size_t len, struct err *e)
{
	char copy[512], *field[MAX_FIELDS];
	size_t n, at, name_len;

	if (len >= sizeof(copy))
		return unknown_form(line, len, e);
	memcpy(copy, line, len);
	copy[len] = 0;
	n = split_fields(copy, field);
	if (!n || (n > 1 && !strcmp(field[0], "Block") && !strcmp(field[1], "Name")))
		return -ENOENT;
	at = find_page_size(field, n, b);
	if (!at)
		return unknown_form(line, len, e);
	/* From the original, so that blanks inside the name survive. */
	line += field[0] - copy;
	name_len = (size_t)(field[at - 1] - field[0]) + strlen(field[at - 1]);
	if (name_len >= sizeof(b->name))
		return unknown_form(line, name_len, e);
	memcpy(b->name, line, name_len);
	b->name[name_len] = 0;
	b->access = find_access(field + at + 5, n - at - 5);
	return 0;
}

static bool is_read_only(const struct ramblock *b)
{
	if (b->access != RAMBLOCK_UNSAID)
		return b->access == RAMBLOCK_READ_ONLY;
	for (size_t i = 0; i < ARRAY_SIZE(read_only_blocks); i++)
		if (!fnmatch(read_only_blocks[i].name, b->name, FNM_EXTMATCH))
			return true;
	return false;
}

static int refuse_block(const struct ramblock *b, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(writable_blocks); i++)
		if (!fnmatch(writable_blocks[i].name, b->name, FNM_EXTMATCH))
			return err_set(e, ENOTSUP,
				       "memory block \"%s\" (%s) is writable and would not be "
				       "replicated; %s",
				       b->name, writable_blocks[i].owner,
				       writable_blocks[i].advice);
	return err_set(e, ENOTSUP,
		       "memory block \"%s\" is writable and would not be replicated; remove the "
		       "device that has it (a PCI device's address stands before the slash)",
		       b->name);
}

/* The next line that holds a block: 1, 0 at the end, or an error. */
static int next_block(const char **text, struct ramblock *b, struct err *e)
{
	while (**text) {
		const char *line = *text;
		size_t len = strcspn(line, "\n");
		int r = ramblock_parse_line(b, line, len, e);

		*text = line + len + (line[len] == '\n');
		if (r != -ENOENT)
			return r ? r : 1;
	}
	return 0;
}

int ramblock_check(const char *list, uint64_t ram_bytes, struct err *e)
{
	bool found = false;
	struct ramblock b;
	int r;

	while ((r = next_block(&list, &b, e)) > 0) {
		if (!strcmp(b.name, RAMBLOCK_MAIN)) {
			if (b.total_bytes != ram_bytes)
				return err_set(
					e, EINVAL,
					"QEMU gives the guest %llu bytes instead of the %llu "
					"of the key memory",
					(unsigned long long)b.total_bytes,
					(unsigned long long)ram_bytes);
			found = true;
		} else if (!is_read_only(&b)) {
			return refuse_block(&b, e);
		}
	}
	if (r)
		return r;
	if (!found)
		return err_set(e, EINVAL,
			       "the guest does not run on colod's memory; remove what sets memory "
			       "from qemu_args");
	return 0;
}
