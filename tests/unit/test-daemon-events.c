// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's moves between sessions: events that come while the engine is on its way from one role to the other. */
#include "tests/unit/primary-rig.h"

#include "colod/checkpoint/primary-priv.h"
#include "colod/daemon/daemon-priv.h"
#include "tests/unit/link-rig.h"

#include <sys/un.h>

#define EPOCH 7

/* A daemon without control socket, proxy and peer; its QEMU is the rig's. */
struct host {
	struct rig rig;
	struct daemon d;
};

static int host_send(void *arg, const struct wire_msg *m)
{
	struct daemon *d = arg;

	return link_send(d->link, m);
}

static void host_event(void *arg, enum fsm_event ev, const char *reason)
{
	daemon_event(arg, ev, reason);
}

static int setup(void **state)
{
	static const struct ckpt_ops ops = {.send = host_send, .event = host_event};
	struct host *h = calloc(1, sizeof(*h));
	struct daemon *d = &h->d;
	struct end names;
	struct err e;

	rig_open(&h->rig);
	end_init(&names, "guest", free_port(), free_port(), 20000);
	h->rig.config.listen = names.config.listen;
	h->rig.config.peers[0] = names.config.peers[0];
	h->rig.config.peer_count = 1;
	h->rig.config.peer_timeout_ms = 20000;
	d->loop = h->rig.loop;
	d->config = &h->rig.config;
	d->guest = &h->rig.side.guest;
	d->start_fd = d->start_packet_fd = -1;
	d->env = h->rig.env;
	d->env.ops = &ops;
	d->env.arg = d;
	h->rig.p->env = &d->env;
	d->primary = h->rig.p;
	assert_ok(secondary_new(&d->secondary, &d->env, &e), &e);
	assert_ok(link_new(&d->link, d->loop, d->config, false, &daemon_link_handlers, d, &e), &e);
	assert_ok(arbiter_new(&d->arbiter, d->loop, d->config, &daemon_arbiter_handlers, d, &e),
		  &e);
	assert_int_equal(daemon_session_init(d), 0);
	assert_int_equal(daemon_alone_init(d), 0);
	assert_int_equal(daemon_peer_init(d), 0);
	d->started = true;
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;

	qmp_loop_free(h->rig.side.guest.qmp);
	h->rig.side.guest.qmp = NULL;
	secondary_stop(h->d.secondary);
	arbiter_free(h->d.arbiter);
	link_free(h->d.link);
	secondary_free(h->d.secondary);
	close_fd(&h->d.start_fd);
	loop_src_free(&h->d.start_timer);
	loop_src_free(&h->d.recover_timer);
	loop_src_free(&h->d.shut_timer);
	loop_src_free(&h->d.yield_timer);
	rig_close(&h->rig);
	free(h);
	return 0;
}

/* The guest was just handed over; the primary's half of the engine is not out of its session yet. */
static void hand_over(struct host *h)
{
	struct daemon *d = &h->d;

	d->role = ROLE_PRIMARY;
	rig_start(&h->rig, EPOCH);
	secondary_says(&h->rig, WIRE_READY, EPOCH);
	turn_until(d->loop, d->primary->phase == PRIMARY_PREPARE);
	h->rig.guest_runs = false;
	d->state = FSM_GIVEN;
	daemon_event(d, FSM_EV_HANDED_OVER, NULL);
	assert_int_equal(d->role, ROLE_SECONDARY);
	assert_int_equal(d->state, FSM_COLO);
	assert_false(primary_is_idle(d->primary));
}

static void a_new_primary_that_dies_at_once_leaves_a_guest_that_goes_on(void **state)
{
	struct host *h = *state;

	hand_over(h);
	daemon_event(&h->d, FSM_EV_PEER_DEAD, "QEMU ended");
	turn_until(h->d.loop, h->d.state == FSM_SOLO);
	assert_int_equal(h->d.role, ROLE_PRIMARY);
	assert_true(h->rig.guest_runs);
	assert_int_equal(secondary_epoch(h->d.secondary), EPOCH);
}

