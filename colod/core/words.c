// SPDX-License-Identifier: GPL-2.0-or-later
/* Shell-like word splitting: one pass, one scratch buffer, no expansion. */
#include "colod/core/words.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int strv_append(char ***v, size_t *n, const char *s)
{
	char **bigger = realloc(*v, (*n + 2) * sizeof(**v));

	if (!bigger)
		return -ENOMEM;
	*v = bigger;
	bigger[*n] = strdup(s);
	if (!bigger[*n])
		return -ENOMEM;
	bigger[++*n] = NULL;
	return 0;
}

void strv_free(char **v)
{
	if (!v)
		return;
	for (char **p = v; *p; p++)
		free(*p);
	free(v);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Copy the inside of '...'; *p is behind the opening quote and ends behind the closing one. */
static int take_single(const char **p, char **w, struct err *e)
{
	const char *end = strchr(*p, '\'');

	if (!end)
		return err_set(e, EINVAL, "a single quote (') is not closed");
	memcpy(*w, *p, (size_t)(end - *p));
	*w += end - *p;
	*p = end + 1;
	return 0;
}

/* In "..." a backslash quotes only these; before anything else it stands for itself. */
static bool is_special_in_double(char c)
{
	return c == '$' || c == '`' || c == '"' || c == '\\';
}

static int take_double(const char **p, char **w, struct err *e)
{
	for (; **p != '"'; (*p)++) {
		if (**p == '\\' && is_special_in_double((*p)[1]))
			(*p)++;
		if (!**p)
			return err_set(e, EINVAL, "a double quote (\") is not closed");
		*(*w)++ = **p;
	}
	(*p)++;
	return 0;
}

static int take_backslash(const char **p, char **w, struct err *e)
{
	if (!**p)
		return err_set(e, EINVAL, "there is nothing behind the last backslash");
	*(*w)++ = *(*p)++;
	return 0;
}

/* One word from *p, which stands on its first character, to @w. */
static int take_word(const char **p, char *w, struct err *e)
{
	int r = 0;

	while (!r && **p && !is_blank(**p)) {
		char c = *(*p)++;

		if (c == '\'')
			r = take_single(p, &w, e);
		else if (c == '"')
			r = take_double(p, &w, e);
		else if (c == '\\')
			r = take_backslash(p, &w, e);
		else
			*w++ = c;
	}
	*w = 0;
	return r;
}

int words_split(char ***out, const char *text, struct err *e)
{
	_cleanup_(cleanup_strv) char **v = calloc(1, sizeof(*v));
	autofree char *word = malloc(strlen(text) + 1);
	size_t n = 0;
	int r;

	if (!v || !word)
		return err_errno(e, ENOMEM, "splitting into words");
	for (;;) {
		while (is_blank(*text))
			text++;
		if (!*text)
			break;
		r = take_word(&text, word, e);
		if (r)
			return r;
		if (strv_append(&v, &n, word))
			return err_errno(e, ENOMEM, "splitting into words");
	}
	*out = steal_ptr(&v);
	return 0;
}
