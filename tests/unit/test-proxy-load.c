// SPDX-License-Identifier: GPL-2.0-or-later
/* More than the proxy can carry: it stays in the hand of its daemon, and what was lost is told. */
#include "proxy/proxy-priv.h"
#include "tests/unit/proxy-rig.h"

#include <pthread.h>

/* ---- a flood to the guest's tap, faster than one thread reads ---- */

#define SENDERS 3

struct flood {
	struct host *h;
	struct mk m;
	atomic_bool stop, gave_up;
	atomic_uint_fast64_t sent;
	pthread_t threads[SENDERS];
};

static void *send_flood(void *arg)
{
	struct flood *f = arg;
	struct iovec io = {f->m.b, f->m.len};
	struct mmsghdr batch[64] = {};
	uint64_t end = clock_now_us() + GIVE_UP_US;
	int fd;

	enter(f->h);
	fd = packet_socket(TAP);
	for (int i = 0; i < 64; i++)
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &io, .msg_iovlen = 1};
	while (!atomic_load(&f->stop) && !atomic_load(&f->gave_up)) {
		atomic_store(&f->gave_up, clock_now_us() > end);
		atomic_fetch_add(&f->sent, (unsigned)MAX(sendmmsg(fd, batch, 64, 0), 0));
	}
	close(fd);
	return NULL;
}

static void flood_start(struct world *w, struct flood *f, struct host *h)
{
	datagram(w, true, 1, 16);
	*f = (struct flood){.h = h, .m = w->m};
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_create(&f->threads[i], NULL, send_flood, f), 0);
	await(w, atomic_load(&f->sent) > 50000);
}

static void flood_stop(struct flood *f)
{
	atomic_store(&f->stop, true);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(f->threads[i], NULL);
	assert_false(atomic_load(&f->gave_up));
}

static void a_flood_to_the_guest_keeps_nobody_waiting(void **state)
{
	struct world *w = *state;
	struct flood f;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	flood_start(w, &f, &w->a);
	for (uint64_t epoch = 1; epoch <= 3; epoch++) {
		assert_string_equal(status(&w->a).side, "primary");
		close_now(w, &w->a, epoch, true);
	}
	order(w, &w->a, PROXY_PASS, 0, false);
	assert_string_equal(status(&w->a).side, "pass");
	flood_stop(&f);
}

/* ---- losses ---- */

static void expect_checkpoint_for_loss(struct world *w, struct host *h)
{
	await(w, h->checkpoints == 1);
	assert_int_equal(h->reason, MISMATCH_LOST);
}

static void frames_that_find_no_room_for_the_peer_ask_for_a_checkpoint(void **state)
{
	struct world *w = *state;
	uint32_t number = 0;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	while (!status(&w->a).mirror_lost) {
		datagram(w, true, ++number, 55000);
		send_frame(&w->a, &w->m);
		guest_expect(w, &w->a, number);
	}
	expect_checkpoint_for_loss(w, &w->a);
}

static void frames_that_the_mirror_missed_ask_for_a_checkpoint(void **state)
{
	struct world *w = *state;
	struct proxy *p = w->a.proxy;
	int bytes = 64 << 10, fd;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	enter(&w->a);
	fd = packet_socket(TAP);
	pthread_mutex_lock(&p->lock); /* it cannot read */
	setsockopt(mirror_fd(&p->ports[0].mirror), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	datagram(w, true, 1, 16);
	for (int i = 0; i < 900; i++)
		assert_int_equal(send(fd, w->m.b, w->m.len, 0), w->m.len);
	pthread_mutex_unlock(&p->lock);
	expect_checkpoint_for_loss(w, &w->a);
	assert_true(status(&w->a).mirror_lost > 0);
	close(fd);
}

/* ---- verdicts ---- */

#define MANY 300 /* their verdicts are more than the least send buffer takes */

static void set_send_buffer(struct proxy *p, int bytes)
{
	pthread_mutex_lock(&p->lock);
	setsockopt(nfqueue_fd(p->ports[0].out), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	pthread_mutex_unlock(&p->lock);
}

static void verdicts_that_could_not_be_sent_are_told_and_sent_later(void **state)
{
	struct world *w = *state;

	attach_to_test(w, &w->a, PROXY_ATTACH_PRIMARY);
	close_now(w, &w->a, 1, true);
	for (uint32_t i = 1; i <= MANY; i++)
		guest_says(w, &w->a, i);
	await(w, held(&w->a) == MANY);
	close_now(w, &w->a, 2, true);
	set_send_buffer(w->a.proxy, 0);
	order(w, &w->a, PROXY_COMMIT, 2, false);
	expect_checkpoint_for_loss(w, &w->a);
	client_expect_nothing(w, &w->a);
	set_send_buffer(w->a.proxy, 1 << 20);
	for (uint32_t i = 1; i <= MANY; i++)
		client_expect(w, &w->a, i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROXY_TEST(a_flood_to_the_guest_keeps_nobody_waiting),
		PROXY_TEST(frames_that_find_no_room_for_the_peer_ask_for_a_checkpoint),
		PROXY_TEST(frames_that_the_mirror_missed_ask_for_a_checkpoint),
		PROXY_TEST(verdicts_that_could_not_be_sent_are_told_and_sent_later),
	};

	return run_as_root(tests);
}
