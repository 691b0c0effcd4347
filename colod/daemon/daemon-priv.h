/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's state, shared by the files of this folder. */
#ifndef DAEMON_DAEMON_PRIV_H
#define DAEMON_DAEMON_PRIV_H

#include "colod/checkpoint/primary.h"
#include "colod/checkpoint/secondary.h"
#include "colod/control/control.h"
#include "colod/daemon/daemon.h"
#include "colod/link/link.h"
#include "colod/qemu/qemu.h"
#include "proxy/automode.h"
#include "proxy/proxy.h"

#define DAEMON_QMP_EVENTS  5
#define DAEMON_SIGNALS     2
#define DAEMON_PROXY_CALLS 16

struct daemon {
	struct loop *loop;
	struct config *config;
	enum role role;
	enum fsm_state state;

	struct qemu *qemu;
	const struct guest *guest; /* NULL until QEMU is ready */
	enum track_kind track_kind;
	struct tracker *tracker;
	struct link *link;
	struct control *control;
	struct ckpt_stats stats;
	struct ckpt_env env;
	struct primary *primary;
	struct secondary *secondary;
	struct qmp_subscription subs[DAEMON_QMP_EVENTS];
	struct loop_src *signals[DAEMON_SIGNALS];

	/* The guest's network; proxy is NULL without NICs. */
	int tap_fds[CONFIG_MAX_NICS];
	struct proxy *proxy;
	struct proxy_call calls[DAEMON_PROXY_CALLS];
	struct automode automode;
	bool holding; /* output waits for the peer, though the session is over */

	/* A session that begins as soon as the engine has finished with the one before. */
	struct loop_src *start_timer;
	int start_fd, start_packet_fd;
	uint64_t start_epoch;
	bool start_full;
	bool has_early;
	struct wire_msg early; /* what the peer said before it began */

	uint64_t epoch; /* last committed in sessions that have ended; see daemon_epoch() */
	bool guest_runs, guest_panicked;
	bool term_pending;
	bool ending; /* QEMU is being ended on purpose, or has begun to end by itself */
	bool dying;  /* the latter, and how is not known yet */
	int result;
	struct err result_err;
	struct err last_err;
	struct control_request *switch_rq; /* of colo-ctl failover, unanswered */
	uint64_t switch_at_us;
	uint64_t noted_at_us;
};

/* actions.c */
void daemon_event(struct daemon *d, enum fsm_event ev, const char *reason);
void daemon_engine_message(struct daemon *d, const struct wire_msg *m);
void daemon_end(struct daemon *d, int result, const char *reason);
int daemon_actions_init(struct daemon *d);

/* taps.c: opens them for QEMU, and completes the configuration by the MTUs that bridges ask for. */
int daemon_taps_open(struct daemon *d, struct err *e);
void daemon_taps_close(struct daemon *d);

/* packets.c */
int daemon_bypass_rules(const struct config *c, struct bypass *b, struct err *e);
int daemon_packets_init(struct daemon *d, struct err *e);

/* A session begins, with d->start_packet_fd; ends; nobody protects the guest; nobody does, and a
 * replica may have come to life: not a word until the peer is back; the guest may be heard no more.
 */
void daemon_packets_attach(struct daemon *d);
void daemon_packets_detach(struct daemon *d);
void daemon_packets_pass(struct daemon *d);
void daemon_packets_hold(struct daemon *d);

/* False: it may be heard yet, and the other host must not be told to speak (S3). */
bool daemon_packets_silence(struct daemon *d);

/* After it: until the host that carries on has joined the network, what still comes is passed on to
 * it. */
void daemon_packets_leave(struct daemon *d);
/* A planned switch-over made us primary: take the network over, then set the guest running. */
void daemon_packets_switch_and_run(struct daemon *d);

/* Whether the secondary's guest runs in the epoch that begins. */
bool daemon_runs_next(struct daemon *d);

/* peer.c */
extern const struct link_handlers daemon_link_handlers;
int daemon_peer_send(struct daemon *d, enum wire_type type, const char *text);

/* commands.c */
void daemon_on_control(void *arg, struct control_request *rq, const char *cmd,
		       struct json_object *args);
void daemon_answer_switch(struct daemon *d, int status, const char *reason);

/* status.c */
struct json_object *daemon_status(struct daemon *d);

/* The last @count checkpoints one by one, oldest first: for benches. */
struct json_object *daemon_samples(const struct daemon *d, uint64_t count);

/* packets-report.c; only with a proxy */
struct json_object *daemon_proxy_status(struct daemon *d);
struct json_object *daemon_flows(struct daemon *d, uint32_t max);

/* The last @count, oldest first; @packets: with the packets themselves. */
struct json_object *daemon_mismatches(struct daemon *d, uint64_t count, bool packets);

/* guest.c */
void daemon_guest_init(struct daemon *d);
void daemon_run_guest(struct daemon *d);

/*
 * hurry.c: the threads on the pause's path must not queue behind the guest's busy CPUs: the
 * caller's, which those it makes inherit, and QEMU's, which read its monitor, stop, save and
 * resume. Its CPU threads stay as they are.
 */
void daemon_hurry(struct daemon *d);

/** daemon_epoch() - the last committed checkpoint of this guest that we know of. */
static inline uint64_t daemon_epoch(const struct daemon *d)
{
	uint64_t engine = 0;

	if (d->primary && d->secondary)
		engine = d->role == ROLE_PRIMARY ? primary_epoch(d->primary)
						 : secondary_epoch(d->secondary);
	return MAX(engine, d->epoch);
}

#endif
