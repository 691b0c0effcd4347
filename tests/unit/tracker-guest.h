/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stand-in for QEMU: a child process with shared memory that writes to it on command. */
#ifndef TESTS_TRACKER_GUEST_H
#define TESTS_TRACKER_GUEST_H

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/tracker/uffd-open.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define GUEST_MAX_WRITERS 4

enum guest_op {
	GUEST_WRITE,      /* store to @count pages from @page on, @stride apart */
	GUEST_READ_INTO,  /* read(2) a file into these pages */
	GUEST_VM_WRITEV,  /* process_vm_writev(2) into these pages, by the guest process itself */
	GUEST_FORK,       /* fork a child that exits, wait for it */
	GUEST_MADVISE,    /* madvise(MADV_DONTNEED) of these pages; result is the errno */
	GUEST_RUN,        /* start @count writer threads */
	GUEST_RUN_KERNEL, /* the same, and some of the writes are made by the kernel */
	GUEST_HALT,       /* end them */
};

struct guest_cmd {
	enum guest_op op;
	uint64_t page, count, stride;
};

/* What the parent sees of the running writers. */
struct guest_shared {
	_Atomic uint64_t writes;
	_Atomic bool run;
};

struct guest {
	pid_t pid;
	int sock, memfd, uffd;
	uint64_t va, bytes;
	uint32_t page_bytes;
	bool populate; /* the child touches all of it first */
	bool lock;     /* the parent locks it, through its own mapping, as colod does */
	struct guest_shared *shared;
	uint8_t *seen; /* the parent's own mapping, as colod has one */
};

/* The child's side. */
struct writer {
	pthread_t thread;
	struct guest_child *child;
	uint64_t random;
	unsigned index, of; /* which of how many writers */
	bool kernel_too;
};

struct guest_child {
	struct guest *g;
	uint8_t *ram;
	int source; /* a file to read(2) from */
	unsigned nwriters;
	struct writer writers[GUEST_MAX_WRITERS];
};

