/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both halves of the checkpoint engine share: their surroundings, triggers, measurements. */
#ifndef CHECKPOINT_CKPT_H
#define CHECKPOINT_CKPT_H

#include "base/loop.h"
#include "base/quantile.h"
#include "colod/core/config.h"
#include "colod/core/fsm.h"
#include "colod/core/guest.h"
#include "colod/core/statefile.h"
#include "colod/core/wire.h"
#include "colod/tracker/tracker.h"
#include "proxy/proxy.h"

#include <stdatomic.h>

enum ckpt_trigger {
	CKPT_BY_FIRST, /* end of the first full copy */
	CKPT_BY_PERIOD,
	CKPT_BY_MISMATCH, /* the guests' outputs differed, or could not be compared */
	CKPT_BY_COMMAND,
	CKPT_BY_GUEST_RESET,
	CKPT_BY_VERIFY,
	CKPT_BY_SWITCH_OVER,
	CKPT_TRIGGER_COUNT,
};

const char *ckpt_trigger_name(enum ckpt_trigger t);

#define CKPT_SAMPLES 1024

/** struct ckpt_sample - one checkpoint of the primary, microseconds unless the name says otherwise.
 */
struct ckpt_sample {
	uint64_t epoch, committed_at_us;
	uint32_t pause_us, stop_us, scan_us, copy_us, save_us, cont_us, commit_us;
	uint32_t dirty_pages, last_pages;
};

/** struct ckpt_stats - measurements of one daemon's life; written by the loop unless atomic. */
struct ckpt_stats {
	struct quantile pause_us; /* from sending stop to QEMU's answer to cont */
	struct quantile stop_us, scan_us, copy_us, save_us,
		cont_us;             /* parts of the pause; scan, copy and save overlap */
	struct quantile commit_us;   /* trigger to RECEIVED */
	struct quantile dirty_pages; /* distinct pages of an epoch */
	struct quantile last_pages;  /* pages copied while the guest stood still */
	struct quantile load_us;     /* secondary: QEMU loads the devices */
	struct quantile devices_bytes;
	uint64_t checkpoints[CKPT_TRIGGER_COUNT];
	uint64_t failed_checkpoints;
	uint64_t resumes;             /* of sessions, over a new link */
	uint64_t resume_saved_pages;  /* of epochs in flight that did not have to be sent again */
	uint64_t resume_resent_pages; /* that had been sent, but had not arrived */
	struct ckpt_sample samples[CKPT_SAMPLES]; /* ring, by number of commits */
	uint64_t nsamples;
	uint64_t last_commit_at_us; /* clock_now_us(); 0: never */
	atomic_uint_fast64_t bytes_sent, bytes_received, zero_pages, precopy_rounds;
};

/**
 * struct ckpt_ops - what the engine needs done outside of itself
 * @send:  queue a message on the control channel; 0 or -errno (a broken link is reported by the
 * link itself)
 * @event: feed the failover machine; may call back into the engine, so it is always the last thing
 * done
 * @runs_next: whether the secondary's guest runs in the epoch that begins; asked at every
 * checkpoint
 * @standing: what this host's guest is from here on, told before it comes true so that it can be noted
 * for a colod that finds this guest later; may be NULL
 */
struct ckpt_ops {
	int (*send)(void *arg, const struct wire_msg *m);
	void (*event)(void *arg, enum fsm_event ev, const char *reason);
	bool (*runs_next)(void *arg);
	void (*standing)(void *arg, enum standing s);
};

/** struct ckpt_env - lives as long as the engine; everything in it is borrowed. */
struct ckpt_env {
	struct loop *loop;
	const struct config *config;
	const struct guest *guest;
	struct tracker *tracker;
	struct proxy *proxy; /* NULL: the guest has no NIC */
	struct ckpt_stats *stats;
	const struct ckpt_ops *ops;
	void *arg;
};

/** ckpt_send() - a control message that carries only an epoch and flags. */
int ckpt_send(const struct ckpt_env *env, enum wire_type type, uint64_t epoch, uint32_t flags);

/** ckpt_event() - raise @ev with a formatted reason (fmt may be NULL). */
void ckpt_event(const struct ckpt_env *env, enum fsm_event ev, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/** ckpt_standing() - note what the guest is from here on. */
static inline void ckpt_standing(const struct ckpt_env *env, enum standing s)
{
	if (env->ops->standing)
		env->ops->standing(env->arg, s);
}

static inline uint64_t guest_pages(const struct guest *g)
{
	return g->ram_bytes >> PAGE_SHIFT;
}

#endif
