/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's state, shared by the files of this folder. */
#ifndef DAEMON_DAEMON_PRIV_H
#define DAEMON_DAEMON_PRIV_H

#include "colod/arbiter/arbiter.h"
#include "colod/checkpoint/primary.h"
#include "colod/checkpoint/secondary.h"
#include "colod/control/control.h"
#include "colod/daemon/daemon.h"
#include "colod/link/link.h"
#include "colod/qemu/qemu-adopt.h"
#include "colod/qemu/qemu.h"
#include "proxy/automode.h"
#include "proxy/proxy.h"

#define DAEMON_QMP_EVENTS  5
#define DAEMON_SIGNALS     2
#define DAEMON_PROXY_CALLS 16

/* For how long a peer may take what is said to it last. */
#define DAEMON_LAST_WORDS_MS 200

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
	struct arbiter *arbiter;
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

	/* Who may be heard. @alone: the arbiter said that this host's guest may be, without the peer's
	 * word, and nobody else has a whole checkpoint of it; @muted: it said so, and takes it back. */
	bool alone, muted;
	bool started;                   /* the guest was set running, here or where it came from */
	char arbiter_says[ERR_MSG_MAX]; /* why nothing was decided, or how; "": nothing to say */

	/* A session whose link is broken. */
	uint64_t session;      /* of replication: the link's that began it; 0: none to go on with */
	uint64_t paused_at_us; /* 0: not paused */
	uint64_t up_at_us;     /* when the link came up last */
	unsigned quick_losses; /* in a row */
	bool peer_dead;        /* for sure, until somebody calls: asked again as such */
	bool by_order;         /* paused by an operator: no dialing, no asking */
	struct loop_src *recover_timer, *shut_timer;

	/* A session that begins as soon as the engine has finished with the one before. */
	struct loop_src *start_timer, *yield_timer;
	uint64_t start_session;
	int start_fd, start_packet_fd;
	uint64_t start_epoch;
	bool start_full;
	bool has_early;
	struct wire_msg early; /* what the peer said before it began */

	uint64_t epoch; /* last committed in sessions that have ended; see daemon_epoch() */
	bool guest_runs, guest_panicked;
	bool guest_stopped; /* by somebody else than us */

	/* What the next colod needs to know; of a guest that this one has @found, until it goes on with
	 * it, what the one before has left. */
	const struct daemon_program *program;
	char *state_path, *flows_path;
	struct statefile noted; /* as in the file; qemu_pid 0: there is none */
	uint64_t noted_state_at_us;
	bool found, found_kept; /* by systemd, its descriptors were */
	bool fds_taken;         /* what systemd gave us has been looked at; it keeps its own */
	int found_pidfd;
	struct qemu_fds_kept found_fds;
	struct loop_src *upgrade_timer;
	unsigned upgrade_tries;

	bool term_pending;
	bool ending; /* QEMU is being ended on purpose, or has begun to end by itself */
	bool dying;  /* the latter, and how is not known yet */
	int result;
	struct err result_err;
	struct err last_err;
	struct uplinks *uplinks;
	struct control_request *switch_rq; /* of colo-ctl failover, unanswered */
	uint64_t switch_at_us;
	uint64_t noted_at_us;
};

/* actions.c */
void daemon_event(struct daemon *d, enum fsm_event ev, const char *reason);
void daemon_engine_message(struct daemon *d, const struct wire_msg *m);
void daemon_end(struct daemon *d, int result, const char *reason);
void daemon_redeliver_term(struct daemon *d);
const char *daemon_refusal(const struct daemon *d, enum fsm_event ev);

