/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of the guest's packets, as text for people. Pure; every member may be missing. */
#ifndef COLO_CTL_FORMAT_PROXY_H
#define COLO_CTL_FORMAT_PROXY_H

#include "colo-ctl/units.h"

/** proxy_output() - one word for what becomes of this guest's output, from the member "proxy" of a
 * status: "colo", "periodic", "pass", "secondary", "silent"; "-" when it is not said. */
struct text proxy_output(struct json_object *proxy);

/** format_proxy() - the member "proxy" of a status; nothing when it is NULL. */
void format_proxy(FILE *out, struct json_object *proxy);

/** format_flows() - the answer to "flows", a line for each. */
void format_flows(FILE *out, struct json_object *answer);

#endif
