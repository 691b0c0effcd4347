/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both halves of the checkpoint engine, each with a QEMU made of a socket, over links that the test breaks. */
#ifndef TESTS_UNIT_PAIR_RIG_H
#define TESTS_UNIT_PAIR_RIG_H

#include "tests/unit/cut-relay.h"
#include "tests/unit/replica-rig.h"

#include "colod/checkpoint/primary-priv.h"
#include "colod/checkpoint/secondary-priv.h"

#include <json-c/json.h>

#define PAIR_PAGES 300
#define PAIR_RAM   ((size_t)PAIR_PAGES << PAGE_SHIFT)
#define PAIR_BOX   64
#define PAIR_CALLS 8
#define PAIR_STOPS 4 /* the primary is at most one checkpoint ahead */

struct pair;

struct node {
	struct pair *pair;
	struct side side;
	struct rng rng; /* of the guest; the worker's */
	struct ckpt_stats *stats;
	struct ckpt_env env;
	unsigned events[FSM_EVENT_COUNT];
	struct err failed; /* of the last SYNC_FAILED */
	bool suspended;

	int qmp_fd; /* QEMU's end */
	struct loop_src *qmp_src;
	char line[8192], job[64];
	size_t line_len;
	bool runs;
	unsigned saves, captures, loads;

	struct wire_msg box[PAIR_BOX]; /* on their way to this side */
	unsigned nbox;
	struct proxy_call *calls[PAIR_CALLS];
	unsigned ncalls;
};

struct pair {
	struct loop *loop;
	struct config config;
	struct node a, b; /* primary and secondary */
	struct primary *p;
	struct secondary *s;
	struct relay relay;
	bool up, relay_open, hold_to_a, hold_to_b, hold_b_calls;
	bool with_proxy, lost, own_writes;
	unsigned writes; /* of the primary's guest in each of its turns */
	uint64_t marked, closed;
	uint8_t *ram[PAIR_STOPS]; /* of the primary's guest at its last stops */
};

/* ---- guests ---- */

/* Few contents, so that pages change back to what they once were. */
static inline void node_writes(struct node *n, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		side_write(&n->side, rng_below(&n->rng, PAIR_PAGES), rng_below(&n->rng, 6));
}

static inline void guest_turn(struct tracker *t, bool stopped)
{
	struct node *n = container_of(t, struct node, side.tracker);

	(void)stopped;
	if (n == &n->pair->a)
		node_writes(n, n->pair->writes);
	else if (n->pair->own_writes)
		node_writes(n, 10);
}

static inline void guest_collected(struct tracker *t, bool stopped)
{
	struct node *n = container_of(t, struct node, side.tracker);

	if (stopped && n == &n->pair->a)
		memcpy(n->pair->ram[n->captures++ % PAIR_STOPS], n->side.guest.ram, PAIR_RAM);
}

/* ---- QEMU ---- */

static inline void node_says(struct node *n, const char *text)
{
	assert_int_equal(io_write_full(n->qmp_fd, text, strlen(text)), 0);
}

static inline void node_saves(struct node *n)
{
	uint32_t stop = n->saves++;

	assert_false(n->runs);
	assert_int_equal(write(n->side.guest.devstate_pos_fd, &stop, 4), 4);
}

/* What is loaded is all of one stop of the primary's guest (S2). */
static inline void node_loads(struct node *n, struct json_object *cmd)
{
	struct guest *g = &n->side.guest;
	struct json_object *args, *id;
	char event[256];
	uint32_t stop;

	assert_false(n->runs);
	assert_int_equal(pread(g->vmstate_fd, &stop, 4, RIG_VMSTATE_AT), 4);
	assert_in_range(n->pair->a.saves - stop, 1, PAIR_STOPS);
	assert_memory_equal(g->ram, n->pair->ram[stop % PAIR_STOPS], PAIR_RAM);
	n->loads++;
	json_object_object_get_ex(cmd, "arguments", &args);
	json_object_object_get_ex(args, "job-id", &id);
	snprintf(n->job, sizeof(n->job), "%s", json_object_get_string(id));
	snprintf(event, sizeof(event),
		 "{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{\"status\":\"concluded\",\"id\":\"%"
		 "s\"},"
		 "\"timestamp\":{\"seconds\":1,\"microseconds\":0}}\r\n",
		 n->job);
	node_says(n, event);
}

static inline void node_commanded(struct node *n, const char *line)
{
	struct json_object *cmd = json_tokener_parse(line), *id, *name;
	const char *what;
	char result[128] = "{}", reply[256];

	assert_true(json_object_object_get_ex(cmd, "id", &id));
	assert_true(json_object_object_get_ex(cmd, "execute", &name));
	what = json_object_get_string(name);
	if (!strcmp(what, "query-status"))
		snprintf(result, sizeof(result), "{\"running\":%s}", n->runs ? "true" : "false");
	else if (!strcmp(what, "stop"))
		n->runs = false;
	else if (!strcmp(what, "cont"))
		n->runs = true;
	else if (!strcmp(what, "xen-save-devices-state"))
		node_saves(n);
	else if (!strcmp(what, "snapshot-load"))
		node_loads(n, cmd);
	else if (!strcmp(what, "query-jobs"))
		snprintf(result, sizeof(result), "[{\"id\":\"%s\",\"status\":\"concluded\"}]",
			 n->job);
	snprintf(reply, sizeof(reply), "{\"return\":%s,\"id\":%d}\r\n", result,
		 json_object_get_int(id));
	json_object_put(cmd);
	node_says(n, reply);
}

