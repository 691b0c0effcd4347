/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What colo-ctl prints for an answer of the daemon, as a string. */
#ifndef TESTS_UNIT_CTL_PRINTED_H
#define TESTS_UNIT_CTL_PRINTED_H

#include "colo-ctl/format.h"
#include "tests/unit/unit.h"

/* The caller puts it. */
static struct json_object *json(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

/* What @cmd prints for @answer; the caller frees it. */
static char *printed(enum ctl_cmd cmd, const char *answer)
{
	struct ctl_options o = {.cmd = cmd, .args = {"period_ms", "50"}};
	struct json_object *j = json(answer);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	format_answer(out, &o, j);
	fclose(out);
	json_object_put(j);
	return text;
}

static void expect_printed(enum ctl_cmd cmd, const char *answer, const char *want)
{
	char *text = printed(cmd, answer);

	assert_string_equal(text, want);
	free(text);
}

#endif
