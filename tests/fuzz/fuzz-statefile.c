// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a state file of any bytes; what is understood comes back as it was written. */
#include "colod/core/statefile.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), first[STATEFILE_MAX], second[STATEFILE_MAX];
	struct statefile s;
	struct err e = {};

	assert(text);
	memcpy(text, data, size);
	text[size] = 0;
	if (statefile_parse(&s, text, &e)) {
		assert(e.msg[0]);
	} else {
		assert(s.nic_count <= CONFIG_MAX_NICS && s.standing < STANDING_COUNT);
		statefile_format(&s, first);
		assert(!statefile_parse(&s, first, &e));
		statefile_format(&s, second);
		assert(!strcmp(first, second));
	}
	free(text);
	return 0;
}
