// SPDX-License-Identifier: GPL-2.0-or-later
/* The arbiter that asks etcd: its state machine's shell on the loop. */
#include "colod/arbiter/arbiter-priv.h"

#include <errno.h>

static int etcd_open(struct arbiter *a, struct err *e)
{
	(void)a;
	return err_set(e, ENOSYS, "arbiter = etcd is not built in yet");
}

static void etcd_claim(struct arbiter *a, const struct arbiter_claim *claim)
{
	(void)claim;
	arbiter_answer(a, ARBITER_ANSWER_UNKNOWN, "arbiter = etcd is not built in yet");
}

const struct arbiter_ops arbiter_etcd_ops = {.open = etcd_open, .claim = etcd_claim};
