// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD server: its listening socket, who may connect, and the places for connections. */
#include "colod/disk/nbd-server.h"

#include "base/cleanup.h"
#include "base/unix-listen.h"
#include "colod/disk/nbd-conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define ACCEPT_PAUSE_US (USEC_PER_SEC / 2)

struct nbd_server {
	int fd;
	char *path;
	struct loop_src *io, *resume;
	const struct nbd_backend *backend;
	void *arg;
	unsigned n_exports;
	struct nbd_export exports[NBD_EXPORTS_MAX];
	char names[NBD_EXPORTS_MAX][NBD_NAME_MAX + 1];
	struct nbd_conn conns[NBD_CONNS_MAX];
};

static struct nbd_conn *free_place(struct nbd_server *s)
{
	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		if (nbd_conn_is_free(&s->conns[i]))
			return &s->conns[i];
	return NULL;
}

/* Take the client over, or say why not. */
static int admit(struct nbd_server *s, int fd, struct err *e)
{
	struct nbd_conn *c = free_place(s);
	uid_t uid = (uid_t)-1;
	int r = unix_peer_uid(fd, &uid);

	if (!r && uid && uid != geteuid())
		r = err_set(e, EACCES, "user %u may not use this disk: root and colod's user may",
			    (unsigned)uid);
	else if (r)
		err_errno(e, -r, "cannot tell whose NBD client it is");
	else if (!c)
		r = err_set(e, EBUSY, "%d NBD clients are connected already, which is the most",
			    NBD_CONNS_MAX);
	if (r) {
		close(fd);
		return r;
	}
	r = nbd_conn_open(c, fd, s->exports, s->n_exports);
	return r ? err_errno(e, -r, "NBD client") : 0;
}

static void on_accept(void *arg, int listen_fd, uint32_t revents)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct nbd_server *s = arg;
	struct err e = {};

	(void)revents;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Out of descriptors or memory: the socket stays readable, so look away a while. */
		loop_io_events(s->io, 0);
		loop_timer_arm(s->resume, ACCEPT_PAUSE_US);
		return;
	}
	if (admit(s, fd, &e) && s->backend->closed)
		s->backend->closed(s->arg, NBD_EXPORT_UNKNOWN, &e);
}

static void on_resume(void *arg)
{
	struct nbd_server *s = arg;

	loop_io_events(s->io, EPOLLIN);
}

static int copy_exports(struct nbd_server *s, const struct nbd_export *exports, unsigned n,
			struct err *e)
{
	if (!n || n > NBD_EXPORTS_MAX)
		return err_set(e, EINVAL, "%u disks cannot be served, 1 to %d can", n,
			       NBD_EXPORTS_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (!nbd_name_ok(exports[i].name))
			return err_set(e, EINVAL, "\"%s\" cannot be a disk's name: 1 to %d bytes",
				       exports[i].name, NBD_NAME_MAX);
		memcpy(s->names[i], exports[i].name, strlen(exports[i].name));
		s->exports[i] = (struct nbd_export){s->names[i], exports[i].bytes, false};
	}
	s->n_exports = n;
	return 0;
}

static int listen_on(struct nbd_server *s, struct loop *l, const char *path, struct err *e)
{
	int r = unix_listen(&s->fd, path, NO_GROUP, e);

	if (r) {
		err_prefix(e, "NBD socket");
		return r;
	}
	s->path = strdup(path);
	if (!s->path)
		return err_errno(e, ENOMEM, "NBD socket");
	r = loop_add_timer(l, &s->resume, on_resume, s);
	if (!r)
		r = loop_add_io(l, &s->io, s->fd, EPOLLIN, on_accept, s);
	return r ? err_errno(e, -r, "NBD socket %s", path) : 0;
}

static int server_init(struct nbd_server *s, struct loop *l, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		s->conns[i].fd = -1;
	for (unsigned i = 0; i < NBD_CONNS_MAX && !r; i++)
		r = nbd_conn_init(&s->conns[i], l, s->backend, s->arg);
	return r ? err_errno(e, -r, "NBD server") : 0;
}

int nbd_server_start(struct nbd_server **out, struct loop *l, const char *path,
		     const struct nbd_export *exports, unsigned n_exports,
		     const struct nbd_backend *backend, void *arg, struct err *e)
{
	struct nbd_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "NBD server");
	s->fd = -1;
	s->backend = backend;
	s->arg = arg;
	r = server_init(s, l, e);
	if (!r)
		r = copy_exports(s, exports, n_exports, e);
	if (!r)
		r = listen_on(s, l, path, e);
	if (r) {
		nbd_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void nbd_server_free(struct nbd_server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		nbd_conn_close(&s->conns[i], NULL);
	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		nbd_conn_destroy(&s->conns[i]);
	loop_src_free(&s->io);
	loop_src_free(&s->resume);
	if (s->path)
		unlink(s->path);
	close_fd(&s->fd);
	free(s->path);
	free(s);
}

static bool is_of(const struct nbd_conn *c, unsigned export)
{
	return c->fd >= 0 && nbd_core_export(&c->core) == export;
}

void nbd_server_cut(struct nbd_server *s, unsigned export, const char *why)
{
	struct err e;

	s->exports[export].closed = true;
	err_set(&e, ECANCELED, "%s", why);
	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		if (is_of(&s->conns[i], export))
			nbd_conn_close(&s->conns[i], &e);
}

void nbd_server_admit(struct nbd_server *s, unsigned export)
{
	s->exports[export].closed = false;
}

unsigned nbd_server_clients(const struct nbd_server *s, unsigned export)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NBD_CONNS_MAX; i++)
		n += is_of(&s->conns[i], export);
	return n;
}
