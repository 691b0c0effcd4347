/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the primary's half share: a QEMU made of a socket, a secondary that is the test itself. */
#ifndef TESTS_UNIT_PRIMARY_RIG_H
#define TESTS_UNIT_PRIMARY_RIG_H

#include "tests/unit/replica-rig.h"

#include "colod/checkpoint/primary.h"

#include <json-c/json.h>

struct rig {
	struct loop *loop;
	struct side side;
	struct config config;
	struct ckpt_stats *stats;
	struct ckpt_env env;
	struct primary *p;

	int qmp_fd; /* QEMU's end */
	struct loop_src *qmp_src;
	char line[4096];
	size_t line_len;
	bool save_fails, cont_fails, guest_runs;
	unsigned saves, conts;

	int bulk_fd; /* the secondary's end */
	unsigned news;
	struct wire_msg last_new;
	unsigned events[FSM_EVENT_COUNT];
};

/* ---- QEMU ---- */

static inline void qemu_says(struct rig *r, const char *text)
{
	assert_int_equal(io_write_full(r->qmp_fd, text, strlen(text)), 0);
}

static inline const char *qemu_result(struct rig *r, const char *name)
{
	static const char refused[] = "\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}";

	if (!strcmp(name, "query-status"))
		return r->guest_runs ? "\"return\":{\"running\":true}"
				     : "\"return\":{\"running\":false}";
	if (!strcmp(name, "stop"))
		r->guest_runs = false;
	if (!strcmp(name, "xen-save-devices-state")) {
		r->saves++;
		if (r->save_fails)
			return refused;
		assert_int_equal(write(r->side.guest.devstate_pos_fd, "devices", 7), 7);
	}
	if (!strcmp(name, "cont")) {
		r->conts++;
		if (r->cont_fails)
			return refused;
		r->guest_runs = true;
	}
	return "\"return\":{}";
}

static inline void qemu_command(struct rig *r, const char *line)
{
	struct json_object *cmd = json_tokener_parse(line), *id, *name;
	char reply[256];

	assert_true(json_object_object_get_ex(cmd, "id", &id));
	assert_true(json_object_object_get_ex(cmd, "execute", &name));
	snprintf(reply, sizeof(reply), "{%s,\"id\":%d}\r\n",
		 qemu_result(r, json_object_get_string(name)), json_object_get_int(id));
	json_object_put(cmd);
	qemu_says(r, reply);
}

static inline void qemu_hears(void *arg, int fd, uint32_t revents)
{
	struct rig *r = arg;
	ssize_t n =
		recv(fd, r->line + r->line_len, sizeof(r->line) - 1 - r->line_len, MSG_DONTWAIT);
	char *end;

	(void)revents;
	assert_true(n > 0);
	r->line_len += (size_t)n;
	r->line[r->line_len] = 0;
	while ((end = strchr(r->line, '\n'))) {
		*end = 0;
		qemu_command(r, r->line);
		r->line_len -= (size_t)(end + 1 - r->line);
		memmove(r->line, end + 1, r->line_len + 1);
	}
}

static inline void qemu_open(struct rig *r)
{
	struct err e;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r->qmp_fd = pair[1];
	assert_ok(qmp_loop_new(&r->side.guest.qmp, r->loop, pair[0], NULL, NULL, &e), &e);
	assert_int_equal(loop_add_io(r->loop, &r->qmp_src, r->qmp_fd, EPOLLIN, qemu_hears, r), 0);
	qemu_says(r, "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,\"minor\":2,\"major\":7},"
		     "\"package\":\"\"},\"capabilities\":[]}}\r\n");
	turn_until(r->loop, qmp_client_is_ready(qmp_loop_client(r->side.guest.qmp)));
}

/* ---- the secondary and the daemon ---- */

static inline int rig_send(void *arg, const struct wire_msg *m)
{
	struct rig *r = arg;

	if (m->type == WIRE_NEW) {
		r->news++;
		r->last_new = *m;
	}
	return 0;
}

static inline void rig_event(void *arg, enum fsm_event ev, const char *reason)
{
	(void)reason;
	((struct rig *)arg)->events[ev]++;
}

static inline void secondary_says(struct rig *r, enum wire_type type, uint64_t epoch)
{
	struct wire_msg m = {.type = type, .epoch = epoch};

	primary_message(r->p, &m);
}

/* ---- the rig ---- */

static inline void rig_open(struct rig *r)
{
	static const struct ckpt_ops ops = {.send = rig_send, .event = rig_event};
	struct guest *g = &r->side.guest;
	struct err e;

	memset(r, 0, sizeof(*r));
	assert_ok(loop_new(&r->loop, &e), &e);
	side_init(&r->side, RIG_PAGES);
	g->devstate_pos_fd = dup(g->devstate_fd);
	snprintf(g->devstate_path, sizeof(g->devstate_path), "/dev/fdset/1");
	r->guest_runs = true;
	qemu_open(r);
	r->config = (struct config){
		.mode = CKPT_MODE_PERIODIC, .period_ms = 60000, .hold_ms = 0, .pause_percent = 50};
	r->stats = calloc(1, sizeof(*r->stats));
	assert_non_null(r->stats);
	r->env = (struct ckpt_env){.loop = r->loop,
				   .config = &r->config,
				   .guest = g,
				   .tracker = &r->side.tracker,
				   .stats = r->stats,
				   .ops = &ops,
				   .arg = r};
	r->bulk_fd = -1;
	assert_ok(primary_new(&r->p, &r->env, &e), &e);
}

static inline void rig_close(struct rig *r)
{
	qmp_loop_free(r->side.guest.qmp);
	primary_free(r->p);
	loop_src_free(&r->qmp_src);
	close_fd(&r->qmp_fd);
	close_fd(&r->bulk_fd);
	close(r->side.guest.devstate_pos_fd);
	side_free(&r->side);
	loop_free(r->loop);
	free(r->stats);
}

/* A session as after a switch-over: the secondary has all of @epoch. */
static inline void rig_start(struct rig *r, uint64_t epoch)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r->bulk_fd = pair[1];
	primary_start(r->p, pair[0], epoch, false);
}

#endif
