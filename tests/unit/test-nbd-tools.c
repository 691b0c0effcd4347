// SPDX-License-Identifier: GPL-2.0-or-later
/* NBD server and others' clients: libnbd's nbdinfo and nbdcopy, QEMU's qemu-img and qemu-io. */
#include "tests/unit/nbd-rig.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DISK_BYTES  (24 * MIB)
#define OTHER_BYTES (3 * MIB + 512)

struct fixture {
	struct rig r;
	char file[80], file2[80], said[80];
	char output[1 << 16]; /* of the last command, both streams */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct loop *loop;

	assert_non_null(f);
	assert_int_equal(loop_new(&loop, NULL), 0);
	rig_start(&f->r, loop, DISK_BYTES, OTHER_BYTES);
	snprintf(f->file, sizeof(f->file), "%s/file", f->r.dir);
	snprintf(f->file2, sizeof(f->file2), "%s/file2", f->r.dir);
	snprintf(f->said, sizeof(f->said), "%s/said", f->r.dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->file);
	unlink(f->file2);
	unlink(f->said);
	rig_stop(&f->r);
	loop_free(f->r.loop);
	free(f);
	return 0;
}

static void on_exit_of_child(void *arg, int fd, uint32_t revents)
{
	(void)fd;
	(void)revents;
	*(bool *)arg = true;
}

static void read_said(struct fixture *f)
{
	autofclose FILE *said = fopen(f->said, "r");
	size_t n;

	assert_non_null(said);
	n = fread(f->output, 1, sizeof(f->output) - 1, said);
	f->output[n] = 0;
}

