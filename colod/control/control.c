// SPDX-License-Identifier: GPL-2.0-or-later
/* Control socket: accepts clients, at most CLIENTS_MAX of them, and only those that may. */
#include "colod/control/control.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "colod/control/control-conn.h"
#include "colod/control/control-socket.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CLIENTS_MAX     32
#define ACCEPT_PAUSE_US (USEC_PER_SEC / 2)

struct control {
	struct loop *loop;
	int fd;
	char *path;
	struct loop_src *io, *resume;
	struct list clients;
	struct control_access access;
	control_handler_fn fn;
	void *arg;
};

static unsigned count_clients(const struct control *c)
{
	const struct list *pos, *tmp;
	unsigned n = 0;

	list_for_each_safe (pos, tmp, &c->clients)
		n++;
	return n;
}

/* One line to a client that is not served; its socket buffer is empty, so the line fits. */
static void PRINTF_LIKE(2, 3) turn_away(int fd, const char *fmt, ...)
{
	char text[160], line[256];
	va_list ap;
	int len;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = snprintf(line, sizeof(line), "{\"ok\":false,\"error\":\"%s\"}\n", text);
	(void)!send(fd, line, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_accept(void *arg, int listen_fd, uint32_t revents)
{
	struct control *c = arg;
	autoclose int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uid_t uid;

	(void)revents;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Out of descriptors or memory: the socket stays readable, so look away a while. */
		loop_io_events(c->io, 0);
		loop_timer_arm(c->resume, ACCEPT_PAUSE_US);
		return;
	}
	if (!control_access_peer(&c->access, fd, &uid)) {
		turn_away(fd,
			  "user %u may not control this guest: root, the daemon's user and members "
			  "of control_group may",
			  (unsigned)uid);
		return;
	}
	if (count_clients(c) >= CLIENTS_MAX) {
		turn_away(fd, "%d clients are connected already, which is the most", CLIENTS_MAX);
		return;
	}
	(void)control_conn_new(c->loop, steal_fd(&fd), &c->clients, c->fn, c->arg);
}

static void on_resume(void *arg)
{
	struct control *c = arg;

	loop_io_events(c->io, EPOLLIN);
}

static int control_listen_on(struct control *c, struct loop *l, const char *path, struct err *e)
{
	int r = control_listen(&c->fd, path, &c->access, e);

	if (r)
		return r;
	c->path = strdup(path);
	if (!c->path)
		return err_errno(e, ENOMEM, "control socket");
	r = loop_add_timer(l, &c->resume, on_resume, c);
	if (!r)
		r = loop_add_io(l, &c->io, c->fd, EPOLLIN, on_accept, c);
	return r ? err_errno(e, -r, "control socket %s", path) : 0;
}

int control_open(struct control **out, struct loop *l, const char *path, const char *group,
		 control_handler_fn fn, void *arg, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_errno(e, ENOMEM, "control socket");
	c->loop = l;
	c->fd = -1;
	c->fn = fn;
	c->arg = arg;
	list_init(&c->clients);
	r = control_access_init(&c->access, group, e);
	if (!r)
		r = control_listen_on(c, l, path, e);
	if (r) {
		control_close(c);
		return r;
	}
	*out = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	control_conn_free_all(&c->clients);
	loop_src_free(&c->io);
	loop_src_free(&c->resume);
	if (c->path)
		unlink(c->path);
	close_fd(&c->fd);
	free(c->path);
	free(c);
}
