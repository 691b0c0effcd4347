// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of colo-ctl: options anywhere, one command, its arguments. */
#include "colo-ctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_DEFAULT_S   60
#define TIMEOUT_MAX_S       86400
#define INTERVAL_DEFAULT_MS 1000
#define INTERVAL_MIN_MS     20
#define INTERVAL_MAX_MS     3600000

const char ctl_usage[] =
	"usage: colo-ctl [--socket PATH | --name NAME] [--timeout S] [--json] COMMAND\n"
	"\n"
	"  status                   what the daemon is doing\n"
	"  watch [--interval MS] [--count N]\n"
	"                           the same, live\n"
	"  checkpoint               make a checkpoint now and wait for its commit\n"
	"  failover [--force]       change roles in order; --force: go live here without the peer\n"
	"  mode colo|periodic|auto|on-demand\n"
	"                           when checkpoints are made and output is released\n"
	"  set KEY VALUE            change a key of colod.conf(5) until the daemon ends\n"
	"  verify                   compare all guest memory of both hosts\n"
	"  mismatches [-n N] [--pcap FILE]\n"
	"                           the last differences in the two guests' output; --pcap: write\n"
	"                           their packets to FILE\n"
	"  flows [-n N]             connections of the guest that are compared\n"
	"  pause                    stop replicating until recover; the guest's output is held\n"
	"  recover [--address HOST:PORT]\n"
	"                           look for the secondary again, at this address first\n"
	"  upgrade                  start the daemon anew from its file; the guest runs on\n"
	"  stop                     end the protected guest on both hosts\n"
	"\n"
	"  --socket PATH            control socket of the daemon\n"
	"  --name NAME              short for --socket /run/colod/NAME.sock; without either, the "
	"only\n"
	"                           socket in /run/colod\n"
	"  --timeout S              how long to wait for an answer, default 60 s\n"
	"  --json                   print the daemon's answer as it came\n"
	"  --version, --help\n";

enum {
	OPT_SOCKET = 256,
	OPT_NAME,
	OPT_TIMEOUT,
	OPT_JSON,
	OPT_FORCE,
	OPT_INTERVAL,
	OPT_COUNT,
	OPT_PCAP,
	OPT_ADDRESS,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"name", required_argument, NULL, OPT_NAME},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"json", no_argument, NULL, OPT_JSON},
	{"force", no_argument, NULL, OPT_FORCE},
	{"interval", required_argument, NULL, OPT_INTERVAL},
	{"count", required_argument, NULL, OPT_COUNT},
	{"pcap", required_argument, NULL, OPT_PCAP},
	{"address", required_argument, NULL, OPT_ADDRESS},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{},
};

static const struct command {
	const char *name;
	enum ctl_cmd cmd;
	int n_args;
	const char *args; /* for messages */
} commands[] = {
	{"status", CTL_STATUS, 0, ""},
	{"watch", CTL_WATCH, 0, ""},
	{"checkpoint", CTL_CHECKPOINT, 0, ""},
	{"failover", CTL_FAILOVER, 0, ""},
	{"mode", CTL_MODE, 1, " colo|periodic|auto|on-demand"},
	{"set", CTL_SET, 2, " KEY VALUE"},
	{"verify", CTL_VERIFY, 0, ""},
	{"mismatches", CTL_MISMATCHES, 0, ""},
	{"flows", CTL_FLOWS, 0, ""},
	{"pause", CTL_PAUSE, 0, ""},
	{"recover", CTL_RECOVER, 0, ""},
	{"upgrade", CTL_UPGRADE, 0, ""},
	{"stop", CTL_STOP, 0, ""},
};

static int parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
			uint64_t *out, struct err *e)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || *out < min || *out > max)
		return err_set(e, EINVAL, "%s takes a number from %llu to %llu, not \"%s\"", what,
			       (unsigned long long)min, (unsigned long long)max, text);
	return 0;
}

/* Options that only make sense with some commands, as given. */
struct seen {
	bool force, interval, count, pcap, address;
};

static int apply_option(struct ctl_options *o, struct seen *seen, int opt, struct err *e)
{
	uint64_t n;
	int r = 0;

	switch (opt) {
	case OPT_SOCKET:
		o->socket = optarg;
		break;
	case OPT_NAME:
		o->name = optarg;
		break;
	case OPT_TIMEOUT:
		r = parse_number("--timeout", optarg, 1, TIMEOUT_MAX_S, &n, e);
		o->timeout_ms = (uint32_t)n * 1000;
		break;
	case OPT_JSON:
		o->json = true;
		break;
	case OPT_FORCE:
		o->force = seen->force = true;
		break;
	case OPT_INTERVAL:
		r = parse_number("--interval", optarg, INTERVAL_MIN_MS, INTERVAL_MAX_MS, &n, e);
		o->interval_ms = (uint32_t)n;
		seen->interval = true;
		break;
	case 'n':
	case OPT_COUNT:
		r = parse_number("--count", optarg, 1, UINT32_MAX, &o->count, e);
		seen->count = true;
		break;
	case OPT_PCAP:
		o->pcap = optarg;
		seen->pcap = true;
		break;
	case OPT_ADDRESS:
		o->address = optarg;
		seen->address = true;
		break;
	case OPT_VERSION:
		o->cmd = CTL_VERSION;
		break;
	case OPT_HELP:
		o->cmd = CTL_HELP;
		break;
	}
	return r;
}