/* Run a shell command while the server serves; its exit status. */
static int PRINTF_LIKE(2, 3) run(struct fixture *f, const char *fmt, ...)
{
	struct loop_src *src = NULL;
	bool over = false;
	char command[2048];
	int status, len;
	va_list ap;
	pid_t child;
	autoclose int pidfd = -1;

	va_start(ap, fmt);
	len = vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_true(len > 0 && len < (int)sizeof(command));
	child = fork();
	if (!child) {
		int fd = open(f->said, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(126);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	assert_true(pidfd >= 0);
	assert_int_equal(loop_add_io(f->r.loop, &src, pidfd, EPOLLIN, on_exit_of_child, &over), 0);
	turn_until(f->r.loop, over);
	loop_src_free(&src);
	assert_int_equal(waitpid(child, &status, 0), child);
	read_said(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

/* The command succeeds. */
#define run_ok(f, ...)                                                                             \
	do {                                                                                       \
		if (run(f, __VA_ARGS__))                                                           \
			fail_msg("%s", (f)->output);                                               \
	} while (0)

#define assert_said(f, what)                                                                       \
	do {                                                                                       \
		if (!strstr((f)->output, what))                                                    \
			fail_msg("no \"%s\" in: %s", what, (f)->output);                           \
	} while (0)

#define URI(name) "'nbd+unix:///" name "?socket=%s'"

/* A file of random data with a hole and zeroes, and the same bytes in memory. */
static uint8_t *make_file(const char *path, size_t bytes)
{
	uint8_t *data = malloc(bytes);
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct rng rng = {bytes};

	assert_non_null(data);
	rng_fill(&rng, data, bytes);
	memset(data + bytes / 4, 0, bytes / 4);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(pwrite(fd, data, bytes / 3, 0), bytes / 3);
	assert_int_equal(pwrite(fd, data + bytes / 2, bytes - bytes / 2, (off_t)bytes / 2),
			 bytes - bytes / 2);
	return data;
}

static void assert_file_is(const char *path, const uint8_t *data, size_t bytes)
{
	autofree uint8_t *got = malloc(bytes);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, bytes);
	assert_int_equal(read(fd, got, bytes), bytes);
	assert_memory_equal(got, data, bytes);
}

static void nbdinfo_tells_what_is_served(void **state)
{
	struct fixture *f = *state;
	const char *path = f->r.path;

	run_ok(f, "nbdinfo " URI("other"), path);
	assert_said(f, "protocol: newstyle-fixed without TLS");
	assert_said(f, "export=\"other\"");
	assert_said(f, "export-size: 3146240");
	assert_said(f, "can_flush: true");
	assert_said(f, "can_fua: true");
	assert_said(f, "can_trim: true");
	assert_said(f, "can_zero: true");
	assert_said(f, "can_fast_zero: false");
	assert_said(f, "can_multi_conn: false");
	assert_said(f, "is_read_only: false");
	assert_said(f, "block_size_minimum: 1\n");
	assert_said(f, "block_size_preferred: 4096");
	assert_said(f, "block_size_maximum: 2097152");
	run_ok(f, "nbdinfo --list " URI(""), path);
	assert_said(f, "export=\"disk0\"");
	assert_said(f, "export=\"other\"");
	run_ok(f, "nbdinfo --size " URI("disk0"), path);
	assert_string_equal(f->output, "25165824\n");
}

static void nbdcopy_brings_the_same_bytes_both_ways(void **state)
{
	struct fixture *f = *state;
	autofree uint8_t *data = make_file(f->file, DISK_BYTES);

	memset(f->r.bytes[0], 0xff, DISK_BYTES);
	run_ok(f, "nbdcopy --flush %s " URI("disk0"), f->file, f->r.path);
	assert_memory_equal(f->r.bytes[0], data, DISK_BYTES);
	assert_true(f->r.n_flushes > 0);
	run_ok(f, "nbdcopy " URI("disk0") " %s", f->r.path, f->file2);
	assert_file_is(f->file2, data, DISK_BYTES);
	run_ok(f, "nbdcopy --request-size=2097152 " URI("disk0") " null:", f->r.path);
}

static void qemu_img_brings_the_same_bytes_both_ways(void **state)
{
	struct fixture *f = *state;
	autofree uint8_t *data = make_file(f->file, OTHER_BYTES);

	run_ok(f, "qemu-img info -f raw " URI("other"), f->r.path);
	assert_said(f, "3146240 bytes");
	memset(f->r.bytes[1], 0xff, OTHER_BYTES);
	run_ok(f, "qemu-img convert -n -f raw -O raw %s " URI("other"), f->file, f->r.path);
	assert_memory_equal(f->r.bytes[1], data, OTHER_BYTES);
	run_ok(f, "qemu-img compare -f raw -F raw %s " URI("other"), f->file, f->r.path);
	run_ok(f, "qemu-img convert -f raw -O raw " URI("other") " %s", f->r.path, f->file2);
	assert_file_is(f->file2, data, OTHER_BYTES);
	f->r.bytes[1][OTHER_BYTES - 1] ^= 1;
	assert_int_equal(
		run(f, "qemu-img compare -f raw -F raw %s " URI("other"), f->file, f->r.path), 1);
	assert_said(f, "mismatch at offset 3145728");
}

static void qemu_io_may_do_all_that_is_offered(void **state)
{
	struct fixture *f = *state;
	uint8_t *disk = f->r.bytes[0];

	run_ok(f,
	       "qemu-io -t writeback -d unmap -f raw -c 'write -P 1 0 8M' -c 'write -P 2 3 5' "
	       "-c 'write -f -P 3 1M 4k' -c 'write -z 2M 5M' -c 'write -z -u 8M 12M' "
	       "-c 'discard 0 64k' -c flush "
	       "-c 'aio_write -P 4 9M 64k' -c 'aio_write -P 5 10M 4M' -c 'aio_write -P 6 15M 1' "
	       "-c aio_flush -c 'read -P 5 10M 4M' -c 'read -P 0 16M 4M' -c 'read -P 1 7M 1M' "
	       "-c 'read -P 6 15M 1' " URI("disk0"),
	       f->r.path);
	assert_null(strstr(f->output, "failed"));
	assert_null(strstr(f->output, "error"));
	assert_true(f->r.n_fua > 0 && f->r.n_flushes > 0 && f->r.n_no_unmap > 0);
	assert_int_equal(disk[0], 0);
	assert_int_equal(disk[64 * KIB], 1);
	assert_int_equal(disk[MIB], 3);
	assert_int_equal(disk[2 * MIB - 1], 1);
	assert_int_equal(disk[2 * MIB], 0);
	assert_int_equal(disk[7 * MIB - 1], 0);
	assert_int_equal(disk[9 * MIB + 64 * KIB - 1], 4);
	assert_int_equal(disk[15 * MIB], 6);
	assert_int_equal(disk[15 * MIB + 1], 0);
	/* 2 KiB from a byte on, as no guest does it. */
	run_ok(f, "qemu-io -f raw -c 'write -P 7 513 2k' " URI("disk0"), f->r.path);
	assert_int_equal(disk[513], 7);
	assert_int_equal(disk[513 + 2048], 0);
}

static void an_unknown_disk_is_refused_in_words(void **state)
{
	struct fixture *f = *state;

	assert_int_not_equal(run(f, "qemu-img info -f raw " URI("third"), f->r.path), 0);
	assert_said(f, "no such export is served here");
	assert_int_not_equal(run(f, "nbdinfo " URI("third"), f->r.path), 0);
}

static void an_error_reaches_the_client_as_what_it_is(void **state)
{
	struct fixture *f = *state;

	f->r.error = ENOSPC;
	assert_int_not_equal(run(f, "qemu-io -f raw -c 'write 0 64k' " URI("disk0"), f->r.path), 0);
	assert_said(f, "No space left on device");
	f->r.error = EIO;
	assert_int_not_equal(run(f, "qemu-io -f raw -c 'read 0 64k' " URI("disk0"), f->r.path), 0);
	assert_said(f, "Input/output error");
}

static void a_client_that_is_cut_off_fails_and_does_not_hang(void **state)
{
	struct fixture *f = *state;
	autofree uint8_t *data = make_file(f->file, DISK_BYTES);

	f->r.cut_at = 3;
	assert_int_not_equal(
		run(f, "qemu-img convert -n -f raw -O raw %s " URI("disk0"), f->file, f->r.path),
		0);
	f->r.cut_at = 0;
	nbd_server_admit(f->r.server, 0);
	f->r.n_requests = 0;
	run_ok(f, "qemu-img convert -n -f raw -O raw %s " URI("disk0"), f->file, f->r.path);
	assert_memory_equal(f->r.bytes[0], data, DISK_BYTES);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(nbdinfo_tells_what_is_served),
		t(nbdcopy_brings_the_same_bytes_both_ways),
		t(qemu_img_brings_the_same_bytes_both_ways),
		t(qemu_io_may_do_all_that_is_offered),
		t(an_unknown_disk_is_refused_in_words),
		t(an_error_reaches_the_client_as_what_it_is),
		t(a_client_that_is_cut_off_fails_and_does_not_hang),
	};

	return cmocka_run_group_tests_name("nbd-tools", tests, NULL, NULL);
}
