// SPDX-License-Identifier: GPL-2.0-or-later
/* Word splitting agrees with the shell and refuses what a shell would wait for. */
#include "colod/core/words.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The words of @text, each in brackets. */
static void expect(const char *text, const char *want)
{
	char got[512] = "";
	struct err e = {};
	char **v = NULL;

	assert_int_equal(words_split(&v, text, &e), 0);
	for (char **p = v; *p; p++) {
		size_t used = strlen(got);

		snprintf(got + used, sizeof(got) - used, "[%s]", *p);
	}
	strv_free(v);
	assert_string_equal(got, want);
}

static void expect_refused(const char *text, const char *reason)
{
	struct err e = {};
	char **v = NULL;

	assert_int_equal(words_split(&v, text, &e), -EINVAL);
	assert_non_null(strstr(e.msg, reason));
	assert_null(v);
}

static void blanks_separate_words(void **state)
{
	(void)state;
	expect("", "");
	expect(" \t \n", "");
	expect("a", "[a]");
	expect("  -m 4G\t-smp\n2 ", "[-m][4G][-smp][2]");
}

static void single_quotes_keep_everything(void **state)
{
	(void)state;
	expect("'a b' c", "[a b][c]");
	expect("'\\\"$x`'", "[\\\"$x`]");
	expect("''", "[]");
}

static void double_quotes_keep_all_but_quoted_specials(void **state)
{
	(void)state;
	expect("\"a b\"", "[a b]");
	expect("\"a\\\"b\\\\c\\$d\\`\"", "[a\"b\\c$d`]");
	expect("\"a\\nb\"", "[a\\nb]");
	expect("\"it's\"", "[it's]");
}

static void backslash_quotes_one_character(void **state)
{
	(void)state;
	expect("a\\ b \\'c\\\\", "[a b]['c\\]");
}

static void quoted_parts_join_their_neighbours(void **state)
{
	(void)state;
	expect("-append 'a b'\"c d\"e", "[-append][a bc de]");
	expect("x'' y", "[x][y]");
}

static void nothing_is_expanded(void **state)
{
	(void)state;
	expect("$HOME * ~ `id` $(id) a;b # c", "[$HOME][*][~][`id`][$(id)][a;b][#][c]");
}

static void open_ends_are_refused(void **state)
{
	(void)state;
	expect_refused("a 'b", "single quote");
	expect_refused("\"a", "double quote");
	expect_refused("\"a\\", "double quote");
	expect_refused("\"a\\\"", "double quote");
	expect_refused("a\\", "backslash");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blanks_separate_words),
		cmocka_unit_test(single_quotes_keep_everything),
		cmocka_unit_test(double_quotes_keep_all_but_quoted_specials),
		cmocka_unit_test(backslash_quotes_one_character),
		cmocka_unit_test(quoted_parts_join_their_neighbours),
		cmocka_unit_test(nothing_is_expanded),
		cmocka_unit_test(open_ends_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
