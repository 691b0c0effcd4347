/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The link to the peer: dialing, accepting, handshake, control messages, heartbeats. */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include "base/loop.h"
#include "colod/core/config.h"
#include "colod/core/wire.h"

struct link;

enum link_state {
	LINK_DOWN, /* neither dialing nor connected; a listener answers with a refusal or a welcome
		    */
	LINK_CONNECTING, /* dialing, again and again */
	LINK_UP,
};

/**
 * struct link_handlers - called from the loop
 * @hello:   fill in who we are, for the peer to check; session and channel are the link's business
 * @accept:  whether a caller that introduces itself as @h may connect now; a refusal's reason goes
 * to it and into our log. May not change the link.
 * @up:      established; @bulk_fd is the bulk connection, blocking, @packet_fd the packet
 * connection, non-blocking, or -1; both are the callee's from here on
 * @message: a control message
 * @lost:    broken, or ended by the other side; the link is LINK_DOWN
 * @silent:  nothing was heard for peer_timeout_ms: while up, or as long after @lost as was still
 * missing
 * @note:    something worth a line in the log that changes nothing (a caller that talked garbage, a
 * refusal)
 */
struct link_handlers {
	void (*hello)(void *arg, struct wire_hello *h);
	int (*accept)(void *arg, const struct wire_hello *h, struct err *e);
	void (*up)(void *arg, const struct wire_hello *peer, int bulk_fd, int packet_fd);
	void (*message)(void *arg, const struct wire_msg *m);
	void (*lost)(void *arg, const char *reason);
	void (*silent)(void *arg);
	void (*note)(void *arg, const char *text);
};

/** link_new() - listen on c->listen and resolve c->peer. @packets: a packet connection belongs to
 * the link. */
int link_new(struct link **out, struct loop *l, const struct config *c, bool packets,
	     const struct link_handlers *h, void *arg, struct err *e);
void link_free(struct link *k);

/** link_dial() - connect to the peer, with growing pauses between attempts, until it works or
 * link_down(). */
void link_dial(struct link *k);

/** link_dial_later() - the same, after the pause that follows a refusal: what the peer and we tried
 * together failed, and would again. */
void link_dial_later(struct link *k);

/** link_poll() - hear what waits unread, @lost included: before a connection that broke first is
 * taken for the whole peer. */
void link_poll(struct link *k);

/** link_down() - close the connection or stop dialing; no @lost follows. */
void link_down(struct link *k);

/** link_send() - queue a control message. -ENOTCONN when down, -ENOBUFS when the peer does not
 * read. */
int link_send(struct link *k, const struct wire_msg *m);

/** link_flush() - try for at most @timeout_ms to get queued messages out: the last words before an
 * end. */
void link_flush(struct link *k, unsigned timeout_ms);

/** link_await_silence() - after @lost: call @silent when peer_timeout_ms since the last word are
 * over. */
void link_await_silence(struct link *k);

enum link_state link_state(const struct link *k);

/** link_last_heard_us() - clock_now_us() of the last byte from the peer; 0 when there never was
 * one. */
uint64_t link_last_heard_us(const struct link *k);

/** link_peer_address() - "10.0.0.2:9000" of the connected or configured peer. */
const char *link_peer_address(const struct link *k);

#endif
