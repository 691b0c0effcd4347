// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's side of the link: who we are, whom we accept, what the peer tells us. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A stranger can make us note something with every packet: not more often than this. */
#define NOTE_GAP_US (500 * USEC_PER_MSEC)

int daemon_peer_send(struct daemon *d, enum wire_type type, const char *text)
{
	struct wire_msg m = {.type = type, .epoch = daemon_epoch(d)};

	if (text)
		snprintf(m.text, sizeof(m.text), "%s", text);
	return link_send(d->link, &m);
}

static void arbiter_text(const struct config *c, char *buf, size_t size)
{
	bool etcd = c->arbiter == ARBITER_ETCD;

	snprintf(buf, size, "%s%s%s", arbiter_kind_name(c->arbiter), etcd ? " " : "",
		 etcd ? c->etcd_prefix : "");
}

static void nics_text(const struct config *c, char *buf, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->nic_count && n < size; i++) {
		const struct config_nic *nic = &c->nics[i];
		char mtu[12] = "";

		if (nic->mtu)
			snprintf(mtu, sizeof(mtu), "/%u", nic->mtu);
		n += (size_t)snprintf(buf + n, size - n, "%s" MAC_FMT "%s", i ? " " : "",
				      MAC_ARGS(nic->mac), mtu);
	}
}

static void on_hello(void *arg, const struct wire_hello *caller, struct wire_hello *h)
{
	struct daemon *d = arg;
	const struct guest *g = d->guest;

	h->role = (uint8_t)d->role;
	h->live = d->alone ? WIRE_LIVE_ALONE : 0;
	if (d->state == FSM_GIVEN)
		h->live |= WIRE_LIVE_GIVEN;
	if (!caller)
		h->resume = daemon_session_can_resume(d, d->session) ? d->session : 0;
	else if (daemon_session_can_resume(d, caller->resume))
		h->resume = caller->resume;
	h->epoch = daemon_epoch(d);
	h->ram_bytes = g->ram_bytes;
	h->host_page_bytes = g->host_page_bytes;
	h->vcpus = g->vcpus;
	snprintf(h->name, sizeof(h->name), "%s", d->config->name);
	snprintf(h->qemu_version, sizeof(h->qemu_version), "%s", g->version);
	snprintf(h->machine, sizeof(h->machine), "%s", g->machine);
	snprintf(h->cpu_model, sizeof(h->cpu_model), "%s", g->cpu_model);
	snprintf(h->accel, sizeof(h->accel), "%s", g->accel);
	nics_text(d->config, h->nics, sizeof(h->nics));
	arbiter_text(d->config, h->arbiter, sizeof(h->arbiter));
	snprintf(h->host, sizeof(h->host), "%s", d->config->host);
}

static int differ(struct err *e, const char *what, const char *theirs, const char *ours,
		  const char *advice)
{
	return err_set(e, EINVAL, "%s differs: %s there, %s here; %s", what, theirs, ours, advice);
}

static int differ_number(struct err *e, const char *what, uint64_t theirs, uint64_t ours,
			 const char *advice)
{
	return err_set(e, EINVAL, "%s differs: %llu there, %llu here; %s", what,
		       (unsigned long long)theirs, (unsigned long long)ours, advice);
}

/* Who would be taken for one by the arbiter could both be live. */
static int check_arbiter(const struct wire_hello *a, const struct wire_hello *b, struct err *e)
{
	if (strcmp(a->arbiter, b->arbiter))
		return differ(e, "the arbiter", a->arbiter, b->arbiter,
			      "set the same arbiter = and etcd_prefix = on both hosts");
	if (!strncmp(a->arbiter, "etcd", 4) && !strcmp(a->host, b->host))
		return err_set(
			e, EINVAL,
			"both hosts are called %s in etcd; set another host = on one of them",
			a->host);
	return 0;
}

