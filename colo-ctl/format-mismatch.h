/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mismatches as text for people: what differed, with both sides' bytes. Pure. */
#ifndef COLO_CTL_FORMAT_MISMATCH_H
#define COLO_CTL_FORMAT_MISMATCH_H

#include <json-c/json.h>
#include <stdio.h>

/** format_mismatches() - the answer to "mismatches", in its order (the newest last, where the eye
 * is). */
void format_mismatches(FILE *out, struct json_object *answer);

#endif
