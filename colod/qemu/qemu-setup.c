// SPDX-License-Identifier: GPL-2.0-or-later
/* A table of QMP commands that check a stopped QEMU and open the two state files in it. */
#include "colod/qemu/qemu-setup.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/core/qcow2.h"
#include "colod/qemu/qemu-check.h"
#include "colod/qemu/qemu-leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define VMSTATE_BYTES (64 * MIB)

/**
 * struct step - one command
 * @args: its arguments, NULL for none
 * @fd:   descriptor that goes along, NULL for none
 * @take: reads the answer, NULL when it does not matter
 */
struct step {
	const char *cmd;
	struct json_object *(*args)(const struct qemu_setup *s);
	int (*fd)(const struct guest *g);
	int (*take)(struct qemu_setup *s, struct json_object *ret, struct err *e);
};

static void put_string(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static struct json_object *type_of(const char *path)
{
	struct json_object *o = json_object_new_object();

	put_string(o, "path", path);
	put_string(o, "property", "type");
	return o;
}

static struct json_object *args_machine(const struct qemu_setup *s)
{
	(void)s;
	return type_of("/machine");
}

static struct json_object *args_cpu_model(const struct qemu_setup *s)
{
	return type_of(s->cpu_path);
}

static struct json_object *args_nodes(const struct qemu_setup *s)
{
	struct json_object *o = json_object_new_object();

	(void)s;
	json_object_object_add(o, "flat", json_object_new_boolean(true));
	return o;
}

static struct json_object *args_ramblocks(const struct qemu_setup *s)
{
	struct json_object *o = json_object_new_object();

	(void)s;
	put_string(o, "command-line", "info ramblock");
	return o;
}

static struct json_object *args_fdset(const struct qemu_setup *s)
{
	struct json_object *o = json_object_new_object();

	(void)s;
	put_string(o, "opaque", FDSET_OPAQUE);
	return o;
}

/* The container lives in memory: flushing it would only lengthen every stop. */
static struct json_object *args_vmstate_node(const struct qemu_setup *s)
{
	struct json_object *node = json_object_new_object();
	struct json_object *file = json_object_new_object();
	struct json_object *cache = json_object_new_object();

	json_object_object_add(cache, "no-flush", json_object_new_boolean(true));
	put_string(file, "driver", "file");
	put_string(file, "filename", s->vmstate_path);
	put_string(file, "locking", "off");
	put_string(node, "driver", "qcow2");
	put_string(node, "node-name", GUEST_VMSTATE_NODE);
	json_object_object_add(node, "cache", cache);
	json_object_object_add(node, "file", file);
	return node;
}

static int fd_vmstate(const struct guest *g)
{
	return g->vmstate_fd;
}

static int fd_devstate(const struct guest *g)
{
	return g->devstate_pos_fd;
}

static int take_status(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	(void)s;
	return check_status(ret, e);
}

static int take_machine(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_machine(s->guest, ret, e);
}

static int take_cpus(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_cpus(s->guest, ret, s->cpu_path, sizeof(s->cpu_path), e);
}

static int take_cpu_model(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_cpu_model(s->guest, ret, e);
}

static int take_kvm(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_kvm(s->guest, ret, e);
}

static int take_iothreads(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	(void)s;
	return check_iothreads(ret, e);
}

static int take_memory_devices(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	(void)s;
	return check_memory_devices(ret, e);
}

static int take_blockers(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	(void)s;
	return check_blockers(ret, e);
}

static int take_disks(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	(void)s;
	return check_disks(ret, e);
}

static int take_nodes(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	(void)s;
	return check_nodes(ret, e);
}

static int take_ramblocks(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_ramblocks(s->guest, ret, e);
}

static int take_vmstate_path(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_fdset(ret, s->vmstate_path, sizeof(s->vmstate_path), e);
}

static int take_devstate_path(struct qemu_setup *s, struct json_object *ret, struct err *e)
{
	return check_fdset(ret, s->guest->devstate_path, sizeof(s->guest->devstate_path), e);
}

static const struct step steps[] = {
	{"query-status", NULL, NULL, take_status},
	{"qom-get", args_machine, NULL, take_machine},
	{"query-cpus-fast", NULL, NULL, take_cpus},
	{"qom-get", args_cpu_model, NULL, take_cpu_model},
	{"query-kvm", NULL, NULL, take_kvm},
	{"query-iothreads", NULL, NULL, take_iothreads},
	{"query-memory-devices", NULL, NULL, take_memory_devices},
	{"query-migrate", NULL, NULL, take_blockers},
	{"query-block", NULL, NULL, take_disks},
	{"query-named-block-nodes", args_nodes, NULL, take_nodes},
	{"human-monitor-command", args_ramblocks, NULL, take_ramblocks},
	{"add-fd", args_fdset, fd_vmstate, take_vmstate_path},
	{"blockdev-add", args_vmstate_node, NULL, NULL},
	{"add-fd", args_fdset, fd_devstate, take_devstate_path},
};

static void send_step(struct qemu_setup *s);

static void on_reply(void *arg, const struct qmp_reply *reply)
{
	struct qemu_setup *s = arg;
	const struct step *step = &steps[s->step];
	struct err e = {};
	int r = reply->status;

	if (r)
		err_set(&e, -r, "QEMU: %s: %s", step->cmd, reply->desc);
	else if (step->take)
		r = step->take(s, reply->ret, &e);
	if (r) {
		s->done(s->arg, &e);
		return;
	}
	if (++s->step < ARRAY_SIZE(steps))
		send_step(s);
	else
		s->done(s->arg, NULL);
}

static void send_step(struct qemu_setup *s)
{
	const struct step *step = &steps[s->step];
	struct qmp_cmd cmd = {
		.name = step->cmd,
		.args = step->args ? step->args(s) : NULL,
		.fd = step->fd ? step->fd(s->guest) : -1,
		.fn = on_reply,
		.arg = s,
	};
	int r = qmp_loop_send(s->guest->qmp, &cmd);
	struct err e = {};

	if (r) {
		err_errno(&e, -r, "QEMU: cannot send %s", step->cmd);
		s->done(s->arg, &e);
	}
}

void qemu_setup_start(struct qemu_setup *s, bool fresh)
{
	s->step = fresh ? 0 : 1;
	send_step(s);
}

static int make_container(struct guest *g, struct err *e)
{
	autoclose int fd = memfd_create("colod-vmstate", MFD_CLOEXEC);
	autofree uint8_t *head = NULL;
	struct qcow2_layout l;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "cannot create the vmstate container");
	r = qcow2_build(&head, &l, GUEST_VMSTATE_TAG, VMSTATE_BYTES, e);
	if (r)
		return r;
	r = io_write_full(fd, head, l.head_bytes);
	if (!r && ftruncate(fd, (off_t)l.file_bytes))
		r = -errno;
	if (r)
		return err_errno(e, -r, "cannot write the vmstate container");
	g->vmstate_offset = l.vmstate_offset;
	g->vmstate_max_bytes = l.vmstate_bytes;
	g->vmstate_fd = steal_fd(&fd);
	return 0;
}

/* QEMU opens the file for writing only, and a descriptor it gets must have exactly that mode. */
static int make_devstate(struct guest *g, struct err *e)
{
	autoclose int fd = memfd_create("colod-devstate", MFD_CLOEXEC);
	char path[32];

	if (fd < 0)
		return err_errno(e, errno, "cannot create the device state file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	g->devstate_pos_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (g->devstate_pos_fd < 0)
		return err_errno(e, errno, "cannot open the device state file");
	g->devstate_fd = steal_fd(&fd);
	return 0;
}

int qemu_setup_files(struct guest *g, struct err *e)
{
	int r = make_container(g, e);

	return r ? r : make_devstate(g, e);
}
