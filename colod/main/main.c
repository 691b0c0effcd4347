// SPDX-License-Identifier: GPL-2.0-or-later
/* colod: the command line. Everything else is colod/daemon. */
#include "base/cleanup.h"
#include "base/log.h"
#include "colod/core/config.h"
#include "colod/core/fsm.h"
#include "colod/core/words.h"
#include "colod/daemon/daemon.h"
#include "colod/qemu/args.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>

enum {
	EXIT_CLEAN = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

static const char usage[] =
	"usage: colod --primary | --secondary --config FILE\n"
	"       colod --check-config --config FILE\n"
	"\n"
	"  --primary        start the guest here and protect it\n"
	"  --secondary      stand by for the primary's guest\n"
	"  --config FILE    configuration of the guest, colod.conf(5)\n"
	"  --check-config   read the configuration, say what is wrong with it, do nothing else\n"
	"  --dump-fsm       print the failover state machine as a Graphviz graph\n"
	"  --version, --help\n";

enum action {
	ACTION_RUN,
	ACTION_CHECK,
	ACTION_DUMP_FSM,
	ACTION_VERSION,
	ACTION_HELP,
};

struct options {
	enum action action;
	bool primary, secondary;
	const char *config;
};

static const struct option long_options[] = {
	{"primary", no_argument, NULL, 'p'},      {"secondary", no_argument, NULL, 's'},
	{"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
	{"dump-fsm", no_argument, NULL, 'd'},     {"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},         {},
};

/* -EINVAL after getopt_long() has named an unknown option itself. */
static int read_options(struct options *o, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 'p':
			o->primary = true;
			break;
		case 's':
			o->secondary = true;
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'k':
			o->action = ACTION_CHECK;
			break;
		case 'd':
			o->action = ACTION_DUMP_FSM;
			break;
		case 'v':
			o->action = ACTION_VERSION;
			return 0;
		case 'h':
			o->action = ACTION_HELP;
			return 0;
		default:
			return -EINVAL;
		}
	}
	return 0;
}

/* What is wrong with the combination, NULL when nothing is. */
static const char *options_complaint(const struct options *o, int argc)
{
	if (o->action >= ACTION_DUMP_FSM)
		return NULL;
	if (optind < argc)
		return "takes no arguments besides options";
	if (!o->config)
		return "--config FILE is missing";
	if (o->primary && o->secondary)
		return "--primary and --secondary exclude each other";
	if (o->action == ACTION_RUN && !o->primary && !o->secondary)
		return "say --primary or --secondary";
	return NULL;
}

static int fail(const struct err *e)
{
	log_err("main", "%s", err_msg(e));
	return EXIT_FAILED;
}

static int check_config(const struct config *c, const char *path, struct err *e)
{
	_cleanup_(cleanup_strv) char **words = NULL;
	int r = words_split(&words, c->qemu_args, e);

	if (!r)
		r = qemu_args_check(words, e);
	if (!r)
		r = daemon_check_config(c, e);
	if (r) {
		err_prefix(e, "%s", path);
		return fail(e);
	}
	return printf("%s: ok\n", path) < 0 ? EXIT_FAILED : EXIT_CLEAN;
}

/*
 * Signals that end colod are read by the loop; blocked here, before any thread exists. A closed
 * terminal or a client that went away must not take the protection of a guest with it.
 */
static void prepare_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

/* By its name, which may stand for a newer file by the time it is needed. */
static void find_program(struct daemon_program *p, char *const *argv)
{
	ssize_t n = readlink("/proc/self/exe", p->path, sizeof(p->path) - 1);

	p->path[MAX(n, 0)] = 0;
	p->argv = argv;
}

static int run(const struct options *o, const struct daemon_program *program)
{
	struct config c = {};
	struct err e = {};
	int code;

	if (config_load(&c, o->config, &e))
		return fail(&e);
	if (o->action == ACTION_CHECK) {
		code = check_config(&c, o->config, &e);
	} else {
		log_setup(c.name, c.log_level);
		prepare_signals();
		code = daemon_run(&c, o->primary ? ROLE_PRIMARY : ROLE_SECONDARY, program, &e)
			       ? fail(&e)
			       : EXIT_CLEAN;
	}
	config_destroy(&c);
	return code;
}

int main(int argc, char **argv)
{
	struct daemon_program program = {};
	struct options o = {};
	const char *complaint;

	find_program(&program, argv);
	if (read_options(&o, argc, argv)) {
		fputs("Try: colod --help\n", stderr);
		return EXIT_USAGE;
	}
	complaint = options_complaint(&o, argc);
	if (complaint) {
		fprintf(stderr, "colod: %s\nTry: colod --help\n", complaint);
		return EXIT_USAGE;
	}
	switch (o.action) {
	case ACTION_HELP:
		return fputs(usage, stdout) < 0;
	case ACTION_VERSION:
		return puts("colod " COLOD_VERSION) < 0;
	case ACTION_DUMP_FSM:
		fsm_dump_dot(stdout);
		return fflush(stdout) ? EXIT_FAILED : EXIT_CLEAN;
	default:
		return run(&o, &program);
	}
}
