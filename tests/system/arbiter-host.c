// SPDX-License-Identifier: GPL-2.0-or-later
/* One host's arbiter without a guest: commands come in on standard input, answers go out with their
 * time. */
#include "base/cleanup.h"
#include "colod/arbiter/arbiter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
	struct loop *loop;
	struct arbiter *arbiter;
};

/* The clock is the machine's: what two of these programs write can be put in order. */
static void say(const char *what, const char *reason)
{
	printf("%" PRIu64 " %s %s\n", clock_now_us(), what, reason);
	fflush(stdout);
}

static void on_won(void *arg)
{
	(void)arg;
	say("won", "");
}

static void on_lost(void *arg, const char *reason)
{
	(void)arg;
	say("lost", reason);
}

static void on_ended(void *arg, const char *reason)
{
	(void)arg;
	say("ended", reason);
}

static void on_unknown(void *arg, const char *reason)
{
	(void)arg;
	say("unknown", reason);
}

static void on_hold(void *arg, const char *reason)
{
	(void)arg;
	say("hold", reason);
}

static const struct arbiter_handlers handlers = {
	.won = on_won, .lost = on_lost, .ended = on_ended, .unknown = on_unknown, .hold = on_hold};

/* "claim SESSION [primary] [certain] [fresh] [force]" */
static void claim(struct program *p, const char *words)
{
	struct arbiter_claim c = {
		.session = strtoull(words, NULL, 10),
		.primary = strstr(words, "primary"),
		.certain = strstr(words, "certain"),
		.fresh = strstr(words, "fresh"),
		.force = strstr(words, "force"),
	};

	arbiter_claim(p->arbiter, &c);
}

static void command(struct program *p, char *line)
{
	char *words = line + strcspn(line, " \n");

	line[strcspn(line, "\n")] = 0;
	if (*words)
		*words++ = 0;
	if (!strcmp(line, "claim")) {
		claim(p, words);
	} else if (!strcmp(line, "share")) {
		arbiter_share(p->arbiter, strtoull(words, NULL, 10));
	} else if (!strcmp(line, "drop")) {
		arbiter_drop(p->arbiter);
	} else if (!strcmp(line, "resign")) {
		arbiter_resign(p->arbiter);
		say("flushed", arbiter_flush(p->arbiter, (unsigned)atoi(words)) ? "yes" : "no");
	} else if (!strcmp(line, "state")) {
		say("state", arbiter_state(p->arbiter));
	} else {
		say("what?", line);
	}
}

static void on_input(void *arg, int fd, uint32_t revents)
{
	struct program *p = arg;
	static char buf[512];
	static size_t len;
	ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);
	char *nl;

	(void)revents;
	if (n <= 0) {
		loop_stop(p->loop, 0);
		return;
	}
	len += (size_t)n;
	buf[len] = 0;
	while ((nl = strchr(buf, '\n'))) {
		char line[sizeof(buf)];

		*nl = 0;
		memcpy(line, buf, (size_t)(nl + 1 - buf));
		len -= (size_t)(nl + 1 - buf);
		memmove(buf, nl + 1, len + 1);
		command(p, line);
	}
}

int main(int argc, char **argv)
{
	struct program p = {};
	struct loop_src *input = NULL;
	struct config c;
	struct err e;

	if (argc != 2 || config_load(&c, argv[1], &e) || loop_new(&p.loop, &e) ||
	    arbiter_new(&p.arbiter, p.loop, &c, &handlers, &p, &e) ||
	    loop_add_io(p.loop, &input, STDIN_FILENO, EPOLLIN, on_input, &p)) {
		fprintf(stderr, "arbiter-host: %s\n", argc == 2 ? err_msg(&e) : "CONFIG is needed");
		return EXIT_FAILURE;
	}
	say("ready", "");
	loop_run(p.loop);
	loop_src_free(&input);
	arbiter_free(p.arbiter);
	loop_free(p.loop);
	config_destroy(&c);
	return EXIT_SUCCESS;
}
