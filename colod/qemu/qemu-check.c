// SPDX-License-Identifier: GPL-2.0-or-later
/* Start-up checks over QMP answers: each says no with the words that help to change it. */
#include "colod/qemu/qemu-check.h"

#include "colod/qemu/ramblock.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static int odd_answer(const char *cmd, struct err *e)
{
	return err_set(e, EPROTO, "QEMU's answer to %s has an unknown form; use QEMU 7.2 to 10.0",
		       cmd);
}

/* A member of the given type, or NULL. */
static struct json_object *member(struct json_object *obj, const char *key, enum json_type type)
{
	struct json_object *v;

	if (!json_object_is_type(obj, json_type_object) ||
	    !json_object_object_get_ex(obj, key, &v) || !json_object_is_type(v, type))
		return NULL;
	return v;
}

static const char *string_member(struct json_object *obj, const char *key)
{
	return json_object_get_string(member(obj, key, json_type_string));
}

static bool true_member(struct json_object *obj, const char *key)
{
	return json_object_get_boolean(member(obj, key, json_type_boolean));
}

/* A string answer copied into a field of @size bytes. */
static int take_string(struct json_object *ret, const char *cmd, char *field, size_t size,
		       struct err *e)
{
	if (!json_object_is_type(ret, json_type_string) ||
	    (size_t)json_object_get_string_len(ret) >= size)
		return odd_answer(cmd, e);
	snprintf(field, size, "%s", json_object_get_string(ret));
	return 0;
}

int check_version(struct guest *g, const struct qmp_version *v, struct err *e)
{
	snprintf(g->version, sizeof(g->version), "%d.%d.%d", v->major, v->minor, v->micro);
	if (v->major < QEMU_MIN_MAJOR || (v->major == QEMU_MIN_MAJOR && v->minor < QEMU_MIN_MINOR))
		return err_set(e, ENOTSUP, "QEMU %s is too old; use %d.%d or newer", g->version,
			       QEMU_MIN_MAJOR, QEMU_MIN_MINOR);
	return 0;
}

int check_status(struct json_object *ret, struct err *e)
{
	const char *status = string_member(ret, "status");

	if (!status)
		return odd_answer("query-status", e);
	if (strcmp(status, "prelaunch"))
		return err_set(e, ENOTSUP,
			       "the guest did not wait for colod to start it (status \"%s\"); is "
			       "another program using this QEMU?",
			       status);
	return 0;
}

int check_machine(struct guest *g, struct json_object *ret, struct err *e)
{
	static const char suffix[] = "-machine";
	size_t len;
	int r = take_string(ret, "qom-get /machine", g->machine, sizeof(g->machine), e);

	if (r)
		return r;
	len = strlen(g->machine);
	if (len > sizeof(suffix) - 1 && !strcmp(g->machine + len - (sizeof(suffix) - 1), suffix))
		g->machine[len - (sizeof(suffix) - 1)] = 0;
	/* Of others (isapc, microvm) the firmware's memory is writable, and QEMU 7.2 does not say so. */
	if (strncmp(g->machine, "pc-q35-", 7) && strncmp(g->machine, "pc-i440fx-", 10))
		return err_set(e, ENOTSUP,
			       "machine %s is not supported: its firmware lies in writable memory, "
			       "which is not replicated; use -machine q35 or pc",
			       g->machine);
	return 0;
}

int check_cpus(struct guest *g, struct json_object *ret, char *path, size_t size, struct err *e)
{
	const char *qom_path;

	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-cpus-fast", e);
	g->vcpus = (uint32_t)json_object_array_length(ret);
	qom_path = g->vcpus ? string_member(json_object_array_get_idx(ret, 0), "qom-path") : NULL;
	if (!qom_path || (size_t)snprintf(path, size, "%s", qom_path) >= size)
		return odd_answer("query-cpus-fast", e);
	return 0;
}

int check_cpu_model(struct guest *g, struct json_object *ret, struct err *e)
{
	return take_string(ret, "qom-get of a CPU", g->cpu_model, sizeof(g->cpu_model), e);
}

int check_kvm(struct guest *g, struct json_object *ret, struct err *e)
{
	struct json_object *enabled = member(ret, "enabled", json_type_boolean);

	if (!enabled)
		return odd_answer("query-kvm", e);
	snprintf(g->accel, sizeof(g->accel), "%s",
		 json_object_get_boolean(enabled) ? "kvm" : "tcg");
	return 0;
}