static int find_command(struct ctl_options *o, int argc, char **argv, struct err *e)
{
	if (argc < 1)
		return err_set(e, EINVAL, "no command given");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(argv[0], c->name) != 0)
			continue;
		if (argc - 1 != c->n_args)
			return err_set(e, EINVAL, "usage: colo-ctl %s%s", c->name, c->args);
		o->cmd = c->cmd;
		for (int a = 0; a < c->n_args; a++)
			o->args[a] = argv[1 + a];
		return 0;
	}
	return err_set(e, EINVAL, "unknown command \"%s\"", argv[0]);
}

static bool is_mode(const char *word)
{
	static const char *const modes[] = {"colo", "periodic", "auto", "on-demand"};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i], word))
			return true;
	return false;
}

static int check_together(const struct ctl_options *o, const struct seen *seen, struct err *e)
{
	if (o->socket && o->name)
		return err_set(e, EINVAL, "--socket and --name exclude each other");
	if (o->name && (!o->name[0] || strchr(o->name, '/')))
		return err_set(e, EINVAL,
			       "--name takes the name of a guest; a path goes with --socket");
	if (seen->force && o->cmd != CTL_FAILOVER)
		return err_set(e, EINVAL, "--force goes with failover only");
	if (seen->interval && o->cmd != CTL_WATCH)
		return err_set(e, EINVAL, "--interval goes with watch only");
	if (seen->count && o->cmd != CTL_WATCH && o->cmd != CTL_MISMATCHES && o->cmd != CTL_FLOWS)
		return err_set(e, EINVAL, "--count goes with watch, mismatches and flows only");
	if (seen->address && o->cmd != CTL_RECOVER)
		return err_set(e, EINVAL, "--address goes with recover only");
	if (seen->pcap && !o->pcap[0])
		return err_set(e, EINVAL, "--pcap takes the name of a file");
	if (seen->pcap && o->cmd != CTL_MISMATCHES)
		return err_set(e, EINVAL, "--pcap goes with mismatches only");
	if (o->cmd == CTL_MODE && !is_mode(o->args[0]))
		return err_set(e, EINVAL, "mode is colo, periodic, auto or on-demand, not \"%s\"",
			       o->args[0]);
	return 0;
}

int ctl_options_parse(struct ctl_options *o, int argc, char **argv, struct err *e)
{
	struct seen seen = {};
	int opt, r = 0;

	*o = (struct ctl_options){.cmd = CTL_STATUS,
				  .timeout_ms = TIMEOUT_DEFAULT_S * 1000,
				  .interval_ms = INTERVAL_DEFAULT_MS};
	optind = 0; /* start over: getopt_long(3), glibc */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":n:", long_options, NULL)) != -1) {
		if (opt == ':')
			return err_set(e, EINVAL, "%s needs a value", argv[optind - 1]);
		if (opt == '?')
			return err_set(e, EINVAL, "unknown option %s", argv[optind - 1]);
		r = apply_option(o, &seen, opt, e);
		if (r || o->cmd == CTL_HELP || o->cmd == CTL_VERSION)
			return r;
	}
	r = find_command(o, argc - optind, argv + optind, e);
	return r ? r : check_together(o, &seen, e);
}

static const char *request_name(enum ctl_cmd cmd)
{
	if (cmd == CTL_WATCH)
		return "status";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].cmd == cmd)
			return commands[i].name;
	return "";
}

static void add_count(struct json_object *rq, const struct ctl_options *o)
{
	if (o->count)
		json_object_object_add(rq, "count", json_object_new_uint64(o->count));
}

struct json_object *ctl_request(const struct ctl_options *o)
{
	struct json_object *rq = json_object_new_object();

	if (!rq)
		return NULL;
	json_object_object_add(rq, "cmd", json_object_new_string(request_name(o->cmd)));
	switch (o->cmd) {
	case CTL_FAILOVER:
		json_object_object_add(rq, "force", json_object_new_boolean(o->force));
		break;
	case CTL_MODE:
		json_object_object_add(rq, "mode", json_object_new_string(o->args[0]));
		break;
	case CTL_SET:
		json_object_object_add(rq, "key", json_object_new_string(o->args[0]));
		json_object_object_add(rq, "value", json_object_new_string(o->args[1]));
		break;
	case CTL_RECOVER:
		if (o->address)
			json_object_object_add(rq, "address", json_object_new_string(o->address));
		break;
	case CTL_MISMATCHES:
		if (o->pcap)
			json_object_object_add(rq, "packets", json_object_new_boolean(true));
		add_count(rq, o);
		break;
	case CTL_FLOWS:
		add_count(rq, o);
		break;
	default:
		break;
	}
	return rq;
}
