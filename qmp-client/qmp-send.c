// SPDX-License-Identifier: GPL-2.0-or-later
/* Commands on their way out: encoding, order, and what has to wait before it may be sent. */
#include "base/cleanup.h"
#include "qmp-client/qmp-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* `{"id":N,"execute":"` with the longest N. */
#define PREFIX_MAX 48

uint64_t qmp_cmd_deadline(const struct qmp_cmd *cmd, uint64_t now_us)
{
	uint32_t ms = cmd->timeout_ms ?: QMP_DEFAULT_TIMEOUT_MS;

	return now_us + ms * USEC_PER_MSEC;
}

void qmp_pending_free(struct qmp_pending *p)
{
	list_del(&p->link);
	free(p->text);
	free(p);
}

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

static const char *verb(bool oob)
{
	return oob ? "exec-oob" : "execute";
}

/* What stands before a command's name; the rest is encode()'s. */
static void write_prefix(char out[PREFIX_MAX], int64_t id, bool oob)
{
	snprintf(out, PREFIX_MAX, "{\"id\":%" PRId64 ",\"%s\":\"", id, verb(oob));
}

/* The message from its command's name on; takes over cmd->args. NULL without memory. */
static char *encode(const struct qmp_cmd *cmd)
{
	_cleanup_(put_json) struct json_object *root = json_object_new_object();
	struct json_object *name = json_object_new_string(cmd->name);
	const char *text;

	if (!root || !name) {
		json_object_put(name);
		json_object_put(cmd->args);
		return NULL;
	}
	json_object_object_add(root, verb(cmd->oob), name);
	if (cmd->args)
		json_object_object_add(root, "arguments", cmd->args);
	text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN |
							    JSON_C_TO_STRING_NOSLASHESCAPE);
	return text ? strdup(text + strlen("{'':'") + strlen(verb(cmd->oob))) : NULL;
}

static int check(const struct qmp_client *c, const struct qmp_cmd *cmd)
{
	if (c->state == QMP_STATE_CLOSED)
		return -ECONNRESET;
	if (!cmd->name || !*cmd->name)
		return -EINVAL;
	if (cmd->args && !json_object_is_type(cmd->args, json_type_object))
		return -EINVAL;
	if (cmd->oob && !(c->oob && c->state == QMP_STATE_READY))
		return -ENOTSUP;
	if (cmd->oob && c->primed)
		return -EBUSY;
	return cmd->oob && cmd->fd >= 0 ? -EINVAL : 0;
}

int qmp_enqueue(struct qmp_client *c, const struct qmp_cmd *cmd, uint64_t deadline_us,
		struct qmp_pending **out)
{
	struct qmp_pending *p = NULL;
	int r = check(c, cmd);

	if (!r && !(p = calloc(1, sizeof(*p) + strlen(cmd->name) + 1)))
		r = -ENOMEM;
	if (r < 0) {
		json_object_put(cmd->args);
		return r;
	}
	p->deadline_us = deadline_us;
	p->timeout_ms = cmd->timeout_ms ?: QMP_DEFAULT_TIMEOUT_MS;
	p->fd = cmd->fd;
	p->oob = cmd->oob;
	p->fn = cmd->fn;
	p->arg = cmd->arg;
	memcpy(p->name, cmd->name, strlen(cmd->name));
	/* Out of band overtakes what waits. */
	list_add_tail(p->oob ? c->unsent.next : &c->unsent, &p->link);
	p->text = encode(cmd);
	if (!p->text) {
		qmp_pending_free(p);
		return -ENOMEM;
	}
	if (out)
		*out = p;
	return 0;
}

/* Whether QEMU may get a command in band, with a descriptor or without, on top of what it has. */
static bool has_room(const struct qmp_client *c, bool with_fd)
{
	unsigned int in_flight = 0;

	for (struct list *l = c->sent.next; l != &c->sent; l = l->next) {
		const struct qmp_pending *p = list_entry(l, struct qmp_pending, link);

		if (p->oob)
			continue;
		if (with_fd && p->fd >= 0)
			return false;
		in_flight++;
	}
	return in_flight < QMP_MAX_IN_FLIGHT;
}