static inline void node_hears(void *arg, int fd, uint32_t revents)
{
	struct node *n = arg;
	ssize_t len =
		recv(fd, n->line + n->line_len, sizeof(n->line) - 1 - n->line_len, MSG_DONTWAIT);
	char *end;

	(void)revents;
	assert_true(len > 0);
	n->line_len += (size_t)len;
	n->line[n->line_len] = 0;
	while ((end = strchr(n->line, '\n'))) {
		*end = 0;
		node_commanded(n, n->line);
		n->line_len -= (size_t)(end + 1 - n->line);
		memmove(n->line, end + 1, n->line_len + 1);
	}
}

/* ---- the daemons ---- */

static inline int node_send(void *arg, const struct wire_msg *m)
{
	struct node *n = arg, *peer = n == &n->pair->a ? &n->pair->b : &n->pair->a;

	if (!n->pair->up)
		return -ENOTCONN;
	assert_true(peer->nbox < PAIR_BOX);
	peer->box[peer->nbox++] = *m;
	return 0;
}

static inline void node_event(void *arg, enum fsm_event ev, const char *reason)
{
	struct node *n = arg;

	n->events[ev]++;
	if (ev == FSM_EV_LINK_LOST) {
		assert_false(n->suspended);
		n->pair->lost = true;
	}
	if (ev == FSM_EV_SYNC_FAILED)
		err_set(&n->failed, EIO, "%s", reason);
	if (ev == FSM_EV_RESUMED || ev == FSM_EV_RESUMED_COPY)
		assert_false(n->suspended);
}

static inline bool node_runs_next(void *arg)
{
	return ((struct node *)arg)->pair->with_proxy;
}

/* In place of the proxy; the linker takes these two functions instead of those in the library. */
void proxy_before_stop(struct proxy *p, struct proxy_call *c)
{
	(void)p;
	(void)c;
}

void proxy_submit(struct proxy *p, struct proxy_call *c)
{
	struct node *n = (struct node *)p;

	assert_false(c->busy);
	assert_true(n->ncalls < PAIR_CALLS);
	c->busy = true;
	n->calls[n->ncalls++] = c;
}

/* One order; PROXY_CLOSE sends the marks that the secondary's commit waits for. */
static inline void node_obeys(struct node *n)
{
	struct proxy_call *c = n->calls[0];

	memmove(n->calls, n->calls + 1, --n->ncalls * sizeof(n->calls[0]));
	c->busy = false;
	if (c->op == PROXY_CLOSE) {
		n->pair->closed = c->epoch;
		n->pair->marked = n->pair->up ? c->epoch : 0;
	} else if (c->op == PROXY_COMMIT) {
		n->pair->closed = 0;
	}
	if (c->done)
		c->done(c);
}

static inline void node_open(struct node *n, struct pair *pair, uint64_t seed)
{
	static const struct ckpt_ops ops = {
		.send = node_send, .event = node_event, .runs_next = node_runs_next};
	struct guest *g = &n->side.guest;
	struct err e;
	int fds[2];

	n->pair = pair;
	n->rng.state = seed;
	side_init(&n->side, PAIR_PAGES);
	n->side.tracker.turn = guest_turn;
	n->side.tracker.collected = guest_collected;
	g->devstate_pos_fd = dup(g->devstate_fd);
	snprintf(g->devstate_path, sizeof(g->devstate_path), "/dev/fdset/1");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	n->qmp_fd = fds[1];
	assert_ok(qmp_loop_new(&g->qmp, pair->loop, fds[0], NULL, NULL, &e), &e);
	assert_int_equal(loop_add_io(pair->loop, &n->qmp_src, fds[1], EPOLLIN, node_hears, n), 0);
	node_says(n, "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,\"minor\":2,\"major\":7},"
		     "\"package\":\"\"},\"capabilities\":[]}}\r\n");
	turn_until(pair->loop, qmp_client_is_ready(qmp_loop_client(g->qmp)));
	n->stats = calloc(1, sizeof(*n->stats));
	assert_non_null(n->stats);
	n->env = (struct ckpt_env){.loop = pair->loop,
				   .config = &pair->config,
				   .guest = g,
				   .tracker = &n->side.tracker,
				   .proxy = pair->with_proxy ? (struct proxy *)n : NULL,
				   .stats = n->stats,
				   .ops = &ops,
				   .arg = n};
}

