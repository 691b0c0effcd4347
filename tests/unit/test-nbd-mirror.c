// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD server as the target of a real QEMU's blockdev-mirror: first copy, writes through, a target that hangs. */
#include "tests/unit/nbd-rig.h"
#include "tests/unit/qmp-qemu.h"

#include <fcntl.h>

#define DISK_BYTES  (16 * MIB + 512)
#define OTHER_BYTES (2 * MIB)

struct mirror {
	struct fixture qmp; /* a struct fixture begins it, for qmp-socket.h's helpers */
	struct rig r;
	char file[80];
	bool ready, over;
	char ended[1024]; /* data of the event that ended the job */
	struct qmp_subscription events;
};

static void on_event(void *arg, const char *event, struct json_object *data, uint64_t timestamp_us)
{
	struct mirror *m = arg;

	(void)timestamp_us;
	if (!strcmp(event, "BLOCK_JOB_READY"))
		m->ready = true;
	if (strcmp(event, "BLOCK_JOB_COMPLETED") && strcmp(event, "BLOCK_JOB_CANCELLED"))
		return;
	m->over = true;
	snprintf(m->ended, sizeof(m->ended), "%s", json_object_to_json_string(data));
}

static void make_disk(struct mirror *m)
{
	autofree uint8_t *data = malloc(DISK_BYTES);
	autoclose int fd = open(m->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct rng rng = {5};

	/* Data, a hole, zeroes. */
	rng_fill(&rng, data, DISK_BYTES);
	memset(data + 8 * MIB, 0, MIB);
	assert_int_equal(pwrite(fd, data, 5 * MIB, 0), 5 * MIB);
	assert_int_equal(pwrite(fd, data + 7 * MIB, DISK_BYTES - 7 * MIB, (off_t)(7 * MIB)),
			 DISK_BYTES - 7 * MIB);
}

/* Send, wait for the end, which is to be success. */
static void command(struct mirror *m, const char *name, const char *args)
{
	struct end e = {};

	assert_int_equal(send_with(&m->qmp, name, args_of(args), -1, &e), 0);
	run_until(&m->qmp, e.calls);
	if (e.status)
		fail_msg("%s: %s", name, e.text);
	assert_null(strstr(e.text, "rror")); /* of the human monitor */
}

static void start_mirror(struct mirror *m)
{
	char args[512];

	snprintf(args, sizeof(args),
		 "{\"driver\": \"raw\", \"node-name\": \"disk\", \"file\": {\"driver\": \"file\", "
		 "\"filename\": \"%s\", \"cache\": {\"no-flush\": true}}}",
		 m->file);
	command(m, "blockdev-add", args);
	snprintf(args, sizeof(args),
		 "{\"driver\": \"nbd\", \"node-name\": \"log\", \"export\": \"disk0\", \"server\": "
		 "{\"type\": \"unix\", \"path\": \"%s\"}}",
		 m->r.path);
	command(m, "blockdev-add", args);
	command(m, "blockdev-mirror",
		"{\"job-id\": \"m0\", \"device\": \"disk\", \"target\": \"log\", \"sync\": "
		"\"full\", \"copy-mode\": \"write-blocking\", \"filter-node-name\": \"top\"}");
}

static int setup(void **state)
{
	struct mirror *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	run_qemu(&m->qmp);
	rig_start(&m->r, m->qmp.loop, DISK_BYTES, OTHER_BYTES);
	snprintf(m->file, sizeof(m->file), "%s/disk", m->r.dir);
	make_disk(m);
	memset(m->r.bytes[0], 0xff, DISK_BYTES);
	m->events = (struct qmp_subscription){.fn = on_event, .arg = m};
	qmp_client_subscribe(qmp_loop_client(m->qmp.q), &m->events);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct mirror *m = *state;

	kill_qemu(&m->qmp);
	unlink(m->file);
	m->r.late = false;
	rig_stop(&m->r);
	close_pair(&m->qmp);
	free(m);
	return 0;
}

static void assert_same_content(struct mirror *m)
{
	autofree uint8_t *disk = malloc(DISK_BYTES);
	autoclose int fd = open(m->file, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, disk, DISK_BYTES), DISK_BYTES);
	assert_memory_equal(disk, m->r.bytes[0], DISK_BYTES);
}

/* What the guest would do, above the mirror. */
static void guest_does(struct mirror *m, const char *what)
{
	char args[256];

	snprintf(args, sizeof(args), "{\"command-line\": \"qemu-io top \\\"%s\\\"\"}", what);
	command(m, "human-monitor-command", args);
}