/* What a checkpoint of one host needs to be loadable on the other. */
static int check_alike(const struct wire_hello *a, const struct wire_hello *b, struct err *e)
{
	if (strcmp(a->name, b->name))
		return differ(e, "the guest's name", a->name, b->name,
			      "set the same name = on both hosts");
	if (strcmp(a->qemu_version, b->qemu_version))
		return differ(e, "the QEMU version", a->qemu_version, b->qemu_version,
			      "install the same version on both hosts");
	if (strcmp(a->machine, b->machine))
		return differ(e, "the machine type", a->machine, b->machine,
			      "set the same -machine in qemu_args on both hosts");
	if (strcmp(a->accel, b->accel))
		return differ(e, "the accelerator", a->accel, b->accel,
			      "set the same -accel in qemu_args on both hosts");
	if (strcmp(a->cpu_model, b->cpu_model))
		return differ(e, "the CPU model", a->cpu_model, b->cpu_model,
			      "set the same -cpu in qemu_args on both hosts");
	if (strcmp(a->nics, b->nics))
		return differ(e, "the guest's NICs", a->nics[0] ? a->nics : "none",
			      b->nics[0] ? b->nics : "none",
			      "set the same nic = lines with the same mac= and mtu= on both hosts; "
			      "without mtu= their bridges need the same MTU");
	if (a->vcpus != b->vcpus)
		return differ_number(e, "the number of CPUs", a->vcpus, b->vcpus,
				     "set the same -smp in qemu_args on both hosts");
	if (a->ram_bytes != b->ram_bytes)
		return differ_number(e, "the RAM size in bytes", a->ram_bytes, b->ram_bytes,
				     "set the same memory = on both hosts");
	if (a->host_page_bytes != b->host_page_bytes)
		return differ_number(e, "the RAM page size", a->host_page_bytes, b->host_page_bytes,
				     "set the same memory_page_size = on both hosts");
	return check_arbiter(a, b, e);
}

/*
 * What was said of the guest may be older than the arbiter's word that it is heard here. While that word may
 * be on its way, the other host could be refused it: both would give up. We call again.
 */
static void yield_unless_alone(struct daemon *d, const char *why)
{
	if (!d->alone && !arbiter_is_open(d->arbiter))
		daemon_event(d, FSM_EV_PEER_LIVE, why);
}

/* The caller's guest is heard, ours has not begun. Not from within the link. */
static void on_yield_timer(void *arg)
{
	yield_unless_alone(arg, "the guest lives on the other host");
}

static int refuse_primary(struct daemon *d, const struct wire_hello *h, struct err *e)
{
	bool heard = h->live & WIRE_LIVE_ALONE, given = h->live & WIRE_LIVE_GIVEN;

	if (d->alone && heard)
		return err_set(e, EINVAL,
			       "both hosts run the guest as primary: end one of them and start it "
			       "with --secondary");
	if (d->alone || given)
		return err_set(e, EEXIST, "the guest lives here, in state %s",
			       fsm_state_name(d->state));
	/* A greeting can be old: its caller may have given up on it long ago. A guest that lives is
	 * given up by the answer to a call of ours only, which state GIVEN and PAUSED look for. */
	if (!heard || d->started)
		return err_set(e, EBUSY, "primary too, in state %s", fsm_state_name(d->state));
	loop_timer_arm(d->yield_timer, 0);
	return err_set(e, EBUSY, "becoming secondary");
}

static int on_accept(void *arg, const struct wire_hello *h, bool again, struct err *e)
{
	struct daemon *d = arg;
	struct wire_hello ours = {};

	on_hello(d, h, &ours);
	if (d->role == ROLE_PRIMARY && h->role == ROLE_PRIMARY)
		return refuse_primary(d, h, e);
	if (d->role == ROLE_PRIMARY || h->role != ROLE_PRIMARY)
		return err_set(e, EINVAL, "only a primary calls, and only a secondary is called");
	if (again && h->resume != ours.resume)
		return err_set(e, EBUSY, "the session cannot go on any more");
	if (d->state != FSM_SETUP && d->state != FSM_COLO && d->state != FSM_PAUSED &&
	    d->state != FSM_ACTIVE_PAUSED)
		return err_set(e, EBUSY, "busy in state %s", fsm_state_name(d->state));
	/* A replica that the arbiter may have chosen, as it does once, is the guest's last life. */
	if (d->state == FSM_PAUSED && !ours.resume && arbiter_is_open(d->arbiter))
		return err_set(e, EBUSY, "the arbiter has not said yet whose guest goes on");
	if (d->by_order && !h->resume)
		log_notice("link",
			   "a primary without our session calls: the order to pause is over");
	return check_alike(h, &ours, e);
}

static bool on_is_ours(void *arg, const struct wire_hello *h)
{
	struct daemon *d = arg;

	return d->role == ROLE_SECONDARY && h->role == ROLE_PRIMARY && h->resume &&
	       h->resume == d->session;
}

