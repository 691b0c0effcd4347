/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the secondary's half: its state, shared by secondary.c, secondary-load.c and
 * secondary-packets.c. */
#ifndef CHECKPOINT_SECONDARY_PRIV_H
#define CHECKPOINT_SECONDARY_PRIV_H

#include "base/worker.h"
#include "colod/checkpoint/apply.h"
#include "colod/checkpoint/secondary.h"

enum secondary_phase {
	SECONDARY_OFF,
	SECONDARY_SETUP,    /* the worker prepares cache and tracker */
	SECONDARY_OPEN,     /* receiving; nothing is being applied */
	SECONDARY_STOPPING, /* our guest is being stopped for NEW */
	SECONDARY_APPLY,    /* committed; the worker writes guest RAM */
	SECONDARY_LOAD,     /* QEMU loads the devices */
	SECONDARY_PACKETS,  /* loaded; the proxy turns to the new epoch */
	SECONDARY_RUN,      /* cont is on its way for a guest that runs between checkpoints */
	SECONDARY_HALT,     /* our guest is being stopped for the take-over */
	SECONDARY_JOIN,     /* the proxy takes the guest's network over */
	SECONDARY_LIVE,     /* cont is on its way to go live */
};

enum apply_work {
	APPLY_SETUP_FULL,
	APPLY_SETUP_SWAPPED,
	APPLY_EPOCH,
	APPLY_RELEASE,
};

struct apply_job {
	struct job job;
	struct secondary *s;
	enum apply_work work;
	uint64_t session;
	bool busy, verify;
	int status;
	struct apply_verify verified;
	struct err err;
};

struct secondary {
	const struct ckpt_env *env;
	struct replica replica;
	struct rx rx;
	struct worker *worker;
	struct apply_job job;
	struct bitmap own; /* scratch of the worker */
	enum secondary_phase phase;
	uint64_t session;
	int bulk_fd; /* until rx takes it */
	bool full;
	bool running;       /* our guest runs between checkpoints */
	bool shut_down;     /* it has shut itself down: QEMU wants a reset before it runs again */
	bool reset_allowed; /* only for the reset that brings it back: QEMU has -no-reboot */
	bool go_live;       /* as soon as what is under way has ended */
	bool link_lost;
	bool resuming; /* the receiving thread has a new connection, which is not agreed on yet */
	uint64_t committed, loaded;
	uint64_t new_epoch; /* of the last NEW; its SUSPENDED is sent when @suspended */
	bool suspended;
	bool packets_stopped; /* the proxy knows of the last NEW */
	bool staged;          /* an epoch stands complete in the stage */
	uint32_t staged_flags;
	uint32_t flags;  /* of the committed epoch */
	bool announced;  /* SYNCED was raised */
	bool load_waits; /* the devices of the committed epoch are not loaded yet */
	struct loop_src *load_timer;
	uint64_t load_at_us, loaded_at_us; /* the last load */
	uint64_t marked;                   /* last epoch whose packets are all known */
	struct proxy_call stopped_call, committed_call, loaded_call, take_call;
	uint64_t stopped_session, loaded_session, take_session;
	unsigned calls, stale_calls;
	uint64_t load_count;
	struct wire_msg verified; /* the last VERIFIED */
};

/* secondary.c */

/* A QMP command of the session; replies of earlier sessions never reach a handler. */
void secondary_call(struct secondary *s, const char *name, qmp_reply_fn fn);
bool secondary_reply_is_stale(struct secondary *s);
void secondary_fail(struct secondary *s, const char *what, const char *why);

/* SUSPENDED of the last NEW, when guest and proxy both stand still; and what follows from it. */
void secondary_maybe_suspended(struct secondary *s);

/* No frame reaches our guest any more. */
void secondary_packets_are_stopped(struct secondary *s);

/* secondary-resume.c: the primary says how the session goes on */
void secondary_resumed(struct secondary *s, const struct wire_msg *resume);

/* secondary-load.c */
void secondary_work_init(struct secondary *s);
void secondary_submit(struct secondary *s, enum apply_work work);

/* The one place that decides what to do when nothing is under way. */
void secondary_step(struct secondary *s);
void secondary_after_packets(struct secondary *s);
void secondary_on_load_timer(void *arg);
void secondary_run_live(struct secondary *s);

/* secondary-packets.c: orders to the proxy */
void secondary_packets_init(struct secondary *s);
/* For the last NEW; secondary_packets_are_stopped() follows, not from within. */
void secondary_packets_stopped(struct secondary *s);
void secondary_packets_committed(struct secondary *s);

/* Of an epoch whose load waits, too. secondary_after_packets() or secondary_run_live() follows, at
 * once without a proxy. */
void secondary_packets_loaded(struct secondary *s, bool runs);
void secondary_packets_take_over(struct secondary *s);
bool secondary_packets_known(const struct secondary *s, uint64_t epoch);
bool secondary_packets_idle(const struct secondary *s);

#endif