/* The first command waiting, unless it has to wait on. */
static struct qmp_pending *next_sendable(struct qmp_client *c)
{
	struct qmp_pending *p = list_entry(c->unsent.next, struct qmp_pending, link);

	if (list_empty(&c->unsent) || c->state == QMP_STATE_CLOSED)
		return NULL;
	if (p->oob || p->negotiation)
		return p;
	return c->state == QMP_STATE_READY && has_room(c, p->fd >= 0) ? p : NULL;
}

static int out_append(struct qmp_client *c, const char *text)
{
	size_t n = strlen(text), want = c->out.len + n;

	if (want > c->out.size) {
		char *data = realloc(c->out.data, want * 2);

		if (!data)
			return -ENOMEM;
		c->out.data = data;
		c->out.size = want * 2;
	}
	memcpy(c->out.data + c->out.len, text, n);
	c->out.len += n;
	return 0;
}

/* Give @p its id and its place in this write. */
static int out_command(struct qmp_client *c, struct qmp_pending *p)
{
	bool primed = c->primed && !c->out.len;
	char prefix[PREFIX_MAX];
	int r = 0;

	p->id = ++c->last_id;
	if (!primed) {
		write_prefix(prefix, p->id, p->oob);
		r = out_append(c, prefix);
	}
	r = r ?: out_append(c, p->text);
	return r ?: out_append(c, "\n");
}

/* A write is done: its commands are sent, or all wait again as before, without an id. */
static void settle_batch(struct qmp_client *c, bool written)
{
	struct list *l, *prev;

	for (l = c->sent.prev; l != &c->sent; l = prev) {
		struct qmp_pending *p = list_entry(l, struct qmp_pending, link);

		prev = l->prev;
		if (!p->text)
			break;
		if (written) {
			free(steal_ptr(&p->text));
		} else {
			c->last_id--;
			list_del(l);
			list_add_tail(c->unsent.next, l);
		}
	}
}

/* One write: as many commands as may leave now, a descriptor only with the first. */
static int send_batch(struct qmp_client *c)
{
	struct qmp_pending *p;
	int fd = -1, r = 0;

	while (!r && (p = next_sendable(c)) && (p->fd < 0 || !c->out.len)) {
		if (p->fd >= 0)
			fd = p->fd;
		r = out_command(c, p);
		list_del(&p->link);
		list_add_tail(&c->sent, &p->link);
	}
	if (!r)
		r = c->ops.write(c->arg, c->out.data, c->out.len, fd);
	c->out.len = 0;
	c->primed &= r < 0;
	settle_batch(c, !r);
	return r;
}

int qmp_pump(struct qmp_client *c)
{
	int r = 0;

	while (!r && next_sendable(c))
		r = send_batch(c);
	return r;
}

int qmp_client_send(struct qmp_client *c, const struct qmp_cmd *cmd, uint64_t now_us)
{
	struct qmp_pending *p;
	int r = qmp_enqueue(c, cmd, qmp_cmd_deadline(cmd, now_us), &p);

	if (r < 0)
		return r;
	r = qmp_pump(c);
	if (r < 0)
		qmp_pending_free(p);
	return r;
}

int qmp_client_prime(struct qmp_client *c)
{
	char prefix[PREFIX_MAX];
	int r;

	if (c->state == QMP_STATE_CLOSED)
		return -ECONNRESET;
	if (c->primed)
		return 0;
	if (c->state != QMP_STATE_READY || !list_empty(&c->unsent))
		return -EAGAIN;
	write_prefix(prefix, c->last_id + 1, false);
	r = c->ops.write(c->arg, prefix, strlen(prefix), -1);
	c->primed = !r;
	return r;
}
