// SPDX-License-Identifier: GPL-2.0-or-later
/* The proxy's thread: start, orders in, answers out, end. */
#include "proxy/proxy.h"

#include "base/cleanup.h"
#include "proxy/proxy-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void proxy_submit(struct proxy *p, struct proxy_call *c)
{
	assert(!c->busy);
	c->busy = true;
	c->proxy = p;
	mailbox_post(&p->orders, &c->mail);
}
