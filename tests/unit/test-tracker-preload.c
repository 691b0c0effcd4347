// SPDX-License-Identifier: GPL-2.0-or-later
/* The preload library: what a program finds, what colod gets, and tracking a real QEMU with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "colod/core/uffd-msg.h"
#include "colod/tracker/tracker.h"
#include "colod/tracker/uffd-open.h"

#include <inttypes.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RAM_BYTES (32 * MIB)

static char library[PATH_MAX + 32];

/* A started program: our end of the socket it inherits, and its standard output. */
struct program {
	pid_t pid;
	int sock;
	int out;
};

struct start {
	const char *file;
	char *const *argv;
	const char *env;   /* value of PRELOAD_ENV; NULL: the number of the inherited socket */
	const char *after; /* appended to LD_PRELOAD */
	void (*filter)(void);
	bool deaf; /* colod's end is closed before the program starts */
};

static void install_filter(struct sock_filter *code, unsigned short n)
{
	struct sock_fprog prog = {.len = n, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(4);
}

#define LOAD(f)               BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, f))
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n)
#define RETURN(what)          BPF_STMT(BPF_RET | BPF_K, what)

/* As container runtimes do: the system call is refused, the device is not. */
static void refuse_syscall(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		SKIP_UNLESS(SYS_userfaultfd, 1),
		RETURN(SECCOMP_RET_ERRNO | EPERM),
		RETURN(SECCOMP_RET_ALLOW),
	};

	install_filter(code, ARRAY_SIZE(code));
}

static void refuse_both(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		SKIP_UNLESS(SYS_ioctl, 3),
		LOAD(args[1]),
		SKIP_UNLESS(USERFAULTFD_IOC_NEW, 3),
		RETURN(SECCOMP_RET_ERRNO | EACCES),
		SKIP_UNLESS(SYS_userfaultfd, 1),
		RETURN(SECCOMP_RET_ERRNO | EACCES),
		RETURN(SECCOMP_RET_ALLOW),
	};

	install_filter(code, ARRAY_SIZE(code));
}

static _Noreturn void child(const struct start *s, int sock, int out)
{
	char number[16], preload[PATH_MAX + 64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(number, sizeof(number), "%d", dup(sock));
	snprintf(preload, sizeof(preload), "%s%s", library, s->after ?: "");
	dup2(out, STDOUT_FILENO);
	setenv(PRELOAD_ENV, s->env ?: number, 1);
	setenv("LD_PRELOAD", preload, 1);
	if (s->filter)
		s->filter();
	execvp(s->file, s->argv);
	_exit(5);
}

static void program_start(struct program *p, const struct start *s)
{
	int sv[2], out[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	if (s->deaf)
		close_fd(&sv[0]);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid)
		child(s, sv[1], out[1]);
	close(sv[1]);
	close(out[1]);
	p->sock = sv[0];
	p->out = out[0];
}

/* Wait for a program that ends by itself; its output must be @text. */
static void program_prints(struct program *p, const char *text)
{
	char buf[4096] = {};
	int status;

	assert_true(io_read_full(p->out, buf, sizeof(buf) - 1) == -ECONNRESET);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_string_equal(buf, text);
	close_fd(&p->out);
	close_fd(&p->sock);
}

static int receive(struct program *p, struct preload_msg *m)
{
	int fd;

	assert_int_equal(io_recv_fd(p->sock, m, sizeof(*m), &fd), sizeof(*m));
	assert_int_equal(m->magic, PRELOAD_MSG_MAGIC);
	return fd;
}

static void assert_end_of_file(struct program *p)
{
	char byte;

	assert_int_equal(io_read_full(p->sock, &byte, 1), -ECONNRESET);
}

#define PRINT_ENV "echo \"${COLOD_UFFD_FD-none} ${LD_PRELOAD-none}\""

static char *const as_qemu[] = {(char *)"qemu-system-test", (char *)"-c", (char *)PRINT_ENV, NULL};

/* What this kernel answers to the library. */
static uint32_t kernel_error(void)
{
	autoclose int uffd = uffd_create();

	return (uint32_t)(uffd < 0 ? -uffd : -uffd_enable(uffd));
}

static void qemu_hands_over_a_userfaultfd_and_forgets_the_library(void **state)
{
	struct start s = {.file = "/bin/sh", .argv = as_qemu};
	struct preload_msg m;
	struct program p;
	int fd;

	(void)state;
	program_start(&p, &s);
	fd = receive(&p, &m);
	assert_int_equal(m.error, kernel_error());
	assert_int_equal(fd >= 0, m.error == 0);
	close_fd(&fd);
	assert_end_of_file(&p);
	program_prints(&p, "none none\n");
}

static void the_users_own_preloads_stay(void **state)
{
	struct start s = {.file = "/bin/sh", .argv = as_qemu, .after = " libm.so.6:libdl.so.2"};
	struct program p;

	(void)state;
	program_start(&p, &s);
	program_prints(&p, "none libm.so.6:libdl.so.2\n");
}

static void the_socket_is_closed_while_qemu_runs(void **state)
{
	char *const argv[] = {(char *)"qemu", (char *)"-c", (char *)"read line", NULL};
	struct start s = {.file = "/bin/sh", .argv = argv};
	struct preload_msg m;
	struct program p;
	int in[2], fd, keep = dup(STDIN_FILENO);

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	dup2(in[0], STDIN_FILENO);
	program_start(&p, &s);
	dup2(keep, STDIN_FILENO);
	fd = receive(&p, &m);
	close_fd(&fd);
	assert_end_of_file(&p);
	assert_int_equal(waitpid(p.pid, NULL, WNOHANG), 0);
	assert_int_equal(write(in[1], "\n", 1), 1);
	program_prints(&p, "");
	close(in[0]);
	close(in[1]);
	close(keep);
}

static void a_wrapper_script_passes_it_on_untouched(void **state)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)PRINT_ENV, NULL};
	struct start s = {.file = "/bin/sh", .argv = argv, .env = "77"};
	char expect[PATH_MAX + 64];
	struct program p;

	(void)state;
	snprintf(expect, sizeof(expect), "77 %s\n", library);
	program_start(&p, &s);
	assert_end_of_file(&p);
	program_prints(&p, expect);
}

