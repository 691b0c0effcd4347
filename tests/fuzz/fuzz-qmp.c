// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: QMP from a hostile QEMU, at the parser in two splits and at a busy client. */
#include "qmp-client/qmp-client.h"

#include <stdlib.h>
#include <string.h>

#define GREETING                                                                                   \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "         \
	"\"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"

#define COMMANDS 4

#define JOB_EVENT(status)                                                                          \
	"{\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"status\": \"" status "\", \"id\": "       \
	"\"j\"}}"

/* Bytes from 0x80 on stand for these, so that the fuzzer speaks QMP without learning it first. */
static const char *const words[] = {
	GREETING,
	"{\"return\": {}, \"id\": 1}",
	"{\"return\": {}, \"id\": 2}",
	"{\"return\": {}, \"id\": 3}",
	"{\"return\": {}, \"id\": 4}",
	"{\"return\": {}, \"id\": 5}",
	"{\"return\": {}, \"id\": 6}",
	"{\"return\": [{\"id\": \"j\", \"status\": \"concluded\"}], \"id\": 7}",
	"{\"return\": [{\"id\": \"j\", \"error\": \"no\"}], \"id\": 7}",
	"{\"return\": [], \"id\": 7}",
	"{\"return\": {}, \"id\": 8}",
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 1}",
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 2}",
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}",
	JOB_EVENT("running"),
	JOB_EVENT("concluded"),
	"{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}",
	"{\"return\": ",
	"{\"error\": ",
	"{\"event\": ",
	"{\"QMP\": ",
	"\"class\": ",
	"\"desc\": ",
	"\"data\": ",
	"\"id\": ",
	"\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 1}}",
	"\"capabilities\": [",
	"\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}",
	"\\ud83d\\ude00",
};

#define EXPANDED_MAX (64 * KIB)

/* What must hold whatever QEMU says; abort() is how a fuzz target reports. */
static void require(bool ok)
{
	if (!ok)
		abort();
}

/* What a parser made of the input. */
struct verdict {
	int messages, status;
	uint64_t digest;
};

static void note(struct verdict *v, const struct qmp_msg *m)
{
	const char *text = json_object_to_json_string(m->root);

	v->messages++;
	v->digest = v->digest * 31 + (uint64_t)m->type + (uint64_t)m->id + strlen(text);
	for (; *text; text++)
		v->digest = v->digest * 31 + (unsigned char)*text;
	require(m->type != QMP_MSG_EVENT || m->name);
	require(m->type != QMP_MSG_ERROR || (m->name && m->desc));
}

static struct verdict parse(const char *data, size_t size, size_t piece)
{
	struct verdict v = {};
	struct qmp_parser p;
	struct err e = {};

	require(!qmp_parser_init(&p));
	while (size && v.status >= 0) {
		size_t len = piece < size ? piece : size, left = len;
		struct qmp_msg m;

		while ((v.status = qmp_parser_next(&p, &data, &left, &m, &e)) > 0) {
			note(&v, &m);
			qmp_msg_clear(&m);
		}
		require(v.status < 0 || !left);
		require(v.status >= 0 || (e.code && e.msg[0]));
		size -= len;
	}
	qmp_parser_destroy(&p);
	return v;
}

/* A user of the client with commands and a job on their way. */
struct user {
	struct qmp_client *c;
	int calls[COMMANDS], job_calls, closed;
	int free_at; /* callbacks until it frees the client from within one */
	bool primes; /* after each reply */
	char last;   /* byte written */
	struct qmp_subscription all;
};

struct ticket {
	struct user *u;
	int *calls;
};

static void count_down(struct user *u)
{
	if (--u->free_at)
		return;
	qmp_client_free(u->c);
	u->c = NULL;
}

static int on_write(void *arg, const void *buf, size_t len, int fd)
{
	struct user *u = arg;
	const char *text = buf;

	(void)fd;
	require(len > 0);
	/* What was begun by priming is ended before anything else begins. */
	require((text[0] == '{') == (u->last == '\n'));
	u->last = text[len - 1];
	return 0;
}

static void on_ready(void *arg)
{
	(void)arg;
}

static void on_closed(void *arg, const struct err *reason)
{
	struct user *u = arg;

	require(reason->code && reason->msg[0]);
	u->closed++;
	count_down(u);
}

static void on_reply(void *arg, const struct qmp_reply *r)
{
	struct ticket *t = arg;

	require(r->status <= 0 && (!r->status || r->desc));
	++*t->calls;
	if (t->u->primes && t->u->c)
		qmp_client_prime(t->u->c);
	count_down(t->u);
}

static void on_event(void *arg, const char *event, struct json_object *data, uint64_t timestamp_us)
{
	(void)data;
	(void)timestamp_us;
	require(event);
	count_down(arg);
}

static void send_all(struct user *u, struct ticket *t)
{
	struct qmp_cmd job = {.name = "snapshot-load", .fd = -1, .fn = on_reply, .arg = t};

	t->calls = &u->job_calls;
	job.args = json_object_new_object();
	json_object_object_add(job.args, "job-id", json_object_new_string("j"));
	require(!qmp_client_run_job(u->c, &job, 1));
	for (int i = 0; i < COMMANDS; i++) {
		/* Two with descriptors, so that something waits. */
		struct qmp_cmd cmd = {.name = "x", .fd = i % 2 ? i : -1, .fn = on_reply};

		t[i + 1] = (struct ticket){.u = u, .calls = &u->calls[i]};
		cmd.arg = &t[i + 1];
		require(!qmp_client_send(u->c, &cmd, 1));
	}
}

static void talk(const char *data, size_t size, uint8_t how)
{
	static const struct qmp_client_ops ops = {on_write, on_ready, on_closed};
	struct user u = {.free_at = how >> 4, .primes = how & 2, .last = '\n'};
	struct ticket t[COMMANDS + 1] = {{.u = &u}};

	require(!qmp_client_new(&u.c, &ops, &u));
	u.all = (struct qmp_subscription){.fn = on_event, .arg = &u};
	qmp_client_subscribe(u.c, &u.all);
	send_all(&u, t);
	if (how & 1) {
		static const char hello[] = GREETING "{\"return\": {}, \"id\": 1}";

		qmp_client_feed(u.c, hello, sizeof(hello) - 1, 1);
	}
	qmp_client_feed(u.c, data, size, 2);
	if (u.c)
		qmp_client_tick(u.c, 20 * USEC_PER_SEC);
	qmp_client_free(u.c);
	/* Each command and the job ended exactly once, the connection at most once. */
	for (int i = 0; i < COMMANDS; i++)
		require(u.calls[i] == 1);
	require(u.job_calls == 1 && u.closed <= 1);
}

static size_t expand(char *out, const uint8_t *data, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < size; i++) {
		bool word = data[i] >= 0x80 && data[i] - 0x80u < ARRAY_SIZE(words);
		size_t n = word ? strlen(words[data[i] - 0x80]) : 1;

		if (len + n > EXPANDED_MAX)
			break;
		memcpy(out + len, word ? (const void *)words[data[i] - 0x80] : &data[i], n);
		len += n;
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[EXPANDED_MAX];
	struct verdict whole, split;

	if (!size)
		return 0;
	size = expand(text, data + 1, size - 1);
	whole = parse(text, size, size);
	split = parse(text, size, 1 + data[0] % 7);
	require(whole.messages == split.messages && whole.status == split.status &&
		whole.digest == split.digest);
	talk(text, size, data[0]);
	return 0;
}
