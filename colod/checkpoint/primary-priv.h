/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the primary's half: its state, shared by primary.c, primary-cycle.c and
 * primary-pause.c. */
#ifndef CHECKPOINT_PRIMARY_PRIV_H
#define CHECKPOINT_PRIMARY_PRIV_H

#include "colod/checkpoint/primary.h"
#include "colod/checkpoint/progress.h"
#include "colod/checkpoint/tx-resume.h"

enum primary_phase {
	PRIMARY_OFF,     /* no session */
	PRIMARY_WAIT,    /* for READY */
	PRIMARY_OPEN,    /* the worker takes the connection over */
	PRIMARY_COPY,    /* first full copy; guest runs */
	PRIMARY_IDLE,    /* between checkpoints: pre-copy rounds, waiting for a trigger */
	PRIMARY_PREPARE, /* NEW sent: local rounds until little is left, and SUSPENDED */
	PRIMARY_PAUSE,   /* guest stopped: capture and save */
	PRIMARY_SEND,    /* guest runs again (cont may be on its way): the epoch is being sent */
	PRIMARY_AWAIT,   /* sent; waiting for RECEIVED (and LOADED of a switch-over) */
};

/* The way of a session from one link to the next. */
enum primary_link {
	PRIMARY_LINKED,
	PRIMARY_CUT,     /* the link is lost */
	PRIMARY_OFFERED, /* a new one waits until the worker, and a pause of the guest, are through */
	PRIMARY_ASKING, /* the worker hears what has arrived, and sends RESUME */
	PRIMARY_AGREED, /* waiting for RESUME_ACK */
};

/* What the secondary can have said between RESUME_ACK and our worker's word that it was asked. */
#define PRIMARY_EARLY_MAX 8

enum tx_work {
	TX_OPEN,
	TX_ROUND,
	TX_PREPARE,
	TX_CAPTURE,
	TX_HASH,
	TX_FINISH,
	TX_RESUME,
	TX_CLOSE,
};

/* One piece of work for the worker thread; @session tells results of an earlier session. */
struct tx_job {
	struct job job;
	struct primary *p;
	enum tx_work work;
	uint64_t session;
	bool busy;
	/* in */
	int fd;
	bool full;
	bool committed_before; /* the previous epoch was committed: tx_committed() first */
	uint64_t epoch, budget_bytes, devices_bytes;
	uint32_t flags;
	bool closed, sent; /* TX_RESUME */
	/* out */
	int status;
	struct tx_round round;
	bool full_done;
	struct tx_resumed resumed;
	uint64_t unsent, used;
	struct err err;
};

enum pause_call {
	CALL_STATUS,
	CALL_STOP,
	CALL_SAVE,
	CALL_CONT,
	CALL_COUNT,
};

struct pause_slot {
	struct primary *p;
	enum pause_call call;
};

struct primary {
	const struct ckpt_env *env;
	struct tx tx;
	struct worker *worker;
	struct tx_job round_job, ckpt_job, resume_job, close_job;
	int bulk_fd; /* owned by tx once opened; kept to shut the connection down */
	enum primary_link link;
	uint64_t acked; /* epoch of RESUME_ACK; 0: it has not come */
	struct wire_msg early[PRIMARY_EARLY_MAX];
	unsigned nearly;
	bool full;
	struct loop_src *period_timer, *round_timer, *stall_timer;
	uint64_t stall_epoch, stall_bytes;
	enum primary_phase stall_phase;
	enum primary_phase phase;
	uint64_t session;
	uint64_t epoch;           /* last committed */
	uint64_t loaded;          /* last LOADED */
	bool synced;              /* the first checkpoint is committed */
	bool peer_may_hold;       /* see primary_peer_may_hold(); outlives sessions */
	bool announced;           /* SYNCED was raised */
	unsigned late_rounds;     /* since the end of the first full copy */
	struct progress progress; /* of the first full copy */
	bool outbox_done; /* RECEIVED came: the worker has to empty the outbox before its next work
			   */
	uint64_t budget_at_us;
	uint64_t budget_bytes;

	/* The checkpoint under way. */
	uint32_t triggers;         /* that wait for the next one */
	uint32_t current_triggers; /* that it serves */
	uint32_t flags;
	struct list waiting, serving; /* struct ckpt_waiter */
	bool packets_filtered;        /* of a switch-over: no frame reaches the guest any more */
	bool packets_closed;          /* output from here on belongs to the next epoch */
	bool given;                   /* HANDOVER is sent */
	bool packets_left; /* of a switch-over: this host is out of the guest's network */
	bool suspended, prepared, captured, hashed, saved, resumed, sent, received, verified;
	bool committed; /* RECEIVED is accounted for */
	bool pause_failed;
	bool holding;              /* stop sent, cont not yet */
	bool was_running;          /* before our stop */
	struct ckpt_sample sample; /* of the checkpoint under way */
	uint64_t devices_bytes;
	uint64_t begun_at_us, stop_at_us, stopped_at_us, cont_at_us;
	struct wire_msg verify_result;
	uint64_t resumed_at_us; /* the end of the last pause */
	uint64_t usual_pause_us, usual_commit_us;
	uint64_t waiting_since_us; /* output of the epoch waits for its checkpoint; 0: none */
	unsigned failures_in_a_row;
	uint64_t not_before_us; /* what failed is not tried again before */
	struct err last_err;

	/* Orders to the proxy, and the session they were given in. */
	struct proxy_call filter_call, close_call, commit_call, leave_call;
	uint64_t filter_session, close_session, leave_session;

	/* QMP commands under way; replies to the first @stale_calls belong to a session that is
	 * over. */
	struct pause_slot slots[CALL_COUNT];
	unsigned calls, stale_calls;
};

/* primary-cycle.c: from trigger to RECEIVED */
void primary_begin(struct primary *p);
void primary_maybe_complete(struct primary *p);
void primary_abort(struct primary *p, const char *what, const struct err *why);
void primary_answer(struct list *waiters, const struct ckpt_result *r);
void primary_schedule(struct primary *p);
void primary_arm_stall(struct primary *p);
void primary_await_ready(struct primary *p);
void primary_on_stall(void *arg);

/* primary-resume.c: the session over a new link */
void primary_resume_step(struct primary *p);
void primary_resume_done(struct primary *p);

/* Before a session has a link again: what is of use then, at once or later. */
void primary_early_message(struct primary *p, const struct wire_msg *m);

/* primary-packets.c: orders to the proxy */
void primary_packets_init(struct primary *p);

/* Before the stop of a switch-over; true when that may go on. */
bool primary_packets_filter(struct primary *p);

/* After a switch-over that failed. */
void primary_packets_unfilter(struct primary *p);
void primary_packets_before_stop(struct primary *p);
void primary_packets_close(struct primary *p);
void primary_packets_commit(struct primary *p);
void primary_packets_leave(struct primary *p);
bool primary_packets_idle(const struct primary *p);

/* primary-work.c: jobs for the worker thread */
void primary_work_init(struct primary *p);
void primary_submit(struct primary *p, struct tx_job *j, enum tx_work work);
void primary_round(struct primary *p);

/* primary.c: what a finished job means for the session, and all that a pause waits for */
void primary_work_done(struct primary *p, struct tx_job *j);
void primary_maybe_pause(struct primary *p);

/* primary-pause.c: stop, capture, save, cont */
void primary_pause(struct primary *p);
void primary_pause_step(struct primary *p);
void primary_run_guest(struct primary *p);
void primary_ask_status(struct primary *p);
void primary_send(struct primary *p);

#endif