/*
 * The peer may have gone on with its replica, been heard, and begun anew since: that it holds nothing
 * now is no ground to go on with our guest, which may be older (S1). Whose epoch is not behind ours holds
 * the replica, or held it until it gave it up. Without an arbiter it is the operator who lets one live.
 */
static bool may_have_lived(const struct daemon *d, const struct wire_hello *peer)
{
	bool waits = d->state == FSM_PAUSED || d->state == FSM_GIVEN;

	return d->role == ROLE_PRIMARY && waits && d->config->arbiter != ARBITER_NONE &&
	       primary_peer_may_hold(d->primary) && (!peer->epoch || peer->epoch < daemon_epoch(d));
}

static void refuse_peer(struct daemon *d, const char *why)
{
	log_warn("link", "peer %s refused: %s", link_peer_address(d->link), why);
	link_down(d->link);
	if (d->role == ROLE_PRIMARY)
		link_dial_later(d->link);
}

static void on_up(void *arg, const struct wire_hello *peer, int bulk_fd, int packet_fd)
{
	struct daemon *d = arg;
	bool resumes = daemon_session_can_resume(d, peer->resume);
	bool lived = !resumes && may_have_lived(d, peer);
	struct wire_hello ours = {};
	struct err e = {};

	on_hello(d, NULL, &ours);
	if (lived)
		err_set(&e, EBUSY,
			"the arbiter has to say first whether the guest has lived there");
	else if (peer->resume && !resumes) /* it holds on to its replica for it */
		err_set(&e, EBUSY, "the session cannot go on any more");
	else
		check_alike(peer, &ours, &e);
	if (e.code || peer->role == d->role) {
		close(bulk_fd);
		close_fd(&packet_fd);
		refuse_peer(d, err_msg(&e));
		if (lived && !d->by_order)
			daemon_event(d, FSM_EV_RECOVER_TIMEOUT, NULL);
		return;
	}
	close_fd(&d->start_fd);
	close_fd(&d->start_packet_fd);
	d->start_fd = bulk_fd;
	d->start_packet_fd = packet_fd;
	d->start_epoch = peer->epoch;
	d->start_session = peer->session;
	d->up_at_us = clock_now_us();
	log_info("link", "connected to %s", link_peer_address(d->link));
	daemon_uplinks_link_up(d);
	daemon_event(d, resumes ? FSM_EV_PEER_RESUMES : FSM_EV_PEER_UP, NULL);
}

static void on_message(void *arg, const struct wire_msg *m)
{
	struct daemon *d = arg;

	switch (m->type) {
	case WIRE_GONE:
		daemon_event(d, FSM_EV_PEER_DEAD, m->text);
		break;
	case WIRE_LEAVE:
		daemon_event(d, FSM_EV_PEER_LEFT, m->text);
		break;
	case WIRE_STOP:
		daemon_event(d, FSM_EV_PEER_STOPPED, m->text);
		break;
	case WIRE_PAUSE:
		daemon_event(d, FSM_EV_PEER_PAUSES, m->text);
		break;
	case WIRE_UPLINK:
		daemon_uplinks_heard(d, m);
		break;
	case WIRE_SWITCH_REQUEST:
		daemon_event(d, FSM_EV_PEER_ASKS_SWITCH, NULL);
		break;
	case WIRE_SWITCH_REFUSED:
		daemon_answer_switch(d, -EBUSY, m->text);
		break;
	default:
		daemon_engine_message(d, m);
	}
}

static void on_lost(void *arg, const char *reason)
{
	daemon_event(arg, FSM_EV_LINK_LOST, reason);
}

static void on_lives(void *arg, const char *why)
{
	yield_unless_alone(arg, why);
}

int daemon_peer_init(struct daemon *d)
{
	return loop_add_timer(d->loop, &d->yield_timer, on_yield_timer, d);
}

static void on_note(void *arg, const char *text)
{
	struct daemon *d = arg;
	uint64_t now = clock_now_us();

	err_set(&d->last_err, EPROTO, "%s", text);
	if (d->noted_at_us && now - d->noted_at_us < NOTE_GAP_US)
		return;
	d->noted_at_us = now;
	log_warn("link", "%s", text);
}

const struct link_handlers daemon_link_handlers = {
	.hello = on_hello,
	.accept = on_accept,
	.is_ours = on_is_ours,
	.up = on_up,
	.message = on_message,
	.lost = on_lost,
	.lives = on_lives,
	.note = on_note,
};
