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

#define DAEMON_QMP_EVENTS 5
#define DAEMON_SIGNALS    2

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

	/* A session that begins as soon as the engine has finished with the one before. */
	struct loop_src *start_timer;
	int start_fd;
	uint64_t start_epoch;
	bool start_full;

	uint64_t epoch; /* last committed in sessions that have ended; see daemon_epoch() */
	bool guest_runs, guest_panicked;
	bool term_pending;
	bool ending; /* QEMU is being ended on purpose */
	int result;
	struct err result_err;
	struct err last_err;
	struct control_request *switch_rq; /* of colo-ctl failover, unanswered */
	uint64_t switch_at_us;
	uint64_t noted_at_us;
};

/* actions.c */
void daemon_event(struct daemon *d, enum fsm_event ev, const char *reason);
void daemon_end(struct daemon *d, int result, const char *reason);
int daemon_actions_init(struct daemon *d);

/* peer.c */
extern const struct link_handlers daemon_link_handlers;
int daemon_peer_send(struct daemon *d, enum wire_type type, const char *text);

/* commands.c */
void daemon_on_control(void *arg, struct control_request *rq, const char *cmd,
		       struct json_object *args);
void daemon_answer_switch(struct daemon *d, int status, const char *reason);

/* status.c */
struct json_object *daemon_status(const struct daemon *d);

/* The last @count checkpoints one by one, oldest first: for benches. */
struct json_object *daemon_samples(const struct daemon *d, uint64_t count);

/* guest.c */
void daemon_guest_init(struct daemon *d);
void daemon_run_guest(struct daemon *d);

/*
 * hurry.c: the threads on the pause's path must not queue behind the guest's busy CPUs: the caller's,
 * which those it makes inherit, and QEMU's, which read its monitor, stop, save and resume. Its CPU
 * threads stay as they are.
 */
void daemon_hurry(const struct guest *g);

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
