// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's threads: priorities of those on the pause's path, ours too; one to know its end by. */
#include "colod/daemon/daemon-priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PAUSE_PATH_NICE -10

/* It ends with QEMU, and before QEMU is dead. */
static void watch_cpu_thread(struct daemon *d, struct json_object *cpus)
{
	struct json_object *cpu = json_object_array_get_idx(cpus, 0), *id;

	if (json_object_object_get_ex(cpu, "thread-id", &id))
		qemu_watch_thread(d->qemu, (pid_t)json_object_get_int64(id));
}

static bool is_cpu_thread(struct json_object *cpus, int64_t tid)
{
	for (size_t i = 0; i < json_object_array_length(cpus); i++) {
		struct json_object *cpu = json_object_array_get_idx(cpus, i), *id;

		if (json_object_object_get_ex(cpu, "thread-id", &id) &&
		    json_object_get_int64(id) == tid)
			return true;
	}
	return false;
}

/*
 * All threads that do not run the guest. QEMU names its threads only when it is started so. Helper
 * threads may be gone by now, and missing rights were told before.
 */
static void on_cpus(void *arg, const struct qmp_reply *r)
{
	struct daemon *d = arg;
	const struct dirent *task;
	char path[32];
	DIR *tasks;

	if (r->status || !json_object_is_type(r->ret, json_type_array))
		return;
	watch_cpu_thread(d, r->ret);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)d->guest->pid);
	tasks = opendir(path);
	while (tasks && (task = readdir(tasks))) {
		long tid = strtol(task->d_name, NULL, 10);

		if (tid > 0 && !is_cpu_thread(r->ret, tid))
			setpriority(PRIO_PROCESS, (id_t)tid, PAUSE_PATH_NICE);
	}
	if (tasks)
		closedir(tasks);
}

void daemon_hurry(struct daemon *d)
{
	struct qmp_cmd cmd = {.name = "query-cpus-fast", .fd = -1, .fn = on_cpus, .arg = d};

	if (setpriority(PRIO_PROCESS, 0, PAUSE_PATH_NICE))
		log_info("main",
			 "cannot raise priorities (%s): pauses will be longer on a busy host",
			 strerrorname_np(errno));
	/* A connection that is gone is noticed elsewhere. */
	qmp_loop_send(d->guest->qmp, &cmd);
}
