// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: qemu_args of any bytes, split, checked against the rules and built. */
#include "colod/core/words.h"
#include "colod/qemu/args.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(char **words)
{
	const struct qemu_fds fds = {.ram = 3, .qmp = 4};
	struct config c = {.name = "fuzz", .memory_bytes = GIB};
	struct err e = {};
	char **argv = NULL;

	c.qemu = (char[]){"qemu"};
	assert(!qemu_args_build(&argv, &c, words, &fds, &e));
	assert(!strcmp(argv[0], "qemu"));
	strv_free(argv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char **words = NULL;
	struct err e = {};

	assert(text);
	memcpy(text, data, size);
	text[size] = 0;
	if (words_split(&words, text, &e)) {
		assert(e.msg[0]);
	} else {
		if (qemu_args_check(words, &e))
			assert(!strncmp(e.msg, "qemu_args: -", 12));
		build(words);
	}
	strv_free(words);
	free(text);
	return 0;
}