static void a_sandbox_that_filters_the_system_call_leaves_the_device(void **state)
{
	struct start s = {.file = "/bin/sh", .argv = as_qemu, .filter = refuse_syscall};
	struct preload_msg m;
	struct program p;
	int fd;

	(void)state;
	program_start(&p, &s);
	fd = receive(&p, &m);
	assert_int_equal(m.error, kernel_error());
	close_fd(&fd);
	program_prints(&p, "none none\n");
}

static void a_refusal_is_reported_and_qemu_runs_on(void **state)
{
	struct start s = {.file = "/bin/sh", .argv = as_qemu, .filter = refuse_both};
	struct preload_msg m;
	struct program p;

	(void)state;
	program_start(&p, &s);
	assert_int_equal(receive(&p, &m), -1);
	assert_int_equal(m.error, EACCES);
	assert_end_of_file(&p);
	program_prints(&p, "none none\n");
}

static void a_nonsense_descriptor_does_not_keep_qemu_from_running(void **state)
{
	static const char *const values[] = {"", "x", "-1", "1", "7x", "99999999999999999999"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		struct start s = {.file = "/bin/sh", .argv = as_qemu, .env = values[i]};
		struct program p;

		program_start(&p, &s);
		program_prints(&p, "none none\n");
	}
}

static void a_colod_that_is_gone_does_not_keep_qemu_from_running(void **state)
{
	struct start s = {.file = "/bin/sh", .argv = as_qemu, .deaf = true};
	struct program p;

	(void)state;
	program_start(&p, &s);
	program_prints(&p, "none none\n");
}