static inline void node_close(struct node *n)
{
	loop_src_free(&n->qmp_src);
	close_fd(&n->qmp_fd);
	close(n->side.guest.devstate_pos_fd);
	side_free(&n->side);
	free(n->stats);
}

/* ---- turning ---- */

static inline void node_takes(struct node *n)
{
	struct wire_msg m = n->box[0];

	memmove(n->box, n->box + 1, --n->nbox * sizeof(n->box[0]));
	if (n == &n->pair->a)
		primary_message(n->pair->p, &m);
	else
		secondary_message(n->pair->s, &m);
}

static inline void pair_step(struct pair *w)
{
	uint64_t mark = w->marked;

	if (w->a.ncalls) {
		node_obeys(&w->a);
	} else if (w->b.ncalls && !w->hold_b_calls) {
		node_obeys(&w->b);
	} else if (mark) {
		w->marked = 0;
		secondary_packets_marked(w->s, mark);
	} else if (w->b.nbox && !w->hold_to_b) {
		node_takes(&w->b);
	} else if (w->a.nbox && !w->hold_to_a) {
		node_takes(&w->a);
	} else {
		assert_int_equal(loop_step(w->loop, GIVE_UP_US), 1);
	}
}

#define pair_until(w, cond)                                                                        \
	do {                                                                                       \
		while (!(cond)) {                                                                  \
			pair_step(w);                                                              \
			if ((w)->a.failed.code || (w)->b.failed.code)                              \
				fail_msg("%s%s", err_msg(&(w)->a.failed),                          \
					 err_msg(&(w)->b.failed));                                 \
		}                                                                                  \
	} while (0)

/* ---- links ---- */

static inline void pair_link(struct pair *w, uint64_t limit)
{
	relay_open(&w->relay, limit);
	w->relay_open = w->up = true;
	w->lost = false;
	w->a.suspended = w->b.suspended = false;
}

/* What is on its way is lost. */
static inline void pair_unlink(struct pair *w)
{
	w->up = false;
	w->a.nbox = w->b.nbox = 0;
	w->marked = 0;
	if (w->relay_open)
		relay_close(&w->relay);
	w->relay_open = false;
}

static inline void pair_cut(struct pair *w)
{
	pair_unlink(w);
	w->a.suspended = w->b.suspended = true;
	primary_suspend(w->p);
	secondary_suspend(w->s);
	w->lost = false;
}

/* After pair_cut(). */
static inline void pair_resume(struct pair *w, uint64_t limit)
{
	assert_true(primary_can_resume(w->p) && secondary_can_resume(w->s));
	pair_link(w, limit);
	/* The proxy says again what the gap has swallowed. */
	if (w->closed > primary_epoch(w->p))
		w->marked = w->closed;
	secondary_resume(w->s, w->relay.far);
	primary_resume(w->p, w->relay.near);
}

static inline unsigned node_resumes(const struct node *n)
{
	return n->events[FSM_EV_RESUMED] + n->events[FSM_EV_RESUMED_COPY];
}

static inline void pair_resume_well(struct pair *w)
{
	unsigned a = node_resumes(&w->a), b = node_resumes(&w->b);

	w->hold_to_a = w->hold_to_b = false;
	pair_resume(w, NO_CUT);
	pair_until(w, node_resumes(&w->a) > a && node_resumes(&w->b) > b);
}

/* ---- the pair ---- */

static inline void pair_open(struct pair *w, bool with_proxy)
{
	struct err e;

	memset(w, 0, sizeof(*w));
	assert_ok(loop_new(&w->loop, &e), &e);
	w->with_proxy = with_proxy;
	w->config = (struct config){.mode = CKPT_MODE_PERIODIC,
				    .period_ms = 60000,
				    .colo_period_ms = 60000,
				    .hold_ms = 0,
				    .pause_percent = 50};
	for (unsigned i = 0; i < PAIR_STOPS; i++) {
		w->ram[i] = malloc(PAIR_RAM);
		assert_non_null(w->ram[i]);
	}
	node_open(&w->a, w, 1);
	node_open(&w->b, w, 2);
	w->a.runs = true;
	node_writes(&w->a, PAIR_PAGES / 2);
	assert_ok(primary_new(&w->p, &w->a.env, &e), &e);
	assert_ok(secondary_new(&w->s, &w->b.env, &e), &e);
}

/* A session; the first full copy begins over a link that breaks after @limit bytes. */
static inline void pair_start(struct pair *w, uint64_t limit)
{
	pair_link(w, limit);
	secondary_start(w->s, w->relay.far, 0, true);
	primary_start(w->p, w->relay.near, 0, true);
}

static inline void pair_close(struct pair *w)
{
	qmp_loop_free(w->a.side.guest.qmp);
	qmp_loop_free(w->b.side.guest.qmp);
	primary_free(w->p);
	secondary_free(w->s);
	pair_unlink(w);
	node_close(&w->a);
	node_close(&w->b);
	for (unsigned i = 0; i < PAIR_STOPS; i++)
		free(w->ram[i]);
	loop_free(w->loop);
}

#endif
