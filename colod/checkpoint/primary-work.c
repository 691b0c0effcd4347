// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's worker thread: what each job does there, and when pre-copy rounds run. */
#include "colod/checkpoint/primary-priv.h"

#include "base/cleanup.h"

#include <errno.h>

/* A round is cut at this, so that a trigger never waits for more than one frame and a link never
 * for long. */
#define ROUND_BYTES (16 * MIB)
/* With a bandwidth bound, unused allowance does not pile up beyond this. */
#define ALLOWANCE_US (100 * USEC_PER_MSEC)

static int run_finish(struct tx *tx, struct tx_job *j)
{
	j->used = tx->outbox.used;
	if (!tx_full_copy_done(tx))
		return err_set(&j->err, EPROTO, "the first full copy is not whole");
	return tx_finish(tx, j->flags, j->devices_bytes, &j->err);
}

static int run_prepare(struct tx *tx, struct tx_job *j)
{
	int r = j->flags & WIRE_EPOCH_SWITCH ? tx_drain(tx, &j->err) : 0;

	return r ? r : tx_prepare(tx, &j->err);
}

static int run_work(struct tx *tx, struct tx_job *j)
{
	switch (j->work) {
	case TX_OPEN:
		return tx_open(tx, j->fd, j->epoch, j->full, &j->err);
	case TX_ROUND:
		return tx_round(tx, j->budget_bytes, &j->round, &j->err);
	case TX_PREPARE:
		return run_prepare(tx, j);
	case TX_CAPTURE:
		return tx_capture(tx, &j->round, &j->err);
	case TX_HASH:
		return tx_hash_ram(tx, &j->err);
	case TX_FINISH:
		return run_finish(tx, j);
	case TX_RESUME:
		return tx_resume(tx, j->fd, j->closed, j->sent, &j->resumed, &j->err);
	case TX_CLOSE:
		tx_close(tx);
		return 0;
	}
	return -EINVAL;
}

static void job_run(struct job *job)
{
	struct tx_job *j = container_of(job, struct tx_job, job);
	struct tx *tx = &j->p->tx;

	if (j->committed_before)
		tx_committed(tx);
	j->round = (struct tx_round){};
	j->status = run_work(tx, j);
	j->full_done = tx_full_copy_done(tx);
	j->unsent = tx->unsent_slots;
}

static void job_done(struct job *job)
{
	struct tx_job *j = container_of(job, struct tx_job, job);

	j->busy = false;
	progress_note(&j->p->progress, atomic_load(&j->p->tx.left), clock_now_us());
	if (j->session == j->p->session)
		primary_work_done(j->p, j);
	primary_resume_step(j->p);
}

static void job_init(struct primary *p, struct tx_job *j)
{
	*j = (struct tx_job){.p = p};
	list_init(&j->job.mail.link);
	j->job.run = job_run;
	j->job.done = job_done;
}

void primary_work_init(struct primary *p)
{
	job_init(p, &p->round_job);
	job_init(p, &p->ckpt_job);
	job_init(p, &p->resume_job);
	job_init(p, &p->close_job);
}

void primary_submit(struct primary *p, struct tx_job *j, enum tx_work work)
{
	j->busy = true;
	j->work = work;
	j->session = p->session;
	j->committed_before = p->outbox_done;
	p->outbox_done = false;
	worker_submit(p->worker, &j->job);
}

/* What may be sent now under the bandwidth bound. */
static uint64_t take_allowance(struct primary *p)
{
	uint64_t rate = p->env->config->bandwidth_Bps, now = clock_now_us(), us;

	if (!rate)
		return ROUND_BYTES;
	us = MIN(now - p->budget_at_us, ALLOWANCE_US);
	p->budget_at_us = now;
	return MIN(rate * us / USEC_PER_SEC, ROUND_BYTES) + PAGE_BYTES;
}

void primary_round(struct primary *p)
{
	if (p->link != PRIMARY_LINKED || p->round_job.busy || p->ckpt_job.busy)
		return;
	atomic_store(&p->tx.hurry, false);
	p->round_job.budget_bytes = take_allowance(p);
	primary_submit(p, &p->round_job, TX_ROUND);
}
