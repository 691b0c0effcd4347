/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of colo-ctl, and the request that it stands for. Pure. */
#ifndef COLO_CTL_OPTIONS_H
#define COLO_CTL_OPTIONS_H

#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit status, documented in colo-ctl(1). */
enum ctl_exit {
	CTL_EXIT_OK = 0,
	CTL_EXIT_REFUSED = 1, /* the daemon said no, or a file could not be written */
	CTL_EXIT_USAGE = 2,
	CTL_EXIT_UNREACHABLE = 3, /* no daemon there, or no answer in time */
	CTL_EXIT_DIFFERS = 4,     /* verify found differing pages */
};

enum ctl_cmd {
	CTL_STATUS,
	CTL_WATCH,
	CTL_CHECKPOINT,
	CTL_FAILOVER,
	CTL_MODE,
	CTL_SET,
	CTL_VERIFY,
	CTL_UPGRADE,
	CTL_STOP,
	CTL_MISMATCHES,
	CTL_FLOWS,
	CTL_PAUSE,
	CTL_RECOVER,
	CTL_HELP,    /* --help */
	CTL_VERSION, /* --version */
};

/** struct ctl_options - what the user asked for; strings point into argv. */
struct ctl_options {
	enum ctl_cmd cmd;
	const char *socket; /* NULL: by name, or the only one there is */
	const char *name;
	uint32_t timeout_ms;
	uint32_t interval_ms; /* watch */
	uint64_t count;       /* watch: samples; mismatches, flows: entries; 0: all there are */
	const char *address;  /* recover: of the peer, or NULL */
	const char *pcap;     /* mismatches: capture file to write, or NULL */
	bool json, force;
	const char *args[2]; /* mode: MODE; set: KEY, VALUE */
};

/** ctl_options_parse() - -EINVAL with a reason for what makes no sense. May reorder @argv. */
int ctl_options_parse(struct ctl_options *o, int argc, char **argv, struct err *e);

/** ctl_request() - the request for the daemon, the caller's reference; NULL without memory. */
struct json_object *ctl_request(const struct ctl_options *o);

extern const char ctl_usage[];

#endif
