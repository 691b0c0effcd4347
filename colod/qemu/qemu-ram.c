// SPDX-License-Identifier: GPL-2.0-or-later
/* The shared memory of the guest: memfd_create(2), huge pages, mlock(2). */
#include "colod/qemu/qemu-ram.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26) /* <linux/memfd.h>: log2 of the size */
#endif

#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static bool is_huge(const struct qemu_ram *ram)
{
	return ram->page_bytes == 2 * MIB;
}

/* Huge pages must have been reserved; say how many are there and how to get more. */
static int no_huge_pages(uint64_t bytes, int code, struct err *e)
{
	autofree char *text = NULL;
	unsigned long long free_pages = 0;

	if (io_read_file(HUGE_FREE, &text, NULL))
		return err_set(e, code, "this kernel has no 2 MB pages; set memory_page_size = 4K");
	free_pages = strtoull(text, NULL, 10);
	return err_set(e, code,
		       "the guest needs %" PRIu64
		       " huge pages of 2 MB, %llu are free; reserve more "
		       "(sysctl vm.nr_hugepages) or set memory_page_size = 4K",
		       bytes / (2 * MIB), free_pages);
}

/* All of it will be taken at once; running out in the middle would wake the OOM killer. */
static int check_available(uint64_t bytes, struct err *e)
{
	static const char key[] = "MemAvailable:";
	autofree char *text = NULL;
	const char *line;
	uint64_t have;

	if (io_read_file("/proc/meminfo", &text, NULL))
		return 0;
	line = strstr(text, key);
	if (!line)
		return 0;
	have = strtoull(line + sizeof(key) - 1, NULL, 10) * KIB;
	if (bytes <= have)
		return 0;
	return err_set(e, ENOMEM,
		       "memory: the guest needs %" PRIu64 " MB, this host has %" PRIu64
		       " MB available",
		       bytes / MIB, have / MIB);
}

static int create(const struct qemu_ram *ram, struct err *e)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	autoclose int fd = -1;
	int r = is_huge(ram) ? 0 : check_available(ram->bytes, e);

	if (r)
		return r;
	if (is_huge(ram))
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create("colod-ram", flags);
	if (fd < 0)
		return is_huge(ram) ? no_huge_pages(ram->bytes, errno, e)
				    : err_errno(e, errno, "cannot create guest memory");
	if (ftruncate(fd, (off_t)ram->bytes))
		return err_errno(e, errno, "cannot size guest memory to %" PRIu64 " bytes",
				 ram->bytes);
	/* Nobody can pull it from under our mapping. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return err_errno(e, errno, "cannot seal the size of guest memory");
	return steal_fd(&fd);
}

static int map(struct qemu_ram *ram, struct err *e)
{
	void *p = mmap(NULL, ram->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);

	/* A shared mapping of huge pages reserves them all, so this is where their lack shows. */
	if (p == MAP_FAILED && is_huge(ram))
		return no_huge_pages(ram->bytes, errno, e);
	if (p == MAP_FAILED)
		return err_errno(e, errno, "cannot map guest memory");
	ram->map = p;
	return 0;
}

/* With this capability the limit does not count, see mlock(2). */
static bool may_lock_anything(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	return !syscall(SYS_capget, &head, data) &&
	       data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

static int allow_lock(uint64_t bytes, struct err *e)
{
	struct rlimit want = {RLIM_INFINITY, RLIM_INFINITY}, have;

	if (!setrlimit(RLIMIT_MEMLOCK, &want) || may_lock_anything())
		return 0;
	if (getrlimit(RLIMIT_MEMLOCK, &have))
		return err_errno(e, errno, "cannot read the limit of locked memory");
	have.rlim_cur = have.rlim_max;
	if (have.rlim_max < bytes || setrlimit(RLIMIT_MEMLOCK, &have))
		return err_set(e, EPERM,
			       "locked memory is limited to %" PRIu64
			       " MB, the guest needs %" PRIu64
			       " MB; raise it (LimitMEMLOCK=infinity in the unit, or ulimit -l)",
			       (uint64_t)have.rlim_max / MIB, (bytes) / MIB);
	return 0;
}

static void run_lock(struct job *job)
{
	struct qemu_ram *ram = container_of(job, struct qemu_ram, lock_job);

	ram->lock_errno = mlock(ram->map, ram->bytes) ? errno : 0;
}

static void lock_done(struct job *job)
{
	struct qemu_ram *ram = container_of(job, struct qemu_ram, lock_job);
	struct err e = {};

	if (ram->lock_errno)
		err_errno(&e, ram->lock_errno,
			  "memory: cannot lock %" PRIu64 " MB into this host's memory",
			  ram->bytes / MIB);
	ram->is_locked = !ram->lock_errno;
	ram->locked(ram->arg, ram->lock_errno ? &e : NULL);
}

/*
 * Small pages for us and for QEMU, which inherits this (prctl(2)): tracking works on small pages
 * anyway, and a written page that was never touched before was once not reported while khugepaged
 * collapsed the memory around it (Linux 6.12).
 */
static int forbid_transparent_huge_pages(struct err *e)
{
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		return err_errno(e, errno, "cannot switch transparent huge pages off");
	return 0;
}

static int map_and_lock(struct qemu_ram *ram, struct loop *l, struct err *e)
{
	int r = map(ram, e);

	if (!r)
		r = allow_lock(ram->bytes, e);
	if (!r)
		r = worker_start(&ram->worker, l, "ram-lock", e);
	if (r)
		return r;
	ram->lock_job = (struct job){.run = run_lock, .done = lock_done};
	worker_submit(ram->worker, &ram->lock_job);
	return 0;
}

int qemu_ram_open(struct qemu_ram *ram, struct loop *l, struct err *e)
{
	int r = forbid_transparent_huge_pages(e);

	if (r)
		return r;
	ram->fd = create(ram, e);
	return ram->fd < 0 ? ram->fd : map_and_lock(ram, l, e);
}

static int check_adopted(const struct qemu_ram *ram, struct err *e)
{
	int seals = fcntl(ram->fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(ram->fd, &st) ||
	    (uint64_t)st.st_size != ram->bytes)
		return err_set(e, EINVAL,
			       "the descriptor that should be guest memory of %" PRIu64
			       " MB is something else",
			       ram->bytes / MIB);
	return 0;
}

int qemu_ram_adopt(struct qemu_ram *ram, int fd, struct loop *l, struct err *e)
{
	int r;

	ram->fd = fd;
	r = forbid_transparent_huge_pages(e);
	if (!r)
		r = check_adopted(ram, e);
	return r ? r : map_and_lock(ram, l, e);
}

void qemu_ram_close(struct qemu_ram *ram)
{
	if (ram->worker)
		worker_stop(ram->worker);
	ram->worker = NULL;
	if (ram->map)
		munmap(ram->map, ram->bytes);
	ram->map = NULL;
	close_fd(&ram->fd);
}
