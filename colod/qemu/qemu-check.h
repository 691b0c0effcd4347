/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of a freshly started QEMU: taken into struct guest, or refused with a reason. Pure. */
#ifndef QEMU_QEMU_CHECK_H
#define QEMU_QEMU_CHECK_H

#include "colod/core/guest.h"

#include <json-c/json.h>

/* The oldest QEMU that all of this was run on. */
#define QEMU_MIN_MAJOR 7
#define QEMU_MIN_MINOR 2

/**
 * Each takes the "return" member @ret of the named QMP command, of which nothing is assumed: a
 * member that is missing or of another type is -EPROTO. A guest that cannot be replicated is
 * -ENOTSUP, and the reason says what to change in qemu_args.
 */

/** check_version() - the greeting's version; 7.2 or newer. */
int check_version(struct guest *g, const struct qmp_version *v, struct err *e);

/** check_status() - query-status: the guest must not have run yet. */
int check_status(struct json_object *ret, struct err *e);

/** check_machine() - qom-get /machine type: "pc-q35-7.2-machine" without the suffix; q35 or pc. */
int check_machine(struct guest *g, struct json_object *ret, struct err *e);

/** check_cpus() - query-cpus-fast: how many; @path gets the QOM path of the first. */
int check_cpus(struct guest *g, struct json_object *ret, char *path, size_t size, struct err *e);

/** check_cpu_model() - qom-get of that path's type. */
int check_cpu_model(struct guest *g, struct json_object *ret, struct err *e);

/** check_kvm() - query-kvm: names the accelerator. */
int check_kvm(struct guest *g, struct json_object *ret, struct err *e);

/** check_iothreads() - query-iothreads: there must be none. */
int check_iothreads(struct json_object *ret, struct err *e);

/** check_memory_devices() - query-memory-devices: there must be none. */
int check_memory_devices(struct json_object *ret, struct err *e);

/** check_blockers() - query-migrate: no reasons that block migration; lists them. */
int check_blockers(struct json_object *ret, struct err *e);

/** check_disks() - query-block: no medium may be writable. */
int check_disks(struct json_object *ret, struct err *e);

/** check_nodes() - query-named-block-nodes: none past the page cache (DESIGN.md, section 8). */
int check_nodes(struct json_object *ret, struct err *e);

/** check_ramblocks() - human-monitor-command "info ramblock", see ramblock.h. */
int check_ramblocks(const struct guest *g, struct json_object *ret, struct err *e);

/** check_fdset() - add-fd: the file name by which QEMU knows the descriptor. */
int check_fdset(struct json_object *ret, char *path, size_t size, struct err *e);

#endif