/* Whether the new primary runs the guest is not known: nobody goes on by himself. */
static void a_link_that_breaks_right_after_the_switch_pauses(void **state)
{
	struct host *h = *state;

	hand_over(h);
	daemon_event(&h->d, FSM_EV_LINK_LOST, "broken");
	assert_int_equal(h->d.state, FSM_PAUSED);
	turn_until(h->d.loop, h->d.arbiter_says[0]);
	assert_int_equal(h->d.state, FSM_PAUSED);
	assert_false(h->rig.guest_runs);
	daemon_event(&h->d, FSM_EV_OP_FORCE, NULL);
	turn_until(h->d.loop, h->d.state == FSM_SOLO);
	assert_true(h->rig.guest_runs);
}

/* ---- the operator ---- */

static void hear(struct host *h, int control, enum wire_type type)
{
	enum wire_type heard;

	do
		heard = raw_receive(h->d.loop, control).type;
	while (heard == WIRE_HEARTBEAT);
	assert_int_equal(heard, type);
}

/* A primary of plain sockets calls; what it copies is taken for whole. */
static int called_by_primary(struct host *h, int *bulk)
{
	uint8_t buf[WIRE_HEADER_BYTES + WIRE_MSG_MAX_BYTES];
	uint16_t port = (uint16_t)atoi(h->rig.config.listen.port);
	struct wire_msg m = {.type = WIRE_HELLO};
	int control = raw_connect(port);

	h->d.role = ROLE_SECONDARY;
	daemon_link_handlers.hello(&h->d, NULL, &m.hello);
	m.hello.role = ROLE_PRIMARY;
	m.hello.session = 1;
	m.hello.channel = WIRE_CHANNEL_CONTROL;
	assert_int_equal(io_write_full(control, buf, wire_encode(&m, buf)), 0);
	assert_int_equal(raw_receive(h->d.loop, control).type, WIRE_WELCOME);
	*bulk = raw_connect(port);
	raw_hello(*bulk, WIRE_HELLO, WIRE_CHANNEL_BULK, 1);
	assert_int_equal(raw_receive(h->d.loop, *bulk).type, WIRE_WELCOME);
	hear(h, control, WIRE_READY);
	assert_int_equal(h->d.state, FSM_ACTIVE);
	h->d.state = FSM_COLO;
	return control;
}

static int ask(const char *path, const char *request)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(io_write_full(fd, request, strlen(request)), 0);
	return fd;
}

static void assert_answer(struct host *h, int fd, const char *text)
{
	char buf[1024] = "";

	turn_and_poll_until(h->d.loop, raw_readable(fd));
	assert_true(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT) > 0);
	if (!strstr(buf, text))
		fail_msg("answer: %s", buf);
	close(fd);
}

/* The primary that was asked has a beating heart and a stuck engine. */
static void force_does_not_wait_for_the_primary_that_was_asked_before(void **state)
{
	struct host *h = *state;
	int control, bulk, patient, forced;
	char path[64];
	struct err e;

	snprintf(path, sizeof(path), "/tmp/colod-test-%d.sock", getpid());
	assert_ok(control_open(&h->d.control, h->d.loop, path, NULL, daemon_on_control, &h->d, &e),
		  &e);
	control = called_by_primary(h, &bulk);
	patient = ask(path, "{\"cmd\":\"failover\"}\n");
	hear(h, control, WIRE_SWITCH_REQUEST);
	forced = ask(path, "{\"cmd\":\"failover\",\"force\":true}\n");
	assert_answer(h, patient, "took its place");
	hear(h, control, WIRE_STOP);
	assert_answer(h, forced, "\"ok\":true");
	assert_int_equal(h->d.state, FSM_SOLO);
	control_close(h->d.control);
	close(control);
	close(bulk);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_new_primary_that_dies_at_once_leaves_a_guest_that_goes_on),
		test(a_link_that_breaks_right_after_the_switch_pauses),
		test(force_does_not_wait_for_the_primary_that_was_asked_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
