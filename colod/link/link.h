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
 * @hello:   fill in who we are, for the peer to check; session and channel are the link's business.
 * @caller: to whom this is the answer, NULL when we call
 * @accept:  whether a caller that introduces itself as @h may connect now; a refusal's reason goes
 * to it and into our log. May not change the link. @again: asked a second time, when its data
 * connections come; @h->resume is what we answered then. -EEXIST: the guest lives here, which the caller
 * is told as such
 * @is_ours: a caller while the link is up: true when it goes on with the session of this link, which
 * it has given up before we noticed that it broke
 * @up:      established; @bulk_fd is the bulk connection, blocking, @packet_fd the packet
 * connection, non-blocking, or -1; both are the callee's from here on; @peer->resume: what both agreed
 * @message: a control message
 * @lost:    broken, ended by the other side, or nothing was heard for peer_timeout_ms; the link is
 * LINK_DOWN
 * @lives:   the peer that we called refuses us, as the guest lives there; dialing goes on
 * @note:    something worth a line in the log that changes nothing (a caller that talked garbage, a
 * refusal)
 */
struct link_handlers {
	void (*hello)(void *arg, const struct wire_hello *caller, struct wire_hello *h);
	int (*accept)(void *arg, const struct wire_hello *h, bool again, struct err *e);
	bool (*is_ours)(void *arg, const struct wire_hello *h);
	void (*up)(void *arg, const struct wire_hello *peer, int bulk_fd, int packet_fd);
	void (*message)(void *arg, const struct wire_msg *m);
	void (*lost)(void *arg, const char *reason);
	void (*lives)(void *arg, const char *why);
	void (*note)(void *arg, const char *text);
};

/** link_check_config() - whether what @c says of the encryption holds: files, keys, or that there
 * may be none. Part of link_new(). */
int link_check_config(const struct config *c, struct err *e);

/** link_new() - listen on c->listen and resolve c->peers. @packets: a packet connection belongs to
 * the link. */
int link_new(struct link **out, struct loop *l, const struct config *c, bool packets,
	     const struct link_handlers *h, void *arg, struct err *e);
void link_free(struct link *k);

/** link_dial() - connect to the peer, by each of its addresses in turn and with growing pauses between
 * the rounds, until it works or link_down(). */
void link_dial(struct link *k);

/** link_add_address() - one more address of the peer, a numeric one, which is tried next; it takes the
 * place of the one that was added before. */
int link_add_address(struct link *k, const struct endpoint *ep, struct err *e);

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

enum link_state link_state(const struct link *k);

/** link_last_heard_us() - clock_now_us() of the last byte from the peer; 0 when there never was
 * one. */
uint64_t link_last_heard_us(const struct link *k);

/** link_peer_address() - "10.0.0.2:9000" of the connected peer, or the address that is or was tried
 * last. */
const char *link_peer_address(const struct link *k);

#endif
