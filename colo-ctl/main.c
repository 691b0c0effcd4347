// SPDX-License-Identifier: GPL-2.0-or-later
/* colo-ctl: the operator's command. Talks to one daemon over its control socket. */
#include "base/cleanup.h"
#include "base/loop.h"
#include "colo-ctl/client.h"
#include "colo-ctl/format.h"
#include "colo-ctl/options.h"
#include "colo-ctl/pcap.h"
#include "colo-ctl/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

static void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

#define autojson _cleanup_(cleanup_json)

static enum ctl_exit complain(enum ctl_exit code, const char *reason)
{
	fflush(stdout);
	fprintf(stderr, "colo-ctl: %s\n", reason);
	return code;
}

static int find_daemon(struct client **out, const struct ctl_options *o, struct err *e)
{
	autofree char *path = NULL;
	int r = 0;

	if (o->socket)
		return client_open(out, o->socket, o->timeout_ms, e);
	if (!o->name)
		r = client_find_socket(&path, CTL_RUNTIME_DIR, e);
	else if (asprintf(&path, "%s/%s.sock", CTL_RUNTIME_DIR, o->name) < 0)
		r = err_errno(e, ENOMEM, "control socket");
	return r ? r : client_open(out, path, o->timeout_ms, e);
}

/* What a guest sends and gets is not for every user of the host to read. */
static int save_packets(const char *path, struct json_object *answer, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	int r;

	if (!out) {
		r = errno;
		if (fd >= 0)
			close(fd);
		return err_errno(e, r, "cannot open \"%s\"", path);
	}
	r = pcap_write(out, answer, e);
	if (fclose(out) && r >= 0)
		r = err_errno(e, errno, "cannot write \"%s\"", path);
	return r;
}

static enum ctl_exit save_mismatches(const struct ctl_options *o, struct json_object *answer)
{
	struct err e = {};
	int packets = save_packets(o->pcap, answer, &e);

	if (packets < 0)
		return complain(CTL_EXIT_REFUSED, err_msg(&e));
	if (!o->json)
		printf("mismatches: %d packets written to %s\n", packets, o->pcap);
	return CTL_EXIT_OK;
}

static enum ctl_exit run_once(struct client *c, const struct ctl_options *o,
			      struct json_object *request)
{
	autojson struct json_object *answer = NULL;
	const char *raw, *reason = NULL;
	enum ctl_exit code;
	struct err e = {};

	if (client_call(c, request, &raw, &answer, &e))
		return complain(CTL_EXIT_UNREACHABLE, err_msg(&e));
	code = format_exit(o, answer, &reason);
	if (o->json)
		puts(raw);
	if (reason)
		return complain(code, reason);
	if (o->pcap)
		return save_mismatches(o, answer);
	if (!o->json)
		format_answer(stdout, o, answer);
	return code;
}

/* What the view remembers from one sample to the next. */
struct view {
	struct json_object *prev;
	uint64_t prev_us;
	unsigned lines; /* on the terminal */
	bool is_tty;
};

static void show_screen(struct view *v, struct json_object *cur, uint64_t elapsed_us)
{
	autofree char *text = NULL;
	size_t len;
	FILE *mem = open_memstream(&text, &len);

	if (!mem)
		return;
	watch_screen(mem, v->prev, cur, elapsed_us);
	if (!fclose(mem))
		v->lines = watch_redraw(stdout, text, v->lines);
}

static void show_sample(struct view *v, const struct ctl_options *o, const char *raw,
			struct json_object *cur)
{
	uint64_t now = clock_now_us();

	if (o->json)
		puts(raw);
	else if (v->is_tty)
		show_screen(v, cur, now - v->prev_us);
	else
		watch_line(stdout, v->prev, cur, now - v->prev_us);
	fflush(stdout);
	json_object_put(v->prev);
	v->prev = json_object_get(cur);
	v->prev_us = now;
}

static void sleep_until(uint64_t when_us)
{
	uint64_t now;

	while ((now = clock_now_us()) < when_us)
		poll(NULL, 0, (int)DIV_ROUND_UP(when_us - now, USEC_PER_MSEC));
}

static enum ctl_exit run_watch(struct client *c, const struct ctl_options *o,
			       struct json_object *request)
{
	struct view v = {.is_tty = isatty(STDOUT_FILENO)};
	enum ctl_exit code = CTL_EXIT_OK;
	uint64_t next_us = clock_now_us();
	const char *reason = NULL;
	struct err e = {};

	for (uint64_t n = 0; !o->count || n < o->count; n++) {
		autojson struct json_object *cur = NULL;
		const char *raw;

		sleep_until(next_us);
		next_us = MAX(next_us + o->interval_ms * USEC_PER_MSEC, clock_now_us());
		if (client_call(c, request, &raw, &cur, &e)) {
			code = complain(CTL_EXIT_UNREACHABLE, err_msg(&e));
			break;
		}
		code = format_exit(o, cur, &reason);
		if (reason) {
			complain(code, reason);
			break;
		}
		show_sample(&v, o, raw, cur);
	}
	json_object_put(v.prev);
	return code;
}

int main(int argc, char **argv)
{
	_cleanup_(cleanup_client) struct client *c = NULL;
	autojson struct json_object *request = NULL;
	struct ctl_options o;
	struct err e = {};
	int r;

	if (ctl_options_parse(&o, argc, argv, &e)) {
		complain(CTL_EXIT_USAGE, err_msg(&e));
		fputs("Try: colo-ctl --help\n", stderr);
		return CTL_EXIT_USAGE;
	}
	if (o.cmd == CTL_HELP)
		return fputs(ctl_usage, stdout) < 0;
	if (o.cmd == CTL_VERSION)
		return puts("colo-ctl " COLOD_VERSION) < 0;
	r = find_daemon(&c, &o, &e);
	if (r)
		return complain(r == -ENOTUNIQ ? CTL_EXIT_USAGE : CTL_EXIT_UNREACHABLE,
				err_msg(&e));
	request = ctl_request(&o);
	if (!request)
		return complain(CTL_EXIT_UNREACHABLE, "no memory for the request");
	return o.cmd == CTL_WATCH ? run_watch(c, &o, request) : run_once(c, &o, request);
}
