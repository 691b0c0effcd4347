/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of the daemon as text for people. Pure; every member may be missing. */
#ifndef COLO_CTL_FORMAT_H
#define COLO_CTL_FORMAT_H

#include "colo-ctl/options.h"

#include <stdio.h>

/** format_status() - the answer to "status", one aligned line for each thing known. */
void format_status(FILE *out, struct json_object *answer);

/** format_answer() - a good answer to any command but watch. */
void format_answer(FILE *out, const struct ctl_options *o, struct json_object *answer);

/**
 * format_exit() - the exit status that @answer stands for. *reason is set when there is something
 * to complain about (the daemon's own error, as long as @answer lives) and left alone otherwise.
 */
enum ctl_exit format_exit(const struct ctl_options *o, struct json_object *answer,
			  const char **reason);

#endif