static void child_require(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	_exit(3);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void kernel_read_into(struct guest_child *c, uint8_t *page)
{
	child_require(pread(c->source, page, PAGE_BYTES, 0) == (ssize_t)PAGE_BYTES, "pread");
}

static void vm_writev_into(uint8_t *page, const void *from)
{
	struct iovec src = {(void *)(uintptr_t)from, 512}, dst = {page + 1024, 512};

	child_require(process_vm_writev(getpid(), &src, 1, &dst, 1, 0) == 512, "process_vm_writev");
}

static void write_somehow(struct writer *w, uint8_t *page, uint64_t r)
{
	uint64_t bytes[64];

	switch (w->kernel_too ? r >> 60 & 7 : r >> 60 & 3) {
	case 0:
		memset(page, (int)(r >> 8 & 0xff), PAGE_BYTES);
		return;
	case 4:
		kernel_read_into(w->child, page);
		return;
	case 5:
		memset(bytes, (int)(r >> 8 & 0xff), sizeof(bytes));
		vm_writev_into(page, bytes);
		return;
	default:
		((volatile uint64_t *)page)[r >> 20 & 511]++;
	}
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	struct guest_child *c = w->child;

	while (atomic_load(&c->g->shared->run)) {
		for (int i = 0; i < 8; i++) {
			uint64_t r = next_random(&w->random);
			/* Every page has one writer: bytes are not what they race for. */
			uint64_t mine = r % (c->g->bytes / PAGE_BYTES / w->of);
			uint64_t page = mine * w->of + w->index;

			write_somehow(w, c->ram + page * PAGE_BYTES, next_random(&w->random));
		}
		atomic_fetch_add(&c->g->shared->writes, 8);
		/* Sparse writes show a lost page better: nothing else reports it again. */
		usleep(100);
	}
	return NULL;
}

static void child_run(struct guest_child *c, unsigned n, bool kernel_too)
{
	atomic_store(&c->g->shared->run, true);
	for (c->nwriters = 0; c->nwriters < n; c->nwriters++) {
		struct writer *w = &c->writers[c->nwriters];

		*w = (struct writer){.child = c,
				     .random = 88172645463325252ull + c->nwriters * 7919,
				     .index = c->nwriters,
				     .of = n,
				     .kernel_too = kernel_too};
		child_require(!pthread_create(&w->thread, NULL, writer_main, w), "pthread_create");
	}
}

static void child_halt(struct guest_child *c)
{
	atomic_store(&c->g->shared->run, false);
	while (c->nwriters)
		pthread_join(c->writers[--c->nwriters].thread, NULL);
}

static void child_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	child_require(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
}

static void child_pages(struct guest_child *c, const struct guest_cmd *cmd)
{
	static uint64_t generation;
	uint64_t bytes[64];

	for (uint64_t i = 0; i < cmd->count; i++) {
		uint8_t *page = c->ram + (cmd->page + i * cmd->stride) * PAGE_BYTES;

		generation++;
		memset(bytes, (int)generation, sizeof(bytes));
		if (cmd->op == GUEST_WRITE)
			*(volatile uint64_t *)page = generation;
		else if (cmd->op == GUEST_READ_INTO)
			kernel_read_into(c, page);
		else
			vm_writev_into(page, bytes);
	}
}

static int child_do(struct guest_child *c, const struct guest_cmd *cmd)
{
	switch (cmd->op) {
	case GUEST_WRITE:
	case GUEST_READ_INTO:
	case GUEST_VM_WRITEV:
		child_pages(c, cmd);
		return 0;
	case GUEST_FORK:
		child_fork();
		return 0;
	case GUEST_MADVISE:
		return madvise(c->ram + cmd->page * PAGE_BYTES, cmd->count * PAGE_BYTES,
			       MADV_DONTNEED)
			       ? errno
			       : 0;
	case GUEST_RUN:
	case GUEST_RUN_KERNEL:
		child_run(c, (unsigned)cmd->count, cmd->op == GUEST_RUN_KERNEL);
		return 0;
	case GUEST_HALT:
		child_halt(c);
		return 0;
	}
	return EINVAL;
}

static void child_map(struct guest_child *c)
{
	struct guest *g = c->g;
	void *p = mmap(NULL, g->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd, 0);

	child_require(p != MAP_FAILED, "mmap");
	if (g->populate)
		memset(p, 1, g->bytes);
	c->ram = p;
	c->source = memfd_create("source", 0);
	for (int i = 0; i < (int)PAGE_BYTES; i++)
		child_require(write(c->source, &i, 1) == 1, "write");
}

static _Noreturn void child_main(struct guest *g)
{
	struct guest_child c = {.g = g};
	struct guest_cmd cmd;
	uint64_t va;
	int uffd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* cmocka's handlers would make the child go on with the tests. */
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	child_map(&c);
	va = (uintptr_t)c.ram;
	uffd = uffd_create();
	/* Kernels without asynchronous write protection get the other tracker, and a useless fd. */
	if (uffd >= 0)
		uffd_enable(uffd);
	else
		uffd = c.source;
	child_require(io_send_fd(g->sock, &va, sizeof(va), uffd) == sizeof(va), "send");
	close(uffd == c.source ? -1 : uffd);
	while (!io_read_full(g->sock, &cmd, sizeof(cmd))) {
		int r = child_do(&c, &cmd);

		child_require(!io_write_full(g->sock, &r, sizeof(r)), "reply");
	}
	_exit(0);
}

/* Fill bytes, page_bytes, populate and lock first. */
static void guest_start(struct guest *g)
{
	int flags = g->page_bytes == PAGE_BYTES ? 0 : MFD_HUGETLB | MFD_HUGE_2MB;
	int sv[2];

	g->memfd = memfd_create("guest-ram", MFD_CLOEXEC | flags);
	assert_true(g->memfd >= 0);
	assert_int_equal(ftruncate(g->memfd, (off_t)g->bytes), 0);
	g->shared = mmap(NULL, sizeof(*g->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(g->shared, MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	g->pid = fork();
	assert_true(g->pid >= 0);
	if (!g->pid) {
		close(sv[0]);
		g->sock = sv[1];
		child_main(g);
	}
	close(sv[1]);
	g->sock = sv[0];
	if (io_recv_fd(g->sock, &g->va, sizeof(g->va), &g->uffd) != sizeof(g->va))
		fail_msg("the guest did not start: are there enough huge pages?");
	g->seen = mmap(NULL, g->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd, 0);
	assert_ptr_not_equal(g->seen, MAP_FAILED);
	if (g->lock && mlock(g->seen, g->bytes))
		fail_msg("cannot lock %lu MB: raise RLIMIT_MEMLOCK",
			 (unsigned long)(g->bytes / MIB));
}

static int guest_do(struct guest *g, enum guest_op op, uint64_t page, uint64_t count,
		    uint64_t stride)
{
	struct guest_cmd cmd = {op, page, count, stride};
	int r;

	assert_int_equal(io_write_full(g->sock, &cmd, sizeof(cmd)), 0);
	assert_int_equal(io_read_full(g->sock, &r, sizeof(r)), 0);
	return r;
}

/* Returns when every thread of the guest stands still. */
static void guest_freeze(struct guest *g)
{
	int status;

	assert_int_equal(kill(g->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(g->pid, &status, WUNTRACED), g->pid);
	assert_true(WIFSTOPPED(status));
}

static void guest_thaw(struct guest *g)
{
	assert_int_equal(kill(g->pid, SIGCONT), 0);
}

/* Wait until the writers have done @n more writes. */
static void guest_wait_writes(struct guest *g, uint64_t n)
{
	uint64_t goal = atomic_load(&g->shared->writes) + n;

	while (atomic_load(&g->shared->writes) < goal) {
		assert_int_equal(waitpid(g->pid, NULL, WNOHANG), 0);
		sched_yield();
	}
}

static void guest_kill(struct guest *g)
{
	if (g->pid <= 0)
		return;
	kill(g->pid, SIGKILL);
	waitpid(g->pid, NULL, 0);
	g->pid = 0;
}

static void guest_end(struct guest *g)
{
	guest_kill(g);
	munmap(g->seen, g->bytes);
	munmap(g->shared, sizeof(*g->shared));
	close_fd(&g->uffd);
	close_fd(&g->sock);
	close_fd(&g->memfd);
}

#endif