static void assert_in_step(struct mirror *m)
{
	struct end e = {};
	struct json_object *jobs, *job;

	assert_int_equal(send_cmd(&m->qmp, "query-block-jobs", &e), 0);
	run_until(&m->qmp, e.calls);
	jobs = args_of(e.text);
	job = json_object_array_get_idx(jobs, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(job, "status")), "ready");
	assert_int_equal(json_object_get_int64(json_object_object_get(job, "len")),
			 json_object_get_int64(json_object_object_get(job, "offset")));
	json_object_put(jobs);
}

static void a_mirror_copies_the_disk_and_every_write_after_it(void **state)
{
	struct mirror *m = *state;

	start_mirror(m);
	run_until(&m->qmp, m->ready || m->over);
	assert_false(m->over);
	assert_same_content(m);
	/* Here as soon as the guest is told that it has written. */
	guest_does(m, "write -P 1 0 64k");
	assert_int_equal(m->r.bytes[0][64 * KIB - 1], 1);
	guest_does(m, "write -P 2 5M 3M");
	assert_int_equal(m->r.bytes[0][8 * MIB - 1], 2);
	guest_does(m, "write -z 1M 1M");
	assert_int_equal(m->r.bytes[0][MIB], 0);
	guest_does(m, "write -P 3 512 512");
	guest_does(m, "write -P 4 16M 512");
	guest_does(m, "discard 12M 1M");
	guest_does(m, "flush");
	assert_in_step(m);
	assert_same_content(m);
	command(m, "block-job-cancel", "{\"device\": \"m0\", \"force\": true}");
	run_until(&m->qmp, m->over);
	command(m, "blockdev-del", "{\"node-name\": \"log\"}");
	run_until(&m->qmp, m->r.n_closed);
	assert_true(m->r.closed_in_peace);
	assert_same_content(m);
	assert_int_equal(m->r.n_cancelled, 0);
}

static void a_mirror_goes_on_when_held_back_answers_come(void **state)
{
	struct mirror *m = *state;
	unsigned rounds = 0;

	m->r.hold[0] = true;
	start_mirror(m);
	while (!m->ready) {
		run_until(&m->qmp, m->r.n_held || m->ready || m->over);
		assert_false(m->over);
		rounds++;
		while (m->r.n_held)
			nbd_request_done(m->r.held[--m->r.n_held], 0);
	}
	assert_true(rounds > 1);
	m->r.hold[0] = false;
	assert_in_step(m);
	assert_same_content(m);
}

static void cutting_a_hung_target_lets_stop_and_the_guest_go_on(void **state)
{
	struct mirror *m = *state;
	struct end write = {}, stop = {};
	uint8_t before;

	start_mirror(m);
	run_until(&m->qmp, m->ready || m->over);
	m->r.hold[0] = true;
	assert_int_equal(send_with(&m->qmp, "human-monitor-command",
				   args_of("{\"command-line\": \"qemu-io top \\\"write -P 9 3M "
					   "4k\\\"\"}"),
				   -1, &write),
			 0);
	assert_int_equal(send_cmd(&m->qmp, "stop", &stop), 0);
	run_until(&m->qmp, m->r.n_held);
	assert_int_equal(write.calls + stop.calls, 0);
	before = m->r.bytes[0][3 * MIB];
	nbd_server_cut(m->r.server, 0, "stop takes too long");
	assert_int_equal(m->r.n_held, 0);
	run_until(&m->qmp, stop.calls);
	assert_int_equal(write.status, 0);
	assert_int_equal(stop.status, 0);
	/* The job is over by its own error, the guest's write is on its own disk. */
	run_until(&m->qmp, m->over);
	assert_non_null(strstr(m->ended, "error"));
	assert_int_equal(m->r.n_opened, 1);
	m->r.bytes[0][3 * MIB] = before;
	assert_same_content(m);
	/* Its flush would have connected again and hung. */
	command(m, "blockdev-del", "{\"node-name\": \"log\"}");
	assert_int_equal(m->r.n_opened, 1);
}

static void a_disk_protected_again_is_copied_again(void **state)
{
	struct mirror *m = *state;

	m->r.cut_at = 3;
	start_mirror(m);
	run_until(&m->qmp, m->over);
	assert_non_null(strstr(m->ended, "error"));
	command(m, "blockdev-del", "{\"node-name\": \"log\"}");
	command(m, "blockdev-del", "{\"node-name\": \"disk\"}");
	m->over = m->ready = false;
	nbd_server_admit(m->r.server, 0);
	start_mirror(m);
	run_until(&m->qmp, m->ready || m->over);
	assert_false(m->over);
	assert_same_content(m);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_mirror_copies_the_disk_and_every_write_after_it),
		t(a_mirror_goes_on_when_held_back_answers_come),
		t(cutting_a_hung_target_lets_stop_and_the_guest_go_on),
		t(a_disk_protected_again_is_copied_again),
	};

	return cmocka_run_group_tests_name("nbd-mirror", tests, NULL, NULL);
}
