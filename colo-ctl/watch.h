/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The live view: two samples of the status make rates. Pure. */
#ifndef COLO_CTL_WATCH_H
#define COLO_CTL_WATCH_H

#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>

/**
 * watch_line() - one line for logs and pipes: words "key=value" in a fixed order.
 * watch_screen() - a few aligned lines for a terminal.
 * @prev:       the sample before, NULL for the first: rates are then unknown
 * @elapsed_us: time between the two
 */
void watch_line(FILE *out, struct json_object *prev, struct json_object *cur, uint64_t elapsed_us);
void watch_screen(FILE *out, struct json_object *prev, struct json_object *cur,
		  uint64_t elapsed_us);

/**
 * watch_redraw() - put @text over the @old_lines lines drawn before on a terminal: cursor up, each
 * line cleared to its end, what is left below cleared too (ECMA-48 CUU, EL, ED). Returns the lines
 * drawn.
 */
unsigned watch_redraw(FILE *out, const char *text, unsigned old_lines);

#endif