/* Address of the memfd in the process, 0 while it is not mapped. */
static uint64_t find_ram(pid_t pid, int memfd)
{
	autofree char *maps = NULL;
	uint64_t start, end, inode, found = 0;
	char path[64], *save = NULL;
	struct stat st;

	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(fstat(memfd, &st), 0);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	assert_int_equal(io_read_file(path, &maps, NULL), 0);
	for (char *l = strtok_r(maps, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		if (sscanf(l, "%" SCNx64 "-%" SCNx64 " %*s %*x %*s %" SCNu64, &start, &end,
			   &inode) == 3 &&
		    inode == st.st_ino && end - start == RAM_BYTES)
			found = start;
	return found;
}

static void start_qemu(struct program *p, int memfd)
{
	char object[128];
	/* Without a boot device the firmware starts over and over: RAM keeps being written. */
	char *const argv[] = {(char *)"qemu-system-x86_64",
			      (char *)"-nodefaults",
			      (char *)"-display",
			      (char *)"none",
			      (char *)"-machine",
			      (char *)"q35,accel=tcg,memory-backend=ram",
			      (char *)"-m",
			      (char *)"32",
			      (char *)"-boot",
			      (char *)"reboot-timeout=1",
			      (char *)"-sandbox",
			      (char *)"on",
			      (char *)"-object",
			      object,
			      NULL};
	struct start s = {.file = "qemu-system-x86_64", .argv = argv};

	snprintf(object, sizeof(object),
		 "memory-backend-file,id=ram,size=32M,mem-path=/proc/self/fd/%d,share=on", memfd);
	program_start(p, &s);
}

static void collect_stopped(struct tracker *t, pid_t pid, struct bitmap *written)
{
	struct err e = {};
	int status;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	bitmap_zero(written);
	if (tracker_collect(t, true, written, &e))
		fail_msg("%s", err_msg(&e));
}

static void epochs_of_qemu(struct tracker *t, pid_t pid, const uint8_t *ram)
{
	autofree uint8_t *copy = malloc(RAM_BYTES);
	struct bitmap written;
	unsigned busy = 0;

	assert_int_equal(bitmap_init(&written, RAM_BYTES / PAGE_BYTES), 0);
	memcpy(copy, ram, RAM_BYTES);
	while (busy < 30) {
		collect_stopped(t, pid, &written);
		for (uint64_t i = bitmap_next(&written, 0); i < written.nbits;
		     i = bitmap_next(&written, i + 1))
			memcpy(copy + i * PAGE_BYTES, ram + i * PAGE_BYTES, PAGE_BYTES);
		assert_memory_equal(copy, ram, RAM_BYTES);
		busy += bitmap_count(&written) > 0;
		kill(pid, SIGCONT);
		usleep(1000);
	}
	bitmap_destroy(&written);
}

static void the_ram_of_a_sandboxed_qemu_is_tracked(void **state)
{
	autoclose int memfd = memfd_create("ram", 0);
	struct tracker_target target = {
		.bytes = RAM_BYTES, .host_page_bytes = PAGE_BYTES, .threads = 1, .uffd = -1};
	struct preload_msg m;
	enum track_kind kind;
	struct tracker *t;
	struct program p;
	struct err e = {};
	uint8_t *ram;

	(void)state;
	assert_int_equal(ftruncate(memfd, RAM_BYTES), 0);
	ram = mmap(NULL, RAM_BYTES, PROT_READ, MAP_SHARED, memfd, 0);
	assert_ptr_not_equal(ram, MAP_FAILED);
	assert_int_equal(mlock(ram, RAM_BYTES), 0);
	assert_int_equal(tracker_probe(TRACK_AUTO, PAGE_BYTES, &kind, &e), 0);
	start_qemu(&p, memfd);
	target.pid = p.pid;
	target.uffd = receive(&p, &m);
	while (!(target.va = find_ram(p.pid, memfd)))
		usleep(1000);
	if (tracker_open(&t, kind, &target, &e) || tracker_arm(t, &e))
		fail_msg("%s", err_msg(&e));
	epochs_of_qemu(t, p.pid, ram);
	kill(p.pid, SIGKILL);
	waitpid(p.pid, NULL, 0);
	tracker_close(t);
	munmap(ram, RAM_BYTES);
	close_fd(&target.uffd);
	close_fd(&p.sock);
	close_fd(&p.out);
}

/* The library lies two folders above this program. */
static int find_library(void **state)
{
	ssize_t n = readlink("/proc/self/exe", library, PATH_MAX - 1);

	(void)state;
	for (int i = 0; i < 3 && n > 0; i++)
		while (n > 0 && library[--n] != '/')
			;
	strcpy(library + MAX(n, 0), "/colod-preload.so");
	return access(library, R_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_hands_over_a_userfaultfd_and_forgets_the_library),
		cmocka_unit_test(the_users_own_preloads_stay),
		cmocka_unit_test(the_socket_is_closed_while_qemu_runs),
		cmocka_unit_test(a_wrapper_script_passes_it_on_untouched),
		cmocka_unit_test(a_sandbox_that_filters_the_system_call_leaves_the_device),
		cmocka_unit_test(a_refusal_is_reported_and_qemu_runs_on),
		cmocka_unit_test(a_nonsense_descriptor_does_not_keep_qemu_from_running),
		cmocka_unit_test(a_colod_that_is_gone_does_not_keep_qemu_from_running),
		cmocka_unit_test(the_ram_of_a_sandboxed_qemu_is_tracked),
	};

	return cmocka_run_group_tests(tests, find_library, NULL);
}