int check_iothreads(struct json_object *ret, struct err *e)
{
	const char *id;

	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-iothreads", e);
	if (!json_object_array_length(ret))
		return 0;
	id = string_member(json_object_array_get_idx(ret, 0), "id");
	return err_set(e, ENOTSUP,
		       "iothread \"%s\": disks in an iothread lose interrupts across checkpoints; "
		       "remove it and the iothread= of devices",
		       id ?: "?");
}

int check_memory_devices(struct json_object *ret, struct err *e)
{
	struct json_object *first;
	const char *id, *type;

	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-memory-devices", e);
	if (!json_object_array_length(ret))
		return 0;
	first = json_object_array_get_idx(ret, 0);
	id = string_member(member(first, "data", json_type_object), "id");
	type = string_member(first, "type");
	return err_set(e, ENOTSUP,
		       "memory device \"%s\" (%s): memory besides the main memory is not "
		       "replicated; remove it and raise the key memory",
		       id ?: "without id", type ?: "?");
}

int check_blockers(struct json_object *ret, struct err *e)
{
	struct json_object *reasons = member(ret, "blocked-reasons", json_type_array);
	char text[300] = "";
	size_t used = 0;

	if (!json_object_is_type(ret, json_type_object))
		return odd_answer("query-migrate", e);
	for (size_t i = 0; reasons && i < json_object_array_length(reasons); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(reasons, i));

		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 i ? "; " : "", s ?: "?");
	}
	if (!*text)
		return 0;
	return err_set(e, ENOTSUP, "a device of the guest cannot be moved to another host: %s",
		       text);
}

static const char *disk_name(struct json_object *disk)
{
	const char *device = string_member(disk, "device");

	if (device && *device)
		return device;
	return string_member(disk, "qdev") ?: "?";
}

int check_disks(struct json_object *ret, struct err *e)
{
	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-block", e);
	for (size_t i = 0; i < json_object_array_length(ret); i++) {
		struct json_object *disk = json_object_array_get_idx(ret, i);
		struct json_object *medium = member(disk, "inserted", json_type_object);

		if (!medium || true_member(medium, "ro"))
			continue;
		return err_set(e, ENOTSUP,
			       "disk \"%s\" (%.200s) is writable, and disks are not replicated by "
			       "this version; make it read-only (readonly=on) or take it out",
			       disk_name(disk), string_member(medium, "file") ?: "?");
	}
	return 0;
}

/* Drivers that let hardware or another process write into guest memory. */
#define DMA_DRIVERS "@(nvme|io_uring|nvme-io_uring|virtio-blk-*)"

static int check_node(struct json_object *node, struct err *e)
{
	const char *name = string_member(node, "node-name") ?: "?";
	const char *file = string_member(node, "file") ?: "?";
	const char *driver = string_member(node, "drv") ?: "?";

	if (true_member(member(node, "cache", json_type_object), "direct"))
		return err_set(e, ENOTSUP,
			       "disk image \"%.200s\" (node \"%s\") is opened with O_DIRECT, whose "
			       "reads reach guest memory behind the back of dirty tracking; use "
			       "cache=writeback",
			       file, name);
	if (!fnmatch(DMA_DRIVERS, driver, FNM_EXTMATCH))
		return err_set(e, ENOTSUP,
			       "disk image \"%.200s\": the driver \"%s\" writes into guest memory "
			       "behind the back of dirty tracking; use a file or a block device",
			       file, driver);
	return 0;
}

int check_nodes(struct json_object *ret, struct err *e)
{
	if (!json_object_is_type(ret, json_type_array))
		return odd_answer("query-named-block-nodes", e);
	for (size_t i = 0; i < json_object_array_length(ret); i++) {
		int r = check_node(json_object_array_get_idx(ret, i), e);

		if (r)
			return r;
	}
	return 0;
}

int check_ramblocks(const struct guest *g, struct json_object *ret, struct err *e)
{
	if (!json_object_is_type(ret, json_type_string))
		return odd_answer("info ramblock", e);
	return ramblock_check(json_object_get_string(ret), g->ram_bytes, e);
}

int check_fdset(struct json_object *ret, char *path, size_t size, struct err *e)
{
	struct json_object *id = member(ret, "fdset-id", json_type_int);

	if (!id)
		return odd_answer("add-fd", e);
	snprintf(path, size, "/dev/fdset/%lld", (long long)json_object_get_int64(id));
	return 0;
}