/* session.c */
int daemon_session_init(struct daemon *d);
void daemon_session_start(struct daemon *d, int bulk_fd, uint64_t epoch, bool full);
void daemon_session_sync(struct daemon *d);
bool daemon_session_can_resume(const struct daemon *d, uint64_t session);
void daemon_session_pause(struct daemon *d, const char *reason);
void daemon_session_pause_by_order(struct daemon *d, enum fsm_event ev, const char *reason);
void daemon_session_pause_void(struct daemon *d, const char *reason);
void daemon_session_dial(struct daemon *d);
void daemon_session_resume(struct daemon *d);
void daemon_session_drop(struct daemon *d, const char *reason);
void daemon_session_lose_replica(struct daemon *d, const char *reason);
void daemon_session_end(struct daemon *d);
/* The peer is no more: nothing is looked for, what we know of it stays. */
void daemon_session_cut(struct daemon *d);
void daemon_pause_over(struct daemon *d);
void daemon_ask_later(struct daemon *d, uint64_t us);

/* A guest of ours was found, and nothing of its session. */
void daemon_session_found(struct daemon *d);

/* standing.c: the file that tells a colod after us of this guest. */
int daemon_standing_init(struct daemon *d, struct err *e);
void daemon_note_start(struct daemon *d);
void daemon_note_standing(struct daemon *d, enum standing s);
void daemon_note(struct daemon *d); /* something but the standing may have changed */
void daemon_note_end(struct daemon *d);

/* fds.c */
void daemon_fds_keep(struct daemon *d);
void daemon_fds_forget(struct daemon *d);
void daemon_fds_drop(struct daemon *d); /* nor are those needed that we were given */
void daemon_fds_take(struct daemon *d, const struct statefile *s); /* into found_fds */

/* adopt.c. find: 1 when there is a guest to adopt, 0 when one is to be started. */
int daemon_find(struct daemon *d, struct err *e);
int daemon_adopt(struct daemon *d, const struct qemu_handlers *h, struct err *e);
void daemon_left(struct daemon *d, const struct err *why); /* it could not be adopted after all */
enum proxy_found daemon_packets_found(const struct daemon *d);
void daemon_go_on(struct daemon *d);
int daemon_upgrade(struct daemon *d, struct err *e);
int daemon_upgrade_init(struct daemon *d);

/* alone.c */
enum asks { ASKS, ASKS_CERTAIN, ASKS_FORCED, ASKS_FRESH };
extern const struct arbiter_handlers daemon_arbiter_handlers;
int daemon_alone_init(struct daemon *d);
void daemon_ask(struct daemon *d, enum asks asks);
void daemon_let_out(struct daemon *d);
void daemon_mute(struct daemon *d);
void daemon_share(struct daemon *d);
void daemon_go_solo(struct daemon *d);
void daemon_yield(struct daemon *d, const char *reason);
void daemon_take_back(struct daemon *d);
void daemon_become_solo(struct daemon *d);

/* taps.c: opens them for QEMU, and completes the configuration by the MTUs that bridges ask for. */
int daemon_taps_open(struct daemon *d, struct err *e);
void daemon_taps_close(struct daemon *d);

/* uplinks.c: d->uplinks is NULL when none are configured. */
struct uplinks;
int daemon_uplinks_open(struct daemon *d, struct err *e);
void daemon_uplinks_close(struct daemon *d);
void daemon_uplinks_link_up(struct daemon *d);
void daemon_uplinks_heard(struct daemon *d, const struct wire_msg *m);
struct json_object *daemon_uplinks_status(const struct daemon *d);

/* packets.c */
int daemon_bypass_rules(const struct config *c, struct bypass *b, struct err *e);
int daemon_packets_init(struct daemon *d, struct err *e);

/* A session begins, goes on, each with d->start_packet_fd; its connection ends. */
void daemon_packets_attach(struct daemon *d);
void daemon_packets_resume(struct daemon *d);
void daemon_packets_detach(struct daemon *d);

/* Nobody protects the guest, it is heard; the same within a session; not a word of it leaves, ARP neither;
 * that is over; another one carries on, what it said is void. */
void daemon_packets_pass(struct daemon *d);
void daemon_packets_speak(struct daemon *d);
void daemon_packets_shut(struct daemon *d);
void daemon_packets_unshut(struct daemon *d);
void daemon_packets_forget(struct daemon *d);

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
int daemon_peer_init(struct daemon *d);
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
void daemon_stop_guest(struct daemon *d);

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
