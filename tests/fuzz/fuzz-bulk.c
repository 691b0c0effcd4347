// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzz target: a bulk connection of any bytes, into the receiving thread at the start of an epoch or after a resume, and
 * into a primary that asks what has arrived. Nothing of it touches the guest before it was checked. */
#include "base/cleanup.h"
#include "base/io.h"
#include "colod/checkpoint/apply.h"
#include "colod/checkpoint/rx.h"
#include "colod/checkpoint/tx-resume.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NPAGES        70 /* one frame more than a frame's 64 */
#define EPOCH         2
#define DEVICES_BYTES 4096

enum {
	TO_PRIMARY = 1,
	DIRECT = 2, /* first full copy */
	RESUMED = 4,
	CLOSED = 8,
	SENT = 16,
};

static struct {
	struct guest guest;
	struct loop *loop;
	struct ckpt_stats stats;
	struct replica replica;
	struct rx rx;
	struct tx tx;
	unsigned reports;
	int status;
	bool resumed;
	uint8_t *before;
} f;

static void on_report(void *arg, struct rx_report *r)
{
	(void)arg;
	f.reports++;
	f.status = r->status;
	f.resumed = r->resumed;
}

static void init(void)
{
	struct ckpt_env env;
	struct err e;

	f.guest.ram_bytes = NPAGES * PAGE_BYTES;
	f.guest.host_page_bytes = PAGE_BYTES;
	f.guest.ram = aligned_alloc(PAGE_BYTES, f.guest.ram_bytes);
	f.before = malloc(f.guest.ram_bytes);
	f.guest.vmstate_max_bytes = DEVICES_BYTES;
	f.guest.vmstate_fd = memfd_create("vmstate", MFD_CLOEXEC);
	assert(f.guest.ram && f.before && f.guest.vmstate_fd >= 0);
	assert(!ftruncate(f.guest.vmstate_fd, DEVICES_BYTES));
	memset(f.guest.ram, 0, f.guest.ram_bytes);
	assert(!loop_new(&f.loop, &e));
	env = (struct ckpt_env){.loop = f.loop, .stats = &f.stats};
	assert(!apply_init(&f.replica, &f.guest, &e));
	assert(!rx_init(&f.rx, &env, &f.replica, on_report, NULL, &e));
	assert(!tx_init(&f.tx, &f.guest, NULL, &f.stats, &e));
}

/* A connection on which the other end has said all this and hung up; *other is that end. */
static int connection(const uint8_t *data, size_t size, int *other)
{
	int p[2], bytes = 1 << 20;

	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p));
	setsockopt(p[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	(void)!send(p[1], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(p[1], SHUT_WR);
	*other = p[1];
	return p[0];
}

/* Until the thread has ended its part: an error at the latest when the bytes are over. */
static void hear_all(void)
{
	for (;;) {
		unsigned before = f.reports;

		while (f.reports == before)
			assert(loop_step(f.loop, USEC_PER_SEC) >= 0);
		if (f.status || !f.resumed)
			return;
	}
}

static void to_secondary(unsigned how, const uint8_t *data, size_t size)
{
	size_t first = how & RESUMED ? size / 2 : size;
	struct err e;
	int other;

	f.replica.direct = how & DIRECT;
	memcpy(f.before, f.guest.ram, f.guest.ram_bytes);
	assert(!rx_start(&f.rx, connection(data, first, &other), EPOCH, &e));
	hear_all();
	close(other);
	if (f.status && how & RESUMED) {
		rx_suspend(&f.rx);
		assert(!rx_resume(&f.rx, connection(data + first, size - first, &other), EPOCH - 1,
				  &e));
		hear_all();
		close(other);
	}
	rx_stop(&f.rx);
	free(steal_ptr(&f.replica.page_hashes));
	if (!(how & DIRECT)) /* S2 */
		assert(!memcmp(f.before, f.guest.ram, f.guest.ram_bytes));
}

static void to_primary(unsigned how, const uint8_t *data, size_t size)
{
	int other, ignored[2];
	struct tx_resumed r;
	struct err e = {};

	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ignored));
	assert(!tx_open(&f.tx, ignored[0], EPOCH, false, &e));
	if (tx_resume(&f.tx, connection(data, size, &other), how & CLOSED, how & SENT, &r, &e))
		assert(e.code && e.msg[0]);
	else
		assert(r.epoch == EPOCH || (r.committed && r.epoch == EPOCH + 1));
	assert(tx_pages_left(&f.tx) <= NPAGES);
	tx_close(&f.tx);
	close(other);
	close(ignored[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!f.loop)
		init();
	if (!size)
		return 0;
	if (data[0] & TO_PRIMARY)
		to_primary(data[0], data + 1, size - 1);
	else
		to_secondary(data[0], data + 1, size - 1);
	return 0;
}
