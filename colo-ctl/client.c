// SPDX-License-Identifier: GPL-2.0-or-later
/* The connection to a daemon: a blocking unix socket with a deadline for each answer. */
#include "colo-ctl/client.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/loop.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define ANSWER_MAX (16 * MIB)

struct client {
	int fd;
	uint32_t timeout_ms;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *buf;
	size_t len, cap;
	size_t taken; /* bytes of the answer handed out last */
};

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static bool is_socket_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot && !strcmp(dot, ".sock");
}

/* Append to a list for a message; what does not fit is left out whole. */
static void list_name(char *names, size_t size, const char *name)
{
	size_t len = strlen(names);

	if (len + strlen(name) + 2 <= size)
		snprintf(names + len, size - len, " %s", name);
}

int client_find_socket(char **out, const char *dir, struct err *e)
{
	_cleanup_(cleanup_dir) DIR *d = opendir(dir);
	char names[512] = "";
	autofree char *found = NULL;
	struct dirent *ent;
	int n = 0;

	if (!d && errno != ENOENT)
		return err_errno(e, errno, "cannot look for a control socket in %s", dir);
	while (d && (ent = readdir(d))) {
		if (!is_socket_name(ent->d_name))
			continue;
		n++;
		list_name(names, sizeof(names), ent->d_name);
		free(found);
		if (asprintf(&found, "%s/%s", dir, ent->d_name) < 0) {
			found = NULL;
			return err_errno(e, ENOMEM, "control socket");
		}
	}
	if (!n)
		return err_set(e, ENOENT,
			       "no control socket in %s: is colod running? --socket names one that "
			       "is elsewhere",
			       dir);
	if (n > 1)
		return err_set(e, ENOTUNIQ, "%d control sockets in %s, choose one with --name:%s",
			       n, dir, names);
	*out = steal_ptr(&found);
	return 0;
}

static int connect_failed(int code, const char *path, struct err *e)
{
	switch (code) {
	case ENOENT:
	case ECONNREFUSED:
		return err_set(e, code, "no daemon answers on %s: is colod running for this guest?",
			       path);
	case EACCES:
	case EPERM:
		return err_set(e, code,
			       "no permission to use %s: be root or a member of the daemon's "
			       "control_group",
			       path);
	case EAGAIN:
		return err_set(e, ETIMEDOUT, "the daemon on %s takes no connections", path);
	default:
		return err_errno(e, code, "cannot connect to %s", path);
	}
}

int client_open(struct client **out, const char *path, uint32_t timeout_ms, struct err *e)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct client *c;

	if (fd < 0)
		return err_errno(e, errno, "socket");
	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, ENAMETOOLONG, "%s is too long for the path of a unix socket",
			       path);
	memcpy(sa.sun_path, path, strlen(path));
	/* Bounds connect(2) and send(2); unix(7) sockets wait when the backlog is full. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return connect_failed(errno, path, e);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_errno(e, ENOMEM, "control socket");
	c->fd = steal_fd(&fd);
	c->timeout_ms = timeout_ms;
	memcpy(c->path, sa.sun_path, sizeof(c->path));
	*out = c;
	return 0;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c->buf);
	free(c);
}

static int make_room(struct client *c, struct err *e)
{
	size_t cap = c->cap ? c->cap * 2 : 65536;
	char *bigger;

	if (c->len < c->cap)
		return 0;
	if (cap > ANSWER_MAX)
		return err_set(e, EPROTO, "the answer from %s does not end", c->path);
	bigger = realloc(c->buf, cap);
	if (!bigger)
		return err_errno(e, ENOMEM, "answer");
	c->buf = bigger;
	c->cap = cap;
	return 0;
}

/* Wait until there is something to read, at most until @deadline_us. */
static int wait_readable(struct client *c, uint64_t deadline_us, struct err *e)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_now_us();
		uint64_t left_ms = now < deadline_us ? DIV_ROUND_UP(deadline_us - now, 1000) : 0;
		int n = poll(&p, 1, (int)left_ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_errno(e, errno, "waiting for the daemon on %s", c->path);
		if (!left_ms)
			return err_set(e, ETIMEDOUT,
				       "no answer within %u s from the daemon on %s; the command "
				       "may still take effect",
				       c->timeout_ms / 1000, c->path);
	}
}

/* The answer's length without its newline, or -errno. */
static ssize_t read_answer(struct client *c, struct err *e)
{
	uint64_t deadline_us = clock_now_us() + c->timeout_ms * USEC_PER_MSEC;
	char *nl;

	while (!c->len || !(nl = memchr(c->buf, '\n', c->len))) {
		ssize_t n;
		int r = make_room(c, e);

		if (!r)
			r = wait_readable(c, deadline_us, e);
		if (r)
			return r;
		n = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ECONNRESET)
			return err_errno(e, errno, "reading from %s", c->path);
		if (n <= 0)
			return err_set(e, ECONNRESET,
				       "the daemon on %s closed the connection without an answer",
				       c->path);
		c->len += (size_t)n;
	}
	return nl - c->buf;
}

static int send_request(struct client *c, struct json_object *request, struct err *e)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	struct iovec iov[] = {{.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)},
			      {.iov_base = (char[]){'\n'}, .iov_len = 1}};
	int r = io_writev_full(c->fd, iov, 2);

	/* A daemon that turned us away has sent its reason before it closed. */
	if (r == -EPIPE || r == -ECONNRESET)
		return 0;
	return r ? err_errno(e, -r, "sending to %s", c->path) : 0;
}

int client_call(struct client *c, struct json_object *request, const char **raw,
		struct json_object **answer, struct err *e)
{
	ssize_t len;
	int r;

	c->len -= c->taken;
	if (c->len)
		memmove(c->buf, c->buf + c->taken, c->len);
	c->taken = 0;
	r = send_request(c, request, e);
	if (r)
		return r;
	len = read_answer(c, e);
	if (len < 0)
		return (int)len;
	c->taken = (size_t)len + 1;
	c->buf[len] = 0;
	*raw = c->buf;
	*answer = json_tokener_parse(c->buf);
	if (!json_object_is_type(*answer, json_type_object)) {
		json_object_put(*answer);
		*answer = NULL;
		return err_set(e, EPROTO, "the daemon on %s did not answer with a JSON object",
			       c->path);
	}
	return 0;
}
